"""The models that suite.yaml names; the backend `fake` does without them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


def small(layers: int = 2) -> nn.Module:
    """A perceptron of `layers` hidden layers."""
    from torch import nn

    hidden = [module for _ in range(layers) for module in (nn.Linear(64, 64), nn.ReLU())]
    return nn.Sequential(*hidden, nn.Linear(64, 10))
