"""`trtbench build` of real models by PyTorch's backends and ONNX Runtime's."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.conftest import Trtbench
from tests.runner import build_kit

pytestmark = pytest.mark.workers

ZOO = f"""{build_kit.ZOO}
class Branches(Net):
    def forward(self, x):
        return super().forward(x if x.sum() > 0 else -x)
"""
REAL = """\
schema: 1
name: real
device: cpu
models:
  net: {factory: zoo.py:Net, inputs: {x: {shape: [batch, 3]}}}
  branches: {factory: zoo.py:Branches, inputs: {x: {shape: [batch, 3]}}}
matrix:
  model: [net, branches]
  backend: [eager, inductor, {name: onnxruntime, exporter: dynamo}]
  batch: 2
"""


@pytest.mark.long
def test_real_models_are_exported_and_compiled_or_say_where_they_are_refused(
    trtbench: Trtbench, tmp_path: Path
) -> None:
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    (tmp_path / "zoo.py").write_text(ZOO)
    suite = tmp_path / "real.yaml"
    suite.write_text(REAL)
    assert trtbench("build", suite, "--format", "json") == 1, trtbench.err
    document = json.loads(trtbench.out)
    cases = {case["label"]: case for case in document["cases"]}
    kinds = {label: [stage["kind"] for stage in case["stages"]] for label, case in cases.items()}
    (refused,) = [label for label, case in cases.items() if case["failure"]]
    assert refused.startswith("branches/onnxruntime")
    assert cases[refused]["failed"] == "export"
    assert "zoo.py" in cases[refused]["failure"]["message"] + cases[refused]["failure"]["log"]
    assert [kinds[label] for label in kinds if label.startswith("net/")] == [[], ["inductor-cache"], ["onnx"]]
    (export,) = (tmp_path / "cache" / "onnx").iterdir()
    (stage,) = [stage for case in cases.values() for stage in case["stages"] if stage["kind"] == "onnx"]
    files = [path for path in export.rglob("*") if path.is_file() and path.name != "meta.json"]
    assert stage["bytes"] == sum(path.stat().st_size for path in files) > 0
    assert trtbench("show") == 2  # no run was stored
