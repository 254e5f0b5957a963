"""The provenance of a compiled program's kernels as a file, which a worker that profiles leaves for its parent."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from bench.model.abilities import TracesKernels
from bench.model.provenance import FILE, Provenance


@contextlib.contextmanager
def recorded(backend: object, folder: Path) -> Iterator[None]:
    """At the end of the block what ``backend`` compiled in it is written to ``folder``; nothing if it cannot tell.

    For workers that profile: those that measure run without it.
    """
    if not isinstance(backend, TracesKernels):
        yield
        return
    with backend.provenance() as sources:
        yield
    (folder / FILE).write_bytes(msgspec.json.encode(sources.provenance()))


def read(folder: Path) -> Provenance:
    """What a worker left in ``folder``, without calls if it left nothing. ValueError for what is no such file."""
    file = folder / FILE
    return msgspec.json.decode(file.read_bytes(), type=Provenance) if file.is_file() else Provenance()
