"""Tiny models that tests name as ``zoo.py:function``."""

import torch


class Net(torch.nn.Module):
    """A convolution and a linear layer: ``x`` [batch, 3, H, W] in, ``logits`` [batch, 5] and ``map`` out."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.BatchNorm2d(4)
        self.linear = torch.nn.Linear(4, 5)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        features = self.norm(self.conv(x)).relu()
        return {"logits": self.linear(torch.nn.functional.adaptive_avg_pool2d(features, 1).flatten(1)), "map": features}


class Branches(torch.nn.Module):
    """Takes a path by its values, which torch.export cannot."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.relu() if x.sum() > 0 else -x


class BranchesWithin(torch.nn.Module):
    """The same in a module of its own, ``head``."""

    def __init__(self) -> None:
        super().__init__()
        self.head = Branches()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(x + 1)


class Inverse(torch.nn.Module):
    """Inverts matrices between two linear layers: no layer of TensorRT does. ``x`` [batch, 3, 8, 8] in and out."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = torch.nn.Linear(8, 8), torch.nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        well = self.first(x).sigmoid() + 4 * torch.eye(8, dtype=x.dtype, device=x.device)
        return self.last(torch.linalg.inv(well)).relu()


class Gamma(torch.nn.Module):
    """The logarithm of the gamma function between two linear layers: no layer of TensorRT is one, and PyTorch computes
    it in half precision too. ``x`` [batch, 3, 8, 8] in and out.
    """

    def __init__(self) -> None:
        super().__init__()
        self.first, self.last = torch.nn.Linear(8, 8), torch.nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.last(torch.lgamma(self.first(x).abs() + 1)).relu()


class Upsampling(torch.nn.Module):
    """Doubles the size of an image, each of four channels by itself: ``x`` [batch, 3, H, W] in, [batch, 4, 2 H, 2 W]
    out.
    """

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = torch.nn.Conv2d(3, 4, 3, padding=1), torch.nn.BatchNorm2d(4)
        self.up = torch.nn.ConvTranspose2d(4, 4, 4, 2, 1, groups=4, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.norm(self.up(self.conv(x).relu())).relu()


net, branches, branches_within, inverse, gamma = Net, Branches, BranchesWithin, Inverse, Gamma
upsampling = Upsampling
