"""Inputs to calibrate with: drawn as those of a case, of a file, or of a user's function. NumPy only."""

from __future__ import annotations

import ast
import contextlib
import inspect
import itertools
import keyword
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench import tensors
from bench.errors import BenchError, SuiteError, class_and_text, did_you_mean
from bench.model.seam import Context
from bench.model.suite import Case
from bench.system import userfile

# Seeds of calibration inputs follow this one, so that no input is also one that accuracy is checked with.
_FIRST_SEED = 1_000
_SHOWN = 5
_SOURCE = "an .npz with the inputs, or file.py:function"
_NO_EXIT = "raise an error, or return, where sys.exit is called"
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
    if data.endswith(".npz"):
        yield from itertools.islice(_of_file(case, context.suite_dir / data), calls)
        return
    number = 0
    for number, arrays in enumerate(itertools.islice(_of_function(case, context.suite_dir, data), calls), 1):
        yield _inputs_of(case, arrays, f"{data}, batch {number}")
    if not number and calls:
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


def check_numbers(case: Case, context: Context, samples: int, data: str) -> None:
    """SuiteError if the user's ``data`` have NaN: what was observed by them has no scale."""
    for arrays in batches(case, context, samples, data) if data else ():
        for name, array in arrays.items():
            if np.isnan(array).any():
                raise not_finite(case, data, name)


def not_finite(case: Case, data: str, name: str) -> SuiteError:
    """The error for data in which the input ``name`` has no scale, as some of it is NaN or infinite."""
    what = f"{data}: the input {name!r} is NaN or infinite in places"
    return _wrong(case, what, f"finite values for {name!r}: numpy.isfinite finds the others")


def _of_file(case: Case, path: Path) -> Iterator[dict[str, tensors.Array]]:
    count = _check_headers(case, path)
    with _opened(case, path) as file:
        arrays = {name: _widened(case, name, file[name]) for name in case.resolved}
    for start in range(0, count - case.batch + 1, case.batch):
        yield {name: array[start : start + case.batch] for name, array in arrays.items()}


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
        what = f"{path.name} cannot be read: {error.strerror or error}"
        raise _wrong(case, what, _saving(case, path)) from error
    except (EOFError, ValueError, zipfile.BadZipFile) as error:  # EOFError: an empty file
        raise _wrong(case, f"{path.name} is no .npz of plain arrays", _saving(case, path)) from error


def _check_headers(case: Case, path: Path) -> int:
    """How many samples the file has; SuiteError if it lacks an input, or has one of another shape or type."""
    with _opened(case, path) as file:
        names = file.files
        headers = {name: _header(file, name) for name in case.resolved if name in names}
    if absent := [name for name in case.resolved if name not in headers]:
        others = [name for name in names if name not in headers]
        raise _absent(case, absent[0], others or names, path.name, _saving(case, path))
    for name, (shape, dtype) in headers.items():
        fix = f"an array of {_dtypes(case, name)} and the shape {_of_samples(case, name)}"
        if not shape:
            raise _wrong(case, f"{path.name} has one number for the input {name!r}, and no samples", fix)
        if not _fits(case, name, (case.batch, *shape[1:]), dtype):
            raise _misfit(case, name, shape, dtype, path.name, fix)
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


def _of_function(case: Case, folder: Path, spec: str) -> Iterator[Any]:
    """What the user's function yields, whatever that is."""
    file, _, name = spec.partition(":")
    if not name:
        raise _wrong(case, f"{spec!r} names no function of the file")
    if not (folder / file).is_file():
        raise _wrong(case, f"there is no {file!r} beside the suite")
    try:
        module = userfile.execute(folder / file, f"_calibration_{Path(file).stem}")
    except (Exception, SystemExit) as error:
        raise _unusable(case, file, error) from error
    if not hasattr(module, name):
        raise _no_function(case, file, name, vars(module))
    if not callable(function := getattr(module, name)):
        raise _wrong(case, f"{name!r} of {file} is no function but of type {type(function).__name__}")
    try:
        inspect.signature(function).bind()
    except TypeError as error:
        raise _wrong(case, f"{spec} is called without arguments: {error}", f"def {name}():") from error
    except ValueError:  # a builtin that does not say what it takes
        pass
    with _user_code(case, spec, folder):
        batches = function()
    if isinstance(batches, Mapping) or not (hasattr(batches, "__iter__") or hasattr(batches, "__getitem__")):
        result = "None" if batches is None else type(batches).__name__
        raise _wrong(case, f"{spec} returned {result}, which is no series of batches", _yielding(case))
    with _user_code(case, spec, folder):
        yield from batches


@contextlib.contextmanager
def _user_code(case: Case, spec: str, folder: Path) -> Iterator[None]:
    """SuiteError for whatever the user's function ``spec`` raises in the block, SystemExit too."""
    try:
        yield
    except BenchError:
        raise
    except (Exception, SystemExit) as error:
        file = spec.partition(":")[0]
        fix = f"correct the function in {file}, or leave `data` out: inputs are drawn"
        fix = _NO_EXIT if isinstance(error, SystemExit) else fix
        raise _wrong(case, userfile.account(error, spec, folder), fix) from error


def _inputs_of(case: Case, arrays: Any, source: str) -> dict[str, tensors.Array]:
    """The arrays of the case's inputs, narrow floats as float32; ``source`` is the function and the batch."""
    if not isinstance(arrays, Mapping):
        what = f"{source}: {type(arrays).__name__} in place of a mapping of the inputs by name"
        raise _wrong(case, what, _yielding(case))
    result = {}
    for name in case.resolved:
        if name not in arrays:
            raise _absent(case, name, list(arrays), source, _yielding(case))
        try:
            array = np.asarray(arrays[name])
        except (RuntimeError, TypeError, ValueError) as error:  # a tensor of a GPU, or lists of several lengths
            what = f"{source}: NumPy makes no array of the input {name!r}: {class_and_text(error)}"
            raise _wrong(case, what, _yielding(case)) from error
        if not _fits(case, name, array.shape, array.dtype):
            fix = f"an array of {_dtypes(case, name)} and the shape {list(case.resolved[name].shape)}"
            raise _misfit(case, name, array.shape, array.dtype, source, fix)
        result[name] = _widened(case, name, array)
    return result


def _widened(case: Case, name: str, array: tensors.Array) -> tensors.Array:
    """The array of an input, of a narrow float as float32."""
    return array.astype(np.float32) if case.resolved[name].dtype in _NARROW else array


def _fits(case: Case, name: str, shape: Sequence[int], dtype: np.dtype[Any]) -> bool:
    """Whether a batch of an input has this shape and type."""
    spec = case.resolved[name]
    return tuple(shape) == tuple(spec.shape) and str(dtype) in (spec.dtype, *_NARROW.get(spec.dtype, ()))


def _misfit(case: Case, name: str, shape: Sequence[int], dtype: np.dtype[Any], source: str, fix: str) -> SuiteError:
    """The error for an array of another shape or type in ``source``."""
    spec = case.resolved[name]
    batch = f"a batch of which is {spec.dtype}{list(spec.shape)}"
    return _wrong(case, f"{source}: {dtype}{list(shape)} for the input {name!r}, {batch}", fix)


def _absent(case: Case, name: str, others: list[str], source: str, fix: str) -> SuiteError:
    there = ", ".join(map(str, others[:_SHOWN])) or "nothing"
    return _wrong(case, f"{source}: no input {name!r}; there is {there}", fix)


def _no_function(case: Case, file: str, name: str, names: Iterable[str]) -> SuiteError:
    return _wrong(case, f"{file} has no function {name!r}.{did_you_mean(name, names)}", f"name a function of {file}")


def _unusable(case: Case, file: str, error: BaseException) -> SuiteError:
    text = f"it ended Python (exit code {error.code})" if isinstance(error, SystemExit) else class_and_text(error)
    return _wrong(case, f"{file} cannot be imported: {text}", f"correct {file}, or leave `data` out: inputs are drawn")


def _yielding(case: Case) -> str:
    """``yield {"x": array}``: what a function has to do."""
    inputs = ", ".join(f'"{name}": array' for name in case.resolved)
    return f"yield {{{inputs}}}"


def _saving(case: Case, path: Path) -> str:
    """The line that writes an .npz of the inputs, with their types and shapes."""
    names = list(case.resolved)
    arrays = ", ".join(
        f"{name}=array" if name.isidentifier() and not keyword.iskeyword(name) else f"**{{{name!r}: array}}"
        for name in names
    )
    each = " and ".join(f"{name!r} {_dtypes(case, name)} {_of_samples(case, name)}" for name in names[:_SHOWN])
    return f"numpy.savez({str(path)!r}, {arrays}), {each}; or file.py:function"


def _dtypes(case: Case, name: str) -> str:
    """``float16 or float32``: the types that an array of an input may have."""
    dtype = case.resolved[name].dtype
    return " or ".join(_NARROW.get(dtype, (dtype,)))


def _of_samples(case: Case, name: str) -> str:
    """``[samples, 3, 224, 224]``: the shape of an input's array in a file."""
    return f"[{', '.join(['samples', *map(str, case.resolved[name].shape[1:])])}]"


def _wrong(case: Case, what: str, fix: str = _SOURCE) -> SuiteError:
    return SuiteError(what, where=f"{case.source}: data", fix=fix)
