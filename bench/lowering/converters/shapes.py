"""Views, slices and concatenations: what moves values and computes none."""

from __future__ import annotations

from typing import Any

from bench.lowering.calls import Spec, Tensor
from bench.lowering.registry import converter, variant
from bench.lowering.sizes import Shape, Size
from bench.lowering.writer import Writer


@converter("aten.reshape.default", layers="IShuffleLayer")
def reshape(w: Writer, *, input: Tensor, shape: Any) -> Tensor:
    """The same values in another shape."""
    return w.reshape(input, w.result.shape, "")


@variant("aten.view.default", "aten._unsafe_view.default", of="reshape")
def _view(result: Spec, *, input: Any, size: Any) -> dict[str, Any]:
    return {"input": input, "shape": size}


@variant(
    "aten.squeeze.default", "aten.squeeze.dim", "aten.squeeze.dims", "aten.unsqueeze.default",
    "aten.flatten.using_ints", "aten.unflatten.int", "aten.view_as.default", "aten.reshape_as.default", of="reshape",
)  # fmt: skip
def _other_views(result: Spec, *, input: Any, **_: Any) -> dict[str, Any]:
    return {"input": input, "shape": list(result.shape)}


@converter("aten.permute.default", layers="IShuffleLayer")
def permute(w: Writer, *, input: Tensor, dims: list[int]) -> Tensor:
    """Dimensions in another order."""
    order = tuple(dim % input.rank for dim in dims)
    if order == tuple(range(input.rank)):
        return input
    layer = w.net.add_shuffle(input)
    layer.first_transpose = order
    return w.out(layer)


@variant("aten.transpose.int", of="permute")
def _transpose(result: Spec, *, input: Any, dim0: int, dim1: int) -> dict[str, Any]:
    order = list(range(result.rank))
    if order:
        order[dim0], order[dim1] = order[dim1], order[dim0]
    return {"input": input, "dims": order}


@variant("aten.t.default", "aten.numpy_T.default", of="permute")
def _t(result: Spec, *, input: Any) -> dict[str, Any]:
    return {"input": input, "dims": list(range(result.rank))[::-1]}


@converter("aten.expand.default", layers="ISliceLayer with stride 0")
def expand(w: Writer, *, input: Tensor, size: Any) -> Tensor:
    """Dimensions of size 1 repeated."""
    return expand_to(w, input, w.result.shape)


@variant("aten.expand_as.default", of="expand")
def _expand_as(result: Spec, *, input: Any, other: Any) -> dict[str, Any]:
    return {"input": input, "size": list(result.shape)}


def expand_to(w: Writer, input: Tensor, shape: Shape) -> Tensor:
    """``input`` broadcast to ``shape``."""
    x = w.broadcast(input, len(shape))
    if x.shape == shape:
        return x
    stride = tuple(0 if before == 1 and after != 1 else 1 for before, after in zip(x.shape, shape, strict=True))
    return slice_layer(w, x, (0,) * len(shape), shape, stride)


@converter("aten.repeat.default", layers="IConcatenationLayer")
def repeat(w: Writer, *, input: Tensor, repeats: list[int]) -> Tensor:
    """The tensor side by side with itself, a fixed number of times in each dimension."""
    if not all(isinstance(n, int) and n > 0 for n in repeats):
        raise w.refuse(f"repeat by {list(repeats)}, which is not fixed")
    x = w.broadcast(input, len(repeats))
    for axis, count in enumerate(repeats):
        if count > 1:
            layer = w.net.add_concatenation([x] * count)
            layer.axis = axis
            x = w.out(layer, shape=(*x.shape[:axis], w.result.shape[axis], *x.shape[axis + 1 :]))
    return x


# -------------------------------------------------------------------------------------------------------------- slices


@converter("aten.slice.Tensor", layers="ISliceLayer")
def slice(w: Writer, *, input: Tensor, dim: int, start: Any, end: Any, step: int) -> Tensor:
    """Every ``step``-th value of a dimension from ``start`` on; step > 0."""
    if not isinstance(step, int) or step < 1:
        raise w.refuse(f"a slice with step {step}")
    axis = dim % input.rank
    if w.result.shape == input.shape and step == 1:
        return input
    first = _from_start(w, 0 if start is None else start, input.shape[axis])
    starts = [first if at == axis else 0 for at in range(input.rank)]
    return slice_layer(w, input, starts, w.result.shape, tuple(step if at == axis else 1 for at in range(input.rank)))


@converter("aten.select.int", layers="ISliceLayer, IShuffleLayer")
def select(w: Writer, *, input: Tensor, dim: int, index: Any) -> Tensor:
    """One value of a dimension, which the result lacks."""
    axis = dim % input.rank
    first = _from_start(w, index, input.shape[axis], select=True)
    starts = [first if at == axis else 0 for at in range(input.rank)]
    shape = (*input.shape[:axis], 1, *input.shape[axis + 1 :])
    row = slice_layer(w, input, starts, shape, (1,) * input.rank, suffix="row")
    return w.reshape(row, w.result.shape, "")


@converter("aten.split_with_sizes.default", layers="ISliceLayer")
def split(w: Writer, *, input: Tensor, split_sizes: Any, dim: int) -> list[Tensor]:
    """Consecutive parts of a dimension."""
    axis = dim % input.rank
    parts, start = [], 0
    for index, spec in enumerate(w.result):
        if start and isinstance(spec.shape[axis], Size):
            raise w.refuse("a split into parts of dynamic sizes")
        starts = [start if at == axis else 0 for at in range(input.rank)]
        parts.append(slice_layer(w, input, starts, spec.shape, (1,) * input.rank, suffix=f"part {index}"))
        start += spec.shape[axis] if isinstance(spec.shape[axis], int) else 0
    return parts


@variant("aten.split.Tensor", "aten.chunk.default", "aten.split.sizes", of="split")
def _split(result: list[Spec], *, input: Any, dim: int, **_: Any) -> dict[str, Any]:
    return {"input": input, "split_sizes": [spec.shape[dim] for spec in result], "dim": dim}


@converter("aten.unbind.int", layers="ISliceLayer, IShuffleLayer")
def unbind(w: Writer, *, input: Tensor, dim: int) -> list[Tensor]:
    """Each value of a dimension, which the results lack."""
    axis = dim % input.rank
    shape = (*input.shape[:axis], 1, *input.shape[axis + 1 :])
    parts = []
    for index, spec in enumerate(w.result):
        starts = [index if at == axis else 0 for at in range(input.rank)]
        row = slice_layer(w, input, starts, shape, (1,) * input.rank, suffix=f"row {index}")
        parts.append(w.reshape(row, spec.shape, f"part {index}"))
    return parts


def slice_layer(
    w: Writer, input: Tensor, start: Any, shape: Shape, stride: tuple[int, ...], suffix: str = ""
) -> Tensor:
    """A slice of any sizes, which TensorRT takes as numbers or, where one is dynamic, as a tensor."""
    sizes, starts = w.sizes(shape), w.sizes(start)
    zeros = (0,) * len(shape)
    layer = w.net.add_slice(
        input, starts if isinstance(starts, tuple) else zeros, sizes if isinstance(sizes, tuple) else zeros, stride
    )
    if not isinstance(starts, tuple):
        layer.set_input(1, starts)
    if not isinstance(sizes, tuple):
        layer.set_input(2, sizes)
    return w.out(layer, suffix, shape=shape, dtype=input.dtype)


def _from_start(w: Writer, index: Any, size: int | Size, *, select: bool = False) -> int | Size:
    """An index that counts from the start, no larger than ``size``."""
    if isinstance(index, Size):
        return index
    if not isinstance(index, int):
        raise w.refuse("a slice that starts at a computed index")
    if index >= 0:
        return index if isinstance(size, Size) or select else min(index, size)
    return Size(size.expression + index) if isinstance(size, Size) else max(0, index + size)


# ------------------------------------------------------------------------------------------------------ concatenation


@converter("aten.cat.default", layers="IConcatenationLayer")
def cat(w: Writer, *, tensors: list[Tensor], dim: int) -> Tensor:
    """Tensors one behind the other."""
    parts = [w.cast(tensor, w.result.dtype) for tensor in tensors if tensor.shape != (0,)]
    if len(parts) == 1:
        return parts[0]
    layer = w.net.add_concatenation(parts)
    layer.axis = dim % w.result.rank
    return w.out(layer)


@converter("aten.stack.default", layers="IShuffleLayer, IConcatenationLayer")
def stack(w: Writer, *, tensors: list[Tensor], dim: int) -> Tensor:
    """Tensors of one shape along a new dimension."""
    axis = dim % w.result.rank
    rows = []
    for tensor in tensors:
        shape = (*tensor.shape[:axis], 1, *tensor.shape[axis:])
        rows.append(w.reshape(w.cast(tensor, w.result.dtype), shape, "row"))
    layer = w.net.add_concatenation(rows)
    layer.axis = axis
    return w.out(layer)
