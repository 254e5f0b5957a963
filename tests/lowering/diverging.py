"""Models whose networks leave eager at float16, or compute a layer in another way; tests name them as factories."""

import torch


class Grows(torch.nn.Module):
    """Activations beyond float16 after ``second``, and an output within it: ``x`` [batch, 16] -> [batch, 4]."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.third = torch.nn.Linear(16, 16), torch.nn.Linear(16, 16), torch.nn.Linear(16, 4)
        with torch.no_grad():
            self.first.weight.mul_(400.0)
            self.second.weight.mul_(4000.0)
            self.third.weight.mul_(1e-4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.third(self.second(self.first(x).relu()).relu()).tanh()


class Block(torch.nn.Module):
    """A normalised residual block with a product of two paths, and indices of its largest values."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.up, self.down = torch.nn.LayerNorm(8), torch.nn.Linear(8, 16), torch.nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        gate, value = self.up(self.norm(x)).chunk(2, dim=-1)
        y = x + self.down(torch.nn.functional.gelu(gate) * value)
        best, place = y.topk(2, dim=-1)
        return {"y": y, "best": best, "place": place}


grows, block = Grows, Block


class Heavy(torch.nn.Module):
    """A weight beyond float16: ``x`` [batch, 8] -> [batch, 8]."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.full((8,), 1e5))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (x.relu() * self.scale).tanh()


heavy = Heavy


class Cancels(torch.nn.Module):
    """A difference of large terms: ``x`` [batch, 8] -> [batch, 8]."""

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.first(x) + 1000.0
        return (y - 1000.0).softmax(-1)


class HasNaN(torch.nn.Module):
    """NaN in eager where ``x`` is negative: ``x`` [batch, 8] -> ``logarithm`` and ``double``, both [batch, 8]."""

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        return {"logarithm": (x.log() * 2).abs(), "double": x * 2}


cancels, has_nan = Cancels, HasNaN
