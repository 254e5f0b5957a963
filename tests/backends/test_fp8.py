"""Eager and Inductor at fp8: the calibration, the record, agreement with float32, and what is refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import tensors
from bench.backends import base
from bench.errors import SuiteError, Unsupported
from bench.lowering.quantize import linear_inputs
from bench.model.suite import Case, Input, Range
from bench.runtimes import calibration_data
from bench.runtimes.torch import fp8, models
from tests.backends.kit import Bench, cosine

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch
IMAGES = {"x": Input(shape=("batch", 3, 8, 8))}


def case(bench: Bench, backend: str = "eager", factory: str = "fp8_zoo.py:net", **fields: Any) -> Case:
    fields = {"precision": "fp8", "symbols": {"batch": 4}, "options": {"samples": 8}} | fields
    return bench.case(backend, factory, IMAGES, **fields)


def test_the_limits_are_what_the_layers_saw_in_calibration(bench: Bench) -> None:
    each = case(bench)
    calibration = linear_inputs.read(bench.artifacts(each)["calibration"])
    ranges = calibration.ranges
    assert sorted(ranges) == ["head", "stack.0", "stack.2", "stack.4"]
    model, drawn = models.load_original(each, bench.context(each)), []
    with torch.no_grad():
        for arrays in calibration_data.batches(each, bench.context(each), 8, ""):
            drawn.append(float(model.conv(torch.from_numpy(arrays["x"])).abs().max()))
    assert len(drawn) == 2
    assert ranges["stack.0"].limits == pytest.approx([max(drawn)], rel=1e-5)
    assert (calibration.observer, calibration.samples, calibration.data) == ("minmax", 8, "")


@pytest.mark.parametrize("options", [{"samples": 8}, {"scales": "dynamic"}, {"samples": 8, "observer": "percentile"}])
def test_eager_agrees_with_float32_and_says_what_ran(bench: Bench, options: dict[str, Any]) -> None:
    each = case(bench, options=options)
    wanted = bench.reference(each)
    with bench.prepared(each) as prepared:
        (lane,) = prepared.lanes(1)
        lane.call()
        found, told = lane.read(), prepared.fairness()
    assert cosine(found["output"], wanted["output"]) > 0.99
    static = options.get("scales") != "dynamic"
    assert told["fp8"] == {
        "product": fp8.implementation("cpu"), "scales": "static" if static else "dynamic", "layers": 3, "rest": "fp16",
        "layers_at_fp16": {"of a size that is no multiple of 16": 1},
    }  # fmt: skip
    assert told.get("calibration", {}).get("observer") == (options.get("observer", "minmax") if static else None)


def test_arithmetic_is_of_float8_and_not_of_float16(bench: Bench) -> None:
    narrow, half = case(bench), case(bench, precision="fp16", options={})
    wanted = bench.reference(half)["output"]

    def error(found: tensors.Array) -> float:
        return 1 - cosine(found, wanted)

    assert error(bench.run(narrow)["output"]) > 10 * error(bench.run(half)["output"])


@pytest.mark.long
def test_inductor_agrees_with_float32_in_one_graph(bench: Bench) -> None:
    if lacks := base.load("inductor").missing():
        pytest.skip(f"{lacks.reason}; {lacks.fix}")
    each = case(bench, "inductor")
    with bench.prepared(each) as prepared:
        (lane,) = prepared.lanes(1)
        lane.call()
        found, told = lane.read(), prepared.fairness()
    assert cosine(found["output"], bench.reference(each)["output"]) > 0.99
    assert (told["graphs"], told["graph_breaks"], told["fp8"]["layers"]) == (1, 0, 3)


def test_both_backends_share_the_calibration_and_inductors_code_comes_after_it(bench: Bench) -> None:
    eager, inductor = base.load("eager"), base.load("inductor")
    (_, ours), (_, theirs) = eager.stages(case(bench)), inductor.stages(case(bench, "inductor"))
    assert ours == theirs
    assert "calibration" in inductor.compile_stage(case(bench, "inductor")).needs
    assert "calibration" in inductor.code(case(bench, "inductor")).needs
    assert len(eager.stages(case(bench, options={"scales": "dynamic"}))) == 1
    assert len(eager.stages(case(bench, precision="fp16", options={}))) == 1


def test_an_input_that_is_always_zero_names_its_layer(bench: Bench) -> None:
    with pytest.raises(Unsupported, match=r"^stack\.0: an activation that is zero for all inputs"):
        bench.artifacts(case(bench, factory="fp8_zoo.py:dead"))


def test_data_that_are_nan_name_their_file_and_input(bench: Bench, tmp_path: Path) -> None:
    values = np.zeros((8, 3, 8, 8), np.float32)
    values[5] = np.nan
    np.savez(tmp_path / "nan.npz", x=values)
    each = case(bench, options={"samples": 8, "data": str(tmp_path / "nan.npz")})
    with pytest.raises(SuiteError, match=r"nan\.npz: the input 'x' is NaN or infinite in places"):
        bench.artifacts(each)


@pytest.mark.parametrize("backend", ["eager", "inductor"])
@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"precision": "fp16", "options": {"scales": "static"}}, "scales: of precision fp8 alone"),
        ({"precision": "int8", "options": {}}, "PyTorch converts no model to int8"),
        ({"options": {"scales": "dynamic", "samples": 4}}, "samples: needs scales: static"),
        ({"options": {"autocast": True}}, "autocast needs precision fp16 or bf16"),
        ({"dynamic": {"batch": Range(min=1, opt=4, max=8)}}, "calibration needs fixed sizes"),
    ],
)
def test_options_that_do_not_fit_are_refused(bench: Bench, backend: str, fields: dict[str, Any], why: str) -> None:
    refused = base.load(backend).unsupported(case(bench, backend, **fields), "cpu")
    assert (refused or "").startswith(why)


@pytest.mark.parametrize("backend", ["aoti", "torchscript", "torch_tensorrt", "tensorrt", "onnxruntime"])
def test_backends_that_convert_no_model_to_fp8_refuse_it(bench: Bench, backend: str) -> None:
    for device in ("cpu", "cuda:0"):
        assert base.load(backend).unsupported(case(bench, backend, options={}), device) is not None


@pytest.mark.gpu
def test_an_h100_or_later_multiplies_float8_and_agrees(bench: Bench) -> None:
    if not torch.cuda.is_available() or torch.cuda.get_device_capability() < (8, 9):
        pytest.skip("needs a GPU of compute capability 8.9 or later")
    each = case(bench)
    wanted = bench.reference(each)["output"]
    folders = bench.artifacts(each)
    bench.device = "cuda:0"
    with bench.prepared(each, artifacts=folders) as prepared:
        (lane,) = prepared.lanes(1)
        lane.call()
        found, told = lane.read(), prepared.fairness()
    assert told["fp8"]["product"] == fp8.SCALED_MM
    assert cosine(found["output"], wanted) > 0.99
