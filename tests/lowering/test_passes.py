"""Passes on normalised graphs: each removes what it should, and the graph computes what it did."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from bench.lowering import normalise  # noqa: E402
from bench.lowering.passes import batch_norm, constants, masks, matmul, views  # noqa: E402
from tests.lowering import kit  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.long]  # each exports a module, which takes a second
nn = torch.nn


def drawn(module: Any) -> Any:
    """``module`` with statistics and weights that no fold can hide behind."""
    generator = torch.Generator().manual_seed(1)
    for name, value in module.state_dict().items():
        if value.is_floating_point():
            values = torch.rand(value.shape, generator=generator) + 0.5
            value.copy_(values if "running" in name else values - 0.7)
    return module.eval()


class Chain(nn.Sequential):
    """Modules one after the other, of an input called ``x``."""

    def forward(self, x: Any) -> Any:
        return super().forward(x)


class Sharing(nn.Module):
    """A convolution whose result is used twice, so that its normalisation cannot be folded."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, x: Any) -> Any:
        y = self.conv(x)
        return self.norm(y) + y


CONVOLUTIONS = {
    "plain": lambda: nn.Conv2d(4, 8, 3, bias=False),
    "bias": lambda: nn.Conv2d(4, 8, 3),
    "grouped": lambda: nn.Conv2d(4, 8, 3, groups=2),
    "one dimension": lambda: nn.Conv1d(4, 8, 3),
    "transposed": lambda: nn.ConvTranspose2d(4, 8, 3, stride=2, bias=False),
    "transposed, grouped": lambda: nn.ConvTranspose2d(4, 8, 3, groups=2),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_a_batch_norm_is_folded_into_the_convolution_before_it(name: str) -> None:
    norm = nn.BatchNorm1d(8) if name == "one dimension" else nn.BatchNorm2d(8)
    module = drawn(Chain(CONVOLUTIONS[name](), norm))
    inputs = kit.example((2, 4, 9) if name == "one dimension" else (2, 4, 9, 9))
    before = kit.normalised(module, inputs)
    after = batch_norm.fold_batch_norms(before)
    assert kit.ops(before) == ["convolution", "batch_norm"]
    assert kit.ops(after) == ["convolution"]
    kit.assert_computes(after, module, inputs)
    kit.assert_computes(before, module, inputs)  # the pass left its argument alone


def test_a_batch_norm_after_a_shared_result_stays() -> None:
    module = drawn(Sharing())
    inputs = kit.example((1, 3, 6, 6))
    after = batch_norm.fold_batch_norms(kit.normalised(module, inputs))
    assert kit.ops(after) == ["convolution", "batch_norm", "add"]
    kit.assert_computes(after, module, inputs)


class Weights(nn.Module):
    """Two convolutions that share a kernel, each with a normalisation of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.first, self.second = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.BatchNorm2d(3)

    def forward(self, x: Any) -> Any:
        return self.second(self.conv(self.first(self.conv(x))))


def test_a_kernel_that_two_convolutions_share_is_folded_for_each_alone() -> None:
    module = drawn(Weights())
    inputs = kit.example((1, 3, 4, 4))
    after = batch_norm.fold_batch_norms(kit.normalised(module, inputs))
    assert kit.ops(after) == ["convolution", "convolution"]
    kit.assert_computes(after, module, inputs)


class Function(nn.Module):
    """A function as a module, with one weight ``w`` of shape [4, 4]."""

    def __init__(self, function: Callable[[Any, Any], Any]) -> None:
        super().__init__()
        self.function = function
        self.w = nn.Parameter(torch.arange(16.0).reshape(4, 4) / 7)

    def forward(self, x: Any) -> Any:
        return self.function(x, self.w)


VIEWS = {
    "reshapes": (
        lambda x, w: x.reshape(2, 8).reshape(8, 2).relu(),
        ["reshape", "reshape", "relu"],
        ["reshape", "relu"],
    ),
    "whole slice": (lambda x, w: x[:, 0:4].relu(), None, ["relu"]),
    "permutes that cancel": (lambda x, w: x.t().transpose(0, 1).relu(), ["permute", "permute", "relu"], ["relu"]),
    "permutes": (
        lambda x, w: x.reshape(2, 2, 4).permute(2, 0, 1).permute(0, 2, 1).relu(),
        ["reshape", "permute", "permute", "relu"],
        ["reshape", "permute", "relu"],
    ),
    "copies": (lambda x, w: nn.functional.dropout(x.clone().contiguous(), training=False).relu(), None, ["relu"]),
    "a slice of half": (lambda x, w: x[:, 0:2].relu(), ["slice", "relu"], ["slice", "relu"]),
}


@pytest.mark.parametrize("name", VIEWS)
def test_views_that_move_nothing_are_removed(name: str) -> None:
    function, ops_before, ops_after = VIEWS[name]
    module, inputs = Function(function), kit.example((4, 4))
    before = kit.normalised(module, inputs)
    after = views.simplify_views(before)
    assert ops_before is None or kit.ops(before) == ops_before
    assert kit.ops(after) == ops_after
    kit.assert_computes(after, module, inputs)


def test_what_depends_on_weights_alone_is_computed_once() -> None:
    module, inputs = Function(lambda x, w: x + (w.t() * 2.0 + 1.0)), kit.example((4, 4))
    after = constants.fold_constants(kit.normalised(module, inputs))
    assert kit.ops(after) == ["add"]
    kit.assert_computes(after, module, inputs)


def test_a_constant_may_come_of_an_op_that_modules_have_a_method_of() -> None:
    module, inputs = Function(lambda x, w: x + w.to(torch.float64).to(torch.float16)), kit.example((4, 4))
    after = constants.fold_constants(kit.normalised(module, inputs))
    assert kit.ops(after) == ["add"]
    kit.assert_computes(after, module, inputs)


def test_a_constant_that_would_grow_large_is_left_to_the_network() -> None:
    module, inputs = Function(lambda x, w: x + w.reshape(16, 1).expand(16, 1 << 16)), kit.example((1 << 16,))
    after = constants.fold_constants(kit.normalised(module, inputs))
    assert kit.ops(after) == ["expand", "add"]


@pytest.mark.parametrize("side", ["input", "other"])
def test_a_permute_of_the_last_dimensions_is_taken_into_the_product(side: str) -> None:
    function = (lambda x, w: x.t() @ w) if side == "input" else (lambda x, w: w @ x.t())
    module, inputs = Function(function), kit.example((4, 4))
    graph = matmul.fold_permutes(kit.normalised(module, inputs))
    assert kit.ops(graph) == ["matmul"]
    kit.assert_computes(graph, module, inputs)


def test_a_permute_of_other_dimensions_stays() -> None:
    module = Function(lambda x, w: x.permute(1, 0, 2) @ w)
    graph = matmul.fold_permutes(kit.normalised(module, kit.example((3, 2, 4))))
    assert kit.ops(graph) == ["permute", "matmul"]


def _attention(mask: Callable[[Any, Any], Any]) -> Function:
    return Function(lambda x, w: nn.functional.scaled_dot_product_attention(x, x, x, attn_mask=mask(x, w)))


OPEN = {
    "all true": lambda x, w: (w < 100).reshape(1, 1, 4, 4),
    "expanded": lambda x, w: (w < 100)[:1].reshape(1, 1, 1, 4).expand(1 << 9, 1, 1 << 12, 4)[:2, :, :4],
    "zeros that are added": lambda x, w: (w * 0).reshape(1, 4, 4),
}
CLOSED = {
    "one false": lambda x, w: w < 2,
    "one that is added": lambda x, w: w.clamp(2.0) - 2.0,
    "of the input": lambda x, w: (x @ x.mT)[:1, :1] < 100,
}


@pytest.mark.parametrize("name", OPEN)
def test_a_mask_that_hides_nothing_is_dropped(name: str) -> None:
    module, inputs = _attention(OPEN[name]), kit.example((2, 2, 4, 3))
    before = constants.fold_constants(kit.normalised(module, inputs))
    after = masks.drop_open_masks(before)
    assert kit.ops(after) == ["scaled_dot_product_attention"]
    assert _mask_of(before) is not None
    assert _mask_of(after) is None
    kit.assert_computes(after, module, inputs)


@pytest.mark.parametrize("name", CLOSED)
def test_a_mask_that_may_hide_something_stays(name: str) -> None:
    module, inputs = _attention(CLOSED[name]), kit.example((2, 2, 4, 3))
    after = masks.drop_open_masks(constants.fold_constants(kit.normalised(module, inputs)))
    assert _mask_of(after) is not None
    kit.assert_computes(after, module, inputs)


def _mask_of(graph: kit.Graph) -> Any:
    (node,) = [node for node in graph.graph.nodes if normalise.op_name(node) == "scaled_dot_product_attention"]
    return node.kwargs["attn_mask"]
