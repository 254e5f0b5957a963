"""An ONNX file as the model: run as it is, held against itself without optimizations, refused at other precisions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from bench import tensors
from bench.backends import base
from bench.errors import SuiteError, Unsupported
from bench.model.suite import Input, Range
from bench.runtimes import onnx as exports
from tests.backends.kit import Bench

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
helper, numpy_helper = onnx.helper, onnx.numpy_helper
X = {"x": Input(shape=("batch", 3))}
WEIGHTS = np.arange(6, dtype=np.float32).reshape(3, 2)


def save(path: Path, dtype: type[Any] = np.float32, **options: Any) -> None:
    """``double = 2 (x @ w)``, ``sum`` of its rows, for x of [n, 3]."""
    code = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    x = helper.make_tensor_value_info("x", code, ["n", 3])
    outputs = [
        helper.make_tensor_value_info("double", code, ["n", 2]),
        helper.make_tensor_value_info("sum", code, None),
    ]
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["y"]),
        helper.make_node("Add", ["y", "y"], ["double"]),
        helper.make_node("ReduceSum", ["double"], ["sum"], keepdims=0),
    ]
    graph = helper.make_graph(nodes, "g", [x], outputs, [numpy_helper.from_array(WEIGHTS.astype(dtype), "w")])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    onnx.save_model(model, path, **options)


@pytest.fixture
def own(tmp_path: Path) -> Bench:
    """A suite with ``net.onnx`` beside it."""
    folder = tmp_path / "suite"
    folder.mkdir()
    save(folder / "net.onnx")
    return Bench(tmp_path, suite_dir=folder)


def test_its_outputs_are_those_of_the_file_and_no_torch_is_asked(own: Bench) -> None:
    case = own.case("onnxruntime", "net.onnx", X, symbols={"batch": 4})
    stages = base.load("onnxruntime").stages(case)
    assert [(stage.name, stage.producer) for stage in stages] == [
        ("reference", "onnxruntime"),
        ("export", "onnxruntime"),
    ]
    assert not any("torch" in stage.libraries for stage in stages)
    reference, found = own.reference(case), own.run(case)
    y = 2 * tensors.seeded_inputs(case.resolved, 0)["x"] @ WEIGHTS
    for arrays in (reference, found):
        assert list(arrays) == ["double", "sum"]
        np.testing.assert_allclose(arrays["double"], y, rtol=1e-5)
        np.testing.assert_allclose(arrays["sum"], y.sum(), rtol=1e-4)
    with own.prepared(case) as prepared:
        assert (prepared.fairness()["exporter"], prepared.fairness()["opset"]) == ("none", 17)


def test_sizes_that_the_file_leaves_open_may_be_dynamic(own: Bench) -> None:
    ranges = {"batch": Range(min=1, opt=2, max=8)}
    case = own.case("onnxruntime", "net.onnx", X, symbols={"batch": 5}, dynamic=ranges)
    assert own.run(case)["double"].shape == (5, 2)


def test_weights_in_a_file_beside_it_come_along(own: Bench) -> None:
    save(own.suite_dir / "net.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    case = own.case("onnxruntime", "net.onnx", X, symbols={"batch": 4})
    assert own.run(case)["double"].shape == (4, 2)
    (own.suite_dir / "w.bin").unlink()
    with pytest.raises(SuiteError, match=r"net\.onnx has weights in 'w\.bin', which is no file beside it"):
        exports.take_file(case, own.context(case), own.folder())


@pytest.mark.parametrize(
    ("dtype", "precision", "refusal"),
    [
        (np.float32, "tf32", ""),
        (np.float32, "fp16", "net.onnx is fp32, and a file is converted to no other precision"),
        (np.float16, "fp16", ""),
        (np.float16, "fp32", "net.onnx is fp16, and a file is converted"),
    ],
)
def test_a_file_is_measured_at_the_precision_that_it_has(
    own: Bench, dtype: type[Any], precision: str, refusal: str
) -> None:
    save(own.suite_dir / "net.onnx", dtype)
    case = own.case("onnxruntime", "net.onnx", X, symbols={"batch": 4}, precision=precision)
    if refusal:
        with pytest.raises(Unsupported, match=refusal) as caught:
            exports.take_file(case, own.context(case), own.folder())
        assert caught.value.fix
    else:
        exports.take_file(case, own.context(case), own.folder())


def test_a_half_precision_file_runs_and_its_reference_is_the_file_itself(own: Bench) -> None:
    save(own.suite_dir / "net.onnx", np.float16)
    case = own.case("onnxruntime", "net.onnx", X, symbols={"batch": 4}, precision="fp16")
    reference, found = own.reference(case), own.run(case)
    assert found["double"].dtype == reference["double"].dtype == np.float32
    np.testing.assert_allclose(found["double"], reference["double"], rtol=1e-2, atol=1e-2)


def test_inputs_that_the_file_does_not_take_are_the_suites_fault(own: Bench) -> None:
    case = own.case("onnxruntime", "net.onnx", {"z": Input(shape=(4, 3))})
    with pytest.raises(SuiteError, match="takes the inputs x, and the suite has z"):
        exports.take_file(case, own.context(case), own.folder())


def test_runtimes_that_read_the_same_file_share_it() -> None:
    bench = Bench(Path())
    cases = [bench.case(name, "net.onnx", X, symbols={"batch": 4}) for name in ("onnxruntime", "tensorrt")]
    first, second = (base.load(case.backend).stages(case)[1] for case in cases)
    assert first == second
    assert base.load("tensorrt").unsupported(msgspec.structs.replace(cases[1], precision="int8"), "cuda:0") is None
    network = msgspec.structs.replace(cases[1], options={"network": "nets.py:net"})
    assert "is a network already" in (base.load("tensorrt").unsupported(network, "cuda:0") or "")
