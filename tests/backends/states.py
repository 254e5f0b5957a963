"""Models whose state is not all float32, which tests name as ``states.py:function``."""

import torch


class Mixed(torch.nn.Module):
    """A bfloat16 layer, a counter, and one tensor under two names."""

    def __init__(self) -> None:
        super().__init__()
        self.narrow = torch.nn.Linear(4, 4, bias=False, dtype=torch.bfloat16)
        self.norm = torch.nn.BatchNorm1d(4)
        self.one = torch.nn.Linear(4, 4, bias=False)
        self.two = torch.nn.Linear(4, 4, bias=False)
        self.two.weight = self.one.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.two(self.one(self.norm(self.narrow(x))))


class Waves(torch.nn.Module):
    """Keeps a complex tensor."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("wave", torch.ones(4, dtype=torch.complex32))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.wave.real


class Extra(torch.nn.Linear):
    """Keeps something that is no tensor."""

    def get_extra_state(self) -> dict[str, int]:
        return {"version": 3}

    def set_extra_state(self, state: dict[str, int]) -> None:
        assert state["version"] == 3


def mixed() -> torch.nn.Module:
    return Mixed()


def waves() -> torch.nn.Module:
    return Waves()


def extra() -> torch.nn.Module:
    return Extra(4, 4)
