"""ResNets with a little more work in the place where a GPU, or the host, spends its time."""

from __future__ import annotations

from typing import Any

import torch
import torchvision

# `resnet50` has this many more batch norms and ReLUs; a copy of this folder with another number is the slower side.
MORE = 0


def resnet18(more: int = 0) -> torch.nn.Module:
    """ResNet-18 with ``more`` times convolution, batch norm and ReLU at its end: work for the host, three launches."""
    model = torchvision.models.resnet18(weights=None)
    for _ in range(more):
        model.layer4.append(_block(512, torch.nn.Conv2d(512, 512, 1, bias=False)))
    return model


def resnet18_relu(more: int = 2) -> torch.nn.Module:
    """ResNet-18 with ``more`` ReLUs at its end: the smallest piece of work for the host, one launch each."""
    model = torchvision.models.resnet18(weights=None)
    for _ in range(more):
        model.layer4.append(torch.nn.ReLU(inplace=True))
    return model


def resnet50() -> torch.nn.Module:
    """ResNet-50 with ``MORE`` times batch norm and ReLU on its largest activation: work for the GPU's memory."""
    model = torchvision.models.resnet50(weights=None)
    for _ in range(MORE):
        model.layer1.append(_block(256))
    return model


def _block(channels: int, *before: Any) -> torch.nn.Module:
    return torch.nn.Sequential(*before, torch.nn.BatchNorm2d(channels), torch.nn.ReLU(inplace=True))
