"""What a call of the CUDA runtime or driver does, by its name: it waits for the GPU, or it gives it work."""

from __future__ import annotations

import functools
import re

_WAITS = ("StreamSynchronize", "DeviceSynchronize", "EventSynchronize", "CtxSynchronize", "ThreadSynchronize")
# Memory is freed only after the work that may use it.
_FREES = ("cudaFree", "cuMemFree")
_ISSUES = ("Launch", "GraphLaunch", "Memcpy", "Memset")
# nsys adds the version in which the interface last changed, and which default stream is meant.
_SUFFIX = re.compile(r"(_v\d+|_pt[ds]s|_ptsz)+$")
_PREFIX = re.compile(r"^cuda|^cu")


def plain(name: str) -> str:
    """``cudaLaunchKernel_v7000`` -> ``cudaLaunchKernel``."""
    return _SUFFIX.sub("", name)


@functools.lru_cache(maxsize=4096)
def waits(name: str) -> bool:
    """Whether the call returns only after work on the GPU: a synchronisation, a blocking copy, freeing memory."""
    name = plain(name)
    verb = _PREFIX.sub("", name)
    return verb in _WAITS or name in _FREES or (verb.startswith("Memcpy") and "Async" not in verb)


@functools.lru_cache(maxsize=4096)
def issues(name: str) -> bool:
    """Whether the call gives the GPU work: a launch of a kernel or a graph, a copy, a memset."""
    return _PREFIX.sub("", plain(name)).startswith(_ISSUES)
