"""Layers that hypothesis generates, to be added to a network of the oracle or of the real builder of TensorRT-RTX."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from hypothesis import strategies as st

from bench.lowering import oracle
from tests.lowering.oracle.kit import FLOATS, KINDS, One, kinds, shapes, sizes


def broadcast(shape: tuple[int, ...]) -> st.SearchStrategy[tuple[int, ...]]:
    """A shape that mostly fits: some sizes 1, seldom one that does not fit or one dimension less."""
    size = st.tuples(*[st.sampled_from((size, size, size, 1, size + 1)) for size in shape])
    return st.one_of(size, size, st.just(shape), st.just(shape[1:]))


def _enum(trt: Any, enum: str, member: str) -> Any:
    return getattr(getattr(trt, enum), member)


@st.composite
def unary(draw: st.DrawFn) -> One:
    op = draw(st.sampled_from(("EXP", "ABS", "NEG", "SIGN", "NOT", "ROUND", "ISINF", "ISNAN", "ERF", "RECIP")))
    inputs = ((draw(kinds), draw(shapes())),)
    return One(inputs, lambda trt, net, x: net.add_unary(x[0], _enum(trt, "UnaryOperation", op)), f"unary {op}")


@st.composite
def activation(draw: st.DrawFn) -> One:
    kind = draw(st.sampled_from(tuple(oracle.Module().ActivationType.__members__)))
    inputs = ((draw(kinds), draw(shapes())),)

    def add(trt: Any, net: Any, x: list[Any]) -> Any:
        layer = net.add_activation(x[0], _enum(trt, "ActivationType", kind))
        if layer is not None:
            layer.alpha, layer.beta = 0.5, 1.5
        return layer

    return One(inputs, add, f"activation {kind}")


@st.composite
def elementwise(draw: st.DrawFn) -> One:
    op = draw(st.sampled_from(tuple(oracle.Module().ElementWiseOperation.__members__)))
    shape, kind = draw(shapes()), draw(kinds)
    other = draw(st.one_of(st.just(kind), st.just(kind), st.just(kind), kinds))
    inputs = ((kind, shape), (other, draw(broadcast(shape))))
    enum = "ElementWiseOperation"
    return One(inputs, lambda trt, net, x: net.add_elementwise(*x, _enum(trt, enum, op)), f"elementwise {op}")


@st.composite
def select(draw: st.DrawFn) -> One:
    shape, kind = draw(shapes()), draw(kinds)
    other = draw(st.one_of(st.just(kind), st.just(kind), kinds))
    inputs = (
        (draw(st.sampled_from(("BOOL", "BOOL", "BOOL", "INT32"))), draw(broadcast(shape))),
        (kind, shape), (other, draw(broadcast(shape))),
    )  # fmt: skip
    return One(inputs, lambda _, net, x: net.add_select(*x), "select")


@st.composite
def reduction(draw: st.DrawFn) -> One:
    op = draw(st.sampled_from(("SUM", "PROD", "MAX", "MIN", "AVG")))
    axes, keep = draw(st.integers(0, 31)), draw(st.booleans())
    inputs = ((draw(kinds), draw(shapes())),)
    enum = "ReduceOperation"
    return One(
        inputs, lambda trt, net, x: net.add_reduce(x[0], _enum(trt, enum, op), axes, keep), f"reduce {op} {axes} {keep}"
    )


@st.composite
def softmax(draw: st.DrawFn) -> One:
    axes = draw(st.one_of(st.none(), st.sampled_from((1, 2, 4, 8, 3, 0))))
    inputs = ((draw(kinds), draw(shapes())),)

    def add(_: Any, net: Any, x: list[Any]) -> Any:
        layer = net.add_softmax(x[0])
        if axes is not None and layer is not None:
            layer.axes = axes
        return layer

    return One(inputs, add, f"softmax {axes}")


@st.composite
def topk(draw: st.DrawFn) -> One:
    k, axes = draw(st.integers(0, 7)), draw(st.sampled_from((1, 2, 4, 8, 16, 3)))
    inputs = ((draw(kinds), draw(shapes())),)
    return One(inputs, lambda trt, net, x: net.add_topk(x[0], trt.TopKOperation.MAX, k, axes), f"topk {k} {axes}")


@st.composite
def matmul(draw: st.DrawFn) -> One:
    ops = draw(st.tuples(*[st.sampled_from(("NONE", "NONE", "TRANSPOSE", "VECTOR"))] * 2))
    m, k, n = draw(sizes), draw(sizes), draw(sizes)
    batch = draw(shapes(0, 3))
    a = {"NONE": (m, k), "TRANSPOSE": (k, m), "VECTOR": (k,)}[ops[0]]
    b = {"NONE": (k, n), "TRANSPOSE": (n, k), "VECTOR": (k,)}[ops[1]]
    kind = draw(kinds)
    inputs = ((kind, batch + a), (kind, draw(broadcast(batch)) + b))

    def add(trt: Any, net: Any, x: list[Any]) -> Any:
        first, second = (_enum(trt, "MatrixOperation", op) for op in ops)
        return net.add_matrix_multiply(x[0], first, x[1], second)

    return One(inputs, add, f"matmul {ops}")


@st.composite
def concatenation(draw: st.DrawFn) -> One:
    shape, kind = draw(shapes(0, 4)), draw(kinds)
    axis = draw(st.one_of(st.none(), st.integers(-1, 4)))
    place = axis if axis is not None else max(len(shape) - 3, 0)
    other = tuple(draw(sizes) if index == place else size for index, size in enumerate(shape))
    inputs = (
        (kind, shape),
        (draw(st.one_of(st.just(kind), st.just(kind), kinds)), draw(st.sampled_from((other, shape)))),
    )

    def add(_: Any, net: Any, x: list[Any]) -> Any:
        layer = net.add_concatenation(x)
        if axis is not None and layer is not None:
            layer.axis = axis
        return layer

    return One(inputs, add, f"concatenation {axis}")


@st.composite
def shuffle(draw: st.DrawFn) -> One:
    shape = draw(shapes(0, 4))
    count = torch.Size(shape).numel()
    order = draw(st.permutations(range(len(shape))))
    free = st.lists(st.sampled_from((0, 1, 2, -1)), max_size=4).map(tuple)
    dims = draw(st.one_of(st.just((count,)), st.just((1, -1)), st.just((0, -1)), free))

    def add(trt: Any, net: Any, x: list[Any]) -> Any:
        layer = net.add_shuffle(x[0])
        layer.first_transpose = trt.Permutation(list(order))
        layer.reshape_dims = dims
        return layer

    return One(((draw(kinds), shape),), add, f"shuffle {order} {dims}")


@st.composite
def slicing(draw: st.DrawFn) -> One:
    shape = draw(shapes(1, 4))
    start = tuple(draw(st.integers(-1, size)) for size in shape)
    size = tuple(draw(st.integers(0, 4)) for _ in shape)
    stride = tuple(draw(st.integers(-2, 2)) for _ in shape)
    mode = draw(st.sampled_from(("STRICT_BOUNDS", "WRAP", "CLAMP", "FILL", "REFLECT")))

    def add(trt: Any, net: Any, x: list[Any]) -> Any:
        layer = net.add_slice(x[0], start, size, stride)
        layer.mode = _enum(trt, "SampleMode", mode)
        return layer

    return One(((draw(kinds), shape),), add, f"slice {start} {size} {stride} {mode}")


@st.composite
def window(draw: st.DrawFn) -> One:
    """Convolution, deconvolution or pooling."""
    rank = draw(st.sampled_from((2, 2, 2, 3)))
    kind, call = draw(st.sampled_from(FLOATS[:2])), draw(st.sampled_from(("convolution", "deconvolution", "pooling")))
    groups, channels, maps = draw(st.sampled_from((1, 1, 2))), draw(st.integers(1, 4)), draw(st.integers(1, 4))
    shape = (draw(st.integers(1, 2)), channels, *[draw(st.integers(1, 9)) for _ in range(rank)])
    extent = tuple(draw(st.integers(1, 3)) for _ in range(rank))
    names = {
        "stride_nd": st.integers(1, 3), "pre_padding": st.integers(0, 3), "post_padding": st.integers(0, 3),
    }  # fmt: skip
    if call != "pooling":
        names["dilation_nd"] = st.integers(1, 2)
    settings = {name: tuple(draw(each) for _ in range(rank)) for name, each in names.items()}
    mode = draw(st.sampled_from(tuple(oracle.Module().PaddingMode.__members__)))
    dtype = {"FLOAT": np.float32, "HALF": np.float16}[kind]
    count = channels * maps * int(np.prod(extent)) // groups
    weights = np.ones(count, dtype)

    def add(trt: Any, net: Any, x: list[Any]) -> Any:
        if call == "pooling":
            layer = net.add_pooling_nd(x[0], trt.PoolingType.MAX, extent)
        else:
            layer = getattr(net, f"add_{call}_nd")(x[0], maps, extent, weights)
        if layer is None:
            return None
        if call != "pooling":
            layer.num_groups = groups
        for name, value in settings.items():
            setattr(layer, name, value)
        layer.padding_mode = _enum(trt, "PaddingMode", mode)
        return layer

    return One(((kind, shape),), add, f"{call} {extent} {settings} {mode} groups={groups} maps={maps}")


@st.composite
def resize(draw: st.DrawFn) -> One:
    shape = draw(shapes(1, 5))
    sizes_after = draw(broadcast(shape).filter(bool))
    mode = draw(st.sampled_from(("NEAREST", "LINEAR", "CUBIC")))
    transformation = draw(st.sampled_from(("ASYMMETRIC", "HALF_PIXEL", "ALIGN_CORNERS")))

    def add(trt: Any, net: Any, x: list[Any]) -> Any:
        layer = net.add_resize(x[0])
        if layer is None:
            return None
        layer.shape = sizes_after
        layer.resize_mode = _enum(trt, "InterpolationMode", mode)
        layer.coordinate_transformation = _enum(trt, "ResizeCoordinateTransformation", transformation)
        layer.selector_for_single_pixel = trt.ResizeSelector.UPPER
        return layer

    return One(((draw(kinds), shape),), add, f"resize {sizes_after} {mode} {transformation}")


@st.composite
def gather(draw: st.DrawFn) -> One:
    mode = draw(st.sampled_from(("DEFAULT", "DEFAULT", "ELEMENT", "ND")))
    shape, axis, batch = draw(shapes(1, 4)), draw(st.integers(0, 3)), draw(st.integers(0, 2))
    width = draw(st.integers(1, 3))
    indices = {"DEFAULT": draw(shapes(0, 2)), "ELEMENT": draw(broadcast(shape)), "ND": (*shape[:batch], 2, width)}[mode]
    index_kind = draw(st.sampled_from(("INT32", "INT64", "INT32", "FLOAT")))

    def add(trt: Any, net: Any, x: list[Any]) -> Any:
        layer = net.add_gather_v2(*x, _enum(trt, "GatherMode", mode))
        if layer is not None:
            layer.axis = axis
            layer.num_elementwise_dims = batch
        return layer

    return One(((draw(kinds), shape), (index_kind, indices)), add, f"gather {mode} axis={axis} batch={batch}")


@st.composite
def normalization(draw: st.DrawFn) -> One:
    shape = draw(shapes(2, 5))
    groups = draw(st.sampled_from((1, 1, 2, 3)))
    spatial = sum(1 << axis for axis in range(2, len(shape)))
    axes = draw(st.sampled_from((spatial, spatial, spatial | 2, 1 << (len(shape) - 1), 1)))
    channels = (1, shape[1], *[1] * (len(shape) - 2))
    scale = draw(
        st.sampled_from((channels, (1, groups, *[1] * (len(shape) - 2)), (*[1] * (len(shape) - 1), shape[-1]), (1,)))
    )
    kind = draw(st.sampled_from(FLOATS[:2]))
    v2 = draw(st.booleans())
    other = draw(st.sampled_from((kind, kind, "FLOAT")))

    def add(_: Any, net: Any, x: list[Any]) -> Any:
        layer = (net.add_normalization_v2 if v2 else net.add_normalization)(*x, axes)
        if layer is not None:
            layer.num_groups = groups
        return layer

    return One(
        ((kind, shape), (other, scale), (other, scale)), add, f"normalization axes={axes} groups={groups} v2={v2}"
    )


@st.composite
def cast(draw: st.DrawFn) -> One:
    kind = draw(st.sampled_from(tuple(KINDS)))
    return One(
        ((draw(kinds), draw(shapes())),),
        lambda trt, net, x: net.add_cast(x[0], _enum(trt, "DataType", kind)),
        f"cast {kind}",
    )


LAYERS = {
    "unary": unary(), "activation": activation(), "elementwise": elementwise(), "select": select(),
    "reduction": reduction(), "softmax": softmax(), "topk": topk(), "matmul": matmul(), "shuffle": shuffle(),
    "concatenation": concatenation(), "slice": slicing(), "window": window(), "resize": resize(), "gather": gather(),
    "normalization": normalization(), "cast": cast(),
}  # fmt: skip
