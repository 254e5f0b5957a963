"""An ONNX file is described from its bytes, as the onnx package describes it; what is no such file is refused."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import SuiteError
from bench.model.suite import Case, Input
from bench.runtimes import onnx_file

onnx = pytest.importorskip("onnx")
helper, numpy_helper, TensorProto = onnx.helper, onnx.numpy_helper, onnx.TensorProto


def graph(dtype: int = 1, kind: str = "MatMul", weights: Any = None) -> Any:
    """``y = x @ w`` for x of [n, 3]."""
    values = weights if weights is not None else np.eye(3, 2)
    w = numpy_helper.from_array(values.astype(helper.tensor_dtype_to_np_dtype(dtype)), "w")
    x = helper.make_tensor_value_info("x", dtype, ["n", 3])
    y = helper.make_tensor_value_info("y", dtype, ["n", 2])
    body = helper.make_graph([helper.make_node(kind, ["x", "w"], ["y"])], "g", [x], [y], [w])
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("other", 3)])


def case(**inputs: Input) -> Case:
    return Case(model="m", factory="net.onnx", inputs=inputs, backend="onnxruntime")


def test_inputs_outputs_opset_and_precision_are_those_of_the_file(tmp_path: Path) -> None:
    onnx.save(graph(), tmp_path / "net.onnx")
    about = onnx_file.describe(tmp_path / "net.onnx")
    assert [(v.name, v.dtype, v.shape) for v in about.inputs] == [("x", "float32", ("n", 3))]
    assert [(v.name, v.dtype, v.shape) for v in about.outputs] == [("y", "float32", ("n", 2))]
    assert (about.opset, about.external, about.precision) == (17, [], "fp32")


def test_an_initializer_that_is_listed_as_an_input_is_none(tmp_path: Path) -> None:
    model = graph()
    model.graph.input.append(helper.make_tensor_value_info("w", 1, [3, 2]))
    onnx.save(model, tmp_path / "net.onnx")
    assert [value.name for value in onnx_file.describe(tmp_path / "net.onnx").inputs] == ["x"]


@pytest.mark.parametrize(
    ("dtype", "kind", "precision"),
    [
        (TensorProto.FLOAT16, "MatMul", "fp16"),
        (TensorProto.BFLOAT16, "MatMul", "bf16"),
        (TensorProto.DOUBLE, "MatMul", "fp32"),
        (TensorProto.FLOAT, "QLinearMatMul", "int8"),
        (TensorProto.FLOAT, "DequantizeLinear", "int8"),
    ],
)
def test_the_precision_is_that_of_weights_and_operators(tmp_path: Path, dtype: int, kind: str, precision: str) -> None:
    onnx.save(graph(dtype, kind), tmp_path / "net.onnx")
    assert onnx_file.describe(tmp_path / "net.onnx").precision == precision


def test_weights_in_other_files_are_named_also_those_of_constants(tmp_path: Path) -> None:
    model = graph(weights=np.ones((3, 500)))
    constant = helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(np.ones(500, np.float32), "c"))
    model.graph.node.insert(0, constant)
    onnx.save_model(
        model, tmp_path / "net.onnx", save_as_external_data=True, all_tensors_to_one_file=True, location="w.bin",
        size_threshold=0, convert_attribute=True,
    )  # fmt: skip
    assert onnx_file.external_files(tmp_path / "net.onnx") == ["w.bin"]


@pytest.mark.parametrize(
    ("name", "beside"), [("w.bin", True), ("a/w.bin", True), ("../w.bin", False), ("/etc/passwd", False), ("", False)]
)
def test_a_file_of_weights_lies_beside_the_model(name: str, beside: bool) -> None:
    assert onnx_file.is_beside(name) is beside


@pytest.mark.parametrize(
    ("inputs", "what"),
    [
        ({"y": Input(shape=(2, 3))}, "takes the inputs x, and the suite has y"),
        ({"x": Input(shape=(2, 3)), "y": Input(shape=(1,))}, "takes the inputs x, and the suite has x, y"),
        ({"x": Input(shape=(2, 4))}, r"float32 \['n', 3\], and the case has float32 \[2, 4\]"),
        ({"x": Input(shape=(3,))}, "and the case has"),
        ({"x": Input(shape=(2, 3), dtype="int64")}, "and the case has int64"),
    ],
)
def test_a_case_that_the_file_does_not_take_is_the_suites_fault(
    tmp_path: Path, inputs: dict[str, Input], what: str
) -> None:
    onnx.save(graph(), tmp_path / "net.onnx")
    onnx_file.check(case(x=Input(shape=(7, 3), dtype="float16")), tmp_path / "net.onnx")
    with pytest.raises(SuiteError, match=what):
        onnx_file.check(case(**inputs), tmp_path / "net.onnx")


def test_a_missing_or_empty_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(SuiteError, match=r"'net\.onnx' is not there"):
        onnx_file.describe(tmp_path / "net.onnx")
    (tmp_path / "net.onnx").touch()
    with pytest.raises(SuiteError, match="no whole ONNX file: it is empty"):
        onnx_file.describe(tmp_path / "net.onnx")
    assert onnx_file.external_files(tmp_path / "net.onnx") == []


@given(data=st.binary(max_size=200), cut=st.integers(0, 150))
def test_any_bytes_are_described_or_refused(tmp_path_factory: pytest.TempPathFactory, data: bytes, cut: int) -> None:
    path = tmp_path_factory.getbasetemp() / "any.onnx"
    for content in (data, graph().SerializeToString()[:cut] + data):
        path.write_bytes(content)
        with contextlib.suppress(SuiteError):  # nothing else is raised
            assert isinstance(onnx_file.describe(path).inputs, list)
