"""Why a run cannot be begun as it is asked for, or cannot go on."""

from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path

from bench import store
from bench.backends import base
from bench.errors import StoreError, UsageError
from bench.machine import environment
from bench.measure.host import HOST
from bench.model.run import Header
from bench.runner.request import Request, Settings
from bench.suite.reader import locate


def refuse_contradictions(settings: Settings) -> None:
    """UsageError for settings that contradict each other."""
    if settings.cold and (settings.prestart or 1) > 1:
        what = "a --cold run is for true starts, --prestart takes imports out of them"
        raise UsageError(what, fix="leave one of them out")
    if settings.cold and settings.fork:
        what = "a --cold run is for true starts, and a forked worker has none"
        raise UsageError(what, fix="leave one of --cold and --fork out")
    if settings.cold and settings.devices != 1:
        what = "a --cold run is for true starts, and those on several GPUs at once slow each other"
        raise UsageError(what, fix="leave one of --cold and --devices out")


def check_boundaries(request: Request) -> None:
    """UsageError, at its line, for a suite that asks a CPU for boundaries of a GPU alone. A rehearsal has no device."""
    boundaries = request.policy.boundaries
    if not boundaries or set(boundaries) & set(HOST) or not request.plan.cases:
        return
    if any(base.load(case.backend).simulated for case in request.plan.cases):
        return
    if request.device_missing or environment.describe(request.device).kind != "cpu":
        return
    what = f"a CPU has no boundary {', '.join(boundaries)}, and this run is on the CPU"
    fix = f"boundaries: [{', '.join(HOST)}], or --device cuda on a machine with a GPU"
    raise UsageError(what, where=locate(request.suite, "measure.boundaries"), fix=fix)


def refuse_other_than_text(suite_path: Path, settings: Settings) -> None:
    """UsageError for a folder whose name workers cannot be told, as it is no text in UTF-8."""
    places = {"the suite": suite_path, "--cache": Path(settings.cache), "TMPDIR": Path(tempfile.gettempdir())}
    for name, path in places.items():
        try:
            str(path).encode()
        except UnicodeEncodeError as error:
            what = f"the path of {name} is no UTF-8 text in this locale: {os.fsencode(path)!r}"
            raise UsageError(what, fix="rename it, or use a locale of UTF-8: LC_ALL=C.UTF-8") from error


def cannot_continue(error: OSError, path: Path, header: Header) -> StoreError:
    """The error of a run that the system stops; its file ends with the last record."""
    place = f"{error.filename}: " if error.filename else ""
    what = f"the run cannot go on: {place}{error.strerror or error}; its records are stored"
    hints = {errno.ENOSPC: "free some disk space", errno.EDQUOT: "raise the quota", errno.EMFILE: "ulimit -n 1024"}
    hint = hints.get(error.errno or 0, "see to it that it can be written, or choose another place: TMPDIR=DIR")
    return StoreError(what, where=str(path), fix=f"{hint}; then: {store.continuation(path, header)}")
