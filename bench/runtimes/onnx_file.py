"""What an ONNX file says of itself, read from its protobuf without a package: inputs, types of weights, other files."""

from __future__ import annotations

import mmap
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import msgspec

from bench.errors import SuiteError
from bench.model.suite import Case, Precision

# The names of onnx.TensorProto.DataType.
_DTYPES = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 8: "string", 9: "bool",
    10: "float16", 11: "float64", 12: "uint32", 13: "uint64", 14: "complex64", 15: "complex128", 16: "bfloat16",
    17: "float8", 18: "float8", 19: "float8", 20: "float8",
}  # fmt: skip
_FLOATS = ("float32", "float16", "bfloat16", "float64")
_QUANTIZED = ("Quantize", "Dequantize", "QLinear", "MatMulInteger", "ConvInteger")
_MAX_DEPTH = 20

_Field = tuple[int, "int | memoryview"]


class Value(msgspec.Struct, frozen=True):
    """An input or output: its name, dtype (NumPy's name, ``bfloat16``, or that of no tensor: ``other``) and sizes, of
    which those that are not fixed are names or empty; None if the file does not say the shape.
    """

    name: str
    dtype: str
    shape: tuple[int | str, ...] | None


class Description(msgspec.Struct):
    """An ONNX file: ``inputs`` without initializers, ``opset`` of the standard domain, ``external`` files beside it.

    ``dtypes`` are those of its weights and inputs; ``quantized`` says whether it has operators that quantize.
    """

    inputs: list[Value] = []
    outputs: list[Value] = []
    opset: int = 0
    external: list[str] = []
    dtypes: set[str] = set()
    quantized: bool = False

    @property
    def precision(self) -> Precision:
        """The narrowest precision that weights and inputs have."""
        if self.quantized or "float8" in self.dtypes:
            return "fp8" if "float8" in self.dtypes else "int8"
        return "fp16" if "float16" in self.dtypes else "bf16" if "bfloat16" in self.dtypes else "fp32"


def describe(path: Path) -> Description:
    """The description of the file at ``path``. SuiteError if it is not there, or no whole ONNX file."""
    if not path.is_file():
        raise SuiteError(f"the file {path.name!r} is not there", where=str(path), fix="a path relative to the suite")
    try:
        with path.open("rb") as file:
            if path.stat().st_size == 0:
                raise ValueError("it is empty")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                view = memoryview(data)
                reader = _Reader()
                try:
                    reader.model(view)
                finally:
                    reader.release()
                    view.release()
                return reader.description
    except OSError as error:
        raise SuiteError(f"the file cannot be read: {error.strerror}", where=str(path)) from error
    except (ValueError, IndexError, TypeError) as error:
        what = f"{path.name} is no whole ONNX file: {error}"
        raise SuiteError(what, where=str(path), fix="export it again; `onnx.checker` says more") from error


def external_files(path: Path) -> list[str]:
    """The files beside ``path`` that have its weights; none of a file that cannot be read, which its user reports."""
    try:
        return [name for name in describe(path).external if is_beside(name)]
    except SuiteError:
        return []


def is_beside(name: str) -> bool:
    """Whether a relative path stays in the folder that it is relative to."""
    path = PurePosixPath(name)
    return not path.is_absolute() and ".." not in path.parts and bool(path.parts)


def check(case: Case, path: Path) -> None:
    """SuiteError unless the file takes the case's inputs: equal names, ranks, fixed sizes, and dtypes but for floats,
    which are converted to those of the file.
    """
    values = {value.name: value for value in describe(path).inputs}
    if set(values) != set(case.inputs):
        what = f"{case.factory} takes the inputs {_listed(values)}, and the suite has {_listed(case.inputs)}"
        raise SuiteError(what, where=str(path), fix="name them as in the file")
    for name, spec in case.resolved.items():
        value = values[name]
        same_kind = value.dtype == spec.dtype or (value.dtype in _FLOATS and spec.dtype in _FLOATS)
        same_shape = value.shape is None or (
            len(value.shape) == len(spec.shape)
            and all(isinstance(old, str) or old == new for old, new in zip(value.shape, spec.shape, strict=True))
        )
        if not same_kind or not same_shape:
            shape = "any shape" if value.shape is None else [size or "?" for size in value.shape]
            what = (
                f"{case.factory} takes {name!r} as {value.dtype} {shape}, and the case has {spec.dtype} {[*spec.shape]}"
            )
            raise SuiteError(what, where=str(path), fix="declare it as in the file, or export the file for these sizes")


def _listed(names: object) -> str:
    return ", ".join(map(str, names)) or "none"  # type: ignore[call-overload]


class _Reader:
    """Walks the messages of one file into a description."""

    def __init__(self) -> None:
        self.description = Description()
        self._initializers: set[str] = set()
        self._views: list[memoryview] = []

    def release(self) -> None:
        """Give up all views of the file, which could not be closed otherwise."""
        for view in self._views:
            view.release()

    def model(self, view: memoryview) -> None:
        graphs = 0
        for number, value in self._fields(view):
            if number == 7:
                graphs += 1
                self._graph(_message(value), 0)
            elif number == 8:
                fields = dict(self._fields(_message(value)))
                if _text(fields.get(1, memoryview(b""))) in ("", "ai.onnx"):
                    self.description.opset = _whole(fields.get(2, 0))
        if graphs != 1:
            raise ValueError("there is no graph in it")
        inputs = self.description.inputs
        self.description.inputs = [value for value in inputs if value.name not in self._initializers]
        self.description.dtypes |= {value.dtype for value in self.description.inputs}

    def _graph(self, view: memoryview, depth: int) -> None:
        if depth > _MAX_DEPTH:
            raise ValueError("graphs are nested too deep")
        for number, value in self._fields(view):
            if number == 1:
                self._node(_message(value), depth)
            elif number == 5:
                self._tensor(_message(value))
            elif number == 11 and depth == 0:
                self.description.inputs.append(self._value(_message(value)))
            elif number == 12 and depth == 0:
                self.description.outputs.append(self._value(_message(value)))

    def _node(self, view: memoryview, depth: int) -> None:
        for number, value in self._fields(view):
            if number == 4 and any(word in _text(value) for word in _QUANTIZED):
                self.description.quantized = True
            elif number == 5:
                for kind, content in self._fields(_message(value)):
                    if kind in (5, 10):
                        self._tensor(_message(content))
                    elif kind in (6, 11):
                        self._graph(_message(content), depth + 1)

    def _tensor(self, view: memoryview) -> None:
        scalar, dtype = True, ""
        for number, value in self._fields(view):
            if number == 1:
                scalar = False
            elif number == 2:
                dtype = _DTYPES.get(_whole(value), "other")
            elif number == 8:
                self._initializers.add(_text(value))
            elif number == 13:
                entry = dict(self._fields(_message(value)))
                name = _text(entry.get(2, memoryview(b"")))
                if _text(entry.get(1, memoryview(b""))) == "location" and name not in self.description.external:
                    self.description.external.append(name)
        if not scalar:  # a constant of one number is no weight
            self.description.dtypes.add(dtype)

    def _value(self, view: memoryview) -> Value:
        name, dtype, shape = "", "other", None
        for number, value in self._fields(view):
            if number == 1:
                name = _text(value)
            elif number == 2:
                tensor = dict(self._fields(_message(value))).get(1)
                if tensor is not None:
                    about = dict(self._fields(_message(tensor)))
                    dtype = _DTYPES.get(_whole(about.get(1, 0)), "other")
                    if 2 in about:
                        shape = tuple(self._size(_message(dim)) for _, dim in self._fields(_message(about[2])))
        return Value(name, dtype, shape)

    def _size(self, view: memoryview) -> int | str:
        fields = dict(self._fields(view))
        return _whole(fields[1]) if 1 in fields else _text(fields[2]) if 2 in fields else ""

    def _fields(self, view: memoryview) -> Iterator[_Field]:
        for number, value in fields(view):
            if not isinstance(value, int):
                self._views.append(value)
            yield number, value


def fields(view: memoryview) -> Iterator[_Field]:
    """The numbers and values of a protobuf message: integers, and views of what has a length. ValueError if it is cut
    short.
    """
    position = 0
    while position < len(view):
        tag, position = _varint(view, position)
        kind = tag & 7
        if kind == 0:
            value, position = _varint(view, position)
            yield tag >> 3, value
        elif kind == 2:
            size, position = _varint(view, position)
            if position + size > len(view):
                raise ValueError("it is cut short")
            part = view[position : position + size]
            position += size
            yield tag >> 3, part
        elif kind in (1, 5):
            position += 8 if kind == 1 else 4
        else:
            raise ValueError("it is no protobuf message")


def _varint(view: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 70:
        byte = view[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise ValueError("it is no protobuf message")


def _message(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise ValueError("it is no model")
    return value


def _whole(value: int | memoryview) -> int:
    if not isinstance(value, int):
        raise ValueError("it is no model")
    return value


def _text(value: int | memoryview) -> str:
    return bytes(_message(value)).decode(errors="replace")
