"""Values written into a tensor at indices, into a slice of it; and windows read along a dimension."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.lowering.calls import Tensor
from bench.lowering.converters.indexing import index_vectors, permute_dims
from bench.lowering.converters.shapes import expand_to, slice_layer
from bench.lowering.registry import converter
from bench.lowering.sizes import Shape
from bench.lowering.writer import Writer


@converter(
    "aten.index_put.default", "aten.index_put_.default", "aten._unsafe_index_put.default",
    layers="IScatterLayer ND, IConcatenationLayer; of a mask ISelectLayer",
)  # fmt: skip
def index_put(w: Writer, *, input: Tensor, indices: list[Tensor | None], values: Tensor, accumulate: bool) -> Tensor:
    """``input`` with values written at tensors of indices, of which none comes twice, or one value under a mask."""
    if accumulate:
        raise w.refuse("index_put that adds (accumulate=True), which no layer does; scatter_add neither")
    places = [axis for axis, each in enumerate(indices) if each is not None]
    tensors = [each for each in indices if each is not None]
    values = w.cast(values, input.dtype)
    if any(each.dtype in ("bool", "uint8") for each in tensors):
        return _masked(w, input, places, tensors, values)
    vectors = index_vectors(w, input, tensors, places)
    common = vectors.shape[:-1]
    others = [axis for axis in range(input.rank) if axis not in places]
    rest = tuple(input.shape[axis] for axis in others)
    order = [*places, *others]
    moves = order != list(range(input.rank))
    x = permute_dims(w, input, order, "first") if moves else input
    layer = w.net.add_scatter(x, vectors, _updates(w, values, common, rest, places), w.trt.ScatterMode.ND)
    if not moves:
        return w.out(layer)
    written = w.out(layer, "written", shape=x.shape)
    return permute_dims(w, written, [order.index(axis) for axis in range(input.rank)], "")


def _updates(w: Writer, values: Tensor, common: Shape, rest: Shape, places: list[int]) -> Tensor:
    """The values broadcast to what indexing reads, with the indices' dimensions first."""
    start, together = places[0], places[-1] - places[0] == len(places) - 1
    if not start or not together:
        return expand_to(w, values, (*common, *rest))
    shape = (*rest[:start], *common, *rest[start:])
    axes = range(start, start + len(common))
    order = [*axes, *(axis for axis in range(len(shape)) if axis not in axes)]
    return permute_dims(w, expand_to(w, values, shape), order, "values")


def _masked(w: Writer, input: Tensor, places: list[int], tensors: list[Tensor], values: Tensor) -> Tensor:
    mask = w.cast(tensors[0], "bool")
    if len(tensors) > 1 or places != [0] or any(size != 1 for size in values.shape):
        raise w.refuse("index_put of several values under a mask, whose number depends on it; use torch.where")
    mask = w.reshape(mask, (*mask.shape, *(1,) * (input.rank - mask.rank)))
    return w.out(w.net.add_select(mask, w.reshape(values, (1,) * input.rank), input))


@converter("aten.slice_scatter.default", layers="ISliceLayer, IConcatenationLayer; of steps IGatherLayer")
def slice_scatter(w: Writer, *, input: Tensor, src: Tensor, dim: int, start: Any, end: Any, step: int) -> Tensor:
    """``input`` with ``src`` in place of every ``step``-th value of a dimension from ``start`` on."""
    axis = dim % input.rank
    if not all(each is None or isinstance(each, int) for each in (start, end, step)):
        raise w.refuse("slice_scatter at a computed index")
    places = range(*slice(start, end, step).indices(_fixed(w, input, axis)))
    return _insert(w, input, src, axis, places)


@converter("aten.copy.default", layers="ISliceLayer with stride 0, ICastLayer")
def copy(w: Writer, *, input: Tensor, src: Tensor) -> Tensor:
    """``src`` in the shape and type of ``input``: what is left of a write into a view."""
    return expand_to(w, w.cast(src, input.dtype), input.shape)


@converter("aten.select_scatter.default", layers="ISliceLayer, IConcatenationLayer")
def select_scatter(w: Writer, *, input: Tensor, src: Tensor, dim: int, index: int) -> Tensor:
    """``input`` with ``src`` in place of one value of a dimension, which ``src`` lacks."""
    axis = dim % input.rank
    place = index % _fixed(w, input, axis)
    src = w.reshape(src, (*input.shape[:axis], 1, *input.shape[axis + 1 :]))
    return _insert(w, input, src, axis, range(place, place + 1))


def _fixed(w: Writer, x: Tensor, axis: int) -> int:
    size = x.shape[axis]
    if not isinstance(size, int):
        raise w.refuse(f"{w.result.shape} with values written into dimension {axis}, whose size is dynamic")
    return size


def _insert(w: Writer, x: Tensor, src: Tensor, axis: int, places: range) -> Tensor:
    """``x`` with ``src`` at the places of a dimension; with gaps between these, a gather from both, side by side."""
    if not places:
        return x
    size, before, after = _fixed(w, x, axis), x.shape[:axis], x.shape[axis + 1 :]
    src = expand_to(w, w.cast(src, x.dtype), (*before, len(places), *after))
    if places.step > 1 and len(places) > 1:
        layer = w.net.add_concatenation([x, src])
        layer.axis = axis
        both = w.out(layer, "both", shape=(*before, size + len(places), *after))
        order = np.arange(size, dtype=np.int32)
        order[list(places)] = size + np.arange(len(places))
        return w.out(w.net.add_gather(both, w.constant(order), axis))
    ranges = ((0, places[0]), (places[-1] + 1, size))
    first, last = (
        [slice_layer(
            w, x, [start if at == axis else 0 for at in range(x.rank)], (*before, stop - start, *after), (1,) * x.rank,
            suffix="part",
        )] if stop > start else [] for start, stop in ranges
    )  # fmt: skip
    parts = [*first, src, *last]
    if len(parts) == 1:
        return src
    layer = w.net.add_concatenation(parts)
    layer.axis = axis
    return w.out(layer)


@converter("aten.unfold.default", layers="IGatherLayer, IShuffleLayer")
def unfold(w: Writer, *, input: Tensor, dimension: int, size: int, step: int) -> Tensor:
    """Windows of ``size`` values of a dimension, every ``step`` values one; their values are a new last dimension."""
    if not input.rank:
        return w.reshape(input, w.result.shape, "")
    axis = dimension % input.rank
    length = input.shape[axis]
    if not isinstance(length, int):
        raise w.refuse("unfold of a dimension of a dynamic size")
    windows = np.arange(0, length - size + 1, step)[:, None] + np.arange(size)
    before, after = input.shape[:axis], input.shape[axis + 1 :]
    layer = w.net.add_gather(input, w.constant(windows.astype(np.int32)), axis)
    read = w.out(layer, "windows", shape=(*before, *windows.shape, *after))
    order = [axis_ for axis_ in range(read.rank) if axis_ != axis + 1] + [axis + 1]
    return read if order == list(range(read.rank)) else permute_dims(w, read, order, "")
