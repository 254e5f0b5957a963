"""Functions of torch that one converter each, or few, write: their inputs, and what are weights."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch.nn import functional as F

from tests.lowering.oracle.kit import values

Tensor = torch.Tensor


class Case(NamedTuple):
    """``function(*inputs, *weights)`` gives one tensor or several."""

    function: Callable[..., Any]
    inputs: tuple[Tensor, ...]
    weights: tuple[Tensor, ...] = ()


def _floats(*shape: int, seed: int = 0) -> Tensor:
    return values("FLOAT", shape, seed)


def _half(*shape: int, seed: int = 0) -> Tensor:
    return values("HALF", shape, seed)


X = _floats(2, 3, 4)
IMAGE = _floats(1, 2, 4, 5)
INDEX = torch.tensor([[0, 1, 2], [2, -1, 0]])
QUERY, KEY = _floats(2, 4, 5, 8), _floats(2, 2, 6, 8)
SEEN = values("BOOL", (2, 1, 5, 5)) | torch.eye(5, dtype=torch.bool)


_ALL = slice(None)


def _written(x: Tensor, value: Tensor, *index: Any) -> Tensor:
    """A copy of ``x`` with ``value`` at an index."""
    y = x.clone()
    y[index] = value
    return y


def _attend(query: Tensor, key: Tensor, **options: Any) -> Tensor:
    return F.scaled_dot_product_attention(query, key, key, **options)


def _resize(x: Tensor, size: Any, mode: str, **options: Any) -> Tensor:
    return F.interpolate(x, size=size, mode=mode, **options)


CASES = {
    # activations
    "gelu": Case(F.gelu, (_half(2, 3),)),
    "gelu by tanh": Case(lambda x: F.gelu(x, approximate="tanh"), (X,)),
    "silu": Case(F.silu, (_half(2, 3),)),
    "hardsigmoid": Case(F.hardsigmoid, (3 * X,)),
    "hardswish": Case(F.hardswish, (3 * X,)),
    "leaky_relu": Case(lambda x: F.leaky_relu(x, 0.2), (X,)),
    "elu": Case(lambda x: (F.elu(x, 0.7), F.selu(x)), (X,)),
    "softplus": Case(lambda x: F.softplus(9 * x, 2.0, 5.0), (X,)),
    "mish": Case(F.mish, (X,)),
    "prelu": Case(F.prelu, (X,), (_floats(3, seed=1),)),
    "threshold": Case(lambda x: F.threshold(x, 0.5, -1.0), (X,)),
    "isnan": Case(lambda x: (torch.isnan(x / x.clamp_min(0)), torch.isinf(1 / x.clamp_min(0))), (X,)),
    "logarithms": Case(lambda x: (torch.log2(x.abs() + 1), torch.log10(x.abs() + 1)), (X,)),
    # norms
    "layer_norm": Case(
        lambda x, *more: F.layer_norm(x, (4,), *more), (_half(2, 3, 4),), (_half(4, seed=1), _half(4, seed=2))
    ),
    "layer_norm without bias": Case(lambda x, scale: F.layer_norm(x, (3, 4), scale), (X,), (_floats(3, 4, seed=1),)),
    "group_norm": Case(
        lambda x, *more: F.group_norm(x, 3, *more), (_floats(2, 6, 4),), (_floats(6, seed=1), _floats(6, seed=2))
    ),
    "group_norm without weights": Case(lambda x: F.group_norm(x, 2), (_half(2, 6, 4, 3),)),
    "instance_norm": Case(
        lambda x, scale, bias: F.instance_norm(x, None, None, scale, bias), (IMAGE,),
        (_floats(2, seed=1), _floats(2, seed=2)),
    ),
    "rms_norm": Case(lambda x, scale: F.rms_norm(x, (4,), scale), (_half(2, 3, 4),), (_half(4, seed=1),)),
    # attention
    "attention": Case(lambda q: _attend(q, q), (QUERY,)),
    "attention, causal": Case(lambda q, k: _attend(q, k, is_causal=True), (QUERY, _floats(2, 4, 6, 8, seed=1))),
    "attention, added mask": Case(lambda q, m: _attend(q, q, attn_mask=m), (QUERY, _floats(5, 5, seed=1))),
    "attention, mask of bool": Case(lambda q, m: _attend(q, q, attn_mask=m), (QUERY, SEEN)),
    "attention, groups": Case(lambda q, k: _attend(q, k, enable_gqa=True), (QUERY, KEY)),
    "attention, causal groups": Case(lambda q, k: _attend(q, k, enable_gqa=True, is_causal=True), (QUERY, KEY)),
    "attention in half precision": Case(lambda q: _attend(q, q, scale=0.3), (_half(4, 5, 8),)),
    # resampling
    "nearest": Case(lambda x: F.interpolate(x, scale_factor=2), (IMAGE,)),
    "nearest-exact": Case(lambda x: _resize(x, (7, 3), "nearest-exact"), (IMAGE,)),
    "bilinear": Case(lambda x: _resize(x, (7, 3), "bilinear"), (IMAGE,)),
    "bilinear, corners": Case(lambda x: _resize(x, (7, 1), "bilinear", align_corners=True), (IMAGE,)),
    "bicubic": Case(lambda x: _resize(x, (7, 3), "bicubic"), (IMAGE,)),
    "linear": Case(lambda x: _resize(x, 7, "linear"), (X,)),
    "grid_sample": Case(lambda x, g: F.grid_sample(x, g, align_corners=False), (IMAGE, _floats(1, 3, 3, 2))),
    # reductions
    "sums": Case(lambda x: (x.sum(), x.sum(1), x.sum((0, 2), keepdim=True), x.mean(), x.mean(-1), x.prod(1)), (X,)),
    "extremes": Case(lambda x: (x.amax(1), x.amin((0, 1)), x.max(), x.min()), (_half(2, 3, 4),)),
    "any and all": Case(lambda x: ((x > 0).any(), (x > 0).any(1), (x > 5).all(-1, keepdim=True)), (X,)),
    "variances": Case(lambda x: (x.var(1), x.std(-1), x.var((0, 1), correction=0), x.std(), x.var()), (X,)),
    "norms": Case(
        lambda x: (
            x.norm(dim=1), torch.linalg.vector_norm(x, 1, dim=2), torch.linalg.vector_norm(x, float("inf"), dim=2),
        ), (X,),
    ),
    "normalize": Case(F.normalize, (X,)),
    "places of extremes": Case(
        lambda x: (x.argmax(-1), x.argmin(1, keepdim=True), x.argmax(), *x.max(1), *x.min(2, keepdim=True)), (X,)
    ),
    "sums of integers": Case(lambda i: (i.sum(), i.sum(1), i.cumsum(1)), (INDEX,)),
    "logsumexp": Case(lambda x: torch.logsumexp(x, (1,)), (X,)),
    # order, indices, conditions
    "topk": Case(lambda x: (*x.topk(2, 1), *x.topk(1, largest=False), *x.sort(-1)), (X,)),
    "topk of one dimension": Case(lambda x: x.topk(2), (_floats(5),)),
    "cumsum": Case(lambda x: (x.cumsum(0), x.cumsum(-1)), (X,)),
    "cumsum of one dimension": Case(lambda x: x.cumsum(0), (_half(5),)),
    "embedding": Case(lambda i, table: F.embedding(i.abs(), table), (INDEX,), (_floats(4, 6, seed=1),)),
    "index_select": Case(lambda x, i: x.index_select(1, i[0]), (X, INDEX)),
    "gather": Case(lambda x, i: (x[0].gather(0, i.abs()), x.gather(1, i.abs()[:, :, None])), (X, INDEX)),
    "index": Case(lambda x, i: (x[:, i[0]], x[:, :, i], x[torch.where(i > 1, -1, i)]), (X, INDEX)),
    "several indices": Case(lambda x, i: (x[i.clamp_max(1), i], x[:, i, i], x[i.clamp_max(1), :, i]), (X, INDEX)),
    "where": Case(
        lambda x: (torch.where(x > 0, x, 0.5), torch.where(x > 0, 1.0, x), x.masked_fill(x > 0, float("-inf"))), (X,)
    ),
    "scatter": Case(
        lambda x: (x.scatter(1, x.sort(1)[1], x * 2), x.scatter(2, x.sort(2)[1][:, :, :1], 3.0)), (X,)
    ),
    "remainders": Case(
        lambda x: (
            3 * x % 1.5, torch.remainder(5.0, x.abs() + 0.3), torch.fmod(3 * x, -0.7), torch.fmod(x, x.flip(1) + 3),
        ), (X,),
    ),
    "remainders of integers": Case(
        lambda i: (i % 2, (i - 1) % -3, torch.fmod(3 * i, 2), torch.fmod(i, i + 4)), (INDEX,)
    ),
    "index_put": Case(
        lambda x, i: (
            _written(x, x[0, 0], i[0, :2].clamp_max(1)), _written(x, x[0, 0, 0], _ALL, i[0]),
            _written(x, x[:, 0, :3] * 2, _ALL, i[0], i[1] + 1), _written(x, x[0, :, :2].T, i[0, :2], _ALL, i[0, :2]),
        ), (X, INDEX),
    ),
    "index_put under a mask": Case(
        lambda x, value: (_written(x, value, x > 0), _written(x, value, x[:, :, 0] > 0)), (X,), (_floats(1, seed=1),)
    ),
    "slice_scatter": Case(
        lambda x: (
            x.slice_scatter(x[:, :2] * 2, 1, 1, 3), x.slice_scatter(x[:, :, :2] * 2, -1, 0, None, 2),
            x.slice_scatter(-x, 0), x.select_scatter(x[:, 0] * 2, 1, -1),
        ), (X,),
    ),
    "unfold": Case(lambda x: (x.unfold(-1, 2, 1), x.unfold(1, 2, 1), x[0, 0].unfold(0, 3, 2)), (X,)),
    # padding, numbers, triangles
    "pad": Case(
        lambda x: (
            F.pad(x, (1, 2)), F.pad(x, (1, -1, 0, 2), value=1.5), F.pad(x, (1, 2), mode="reflect"),
            F.pad(x, (1, 2), mode="replicate"), F.pad(x > 0, (1, 1)),
        ), (X,),
    ),
    "flip": Case(lambda x: (x.flip(0), x.flip((1, 2))), (X,)),
    "numbers": Case(
        lambda x: (
            x + torch.arange(4), x + torch.full((4,), 2.0), torch.zeros_like(x) + x, torch.ones(3, 1) * x,
            x.new_full((4,), 3) + x, torch.arange(1, 9, 2) + x,
        ), (X,),
    ),
    "triangles": Case(lambda x: (x.tril(), x.triu(1), x.tril(-1)), (X,)),
}  # fmt: skip
