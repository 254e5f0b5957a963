"""``deconvolutions: dense``: which transposed convolutions in groups get a single one, and what a record says of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from math import prod
from typing import Any

# The most values of a dense kernel, as of 512 channels with 8 x 8: 32 MiB at fp16. Its zeros lie in the network and in
# the engine as weights do, and each call reads them, which of 32 MiB takes 10 us at the 3.35 TB/s of an H100.
MOST_VALUES = 1 << 24

# The key of ``count`` in what is stored beside a network, and in a record's ``fairness``.
FACT = "deconvolutions"
_MOST_REASONS = 8


def are_dense(options: Mapping[str, Any]) -> bool:
    """Whether a case's options, or a stage's key, have transposed convolutions in groups made dense."""
    return options.get(FACT) == "dense"


def too_large(kernel: Sequence[int], groups: int) -> str:
    """Why a kernel [in, out / groups, ...] is not made dense for its size; empty if it may be."""
    values = prod(kernel) * groups
    return "" if values <= MOST_VALUES else f"its dense kernel would have {values:,} values, more than {MOST_VALUES:,}"


def count(obstacles: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """How many transposed convolutions ``in_groups`` a network has, how many of them become ``dense``, and the
    ``reasons`` why others do not, each after its module. ``obstacles`` are modules and reasons, empty for none.
    """
    every = list(obstacles)
    reasons = [f"{path or 'the model itself'}: {why}" for path, why in every if why]
    figures: dict[str, Any] = {"in_groups": len(every), "dense": len(every) - len(reasons)}
    return figures | ({"reasons": reasons[:_MOST_REASONS]} if reasons else {})
