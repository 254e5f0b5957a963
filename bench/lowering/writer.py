"""Writes the source of a network program: records the calls that converters make of the network as lines."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from bench.errors import Unsupported
from bench.lowering import prelude
from bench.lowering.calls import Layer, Network, Spec, Tensor, Text, inner_dtype, output_name, reshape_dims
from bench.lowering.names import Names
from bench.lowering.sizes import Shape, Size

Array = np.ndarray[Any, Any]
_WIDTH = 116
# Operators of sizes -> members of ElementWiseOperation.
_SIZE_OPERATIONS = {
    "Add": "SUM",
    "Mul": "PROD",
    "FloorDiv": "FLOOR_DIV",
    "CleanDiv": "FLOOR_DIV",
    "Max": "MAX",
    "Min": "MIN",
}


class Writer:
    """The program as it grows. ``net`` and ``trt`` record; ``result`` and ``path`` are those of the node at hand."""

    def __init__(self, weights: Mapping[str, Array], bfloat16: Collection[str] = ()) -> None:
        self.net = Network(self)
        self.trt: Any = Text("trt")
        self.lines: list[str] = []
        self.weights: dict[str, Array] = {}  # those that the program uses
        self.functions: dict[str, Callable[..., Any]] = {}  # of the prelude's modules that it calls
        self.result: Any = None
        self.path = ""
        self.layers: dict[str, str] = {}  # variables -> names of the layers that compute them, ``topk[1]``
        self._all_weights = dict(weights)
        self._bfloat16 = set(bfloat16)  # which of them are of that type, and float32 for NumPy
        self.names = Names()
        self._constants: dict[tuple[str, Shape], str] = {}
        self._sizes: dict[str, Tensor] = {}
        self._symbols: dict[str, tuple[Tensor, int]] = {}
        self._base = ""

    # ----------------------------------------------------------------------------------------------------- one node

    def begin(self, base: str, path: str, result: Any) -> None:
        """Start a node: layers are named after ``base``."""
        self._base, self.path, self.result = base, path, result

    def refuse(self, what: str) -> Unsupported:
        """The error for arguments that a converter does not take; names the module."""
        return Unsupported(f"{self.path or 'the model'}: {what}")

    def out(
        self, layer: Layer, suffix: str = "", index: int = 0, *, shape: Shape | None = None, dtype: str = ""
    ) -> Tensor:
        """Write ``layer``; one of its outputs, by default with the shape and type that the node returns."""
        name = self._layer_name(suffix)
        call = self._write_settings(layer)
        at = f", {index}" if index else ""
        return self._assign(name, f"p.out({call}, {self.source(name)}{at})", shape, dtype, index)

    def outs(self, layer: Layer, specs: Sequence[Spec], suffix: str = "") -> list[Tensor]:
        """Write ``layer``; its first outputs, with the shapes and types of ``specs``."""
        name = self._layer_name(suffix)
        call = self._write_settings(layer)
        if call != "layer":
            self.lines.append(f"layer = {call}")
        return [
            self._assign(name, f"p.out(layer, {self.source(name)}, {index})", spec.shape, spec.dtype, index)
            for index, spec in enumerate(specs)
        ]

    def call(
        self, function: Callable[..., Any], *args: Any, suffix: str = "", shape: Shape | None = None, dtype: str = "",
        **kwargs: Any,
    ) -> Tensor:  # fmt: skip
        """Write a call of a function of the prelude, ``function(p, *args, name=..., **kwargs)``; its tensor."""
        self.functions[function.__name__] = function
        name = self._layer_name(suffix)
        text = self.arguments((Text("p"), *args), kwargs | {"name": name})
        return self._assign(name, f"{function.__name__}({text})", shape, dtype)

    def _write_settings(self, layer: Layer) -> str:
        """The lines before that of the output; how that one calls the layer."""
        if not layer.settings and not layer.inputs:
            return layer.call
        self.lines.append(f"layer = {layer.call}")
        names = ", ".join(f"layer.{name}" for name, _ in layer.settings)
        values = ", ".join(value for _, value in layer.settings)
        if layer.settings and len(names) + len(values) < _WIDTH - 8:
            self.lines.append(f"{names} = {values}")
        else:
            self.lines += [f"layer.{name} = {value}" for name, value in layer.settings]
        self.lines += layer.inputs
        return "layer"

    def _assign(self, name: str, text: str, shape: Shape | None, dtype: str, index: int = 0) -> Tensor:
        spec = self.result[0] if isinstance(self.result, list) else self.result
        tensor = Tensor(self.names.variable(name), spec.shape if shape is None else shape, dtype or spec.dtype)
        self.lines.append(f"{tensor.name} = {text}")
        self.layers[tensor.name] = output_name(name, index)
        return tensor

    def _layer_name(self, suffix: str) -> str:
        return self.names.layer(f"{self._base}.{suffix}" if suffix else self._base)

    # -------------------------------------------------------------------------------------------------------- source

    def arguments(self, args: Sequence[Any], kwargs: Mapping[str, Any]) -> str:
        """The source of a call's arguments."""
        return ", ".join([*map(self.source, args), *(f"{name}={self.source(value)}" for name, value in kwargs.items())])

    def source(self, value: Any) -> str:
        """The source of an argument."""
        if isinstance(value, Text):
            return str(value)
        if isinstance(value, Tensor):
            return self._materialised(value)
        if isinstance(value, tuple | list):
            parts = [self.source(part) for part in value]
            text = ", ".join(parts)
            if isinstance(value, list):
                return f"[{text}]"
            return f"({text},)" if len(parts) == 1 else f"({text})"
        if isinstance(value, float) and not math.isfinite(value):
            return f'float("{value}")'
        if isinstance(value, str):
            return json.dumps(value, ensure_ascii=False)
        if value is None or isinstance(value, bool | int | float):
            return repr(value)
        raise TypeError(f"no source for {value!r}")

    def _materialised(self, tensor: Tensor) -> str:
        """The variable of a tensor; a constant becomes one when it is first used as a tensor."""
        if not tensor.constant:
            return tensor.name
        key = tensor.constant, tensor.shape
        if key not in self._constants:
            name, array = self.names.variable(tensor.constant), self._array(tensor)
            if tensor.shape != self.value(tensor).shape:
                array += f".reshape({tensor.shape})"
            kind = f", {self.source(tensor.dtype)}" if tensor.dtype == "bfloat16" else ""
            layer = self.names.layer(tensor.constant)
            self.lines.append(f"{name} = p.constant({array}, {self.source(layer)}{kind})")
            self._constants[key] = name
        return self._constants[key]

    def weight(self, tensor: Tensor | None, dtype: str, index: str = "") -> Text | None:
        """The source of a constant for arguments that are weights of ``dtype``, which is its own, or float32 for
        bfloat16; ``index`` is applied to the array. None if it is no constant.
        """
        if tensor is None or not tensor.constant:
            return None
        array = self._array(tensor) + index
        return Text(f"p.bfloat16({array})" if dtype == "bfloat16" else array)

    def _array(self, tensor: Tensor) -> str:
        """The source of a constant's array, which the program then has among its weights."""
        self.weights[tensor.constant] = self._all_weights[tensor.constant]
        return f"weights[{self.source(tensor.constant)}]"

    def value(self, tensor: Tensor) -> Array:
        """The array of a constant, of bfloat16 as float32."""
        return self._all_weights[tensor.constant]

    def stored(self, name: str) -> Tensor:
        """The constant of that name among the weights."""
        array = self._all_weights[name]
        dtype = "bfloat16" if name in self._bfloat16 else inner_dtype(array.dtype.name)
        return Tensor("", tuple(array.shape), dtype, name)

    @property
    def bfloat16(self) -> frozenset[str]:
        """The names of the weights of that type."""
        return frozenset(self._bfloat16.intersection(self.weights))

    def new_weight(self, suffix: str, array: Array, dtype: str) -> Tensor:
        """A constant of ``dtype`` that a converter computed, stored among the weights under the node's name."""
        name, count = f"{self._base}.{suffix}", 1
        while name in self._all_weights:
            name, count = f"{self._base}.{suffix}_{count}", count + 1
        self._all_weights[name] = np.ascontiguousarray(array)
        if dtype == "bfloat16":
            self._bfloat16.add(name)
        return self.stored(name)

    # ------------------------------------------------------------------------------------------------------- helpers

    def cast(self, tensor: Tensor, dtype: str) -> Tensor:
        """``tensor`` as another type."""
        if tensor.dtype == dtype:
            return tensor
        layer = self.net.add_cast(tensor, self.dtype(dtype))
        return self.out(layer, f"{dtype}", shape=tensor.shape, dtype=dtype)

    def dtype(self, name: str) -> Text:
        """``float16`` as the member of DataType."""
        return Text(f"trt.DataType.{prelude._TYPES[name]}")

    def scalar(self, value: float, dtype: str, rank: int) -> Tensor:
        """One number as a tensor of ``rank`` dimensions of size 1."""
        name = self._layer_name("number")
        plain = bool(value) if dtype == "bool" else int(value) if dtype.startswith("int") else float(value)
        text = self.arguments((plain, dtype, rank, name), {})
        return self._assign(name, f"p.scalar({text})", (1,) * rank, dtype)

    def constant(self, array: Array, dtype: str = "") -> Tensor:
        """A small constant, written into the source."""
        name = self._layer_name("constant")
        kind = dtype or inner_dtype(array.dtype.name)
        text = f"p.constant(np.array({array.tolist()!r}, {self.source(kind)}), {self.source(name)})"
        return self._assign(name, text, tuple(array.shape), kind)

    def reshape(self, tensor: Tensor, shape: Shape, suffix: str = "reshape") -> Tensor:
        """``tensor`` in another shape of as many elements."""
        if tensor.shape == shape:
            return tensor
        if tensor.constant:
            return Tensor("", shape, tensor.dtype, tensor.constant)
        dims = reshape_dims(tensor.shape, shape)
        name = self._layer_name(suffix)
        target = self.source(dims if dims is not None else self.sizes(shape))
        return self._assign(
            name, f"p.reshape({self.source(tensor)}, {target}, {self.source(name)})", shape, tensor.dtype
        )

    def broadcast(self, tensor: Tensor, rank: int) -> Tensor:
        """``tensor`` with dimensions of size 1 in front, up to ``rank``."""
        if tensor.rank >= rank:
            return tensor
        return self.reshape(tensor, (1,) * (rank - tensor.rank) + tensor.shape, "rank")

    def operands(self, *values: Tensor | float, dtype: str, rank: int) -> list[Tensor]:
        """Tensors and numbers as tensors of one type and rank."""
        return [
            self.broadcast(self.cast(value, dtype), rank)
            if isinstance(value, Tensor)
            else self.scalar(value, dtype, rank)
            for value in values
        ]

    # --------------------------------------------------------------------------------------------------------- sizes

    def declare(self, tensor: Tensor) -> None:
        """Take dynamic sizes from the dimensions of this input."""
        for axis, size in enumerate(tensor.shape):
            if isinstance(size, Size):
                self._symbols.setdefault(repr(size), (tensor, axis))

    def sizes(self, shape: Sequence[int | Size]) -> tuple[int, ...] | Tensor:
        """``shape`` as numbers, or where one is not known, as a tensor int32 of one dimension."""
        if all(isinstance(size, int) for size in shape):
            return tuple(size for size in shape if isinstance(size, int))
        parts = tuple(size if isinstance(size, int) else self.size(size) for size in shape)
        if len(parts) == 1 and isinstance(parts[0], Tensor):
            return parts[0]
        name = self._layer_name("sizes")
        return self._assign(name, f"p.sizes({self.source(parts)}, {self.source(name)})", (len(parts),), "int32")

    def size(self, size: int | Size) -> Tensor:
        """A size as a tensor int32 of one element."""
        if isinstance(size, int):
            return self.constant(np.array([size], np.int32))
        key = repr(size)
        if key not in self._sizes:
            self._sizes[key] = self._computed(size)
        return self._sizes[key]

    def _computed(self, size: Size) -> Tensor:
        key, expression = repr(size), size.expression
        if key in self._symbols:
            tensor, axis = self._symbols[key]
            name = self._layer_name("size")
            return self._assign(name, f"p.size({self.source(tensor)}, {axis}, {self.source(name)})", (1,), "int32")
        operation = _SIZE_OPERATIONS.get(type(expression).__name__)
        if operation is None:
            raise self.refuse(f"a size is {key}, which no layer here computes from the sizes of the inputs")
        first, *rest = [self.size(int(arg) if arg.is_number else Size(arg)) for arg in expression.args]
        for other in rest:
            layer = self.net.add_elementwise(first, other, getattr(self.trt.ElementWiseOperation, operation))
            first = self.out(layer, "size", shape=(1,), dtype="int32")
        return first
