"""The artifacts of a case: read from the cache, or produced by a worker once for all cases that share them."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from bench.errors import CaseError
from bench.model.data import Data, digest
from bench.model.events import Event, Note, Step
from bench.model.run import Failure, Phase
from bench.model.seam import Stage
from bench.model.suite import Case
from bench.runner import jobs, sources
from bench.runner.toolchains import Interpreter, locate_failure
from bench.store import artifacts
from bench.system import process, scratch

# Raise it when what producers write, or how the readers of an artifact take it, changes.
METHOD = 4
# Variables that compilers read, beside the flags of an environment.
_COMPILERS = ("CC", "CXX")
_INDUCTOR = "TORCHINDUCTOR_"
_FOLDERS = "_CACHE_DIR"


class RunJob(Protocol):
    """Runs a job in a worker: a new one, or one that was started before its turn."""

    def __call__(
        self, interpreter: Interpreter, job: jobs.JobType, label: str, *, worker: process.Child | None = None
    ) -> jobs.ReplyType | Failure:
        """The worker's reply, or why there is none; ``worker`` is closed."""
        ...


class Ready(Data, frozen=True, kw_only=True):
    """The folders of a case's artifacts by stage, and the time to produce them (without the reference)."""

    folders: dict[str, str]
    phases: tuple[Phase, ...] = ()


class Maker:
    """Makes artifacts for one run; remembers what failed, so that cases which share a stage fail at once.

    ``rebuild`` makes what is built (engines, packages) once more, from the caches that earlier builds left.
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

    def ready(
        self,
        case: Case,
        stages: Sequence[Stage],
        interpreters: dict[str, Interpreter],
        on_event: Callable[[Event], None],
        build: int = 0,
        builder: Callable[[], process.Child | None] = lambda: None,
    ) -> Ready | Failure:
        """All artifacts of ``case``, or why one cannot be made; ``build`` is which independent build of its model.

        ``builder`` returns the worker that was started for what the case's own backend makes, if there is one.
        """
        folders: dict[str, str] = {}
        keys: dict[str, str] = {}
        phases: list[Phase] = []
        for stage in stages:
            interpreter = interpreters[stage.toolchain]
            number = build if stage.per_build else 0
            try:
                key = self._key(case, stage, interpreter, keys, number)
            except OSError as error:
                return _unreadable(stage, error)
            root = self._root_of(stage)
            self._drop_once(root, stage, key)
            artifact, message = artifacts.find(root, stage.kind, key)
            if message:
                on_event(Note(text=message))
            cold = artifact is None
            if artifact is None:
                worker = builder() if _made_by_backend(stage, case) else None
                result = self._make(root, case, stage, key, folders, interpreter, on_event, number, worker)
                if isinstance(result, Failure):
                    return result
                artifact = result
            keys[stage.name] = digest([key, artifact.meta.files])  # two builds of one key need not be the same
            folders[stage.name] = str(artifact.path)
            if stage.name != "reference":
                ns = sum(phase.ns for phase in artifact.meta.phases)
                phases.append(Phase(name=stage.name, ns=ns, cold=cold))
        return Ready(folders=folders, phases=tuple(phases))

    def missing_artifact(
        self,
        case: Case,
        stages: Sequence[Stage],
        interpreters: Mapping[str, Interpreter],
        on_event: Callable[[Event], None],
        build: int = 0,
    ) -> str:
        """The name of the first artifact that the case's own backend has to make, as far as that is known yet; empty
        if there is none. Cases that share an artifact get the same name.
        """
        keys: dict[str, str] = {}
        for stage in stages:
            number = build if stage.per_build else 0
            try:
                key = self._key(case, stage, interpreters[stage.toolchain], keys, number)
            except (OSError, KeyError):
                # A file is not there, which is reported in its turn; or what the stage needs is not made yet.
                return digest([stage.toolchain, stage.key, number]) if _made_by_backend(stage, case) else ""
            name = digest(key)
            artifact, message = artifacts.find(self._root_of(stage), stage.kind, key)
            if message:
                on_event(Note(text=message))
            again = self._rebuild and stage.per_build and name not in self._rebuilt
            if _made_by_backend(stage, case) and (artifact is None or again):
                return "" if name in self._failures else name
            if artifact is not None:
                keys[stage.name] = digest([key, artifact.meta.files])
        return ""

    def _root_of(self, stage: Stage) -> Path:
        return self._cold_root if self._cold_root and stage.name != "reference" else self._root

    def _drop_once(self, root: Path, stage: Stage, key: dict[str, Any]) -> None:
        """Remove a build of an earlier run from the cache, where builds are to be made once more."""
        name = digest(key)
        if self._rebuild and stage.per_build and name not in self._rebuilt:
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
        worker: process.Child | None,
    ) -> artifacts.Artifact | Failure:
        name = digest(key)
        if name in self._failures:
            return self._failures[name]
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
            )
            reply = self._run_job(interpreter, job, case.label, worker=worker)
            if isinstance(reply, Failure):
                self._failures[name] = locate_failure(reply, interpreter, case)
                return self._failures[name]
            assert isinstance(reply, jobs.Produced)
            created = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
            try:
                return artifacts.keep(root, out, stage.kind, key, reply.phases, created)
            except CaseError as error:
                self._failures[name] = Failure(kind="CaseError", stage=stage.name, message=error.what)
                return self._failures[name]

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
            "seed": self._seed,
            "device": environment.kind,
            "python": environment.python,
            "libraries": {name: environment.libraries.get(name, "") for name in stage.libraries},
            "source": sources.of_model(case, self._suite_dir, modules),
            "needs": {name: digests[name] for name in stage.needs},
        }
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


def _made_by_backend(stage: Stage, case: Case) -> bool:
    """Whether the backend of ``case`` makes ``stage`` itself, in the toolchain that it is measured in."""
    return stage.producer == case.backend and stage.toolchain == case.toolchain and stage.name != "reference"


def _unreadable(stage: Stage, error: OSError) -> Failure:
    message = f"{error.filename} cannot be read: {error.strerror}"
    return Failure(kind="CaseError", stage=stage.name, message=message, hint="correct the path, relative to the suite")


def _compilers(env: Mapping[str, str]) -> dict[str, str]:
    """The variables that change what a compiler makes; the folders of its caches are not among them."""
    return {
        name: value
        for name, value in env.items()
        if name in _COMPILERS or (name.startswith(_INDUCTOR) and not name.endswith(_FOLDERS))
    }
