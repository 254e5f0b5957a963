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


class Spent(NamedTuple):
    """The size of the weights, the most memory of a process (bytes), and the time of all processes on a core (s)."""

    weights: int
    peak: int
    seconds: float


def codegen(folder: Path) -> Spent:
    """Write the program into an empty ``folder``, with a cache of its own."""
    (folder / "suite.yaml").write_text(SUITE)
    command = [sys.executable, "-m", "bench", "codegen", "suite.yaml", "--out", "out", "--cache", "cache"]
    paths = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    with (folder / "log").open("w") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env={**os.environ, "PYTHONPATH": paths})
        _, status, usage = os.wait4(process.pid, 0)  # of it and of the processes that it has waited for
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, (folder / "log").read_text()
    weights = (folder / "out" / "weights.safetensors").stat().st_size
    return Spent(weights, usage.ru_maxrss * 1024, usage.ru_utime + usage.ru_stime)
