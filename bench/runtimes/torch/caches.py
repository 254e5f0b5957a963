"""Inductor's and Triton's caches: their folders, and whether a program came from them."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from bench.model.seam import Context


@contextlib.contextmanager
def fresh_caches(context: Context) -> Iterator[None]:
    """Inductor's and Triton's caches in other folders for the block: new ones if the run is cold, and for every
    independent build but the first those of this build, as autotuning must not find what another build has chosen.
    """
    root = context.scratch if context.cold else None
    if root is None and context.build and context.shared:
        root = context.shared / f"build-{context.build}"
    with contextlib.nullcontext() if root is None else caches_in(root):
        yield


@contextlib.contextmanager
def caches_in(root: Path) -> Iterator[None]:
    """Inductor's and Triton's caches in folders of ``root`` for the block."""
    folders = {"TORCHINDUCTOR_CACHE_DIR": "inductor", "TRITON_CACHE_DIR": "triton"}
    variables = {name: str(root / folder) for name, folder in folders.items()}
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def reset_counters() -> None:
    """Reset the counters that ``report`` reads."""
    import torch._dynamo.utils

    torch._dynamo.utils.counters.clear()


def report(*, autotunes: bool) -> dict[str, str]:
    """Cache states for the fairness report, ``warm`` or ``cold``. ``code_cache`` is warm if all graphs since
    ``reset_counters`` came from Inductor's cache. With ``autotunes``, ``autotune_cache`` is cold if this process timed
    kernels to choose among them.
    """
    from torch._dynamo.utils import counters

    inductor = counters["inductor"]
    state = {"code_cache": "warm" if inductor["fxgraph_cache_hit"] and not inductor["fxgraph_cache_miss"] else "cold"}
    if autotunes:
        timings = [name for name in inductor if name == "select_algorithm_autotune" or name.startswith("benchmarking.")]
        state["autotune_cache"] = "cold" if any(inductor[name] for name in timings) else "warm"
    return state
