"""Ranges of tensors, and the scales of symmetric int8 that follow from them."""

from __future__ import annotations

from collections.abc import Mapping

from bench.model.data import Data

LARGEST = 127


class Range(Data, frozen=True, kw_only=True):
    """What was observed of a tensor, and what is kept of it.

    ``limits`` are the largest magnitudes that int8 stands for: one, or one for each index of the dimension ``axis``.
    ``least`` and ``most`` are the smallest and largest value seen, ``clipped`` the share of values beyond the limit,
    ``method`` the observer's name. ``module`` is the path of the module that the tensor comes from.
    """

    limits: tuple[float, ...]
    axis: int | None = None
    method: str = ""
    least: float = 0.0
    most: float = 0.0
    clipped: float = 0.0
    module: str = ""

    @property
    def scales(self) -> tuple[float, ...]:
        """limit / 127, for each limit."""
        return tuple(limit / LARGEST for limit in self.limits)


# The ranges of a graph's tensors by the name of the node that computes each.
Ranges = Mapping[str, Range]
