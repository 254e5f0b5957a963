"""Inductor's and Triton's caches: their folders, and whether a program came from them."""

from __future__ import annotations

import contextlib
import getpass
import os
import re
import secrets
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from bench.model.seam import Context
from bench.system import variables

# The variable by which Inductor's caches lie in another folder.
FOLDER = "TORCHINDUCTOR_CACHE_DIR"
_AUTOTUNE_VARIABLES = (
    "TORCHINDUCTOR_MAX_AUTOTUNE",
    "TORCHINDUCTOR_MAX_AUTOTUNE_GEMM",
    "TORCHINDUCTOR_MAX_AUTOTUNE_POINTWISE",
    "TORCHINDUCTOR_COORDINATE_DESCENT_TUNING",
)


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
    folders = {FOLDER: "inductor", "TRITON_CACHE_DIR": "triton"}
    with variables.override({name: str(root / folder) for name, folder in folders.items()}):
        yield


def identity() -> str:
    """What changes when Inductor's cache is another folder, or was removed: a random text in a file of it, which is
    created, as the folder is.
    """
    folder = Path(os.environ.get(FOLDER) or default_folder())
    file = folder / ".trtbench"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError), file.open("x") as new:
            new.write(secrets.token_hex(8))
        return file.read_text()
    except OSError:  # of a folder that cannot be written torch will say so
        return str(folder)


def default_folder() -> Path:
    """Where Inductor keeps what it compiles, as torch chooses it (``torch._inductor.runtime.cache_dir_utils``)."""
    try:
        user = re.sub(r'[\\/:*?"<>|]', "_", getpass.getuser())
    except (KeyError, OSError):
        user = f"uid_{os.getuid()}"
    return Path(tempfile.gettempdir(), f"torchinductor_{user}")


@contextlib.contextmanager
def untimed() -> Iterator[None]:
    """In the block a Triton kernel with several configurations runs in its first one; none is timed, and no choice is
    stored, so that the process which measures makes it.
    """
    try:
        from torch._inductor.runtime.triton_heuristics import CachingAutotuner
    except ImportError:  # no Triton: nothing is timed
        yield
        return

    def first(self: Any, *args: Any, **kwargs: Any) -> None:
        self.launchers = self.launchers[:1]

    with mock.patch.object(CachingAutotuner, "autotune_to_one_config", first):
        yield


def environment_autotunes() -> bool:
    """Whether the environment has Inductor choose kernels by timing them, whatever the mode."""
    return any(os.environ.get(name, "0") not in ("", "0") for name in _AUTOTUNE_VARIABLES)


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
