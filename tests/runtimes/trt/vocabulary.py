"""Small modules, one for each operator that models are made of: ``vocabulary.py:module`` with ``name``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

IMAGE = (2, 8, 16, 16)
SEQUENCE = (2, 12, 16)
VOLUME = (1, 4, 6, 8, 8)


class Calls(nn.Module):
    """A function of one tensor, and the modules that it calls."""

    def __init__(self, function: Callable[..., Tensor], **modules: nn.Module) -> None:
        super().__init__()
        self.function = function
        self.parts = nn.ModuleDict(modules)

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, *self.parts.values())


def _attend(x: Tensor, attention: Any) -> Tensor:
    result: Tensor = attention(x, x, x, need_weights=False)[0]
    return result


def _first(x: Tensor, recurrent: Any) -> Tensor:
    result: Tensor = recurrent(x)[0]
    return result


def _heads(x: Tensor, causal: bool = False) -> Tensor:
    query = x.reshape(2, 12, 4, 4).transpose(1, 2)
    return F.scaled_dot_product_attention(query, query, query, is_causal=causal)


def _scatter(x: Tensor) -> Tensor:
    index = torch.zeros(2, 3, 16, dtype=torch.int64)
    return x.scatter(1, index, x[:, :3] * 2)


def _grid(x: Tensor) -> Tensor:
    steps = torch.linspace(-1, 1, 9, dtype=x.dtype)
    grid = torch.stack(torch.meshgrid(steps, steps, indexing="ij"), -1).expand(2, 9, 9, 2)
    return F.grid_sample(x, grid, align_corners=True)


# name -> the module and the shape of its input.
MODULES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "conv1d": (lambda: nn.Conv1d(12, 6, 3, padding=1), SEQUENCE),
    "conv2d": (lambda: nn.Conv2d(8, 6, 3, stride=2, padding=1), IMAGE),
    "conv2d depthwise": (lambda: nn.Conv2d(8, 8, 3, groups=8), IMAGE),
    "conv2d dilated": (lambda: nn.Conv2d(8, 6, 3, dilation=2), IMAGE),
    "conv2d reflecting": (lambda: nn.Conv2d(8, 6, 3, padding=1, padding_mode="reflect"), IMAGE),
    "conv3d": (lambda: nn.Conv3d(4, 4, 3, padding=1), VOLUME),
    "transposed conv2d": (lambda: nn.ConvTranspose2d(8, 4, 3, stride=2, output_padding=1), IMAGE),
    "linear": (lambda: nn.Linear(16, 5), SEQUENCE),
    "batch norm": (lambda: nn.BatchNorm2d(8), IMAGE),
    "layer norm": (lambda: nn.LayerNorm(16), SEQUENCE),
    "group norm": (lambda: nn.GroupNorm(4, 8), IMAGE),
    "instance norm": (lambda: nn.InstanceNorm2d(8, affine=True), IMAGE),
    "rms norm": (lambda: Calls(lambda x: x * torch.rsqrt(x.square().mean(-1, keepdim=True) + 1e-3)), SEQUENCE),
    "relu": (nn.ReLU, IMAGE),
    "leaky relu": (nn.LeakyReLU, IMAGE),
    "prelu": (lambda: nn.PReLU(8), IMAGE),
    "elu": (nn.ELU, IMAGE),
    "gelu": (nn.GELU, SEQUENCE),
    "gelu by tanh": (lambda: nn.GELU(approximate="tanh"), SEQUENCE),
    "silu": (nn.SiLU, IMAGE),
    "hardswish": (nn.Hardswish, IMAGE),
    "mish": (nn.Mish, IMAGE),
    "softplus": (nn.Softplus, IMAGE),
    "softmax": (lambda: nn.Softmax(-1), SEQUENCE),
    "log softmax": (lambda: nn.LogSoftmax(1), SEQUENCE),
    "max pool": (lambda: nn.MaxPool2d(3, 2, 1), IMAGE),
    "average pool": (lambda: nn.AvgPool2d(3, 2, 1), IMAGE),
    "adaptive pool": (lambda: nn.AdaptiveAvgPool2d(1), IMAGE),
    "nearest": (lambda: nn.Upsample(scale_factor=2), IMAGE),
    "bilinear": (lambda: nn.Upsample(scale_factor=2, mode="bilinear", align_corners=False), IMAGE),
    "bicubic": (lambda: nn.Upsample(scale_factor=2, mode="bicubic", align_corners=False), IMAGE),
    "pixel shuffle": (lambda: nn.PixelShuffle(2), IMAGE),
    "pad": (lambda: Calls(lambda x: F.pad(x, (1, 2, 3, 4), value=1.5)), IMAGE),
    "reflect pad": (lambda: nn.ReflectionPad2d(2), IMAGE),
    "grid sample": (lambda: Calls(_grid), IMAGE),
    "multi-head attention": (lambda: Calls(_attend, of=nn.MultiheadAttention(16, 4, batch_first=True)), SEQUENCE),
    "encoder layer": (lambda: nn.TransformerEncoderLayer(16, 4, 32, batch_first=True), SEQUENCE),
    "attention": (lambda: Calls(_heads), SEQUENCE),
    "causal attention": (lambda: Calls(lambda x: _heads(x, causal=True)), SEQUENCE),
    "lstm": (lambda: Calls(_first, of=nn.LSTM(16, 8, batch_first=True)), SEQUENCE),
    "gru": (lambda: Calls(_first, of=nn.GRU(16, 8, batch_first=True)), SEQUENCE),
    "matmul": (lambda: Calls(lambda x: x @ x.transpose(1, 2)), SEQUENCE),
    "einsum": (lambda: Calls(lambda x: torch.einsum("bsh,bth->bst", x, x)), SEQUENCE),
    "sum": (lambda: Calls(lambda x: x.sum((1, 2))), SEQUENCE),
    "variance": (lambda: Calls(lambda x: x.var(-1)), SEQUENCE),
    "logsumexp": (lambda: Calls(lambda x: x.logsumexp(-1)), SEQUENCE),
    "cumulative sum": (lambda: Calls(lambda x: x.cumsum(1)), SEQUENCE),
    "maximum": (lambda: Calls(lambda x: x.amax(1)), SEQUENCE),
    "top k": (lambda: Calls(lambda x: x.topk(3, -1).values), SEQUENCE),
    "argmax": (lambda: Calls(lambda x: x.argmax(-1).to(x.dtype)), SEQUENCE),
    "where": (lambda: Calls(lambda x: torch.where(x > 0, x, x * 2)), SEQUENCE),
    "clamp": (lambda: Calls(lambda x: x.clamp(-0.5, 0.5)), SEQUENCE),
    "power": (lambda: Calls(lambda x: x.abs().pow(1.5).sqrt().log1p()), SEQUENCE),
    "sine": (lambda: Calls(lambda x: x.sin() + x.cos()), SEQUENCE),
    "round": (lambda: Calls(lambda x: (x * 4).round() + x.floor() + x.ceil()), SEQUENCE),
    "concatenate": (lambda: Calls(lambda x: torch.cat([x, x * 2], 1)), SEQUENCE),
    "split": (lambda: Calls(lambda x: x.chunk(2, -1)[0] * x.chunk(2, -1)[1]), SEQUENCE),
    "stack": (lambda: Calls(lambda x: torch.stack([x, x + 1], 1)), SEQUENCE),
    "slice": (lambda: Calls(lambda x: x[:, 1:-1:2]), SEQUENCE),
    "flip": (lambda: Calls(lambda x: x.flip(1)), SEQUENCE),
    "roll": (lambda: Calls(lambda x: x.roll(2, 1)), SEQUENCE),
    "expand": (lambda: Calls(lambda x: x[:, :, None].expand(2, 12, 3, 16) * 1.5), SEQUENCE),
    "gather": (lambda: Calls(lambda x: x.gather(1, torch.zeros(2, 3, 16, dtype=torch.int64))), SEQUENCE),
    "scatter": (lambda: Calls(_scatter), SEQUENCE),
    "masked fill": (lambda: Calls(lambda x: x.masked_fill(x < 0, 3.0)), SEQUENCE),
    "triangle": (lambda: Calls(lambda x: x.tril()), SEQUENCE),
    "rows": (lambda: Calls(lambda x: x[:, torch.tensor([3, 1, 1])]), SEQUENCE),
}


def module(name: str) -> nn.Module:
    """The module of that name, whose input is called ``x``."""
    return Calls(lambda x, of: of(x), of=MODULES[name][0]())


def resnet() -> nn.Module:
    """A ResNet of narrow layers with torchvision's names."""
    from tests.suites.test_networks import small_resnet

    model: nn.Module = small_resnet(True, (1, 2, 1, 1))
    return model


def with_two_rows(network: Any, inputs: Any, weights: Any, trt: Any) -> Any:
    """A network by hand that runs with one row or two."""
    two = network.add_constant((2, 1, 1), np.ones((2, 1, 1), np.float32)).get_output(0)
    return {"output": network.add_elementwise(inputs["x"], two, trt.ElementWiseOperation.SUM).get_output(0)}
