"""Transposed convolutions in groups of ONNX files that become dense: ONNX Runtime computes what it did."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from bench.errors import SuiteError
from bench.runtimes import deconvolutions, onnx_deconvolutions, onnx_manifest

onnx = pytest.importorskip("onnx")
ort = pytest.importorskip("onnxruntime")
helper, numpy_helper = onnx.helper, onnx.numpy_helper
FLOAT, DOUBLE, HALF, BFLOAT16 = 1, 11, 10, 16
IMAGE = ["n", 4, 5, 6]
DENSE = {"in_groups": 1, "dense": 1}
Array = np.ndarray[Any, Any]


def values(shape: Sequence[int], seed: int = 1, dtype: Any = np.float32) -> Array:
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype(dtype)


def deconvolution(reads: Sequence[str], output: str, groups: int, name: str = "", **attributes: Any) -> Any:
    return helper.make_node("ConvTranspose", list(reads), [output], name, group=groups, **attributes)


def model_of(
    nodes: Sequence[Any], constants: dict[str, Any], code: int = FLOAT, shape: Sequence[int | str] = IMAGE,
    outputs: Sequence[str] = ("y",), version: int = 9, opset: int = 17, **more: Any,
) -> Any:  # fmt: skip
    """A model of ``x``, with constants that are arrays or whole initializers."""
    weights = [
        numpy_helper.from_array(each, name) if isinstance(each, np.ndarray) else each
        for name, each in constants.items()
    ]
    inputs = [helper.make_tensor_value_info("x", code, list(shape))]
    ends = [helper.make_tensor_value_info(name, code, [None] * len(shape)) for name in outputs]
    graph = helper.make_graph(list(nodes), "g", inputs, ends, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=version, **more)


def branch_of(nodes: Sequence[Any], constants: dict[str, Array]) -> Any:
    """A branch of a conditional: its last node computes what it returns."""
    weights = [numpy_helper.from_array(each, name) for name, each in constants.items()]
    ends = [helper.make_tensor_value_info(nodes[-1].output[0], FLOAT, [None] * 4)]
    return helper.make_graph(list(nodes), "branch", [], ends, weights)


def run(path: Path, x: Array, **others: Any) -> list[Array]:
    session = ort.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    return list(session.run(None, {"x": x} | others))


def in_file(path: Path) -> Any:
    onnx.checker.check_model(str(path), full_check=True)
    return onnx_manifest.load(path).graph


def groups_of(graph: Any) -> list[tuple[str, int]]:
    """The kernel and the groups of each transposed convolution."""
    nodes = [node for node in graph.node if node.op_type == "ConvTranspose"]
    return [(node.input[1], next((a.i for a in node.attribute if a.name == "group"), 1)) for node in nodes]


@settings(max_examples=40, derandomize=True, deadline=None)
@given(
    data=st.data(),
    dims=st.sampled_from((1, 2, 2, 3)),
    groups=st.integers(2, 4),
    bias=st.booleans(),
    dtype=st.sampled_from((np.float32, np.float32, np.float16)),
    stored=st.sampled_from(("raw", "fields", "constant", "outside")),
)
def test_a_dense_one_computes_what_the_groups_do(
    data: st.DataObject, dims: int, groups: int, bias: bool, dtype: Any, stored: str
) -> None:
    def each(least: int, most: int, name: str) -> list[int]:
        return data.draw(st.lists(st.integers(least, most), min_size=dims, max_size=dims), label=name)

    inputs, outputs = (data.draw(st.integers(1, 3), label=name) for name in ("inputs", "outputs"))
    batches = data.draw(st.lists(st.integers(1, 3), min_size=1, max_size=2), label="batches")
    size, strides, dilations = each(2, 4, "size"), each(1, 3, "strides"), each(1, 2, "dilations")
    shape, more = each(1, 3, "kernel"), each(0, 2, "output_padding")
    pads = each(0, 1, "begin") + each(0, 1, "end")
    assume(all(o < s for o, s in zip(more, strides, strict=True)))  # as ONNX Runtime takes it
    sums = [pads[axis] + pads[axis + dims] for axis in range(dims)]
    ends = zip(size, strides, dilations, shape, sums, more, strict=True)
    assume(all((n - 1) * s - p + d * (k - 1) + o + 1 > 0 for n, s, d, k, p, o in ends))
    kernel = values((groups * inputs, outputs, *shape), 1, dtype)
    constants: dict[str, Any] = {"b": values((groups * outputs,), 2, dtype)} if bias else {}
    code = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    nodes = [
        deconvolution(["x", "w", *constants], "y", groups, strides=strides, dilations=dilations, pads=pads,
                      output_padding=more)
    ]  # fmt: skip
    if stored == "constant":
        nodes.insert(0, helper.make_node("Constant", [], ["w"], value=numpy_helper.from_array(kernel)))
    elif stored == "fields":
        constants["w"] = helper.make_tensor("w", code, kernel.shape, kernel.ravel())
        assert not constants["w"].HasField("raw_data")
    else:
        constants["w"] = kernel
    model = model_of(nodes, constants, code, ["n", groups * inputs, *size])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.onnx"
        outside = {"save_as_external_data": True, "location": "w.bin", "size_threshold": 0}
        onnx.save_model(model, path, **(outside if stored == "outside" else {}))
        xs = [values((n, groups * inputs, *size), 3, dtype) for n in batches]
        before = [run(path, x)[0] for x in xs]
        assert onnx_deconvolutions.make_dense(path) == DENSE
        graph = in_file(path)
        assert groups_of(graph) == [(f"w_of_{groups}_groups", 1)]
        (dense,) = (each for each in graph.initializer if each.name != "b")
        assert list(dense.dims) == [groups * inputs, groups * outputs, *shape]
        assert (dense.data_type, bool(dense.external_data)) == (code, stored == "outside")
        assert [node.op_type for node in graph.node] == ["ConvTranspose"]
        tolerance = 1e-4 if dtype is np.float32 else 2e-2
        for x, expected in zip(xs, before, strict=True):
            np.testing.assert_allclose(run(path, x)[0], expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(("code", "dtype"), [(DOUBLE, np.float64), (BFLOAT16, None)])
@pytest.mark.parametrize("raw", [True, False])
def test_kernels_keep_the_type_that_they_had(tmp_path: Path, code: int, dtype: Any, raw: bool) -> None:
    """Also one that ONNX Runtime's CPU does not compute with."""
    kernel = np.arange(1, 9).reshape(4, 2, 1)
    constant = helper.make_tensor("w", code, kernel.shape, kernel.ravel().astype(float))
    if raw:
        constant = numpy_helper.from_array(numpy_helper.to_array(constant), "w")
    path = tmp_path / "model.onnx"
    onnx.save(model_of([deconvolution("xw", "y", 2)], {"w": constant}, code, ["n", 4, 6], opset=22), path)
    assert onnx_deconvolutions.make_dense(path) == DENSE
    (dense,) = in_file(path).initializer
    assert dense.data_type == code
    rows = numpy_helper.to_array(dense)[..., 0].astype(float).tolist()
    assert rows == [[1, 2, 0, 0], [3, 4, 0, 0], [0, 0, 5, 6], [0, 0, 7, 8]]


SHARED: dict[str, tuple[list[Any], tuple[int, ...], list[tuple[str, int]], set[str]]] = {
    "by two of the same groups": (
        [deconvolution("xw", "a", 4), deconvolution("aw", "y", 4, strides=[2, 2])], (4, 1, 2, 2),
        [("w_of_4_groups", 1), ("w_of_4_groups", 1)], {"w_of_4_groups"},
    ),
    "by two of other groups": (
        [deconvolution("xw", "a", 4), deconvolution("xw", "b", 2), helper.make_node("Concat", "ab", "y", axis=1)],
        (4, 1, 2, 2), [("w_of_4_groups", 1), ("w_of_2_groups", 1)], {"w_of_4_groups", "w_of_2_groups"},
    ),
    "with a convolution": (
        [deconvolution("xw", "a", 4), helper.make_node("Conv", "aw", "y", group=4)], (4, 1, 2, 2),
        [("w_of_4_groups", 1)], {"w", "w_of_4_groups"},
    ),
    "by an Identity": (
        [helper.make_node("Identity", "w", "v"), helper.make_node("Identity", "v", "u"), deconvolution("xu", "y", 4)],
        (4, 1, 2, 2), [("w_of_4_groups", 1)], {"w_of_4_groups"},
    ),
    "by an Identity that another node reads": (
        [helper.make_node("Identity", "w", "v"), deconvolution("xv", "a", 4),
         helper.make_node("Conv", "av", "y", group=4)],
        (4, 1, 2, 2), [("w_of_4_groups", 1)], {"w", "w_of_4_groups"},
    ),
}  # fmt: skip


@pytest.mark.parametrize("version", [3, 9])
@pytest.mark.parametrize("name", SHARED)
def test_a_kernel_that_is_shared_stays_for_others(tmp_path: Path, name: str, version: int) -> None:
    nodes, shape, kernels, left = SHARED[name]
    path = tmp_path / "model.onnx"
    model = model_of(nodes, {"w": values(shape)}, version=version)
    if version == 3:  # whose initializers are inputs, too
        model.graph.input.append(helper.make_tensor_value_info("w", FLOAT, shape))
    onnx.save(model, path)
    x = values((2, 4, 5, 6), 3)
    (before,) = run(path, x)
    counts = onnx_deconvolutions.make_dense(path)
    assert counts == {"in_groups": len(kernels), "dense": len(kernels)}
    graph = in_file(path)
    assert groups_of(graph) == kernels
    assert {each.name for each in graph.initializer} == left
    assert {each.name for each in graph.input} == {"x"} | (left if version == 3 else set())
    np.testing.assert_allclose(run(path, x)[0], before, rtol=1e-4, atol=1e-4)


def constant_node(name: str, value: Array) -> Any:
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(value))


FIRST, SECOND = values((4, 1, 2, 2), 1), values((4, 1, 2, 2), 2)
BRANCHES: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "one reads a kernel from outside": (
        branch_of([deconvolution("xk", "t", 4)], {}), branch_of([deconvolution("xw", "e", 4)], {"w": SECOND}),
        {"in_groups": 3, "dense": 3},
    ),
    "initializers of the same name": (
        branch_of([deconvolution("xw", "t", 4)], {"w": FIRST}), branch_of([deconvolution("xw", "e", 4)], {"w": SECOND}),
        {"in_groups": 3, "dense": 3},
    ),
    "constant nodes of the same name": (
        branch_of([constant_node("w", FIRST), deconvolution("xw", "t", 4)], {}),
        branch_of([constant_node("w", SECOND), deconvolution("xw", "e", 4)], {}),
        {"in_groups": 3, "dense": 3},
    ),
    "an Identity that is called what the other one reads": (
        branch_of([helper.make_node("Identity", "v", "w"), deconvolution("xw", "t", 4)], {"v": FIRST}),
        branch_of([helper.make_node("Identity", "w", "v"), deconvolution("xv", "e", 4)], {"w": SECOND}),
        {"in_groups": 3, "dense": 3},
    ),
    "a kernel that is computed in one": (
        branch_of([deconvolution("xw", "t", 4)], {"w": FIRST}),
        branch_of([helper.make_node("Mul", "vv", "w"), deconvolution("xw", "e", 4, "up")], {"v": SECOND}),
        {"in_groups": 3, "dense": 2, "reasons": ["up: its kernel is computed by Mul"]},
    ),
    "a convolution's kernel of the same name": (
        branch_of([deconvolution("xw", "t", 4)], {"w": FIRST}),
        branch_of([helper.make_node("Conv", "xw", "e", group=4)], {"w": SECOND}),
        {"in_groups": 2, "dense": 2},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BRANCHES)
def test_those_in_the_branches_of_a_conditional_are_dense_too(tmp_path: Path, name: str) -> None:
    """Two branches may call different values by the same name."""
    then, otherwise, counts = BRANCHES[name]
    path = tmp_path / "model.onnx"
    outside = {"k": values((4, 1, 2, 2), 5), "z": np.array(0, np.float32)}
    nodes = [
        deconvolution("xk", "a", 4), helper.make_node("ReduceMax", "x", "m", keepdims=0),
        helper.make_node("Greater", "mz", "c"),
        helper.make_node("If", "c", "y", then_branch=then, else_branch=otherwise),
    ]  # fmt: skip
    onnx.save(model_of(nodes, outside, outputs="ya"), path)
    xs = [values((1, 4, 5, 6), 3), -(values((1, 4, 5, 6), 3) ** 2)]
    before = [run(path, x) for x in xs]
    assert onnx_deconvolutions.make_dense(path) == counts
    assert "k_of_4_groups" in {each.name for each in in_file(path).initializer}
    for x, expected in zip(xs, before, strict=True):
        for after, array in zip(run(path, x), expected, strict=True):
            np.testing.assert_allclose(after, array, rtol=1e-4, atol=1e-4)


KEPT: dict[str, tuple[list[Any], dict[str, Any], list[str]]] = {
    "computed": (
        [helper.make_node("Mul", "ws", "v"), deconvolution("xv", "y", 4, "/model/head/up/ConvTranspose")],
        {"w": values((4, 1, 2, 2)), "s": values((1,))}, ["head.up: its kernel is computed by Mul"],
    ),
    "quantized": (
        [helper.make_node("DequantizeLinear", "qs", "v"), deconvolution("xv", "y", 4)],
        {"q": np.ones((4, 1, 2, 2), np.int8), "s": np.array(0.5, np.float32)},
        ["y: its kernel is computed by DequantizeLinear"],
    ),
    "an input": ([deconvolution("xx", "y", 2, "up")], {}, ["up: its kernel is an input"]),
}  # fmt: skip


@pytest.mark.parametrize("name", KEPT)
def test_what_keeps_its_groups_is_counted_with_the_reason_and_the_file_is_as_it_was(tmp_path: Path, name: str) -> None:
    nodes, constants, reasons = KEPT[name]
    path = tmp_path / "model.onnx"
    onnx.save(model_of(nodes, constants, shape=[4, 4, 2, 2]), path)
    before = path.read_bytes()
    assert onnx_deconvolutions.make_dense(path) == {"in_groups": 1, "dense": 0, "reasons": reasons}
    assert path.read_bytes() == before
    run(path, values((4, 4, 2, 2)))


def test_a_kernel_that_would_be_too_large_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(model_of([deconvolution("xw", "y", 2, "up")], {"w": values((4, 3, 2, 2))}), path)
    monkeypatch.setattr(deconvolutions, "MOST_VALUES", 95)
    reasons = ["up: its dense kernel would have 96 values, more than 95"]
    assert onnx_deconvolutions.make_dense(path) == {"in_groups": 1, "dense": 0, "reasons": reasons}
    monkeypatch.setattr(deconvolutions, "MOST_VALUES", 96)
    assert onnx_deconvolutions.make_dense(path) == DENSE


def test_a_kernel_that_does_not_fit_its_groups_stays_for_the_runtime_to_refuse(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    onnx.save(model_of([deconvolution("xw", "y", 3, "up")], {"w": values((4, 1, 2, 2))}), path)
    before = path.read_bytes()
    reasons = ["up: its kernel of the shape [4, 1, 2, 2] cannot be divided into 3 groups of floats"]
    assert onnx_deconvolutions.make_dense(path) == {"in_groups": 1, "dense": 0, "reasons": reasons}
    assert path.read_bytes() == before


def test_a_file_without_groups_is_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    plain = helper.make_node("ConvTranspose", ["x", "w"], ["a"])
    forward = helper.make_node("Conv", ["a", "v"], ["y"], group=2)
    onnx.save(model_of([plain, forward], {"w": values((4, 2, 2, 2)), "v": values((4, 1, 1, 1))}), path)
    before = path.read_bytes()
    assert onnx_deconvolutions.make_dense(path) == {"in_groups": 0, "dense": 0}
    assert path.read_bytes() == before


def test_those_in_functions_stay(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    opset = [helper.make_opsetid("", 17)]
    function = helper.make_function("own", "up", ["x", "w"], ["y"], [deconvolution("xw", "y", 4, "inner")], opset)
    model = model_of(
        [helper.make_node("up", "xw", "y", domain="own")], {"w": values((4, 1, 2, 2))}, functions=[function]
    )
    model.opset_import.append(helper.make_opsetid("own", 1))
    onnx.save(model, path)
    reasons = ["inner: it is in a function of the file"]
    assert onnx_deconvolutions.make_dense(path) == {"in_groups": 1, "dense": 0, "reasons": reasons}


def test_a_file_that_would_be_too_large_has_its_dense_kernels_outside(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "model.onnx"
    nodes = [deconvolution("xw", "a", 4), deconvolution("av", "y", 2)]
    onnx.save(model_of(nodes, {"w": values((4, 1, 2, 2)), "v": values((4, 2, 2, 2), 4)}), path)
    x = values((2, 4, 5, 6), 3)
    (before,) = run(path, x)
    monkeypatch.setattr(onnx_manifest, "INSIDE", path.stat().st_size)
    assert onnx_deconvolutions.make_dense(path) == {"in_groups": 2, "dense": 2}
    assert [bool(each.external_data) for each in in_file(path).initializer] == [True, True]
    assert sorted(each.name for each in tmp_path.iterdir()) == ["dense_kernels.data", "model.onnx"]
    np.testing.assert_allclose(run(path, x)[0], before, rtol=1e-4, atol=1e-4)


def test_values_that_are_not_there_are_an_error(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    model = model_of([deconvolution("xw", "y", 2)], {"w": values((4, 3, 2, 2))})
    onnx.save_model(model, path, save_as_external_data=True, location="w.bin", size_threshold=0)
    (tmp_path / "w.bin").write_bytes(bytes(8))
    with pytest.raises(SuiteError, match=r"kernel 'w' of the shape \[4, 3, 2, 2\] cannot be read") as caught:
        onnx_deconvolutions.make_dense(path)
    assert caught.value.fix
