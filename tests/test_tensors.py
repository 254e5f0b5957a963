"""The safetensors file that NumPy alone reads and writes, held against the safetensors package."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from bench import tensors
from bench.model.suite import Input

DTYPES = ["f8", "f4", "f2", "i8", "i4", "i2", "i1", "u8", "u4", "u2", "u1", "?", "c8", "c16"]
ARRAYS = st.dictionaries(
    st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=8).filter(
        lambda name: name != "__metadata__"
    ),
    st.sampled_from(DTYPES).flatmap(lambda d: hnp.arrays(d, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0))),
    max_size=4,
)


@given(arrays=ARRAYS)
def test_what_is_written_is_read_back(tmp_path_factory: pytest.TempPathFactory, arrays: dict[str, np.ndarray]) -> None:
    path = tmp_path_factory.mktemp("t") / "a.safetensors"
    tensors.write(path, arrays)
    back = tensors.read(path)
    assert list(back) == list(arrays)
    for name, array in arrays.items():
        assert back[name].dtype == array.dtype
        np.testing.assert_array_equal(back[name], array)


def test_the_package_reads_what_we_write_and_we_read_what_it_writes(tmp_path: Path) -> None:
    package = pytest.importorskip("safetensors.numpy")
    arrays = {
        "x": np.arange(6, dtype=np.float32).reshape(2, 3),
        "ids": np.array([[1, 2]], np.int64),
        "one": np.array(1.5),
        "spectrum": np.array([1 - 2j], np.complex64),
    }
    tensors.write(tmp_path / "ours", arrays)
    package.save_file(arrays, tmp_path / "theirs", metadata={"by": "them"})
    for back in (package.load_file(tmp_path / "ours"), tensors.read(tmp_path / "theirs")):
        assert back.keys() == arrays.keys()
        for name, array in arrays.items():
            np.testing.assert_array_equal(back[name], array)


def test_bfloat16_is_rounded_to_nearest_and_ties_to_even_and_read_as_float32(tmp_path: Path) -> None:
    step = 2.0**-7  # between 1 and 2
    values = np.array([[1 + step / 2, 1 + 1.5 * step, 1 + 0.51 * step], [-3e38, np.inf, 1e-40]], np.float32)
    tensors.write(tmp_path / "a", {"x": values, "exact": values}, bfloat16=["x"])
    back = tensors.read(tmp_path / "a")
    assert back["x"].dtype == np.float32
    np.testing.assert_array_equal(back["x"][0], [1, 1 + 2 * step, 1 + step])
    np.testing.assert_allclose(back["x"][1], values[1], rtol=2.0**-8, atol=2.0**-134)
    np.testing.assert_array_equal(back["exact"], values)
    again = tensors.from_bfloat16(tensors.bfloat16_bits(back["x"]))
    np.testing.assert_array_equal(again.reshape(values.shape), back["x"])


@given(cut=st.integers(0, 150))
def test_a_file_cut_short_is_one_value_error(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    path = tmp_path_factory.mktemp("t") / "a.safetensors"
    tensors.write(path, {"x": np.ones(32, np.float32), "y": np.ones(8, np.int8)})
    path.write_bytes(path.read_bytes()[:cut])
    with pytest.raises(ValueError, match="not a whole safetensors file"):
        tensors.read(path)


def test_inputs_are_the_same_for_a_seed_whatever_stands_beside_them() -> None:
    x = Input(shape=(2, 3))
    ids = Input(shape=(4,), dtype="int64", range=(5, 7))
    alone = tensors.seeded_inputs({"x": x}, seed=1)
    both = tensors.seeded_inputs({"ids": ids, "x": x}, seed=1)
    np.testing.assert_array_equal(alone["x"], both["x"])
    assert not np.array_equal(alone["x"], tensors.seeded_inputs({"x": x}, seed=2)["x"])
    assert set(both["ids"].tolist()) <= {5, 6}
    assert both["ids"].dtype == np.int64


@pytest.mark.parametrize(
    ("dtype", "drawn"), [("float16", "float32"), ("float64", "float64"), ("bool", "bool"), ("int32", "int32")]
)
def test_inputs_have_the_dtype_asked_for_with_narrow_floats_as_float32(dtype: str, drawn: str) -> None:
    (array,) = tensors.seeded_inputs({"x": Input(shape=(64,), dtype=dtype)}, seed=0).values()
    assert array.dtype == drawn
    assert len(np.unique(array)) > 1
