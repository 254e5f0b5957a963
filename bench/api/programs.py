"""Network programs: the source that builds a model's TensorRT network, and the ops that it can be written of."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec

from bench.api.results import OnEvent, ignore
from bench.api.suites import default_cache
from bench.model.program import SupportedOp, Written
from bench.runner.request import Request


def codegen(request: Request, out: str | os.PathLike[str], *, on_event: OnEvent | None = None) -> list[Written]:
    """Write the network program of each case of a request into the folder ``out``: ``program.py`` and its weights.

    Where the cases have several programs, each has a folder of ``out``. The device of the plan need not be here (see
    ``plan_only`` of ``request``).

    Raises:
        UsageError: a backend of the cases writes no programs, or a program lies in ``out`` already.
        StoreError: the cache cannot be written.
    """
    from bench.runner import codegen
    from bench.store import artifacts

    if not request.settings.cache:  # a plan may have none
        settings = msgspec.structs.replace(request.settings, cache=str(default_cache(True)))
        request = msgspec.structs.replace(request, settings=settings)
    artifacts.check_writable(Path(request.settings.cache))
    return list(codegen.write(request, Path(out), on_event or ignore))


def ops() -> list[SupportedOp]:
    """The ops that network programs can be written of, by name. No runtime is imported."""
    from bench.backends import base
    from bench.model.seam import Generating

    backends = [backend for backend in base.registry().values() if isinstance(backend, Generating)]
    return sorted({op.name: op for backend in backends for op in backend.ops()}.values(), key=lambda op: op.name)
