"""Models that a process has built before it is forked: each fork finds them in its memory, and draws no weights again.

A fork's copy is its own, as the system copies each page of memory that one of them writes.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from bench.model.seam import Context
from bench.model.suite import Case
from bench.runtimes.torch import factories

if TYPE_CHECKING:
    import torch

_models: dict[tuple[str, int], torch.nn.Module] = {}


class BuildsModules:
    """The part of a PyTorch backend that is ``bench.model.abilities.BuildsModels``.

    ``models.load_original`` finds the models.
    """

    def model_key(self, case: Case) -> str:
        """What the factory is called with."""
        return case.factory_key

    def build_model(self, case: Case, context: Context) -> None:
        """As ``build``."""
        build(case, context)


def build(case: Case, context: Context) -> None:
    """Build the module of ``case`` as ``factories.build_model`` does, and keep it.

    By one thread, as a fork of a process with a pool of them waits for threads that it does not have. Raises what
    ``build_model`` does, also for layers that take their sizes from inputs, which differ between the model's cases.
    """
    alone = msgspec.structs.replace(case, inputs={}, arguments={})
    with _one_thread():
        _models[case.factory_key, context.seed] = factories.build_model(alone, context, device="cpu")


def take(case: Case, context: Context) -> torch.nn.Module | None:
    """The module of ``case`` that was built before this process was forked, None without one; once, as who takes it may
    change it.
    """
    return _models.pop((case.factory_key, context.seed), None)


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """OpenMP and MKL start no thread for this one in the block. ``torch.set_num_threads`` starts some itself, and what
    it sets cannot be unset. Where these functions are not there, who forks finds the threads.
    """
    import torch

    count = torch.get_num_threads()  # which lets torch choose its number, once for each thread
    library = _library(Path(torch.__file__).parent / "lib" / "libtorch_cpu.so")
    limit_openmp = getattr(library, "omp_set_num_threads", lambda count: None)
    limit_mkl = getattr(library, "MKL_Set_Num_Threads_Local", lambda count: 0)  # gives the limit before, 0 for none
    limit_openmp(1)
    before = limit_mkl(1)
    try:
        yield
    finally:
        limit_mkl(before)
        limit_openmp(count)


def _library(path: Path) -> ctypes.CDLL:
    """The loaded library at ``path``, with those that it depends on; without it, what the process shares."""
    try:
        return ctypes.CDLL(str(path), mode=os.RTLD_NOLOAD | os.RTLD_LAZY)
    except OSError:
        return ctypes.CDLL(None)
