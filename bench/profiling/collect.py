"""Profiles of a plan's cases: a worker each, under a tool or with one in it; stored whenever a case has ended."""

from __future__ import annotations

import contextlib
import datetime
import shutil
from collections.abc import Generator, Sequence
from pathlib import Path

import msgspec

import bench
from bench.analysis import attribution, held_calls
from bench.analysis.provenance import name_kernels
from bench.backends import base
from bench.errors import CaseError, StoreError
from bench.measure import provenance
from bench.model.data import Data, digest
from bench.model.events import Note, Started
from bench.model.profile import CaseProfile, CondensedProfile, HeldCall, Profile, ProfileRun
from bench.model.run import Failure
from bench.model.seam import Stage
from bench.model.suite import Case
from bench.profiling import layers, plain
from bench.profiling.condense import condense
from bench.profiling.document import Document
from bench.profiling.options import ProfileOptions, check
from bench.profiling.worker import ProfiledWorker
from bench.runner import jobs
from bench.runner.dispatch import OnEvent
from bench.runner.request import Request
from bench.runner.run import new_session
from bench.runner.session import Session
from bench.runner.stages import Ready
from bench.runner.toolchains import import_folders, locate_failure
from bench.runner.watch import open_watch
from bench.store import profiles
from bench.store.files import is_full
from bench.system import scratch
from bench.system.signals import stoppable

# A file system with less than this is taken for full.
_ROOM_BYTES = 1 << 16
_MORE_ROOM = "free some disk space, or TMPDIR=DIR with more of it"
# A file of so many cases is large, and making it takes long.
MANY = 50


class Collection(Data, frozen=True, kw_only=True):
    """Profiles, the file that has them, whether they are all that was asked for, and ``missing_reports``: why a tool's
    own report is not in the folder for them, a sentence for each.
    """

    profiles: ProfileRun
    path: str
    interrupted: bool = False
    missing_reports: tuple[str, ...] = ()


def collect(request: Request, options: ProfileOptions, on_event: OnEvent) -> Collection:
    """Profile each case of a plan. One that cannot be is a row with the failure, and the others go on.

    UsageError, before anything is made, for a tool that is not here or cannot look at any of the cases; StoreError if
    the file cannot be written, not even with the failure of a case in place of its profile.
    """
    request = msgspec.structs.replace(request, settings=msgspec.structs.replace(request.settings, prestart=1))
    cases = request.plan.cases
    with new_session(request, on_event) as session:
        created = datetime.datetime.now(datetime.UTC)
        here = session.header.environments["default"]
        check(request, options, here.kind)
        if len(cases) > MANY:
            on_event(Note(text=f"{len(cases)} cases are profiled, one after the other: --select EXPR chooses some"))
        identity = digest([request.suite.text, [case.id for case in cases], options.tool, created.isoformat()])
        session.open()
        root = Path(request.settings.store)
        path = Path(options.path or profiles.path_of(root, here, request.suite.name, created, identity))
        run = ProfileRun(
            created=created.isoformat(timespec="seconds"),
            version=bench.__version__,
            tool=options.tool,
            suite=request.suite.name,
            commit=session.header.commit,
            environments=session.header.environments,
        )
        interrupted, document, missing_reports = False, Document(path, run, len(cases)), list[str]()
        each = _profiles(session, cases, options, on_event, missing_reports)
        with stoppable() as ignore_signals, contextlib.closing(each):
            try:
                for one in each:
                    _tell(document.add(one), on_event)
            except KeyboardInterrupt:
                interrupted = True
            ignore_signals()
            run = document.end()
    if not run.cases:
        raise KeyboardInterrupt
    return Collection(profiles=run, path=str(path), interrupted=interrupted, missing_reports=tuple(missing_reports))


def _profiles(
    session: Session, cases: Sequence[Case], options: ProfileOptions, on_event: OnEvent, missing_reports: list[str]
) -> Generator[CaseProfile]:
    folders = import_folders(session.interpreters)
    for number, case in enumerate(cases):
        on_event(Started(label=case.label, done=number, total=len(cases)))
        try:
            layered = options.tool == "layers"
            end = _layers(session, case) if layered else _profile(session, case, options, on_event, missing_reports)
        except (OSError, StoreError) as error:  # of the cache, or of the folder for temporary files
            if not is_full(error):
                raise
            end = _no_room(error)
        if isinstance(end, Failure):
            yield CaseProfile(case=case.id, label=case.label, failure=plain.failure(end, session.suite_dir, folders))
        else:
            condensed = plain.condensed(end, session.suite_dir, folders)
            yield CaseProfile(case=case.id, label=case.label, condensed=condensed)


def _no_room(error: OSError | StoreError) -> Failure:
    if isinstance(error, StoreError):
        message = f"{error.where}: {error.what}" if error.where else error.what
        return Failure(kind="StoreError", stage="start", message=message, hint=error.fix)
    what = f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)
    return Failure(kind="OSError", stage="start", message=what, hint=_MORE_ROOM)


def _tell(case: CaseProfile, on_event: OnEvent) -> None:
    if failure := case.failure:
        on_event(Note(text=f"{case.label}: {failure.kind} in {failure.stage}: {failure.text}"))


def _layers(session: Session, case: Case) -> CondensedProfile | Failure:
    """The layers of a case's engine, which are no events: their times are sums."""
    end = layers.of_case(session, case)
    if isinstance(end, Failure):
        return end
    profile = Profile(tool="layers", tool_version=end.runtime, case=case.id, label=case.label, layers=end)
    return CondensedProfile(profile=profile)


def _profile(
    session: Session, case: Case, options: ProfileOptions, on_event: OnEvent, missing_reports: list[str]
) -> CondensedProfile | Failure:
    """The artifacts of a case, a worker under the tool, and what that left, condensed."""
    ready = session.artifacts(case, _stages(case))
    if isinstance(ready, Failure):
        return ready
    assert isinstance(ready, Ready)
    interpreter = session.interpreters[case.toolchain]
    kind, card = session.header.environments["default"].kind, session.stations[0].card
    with scratch.folder() as out, scratch.folder() as own, open_watch(kind, visible=card.visible) as watch:
        job = jobs.Profile(
            case=case,
            policy=session.header.policy,
            artifacts=ready.folders,
            scratch=str(own),
            out=str(out),
            tool=options.tool,
            iterations=options.iterations,
            modules=options.modules,
            shared=str(session.maker.shared()),
            device=session.device,
            suite_dir=str(session.suite_dir),
            seed=session.settings.seed,
            cold=session.settings.cold,
            gate=watch.gate,
        )
        worker = ProfiledWorker(session, options, out, on_event, watch, simulated=base.load(case.backend).simulated)
        try:
            reply = worker.run(interpreter, job)
            if isinstance(reply, Failure):
                return locate_failure(reply, interpreter, case)
            profile, held = held_calls.split(worker.read(case))
            profile = name_kernels(profile, provenance.read(out))
            profile = msgspec.structs.replace(
                profile,
                case=case.id,
                label=case.label,
                tool=options.tool,
                tool_version=profile.tool_version or reply.tool_version,
                unprofiled_ns=reply.unprofiled_ns,
                gpu_ns=reply.gpu_ns or profile.gpu_ns,
                recorded_gpu_ns=reply.recorded_gpu_ns or profile.recorded_gpu_ns,
                notes=(*profile.notes, *reply.notes),
            )
            if not profile.recorded_gpu_ns:  # a hold has broken
                held = ()
            condensed = CondensedProfile(profile=profile) if profile.figures else _condensed(profile, held)
        except CaseError as error:
            return _unreadable(type(error).__name__, error.what, error.fix, out)
        except ValueError as error:
            return _unreadable("CaseError", str(error), "profile the case again", out)
        finally:
            missing_reports += worker.keep_raw(case)
    return condensed


def _unreadable(kind: str, what: str, fix: str, folder: Path) -> Failure:
    """The failure of a tool's report; a tool need not say that its disk was full, and leaves what it had written."""
    if shutil.disk_usage(folder).free < _ROOM_BYTES:
        what, fix = f"{what}; {folder.parent} has no room left", _MORE_ROOM
    return Failure(kind=kind, stage="read", message=what, hint=fix)


def _condensed(profile: Profile, held: tuple[HeldCall, ...]) -> CondensedProfile:
    named = attribution.attribute(profile)
    share = attribution.share(named) if named.kernels else None
    return msgspec.structs.replace(condense(named), attribution=share, held=held)


def _stages(case: Case) -> Sequence[Stage]:
    return base.load(case.backend).stages(case)
