"""The bytes that operators read of weights, by hand."""

from __future__ import annotations

import pytest

from bench.measure.weight_reads import weight_reads

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch


def read(weights, call) -> int:
    with weight_reads(weights, lambda tensor: tensor.element_size()) as total, torch.no_grad():
        call()
    return total()


def test_a_weight_that_nothing_reads_counts_nothing_and_one_that_is_read_twice_counts_once() -> None:
    used, unused = torch.ones(4, 4), torch.ones(8, 8)
    assert read([used, unused], lambda: (used + 1, used @ used.t())) == 16 * 4


def test_parts_of_a_weight_add_up_to_the_whole_at_most() -> None:
    weight = torch.ones(12, 4)
    assert read([weight], lambda: weight[:3] + 1) == 3 * 4 * 4
    assert read([weight], lambda: [part + 1 for part in weight.chunk(3)]) == 12 * 4 * 4
    assert read([weight], lambda: [weight[:8] + 1, weight[:8] * 2]) == 12 * 4 * 4  # an upper bound


def test_two_names_of_one_memory_are_one_weight() -> None:
    table = torch.ones(100, 8)
    indices = torch.tensor([1, 2, 3])
    assert read([table], lambda: torch.nn.functional.embedding(indices, table.view(100, 8))) == 3 * 8 * 4


def test_a_table_that_is_changed_in_place_is_read_by_rows() -> None:
    layer = torch.nn.Embedding(100, 8, max_norm=1.0)
    assert read([layer.weight], lambda: layer(torch.tensor([1, 2, 3]))) == 2 * 3 * 8 * 4  # for the norm, and for rows


def test_a_weight_without_a_memory_of_its_own_counts_whole() -> None:
    sparse = torch.eye(8).to_sparse()
    assert read([sparse], lambda: torch.sparse.mm(sparse, torch.ones(8, 2))) == 8 * 8 * 4


def test_what_reads_no_weight_counts_nothing() -> None:
    weight = torch.ones(4, 4)
    assert read([weight], lambda: torch.ones(2) + 1) == 0
    assert (
        read([weight], lambda: weight.t().reshape(2, 8)[None].expand(3, 2, 8).shape) == 64
    )  # reshape copies a transpose
