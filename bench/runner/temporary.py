"""The folder for temporary files of a run's workers, which is removed with the run, also with what killed ones left."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from bench.runtimes.torch import caches

_NAME = "t"
# Bytes of a path above which workers keep the folder that this process has: the address of a UNIX socket has 107, of
# which the longest name that a library here gives to one takes 34: `/torch-shm-dir-`, six letters, `/manager.sock`.
_LONGEST = 72


@contextlib.contextmanager
def folder(own: Path) -> Iterator[None]:
    """A folder for the temporary files of workers in ``own``, a run's scratch folder, for the block; none where its
    path would be too long for sockets.

    torch keeps compiled kernels and headers in a folder of the usual one between runs: a link leads there.
    """
    path = own / _NAME
    if len(os.fsencode(path)) > _LONGEST:
        yield
        return
    kept = caches.default_folder()
    with contextlib.suppress(OSError):  # what cannot be written torch will say, where it is needed
        kept.mkdir(parents=True, exist_ok=True)
    path.mkdir()
    (path / kept.name).symlink_to(kept.resolve(), target_is_directory=True)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            kept.rmdir()  # which only an empty one lets


def variables(own: Path, env: Mapping[str, str]) -> dict[str, str]:
    """The variables by which a worker with the environment ``env`` uses the folder in ``own``, if there is one."""
    path = own / _NAME
    if not path.is_dir():
        return {}
    kept = {} if env.get(caches.FOLDER) else {caches.FOLDER: str(caches.default_folder())}
    return {"TMPDIR": str(path), **kept}
