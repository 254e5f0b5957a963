"""Convolutional networks that need torch alone: EfficientNet-B0, ResNet-50, DLA-34, and detectors on these.

Weights are random, drawn from torch's generator: filters of unit gain whose sum is zero (but for depthwise ones), and
batch normalisations near the identity, weaker in residual branches. Activations then neither vanish nor grow with
depth, still depend on the image, which those of filters with a common sign hardly do, and rounding errors grow little.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

Module: Any = nn.Module
GAIN = 2.4  # of what a rectifier leaves of a unit variance: between 2, its second moment, and 2.9, its variance
# The deviation of a residual branch beside its shortcut. Larger branches multiply each rounding error on the way to the
# outputs: with 0.5 and a gain of 2.5 no float16 of CenterNet-ResNet50 was nearer to float32 than a cosine of 0.999.
BRANCH = 0.3


def _norm(channels: int, scale: float = 1.0) -> Any:
    """A batch normalisation whose statistics are near 0 and 1, and whose output has about the deviation ``scale``."""
    norm = nn.BatchNorm2d(channels)
    with torch.no_grad():
        norm.weight.uniform_(0.8 * scale, 1.2 * scale)
        norm.bias.normal_(std=0.1 * scale)
        norm.running_mean.normal_(std=0.1)
        norm.running_var.uniform_(0.8, 1.2)
    return norm


def _filters(conv: Any, gain: float = GAIN) -> Any:
    """``conv`` with weights of ``gain`` over what one output reads; without their mean where that is all channels."""
    with torch.no_grad():
        weight = conv.weight
        weight.normal_()
        if conv.groups == 1:
            weight -= weight.mean(dim=(1, 2, 3), keepdim=True)
        weight *= (gain / weight[0].numel()) ** 0.5
        if conv.bias is not None:
            conv.bias.normal_(std=0.1)
    return conv


def _conv(
    inputs: int, outputs: int, size: int, stride: int = 1, *, groups: int = 1, gain: float = GAIN, scale: float = 1.0,
    act: Any = nn.ReLU,
) -> Any:  # fmt: skip
    """A convolution without bias that keeps the size (but for the stride), its normalisation, and an activation."""
    conv = nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False)
    layers = [_filters(conv, gain), _norm(outputs, scale)]
    return nn.Sequential(*layers, *([act(inplace=True)] if act is not None else []))


# -------------------------------------------------------------------------------------------------------- EfficientNet

SILU_GAIN = 2.8  # 1 / E[silu(x)^2] for x of a normal distribution
# expansion, kernel, stride, outputs, repeats: table 1 of the paper, its stages 2 to 8
_STAGES = (
    (1, 3, 1, 16, 1), (6, 3, 2, 24, 2), (6, 5, 2, 40, 2), (6, 3, 2, 80, 3), (6, 5, 1, 112, 3), (6, 5, 2, 192, 4),
    (6, 3, 1, 320, 1),
)  # fmt: skip


class _Excite(Module):  # type: ignore[misc]
    """Channels scaled by a function of their means: squeeze and excitation."""

    def __init__(self, channels: int, squeezed: int) -> None:
        super().__init__()
        self.reduce = _filters(nn.Conv2d(channels, squeezed, 1))
        self.expand = _filters(nn.Conv2d(squeezed, channels, 1))

    def forward(self, x: Any) -> Any:
        means = x.mean(dim=(2, 3), keepdim=True)
        return x * torch.sigmoid(self.expand(nn.functional.silu(self.reduce(means))))


class _Inverted(Module):  # type: ignore[misc]
    """A mobile inverted bottleneck: 1x1 up, depthwise, excitation, 1x1 down; with a shortcut where shapes agree."""

    def __init__(self, inputs: int, outputs: int, expansion: int, size: int, stride: int) -> None:
        super().__init__()
        wide = inputs * expansion
        self.expand = _conv(inputs, wide, 1, gain=1.0, act=nn.SiLU) if expansion > 1 else nn.Identity()
        depthwise = SILU_GAIN if expansion > 1 else 1.0
        self.depthwise = _conv(wide, wide, size, stride, groups=wide, gain=depthwise, act=nn.SiLU)
        self.excite = _Excite(wide, max(1, inputs // 4))
        self.shortcut = stride == 1 and inputs == outputs
        # The excitation halves what the activation leaves; a branch of half the deviation adds a quarter of variance.
        self.project = _conv(wide, outputs, 1, gain=4 * SILU_GAIN, scale=0.5 if self.shortcut else 1.0, act=None)

    def forward(self, x: Any) -> Any:
        y = self.project(self.excite(self.depthwise(self.expand(x))))
        return x + y if self.shortcut else y


class _Classifier(Module):  # type: ignore[misc]
    """Layers one after the other, of an image ``x``."""

    def __init__(self, **layers: Any) -> None:
        super().__init__()
        for name, layer in layers.items():
            self.add_module(name, layer)

    def forward(self, x: Any) -> Any:
        for layer in self.children():
            x = layer(x)
        return x


def efficientnet_b0(classes: int = 1000) -> Any:
    """EfficientNet-B0 (Tan and Le, 2019, arXiv:1905.11946): float [batch, 3, H, W] in, logits [batch, classes] out."""
    stem = _conv(3, 32, 3, 2, gain=1.0, act=nn.SiLU)
    blocks, inputs = [], 32
    for expansion, size, stride, outputs, repeats in _STAGES:
        for index in range(repeats):
            blocks.append(_Inverted(inputs, outputs, expansion, size, stride if index == 0 else 1))
            inputs = outputs
    head = _conv(inputs, 1280, 1, gain=1.0, act=nn.SiLU)
    pooled = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.2), nn.Linear(1280, classes))
    return _Classifier(stem=stem, blocks=nn.Sequential(*blocks), head=head, classifier=pooled)


# -------------------------------------------------------------------------------------------------------------- ResNet


class _Bottleneck(Module):  # type: ignore[misc]
    """1x1, 3x3 with the stride, 1x1 to four times the width, added to the shortcut."""

    def __init__(self, inputs: int, width: int, stride: int) -> None:
        super().__init__()
        outputs = 4 * width
        self.branch = nn.Sequential(
            _conv(inputs, width, 1), _conv(width, width, 3, stride), _conv(width, outputs, 1, scale=BRANCH, act=None)
        )
        same = stride == 1 and inputs == outputs
        self.shortcut = nn.Identity() if same else _conv(inputs, outputs, 1, stride, act=None)

    def forward(self, x: Any) -> Any:
        return torch.relu(self.branch(x) + self.shortcut(x))


def _resnet50() -> Any:
    """The layers of ResNet-50 (He et al., 2015, arXiv:1512.03385) up to its map of 2048 channels, of stride 32."""
    layers, inputs = [_conv(3, 64, 7, 2, gain=1.0), nn.MaxPool2d(3, 2, 1)], 64
    for stage, repeats in enumerate((3, 4, 6, 3)):
        width = 64 << stage
        for index in range(repeats):
            layers.append(_Bottleneck(inputs, width, 2 if stage and index == 0 else 1))
            inputs = 4 * width
    return nn.Sequential(*layers)


# --------------------------------------------------------------------------------------------------------------- DLA-34


class _Block(Module):  # type: ignore[misc]
    """Two 3x3 convolutions, the first with the stride, added to what the caller gives for a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.branch = nn.Sequential(
            _conv(inputs, outputs, 3, stride), _conv(outputs, outputs, 3, scale=BRANCH, act=None)
        )  # fmt: skip

    def forward(self, x: Any, shortcut: Any) -> Any:
        return torch.relu(self.branch(x) + shortcut)


class _Tree(Module):  # type: ignore[misc]
    """A stage of hierarchical aggregation: a binary tree of ``depth`` whose leaves are blocks, one after the other.

    Each pair of leaves is joined by a 1x1 convolution of their outputs, and of those of the trees before them that the
    caller passes as ``earlier``. With ``joins_input`` the stage's own (pooled) input is among these.
    """

    def __init__(
        self, depth: int, inputs: int, outputs: int, stride: int, *, joins_input: bool = False, joined: int = 0
    ) -> None:
        super().__init__()
        self.joins_input = joins_input
        joined += inputs if joins_input else 0
        self.pool = nn.MaxPool2d(stride) if stride > 1 else nn.Identity()
        self.depth = depth
        if depth == 1:
            self.first, self.second = _Block(inputs, outputs, stride), _Block(outputs, outputs, 1)
            self.widen = nn.Identity() if inputs == outputs else _conv(inputs, outputs, 1, act=None)
            self.join = _conv(joined + 2 * outputs, outputs, 1)
        else:
            self.first = _Tree(depth - 1, inputs, outputs, stride)
            self.second = _Tree(depth - 1, outputs, outputs, 1, joined=joined + outputs)

    def forward(self, x: Any, earlier: Sequence[Any] = ()) -> Any:
        pooled = self.pool(x)
        earlier = [*earlier, pooled] if self.joins_input else list(earlier)
        if self.depth > 1:
            first = self.first(x)
            return self.second(first, [*earlier, first])
        first = self.first(x, self.widen(pooled))
        second = self.second(first, first)
        return self.join(torch.cat([second, first, *earlier], 1))


class _DLA34(Module):  # type: ignore[misc]
    """DLA-34 (Yu et al., 2017, arXiv:1707.06484): the maps of strides 4, 8, 16 and 32, of 64 to 512 channels."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(_conv(3, 16, 7, gain=1.0), _conv(16, 16, 3), _conv(16, 32, 3, 2))
        self.stages = nn.ModuleList(
            [
                _Tree(1, 32, 64, 2),
                _Tree(2, 64, 128, 2, joins_input=True),
                _Tree(2, 128, 256, 2, joins_input=True),
                _Tree(1, 256, 512, 2, joins_input=True),
            ]
        )

    def forward(self, x: Any) -> list[Any]:
        x, maps = self.stem(x), []
        for stage in self.stages:
            x = stage(x)
            maps.append(x)
        return maps


class _Deformable(Module):  # type: ignore[misc]
    """A 3x3 convolution that reads where another convolution of its input says, with weights that this gives too.

    DCNv2 (Zhu et al., 2018, arXiv:1811.11168). ``operator`` is ``gather`` (what trtbench lowers, in PyTorch's own
    operators) or ``torchvision``, whose kernel it is. The offsets deviate by about a quarter of a pixel.
    """

    def __init__(self, inputs: int, outputs: int, operator: str) -> None:
        super().__init__()
        self.conv = _filters(nn.Conv2d(inputs, outputs, 3, padding=1), 2 * GAIN)  # the mask halves it
        self.place = _filters(nn.Conv2d(inputs, 27, 3, padding=1), GAIN / 16)
        if operator == "torchvision":
            from torchvision.ops import deform_conv2d
        else:
            from bench.lowering.deformable import deform_conv2d
        self.operator = deform_conv2d

    def forward(self, x: Any) -> Any:
        offset, mask = torch.split(self.place(x), [18, 9], 1)
        return self.operator(
            x, offset, self.conv.weight, self.conv.bias, padding=(1, 1), mask=torch.sigmoid(mask)
        )  # fmt: skip


def _raise(channels: int, factor: int) -> Any:
    """A transposed convolution of each channel by itself that starts as bilinear interpolation by ``factor``."""
    up = nn.ConvTranspose2d(channels, channels, 2 * factor, factor, factor // 2, groups=channels, bias=False)
    ramp = 1 - ((torch.arange(2 * factor) + 0.5) / factor - 1).abs()
    with torch.no_grad():
        up.weight.copy_((ramp[:, None] * ramp).expand_as(up.weight))
    return up


class _Aggregate(Module):  # type: ignore[misc]
    """Iterative aggregation: each map is brought to the width and size of the first, and added to the result so far."""

    def __init__(self, outputs: int, channels: Sequence[int], factors: Sequence[int], operator: str) -> None:
        super().__init__()

        def conv(inputs: int) -> Any:
            if not operator:
                return _conv(inputs, outputs, 3)
            return nn.Sequential(_Deformable(inputs, outputs, operator), _norm(outputs), nn.ReLU(inplace=True))

        self.projections = nn.ModuleList([conv(inputs) for inputs in channels[1:]])
        self.ups = nn.ModuleList([_raise(outputs, factor) for factor in factors[1:]])
        self.nodes = nn.ModuleList([conv(outputs) for _ in channels[1:]])

    def forward(self, maps: Sequence[Any]) -> list[Any]:
        results = [maps[0]]
        for value, project, up, node in zip(maps[1:], self.projections, self.ups, self.nodes, strict=True):
            results.append(node(up(project(value)) + results[-1]))
        return results


class _Neck(Module):  # type: ignore[misc]
    """The maps of strides 4 to 32 as one of stride 4 and 64 channels: CenterNet's arrangement of aggregations."""

    def __init__(self, operator: str) -> None:
        super().__init__()
        self.levels = nn.ModuleList(
            [
                _Aggregate(256, (256, 512), (1, 2), operator),
                _Aggregate(128, (128, 256, 256), (1, 2, 2), operator),
                _Aggregate(64, (64, 128, 128, 128), (1, 2, 2, 2), operator),
            ]
        )
        self.last = _Aggregate(64, (64, 128, 256), (1, 2, 4), operator)

    def forward(self, maps: Sequence[Any]) -> Any:
        current, finest = list(maps), []
        for index, level in enumerate(self.levels):
            start = len(current) - 2 - index
            current[start:] = level(current[start:])
            finest.append(current[-1])
        return self.last(finest[::-1])[-1]


# ----------------------------------------------------------------------------------------------------------- detectors


class _Detector(Module):  # type: ignore[misc]
    """Features of stride 4, and a head for each of CenterNet's maps."""

    def __init__(self, features: Any, channels: int, hidden: int, classes: int) -> None:
        super().__init__()
        self.features = features

        def head(outputs: int) -> Any:
            first = _filters(nn.Conv2d(channels, hidden, 3, padding=1))
            return nn.Sequential(first, nn.ReLU(inplace=True), _filters(nn.Conv2d(hidden, outputs, 1)))

        self.hm, self.wh, self.reg = head(classes), head(2), head(2)

    def forward(self, x: Any) -> dict[str, Any]:
        features = self.features(x)
        return {"hm": self.hm(features), "wh": self.wh(features), "reg": self.reg(features)}


def centernet_dla34(classes: int = 80, deformable: bool = False, operator: str = "gather") -> Any:
    """CenterNet on DLA-34; see ``zoo.py``."""
    if operator not in ("gather", "torchvision"):
        raise ValueError(f"operator {operator!r}: gather or torchvision")
    neck = _Neck(operator if deformable else "")
    return _Detector(nn.Sequential(_DLA34(), neck), 64, 256, classes)


def centernet_resnet50(classes: int = 80) -> Any:
    """CenterNet on a ResNet-50 of this file; see ``zoo.py``."""

    def raised(before: int, after: int) -> Any:
        up = nn.ConvTranspose2d(before, after, kernel_size=4, stride=2, padding=1, bias=False)
        with torch.no_grad():  # each output reads 2 x 2 of the 4 x 4 values of a filter
            up.weight.normal_(std=(GAIN / (4 * before)) ** 0.5)
            up.weight -= up.weight.mean(dim=(0, 2, 3), keepdim=True)
        return nn.Sequential(up, _norm(after), nn.ReLU(inplace=True))

    neck = nn.Sequential(raised(2048, 256), raised(256, 256), raised(256, 256))
    return _Detector(nn.Sequential(_resnet50(), neck), 256, 64, classes)
