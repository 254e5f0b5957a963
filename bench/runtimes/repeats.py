"""The second call of a reference: its outputs that differ from those of the first, and the state that it changed."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np

from bench import tensors
from bench.model.lanes import Lane, Stateful

_OUTPUTS, _STATE = "again.safetensors", "state.json"


def write(out: Path, lane: Lane, first: dict[str, tensors.Array]) -> None:
    """Call ``lane`` once more after the call that returned ``first``, and write what differs into ``out``."""
    before = lane.state() if isinstance(lane, Stateful) else None
    lane.call()
    again = lane.read()
    names = list(lane.changes_since(before)) if isinstance(lane, Stateful) else []
    differing = {name: array for name, array in again.items() if name not in first or not _equal(array, first[name])}
    tensors.write(out / _OUTPUTS, differing)
    (out / _STATE).write_bytes(msgspec.json.encode(names))


def read(folder: Path) -> tuple[dict[str, tensors.Array], list[str]]:
    """The outputs of the second call that are not bit by bit those of the first, and the names of the state that it
    changed; nothing for a reference that was made without a second call.
    """
    if not (folder / _STATE).is_file():
        return {}, []
    return tensors.read(folder / _OUTPUTS), msgspec.json.decode((folder / _STATE).read_bytes(), type=list[str])


def _equal(one: tensors.Array, other: tensors.Array) -> bool:
    return one.dtype == other.dtype and np.array_equal(one, other, equal_nan=one.dtype.kind in "fc")
