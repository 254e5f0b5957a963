"""Inputs from a user's file: the values that are measured with, and files that do not fit."""

from __future__ import annotations

import contextlib
import json
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench import tensors
from bench.errors import SuiteError
from bench.model.suite import Case, Input

X = np.arange(24, dtype=np.float32).reshape(8, 3)


def case(symbols: dict[str, int] | None = None, **inputs: Input) -> Case:
    return Case(model="m", factory="a.b:c", inputs=inputs, backend="eager", symbols=symbols or {})


def save(path: Path, arrays: dict[str, np.ndarray]) -> None:
    if path.suffix == ".safetensors":
        tensors.write(path, arrays)
    elif path.suffix == ".npz":
        np.savez(path, **arrays)
    else:
        np.save(path, arrays["x"])


@pytest.mark.parametrize("name", ["in.safetensors", "in.npz", "in.npy"])
def test_the_first_elements_of_a_symbols_dimension_are_taken(tmp_path: Path, name: str) -> None:
    save(tmp_path / name, {"x": np.asfortranarray(X)})
    asked = case({"batch": 2}, x=Input(shape=("batch", 3), file=name), y=Input(shape=(4,)))
    arrays = tensors.case_inputs(asked, 5, tmp_path)
    assert list(arrays) == ["x", "y"]
    np.testing.assert_array_equal(arrays["x"], X[:2])
    np.testing.assert_array_equal(arrays["y"], tensors.seeded_inputs(asked.resolved, 5)["y"])
    assert arrays["x"].flags.c_contiguous


def test_an_array_may_have_another_name_and_no_dimension(tmp_path: Path) -> None:
    np.savez(tmp_path / "in.npz", scale=np.int64(3))
    spec = Input(shape=(), dtype="int64", file="in.npz", array="scale")
    (array,) = tensors.case_inputs(case(x=spec), 0, tmp_path).values()
    assert (array.shape, int(array)) == ((), 3)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_narrow_floats_come_as_float32(tmp_path: Path, dtype: str) -> None:
    values = np.array([1.0, -2.5], np.float32)
    raw = values.astype("<f2").tobytes() if dtype == "float16" else (values.view("<u4") >> 16).astype("<u2").tobytes()
    entry = {"dtype": {"float16": "F16", "bfloat16": "BF16"}[dtype], "shape": [2], "data_offsets": [0, 4]}
    text = json.dumps({"x": entry}).encode()
    (tmp_path / "in.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + raw)
    (array,) = tensors.case_inputs(case(x=Input(shape=(2,), dtype=dtype, file="in.safetensors")), 0, tmp_path).values()
    assert array.dtype == np.float32
    np.testing.assert_array_equal(array, values)


def test_where_a_program_is_traced_at_a_larger_size_the_elements_come_again(tmp_path: Path) -> None:
    save(tmp_path / "in.npz", {"x": X[:2]})
    asked = case({"batch": 2}, x=Input(shape=("batch", 3), file="in.npz"))
    more = tensors.case_inputs(asked, 0, tmp_path, {"batch": 5}, repeat=True)["x"]
    np.testing.assert_array_equal(more, X[[0, 1, 0, 1, 0]])
    with pytest.raises(SuiteError, match=r"x is float32 \[2, 3\], and the input 'x' float32 \[5, 3\]"):
        tensors.case_inputs(asked, 0, tmp_path, {"batch": 5})


@pytest.mark.parametrize(
    ("spec", "what"),
    [
        (Input(shape=(4, 3), file="in.npz"), r"x is float32 \[8, 3\], and the input 'x' float32 \[4, 3\]"),
        (Input(shape=(8,), file="in.npz"), "and the input 'x' float32"),
        (Input(shape=(8, 3), dtype="float16", file="in.npz"), "and the input 'x' float16"),
        (Input(shape=(8, 3), file="in.npz", array="xx"), "no array 'xx'. Did you mean 'x'"),
        (Input(shape=(8, 3), file="none.npz"), "no such file"),
        (Input(shape=(8, 3), file="in.csv"), "inputs are read from"),
    ],
)
def test_a_file_that_does_not_fit_is_told_with_both_sides(tmp_path: Path, spec: Input, what: str) -> None:
    save(tmp_path / "in.npz", {"x": X})
    with pytest.raises(SuiteError, match=what) as caught:
        tensors.case_inputs(case(x=spec), 0, tmp_path)
    assert caught.value.fix


def test_objects_are_not_unpickled(tmp_path: Path) -> None:
    np.savez(tmp_path / "in.npz", x=np.array([{}], object))
    with pytest.raises(SuiteError, match="x is object"):
        tensors.describe(tmp_path / "in.npz")


@pytest.mark.parametrize("name", ["in.safetensors", "in.npz", "in.npy"])
@settings(max_examples=40)
@given(data=st.data())
def test_a_damaged_file_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, name: str, data: st.DataObject
) -> None:
    path = tmp_path_factory.getbasetemp() / name
    save(path, {"x": X})
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(0, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(bytes(content[: data.draw(st.integers(0, len(content)))]))
    asked: dict[str, Any] = {"x": Input(shape=(8, 3), file=name)}
    with contextlib.suppress(SuiteError):  # nothing else is raised
        (array,) = tensors.case_inputs(case(**asked), 0, path.parent).values()
        assert array.shape == (8, 3)
