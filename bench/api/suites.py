"""Suites, plans and requests: what is to be measured, before anything runs."""

from __future__ import annotations

import inspect
import os
import shlex
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.api.results import RESULTS, check_choice
from bench.errors import StoreError, UsageError
from bench.model.suite import Plan, Suite
from bench.runner.request import Request, Settings

if TYPE_CHECKING:
    from bench.machine.environment import Device

DEVICES = ("auto", "cpu", "cuda")


def load(path: str | os.PathLike[str]) -> Suite:
    """The suite file at ``path``, checked against the options of every backend.

    SuiteError with the file's line for anything that is wrong in it, UsageError if it is a run.
    """
    from bench.backends import base
    from bench.suite import reader

    file = Path(path)
    if file.suffix == ".jsonl":
        name = shlex.quote(str(file))
        fix = f"trtbench show {name}, or to resume it: trtbench run --resume {name}"
        raise UsageError("a run, where a suite is expected", where=str(file), fix=fix)
    return reader.load(file, base.registry())


def plan(
    suite: Suite | str | os.PathLike[str], *, select: str = "", backend: str = "", device: Device | None = None
) -> Plan:
    """The cases that ``run`` would measure, in their order, and what is left out and why.

    No device is needed: if the suite's device is missing, the plan is for a CUDA device.
    """
    return request(suite, select=select, backend=backend, device=device, plan_only=True).plan


def request(
    suite: Suite | str | os.PathLike[str],
    *,
    select: str = "",
    backend: str = "",
    device: Device | None = None,
    baseline: str = "",
    quick: bool = False,
    replicates: int = 0,
    allow_large: bool = False,
    plan_only: bool = False,
    store: str | os.PathLike[str] = RESULTS,
    cache: str | os.PathLike[str] | None = None,
    cold: bool = False,
    rebuild: bool = False,
    prestart: int | None = None,
    fork: bool | None = None,
    devices: int | str = 1,
    seed: int = 0,
) -> Request:
    """The request that ``run`` would execute for the same arguments, to inspect first and then pass to ``execute``.

    Args:
        suite: a suite or its file.
        select: which cases, e.g. ``"model=resnet50 and precision=fp16"``.
        backend: takes the place of every other backend of the suite, e.g. ``"fake"`` for a rehearsal; cases that have
            it keep their options, the others get its defaults.
        device: ``"cpu"``, ``"cuda"`` or ``"auto"``; by default the suite's.
        baseline: the backend that speed is set against; by default the suite's, else eager.
        quick: one process a case, looser intervals: for a first look.
        replicates: fresh processes per case; 0 is as the suite says.
        allow_large: allow a plan of more than 10,000 cases.
        plan_only: a device that is not here is no error, but ``Request.device_missing``.
        store: the folder of runs.
        cache: the folder of artifacts; by default ``$TRTBENCH_CACHE`` or ``~/.cache/trtbench``.
        cold: make every artifact and compile cache anew.
        rebuild: make engines, packages and the C++ runner anew, with the caches of earlier builds.
        prestart: how many workers import their runtimes, and make what cases need, side by side while nothing is
            measured; by default as many as the machine has room for.
        fork: whether the workers that measure are forked from processes that have imported their runtimes; by default
            they are on a GPU, unless the run is ``cold`` or only one worker is at work.
        devices: how many GPUs like the first measure side by side, or ``"all"``: cases that are compared share one.
        seed: of inputs and weights.

    Raises:
        SuiteError: the suite is wrong.
        SelectionError: ``select`` is wrong or matches nothing.
        UsageError: an unknown backend or baseline, a plan that is too large, a device that is not here, settings that
            contradict each other (``cold`` and ``fork``).
    """
    from bench.backends import base
    from bench.runner import refusals
    from bench.runner.request import new_request

    if backend:
        base.load(backend)
    check_device(device)
    settings = settings_of(
        store,
        cache,
        needed=not plan_only,
        cold=cold,
        rebuild=rebuild,
        prestart=prestart,
        fork=fork,
        devices=count_of(devices),
        seed=seed,
    )
    refusals.refuse_contradictions(settings)
    return new_request(
        suite if isinstance(suite, Suite) else load(suite),
        settings,
        select=select,
        backend=backend,
        device=device,
        baseline=baseline,
        quick=quick,
        replicates=replicates,
        allow_large=allow_large,
        plan_only=plan_only,
    )


def check_device(device: str | None) -> None:
    """UsageError for a word that is no device; ``fake`` is that of runs that were simulated."""
    if device not in (None, "fake"):
        check_choice("device", device, DEVICES)


def schema(*, toolchains: bool = False) -> dict[str, Any]:
    """The JSON Schema of suite files, or of a ``toolchains.yaml``."""
    from bench.backends import base
    from bench.suite import reader

    return reader.toolchains_schema() if toolchains else reader.json_schema(base.registry())


def check_boundaries(request: Request) -> None:
    """UsageError, as by ``run``, if the device of a request has none of the boundaries that its suite asks for."""
    from bench.runner import refusals

    refusals.check_boundaries(request)


def estimate(request: Request) -> tuple[int, int]:
    """The least and the most nanoseconds that the measurements of a request take, without exports and builds."""
    from bench.analysis import duration
    from bench.errors import DeviceUnavailable
    from bench.machine import environment

    try:
        gpu = environment.describe(request.device).kind != "cpu"
    except DeviceUnavailable:
        gpu = True
    processes, devices = len(request.plan.cases) * request.policy.replicates, request.settings.devices
    return duration.bounds(
        processes, request.policy, gpu=gpu, devices=max(devices, 1)
    )  # 0 is all, before they are listed


def import_runner() -> None:
    """Import what plans and runs need, before something is started that an interrupt would have to end."""
    from bench.runner import run  # noqa: F401


def interruptible() -> AbstractContextManager[object]:
    """A block that Ctrl-C, SIGTERM or SIGHUP interrupts once: those that follow until its end are ignored."""
    from bench.runner import run

    return run.interruptible()


def settings_of(
    store: str | os.PathLike[str], cache: str | os.PathLike[str] | None, *, needed: bool = True, **options: Any
) -> Settings:
    """The settings of a request; a plan, for which no cache is ``needed``, may have none."""
    return Settings(store=os.fspath(store), cache=os.fspath(cache or default_cache(needed) or ""), **options)


def count_of(devices: int | str) -> int:
    """The number of devices, 0 for all. UsageError for another word or number."""
    if devices == "all":
        return 0
    if not isinstance(devices, int) or isinstance(devices, bool) or devices < 1:
        raise UsageError(f"{devices!r} is no number of devices", where="devices", fix='1 or more, or "all"')
    return devices


def default_cache(needed: bool) -> Path | None:
    """The usual folder of artifacts; None for a user without a home folder, or StoreError if it is ``needed``."""
    from bench.store import artifacts

    try:
        return artifacts.default_root()
    except StoreError:
        if needed:
            raise
        return None


def keywords_of(*functions: Callable[..., Any]) -> list[str]:
    """The names of the arguments that a caller may give to the functions by keyword."""
    parameters = [each for function in functions for each in inspect.signature(function).parameters.values()]
    return [each.name for each in parameters if each.kind is inspect.Parameter.KEYWORD_ONLY]
