"""Inputs to calibrate with: drawn, of a file, of a function, and what is wrong with them."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest

from bench import tensors
from bench.errors import SuiteError
from bench.model.suite import Case, Input
from bench.runtimes import calibration_data

CASE = Case(
    model="net", factory="zoo.py:net", backend="fx2trt", precision="int8", symbols={"batch": 2}, source="mine.yaml:16",
    inputs={"x": Input(shape=("batch", 3), dtype="float32")},
)  # fmt: skip


def batches(folder: Path, samples: int, data: str = "", case: Case = CASE) -> list[dict[str, Any]]:
    context: Any = SimpleNamespace(suite_dir=folder, seed=0)
    return list(calibration_data.batches(case, context, samples, data))


def with_input(dtype: str) -> Case:
    return msgspec.structs.replace(CASE, inputs={"x": Input(shape=("batch", 3), dtype=dtype)})


def test_drawn_inputs_are_whole_batches_that_differ_and_are_those_of_every_call(tmp_path: Path) -> None:
    drawn = batches(tmp_path, 5)
    assert [each["x"].shape for each in drawn] == [(2, 3)] * 3
    assert len({each["x"].tobytes() for each in drawn}) == 3
    assert all(np.array_equal(a["x"], b["x"]) for a, b in zip(drawn, batches(tmp_path, 5), strict=True))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_narrow_floats_are_float32_as_in_a_case_s_inputs(tmp_path: Path, dtype: str) -> None:
    case = with_input(dtype)
    (drawn,) = batches(tmp_path, 2, case=case)
    assert drawn["x"].dtype == np.float32
    stored = np.arange(6, dtype=np.float32 if dtype == "bfloat16" else dtype).reshape(2, 3)
    np.savez(tmp_path / "data.npz", x=stored)
    calibration_data.check(case, tmp_path, "data.npz")
    (read,) = batches(tmp_path, 2, "data.npz", case)
    assert read["x"].dtype == np.float32
    assert np.array_equal(read["x"], stored)
    np.savez(tmp_path / "other.npz", x=np.ones((2, 3)))
    with pytest.raises(SuiteError, match=f"float64.* for the input 'x', a batch of which is {dtype}") as error:
        batches(tmp_path, 2, "other.npz", case)
    assert "or float32" in (error.value.fix or "") or "an array of float32" in (error.value.fix or "")


def test_data_that_are_nan_are_named_with_their_input(tmp_path: Path) -> None:
    context: Any = SimpleNamespace(suite_dir=tmp_path, seed=0)
    values = np.ones((4, 3), np.float32)
    np.savez(tmp_path / "data.npz", x=values)
    calibration_data.check_numbers(CASE, context, 4, "data.npz")
    values[3, 0] = np.nan
    np.savez(tmp_path / "data.npz", x=values)
    with pytest.raises(SuiteError, match=r"data\.npz: the input 'x' is NaN or infinite in places"):
        calibration_data.check_numbers(CASE, context, 4, "data.npz")


def test_none_of_them_is_what_accuracy_is_checked_with(tmp_path: Path) -> None:
    checked = [tensors.seeded_inputs(CASE.resolved, seed)["x"] for seed in range(10)]
    assert not any(np.array_equal(each["x"], other) for each in batches(tmp_path, 20) for other in checked)


def test_a_file_is_read_batch_by_batch(tmp_path: Path) -> None:
    values = np.arange(15, dtype=np.float32).reshape(5, 3)
    np.savez(tmp_path / "data.npz", x=values)
    read = batches(tmp_path, 128, "data.npz")
    assert np.array_equal(np.concatenate([each["x"] for each in read]), values[:4])
    assert len(batches(tmp_path, 2, "data.npz")) == 1


def test_arrays_of_a_file_that_are_no_inputs_count_for_nothing(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", x=np.ones((4, 3), np.float32), classes=np.arange(1), scale=np.float32(1))
    assert [list(each) for each in batches(tmp_path, 128, "data.npz")] == [["x"], ["x"]]


def test_a_function_yields_batches(tmp_path: Path) -> None:
    (tmp_path / "data.py").write_text(
        "import numpy as np\ndef images():\n    while True:\n        yield {'x': np.ones((2, 3), 'float32')}\n"
    )
    assert len(batches(tmp_path, 7, "data.py:images")) == 4


WRONG = """
import numpy as np
def short(): yield {"x": np.ones((1, 3), "float32")}
def double(): yield {"x": np.ones((2, 3))}
def other(): yield {"images": np.ones((2, 3), "float32")}
def nothing(): return iter([])
def items(): yield [np.ones((2, 3), "float32")]
count = 3
def raises(): raise ValueError("no images here")
def ends():
    yield {"x": np.ones((2, 3), "float32")}
    raise SystemExit(4)
def bare(): yield np.ones((2, 3), "float32")
def none(): pass
def five(): return 5
def one(): return {"x": np.ones((2, 3), "float32")}
def path(folder): yield {"x": np.ones((2, 3), "float32")}
def later():
    yield {"x": np.ones((2, 3), "float32")}
    yield {"x": np.ones((2, 2), "float32")}
def ragged(): yield {"x": [[1.0], [1.0, 2.0]]}
"""


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("absent.npz", "absent.npz cannot be read"),
        ("text.npz", "text.npz is no .npz of plain arrays"),
        ("empty.npz", "empty.npz is no .npz of plain arrays"),
        ("few.npz", "few.npz has 1 sample, fewer than a batch of 2"),
        ("absent.py:images", "there is no 'absent.py' beside the suite"),
        ("data.py:image", "data.py has no function 'image'"),
        ("data.py", "'data.py' names no function of the file"),
        ("data.npy", "'data.npy' names no function of the file"),
        ("broken.py:images", "broken.py cannot be imported: SyntaxError"),
        ("data.py:raises", r"data.py:raises raised ValueError: no images here \(data.py:9\)"),
        ("data.py:ends", r"data.py:ends ended Python \(exit code 4\) \(data.py:12\)"),
        ("ends.py:images", r"ends.py cannot be imported: it ended Python \(exit code 5\)"),
        ("data.py:none", "data.py:none returned None, which is no series of batches"),
        ("data.py:five", "data.py:five returned int, which is no series of batches"),
        ("data.py:one", "data.py:one returned dict, which is no series of batches"),
        ("data.py:path", "data.py:path is called without arguments: missing a required argument: 'folder'"),
        (
            "data.py:later",
            r"data.py:later, batch 2: float32\[2, 2\] for the input 'x', a batch of which is float32\[2, 3\]",
        ),
        ("data.py:ragged", "data.py:ragged, batch 1: NumPy makes no array of the input 'x': ValueError"),
        ("wide.npz", r"wide.npz: float32\[8, 4\] for the input 'x', a batch of which is float32\[2, 3\]"),
        ("data.py:nothing", "data.py:nothing yielded no batch to calibrate with"),
        ("data.py:short", r"data.py:short, batch 1: float32\[1, 3\] for the input 'x'"),
        ("data.py:double", r"data.py:double, batch 1: float64\[2, 3\] for the input 'x'"),
        ("data.py:items", "data.py:items, batch 1: list in place of a mapping of the inputs by name"),
        ("data.py:bare", "data.py:bare, batch 1: ndarray in place of a mapping of the inputs by name"),
        ("data.py:count", "'count' of data.py is no function but of type int"),
        ("number.npz", "number.npz has one number for the input 'x', and no samples"),
        ("others.npz", "others.npz: no input 'x'; there is images"),
        ("data.py:other", "data.py:other, batch 1: no input 'x'; there is images"),
    ],
)
def test_wrong_data_is_one_error_that_says_what_to_give(tmp_path: Path, data: str, message: str) -> None:
    (tmp_path / "text.npz").write_text("no archive")
    (tmp_path / "empty.npz").touch()
    np.savez(tmp_path / "few.npz", x=np.ones((1, 3), np.float32))
    np.savez(tmp_path / "number.npz", x=np.float32(1))
    np.savez(tmp_path / "others.npz", images=np.ones((4, 3), np.float32))
    np.savez(tmp_path / "wide.npz", x=np.ones((8, 4), np.float32))
    (tmp_path / "data.py").write_text(WRONG)
    (tmp_path / "broken.py").write_text("def images(:\n")
    (tmp_path / "ends.py").write_text("raise SystemExit(5)\n")
    with pytest.raises(SuiteError, match=message) as error:
        batches(tmp_path, 4, data)
    assert error.value.where == "mine.yaml:16: data"
    to_yield = ["short", "double", "other", "items", "bare", "none", "five", "one", "later", "ragged"]
    hints = dict.fromkeys((f"data.py:{name}" for name in to_yield), 'yield {"x": array}') | {
        "data.py:short": "an array of float32 and the shape [2, 3]",
        "data.py:double": "an array of float32 and the shape [2, 3]",
        "data.py:later": "an array of float32 and the shape [2, 3]",
        "absent.npz": f"numpy.savez('{tmp_path / 'absent.npz'}', x=array), 'x' float32 [samples, 3]",
        "wide.npz": "an array of float32 and the shape [samples, 3]",
        "number.npz": "an array of float32 and the shape [samples, 3]",
        "data.py:ends": "raise an error, or return, where sys.exit is called",
        "ends.py:images": "correct ends.py",
        "data.py:path": "def path():",
        "data.py:raises": "correct the function in data.py",
        "broken.py:images": "correct broken.py",
        "data.py:nothing": "yields one batch at least",
        "data.py:image": "name a function of data.py",
    }
    assert hints.get(data, "npz") in (error.value.fix or "")


@pytest.mark.parametrize(
    "text",
    [
        "def images(): ...",
        "if True:\n    from somewhere import others as images",
        "images = make()",
        "from somewhere import *",
        "globals()['images'] = make()",
        "def __getattr__(name): ...",
    ],
)
def test_a_function_that_the_text_may_define_is_left_to_the_run(tmp_path: Path, text: str) -> None:
    (tmp_path / "data.py").write_text(text)
    calibration_data.check(CASE, tmp_path, "data.py:images")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("def image(): ...", "data.py has no function 'images'. Did you mean 'image'?"),
        ("raise SystemExit", "data.py has no function 'images'"),
        ("def images(:", "data.py cannot be imported: SyntaxError"),
        ("\0", "data.py cannot be imported: "),
    ],
)
def test_a_function_that_cannot_be_there_is_refused_and_nothing_is_run(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "data.py").write_text(text)
    with pytest.raises(SuiteError, match=re.escape(message)):
        calibration_data.check(CASE, tmp_path, "data.py:images")
