"""BERT-base of its full size, with random weights, lowered and written by the command line: what that takes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

SUITE = """\
schema: 1
name: bert
models:
  bert:
    factory: transformers:BertModel
    config: {transformers: BertConfig}
    inputs: {input_ids: {shape: [batch, seq], dtype: int64, range: [0, 30522]}}
    symbols: {seq: 128}
matrix: {backend: [fx2trt], precision: [fp32], batch: [1]}
"""


# A process begins with the peak of the one that starts it: this one, which is small, in place of that of the tests.
STARTER = """
import resource, subprocess, sys
code = subprocess.run(sys.argv[1:]).returncode
used = resource.getrusage(resource.RUSAGE_CHILDREN)
with open("spent", "w") as file:
    print(used.ru_maxrss, used.ru_utime + used.ru_stime, file=file)
sys.exit(code)
"""


class Spent(NamedTuple):
    """The size of the weights, the most memory of a process (bytes), and the time of all processes on a core (s)."""

    weights: int
    peak: int
    seconds: float


def codegen(folder: Path) -> Spent:
    """Write the program into an empty ``folder``, with a cache of its own."""
    (folder / "suite.yaml").write_text(SUITE)
    command = [
        sys.executable,
        "-c",
        STARTER,
        sys.executable,
        "-m",
        "bench",
        "codegen",
        "suite.yaml",
        "--out",
        "out",
        "--cache",
        "cache",
    ]
    paths = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    with (folder / "log").open("w") as log:
        env = {**os.environ, "PYTHONPATH": paths}
        code = subprocess.run(command, cwd=folder, stdout=log, stderr=log, env=env, check=False).returncode
    assert code == 0, (folder / "log").read_text()
    peak, seconds = (folder / "spent").read_text().split()
    weights = (folder / "out" / "weights.safetensors").stat().st_size
    return Spent(weights, int(peak) * 1024, float(seconds))
