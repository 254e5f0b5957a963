"""Makes the artifacts of each case of a plan, one after the other, and measures nothing."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from pathlib import Path

import msgspec

import bench
from bench.backends import base
from bench.errors import DeviceUnavailable, UsageError
from bench.model.abilities import BuildsForCapabilities, CompilesAhead, CountsLayers
from bench.model.build import BuildRun, BuiltStage, CaseBuild
from bench.model.data import Data
from bench.model.events import Note, Started
from bench.model.run import Failure
from bench.model.seam import REFERENCES, Stage
from bench.model.suite import Case
from bench.runner.dispatch import OnEvent
from bench.runner.request import Request
from bench.runner.run import new_session
from bench.runner.session import Session
from bench.runner.stages import Ready
from bench.store import artifacts
from bench.suite import plan
from bench.system.signals import stoppable

_META = "meta.json"
_NO_GPU = "a machine with a GPU"
_WHY = "trtbench list with the same suite and options says why of each; --device cuda is for a GPU, also one elsewhere"


class _Need(Data, frozen=True, kw_only=True):
    """A stage of a case; ``lacking`` is the device that is not here, ``mark`` says that its files are only a mark.

    ``absent`` is a file beside the suite that a stage without its device would be made from, and that is not there.
    """

    stage: Stage
    lacking: str = ""
    absent: str = ""
    mark: bool = False


def build(request: Request, on_event: OnEvent, capabilities: Sequence[str] = ()) -> BuildRun:
    """Make what the cases of a plan need before they are measured, for GPUs of ``capabilities`` where those are named.

    A stage that fails ends its case, and the others go on. Where the device of the plan is not here, what needs none is
    made, and the rest is Unavailable. A signal ends it; what was made is in the cache.

    Raises:
        UsageError: the plan has no case, no backend of it takes ``capabilities``, or does not know one of them.
        DeviceUnavailable: the device is not here, and nothing of the plan can be made without it.
        StoreError: the cache cannot be written.
    """
    plan.check_some(request.plan, _WHY)
    request = _alone(request, capabilities)
    cases = request.plan.cases
    suite_dir = Path(request.suite.path).parent
    needs = {case.id: _needs(case, request.device_missing, suite_dir) for case in cases}
    firsts = [several[0] for several in needs.values() if several]
    if firsts and all(first.lacking and not first.absent for first in firsts):
        raise DeviceUnavailable(request.device_missing, fix=_with_gpu(cases))
    artifacts.check_writable(Path(request.settings.cache))
    with new_session(request, on_event, device="cpu" if request.device_missing else None) as session:
        session.open()
        rows: list[CaseBuild] = []
        earlier: dict[tuple[str, str, str], str] = {}
        interrupted = False
        with stoppable() as ignore_signals:
            try:
                for number, case in enumerate(cases):
                    on_event(Started(label=case.label, done=number, total=len(cases)))
                    rows.append(row := _build(session, case, needs[case.id], on_event))
                    if row.failure is not None:
                        on_event(_failure(row, row.failure, earlier))
            except KeyboardInterrupt:
                interrupted = True
            ignore_signals()
        return BuildRun(
            created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            version=bench.__version__,
            suite=request.suite.name,
            environments=session.header.environments,
            total=len(cases),
            cases=tuple(rows),
            left_out=request.plan.left_out,
            compute_capabilities=tuple(capabilities),
            device_missing=request.device_missing,
            interrupted=interrupted,
        )


def _alone(request: Request, capabilities: Sequence[str]) -> Request:
    """The request for one worker at a time, so that build times are those of builds alone, and for ``capabilities``."""
    cases = request.plan.cases
    if capabilities:
        cases = _for_capabilities(cases, capabilities)
    if any(base.load(case.backend).simulated for case in cases):  # which need no device
        request = msgspec.structs.replace(request, device_missing="")
    return msgspec.structs.replace(
        request,
        plan=msgspec.structs.replace(request.plan, cases=cases),
        settings=msgspec.structs.replace(request.settings, prestart=1),
    )


def _for_capabilities(cases: Sequence[Case], capabilities: Sequence[str]) -> tuple[Case, ...]:
    """The cases, each once, with the options for ``capabilities`` where their backend has these."""
    takes = {name: backend for name in {case.backend for case in cases}
             if isinstance(backend := base.load(name), BuildsForCapabilities)}  # fmt: skip
    if not takes:
        names = ", ".join(sorted({case.backend for case in cases}))
        what = f"no backend of the selected cases builds for the GPUs that it names: {names}"
        able = [name for name, backend in base.registry().items() if isinstance(backend, BuildsForCapabilities)]
        fix = f"--backend {able[0]}" if able else "leave it out, to build for the GPU that is here"
        raise UsageError(what, where="--compute-capability", fix=fix)
    named = [
        takes[case.backend].for_capabilities(case, capabilities) if case.backend in takes else case for case in cases
    ]
    return tuple({case.id: case for case in named}.values())


def _needs(case: Case, device_missing: str, suite_dir: Path) -> list[_Need]:
    """The stages of a case that are made, in their order: without the device, up to the first that needs it."""
    backend = base.load(case.backend)
    needs = [_Need(stage=stage) for stage in backend.stages(case)]
    if isinstance(backend, CompilesAhead) and (stage := backend.compile_stage(case)) is not None:
        needs.append(_Need(stage=stage, mark=True))
    if device_missing:
        first = next((n for n, need in enumerate(needs) if need.stage.per_device), len(needs))
        needs[first:] = [
            _Need(stage=need.stage, lacking=device_missing, absent=_absent(need.stage, suite_dir))
            for need in needs[first : first + 1]
        ]
    if all(need.stage.name in REFERENCES or need.lacking for need in needs):
        return [need for need in needs if need.lacking]  # references alone would say nothing
    return needs


def _absent(stage: Stage, suite_dir: Path) -> str:
    """The first file that a stage is made from and that is not there; empty if all are."""
    return next((name for name in stage.files if not (suite_dir / name).is_file()), "")


def _build(session: Session, case: Case, needs: Sequence[_Need], on_event: OnEvent) -> CaseBuild:
    """The artifacts of one case, up to the one that fails."""
    built: list[BuiltStage] = []
    for number, need in enumerate(needs, 1):
        end = _unavailable(case, need) or session.artifacts(case, [each.stage for each in needs[:number]])
        if isinstance(end, Failure):
            failed = need.stage.name
            if end.kind == "Unavailable" and end.stage == "start":  # its backend is not installed
                failed = ""
            return CaseBuild(case=case.id, label=case.label, stages=tuple(built), failure=end, failed=failed)
        assert isinstance(end, Ready)  # what is made alone is not postponed
        if need.stage.name not in end.folders:  # the last of its warnings says why
            why = end.warnings[-1].figures
            text = f"{why['failure']} in {need.stage.name}: {why['message']}"
            on_event(Note(text=f"{case.label}: {text}; the case is measured without it"))
        elif need.stage.name not in REFERENCES:
            built.append(_built(need, end))
    return CaseBuild(case=case.id, label=case.label, stages=tuple(built))


def _failure(row: CaseBuild, failure: Failure, earlier: dict[tuple[str, str, str], str]) -> Note:
    """A case's failure as it happens: where a case in ``earlier`` had the same, its label in place of the message."""
    place, message = row.failed or failure.stage, failure.text
    first = earlier.setdefault((failure.kind, place, message), row.label)
    rest = f": {message}" if first == row.label else f", as {first}"
    return Note(text=f"{row.label}: {failure.kind} in {place}{rest}")


def _with_gpu(cases: Sequence[Case]) -> str:
    """What to do where the device is not here; a CPU takes its place if a case runs on one."""
    runs_on_cpu = any(base.load(case.backend).unsupported(case, "cpu") is None for case in cases)
    return f"{_NO_GPU}, or --device cpu" if runs_on_cpu else _NO_GPU


def _unavailable(case: Case, need: _Need) -> Failure | None:
    if not need.lacking:
        return None
    if need.absent:
        what = f"there is no file {need.absent!r} in the suite's folder"
        return Failure(kind="SuiteError", stage=need.stage.name, message=what, hint="correct its name in the suite")
    return Failure(kind="Unavailable", stage=need.stage.name, message=need.lacking, hint=_with_gpu([case]))


def _built(need: _Need, ready: Ready) -> BuiltStage:
    """The last of the artifacts that are ready."""
    stage, phase = need.stage, ready.phases[-1]
    folder = Path(ready.folders[stage.name])
    producer = base.load(stage.producer)
    return BuiltStage(
        stage=stage.name,
        kind=stage.kind,
        ns=phase.ns,
        cold=phase.cold,
        beside=phase.beside,
        bytes=None if need.mark else _bytes_in(folder),
        layers=producer.layer_count(stage, folder) if isinstance(producer, CountsLayers) else None,
    )


def _bytes_in(folder: Path) -> int:
    """The size of the payload in ``folder``."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file() and path != folder / _META)
