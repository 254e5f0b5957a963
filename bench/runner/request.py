"""The request for a run, as one value: the suite and its plan, the policy, the device, and where results go."""

from __future__ import annotations

from pathlib import Path

import msgspec

from bench.analysis import speed
from bench.backends import base
from bench.errors import DeviceUnavailable, UsageError
from bench.machine import environment
from bench.machine.environment import Device
from bench.measure.host import HOST
from bench.model.data import Data
from bench.model.suite import Plan, Policy, Suite, named
from bench.runner import inputs, sources
from bench.suite import plan
from bench.suite.reader import locate
from bench.units import NS_PER_S

# The address of the first GPU, which a plan is made for where none is needed yet.
_FIRST_GPU = "cuda:0"
# What --quick allows for the samples of one boundary.
_QUICK_NS = NS_PER_S


class Settings(Data, frozen=True, kw_only=True):
    """How to run, beside what to run.

    ``store`` is the folder of runs, ``cache`` that of artifacts. A ``cold`` run takes nothing from caches, ``rebuild``
    makes engines and packages anew with the caches of earlier builds. ``prestart`` workers are at work side by side
    before the first of them is measured: they import, and make artifacts (None: as many as the machine has room for).
    With ``fork`` those that measure are forked from processes that have imported their runtimes (None: unless the run
    is ``cold``, or one is at work; in a rehearsal of many processes). ``devices`` is how many GPUs
    of one kind measure side by side (0: all). ``seed`` is that of inputs and weights.
    """

    store: str
    cache: str
    cold: bool = False
    rebuild: bool = False
    prestart: int | None = None
    fork: bool | None = None
    devices: int = 1
    seed: int = 0


class Request(Data, frozen=True, kw_only=True):
    """A plan with everything needed to measure it; nothing has been run or written yet.

    ``device_missing`` says why the device that the plan is for is not here; empty if it is, or if none is needed.
    ``files_missing`` has the files that the cases' models need and that are not there, each with the place that names
    it: a rehearsal does without them, and so does a plan. ``backend`` is the one that takes the place of all others.
    """

    suite: Suite
    plan: Plan
    policy: Policy
    device: Device
    settings: Settings
    device_missing: str = ""
    files_missing: dict[str, str] = {}
    backend: str = ""


def new_request(
    suite: Suite,
    settings: Settings,
    *,
    select: str = "",
    backend: str = "",
    device: Device | None = None,
    baseline: str = "",
    quick: bool = False,
    replicates: int = 0,
    allow_large: bool = False,
    plan_only: bool = False,
) -> Request:
    """The request to measure ``suite``, or the cases of it that ``select`` names.

    ``backend`` takes the place of every other backend of the suite (see ``plan``), ``device`` that of the suite's
    device, ``replicates`` that of its number of processes per case. ``quick`` is ``quick_policy``. A plan of more than
    10,000 cases needs ``allow_large``. With ``plan_only`` a device that is not here is no error, but
    ``device_missing``; nor is a GPU that only the boundaries of the suite need.

    Raises:
        UsageError: an unknown backend or baseline, a plan that is too large, a device that is not here.
        SuiteError, SelectionError: as ``bench.suite.plan.plan``; a file that does not fit its model.
    """
    if reference := baseline or (backend and _in_place(suite.baseline, backend)):
        suite = msgspec.structs.replace(suite, baseline=reference)
    device, measure = device or suite.device, suite.measure
    if device == "cpu" and settings.devices != 1:
        raise UsageError("--devices is for GPUs, and this run is on the CPU", fix="leave --devices out")
    address, missing = _FIRST_GPU, ""
    if not (backend and base.load(backend).simulated):
        try:
            address = environment.describe(device).address
        except DeviceUnavailable as error:
            if not plan_only:
                raise
            missing = error.what
        if plan_only and device == "auto" and address == "cpu" and _is_for_gpu(suite):
            missing = f"there is no GPU, and the suite asks for its boundaries alone: {', '.join(measure.boundaries)}"
            device, address = "cuda", _FIRST_GPU
    run_plan = plan.plan(suite, base.registry(), device=address, select=select, backend_override=backend)
    inputs.check(suite, run_plan)
    speed.check_baseline(run_plan.cases, baseline)
    policy = quick_policy(measure) if quick else measure
    if replicates:
        policy = msgspec.structs.replace(policy, replicates=replicates)
    plan.check_size(run_plan, policy.replicates, allow_large)
    return Request(
        suite=suite,
        plan=run_plan,
        policy=policy,
        device=device,
        settings=settings,
        device_missing=missing,
        files_missing=_files_missing(suite, run_plan),
        backend=backend,
    )


def _is_for_gpu(suite: Suite) -> bool:
    """Whether a suite asks for boundaries of a GPU alone, and for no simulated backend, which has all."""
    entries = [entry for part in (suite.matrix, *suite.include) for entry in part.get("backend", ())]
    simulated = any(base.load(entry["name"]).simulated for entry in entries)
    return bool(suite.measure.boundaries) and not set(suite.measure.boundaries) & set(HOST) and not simulated


def _in_place(baseline: str, backend: str) -> str:
    """The suite's ``baseline`` with ``backend`` in the place of its own, also at the precision that it names; and in
    the toolchain, but of a rehearsal, which has none.
    """
    _, precision, toolchain = speed.parts_of(baseline)
    return backend + precision + ("" if base.load(backend).simulated else toolchain)


def _files_missing(suite: Suite, run_plan: Plan) -> dict[str, str]:
    """The files that are not there, with the line of their model, or of the backend whose option names them."""
    folder = Path(suite.path).parent
    of_models = {(case.model, named(case.backend, case.options)): case for case in reversed(run_plan.cases)}
    places: dict[str, str] = {}
    for (model, _), case in reversed(of_models.items()):
        for name, key in sources.missing(case, folder).items():
            places.setdefault(name, locate(suite, f"models.{model}.{key}") if key else case.source)
    return places


def quick_policy(policy: Policy) -> Policy:
    """``policy`` for a first look: one process a case, intervals of ±2 %, 1 s a boundary, 0.5 s of throughput."""
    return msgspec.structs.replace(
        policy,
        replicates=1,
        target_ci=0.02,
        max_time_ns=min(policy.max_time_ns, _QUICK_NS),
        throughput_ns=min(policy.throughput_ns, NS_PER_S // 2),
        quick=True,
    )
