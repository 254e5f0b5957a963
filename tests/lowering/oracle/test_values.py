"""What the oracle computes, against torch: generated shapes, types and arguments."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from torch.nn import functional as F  # noqa: E402

from bench.lowering import oracle  # noqa: E402
from tests.lowering.oracle import kit  # noqa: E402
from tests.lowering.oracle.kit import few, floats, image, near, seeds  # noqa: E402

pytestmark = pytest.mark.torch

# ------------------------------------------------------------------------------------------------------ value by value

ACTIVATIONS = {
    "RELU": lambda x, a, b: F.relu(x),
    "SIGMOID": lambda x, a, b: torch.sigmoid(x),
    "TANH": lambda x, a, b: torch.tanh(x),
    "LEAKY_RELU": lambda x, a, b: F.leaky_relu(x, a),
    "ELU": lambda x, a, b: F.elu(x, a),
    "SELU": lambda x, a, b: b * F.elu(x, a),
    "SOFTSIGN": lambda x, a, b: F.softsign(x),
    "SOFTPLUS": lambda x, a, b: a * F.softplus(b * x),
    "CLIP": lambda x, a, b: torch.clamp(x, a, b),
    "HARD_SIGMOID": lambda x, a, b: torch.clamp(a * x + b, 0, 1),
    "SCALED_TANH": lambda x, a, b: a * torch.tanh(b * x),
    "THRESHOLDED_RELU": lambda x, a, b: F.threshold(x, a, 0.0),
    "GELU_ERF": lambda x, a, b: F.gelu(x),
    "GELU_TANH": lambda x, a, b: F.gelu(x, approximate="tanh"),
}


@pytest.mark.parametrize("kind", ACTIVATIONS)
@few
@given(
    dtype=floats, shape=kit.shapes(), alpha=st.floats(0.125, 1, width=16), beta=st.floats(1, 2, width=16), seed=seeds
)
def test_activations(kind: str, dtype: str, shape: tuple[int, ...], alpha: float, beta: float, seed: int) -> None:
    x = kit.values(dtype, shape, seed) * 3
    trt, net, (tensor,) = kit.network(x)
    layer = net.add_activation(tensor, getattr(trt.ActivationType, kind))
    layer.alpha, layer.beta = alpha, beta
    near(kit.computed(layer), ACTIVATIONS[kind](x.float(), alpha, beta).to(x.dtype))


def test_the_table_has_all_activations() -> None:
    assert set(ACTIVATIONS) == set(oracle.Module().ActivationType.__members__)


@few
@given(
    dtype=floats, shape=kit.shapes(), op=st.sampled_from(tuple(oracle.Module().UnaryOperation.__members__)), seed=seeds
)
def test_unary_operations(dtype: str, shape: tuple[int, ...], op: str, seed: int) -> None:
    x = kit.values("BOOL" if op == "NOT" else dtype, shape, seed)
    name = {"NOT": "logical_not", "RECIP": "reciprocal"}.get(op, op.lower())
    expected = getattr(torch, name)(x if x.dtype == torch.bool else x.double())
    trt, net, (tensor,) = kit.network(x)
    value = kit.computed(net.add_unary(tensor, getattr(trt.UnaryOperation, op)))
    near(value, expected if expected.dtype == torch.bool else expected.to(x.dtype))


OPERATIONS = {
    "SUM": torch.add, "PROD": torch.mul, "MAX": torch.maximum, "MIN": torch.minimum, "SUB": torch.sub,
    "DIV": torch.div, "FLOOR_DIV": torch.floor_divide, "EQUAL": torch.eq, "GREATER": torch.gt, "LESS": torch.lt,
    "AND": torch.logical_and, "OR": torch.logical_or, "XOR": torch.logical_xor, "POW": torch.pow,
}  # fmt: skip


@few
@given(data=st.data(), op=st.sampled_from(tuple(OPERATIONS)), seed=seeds)
def test_elementwise_operations_repeat_sizes_of_one(data: st.DataObject, op: str, seed: int) -> None:
    shape = data.draw(kit.shapes())
    kinds = {"AND": ("BOOL",), "OR": ("BOOL",), "XOR": ("BOOL",), "POW": ("FLOAT",), "EQUAL": ("BOOL", "INT32", "HALF")}
    kind = data.draw(st.sampled_from(kinds.get(op, ("FLOAT", "HALF", "INT32", "INT64"))))
    other = tuple(data.draw(st.sampled_from((size, 1))) for size in shape)
    a, b = kit.values(kind, shape, seed), kit.values(kind, other, seed + 1)
    if op in ("DIV", "FLOOR_DIV"):
        b = torch.where(b == 0, torch.ones_like(b), b)
    if op == "POW":
        a = a.abs() + 0.1
    if op == "DIV" and not a.is_floating_point():
        expected = (a.double() / b).trunc().to(a.dtype)
    else:
        expected = OPERATIONS[op](a, b)
    trt, net, tensors = kit.network(a, b)
    near(kit.computed(net.add_elementwise(*tensors, getattr(trt.ElementWiseOperation, op))), expected)


@few
@given(mode=st.sampled_from(("UNIFORM", "CHANNEL", "ELEMENTWISE")), axis=st.integers(0, 3), seed=seeds)
def test_scale(mode: str, axis: int, seed: int) -> None:
    x = kit.values("FLOAT", (2, 3, 4, 5), seed)
    shape = {"UNIFORM": (1, 1, 1, 1), "ELEMENTWISE": (2, 3, 4, 5)}.get(mode) or tuple(
        size if index == axis else 1 for index, size in enumerate(x.shape)
    )
    scale, shift = kit.values("FLOAT", shape, seed + 1), kit.values("FLOAT", shape, seed + 2)
    trt, net, (tensor,) = kit.network(x)
    weights = shift.numpy(), scale.numpy(), np.full(scale.numel(), 2.0, np.float32)
    layer = net.add_scale_nd(tensor, getattr(trt.ScaleMode, mode), *weights, axis)
    near(kit.computed(layer), (x * scale + shift) ** 2)


@few
@given(source=st.sampled_from(tuple(kit.KINDS)), target=st.sampled_from(tuple(kit.KINDS)), seed=seeds)
def test_casts(source: str, target: str, seed: int) -> None:
    x = kit.values(source, (2, 3), seed)
    trt, net, (tensor,) = kit.network(x)
    assert torch.equal(kit.computed(net.add_cast(tensor, trt.DataType[target])), x.to(kit.KINDS[target]))


# ---------------------------------------------------------------------------------------------------------------- sums


@few
@given(data=st.data(), op=st.sampled_from(("SUM", "PROD", "MAX", "MIN", "AVG")), keep=st.booleans(), seed=seeds)
def test_reductions(data: st.DataObject, op: str, keep: bool, seed: int) -> None:
    shape = data.draw(kit.shapes(1))
    kind = data.draw(st.sampled_from(("FLOAT", "HALF", "INT32")))
    axes = data.draw(st.sets(st.integers(0, len(shape) - 1), min_size=1))
    x = kit.values(kind, shape, seed)
    y = x.double()
    functions = {"SUM": "sum", "MAX": "amax", "MIN": "amin", "AVG": "mean"}
    if op == "PROD":
        expected = y
        for axis in sorted(axes, reverse=True):
            expected = expected.prod(axis, keepdim=keep)
    else:
        expected = getattr(y, functions[op])(sorted(axes), keepdim=keep)
    trt, net, (tensor,) = kit.network(x)
    layer = net.add_reduce(tensor, getattr(trt.ReduceOperation, op), sum(1 << axis for axis in axes), keep)
    near(kit.computed(layer), expected.to(x.dtype))


@few
@given(dtype=floats, shape=kit.shapes(2), seed=seeds, data=st.data())
def test_softmax(dtype: str, shape: tuple[int, ...], seed: int, data: st.DataObject) -> None:
    x, axis = kit.values(dtype, shape, seed), data.draw(st.integers(0, len(shape) - 1))
    _, net, (tensor,) = kit.network(x)
    layer = net.add_softmax(tensor)
    layer.axes = 1 << axis
    near(kit.computed(layer), torch.softmax(x.double(), axis).to(x.dtype))


@few
@given(data=st.data(), dtype=st.sampled_from(("FLOAT", "HALF")), groups=st.sampled_from((1, 2, 3)), v2=st.booleans())
def test_group_normalization(data: st.DataObject, dtype: str, groups: int, v2: bool) -> None:
    x = image(data.draw, 6).to(kit.KINDS[dtype])
    count = 6 if v2 or groups == 1 else groups
    scale, bias = (kit.values(dtype, (1, count, 1, 1), data.draw(seeds)) for _ in range(2))
    trt, net, tensors = kit.network(x, scale, bias)
    del trt
    layer = (net.add_normalization_v2 if v2 else net.add_normalization)(*tensors, 0b1100)
    layer.num_groups, layer.epsilon = groups, 1e-3
    each = groups == 1  # each channel by itself
    normal = F.instance_norm(x.float(), eps=1e-3) if each else F.group_norm(x.float(), groups, eps=1e-3)
    wide = [value.float().repeat_interleave(6 // count, 1) for value in (scale, bias)]
    near(kit.computed(layer), (normal * wide[0] + wide[1]).to(x.dtype))


@few
@given(shape=kit.shapes(2, 4), last=st.integers(1, 2), dtype=st.sampled_from(("FLOAT", "HALF")), seed=seeds)
def test_layer_normalization(shape: tuple[int, ...], last: int, dtype: str, seed: int) -> None:
    x = kit.values(dtype, shape, seed)
    tail = shape[-last:]
    scale, bias = (kit.values(dtype, (1,) * (len(shape) - last) + tail, seed + 1 + index) for index in range(2))
    _, net, tensors = kit.network(x, scale, bias)
    mask = sum(1 << axis for axis in range(len(shape) - last, len(shape)))
    expected = F.layer_norm(x.float(), tail, scale.float().reshape(tail), bias.float().reshape(tail))
    near(kit.computed(net.add_normalization(*tensors, mask)), expected.to(x.dtype))


@few
@given(data=st.data(), ops=st.tuples(*[st.sampled_from(("NONE", "TRANSPOSE", "VECTOR"))] * 2), seed=seeds)
def test_matrix_products(data: st.DataObject, ops: tuple[str, str], seed: int) -> None:
    m, k, n = (data.draw(kit.sizes) for _ in range(3))
    batch = data.draw(kit.shapes(0, 2))
    other = tuple(data.draw(st.sampled_from((size, 1))) for size in batch)
    shapes = (
        {"NONE": (m, k), "TRANSPOSE": (k, m), "VECTOR": (k,)},
        {"NONE": (k, n), "TRANSPOSE": (n, k), "VECTOR": (k,)},
    )
    a = kit.values("FLOAT", batch + shapes[0][ops[0]], seed)
    b = kit.values("FLOAT", other + shapes[1][ops[1]], seed + 1)
    left = {"NONE": "...mk", "TRANSPOSE": "...km", "VECTOR": "...k"}[ops[0]]
    right = {"NONE": "...kn", "TRANSPOSE": "...nk", "VECTOR": "...k"}[ops[1]]
    kept = ("m" if ops[0] != "VECTOR" else "") + ("n" if ops[1] != "VECTOR" else "")
    expected = torch.einsum(f"{left},{right}->...{kept}", a, b)
    trt, net, tensors = kit.network(a, b)
    first, second = (getattr(trt.MatrixOperation, op) for op in ops)
    near(kit.computed(net.add_matrix_multiply(tensors[0], first, tensors[1], second)), expected)


@few
@given(data=st.data(), repeats=st.sampled_from((1, 2)), mask=st.sampled_from(("none", "bool", "float", "causal")))
def test_attention(data: st.DataObject, repeats: int, mask: str) -> None:
    b, n, s, t, h = (data.draw(st.integers(1, 4)) for _ in range(5))
    query = kit.values("FLOAT", (b, n * repeats, s, h), data.draw(seeds))
    key, value = (kit.values("FLOAT", (b, n, t, h), data.draw(seeds)) for _ in range(2))
    more = []
    if mask == "bool":
        more = [kit.values("BOOL", (b, 1, s, t), 3) | (torch.arange(t) == 0)]
    elif mask == "float":
        more = [kit.values("FLOAT", (1, 1, s, t), 3)]
    wide = [x.repeat_interleave(repeats, 1) for x in (key, value)]
    expected = F.scaled_dot_product_attention(
        query, *wide, attn_mask=more[0] if more else None, is_causal=mask == "causal", scale=1.0
    )
    trt, net, tensors = kit.network(query, key, value, *more)
    layer = net.add_attention(*tensors[:3], trt.AttentionNormalizationOp.SOFTMAX, mask == "causal")
    if more:
        layer.mask = tensors[3]
    near(kit.computed(layer), expected)


# -------------------------------------------------------------------------------------------------- shapes and indices


@few
@given(data=st.data(), mode=st.sampled_from(("STRICT_BOUNDS", "WRAP", "CLAMP", "FILL", "REFLECT")), seed=seeds)
def test_slices(data: st.DataObject, mode: str, seed: int) -> None:
    shape = data.draw(kit.shapes(1, 3))
    x = kit.values("FLOAT", shape, seed)
    inside = mode == "STRICT_BOUNDS"
    start = [data.draw(st.integers(*((0, size - 1) if inside else (-3, size + 3)))) for size in shape]
    stride = [data.draw(st.integers(0 if inside else -2, 2)) for _ in shape]
    count = [
        data.draw(st.integers(0, ((size - 1 - first) // step + 1) if step else 3)) if inside else data.draw(kit.sizes)
        for size, first, step in zip(shape, start, stride, strict=True)
    ]
    expected = x.numpy()
    for axis, (first, number, step) in enumerate(zip(start, count, stride, strict=True)):
        places = first + step * np.arange(number)
        # numpy.pad's modes mean the same; twenty values on each side hold any of these places
        numpy_mode: Any = {"WRAP": "wrap", "CLAMP": "edge", "REFLECT": "reflect"}.get(mode, "constant")
        width = [(20, 20) if axis == index else (0, 0) for index in range(len(shape))]
        expected = np.take(np.pad(expected, width, mode=numpy_mode), places + 20, axis)
    trt, net, (tensor,) = kit.network(x)
    layer = net.add_slice(tensor, tuple(start), tuple(count), tuple(stride))
    layer.mode = getattr(trt.SampleMode, mode)
    assert torch.equal(kit.computed(layer), torch.from_numpy(np.ascontiguousarray(expected)))


def test_a_slice_fills_with_its_fifth_input_and_takes_axes() -> None:
    x = torch.arange(6.0).reshape(2, 3)
    trt, net, (tensor,) = kit.network(x)
    layer = net.add_slice(tensor, (2,), (3,), (1,))
    layer.mode, layer.axes = trt.SampleMode.FILL, (1,)
    layer.set_input(4, kit.constant(net, np.array(7.0, np.float32)))
    assert kit.computed(layer).tolist() == [[2, 7, 7], [5, 7, 7]]


@few
@given(data=st.data(), seed=seeds)
def test_shuffles(data: st.DataObject, seed: int) -> None:
    shape = data.draw(kit.shapes(1, 4))
    x = kit.values("FLOAT", shape, seed)
    first = data.draw(st.permutations(range(len(shape))))
    expected = x.permute(first).reshape(expected_shape := (shape[first[0]], -1))
    _, net, (tensor,) = kit.network(x)
    layer = net.add_shuffle(tensor)
    layer.first_transpose, layer.reshape_dims, layer.second_transpose = first, (0, -1), (1, 0)
    assert torch.equal(kit.computed(layer), expected.T), expected_shape


@few
@given(data=st.data(), mode=st.sampled_from(("DEFAULT", "ELEMENT", "ND")), seed=seeds)
def test_gather_and_scatter(data: st.DataObject, mode: str, seed: int) -> None:
    shape = data.draw(kit.shapes(1, 4))
    x, axis = kit.values("FLOAT", shape, seed), data.draw(st.integers(0, len(shape) - 1))
    generator = torch.Generator().manual_seed(seed)
    if mode == "DEFAULT":
        indices = torch.randint(shape[axis], data.draw(kit.shapes(0, 2)), generator=generator)
        expected = torch.from_numpy(np.array(np.take(x.numpy(), indices.numpy(), axis)))
    elif mode == "ELEMENT":
        indices = torch.argsort(torch.rand(shape, generator=generator), axis)
        expected = torch.take_along_dim(x, indices, axis)
    else:
        width = data.draw(st.integers(1, len(shape)))
        indices = torch.stack([torch.randint(size, (2, 3), generator=generator) for size in shape[:width]], -1)
        expected = x[tuple(indices.unbind(-1))]
    trt, net, tensors = kit.network(x, indices.int())
    layer = net.add_gather_v2(*tensors, getattr(trt.GatherMode, mode))
    if mode != "ND":
        layer.axis = axis
    assert torch.equal(kit.computed(layer), expected)
    if mode == "ELEMENT":
        updates = kit.values("FLOAT", shape, seed + 1)
        trt, net, tensors = kit.network(x, indices, updates)
        layer = net.add_scatter(*tensors, trt.ScatterMode.ELEMENT)
        layer.axis = axis
        assert torch.equal(kit.computed(layer), x.scatter(axis, indices, updates))


@few
@given(data=st.data(), largest=st.booleans(), seed=seeds)
def test_topk(data: st.DataObject, largest: bool, seed: int) -> None:
    shape = data.draw(kit.shapes(2, 4))
    axis = data.draw(st.integers(0, len(shape) - 1))
    x, k = kit.values("FLOAT", shape, seed), data.draw(st.integers(1, shape[axis]))
    trt, net, (tensor,) = kit.network(x)
    layer = net.add_topk(tensor, trt.TopKOperation.MAX if largest else trt.TopKOperation.MIN, k, 1 << axis)
    values, indices = torch.topk(x, k, axis, largest)
    assert torch.equal(kit.computed(layer), values)
    assert torch.equal(kit.computed(layer, 1), indices.int())


@few
@given(shape=kit.shapes(1, 3), exclusive=st.booleans(), reverse=st.booleans(), seed=seeds)
def test_cumulative_sums(shape: tuple[int, ...], exclusive: bool, reverse: bool, seed: int) -> None:
    x, axis = kit.values("INT32", shape, seed), len(shape) - 1
    trt, net, (tensor,) = kit.network(x)
    place = kit.constant(net, np.array(axis, np.int32))
    value = kit.computed(net.add_cumulative(tensor, place, trt.CumulativeOperation.SUM, exclusive, reverse))
    for index in range(shape[-1]):
        low, high = (index + exclusive, shape[-1]) if reverse else (0, index + 1 - exclusive)
        assert torch.equal(value[..., index], x[..., low:high].sum(-1).int())
