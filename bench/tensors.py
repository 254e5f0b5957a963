"""Named arrays in the safetensors format, and the seeded inputs of a case: NumPy only, for any toolchain.

The safetensors package is not used because a foreign toolchain has only the standard library, msgspec and NumPy;
the tests hold both directions against the package, which lacks only C128 (complex128).
"""

from __future__ import annotations

import json
import math
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bench.model.suite import Input

Array = np.ndarray[Any, Any]

_CODES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "|i1", "U8": "|u1",
    "U64": "<u8", "U32": "<u4", "U16": "<u2", "BOOL": "|b1", "C64": "<c8",
    "C128": "<c16",  # not in the format of the safetensors package, which reads all others
}  # fmt: skip
_NAMES = {np.dtype(code): name for name, code in _CODES.items()}


def write(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write arrays of any shape to one file. ValueError for a dtype that NumPy has no standard name for."""
    header: dict[str, Any] = {}
    offset = 0
    for name, array in arrays.items():
        if array.dtype not in _NAMES:
            raise ValueError(f"{name}: dtype {array.dtype} has no place in a safetensors file written from NumPy")
        header[name] = {
            "dtype": _NAMES[array.dtype],
            "shape": list(array.shape),
            "data_offsets": [offset, offset + array.nbytes],
        }
        offset += array.nbytes
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for array in arrays.values():
            file.write(np.ascontiguousarray(array).tobytes())


def read(path: Path) -> dict[str, Array]:
    """Read every array of a safetensors file. ValueError if the file is not one, or is cut short."""
    data = path.read_bytes()
    try:
        (size,) = struct.unpack_from("<Q", data)
        header = json.loads(data[8 : 8 + size])
        arrays = {}
        for name, entry in header.items():
            if name == "__metadata__":
                continue
            start, end = entry["data_offsets"]
            flat = np.frombuffer(data, _CODES[entry["dtype"]], math.prod(entry["shape"]), 8 + size + start)
            if end - start != flat.nbytes:
                raise ValueError(f"{name}: {end - start} bytes for {flat.nbytes}")
            arrays[name] = flat.reshape(entry["shape"]).copy()
    except (struct.error, KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is not a whole safetensors file: {error}") from error
    return arrays


def seeded_inputs(inputs: Mapping[str, Input], seed: int) -> dict[str, Array]:
    """The inputs of a case: standard normal floats, uniform integers in ``range`` (default [0, 2)), never zeros.

    Each input is drawn from its own stream, so that adding one does not change the others. Floats narrower than
    float32 are drawn as float32: a backend converts them to the case's precision. Shapes must be resolved to ints.
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
