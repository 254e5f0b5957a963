"""Values by index or by condition, the largest ones, and cumulative sums."""

from __future__ import annotations

from typing import Any

import numpy as np

from bench.lowering import prelude_sums
from bench.lowering.calls import Tensor
from bench.lowering.converters.elementwise import Operand
from bench.lowering.converters.reductions import topk_of
from bench.lowering.converters.shapes import expand_to, slice_layer
from bench.lowering.registry import converter, variant
from bench.lowering.sizes import Size
from bench.lowering.writer import Writer


@converter("aten.embedding.default", layers="IGatherLayer")
def embedding(w: Writer, *, weight: Tensor, indices: Tensor) -> Tensor:
    """The row of the table for each index."""
    return w.out(w.net.add_gather(weight, w.cast(indices, "int32"), 0))


@converter("aten.index_select.default", layers="IGatherLayer")
def index_select(w: Writer, *, input: Tensor, dim: int, index: Tensor) -> Tensor:
    """The slices of a dimension at the indices."""
    return w.out(w.net.add_gather(input, w.cast(index, "int32"), dim % input.rank))


@converter("aten.gather.default", layers="IGatherLayer ELEMENT")
def gather(w: Writer, *, input: Tensor, dim: int, index: Tensor) -> Tensor:
    """For each index the value at its place, but for the dimension ``dim``, where the index says which."""
    axis = dim % input.rank
    shape = tuple(size if at == axis else index.shape[at] for at, size in enumerate(input.shape))
    x = input
    if shape != input.shape:  # PyTorch takes fewer indices than there are values
        x = slice_layer(w, input, (0,) * input.rank, shape, (1,) * input.rank, suffix="part")
    layer = w.net.add_gather_v2(x, w.cast(index, "int32"), w.trt.GatherMode.ELEMENT)
    layer.axis = axis
    return w.out(layer)


@converter("aten.index.Tensor", layers="IGatherLayer; for several indices IGatherLayer ND, IConcatenationLayer")
def index(w: Writer, *, input: Tensor, indices: list[Tensor | None]) -> Tensor:
    """Values at tensors of indices, of which negative ones count from the end."""
    places = [axis for axis, each in enumerate(indices) if each is not None]
    tensors = [each for each in indices if each is not None]
    if any(each.dtype in ("bool", "uint8") for each in tensors):
        raise w.refuse("an index of bool, whose result has a size that depends on values; use torch.where")
    if len(places) == 1:
        place = _from_start(w, tensors[0], input.shape[places[0]])
        return w.out(w.net.add_gather(input, place, places[0]))
    vectors = index_vectors(w, input, tensors, places)
    shape = vectors.shape[:-1]
    rank = len(shape)
    others = [axis for axis in range(input.rank) if axis not in places]
    x = input
    if places != list(range(len(places))):
        x = permute_dims(w, input, [*places, *others], "first")
    rest = tuple(input.shape[axis] for axis in others)
    result = w.out(w.net.add_gather_v2(x, vectors, w.trt.GatherMode.ND), "values", shape=(*shape, *rest))
    start = places[0]
    if start and places[-1] - start == len(places) - 1:  # the indices stand where those dimensions stood
        order = [*range(rank, rank + start), *range(rank), *range(rank + start, result.rank)]
        return permute_dims(w, result, order, "")
    return result


def index_vectors(w: Writer, input: Tensor, tensors: list[Tensor], places: list[int]) -> Tensor:
    """Tensors of indices into the dimensions ``places``, broadcast, as one tensor int32 of vectors of indices."""
    lead = [_from_start(w, each, input.shape[axis]) for each, axis in zip(tensors, places, strict=True)]
    rank = max(each.rank for each in lead)
    shape = _common(w, lead, rank)
    columns = [w.reshape(expand_to(w, each, shape), (*shape, 1), "column") for each in lead]
    if len(columns) == 1:
        return columns[0]
    layer = w.net.add_concatenation(columns)
    layer.axis = rank
    return w.out(layer, "vectors", shape=(*shape, len(columns)), dtype="int32")


def _common(w: Writer, tensors: list[Tensor], rank: int) -> tuple[int | Size, ...]:
    """The shape that all are broadcast to."""
    sizes = []
    for each in zip(*[(1,) * (rank - tensor.rank) + tensor.shape for tensor in tensors], strict=True):
        larger = [size for size in each if size != 1]
        sizes.append(larger[0] if larger else 1)
    return tuple(sizes)


def permute_dims(w: Writer, x: Tensor, order: list[int], suffix: str) -> Tensor:
    """Dimensions in another order."""
    layer = w.net.add_shuffle(x)
    layer.first_transpose = tuple(order)
    return w.out(layer, suffix, shape=tuple(x.shape[axis] for axis in order), dtype=x.dtype)


def _from_start(w: Writer, index: Tensor, size: int | Size) -> Tensor:
    """Indices that count from the start: negative ones have the size added."""
    index = w.cast(index, "int32")
    if index.constant and np.all(w.value(index) >= 0):
        return index
    operation, one = w.trt.ElementWiseOperation, max(index.rank, 1)
    x = w.broadcast(index, one)
    zero = w.scalar(0, "int32", one)
    number = w.scalar(size, "int32", one) if isinstance(size, int) else w.reshape(w.size(size), (1,) * one)
    moved = w.out(w.net.add_elementwise(x, number, operation.SUM), "moved", shape=x.shape, dtype="int32")
    below = w.out(w.net.add_elementwise(x, zero, operation.LESS), "negative", shape=x.shape, dtype="bool")
    place = w.out(w.net.add_select(below, moved, x), "index", shape=x.shape, dtype="int32")
    return w.reshape(place, index.shape)


@converter("aten.scatter.src", layers="IScatterLayer ELEMENT")
def scatter(w: Writer, *, input: Tensor, dim: int, index: Tensor, src: Tensor) -> Tensor:
    """``input`` with ``src`` written over the places that ``index`` says; of an index that comes twice, either."""
    if src.shape != index.shape:
        src = slice_layer(w, src, (0,) * src.rank, index.shape, (1,) * src.rank, suffix="part")
    return _scatter(w, input, dim, index, src)


@converter("aten.scatter.value", layers="IScatterLayer ELEMENT, ISliceLayer")
def scatter_value(w: Writer, *, input: Tensor, dim: int, index: Tensor, value: float) -> Tensor:
    """``input`` with one value written over the places that ``index`` says."""
    return _scatter(w, input, dim, index, expand_to(w, w.scalar(value, input.dtype, index.rank), index.shape))


def _scatter(w: Writer, input: Tensor, dim: int, index: Tensor, updates: Tensor) -> Tensor:
    axis = dim % input.rank
    if any(a != b for at, (a, b) in enumerate(zip(input.shape, index.shape, strict=True)) if at != axis):
        raise w.refuse(f"scatter of {index.shape} into {input.shape}, which differ beyond dimension {axis}")
    layer = w.net.add_scatter(input, w.cast(index, "int32"), updates, w.trt.ScatterMode.ELEMENT)
    layer.axis = axis
    return w.out(layer)


# ---------------------------------------------------------------------------------------------------------- conditions


@converter("aten.where.self", "aten.where.ScalarOther", "aten.where.ScalarSelf", layers="ISelectLayer")
def where(w: Writer, *, condition: Tensor, input: Operand, other: Operand) -> Tensor:
    """``input`` where the condition is true, else ``other``."""
    rank = w.result.rank
    first, second = w.operands(input, other, dtype=w.result.dtype, rank=rank)
    return w.out(w.net.add_select(w.broadcast(w.cast(condition, "bool"), rank), first, second))


@variant("aten.masked_fill.Scalar", "aten.masked_fill.Tensor", of="where")
def _masked_fill(result: Any, *, input: Any, mask: Any, value: Any) -> dict[str, Any]:
    return {"condition": mask, "input": value, "other": input}


# ------------------------------------------------------------------------------------------------------ order and sums


@converter("aten.topk.default", layers="ITopKLayer")
def topk(w: Writer, *, input: Tensor, k: int, dim: int, largest: bool) -> list[Tensor]:
    """The k largest or smallest values, sorted, and their indices; of equal values in any order."""
    return _topk(w, input, k, dim, largest)


@converter("aten.sort.default", layers="ITopKLayer")
def sort(w: Writer, *, input: Tensor, dim: int, descending: bool) -> list[Tensor]:
    """All values sorted, and their indices; of equal values in any order."""
    return _topk(w, input, input.shape[dim] if input.rank else 1, dim, descending)


def _topk(w: Writer, input: Tensor, k: int | Size, dim: int, largest: bool) -> list[Tensor]:
    if not isinstance(k, int) or not 0 < k <= 3840:
        raise w.refuse(f"the {k} largest values; TensorRT takes 1 to 3840, and a fixed number")
    parts = topk_of(w, "MAX" if largest else "MIN", input, k, dim % max(input.rank, 1))
    return [w.reshape(part, w.result[0].shape, "part") for part in parts]


@converter("aten.cumsum.default", layers="ICumulativeLayer; before 10.8 IMatrixMultiplyLayer")
def cumsum(w: Writer, *, input: Tensor, dim: int) -> Tensor:
    """The sums of all values up to each one."""
    x = w.cast(input, w.result.dtype)
    if not input.rank:
        return x
    axis = dim % input.rank
    size = x.shape[axis]
    return w.call(prelude_sums.emit_cumulative_sum, x, axis, size if isinstance(size, int) else w.size(size), x.dtype)
