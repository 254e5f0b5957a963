"""Tiny models that the backends' tests name as ``zoo.py:function``."""

import functools
from collections.abc import Callable

import numpy as np
import torch


class Net(torch.nn.Module):
    """A convolution and a linear layer: ``logits`` [batch, 5] and ``map`` [batch, 4, H, W]."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv2d(3, 4, 3, padding=1)
        self.linear = torch.nn.Linear(4, 5)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        features = self.conv(x).relu()
        return {"logits": self.linear(features.mean((2, 3))), "map": features}


class Breaks(Net):
    """Breaks torch.compile's graph once, and cannot be traced without loss."""

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        features = self.conv(x)
        torch._dynamo.graph_break()
        return {"logits": self.linear(features.mean((2, 3)))}


class Counts(torch.nn.Module):
    """Counts its calls in a number, for which torch.compile compiles each of them again."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return x * self.calls


class Branches(Net):
    """Takes a path by its values, which torch.export cannot."""

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return super().forward(x if x.sum() > 0 else -x)


class Nested(torch.nn.Module):
    """Returns a tuple with a None, and a nested dict that holds its own input."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, None, dict[str, torch.Tensor]]:
        return x + 1, None, {"same": x}


class Inverse(torch.nn.Module):
    """Has no half precision kernel."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.linalg.inv(x)


class InPlace(Net):
    """Changes its input: another one in each call."""

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return super().forward(x.sub_(0.25))


class Rectifies(Net):
    """Changes its input in the first call, and finds the changed one in all others."""

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return super().forward(x.relu_())


class Caches(Net):
    """Keeps tensors that are no parameters or buffers of it, one from its first call on, and returns them; and a buffer
    that has no memory of its own.
    """

    def __init__(self) -> None:
        super().__init__()
        self.grids: dict[str, list[torch.Tensor]] = {}
        self.scales = [torch.nn.Parameter(torch.ones(3))]
        self.register_buffer("mask", torch.eye(3).to_sparse())

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        if not self.grids:
            self.grids["all"] = [torch.arange(8, device=x.device, dtype=x.dtype)]
        return {**super().forward(x), "grid": self.grids["all"][0], "scale": self.scales[0]}


class Text(torch.nn.Module):
    """Returns a string."""

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, str]:
        return x, "label"


def begins_at_zero() -> torch.nn.Module:
    """Net with a last layer of zeros, as torchvision's vision transformers have until they are trained."""
    model = Net()
    for parameter in model.linear.parameters():
        torch.nn.init.zeros_(parameter)
    return model


class Zeros(torch.nn.Module):
    """Its one output does not depend on the inputs."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * 0


def zeros() -> torch.nn.Module:
    return Zeros()


class DetectsNothing(torch.nn.Module):
    """Returns an output without an element, as a detector without a detection."""

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"boxes": x[:0] * 2}


def detects_nothing() -> torch.nn.Module:
    return DetectsNothing()


def net() -> torch.nn.Module:
    return Net()


def divides(outputs: object, reference: object) -> dict[str, float]:
    return {"score": 1 / 0}


def totals(outputs: dict[str, np.ndarray], reference: object) -> dict[str, float]:
    return {"total": sum(float(output.sum()) for output in outputs.values())}


def says_nothing(outputs: object, reference: object) -> dict[str, float]:
    return {}


def breaks() -> torch.nn.Module:
    return Breaks()


def counts() -> torch.nn.Module:
    return Counts()


def branches() -> torch.nn.Module:
    return Branches()


def nested() -> torch.nn.Module:
    return Nested()


def in_place() -> torch.nn.Module:
    return InPlace()


def rectifies() -> torch.nn.Module:
    return Rectifies()


def inverse() -> torch.nn.Module:
    return Inverse()


def caches() -> torch.nn.Module:
    return Caches()


def text() -> torch.nn.Module:
    return Text()


def number() -> int:
    return 3


def _with_width(factory: Callable[[int], torch.nn.Module]) -> Callable[[], torch.nn.Module]:
    @functools.wraps(factory)
    def wrapper() -> torch.nn.Module:
        return factory(4)

    return wrapper


@_with_width
def decorated(width: int) -> torch.nn.Module:
    return torch.nn.Linear(width, width)


def hands_on(**args: int) -> torch.nn.Module:
    return torch.nn.Linear(3, 3, **args)


def raises() -> torch.nn.Module:
    raise ValueError("no such size")


def needs_a_package() -> torch.nn.Module:
    import a_package_that_is_not_there

    return a_package_that_is_not_there.net()


class Renamed(torch.nn.Module):
    """Names an output like its input, and returns integers and as many indices as there are positive values."""

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"x": x * 2, "best": x.argmax(-1), "positive": (x > 0).nonzero()}


def renamed() -> torch.nn.Module:
    return Renamed()


class Attends(torch.nn.Module):
    """Self-attention by the module whose inference path is one fused operator."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = torch.nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x):
        return self.attention(x, x, x, need_weights=False)[0]


def attends() -> torch.nn.Module:
    return Attends()


class Block(torch.nn.Module):
    """Adds two linear layers of a normalised input to it."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.norm = torch.nn.LayerNorm(size)
        self.fc1, self.fc2 = torch.nn.Linear(size, 4 * size), torch.nn.Linear(4 * size, size)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.fc2(torch.nn.functional.gelu(self.fc1(self.norm(x))))


def blocks() -> torch.nn.Module:
    return torch.nn.Sequential(*(Block(256) for _ in range(3)))
