"""Tensors compared by their bits."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch")

from bench.runtimes.torch import memory  # noqa: E402 - needs torch

pytestmark = pytest.mark.torch

COMPLEX = torch.tensor([1.0 + 2.0j, complex("nan"), 0.0j])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (COMPLEX.conj(), COMPLEX.conj()),
        (COMPLEX.conj(), COMPLEX.conj().resolve_conj()),
        (COMPLEX.conj().imag, COMPLEX.conj().imag.clone()),
        (torch._neg_view(torch.tensor([1.0, -0.0])), torch.tensor([-1.0, 0.0])),
        (COMPLEX[:1].imag, torch.tensor([2.0])),
        (torch.arange(6.0)[2:5], torch.tensor([2.0, 3.0, 4.0])),
        (torch.arange(6.0).reshape(2, 3).T, torch.tensor([[0.0, 3.0], [1.0, 4.0], [2.0, 5.0]])),
        (torch.ones(1).expand(3), torch.ones(3)),
        (torch.tensor(2.0), torch.arange(3.0)[2]),
        (torch.ones(0, 2), torch.ones(2, 0).T),
    ],
)
def test_views_have_the_bits_of_their_values(one: Any, other: Any) -> None:
    assert memory.same_bits(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (COMPLEX, COMPLEX.conj()),
        (torch._neg_view(torch.ones(2)), torch.ones(2)),
        (torch.tensor([0.0]), torch.tensor([-0.0])),
        (torch.arange(6.0)[2:5], torch.arange(6.0)[:3]),
        (torch.ones(2), torch.ones(2, 1)),
        (torch.zeros(2), torch.zeros(2, dtype=torch.int32)),
    ],
)
def test_other_values_shapes_and_types_have_other_bits(one: Any, other: Any) -> None:
    assert not memory.same_bits(one, other)
