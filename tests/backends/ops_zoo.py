"""A model whose file defines an operator, and one whose factory does. No test may import this file before a backend."""

from __future__ import annotations

import torch


@torch.library.custom_op("trtbench_tests::scale", mutates_args=())
def scale(x: torch.Tensor) -> torch.Tensor:
    return x * 2


@scale.register_fake
def _(x: torch.Tensor) -> torch.Tensor:
    return torch.empty_like(x)


class Scaled(torch.nn.Module):
    def __init__(self, name: str) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(8, 8)
        self.operator = getattr(torch.ops.trtbench_tests, name)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.operator(self.layer(x))


def scaled() -> torch.nn.Module:
    return Scaled("scale")


def defined_late() -> torch.nn.Module:
    @torch.library.custom_op("trtbench_tests::late", mutates_args=())
    def late(x: torch.Tensor) -> torch.Tensor:
        return x * 3

    late.register_fake(torch.empty_like)
    return Scaled("late")
