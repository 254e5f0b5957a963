"""A small residual network by torch alone, for suites that run on a CPU."""

from __future__ import annotations

import torch
from torch import nn


class Block(nn.Module):  # type: ignore[misc]
    """Two convolutions and what they read, summed."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, width, 3, stride, 1, bias=False)
        self.first_norm = nn.BatchNorm2d(width)
        self.second = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm2d(width)
        self.short: nn.Module = nn.Identity()
        if stride > 1 or channels != width:
            self.short = nn.Sequential(nn.Conv2d(channels, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """N x channels x H x W -> N x width, at H and W / stride."""
        y = torch.relu(self.first_norm(self.first(x)))
        return torch.relu(self.second_norm(self.second(y)) + self.short(x))


class SmallResNet(nn.Module):  # type: ignore[misc]
    """N x 3 x H x W -> N x classes: blocks of 16, 32 and 64 channels, each at half the size of the one before."""

    def __init__(self, classes: int, blocks: int) -> None:
        super().__init__()
        self.stem = nn.Sequential(nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU())
        self.pool = nn.MaxPool2d(2)
        layers, channels = [], 16
        for width in (16, 32, 64):
            for index in range(blocks):
                layers.append(Block(channels, width, 2 if index == 0 and width > 16 else 1))
                channels = width
        self.blocks = nn.Sequential(*layers)
        self.head = nn.Linear(channels, classes)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """The logits."""
        return self.head(self.blocks(self.pool(self.stem(x))).mean((2, 3)))


def small_resnet(classes: int = 10, blocks: int = 2) -> nn.Module:
    """The network with weights as torch draws them."""
    return SmallResNet(classes, blocks)
