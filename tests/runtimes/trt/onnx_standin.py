"""ONNX files without a node: declared inputs and outputs, and the same as JSON for a parser that stands in."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.runtimes import onnx_file

_TYPES = {"FLOAT": 1, "INT32": 6, "INT64": 7, "BOOL": 9, "HALF": 10, "BF16": 16}


def encode(model: dict[str, Any]) -> bytes:
    """An ONNX file that declares the model's inputs and outputs, and has the model as JSON in its description."""

    def field(number: int, content: bytes) -> bytes:
        size, length = b"", len(content)
        while length > 127:
            size, length = size + bytes([length & 127 | 128]), length >> 7
        return bytes([number << 3 | 2]) + size + bytes([length]) + content

    def value(name: str, dtype: str, shape: Sequence[int]) -> bytes:
        sizes = field(2, b"".join(field(1, bytes([8, size]) if size >= 0 else b"") for size in shape))
        return field(1, name.encode()) + field(2, field(1, bytes([8, _TYPES[dtype]]) + sizes))

    ends = ((11, model["inputs"]), (12, model["outputs"]))
    graph = b"".join(field(number, value(*end)) for number, tensors in ends for end in tensors)
    return field(6, json.dumps(model).encode()) + field(7, graph)


def read(path: Path) -> Any:
    """The model that ``encode`` was given."""
    description = dict(onnx_file.fields(memoryview(path.read_bytes())))[6]
    assert isinstance(description, memoryview)
    return json.loads(bytes(description))
