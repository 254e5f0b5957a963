"""Named arrays in the safetensors format, and the inputs of a case: NumPy only, for any toolchain.

The safetensors package is not used because a foreign toolchain has only the standard library, msgspec and NumPy;
the tests hold both directions against the package, which lacks only C128 (complex128).
"""

from __future__ import annotations

import json
import math
import struct
import zipfile
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bench.errors import SuiteError, did_you_mean
from bench.model.suite import Case, Input, resolve_shapes

Array = np.ndarray[Any, Any]

# The outputs of a reference by name; and of a quantized one also those with values rounded between its layers.
OUTPUTS, ROUNDING = "outputs.safetensors", "rounding.safetensors"

_CODES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1", "U8": "|u1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "BOOL": "|b1", "C64": "<c8",
    "C128": "<c16",  # not in the format of the safetensors package, which reads all others
}  # fmt: skip
_NAMES = {np.dtype(code): name for name, code in _CODES.items()}
_BFLOAT16 = "BF16"
# Names of dtypes as a suite has them, which are NumPy's.
_NO_INPUT = ("complex64", "complex128", "uint16", "uint32", "uint64")
_WORDS = {name: np.dtype(code).name for name, code in _CODES.items()} | {_BFLOAT16: "bfloat16"}
# The suffixes of files that may hold inputs.
FILES = (".safetensors", ".npz", ".npy")


def write(path: Path, arrays: Mapping[str, Array], bfloat16: Collection[str] = ()) -> None:
    """Write arrays of any shape to one file, those named in ``bfloat16``, of float32, as that type.

    ValueError for a dtype that NumPy has no standard name for.
    """
    header: dict[str, Any] = {}
    offset = 0
    for name, array in arrays.items():
        if array.dtype not in _NAMES:
            raise ValueError(f"{name}: dtype {array.dtype} has no place in a safetensors file written from NumPy")
        size = array.size * 2 if name in bfloat16 else array.nbytes
        header[name] = {
            "dtype": _BFLOAT16 if name in bfloat16 else _NAMES[array.dtype],
            "shape": list(array.shape),
            "data_offsets": [offset, offset + size],
        }
        offset += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for name, array in arrays.items():
            data = bfloat16_bits(array) if name in bfloat16 else np.ascontiguousarray(array)
            file.write(data.tobytes())


def read(path: Path) -> dict[str, Array]:
    """Read every array of a safetensors file, bfloat16 as float32. ValueError if the file is none, or is cut short."""
    data = path.read_bytes()
    try:
        (size,) = struct.unpack_from("<Q", data)
        header = json.loads(data[8 : 8 + size])
        arrays = {}
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            start, end = entry["data_offsets"]
            narrow = entry["dtype"] == _BFLOAT16
            code = "<u2" if narrow else _CODES[entry["dtype"]]
            flat = np.frombuffer(data, code, math.prod(entry["shape"]), 8 + size + start)
            if end - start != flat.nbytes:
                raise ValueError(f"{name}: {end - start} bytes for {flat.nbytes}")
            wide = from_bfloat16(flat) if narrow else flat.copy()
            arrays[name] = wide.reshape(entry["shape"])
    except (struct.error, KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError) as error:
        raise ValueError(f"{path} is not a whole safetensors file: {error}") from error
    return arrays


def bfloat16_bits(array: Array) -> Array:
    """Floats as bfloat16, which NumPy lacks: its bits (uint16), rounded to nearest, ties to even."""
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16)


def from_bfloat16(bits: Array) -> Array:
    """float32 of the bits (uint16) of bfloat16."""
    return (bits.astype("<u4") << 16).view("<f4")


def seeded_inputs(inputs: Mapping[str, Input], seed: int) -> dict[str, Array]:
    """The inputs of a case: standard normal floats, uniform integers in ``range`` (default [0, 2)), never zeros.

    Each input is drawn from its own stream, so that adding one does not change the others. Floats narrower than
    float32 are drawn as float32: a backend converts them to the case's precision. Shapes must be resolved to ints. A
    ``file`` is not read: see ``case_inputs``.
    """
    arrays: dict[str, Array] = {}
    for name, spec in inputs.items():
        rng = np.random.default_rng([seed, *name.encode()])
        shape = tuple(int(size) for size in spec.shape)
        if spec.dtype == "bool":
            arrays[name] = rng.integers(0, 2, shape).astype(np.bool_)
        elif spec.dtype.startswith(("int", "uint")):
            low, high = spec.range or (0, 2)
            arrays[name] = rng.integers(low, high, shape, dtype=np.int64).astype(spec.dtype)
        else:
            wide = np.float64 if spec.dtype == "float64" else np.float32
            arrays[name] = rng.standard_normal(shape, dtype=wide)
    return arrays


# ------------------------------------------------------------------------------------------------ inputs from a file


def case_inputs(
    case: Case, seed: int, folder: Path, sizes: Mapping[str, int] | None = None, *, repeat: bool = False
) -> dict[str, Array]:
    """The inputs of ``case``: those of its files in ``folder``, the others seeded; ``sizes`` as its symbols by default.

    Of a dimension whose size is a symbol the first elements are taken; with ``repeat`` they come again where the file
    has too few. Floats narrower than float32 become float32. SuiteError if a file does not fit its input.
    """
    sizes = sizes or case.symbols
    arrays = seeded_inputs(
        {name: spec for name, spec in resolve_shapes(case.inputs, sizes).items() if not spec.file}, seed
    )
    files = {spec.file for spec in case.inputs.values() if spec.file}
    contents = {file: _read_file(folder / file) for file in files}
    for name, spec in case.inputs.items():
        if spec.file:
            check_input(name, spec, sizes, describe(folder / spec.file), folder / spec.file, repeat=repeat)
            array = contents[spec.file][_array_name(name, spec, contents[spec.file])]
            for axis, size in enumerate(spec.shape):
                if isinstance(size, str):
                    array = np.take(array, np.arange(sizes[size]), axis=axis, mode="wrap")
            narrow = array.dtype.kind == "f" and array.dtype.itemsize < 4
            arrays[name] = np.array(array, np.float32 if narrow else array.dtype.newbyteorder("="), order="C")
    return {name: arrays[name] for name in case.inputs}


def describe(path: Path) -> dict[str, Input]:
    """Shape and dtype of each array of a file, by name, without its values; that of a ``.npy`` file is called ``""``.

    SuiteError if the file is not there, is of another kind, or holds what is no tensor.
    """
    readers = {".safetensors": _headers_of_safetensors, ".npz": _headers_of_npz, ".npy": _header_of_npy}
    headers: dict[str, Input] = _reading(path, lambda path: readers[path.suffix](path))
    return headers


def check_input(
    name: str,
    spec: Input,
    sizes: Mapping[str, int],
    arrays: Mapping[str, Input],
    path: Path,
    *,
    repeat: bool = False,
) -> None:
    """SuiteError unless ``arrays``, as ``describe`` returns them of ``path``, have what the input ``name`` declares."""
    array = _array_name(name, spec, arrays)
    if array not in arrays:
        what = f"the file has no array {array!r}.{did_you_mean(array, arrays)}"
        raise SuiteError(what, where=str(path), fix=f"`array: NAME`; it has: {', '.join(arrays) or 'none'}")
    there = arrays[array]
    wanted = [sizes[size] if isinstance(size, str) else size for size in spec.shape]
    fits = len(wanted) == len(there.shape) and all(
        (int(size) > 0 and (repeat or int(size) >= int(new))) if isinstance(old, str) else size == old
        for size, old, new in zip(there.shape, spec.shape, wanted, strict=True)
    )
    if not fits or there.dtype != spec.dtype:
        what = (
            f"{array or 'the array'} is {there.dtype} {list(there.shape)}, and the input {name!r} {spec.dtype} {wanted}"
        )
        fix = "declare what the file has; a symbol takes the first elements of its dimension, which must be enough"
        raise SuiteError(what, where=str(path), fix=fix)


def _array_name(name: str, spec: Input, arrays: Mapping[str, Any]) -> str:
    return spec.array or ("" if list(arrays) == [""] else name)


def _reading(path: Path, reader: Callable[[Path], Any]) -> Any:
    """What ``reader`` returns for the file; whatever it cannot read is a SuiteError."""
    if path.suffix not in FILES:
        raise SuiteError(f"inputs are read from {', '.join(FILES)}", where=str(path), fix="save it as one of these")
    if not path.is_file():
        raise SuiteError("there is no such file", where=str(path), fix="a path relative to the suite")
    try:
        return reader(path)
    except OSError as error:
        raise SuiteError(f"the file cannot be read: {error.strerror or error}", where=str(path)) from error
    except Exception as error:
        what = f"not a whole {path.suffix.removeprefix('.')} file of tensors: {error}".removesuffix(": ")
        raise SuiteError(what[:500], where=str(path), fix="save the arrays again, without Python objects") from error


def _read_file(path: Path) -> dict[str, Array]:
    def arrays(path: Path) -> dict[str, Array]:
        if path.suffix == ".safetensors":
            return read(path)
        with path.open("rb") as file:  # np.load leaves one that it opens itself open where it raises
            content = np.load(file, allow_pickle=False)
            return {"": content} if path.suffix == ".npy" else {name: content[name] for name in content.files}

    content: dict[str, Array] = _reading(path, arrays)
    return content


def _headers_of_safetensors(path: Path) -> dict[str, Input]:
    with path.open("rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        if size > path.stat().st_size:
            raise ValueError("the header is longer than the file")
        header = json.loads(file.read(size))
    return {
        name: _described(name, _WORDS.get(entry["dtype"], entry["dtype"]), entry["shape"])
        for name, entry in header.items()
        if name != "__metadata__"
    }


def _headers_of_npz(path: Path) -> dict[str, Input]:
    headers = {}
    with zipfile.ZipFile(path) as archive:
        for member in archive.namelist():
            if member.endswith(".npy"):
                with archive.open(member) as file:
                    name = member.removesuffix(".npy")
                    headers[name] = _npy(name, file)
    return headers


def _header_of_npy(path: Path) -> dict[str, Input]:
    with path.open("rb") as file:
        return {"": _npy("the array", file)}


def _npy(name: str, file: Any) -> Input:
    version = np.lib.format.read_magic(file)
    readers = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    if version not in readers:
        raise ValueError(f"{name} is in version {version[0]} of the format")
    shape, _, dtype = readers[version](file)
    return _described(name, dtype.name if not dtype.hasobject else "object", shape)


def _described(name: str, dtype: Any, shape: Any) -> Input:
    """ValueError for a dtype that no input has, or a shape that is none."""
    if dtype not in _WORDS.values() or dtype in _NO_INPUT:
        raise ValueError(f"{name} is {dtype}, which no input can be")
    sizes = tuple(shape)
    if not all(type(size) is int and size >= 0 for size in sizes):
        raise ValueError(f"{name} has the shape {list(sizes)}")
    return Input(shape=sizes, dtype=dtype)
