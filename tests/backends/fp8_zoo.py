"""Models whose linear layers run at fp8, as ``fp8_zoo.py:function``."""

import torch


class Net(torch.nn.Module):
    """A convolution, a stack of linear layers, and one of a size that float8 products do not take."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 16, 3, padding=1)
        layers = [each for _ in range(3) for each in (torch.nn.Linear(16, 16), torch.nn.GELU())]
        self.stack = torch.nn.Sequential(*layers)
        self.head = torch.nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.stack(self.conv(x).flatten(2).mT))


class Dead(Net):
    """The input of its stack is zero whatever the image is."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.stack(self.conv(x).flatten(2).mT * 0))


def net() -> torch.nn.Module:
    return Net()


def dead() -> torch.nn.Module:
    return Dead()
