"""The artifacts of a case: read from the cache, or produced by a worker once for all cases that share them."""

from __future__ import annotations

import contextlib
import datetime
import os
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from bench.errors import CaseError, SuiteError
from bench.model.data import Data, digest
from bench.model.events import Event, Note, Step
from bench.model.run import Failure, Phase, Warning
from bench.model.seam import REFERENCES, Stage
from bench.model.suite import Case, Threshold
from bench.runner import jobs, sources
from bench.runner.attempts import Attempts
from bench.runner.hung_factories import HungFactories
from bench.runner.side_by_side import Slots
from bench.runner.toolchains import Interpreter, locate_failure
from bench.store import artifacts
from bench.system import scratch

# Raise it when what producers write, or how the readers of an artifact take it, changes.
METHOD = 4
# Variables that compilers read, beside the flags of an environment.
_COMPILERS = ("CC", "CXX")
_INDUCTOR = "TORCHINDUCTOR_"
_FOLDERS = "_CACHE_DIR"


# What a lack of memory, or of time, beside others may have caused: it is tried again alone, but for a factory that does
# not return.
_MAYBE_OTHERS = ("OutOfMemory", "Crash", "Timeout")


class RunJob(Protocol):
    """Runs a job in a new worker."""

    def __call__(self, interpreter: Interpreter, job: jobs.JobType, label: str) -> jobs.ReplyType | Failure:
        """The worker's reply, or why there is none."""
        ...


class Postponed(Data, frozen=True, kw_only=True):
    """An artifact, of the stage of this name, that has to be made alone: ``failure`` is how making it beside others
    ended, if that was tried.
    """

    stage: str
    failure: Failure | None = None


class Ready(Data, frozen=True, kw_only=True):
    """The folders of a case's artifacts by stage, and the time to produce them (without the references). ``warnings``
    are of those that could not be made and that the case does without.
    """

    folders: dict[str, str]
    phases: tuple[Phase, ...] = ()
    warnings: tuple[Warning, ...] = ()


class _Artifact(Data, frozen=True, kw_only=True):
    """An artifact, and whether it was made just now."""

    artifact: artifacts.Artifact
    new: bool


class Maker:
    """Makes artifacts for one run; remembers what failed, so that cases which share a stage fail at once.

    ``rebuild`` makes what is built (engines, packages, the C++ program) once more, from the caches that earlier builds
    left. Several threads may make artifacts at once: each is made by one of them, the others wait for it.
    """

    def __init__(
        self,
        root: Path,
        cold_root: Path | None,
        suite_dir: Path,
        device: str,
        seed: int,
        run_job: RunJob,
        *,
        rebuild: bool = False,
        hung: HungFactories | None = None,
    ) -> None:
        self._root = root
        self._rebuild = rebuild
        self._rebuilt: set[str] = set()
        self._cold_root = cold_root
        self._suite_dir = suite_dir
        self._device = device
        self._seed = seed
        self._run_job = run_job
        self._failures: dict[str, Failure] = {}
        self._attempts = Attempts()
        self._hung = HungFactories() if hung is None else hung
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        self._lock = threading.Lock()

    def ready(
        self,
        case: Case,
        stages: Sequence[Stage],
        interpreters: Mapping[str, Interpreter],
        on_event: Callable[[Event], None],
        build: int = 0,
        beside: Slots | None = None,
        limits: Threshold = Threshold(),
    ) -> Ready | Failure | Postponed:
        """All artifacts of ``case``, or why one cannot be made; ``build`` is which independent build of its model. What
        only a limit would need that is not in ``limits`` may be absent.

        ``beside`` are the slots of workers that make artifacts side by side: what times kernels is then postponed, and
        so is what failed as it may have for want of memory or time. Without them nothing is. A factory that does not
        return within the time is not called again, whatever is to be made of its model.
        """
        folders: dict[str, str] = {}
        keys: dict[str, str] = {}
        phases: list[Phase] = []
        warnings: list[Warning] = []
        for stage in stages:
            interpreter = interpreters[stage.toolchain]
            number = build if stage.per_build else 0
            try:
                key = self._key(case, stage, interpreter, keys, number)
            except OSError as error:
                return _unreadable(stage, case, error)
            result = self._artifact(case, stage, key, folders, interpreter, on_event, number, beside)
            if isinstance(result, Failure) and _does_without(stage, result, limits):
                warnings.append(_absence(stage, result))
                continue
            if not isinstance(result, _Artifact):
                return result
            meta = result.artifact.meta
            keys[stage.name] = digest([key, meta.files])  # two builds of one key need not be the same
            folders[stage.name] = str(result.artifact.path)
            if stage.name not in REFERENCES:
                ns = sum(phase.ns for phase in meta.phases)
                phases.append(Phase(name=stage.name, ns=ns, cold=result.new, beside=meta.beside))
        return Ready(folders=folders, phases=tuple(phases), warnings=tuple(warnings))

    def _artifact(
        self,
        case: Case,
        stage: Stage,
        key: dict[str, Any],
        folders: dict[str, str],
        interpreter: Interpreter,
        on_event: Callable[[Event], None],
        build: int,
        beside: Slots | None,
    ) -> _Artifact | Failure | Postponed:
        """The artifact from the cache, or made."""
        root, name = self._root_of(stage), digest(key)
        with self._lock:
            lock = self._locks[name]
        with lock:
            self._drop_once(root, stage, name, key)
            artifact, message = artifacts.find(root, stage.kind, key)
            if message:
                on_event(Note(text=message))
            if artifact is not None:
                return _Artifact(artifact=artifact, new=False)
            if name in self._failures:
                return self._failures[name]
            if beside is not None and interpreter.environment.kind in stage.times_kernels_on:
                return Postponed(stage=stage.name)
            with beside.one() if beside is not None else contextlib.nullcontext(True) as room:
                if not room:
                    return Postponed(stage=stage.name)
                if stage.of_model and (hung := self._hung.failure(case, interpreter.name)):
                    return hung  # perhaps it hung while this waited for a slot
                end = self._make(root, case, stage, key, folders, interpreter, on_event, build, beside)
                if judged := self._attempts.judge(name, end if isinstance(end, Failure) else None):
                    end = judged
                hangs = isinstance(end, Failure) and self._hung.add(case, interpreter.name, end)
            if isinstance(end, Failure):
                if not hangs and beside is not None and (beside.halted or end.kind in _MAYBE_OTHERS):
                    return Postponed(stage=stage.name, failure=None if beside.halted else end)
                if end.is_final:  # else another card may make it, or another attempt
                    self._failures[name] = end
                return end
            return _Artifact(artifact=end, new=True)

    def _root_of(self, stage: Stage) -> Path:
        return self._cold_root if self._cold_root and stage.name not in REFERENCES else self._root

    def _drop_once(self, root: Path, stage: Stage, name: str, key: dict[str, Any]) -> None:
        """Remove a build of an earlier run from the cache, where builds are to be made once more."""
        is_built = stage.per_build or not stage.of_model  # that of no model is the program that runs them
        if self._rebuild and is_built and name not in self._rebuilt:
            artifacts.drop(root, stage.kind, key)
            self._rebuilt.add(name)

    def _make(
        self,
        root: Path,
        case: Case,
        stage: Stage,
        key: dict[str, Any],
        folders: dict[str, str],
        interpreter: Interpreter,
        on_event: Callable[[Event], None],
        build: int,
        beside: Slots | None,
    ) -> artifacts.Artifact | Failure:
        on_event(Step(label=case.label, phase=f"{stage.name} ({stage.kind})"))
        with artifacts.scratch(root, stage.kind) as out, scratch.folder() as temporary:
            job = jobs.Produce(
                case=case,
                stage=stage,
                artifacts=folders,
                out=str(out),
                scratch=str(temporary),
                device=self._device,
                suite_dir=str(self._suite_dir),
                seed=self._seed,
                cold=self._cold_root is not None,
                shared=str(self.shared()),
                build=build,
                threads=0 if beside is None else _threads(stage, beside.limit),
            )
            reply = self._run_job(interpreter, job, case.label)
            if isinstance(reply, Failure):
                return locate_failure(reply, interpreter, case)
            assert isinstance(reply, jobs.Produced)
            created = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
            try:
                return artifacts.keep(root, out, stage.kind, key, reply.phases, created, beside=beside is not None)
            except CaseError as error:
                return Failure(kind="CaseError", stage=stage.name, message=error.what)

    def shared(self) -> Path:
        """The folder of backends' own caches: beside the artifacts, or for this run only if it is cold."""
        folder = (self._cold_root or self._root) / "shared"
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _key(
        self, case: Case, stage: Stage, interpreter: Interpreter, digests: dict[str, str], build: int
    ) -> dict[str, Any]:
        """Everything that can change the payload. OSError if one of the stage's files cannot be read."""
        environment = interpreter.environment
        modules = None if interpreter.name == "default" else interpreter.modules
        key: dict[str, Any] = {
            "method": METHOD,
            "asked": stage.key,
            "device": environment.kind,
            "python": environment.python,
            "libraries": {name: environment.libraries.get(name, "") for name in stage.libraries},
            "needs": {name: digests[name] for name in stage.needs},
        }
        if stage.of_model:
            key |= {"seed": self._seed, "source": sources.of_model(case, self._suite_dir, modules)}
        if stage.files:
            paths = {name: self._suite_dir / name for name in stage.files}
            key["files"] = {name: sources.sha256(path) for name, path in paths.items()}
        if build:
            key["build"] = build
        if stage.per_device:
            key["arch"], key["on"] = environment.arch, environment.slug
            key["limits"] = {name: environment.limits.get(name, "") for name in ("isa", "cores")}
            key["env"] = interpreter.variables | environment.flags | _compilers(interpreter.env)
        return key


def _does_without(stage: Stage, failure: Failure, limits: Threshold) -> bool:
    """Whether a case can be measured without this ``stage``. A lost device is no failure of the stage."""
    return bool(stage.limit) and getattr(limits, stage.limit) is None and failure.kind != "DeviceLost"


def _absence(stage: Stage, failure: Failure) -> Warning:
    """The warning of a case that does without ``stage``, from the first line of why it could not be made."""
    message = failure.message.removeprefix(f"{failure.kind}: ").partition("\n")[0]
    figures = {"failure": failure.kind, "in": failure.stage, "message": message, "hint": failure.hint}
    return Warning(kind=stage.absence, figures=figures)


def _unreadable(stage: Stage, case: Case, error: OSError) -> Failure:
    """A file that the suite names, for this ``stage``."""
    message = f"{error.filename} cannot be read: {error.strerror}"
    hint = "correct the path, relative to the suite"
    return Failure(kind=SuiteError.__name__, stage=stage.name, message=message, hint=hint, where=case.source)


def _compilers(env: Mapping[str, str]) -> dict[str, str]:
    """The variables that change what a compiler makes; the folders of its caches are not among them."""
    return {
        name: value
        for name, value in env.items()
        if name in _COMPILERS or (name.startswith(_INDUCTOR) and not name.endswith(_FOLDERS))
    }


def _threads(stage: Stage, count: int) -> int:
    """The threads of a worker that makes ``stage``, one of ``count`` side by side: with all cores for each of them they
    wait for each other in every parallel loop. 0, its own number, for what is built for a device, as Inductor's code
    for a CPU has that number in it.
    """
    return 0 if stage.per_device else max(1, len(os.sched_getaffinity(0)) // count)
