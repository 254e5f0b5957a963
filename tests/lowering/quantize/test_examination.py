"""What a quantized network is compared on: batches of the user's own function, and the user's own metric."""

from __future__ import annotations

import contextlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from bench.lowering.quantize import agreement, calibration, examination, sensitivity  # noqa: E402
from bench.model.sensitivity import ACCURACY, Accuracy, Question  # noqa: E402
from bench.model.suite import Case, Input  # noqa: E402
from tests.lowering import kit  # noqa: E402
from tests.lowering.quantize import networks  # noqa: E402

pytestmark = pytest.mark.torch
CASE = Case(
    model="net", factory="zoo.py:net", backend="fx2trt", precision="int8", symbols={"batch": 2},
    inputs={"x": Input(shape=("batch", 3), dtype="float32")},
)  # fmt: skip
DATA = """
import numpy as np

def reuse():
    x = np.empty((2, 3), "float32")
    for index in range(3):
        x[:] = index
        yield {"x": x}

def in_place(outputs, reference):
    outputs["y"] -= reference["y"]
    reference["y"] += 1
    return {"far": float(abs(outputs["y"]).max())}
"""


def test_batches_of_a_function_that_fills_one_array_keep_their_own_values(tmp_path: Path) -> None:
    (tmp_path / "data.py").write_text(DATA)
    context: Any = SimpleNamespace(suite_dir=tmp_path, seed=0)
    graph = kit.normalised(networks.Chain(torch.nn.ReLU()), {"x": torch.zeros(2, 3)})
    kept = list(examination.batches(graph, CASE, context, "data.py:reuse", 6))
    assert [float(batch[0].max()) for batch in kept] == [0.0, 1.0, 2.0]


def test_a_metric_that_works_in_place_leaves_outputs_and_reference_as_they_are(tmp_path: Path) -> None:
    (tmp_path / "data.py").write_text(DATA)
    metric = agreement.of_user("data.py:in_place", tmp_path)
    outputs, reference = {"y": np.full(3, 5.0)}, {"y": np.full(3, 2.0)}
    assert [metric(outputs, reference)["far"] for _ in range(2)] == [3.0, 3.0]


def test_an_assignment_has_the_modules_that_the_suite_leaves_in_floating_point_already(tmp_path: Path) -> None:
    context: Any = SimpleNamespace(
        suite_dir=tmp_path, seed=0, phase=lambda name: contextlib.nullcontext(), tell=lambda text: None
    )
    torch.manual_seed(0)
    linear = torch.nn.Linear
    graph = kit.normalised(networks.Chain(linear(3, 8), linear(8, 8), linear(8, 3)), {"x": torch.randn(2, 3)})
    ranges = calibration.calibrate(graph, [{"x": torch.randn(2, 3)} for _ in range(4)], "minmax")
    key = {"data": "", "floating": ["1"]}
    compared = sensitivity.Networks(graph, examination.quantized(graph, ranges, "fx", ["1"]), ["y"])

    def accuracy(target: str) -> Accuracy:
        question = Question(target=target, samples=16, rank=True)
        examination.write_accuracy(compared, CASE, context, question, key, tmp_path)
        return msgspec.json.decode((tmp_path / ACCURACY).read_bytes(), type=Accuracy)

    alone = {each.module: each.metrics["sqnr"] for each in accuracy("").sensitivity}
    assert set(alone) == {"0", "2"}
    best = max(alone, key=lambda module: alone[module])
    (other,) = set(alone) - {best}
    assert accuracy(f"sqnr >= {alone[best]}").floating == ("1", other)
