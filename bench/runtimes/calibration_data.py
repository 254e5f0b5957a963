"""Inputs to calibrate with: drawn as those of a case, of a file, or of a user's function. NumPy only."""

from __future__ import annotations

import ast
import contextlib
import itertools
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench import tensors
from bench.errors import BenchError, SuiteError, did_you_mean
from bench.model.seam import Context
from bench.model.suite import Case
from bench.system import userfile

# Seeds of calibration inputs follow this one, so that no input is also one that accuracy is checked with.
_FIRST_SEED = 1_000
_SHOWN = 5
_SOURCE = "an .npz with the inputs, or file.py:function"
_FEWER = "an .npz with more samples, or a smaller batch"
# The types that arrays of a narrow float may have: NumPy alone has no bfloat16.
_NARROW = {"float16": ("float16", "float32"), "bfloat16": ("float32",)}
# A file with one of these may define names that its text does not show.
_DYNAMIC = {"__getattr__", "exec", "globals", "setattr", "*"}


def batches(case: Case, context: Context, samples: int, data: str) -> Iterator[dict[str, tensors.Array]]:
    """Inputs of the case's sizes by name, as many batches as hold ``samples`` or as there are: each batch is whole.

    ``data`` is an ``.npz`` beside the suite with an array for each input, all samples along its first dimension, or
    ``file.py:function``, which yields mappings of the inputs of one batch; if it is empty, inputs are drawn. Floats
    narrower than float32 are float32, as in a case's inputs: what is quantized computes with that.

    Raises:
        SuiteError: the file or function is not there, lacks an input, has one of another shape or type, or the function
            yields nothing.
    """
    calls = -(-samples // case.batch)
    if not data:
        for index in range(calls):
            yield tensors.seeded_inputs(case.resolved, _FIRST_SEED + context.seed + index)
        return
    every: Iterator[Mapping[str, Any]]
    if data.endswith(".npz"):
        every = _of_file(case, context.suite_dir / data, case.batch)
    else:
        every = _of_function(case, context.suite_dir, data)
    is_empty = True
    for arrays in itertools.islice(every, calls):
        is_empty = False
        yield _inputs_of(case, arrays)
    if is_empty and calls:
        raise _wrong(case, f"{data} yielded no batch to calibrate with", "a function that yields one batch at least")


def check(case: Case, folder: Path, data: str) -> None:
    """SuiteError, that of ``batches``, if the file of ``data`` is not in ``folder``, or an ``.npz`` lacks an input of
    the case, or has one of another shape or type, by the headers, or the file's text does not define the function: no
    value is read, and nothing is imported.
    """
    if data.endswith(".npz"):
        _check_headers(case, folder / data)
        return
    file, _, function = data.partition(":")
    if not function:
        raise _wrong(case, f"{data!r} names no function of the file")
    if not (folder / file).is_file():
        raise _wrong(case, f"there is no {file!r} beside the suite")
    names = _names_in(case, folder / file)
    if function not in names and not names & _DYNAMIC:
        raise _no_function(case, file, function, names)


def _names_in(case: Case, path: Path) -> set[str]:
    """What the text of a Python file may define, and what it mentions; SuiteError if it is no Python."""
    try:
        tree = ast.parse(path.read_bytes())
    except (SyntaxError, ValueError) as error:  # ValueError: null bytes
        raise _unusable(case, path.name, error) from error
    except OSError as error:
        raise _wrong(case, f"{path.name} cannot be read: {error.strerror or error}") from error
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Name):
            names.add(node.id)
        elif isinstance(node, ast.alias):
            names.add(node.asname or node.name)
    return names


def _of_file(case: Case, path: Path, batch: int) -> Iterator[Mapping[str, Any]]:
    count = _check_headers(case, path)
    with _opened(case, path) as file:
        arrays = {name: file[name] for name in case.resolved}
    for start in range(0, count - batch + 1, batch):
        yield {name: array[start : start + batch] for name, array in arrays.items()}


@contextlib.contextmanager
def _opened(case: Case, path: Path) -> Iterator[Any]:
    """The ``.npz``; SuiteError for what cannot be read of it."""
    try:
        file = np.load(path, allow_pickle=False)
        if not isinstance(file, np.lib.npyio.NpzFile):
            raise ValueError("a single array")
        with file:
            yield file
    except OSError as error:
        raise _wrong(case, f"{path.name} cannot be read: {error.strerror or error}") from error
    except (EOFError, ValueError, zipfile.BadZipFile) as error:  # EOFError: an empty file
        raise _wrong(case, f"{path.name} is no .npz of plain arrays") from error


def _check_headers(case: Case, path: Path) -> int:
    """How many samples the file has; SuiteError if it lacks an input, or has one of another shape or type."""
    with _opened(case, path) as file:
        names = file.files
        headers = {name: _header(file, name) for name in case.resolved if name in names}
    if absent := [name for name in case.resolved if name not in headers]:
        others = [name for name in names if name not in headers]
        raise _absent(case, absent[0], others or names)
    for name, (shape, dtype) in headers.items():
        if not shape:
            raise _wrong(case, f"{path.name} has one number for the input {name!r}, and no samples")
        _check_array(case, name, (case.batch, *shape[1:]), dtype)
    count = min((shape[0] for shape, _ in headers.values()), default=0)
    if count < case.batch:
        what = f"{path.name} has {count} sample{'s' * (count != 1)}, fewer than a batch of {case.batch}"
        raise _wrong(case, what, _FEWER)
    return int(count)


def _header(file: Any, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    """Shape and type of an array of an ``.npz``."""
    member = f"{name}.npy"
    with file.zip.open(member if member in file.zip.namelist() else name) as content:
        is_first = np.lib.format.read_magic(content) == (1, 0)
        read = np.lib.format.read_array_header_1_0 if is_first else np.lib.format.read_array_header_2_0
        shape, _, dtype = read(content)
        return shape, dtype


def _of_function(case: Case, folder: Path, spec: str) -> Iterator[Mapping[str, Any]]:
    file, _, name = spec.partition(":")
    if not name:
        raise _wrong(case, f"{spec!r} names no function of the file")
    try:
        module = userfile.execute(folder / file, f"_calibration_{Path(file).stem}")
    except FileNotFoundError as error:
        raise _wrong(case, f"there is no {file!r} beside the suite") from error
    except Exception as error:
        raise _unusable(case, file, error) from error
    if not hasattr(module, name):
        raise _no_function(case, file, name, vars(module))
    if not callable(function := getattr(module, name)):
        raise _wrong(case, f"{name!r} of {file} is no function but of type {type(function).__name__}")
    try:
        yield from function()
    except BenchError:
        raise
    except Exception as error:
        what = f"{spec} raised {type(error).__name__}: {error}"
        raise _wrong(case, what, f"correct the function in {file}, or leave `data` out: inputs are drawn") from error


def _inputs_of(case: Case, arrays: Mapping[str, Any]) -> dict[str, Any]:
    """The arrays of the case's inputs, narrow floats as float32."""
    if not isinstance(arrays, Mapping):
        raise _wrong(case, f"calibration data: {type(arrays).__name__} for a batch, which is a mapping of its inputs")
    result = {}
    for name in case.resolved:
        if name not in arrays:
            raise _absent(case, name, list(arrays))
        array = np.asarray(arrays[name])
        _check_array(case, name, array.shape, array.dtype)
        result[name] = array.astype(np.float32) if case.resolved[name].dtype in _NARROW else array
    return result


def _check_array(case: Case, name: str, shape: Sequence[int], dtype: np.dtype[Any]) -> None:
    """SuiteError unless a batch of an input has this shape and type."""
    spec = case.resolved[name]
    if tuple(shape) != tuple(spec.shape) or str(dtype) not in (spec.dtype, *_NARROW.get(spec.dtype, ())):
        what = f"{dtype}{list(shape)} for the input {name!r}, which is {spec.dtype}{list(spec.shape)}"
        dtypes = " or ".join(_NARROW.get(spec.dtype, (spec.dtype,)))
        fix = f"arrays of {dtypes} and the shape {list(spec.shape)}; in an .npz the first size counts all samples"
        raise _wrong(case, f"calibration data: {what}", fix)


def _absent(case: Case, name: str, others: list[str]) -> SuiteError:
    there = ", ".join(map(str, others[:_SHOWN])) or "nothing"
    return _wrong(case, f"calibration data without the input {name!r}; there is {there}")


def _no_function(case: Case, file: str, name: str, names: Iterable[str]) -> SuiteError:
    return _wrong(case, f"{file} has no function {name!r}.{did_you_mean(name, names)}", f"name a function of {file}")


def _unusable(case: Case, file: str, error: Exception) -> SuiteError:
    what = f"{file} cannot be imported: {type(error).__name__}: {error}"
    return _wrong(case, what, f"correct {file}, or leave `data` out: inputs are drawn")


def _wrong(case: Case, what: str, fix: str = _SOURCE) -> SuiteError:
    return SuiteError(what, where=f"{case.source}: data", fix=fix)
