"""A suite of sparring partners for duels, on the fake backend."""

from __future__ import annotations

from pathlib import Path

SUITE = """\
schema: 1
name: sparring
models:
  net:
    factory: zoo.py:net
    inputs: {x: {shape: [batch, 3], dtype: float32}}
    metric: zoo.py:version
matrix:
  model: [net]
  backend:
    - {name: fake, drift: 0, noise: 0.001}
    - {name: fake, drift: 0, noise: 0.001, time: 1.05 ms}
    - {name: fake, drift: 0, noise: 0.001, time: 0.9 ms}
    - {name: fake, fail: segfault}
    - {name: fake, fail: wrong}
  batch: [1]
measure: {max_time: 1s, timeout: 60s, warmup: 0s}
"""


ZOO = "def version(outputs, reference):\n    return {'version': 1.0}\n"


def write(folder: Path) -> Path:
    (folder / "zoo.py").write_text(ZOO)
    (folder / "sparring.yaml").write_text(SUITE)
    return folder / "sparring.yaml"


def backend(part: str) -> str:
    """The expression for the backend that has ``part`` among its options, and nothing else that another has."""
    return f'label~"*{part}*"'
