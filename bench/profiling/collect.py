"""Profiles of a plan's cases: a worker each, under a tool or with one in it; stored whenever a case has ended."""

from __future__ import annotations

import contextlib
import datetime
import re
import shutil
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path

import msgspec

import bench
from bench.analysis import attribution, held_calls
from bench.analysis.provenance import name_kernels
from bench.backends import base
from bench.errors import CaseError, StoreError, UsageError
from bench.measure import provenance
from bench.measure.profiled import PHASE
from bench.measure.profilers import SIMULATED
from bench.model.data import Data, digest
from bench.model.events import Note, Started
from bench.model.profile import CaseProfile, CondensedProfile, HeldCall, Profile, ProfileRun, Tool
from bench.model.run import Failure
from bench.model.seam import Stage
from bench.model.suite import Case
from bench.profiling import layers, plain, tools
from bench.profiling.condense import condense
from bench.profiling.document import Document
from bench.runner import jobs
from bench.runner.dispatch import Dispatcher, OnEvent
from bench.runner.request import Request
from bench.runner.run import new_session
from bench.runner.session import Session
from bench.runner.stages import Ready
from bench.runner.toolchains import Interpreter, locate_failure
from bench.runner.watch import Watch, open_watch
from bench.store import artifacts, profiles
from bench.store.files import check_writable, is_full
from bench.system import process, scratch
from bench.system.signals import stoppable

ITERATIONS = 10
# A file system with less than this is taken for full.
_ROOM_BYTES = 1 << 16
_MORE_ROOM = "free some disk space, or TMPDIR=DIR with more of it"
# A file of so many cases is large, and making it takes long.
MANY = 50


class ProfileOptions(Data, frozen=True, kw_only=True):
    """What is asked of a tool: ``iterations`` of each case, ranges for ``modules``, the ``kernel`` that ncu looks at,
    and where its own reports are kept (``raw``, empty: nowhere). ``path`` is the file to write, empty for one in the
    store.
    """

    tool: Tool
    iterations: int = ITERATIONS
    modules: bool = False
    kernel: str = ""
    raw: str = ""
    path: str = ""


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
        _check(request, options, here.kind)
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


def _check(request: Request, options: ProfileOptions, kind: str) -> None:
    """Everything that can be refused before the first worker starts on a device of ``kind``."""
    if options.iterations < 1:
        raise UsageError(f"{options.iterations} iterations", where="iterations", fix="--iterations 10")
    if options.kernel and options.tool != "ncu":
        raise UsageError(f"--kernel is for --tool ncu, not {options.tool}", fix="leave --kernel out, or --tool ncu")
    if options.tool == "ncu" and not options.kernel:
        fix = "--kernel NAME; --tool nsys or --tool torch show the names"
        raise UsageError("ncu replays a kernel many times, so it looks at one by its name", fix=fix)
    if options.tool == "layers":
        layers.check_any(request.plan.cases)
    elif kind == "cpu" and options.tool in tools.AROUND:
        what = f"{options.tool} looks at what runs on a GPU, and this is on the CPU"
        raise UsageError(what, where=f"--tool {options.tool}", fix="--tool torch")
    elif kind != "fake" and (missing := tools.recording(options.tool, options.kernel).missing()):
        raise UsageError(missing.reason, where=f"--tool {options.tool}", fix=missing.fix)
    if options.path and Path(options.path).is_dir():
        raise UsageError(
            "this is a folder", where=options.path, fix="--out FILE, or --store DIR for a folder of results"
        )
    if options.path:
        check_writable(Path(options.path).absolute().parent, "another --out FILE")
    else:
        check_writable(Path(request.settings.store))
    artifacts.check_writable(Path(request.settings.cache))
    if options.raw:  # the last, as it makes the folder
        _check_raw(Path(options.raw))


def _check_raw(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot be created: {error.strerror}", where=str(folder), fix="another --raw DIR") from error
    check_writable(folder, "another --raw DIR")


def _profiles(
    session: Session, cases: Sequence[Case], options: ProfileOptions, on_event: OnEvent, missing_reports: list[str]
) -> Generator[CaseProfile]:
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
            yield CaseProfile(case=case.id, label=case.label, failure=plain.failure(end, session.suite_dir))
        else:
            yield CaseProfile(case=case.id, label=case.label, condensed=plain.condensed(end, session.suite_dir))


def _no_room(error: OSError | StoreError) -> Failure:
    if isinstance(error, StoreError):
        message = f"{error.where}: {error.what}" if error.where else error.what
        return Failure(kind="StoreError", stage="start", message=message, hint=error.fix)
    what = f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)
    return Failure(kind="OSError", stage="start", message=what, hint=_MORE_ROOM)


def _tell(case: CaseProfile, on_event: OnEvent) -> None:
    if failure := case.failure:
        message = failure.message.removeprefix(f"{failure.kind}: ")
        on_event(Note(text=f"{case.label}: {failure.kind} in {failure.stage}: {message}"))


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
        worker = _Worker(session, options, out, on_event, watch, simulated=base.load(case.backend).simulated)
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


class _Worker:
    """The worker of one case, an ordinary new process with the tool's words before its command; ``watch`` opens its
    gate.
    """

    def __init__(
        self, session: Session, options: ProfileOptions, out: Path, on_event: OnEvent, watch: Watch, *, simulated: bool
    ) -> None:
        self._session = session
        self._options = options
        self._out = out
        self._on_event = on_event
        self._watch = watch
        self._tool = None if simulated else tools.recording(options.tool, options.kernel)
        self._child: process.Child | None = None

    def run(self, interpreter: Interpreter, job: jobs.Profile) -> jobs.Profiled | Failure:
        """Its reply; a failure says whether the case ran without the tool."""
        reply = self._dispatch(self._tool.prefix(self._out) if self._tool else (), interpreter, job)
        if isinstance(reply, Failure):
            return self._with_comparison(reply, interpreter, job)
        assert isinstance(reply, jobs.Profiled)
        return reply

    def read(self, case: Case) -> Profile:
        """What it recorded."""
        if self._tool is None:
            return msgspec.json.decode((self._out / SIMULATED).read_bytes(), type=Profile)
        log = self._child.log if self._child else ""
        return self._tool.read(self._out, case.id, case.label, log)

    def keep_raw(self, case: Case) -> Iterator[str]:
        """Copy the tool's own reports to the folder for them; a sentence for each that cannot be written there."""
        if not self._options.raw:
            return
        paths = self._tool.raw(self._out) if self._tool else [self._out / SIMULATED]
        for path in filter(Path.exists, paths):
            target = Path(self._options.raw) / f"{_slug(case)}.{path.name}"
            try:
                shutil.copyfile(path, target)
            except OSError as error:
                with contextlib.suppress(OSError):
                    target.unlink()
                text = f"{target}: the report of {case.label} cannot be written: {error.strerror or error}"
                self._on_event(Note(text=text))
                yield text

    def _dispatch(self, prefix: Sequence[str], interpreter: Interpreter, job: jobs.Profile) -> jobs.ReplyType | Failure:
        def start(interpreter: Interpreter, job: jobs.Job, keep: Sequence[int], env: dict[str, str]) -> process.Child:
            self._child = process.Child([*prefix, *interpreter.command], env, keep=keep)
            return self._child

        session = self._session
        limit_ns, state = session.header.policy.timeout_ns, session.stations[0].card.state
        dispatcher = Dispatcher(limit_ns, session.settings.cold, self._on_event, state, start)
        return dispatcher.run(interpreter, job, job.case.label, self._watch)

    def _with_comparison(self, failure: Failure, interpreter: Interpreter, job: jobs.Profile) -> Failure:
        """A failure, with what the tool says and whether the case runs without it.

        In the phase in which a tool records it has run already; else, of one that the worker runs under, it is tried.
        """
        tool = self._options.tool
        around = self._tool is not None and tool in tools.AROUND and failure.kind != "Unavailable"
        if failure.stage.partition(":")[0] == PHASE:
            how = f"with {tool} recording; without it the case had run"
        elif around and isinstance(self._dispatch((), interpreter, job), jobs.Profiled):
            how = f"under {tool}; without it the case runs"
        else:
            return failure
        failure = msgspec.structs.replace(failure, message=f"{failure.message} ({how})")
        return self._with_reason(failure, job.case) if around and not failure.hint else failure

    def _with_reason(self, failure: Failure, case: Case) -> Failure:
        """A failure with what the tool wrote to the log, or why it left no report."""
        assert self._tool is not None
        try:
            self._tool.read(self._out, case.id, case.label, failure.log)
        except CaseError as error:
            message = f"{failure.message}: {error.what}"
            return msgspec.structs.replace(failure, message=message, hint=error.fix)
        return failure


def _slug(case: Case) -> str:
    return re.sub(r"[^A-Za-z0-9_.=+-]+", "-", case.label)[:100].strip("-") + f"-{case.id[:8]}"
