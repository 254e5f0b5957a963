"""Builds: what cases need before they are measured is made, and nothing is measured."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

import msgspec

from bench.api.results import OnEvent, ignore
from bench.api.suites import default_cache
from bench.errors import UsageError
from bench.model.build import BuildRun
from bench.model.code import CodeIndex
from bench.runner.request import Request

_CAPABILITY = re.compile(r"[1-9]\d?\.\d")


def build(
    request: Request, *, compute_capability: str | Sequence[str] = (), on_event: OnEvent | None = None
) -> BuildRun:
    """Make the exports, engines and packages of a request's cases, and measure nothing.

    What is made is in the cache, where a run finds it. One that cannot be made ends its case, whose ``failure`` says
    why; the others go on.

    Args:
        request: as of ``request``; with its ``plan_only`` also for a GPU that is not here: what needs none is made.
        compute_capability: of the GPUs to build for in place of the one that is here, ``"8.9"`` or several of them,
            for backends that can.
        on_event: as in ``run``.

    Raises:
        UsageError: nothing to build; a compute capability that is none, that a backend does not know, or that no
            backend of the cases takes; DeviceUnavailable where nothing can be made without the device.
        SuiteError: a file or a function that the suite names is not there, before the device is waited for.
        StoreError: the cache cannot be written.
    """
    from bench.runner import build as building

    several = [compute_capability] if isinstance(compute_capability, str) else list(compute_capability)
    for each in several:
        if not isinstance(each, str) or not _CAPABILITY.fullmatch(each):
            raise UsageError(f"{each!r} is no compute capability", where="compute_capability", fix="for example 8.9")
    if not request.settings.cache:  # a plan may have none
        settings = msgspec.structs.replace(request.settings, cache=str(default_cache(True)))
        request = msgspec.structs.replace(request, settings=settings)
    return building.build(request, on_event or ignore, list(dict.fromkeys(several)))


def keep_code(request: Request, folder: str | os.PathLike[str], *, on_event: OnEvent | None = None) -> CodeIndex:
    """Keep what the compilers of a request's cases write: programs, kernels and the order in which these are called.

    Each case has a folder of its own in ``folder``, beside ``index.json`` and ``index.txt``; those of an earlier time
    are replaced. Packages are those of the cache, made if they are not there; what Inductor compiles as it is measured
    is compiled once more. A case without code says why.

    Raises:
        UsageError: ``folder`` is a file, cannot be written, or has files that are not of an earlier time.
        StoreError: what is written does not fit on the disk.
    """
    from bench.report import code as view
    from bench.runner import code

    place = Path(folder)
    view.check(place)
    if not request.settings.cache:
        settings = msgspec.structs.replace(request.settings, cache=str(default_cache(True)))
        request = msgspec.structs.replace(request, settings=settings)
    index = code.keep(request, place, on_event or ignore)
    view.write(index, place)
    return index


def all_built(run: BuildRun, *, strict: bool = False) -> bool:
    """Whether no case failed; a missing package or device counts only if ``strict``, or if nothing could be made."""
    from bench.analysis import status

    return status.all_built(run, strict=strict)
