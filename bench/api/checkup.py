"""Checks of a machine: what it has, whether its clock is right, how much it differs from itself."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.api.results import RESULTS, OnEvent, ignore, read, stored_run
from bench.api.suites import default_cache, request
from bench.errors import UsageError
from bench.model.run import Run as Results
from bench.model.suite import Suite
from bench.runner.request import Request

if TYPE_CHECKING:
    from bench.model.calibration import Calibration
    from bench.model.checkup import Check, Reading
    from bench.model.run import Environment


def doctor(file: str | os.PathLike[str] | None = None, *, store: str | os.PathLike[str] = RESULTS) -> list[Check]:
    """What this machine can run: the machine, folders, libraries, backends, and the command that fixes what is missing.

    ``file`` is a suite or a ``toolchains.yaml`` whose toolchains are examined too; ``suites/toolchains.yaml`` if there
    is one.
    """
    from bench.backends import base
    from bench.checkup import doctor
    from bench.suite import reader

    usual = Path("suites", reader.TOOLCHAINS)
    source = Path(file) if file is not None else usual if usual.is_file() else None
    toolchains = reader.toolchains_of(source, base.registry()) if source else {}
    checks = doctor.examine(default_cache(needed=False), Path(store))
    return checks + (doctor.examine_toolchains(toolchains, source.parent) if source else [])


def selftest(
    *, processes: int = 3, holds: int = 10, on_event: OnEvent | None = None
) -> tuple[Environment, tuple[Reading, ...]]:
    """The GPU's clock against kernels of known length, in fresh processes.

    ``holds`` calls of each kind that is hard to hold are made. UsageError without a GPU, or if streams cannot be held.
    """
    from bench.checkup import selftest

    return selftest.run(processes, holds, on_event or ignore)


def calibrate(
    suite: Suite | str | os.PathLike[str] | Request | None = None,
    *,
    runs: Results | str | os.PathLike[str] | Sequence[Results | str | os.PathLike[str]] = (),
    processes: int = 28,
    sittings: int = 2,
    replicates: int = 0,
    store: str | os.PathLike[str] = RESULTS,
    on_event: OnEvent | None = None,
    **options: Any,
) -> Calibration:
    """How identical code differs on this machine: the spread of processes, builds and sittings, how often ``compare``
    would call it different, and how many processes find a difference of 1 to 5 %. Stored beside the device's runs.

    Args:
        suite: a suite, its file or a request: its cases are measured. None: only the ``runs`` count.
        runs: stored runs that count as sittings too, named as in ``find``.
        processes: of each case, in all sittings that are measured now.
        sittings: runs of the suite, one after the other.
        replicates: processes a side of the comparisons to come; by default those of the suite, else 7.
        store: the folder of runs.
        on_event: as in ``run``.
        options: those of ``request`` that are left.

    Raises:
        UsageError: neither a suite nor runs, too few processes, or runs of different environments.
        InputError, Interrupted: as ``run``; what was measured is stored, and ``runs`` can name it.
    """
    from bench.checkup import calibrate
    from bench.store import calibrations

    names = [runs] if isinstance(runs, Results | str | os.PathLike) else list(runs)
    measured = [run if isinstance(run, Results) else read(run, store=store, packed=True) for run in names]
    if suite is None and not measured:
        raise UsageError("neither a suite nor a run is named", fix="trtbench calibrate suites/smoke.yaml")
    if replicates:
        calibrate.check_replicates(replicates)
    policy = None
    if suite is not None:
        sizes = calibrate.split(processes, sittings)
        planned = suite if isinstance(suite, Request) else request(suite, store=store, **options)
        policy = planned.policy
        calibrate.check(measured, planned)
        measured += calibrate.measure(planned, sizes, on_event or ignore, stored_run)
    calibration = calibrate.make(measured, replicates or calibrate.usual_replicates(policy))
    calibrations.write(Path(store), calibration)
    return calibration
