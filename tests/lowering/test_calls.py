"""Calls of the network as converters write them."""

from __future__ import annotations

import pytest

from bench.lowering.calls import reshape_dims
from bench.lowering.sizes import Size

N, M = Size("n"), Size("m")


@pytest.mark.parametrize(
    ("before", "after", "dims"),
    [
        ((2, 6), (3, 4), (3, 4)),
        ((N, 6), (N, 2, 3), (0, 2, 3)),
        ((N, 6), (2, N, 3), (2, -1, 3)),
        ((N, M, 6), (M, N, 6), None),
        ((N, 2), (0, N), None),
    ],
)
def test_a_reshape_keeps_sizes_by_zero_and_computes_one_by_minus_one(before: tuple, after: tuple, dims: object) -> None:  # type: ignore[type-arg]
    assert reshape_dims(before, after) == dims
