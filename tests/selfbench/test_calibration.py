"""What calibrating ResNet-50 with 128 images takes, from the command to the ranges: printed, not asserted.

Goal: 3 minutes on two cores, and 4 GB. The command also imports, exports and lowers.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.units import format_size

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytestmark = pytest.mark.selfbench
SUITE = """\
schema: 1
name: resnet50
models:
  resnet50:
    factory: transformers:ResNetForImageClassification
    config: {transformers: ResNetConfig}  # the layers of ResNet-50
    inputs: {pixel_values: {shape: [batch, 3, 224, 224]}}
matrix: {backend: [{name: fx2trt, observer: OBSERVER, samples: 128}], precision: [int8], batch: [8]}
"""


@pytest.mark.parametrize("observer", ["minmax", "entropy"])
def test_resnet50_with_128_images(observer: str, tmp_path: Path) -> None:
    (tmp_path / "suite.yaml").write_text(SUITE.replace("OBSERVER", observer))
    command = [sys.executable, "-m", "bench", "quantize", "suite.yaml", "--ranges", "--cache", "cache"]
    paths = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    start = time.perf_counter()
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            command, cwd=tmp_path, stdout=log, stderr=log, env={**os.environ, "PYTHONPATH": paths}
        )
        _, status, usage = os.wait4(process.pid, 0)  # of it and of the processes that it has waited for
    process.returncode = os.waitstatus_to_exitcode(status)
    seconds, text = time.perf_counter() - start, (tmp_path / "log").read_text()
    assert process.returncode == 0, text
    assert "128 samples" in text
    size, busy = format_size(usage.ru_maxrss * 1024), usage.ru_utime + usage.ru_stime
    print(f"\nResNet-50, {observer} over 128 images: {seconds:.0f} s ({busy:.0f} s of a core), at most {size}")
