"""Padding, tensors made of numbers, triangles, and the reverse order."""

from __future__ import annotations

from typing import Any

from bench.lowering import prelude_attention
from bench.lowering.calls import Tensor
from bench.lowering.converters.shapes import expand_to, slice_layer
from bench.lowering.registry import converter, variant
from bench.lowering.sizes import Size
from bench.lowering.writer import Writer

_MODES = {"constant": "FILL", "reflect": "REFLECT", "replicate": "CLAMP", "circular": "WRAP"}


@converter("aten.pad.default", layers="ISliceLayer FILL, REFLECT, CLAMP, WRAP")
def pad(w: Writer, *, input: Tensor, pad: list[int], mode: str, value: float | None) -> Tensor:
    """More values around the last dimensions; negative numbers cut."""
    if not all(isinstance(size, int) for size in pad):
        raise w.refuse(f"padding by {list(pad)}, which is not fixed")
    starts = [0] * input.rank
    for index, before in enumerate(pad[::2]):
        starts[input.rank - 1 - index] = -before
    x = w.cast(input, "int32") if input.dtype == "bool" else input
    sizes = w.sizes(w.result.shape)
    zeros = (0,) * input.rank
    layer = w.net.add_slice(x, tuple(starts), sizes if isinstance(sizes, tuple) else zeros, (1,) * input.rank)
    layer.mode = getattr(w.trt.SampleMode, _MODES[mode])
    if not isinstance(sizes, tuple):
        layer.set_input(2, sizes)
    if mode == "constant" and value:
        layer.set_input(4, w.scalar(value, x.dtype, 0))
    return w.cast(w.out(layer, dtype=x.dtype), w.result.dtype)


@variant("aten.constant_pad_nd.default", of="pad")
def _constant(result: Any, *, input: Any, pad: Any, value: Any) -> dict[str, Any]:
    return {"input": input, "pad": pad, "mode": "constant", "value": value}


@variant("aten.reflection_pad1d.default", "aten.reflection_pad2d.default", "aten.reflection_pad3d.default", of="pad")
def _reflection(result: Any, *, input: Any, padding: Any) -> dict[str, Any]:
    return {"input": input, "pad": padding, "mode": "reflect", "value": None}


@variant("aten.replication_pad1d.default", "aten.replication_pad2d.default", "aten.replication_pad3d.default", of="pad")
def _replication(result: Any, *, input: Any, padding: Any) -> dict[str, Any]:
    return {"input": input, "pad": padding, "mode": "replicate", "value": None}


@converter("aten.flip.default", layers="ISliceLayer with stride -1")
def flip(w: Writer, *, input: Tensor, dims: list[int]) -> Tensor:
    """Dimensions in the reverse order."""
    axes = {dim % input.rank for dim in dims}
    starts = [_before(size) if axis in axes else 0 for axis, size in enumerate(input.shape)]
    return slice_layer(w, input, starts, input.shape, tuple(-1 if axis in axes else 1 for axis in range(input.rank)))


def _before(size: int | Size) -> int | Size:
    return size - 1 if isinstance(size, int) else Size(size.expression - 1)


# ------------------------------------------------------------------------------------------------------------- numbers


@converter("aten.full.default", layers="IConstantLayer, ISliceLayer with stride 0")
def full(w: Writer, *, size: Any, fill_value: float, dtype: str | None) -> Tensor:
    """One number everywhere."""
    return expand_to(w, w.scalar(fill_value, w.result.dtype, w.result.rank), w.result.shape)


def _as_full(result: Any, value: float, dtype: Any, like: Any = None) -> dict[str, Any]:
    if dtype is None and like is not None:
        dtype = like.meta["val"].dtype
    return {"size": list(result.shape), "fill_value": value, "dtype": dtype}


@variant("aten.full_like.default", "aten.new_full.default", of="full")
def _full_like(result: Any, *, input: Any, fill_value: Any, dtype: Any, **_: Any) -> dict[str, Any]:
    return _as_full(result, fill_value, dtype, input)


@variant("aten.zeros_like.default", "aten.new_zeros.default", of="full")
def _zeros_like(result: Any, *, input: Any, dtype: Any, **_: Any) -> dict[str, Any]:
    return _as_full(result, 0.0, dtype, input)


@variant("aten.ones_like.default", "aten.new_ones.default", of="full")
def _ones_like(result: Any, *, input: Any, dtype: Any, **_: Any) -> dict[str, Any]:
    return _as_full(result, 1.0, dtype, input)


@variant("aten.zeros.default", of="full")
def _zeros(result: Any, *, dtype: Any, **_: Any) -> dict[str, Any]:
    return _as_full(result, 0.0, dtype)


@variant("aten.ones.default", of="full")
def _ones(result: Any, *, dtype: Any, **_: Any) -> dict[str, Any]:
    return _as_full(result, 1.0, dtype)


@variant("aten.scalar_tensor.default", of="full")
def _scalar_tensor(result: Any, *, s: Any, dtype: Any, **_: Any) -> dict[str, Any]:
    return _as_full(result, s, dtype)


@converter("aten.arange.start_step", layers="IFillLayer LINSPACE, IElementWiseLayer")
def arange(w: Writer, *, start: Any, end: Any, step: Any, dtype: str | None) -> Tensor:
    """``start``, ``start + step``, ..."""
    if isinstance(start, Size) or isinstance(step, Size):
        raise w.refuse("a sequence that starts or goes by a dynamic number")
    shape = w.result.shape
    size = shape[0] if isinstance(shape[0], int) else w.size(shape[0])
    places = w.call(prelude_attention.emit_positions, size, suffix="places", shape=shape, dtype="int32")
    x = w.cast(places, w.result.dtype)
    for number, plain, operation in ((step, 1, "PROD"), (start, 0, "SUM")):
        if number != plain:
            other = w.scalar(number, x.dtype, 1)
            x = w.out(w.net.add_elementwise(x, other, getattr(w.trt.ElementWiseOperation, operation)))
    return x


@variant("aten.arange.default", "aten.arange.start", of="arange")
def _arange(result: Any, *, end: Any, dtype: Any, start: Any = 0, **_: Any) -> dict[str, Any]:
    return {"start": start, "end": end, "step": 1, "dtype": dtype}


# ----------------------------------------------------------------------------------------------------------- triangles


@converter("aten.tril.default", layers="IConstantLayer, ISelectLayer")
def tril(w: Writer, *, input: Tensor, diagonal: int) -> Tensor:
    """The last two dimensions up to a diagonal, 0 above it."""
    return _triangle(w, input, diagonal, below=True)


@converter("aten.triu.default", layers="IConstantLayer, ISelectLayer")
def triu(w: Writer, *, input: Tensor, diagonal: int) -> Tensor:
    """The last two dimensions from a diagonal on, 0 below it."""
    return _triangle(w, input, diagonal - 1, below=False)


def _triangle(w: Writer, input: Tensor, diagonal: int, *, below: bool) -> Tensor:
    rank = input.rank
    rows, columns = (size if isinstance(size, int) else w.size(size) for size in input.shape[-2:])
    shape = (*(1,) * (rank - 2), *input.shape[-2:])
    more: dict[str, Any] = {"diagonal": diagonal} if diagonal else {}
    mask = w.call(
        prelude_attention.emit_causal_mask, rows, columns, rank, suffix="triangle", shape=shape, dtype="bool", **more
    )
    zero = w.scalar(0, input.dtype, rank)
    return w.out(w.net.add_select(mask, *((input, zero) if below else (zero, input))))
