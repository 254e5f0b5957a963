"""Small modules of the usual vocabulary, each with inputs: what is lowered, built and compared in tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

F = nn.functional


class Net(nn.Module):
    """Parts by name, and a function of them and of the inputs."""

    def __init__(self, function: Callable[..., Any], **parts: nn.Module) -> None:
        super().__init__()
        self.function = function
        for name, part in parts.items():
            self.add_module(name, part)

    def forward(self, x: Any, y: Any = None) -> Any:
        return self.function(self, x) if y is None else self.function(self, x, y)


def _f(function: Callable[..., Any]) -> Callable[[], nn.Module]:
    """A module without parts."""
    return lambda: Net(lambda _, *inputs: function(*inputs))


def _m(part: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    """A module with one part."""
    return lambda: Net(lambda self, x: self.part(x), part=part())


def _written(x: Any) -> Any:
    """A copy of ``x`` with other values in some places, written as models do."""
    y = x.clone()
    y[:, 0] = 1.0
    y[:, 1:3] *= 2
    return y


IMAGE, ROWS = (2, 8, 12, 12), (2, 6, 8)
# A name -> how the module is made, and the shapes of its inputs.
MODULES: dict[str, tuple[Callable[[], nn.Module], tuple[tuple[int, ...], ...]]] = {
    "convolution, normalisation, pooling": (
        lambda: Net(
            lambda s, x: s.pool(s.norm(s.conv(x)).relu()),
            conv=nn.Conv2d(8, 16, 3, stride=2, padding=1, bias=False),
            norm=nn.BatchNorm2d(16),
            pool=nn.MaxPool2d(2),
        ),
        (IMAGE,),
    ),
    "normalisation alone": (_m(lambda: nn.BatchNorm2d(8)), (IMAGE,)),
    "grouped convolution": (_m(lambda: nn.Conv2d(8, 8, 3, groups=8, dilation=2)), (IMAGE,)),
    "convolution of one dimension": (_m(lambda: nn.Conv1d(6, 4, 3, padding=1)), (ROWS,)),
    "convolution of three dimensions": (_m(lambda: nn.Conv3d(2, 4, 3)), ((1, 2, 5, 5, 5),)),
    "transposed convolution": (
        _m(lambda: nn.ConvTranspose2d(8, 4, 3, stride=2, padding=1, output_padding=1)),
        (IMAGE,),
    ),
    "grouped transposed convolution": (
        _m(lambda: nn.ConvTranspose2d(8, 8, 4, stride=2, padding=1, groups=2)),
        (IMAGE,),
    ),
    "linear": (lambda: Net(lambda s, x: s.linear(x), linear=nn.Linear(8, 5)), (ROWS,)),
    "linear of a matrix": (_m(lambda: nn.Linear(8, 5, bias=False)), ((3, 8),)),
    "products": (_f(lambda x, y: (x @ y.transpose(1, 2)).softmax(-1) @ y), (ROWS, ROWS)),
    "product of a matrix and a vector": (_f(lambda x, y: x @ y), (ROWS, (8,))),
    "product broadcast": (_f(lambda x, y: x @ y), ((2, 3, 4, 5), (5, 6))),
    "addmm": (_f(lambda x, y: torch.addmm(y[0], x, y.t(), beta=0.5, alpha=2.0)), ((6, 6), (6, 6))),
    "softmax": (_f(lambda x: x.softmax(1)), (ROWS,)),
    "log softmax": (_f(lambda x: x.log_softmax(-1)), (ROWS,)),
    "max pooling with padding": (_f(lambda x: F.max_pool2d(x, 3, 2, 1)), (IMAGE,)),
    "max pooling rounded up": (_f(lambda x: F.max_pool2d(x, 3, 2, ceil_mode=True)), (IMAGE,)),
    "average pooling": (_f(lambda x: F.avg_pool2d(x, 3, 2, 1)), (IMAGE,)),
    "average pooling without padding": (_f(lambda x: F.avg_pool2d(x, 3, 2, 1, count_include_pad=False)), (IMAGE,)),
    "average pooling rounded up": (_f(lambda x: F.avg_pool2d(x, 3, 2, ceil_mode=True)), (IMAGE,)),
    "average pooling of all": (_f(lambda x: F.avg_pool2d(x, 99, ceil_mode=True)), (IMAGE,)),
    "adaptive pooling to one": (_f(lambda x: F.adaptive_avg_pool2d(x, 1).flatten(1)), (IMAGE,)),
    "adaptive pooling": (_f(lambda x: F.adaptive_avg_pool2d(x, (3, 4))), (IMAGE,)),
    "arithmetic": (_f(lambda x, y: (x + 2 * y - 3) / (y.abs() + 1) - x**2 + (y.abs() + 0.1) ** 0.5), (ROWS, ROWS)),
    "broadcasting": (_f(lambda x, y: x * y + y), (ROWS, (8,))),
    "rsub and maximum": (_f(lambda x, y: torch.maximum(1 - x, y).minimum(x)), (ROWS, ROWS)),
    "single values": (
        _f(lambda x: x.exp().log().abs().sqrt().neg().sin().cos().erf().floor().tanh().sigmoid()),
        (ROWS,),
    ),
    "rsqrt and reciprocal": (_f(lambda x: x.abs().add(1).rsqrt().reciprocal()), (ROWS,)),
    "clamp": (_f(lambda x: x.clamp(-1, 1) + x.clamp(min=0.0) + F.relu6(x) + F.hardtanh(x)), (ROWS,)),
    "comparisons": (
        _f(lambda x, y: ((x > y) & (x >= 0) | (x < y) & (x <= 1) | (x != y) & ~(x == 2)).to(x.dtype)),
        (ROWS, ROWS),
    ),
    "views": (
        _f(lambda x: x.permute(0, 2, 1).reshape(2, 4, 12).flatten(1).unsqueeze(1).squeeze(1).view(8, 12)),
        (ROWS,),
    ),
    "slices": (_f(lambda x: x[:, 1:-1, ::2] + x[:, -1:, 1::2]), (ROWS,)),
    "one of a dimension": (_f(lambda x: x[:, 0] + x[:, -2]), (ROWS,)),
    "expand": (_f(lambda x, y: x + y.expand(2, 6, 8)), (ROWS, (6, 1))),
    "repeat": (_f(lambda x: x.repeat(1, 2, 3)), (ROWS,)),
    "parts": (_f(lambda x: [p * (i + 1) for i, p in enumerate(x.split([1, 2, 3], 1))]), (ROWS,)),
    "equal parts": (_f(lambda x: torch.cat(x.chunk(4, -1)[::-1], 1)), (ROWS,)),
    "unbind and stack": (_f(lambda x: torch.stack(x.unbind(1)[:3], -1)), (ROWS,)),
    "integers": (_f(lambda x: x.to(torch.int64) * 2 + 1), (ROWS,)),
    "movedim and einsum": (
        _f(lambda x, y: (x.movedim(1, -1), torch.einsum("bij,bkj->bik", x, y), torch.einsum("bij,bkj->b", x, y))),
        (ROWS, ROWS),
    ),
    "values at indices": (
        lambda: Net(
            lambda s, x: (
                x.index_select(2, torch.tensor([3, 0, 3])),
                x[:, torch.tensor([0, -1])],
                x.gather(1, x.argsort(1)),
                s.part(x.argmax(-1)),
                torch.where(x > 0, x, -1.0),
                x.masked_fill(x > 1, 0.0),
            ),
            part=nn.Embedding(8, 4),
        ),
        (ROWS,),
    ),
    "order and running sums": (_f(lambda x: (*x.topk(3, 1), *x.sort(-1), x.cumsum(1), x.cumsum(-1))), (ROWS,)),
    "activations": (
        _f(lambda x: (F.hardswish(x), F.gelu(x), F.gelu(x, approximate="tanh"), F.silu(x), F.elu(x), F.softplus(x))),
        (ROWS,),
    ),
    "other sizes of an image": (
        _f(
            lambda x: (
                F.interpolate(x, scale_factor=2),
                F.interpolate(x, (7, 9), mode="bilinear"),
                F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=True),
            )
        ),
        (IMAGE,),
    ),
    "pooling rounded up with padding": (
        _f(
            lambda x: (
                F.max_pool2d(x, 3, 2, 1, ceil_mode=True),
                F.max_pool1d(x[:, 0], 3, 2, ceil_mode=True),
                F.avg_pool1d(x[:, 0], 3, 2, ceil_mode=True),
                F.adaptive_avg_pool1d(x[:, 0], 4),
                F.avg_pool2d(x, 3, 2, 1, ceil_mode=True, count_include_pad=False),
            )
        ),
        (IMAGE,),
    ),
    "padding and order": (_f(lambda x: (F.pad(x, (1, 2, 0, 1)), F.pad(x, (2, 1), mode="reflect"), x.flip(1))), (ROWS,)),
    "norms": (
        lambda: Net(
            lambda s, x: s.layer(s.instance(s.group(x))),
            group=nn.GroupNorm(2, 8),
            instance=nn.InstanceNorm2d(8, affine=True),
            layer=nn.LayerNorm((12, 12)),
        ),
        (IMAGE,),
    ),
    "attention": (
        _f(
            lambda x, y: (
                F.scaled_dot_product_attention(x, y, y),
                F.scaled_dot_product_attention(x, y, y, is_causal=True),
                F.scaled_dot_product_attention(x, y, y, attn_mask=torch.ones(6, 6, dtype=torch.bool).tril()),
            )
        ),
        (ROWS, ROWS),
    ),
    "reductions": (
        _f(lambda x: (x.mean(1), x.var(-1), x.amax((0, 2)), x.argmin(1), (x > 2).any(-1), x.prod(1), x.norm(dim=-1))),
        (ROWS,),
    ),
    "writes into views": (_f(lambda x: _written(x)), (ROWS,)),
    "compound functions": (
        _f(
            lambda x, y: (
                F.cosine_similarity(x, y, -1),
                F.logsigmoid(x),
                x.expm1(),
                x.abs().log1p(),
                (9 * x).trunc(),
                torch.logical_xor(x > 0, y > 0),
                *torch.var_mean(x, 1),
                torch.baddbmm(x[:, :, :6], x, y.mT, beta=0.5),
            )
        ),
        (ROWS, ROWS),
    ),
    "an output twice": (_f(lambda x: (x.relu(), x.relu())), (ROWS,)),
    "an input as an output": (_f(lambda x: (x, x + 1)), (ROWS,)),
    "a scalar": (_f(lambda x: x[0, 0, 0] * 2), (ROWS,)),
}
# Modules whose batch is dynamic, and whether their second dimension is too.
DYNAMIC = {
    "convolution, normalisation, pooling": False,
    "adaptive pooling to one": False,
    "linear": True,
    "products": True,
    "equal parts": True,
    "parts and views": True,
    "last of a dimension": True,
    "slices of a dynamic size": True,
    "positions": True,
}
MODULES |= {
    "parts and views": (_f(lambda x: x.reshape(x.shape[0], x.shape[1], 2, 4).transpose(1, 2).flatten(2)), (ROWS,)),
    "last of a dimension": (_f(lambda x: x[:, -1] + x[:, 0]), (ROWS,)),
    "slices of a dynamic size": (_f(lambda x: x[:, 1:] + x[:, :-1]), (ROWS,)),
    "positions": (lambda: Net(lambda s, x: x + s.part.weight[: x.shape[1]], part=nn.Embedding(16, 8)), (ROWS,)),
}


def make(name: str, *, half: bool = False) -> tuple[nn.Module, dict[str, torch.Tensor]]:
    """A module in eval mode, with seeded weights that are not those of a fresh normalisation, and its inputs."""
    factory, shapes = MODULES[name]
    torch.manual_seed(0)
    module = factory().eval()
    for key, value in module.state_dict().items():
        if "running" in key:
            value.copy_(torch.rand(value.shape) + 0.5)
    inputs = {key: torch.randn(*shape) for key, shape in zip("xy", shapes, strict=False)}
    if half:
        module.half()
        inputs = {key: value.half() for key, value in inputs.items()}
    return module, inputs
