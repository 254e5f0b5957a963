"""Model factories that the suites here name as ``zoo.py:function``: keyword arguments in, a ``torch.nn.Module`` out."""

from __future__ import annotations

import importlib
from typing import Any


def centernet(classes: int = 80, weights: str | None = None) -> Any:
    """CenterNet on ResNet-50: float images [batch, 3, H, W] in, maps ``hm``, ``wh`` and ``reg`` at H/4 x W/4 out.

    Three transposed convolutions raise the backbone's map (stride 32) to stride 4; then one small head per output:
    ``hm`` [batch, classes, H/4, W/4] the logits of the centres, ``wh`` and ``reg`` [batch, 2, H/4, W/4] the box size
    and the offset of the centre. After "Objects as Points" (Zhou et al., 2019, arXiv:1904.07850), its ResNet variant
    without deformable convolutions. ``weights`` are those of torchvision's ResNet-50, e.g. ``IMAGENET1K_V2``.

    Raises:
        ModuleNotFoundError: torch or torchvision is not installed; the message has the command that installs it.
    """
    _require("centernet")
    import torch
    import torchvision

    nn = torch.nn

    def raised(before: int, after: int) -> Any:
        up = nn.ConvTranspose2d(before, after, kernel_size=4, stride=2, padding=1, bias=False)
        return nn.Sequential(up, nn.BatchNorm2d(after), nn.ReLU(inplace=True))

    def head(outputs: int) -> Any:
        return nn.Sequential(nn.Conv2d(256, 64, 3, padding=1), nn.ReLU(inplace=True), nn.Conv2d(64, outputs, 1))

    class CenterNet(torch.nn.Module):  # type: ignore[misc]  # torch is imported late, so its types are not known here
        def __init__(self) -> None:
            super().__init__()
            backbone = torchvision.models.resnet50(weights=weights)
            self.backbone = nn.Sequential(*list(backbone.children())[:-2])  # without pooling and classifier
            self.neck = nn.Sequential(raised(2048, 256), raised(256, 256), raised(256, 256))
            self.hm, self.wh, self.reg = head(classes), head(2), head(2)

        def forward(self, x: Any) -> dict[str, Any]:
            features = self.neck(self.backbone(x))
            return {"hm": self.hm(features), "wh": self.wh(features), "reg": self.reg(features)}

    return CenterNet()


def resnet50_with_tap(tap: str = "", weights: str | None = None) -> Any:
    """torchvision's ResNet-50: images [batch, 3, H, W] in, ``output`` [batch, 1000] out.

    With a ``tap``, the path of a bottleneck (``layer1.1``), also ``tap``: what its last convolution, with the batch
    normalisation after it, gives to the sum. A runtime that has to return this tensor cannot compute the convolution,
    the sum and the ReLU in one kernel, as it does otherwise. The sum is not in place, so that the tensor is kept.

    Raises:
        ModuleNotFoundError: torch or torchvision is not installed; the message has the command that installs it.
        ValueError: ``tap`` is no bottleneck.
    """
    _require("resnet50_with_tap")
    import torch
    from torchvision.models import resnet

    taps: list[Any] = []

    class Block(resnet.Bottleneck):  # type: ignore[misc]  # torch is imported late, so its types are not known here
        tapped = False

        def forward(self, x: Any) -> Any:
            y = self.relu(self.bn1(self.conv1(x)))
            y = self.bn3(self.conv3(self.relu(self.bn2(self.conv2(y)))))
            if self.tapped:
                taps.append(y)
            return self.relu(y + (x if self.downsample is None else self.downsample(x)))

    class Tapped(resnet.ResNet):  # type: ignore[misc]
        def forward(self, x: Any) -> dict[str, Any]:
            taps.clear()
            output = super().forward(x)
            return {"output": output, "tap": taps.pop()} if taps else {"output": output}

    model = Tapped(Block, [3, 4, 6, 3])
    if weights is not None:
        model.load_state_dict(torch.hub.load_state_dict_from_url(resnet.ResNet50_Weights[weights].url))
    if tap:
        blocks = [name for name, module in model.named_modules() if isinstance(module, Block)]
        if tap not in blocks:
            raise ValueError(f"{tap!r} is no bottleneck of a ResNet-50: {', '.join(blocks)}")
        model.get_submodule(tap).tapped = True
    return model


def vit_b_16(weights: str | None = None) -> Any:
    """torchvision's ViT-B/16: float images [batch, 3, 224, 224] in, logits [batch, 1000] out.

    Without ``weights`` (e.g. ``IMAGENET1K_V1``) the last layer's are drawn from a normal distribution of standard
    deviation 0.02. torchvision leaves zeros there, so that every output is zero and no error can be seen in it.

    Raises:
        ModuleNotFoundError: torch or torchvision is not installed; the message has the command that installs it.
    """
    _require("vit_b_16")
    import torch
    import torchvision

    model = torchvision.models.vit_b_16(weights=weights)
    if weights is None:
        torch.nn.init.normal_(model.heads.head.weight, std=0.02)
    return model


def tiny_operators(operators: int = 200, width: int = 32) -> Any:
    """A chain of operators so small that the host takes the time: floats [batch, width] in, ``output`` of that shape.

    Products with orthogonal matrices [width, width] and absolute values in turn. Both keep the norm of a row, so that
    the last output is as large as the input; the absolute value keeps a compiler from multiplying the matrices.

    Raises:
        ValueError: ``operators`` is not an even number of 2 or more.
    """
    import torch

    if operators < 2 or operators % 2:
        raise ValueError(f"operators is {operators}, and must be an even number of 2 or more")

    class TinyOperators(torch.nn.Module):  # type: ignore[misc]  # torch is imported late, so its types are not known
        def __init__(self) -> None:
            super().__init__()
            products = [torch.nn.Linear(width, width, bias=False) for _ in range(operators // 2)]
            self.products = torch.nn.ModuleList(products)
            for product in products:
                torch.nn.init.orthogonal_(product.weight)

        def forward(self, x: Any) -> Any:
            for product in self.products:
                x = product(x).abs()
            return x

    return TinyOperators()


def efficientnet_b0(classes: int = 1000) -> Any:
    """EfficientNet-B0 with random weights: float images [batch, 3, H, W] in, logits [batch, classes] out.

    Written out in ``convnets.py``, so that torchvision is not needed.
    """
    return _convnets("efficientnet_b0").efficientnet_b0(classes)


def centernet_resnet50(classes: int = 80) -> Any:
    """The detector of ``centernet`` with random weights, written out in ``convnets.py``: needs no torchvision."""
    return _convnets("centernet_resnet50").centernet_resnet50(classes)


def centernet_dla34(classes: int = 80, deformable: bool = False, operator: str = "gather") -> Any:
    """CenterNet on DLA-34 with random weights: the inputs and outputs of ``centernet``.

    Maps of strides 4 to 32 are joined by iterative aggregation, raised by transposed convolutions of each channel.
    ``deformable`` makes the aggregation's convolutions deformable ones (DCNv2), as the paper has them, by ``operator``:
    ``gather``, in operators that each backend knows, or ``torchvision``, its kernel, which ONNX exporters lack.

    Raises:
        ModuleNotFoundError: torch, or the torchvision that ``operator`` asks for, is not installed.
        ValueError: another ``operator``.
    """
    if deformable and operator == "torchvision":
        _require("centernet_dla34 with operator: torchvision")
    return _convnets("centernet_dla34").centernet_dla34(classes, deformable, operator)


def _convnets(model: str) -> Any:
    _require(model, "torch")
    return importlib.import_module("convnets")


def _require(model: str, *packages: str) -> None:
    """ModuleNotFoundError if a package that ``model`` needs is not there: torch and torchvision, or those named."""
    for name in packages or ("torch", "torchvision"):
        try:
            importlib.import_module(name)
        except ModuleNotFoundError as error:
            what = f"{model} needs {error.name}, which is not installed: pip install {error.name}"
            raise ModuleNotFoundError(what, name=error.name) from error
