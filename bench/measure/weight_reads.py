"""How many bytes of its weights a model reads in a call: the rows that lookups take of a table, all of the others."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

# Operators that read of their first tensor as many elements as they return.
_LOOKUPS = ("aten.embedding", "aten.index", "aten.index_select", "aten.gather", "aten.take")
# Those whose result is smaller or larger than what they read: the second argument has the places of rows.
_BAGS = ("aten._embedding_bag", "aten._embedding_bag_forward_only", "aten.embedding_renorm_")


@contextlib.contextmanager
def weight_reads(weights: Iterable[torch.Tensor], sizes: Callable[[torch.Tensor], int]) -> Iterator[Callable[[], int]]:
    """Observe the operators of a block; the value returns the bytes that they have read of ``weights`` so far.

    ``sizes`` are the bytes of an element of a tensor. What several operators read of a weight counts once, at most the
    whole of it, as does what they read through views of it. A lookup (embedding, index_select, gather, indexing) reads
    a row for each index, whether indices repeat or not: an upper bound. A weight that no operator reads counts nothing,
    one without storage of its own, e.g. a sparse one, counts whole.
    """
    from torch.utils._python_dispatch import TorchDispatchMode
    from torch.utils._pytree import tree_flatten

    whole: dict[int, int] = {}
    opaque = 0
    for weight in weights:
        key = _storage(weight)
        size = weight.numel() * sizes(weight)
        if key is None:
            opaque += size
        else:
            whole[key] = whole.get(key, 0) + size
    read: dict[int, int] = {}

    class Observer(TorchDispatchMode):  # type: ignore[misc]
        def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            result = func(*args, **(kwargs or {}))
            if not _is_view(func):
                tensors = [each for each in tree_flatten((args, kwargs or {}))[0] if _storage(each) in whole]
                for place, tensor in enumerate(tensors):
                    source = place == 0 and bool(args) and tensor is args[0]
                    elements = _elements(func, args, result) if source else None
                    amount = tensor.numel() if elements is None else elements
                    key = _storage(tensor)
                    assert key is not None
                    read[key] = min(read.get(key, 0) + amount * sizes(tensor), whole[key])
            return result

    with Observer():
        yield lambda: opaque + sum(read.values())


def _elements(func: Any, args: Any, result: Any) -> int | None:
    """How many elements a lookup reads of its first tensor; None for other operators, which read all."""
    name = str(func.overloadpacket)
    if name in _LOOKUPS:
        return int(result.numel())
    if name in _BAGS:
        return int(args[1].numel() * args[0].shape[1])
    return None


def _is_view(func: Any) -> bool:
    """Whether an operator returns another view of a tensor and reads none of it."""
    return any(each.alias_info is not None and not each.alias_info.is_write for each in func._schema.returns)


def _storage(value: Any) -> int | None:
    """What identifies the memory of a tensor; None for what is none, or has no such memory."""
    import torch

    if not isinstance(value, torch.Tensor):
        return None
    try:
        return int(value.untyped_storage()._cdata)
    except NotImplementedError:  # sparse tensors, those of oneDNN, and those within vmap: torch has no question for it
        return None
