"""Where the tensors of a lane lie, and what bits they have."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

from bench.model.lanes import Buffer

if TYPE_CHECKING:
    import torch


def same_bits(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two dense tensors of a host are of one type, shape and bits, in which NaN equals itself."""
    import torch

    if one.shape != other.shape or one.dtype != other.dtype:
        return False
    return bool(torch.equal(_bytes(one), _bytes(other)))


def _bytes(tensor: torch.Tensor) -> torch.Tensor:
    """The bytes of the values, in order. Those of a lazily conjugated or negated tensor are not as in memory."""
    import torch

    dense = tensor.resolve_conj().resolve_neg().contiguous()
    # A single element is contiguous whatever its stride, of which only 1 can be seen as bytes.
    return dense.as_strided((dense.numel(),), (1,)).view(torch.uint8)


def _storage(tensor: torch.Tensor) -> int:
    return int(tensor.untyped_storage().data_ptr())


def storages(tensors: Iterable[torch.Tensor]) -> set[int]:
    """The addresses of the tensors' storages; sparse and fake tensors have none."""
    addresses = set()
    for tensor in tensors:
        with contextlib.suppress(RuntimeError):
            addresses.add(_storage(tensor))
    return addresses


def buffer(tensor: torch.Tensor) -> Buffer:
    """Where a tensor lies; an expanded one has fewer bytes than elements."""
    available = tensor.untyped_storage().nbytes() - tensor.storage_offset() * tensor.element_size()
    return Buffer(
        ptr=tensor.data_ptr(),
        nbytes=min(tensor.numel() * tensor.element_size(), available),
        shape=tuple(tensor.shape),
        dtype=str(tensor.dtype).removeprefix("torch."),
    )
