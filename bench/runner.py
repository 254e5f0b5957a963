"""The parent of a run: one worker process per case and replicate, round robin; every record stored as it finishes."""

from __future__ import annotations

import contextlib
import datetime
import os
import signal
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Any

import msgspec

import bench
from bench import artifacts, environment, jobs, light, locks, process, stages, store, toolchains
from bench.backends import base
from bench.errors import SuiteError, UsageError
from bench.model import (
    DEFAULT_THRESHOLDS,
    Case,
    Data,
    Environment,
    Event,
    Failure,
    Footer,
    Header,
    Plan,
    Policy,
    Record,
    Started,
    Step,
    Stored,
    Suite,
    Threshold,
    Waiting,
    Work,
    digest,
)
from bench.suite import locate

Tell = Callable[[Event], None]
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Settings(Data, frozen=True, kw_only=True):
    """How to run, beside what to run: where results and artifacts go, and whether caches count."""

    store: str
    cache: str
    cold: bool = False
    seed: int = 0


class Finished(Data, frozen=True, kw_only=True):
    """How a run ended: its file, and whether it was interrupted."""

    path: str
    interrupted: bool = False


def device_of(name: environment.Device, plan: Plan) -> Environment:
    """The environment that ``plan`` runs in on ``name`` (auto, cpu or cuda); simulated backends need no device."""
    simulated = {base.load(case.backend).simulated for case in plan.cases}
    if simulated == {True}:
        return environment.describe("fake")
    if True in simulated:
        raise UsageError(
            "simulated and real backends cannot share a run", fix="--backend fake, or take `fake` out of the suite"
        )
    return environment.describe(name)


def run(
    suite: Suite, plan: Plan, policy: Policy, device: environment.Device, settings: Settings, tell: Tell
) -> Finished:
    """Measure ``plan`` and store it. InputError before anything is written if the suite or the store is wrong."""
    root = Path(settings.store)
    store.check_writable(root)
    here = device_of(device, plan)
    created = datetime.datetime.now(datetime.UTC)
    text = Path(suite.path).read_text()
    asked = digest([text, [case.id for case in plan.cases], created.isoformat()])
    header = Header(
        run=store.run_id(created, suite.name, asked),
        created=created.isoformat(timespec="seconds"),
        version=bench.__version__,
        environments={"default": here},
        suite=text,
        suite_path=suite.path,
        cases=plan.cases,
        left_out=plan.left_out,
        policy=policy,
        baseline=suite.baseline,
        thresholds={**DEFAULT_THRESHOLDS, **suite.accuracy},
        toolchains=suite.toolchains,
    )
    factories = {name: locate(suite, f"models.{name}.factory") for name in suite.models}
    with _Session(header, settings, tell, factories) as session:
        header = session.prepare()
        return session.measure(store.create(root, header), ())


def resume(path: Path, settings: Settings, tell: Tell) -> Finished:
    """Run what is missing of the run at ``path``. UsageError if this is another environment than it was made in."""
    header = store.read(path).header
    here = device_of(header.environments["default"].kind, Plan(cases=header.cases))
    before = header.environments["default"]
    if here.fingerprint != before.fingerprint:
        differ = [name for name in here.__struct_fields__ if getattr(here, name) != getattr(before, name)]
        differ = [name for name in differ if name not in ("host", "observed")]
        raise UsageError(
            f"the run was made in another environment ({', '.join(differ)} differ)",
            where=str(path),
            fix="start a new run: trtbench run " + header.suite_path,
        )
    with _Session(header, settings, tell) as session:
        session.prepare()
        writer, so_far = store.reopen(path)
        return session.measure(writer, so_far.records)


class _Session:
    """One run in progress: the device's lock, interpreters, artifacts, and the loop over cases."""

    def __init__(
        self, header: Header, settings: Settings, tell: Tell, factories: Mapping[str, str] | None = None
    ) -> None:
        self.factories = factories or {}
        self.header = header
        self.settings = settings
        self.tell = tell
        self.kind = header.environments["default"].kind
        self.device = "cuda:0" if self.kind == "cuda" else "cpu"
        self.suite_dir = Path(header.suite_path).parent.resolve()
        self.interpreters: dict[str, toolchains.Interpreter] = {}
        self.work: dict[str, Work] = {}
        self._stack = contextlib.ExitStack()

    def __enter__(self) -> _Session:
        temporary = tempfile.TemporaryDirectory(prefix="trtbench-")
        scratch = Path(self._stack.enter_context(temporary))
        self.link = toolchains.package_link(scratch)
        cold = scratch / "cold" if self.settings.cold else None
        root = Path(self.settings.cache)
        self.maker = stages.Maker(root, cold, self.suite_dir, self.device, self.settings.seed, self.ask)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def prepare(self) -> Header:
        """Everything that can prove the user wrong before a file is written; the header with what was found out."""
        interpreters = {"default": self._default()}
        for name in sorted({case.toolchain for case in self.header.cases} - {"default"}):
            if name not in self.header.toolchains:
                raise SuiteError(
                    f"unknown toolchain {name!r}", where=self.header.suite_path, fix="add it to `toolchains`"
                )
            interpreters[name] = toolchains.probe(name, self.header.toolchains[name], self.device, self.link)
        self.interpreters = interpreters
        ceilings: dict[str, float] = {}
        if self.kind != "fake":
            path = locks.lock_path(self.device)
            on_wait: Callable[[str], None] = lambda holder: self.tell(Waiting(device=self.device, holder=holder))  # noqa: E731
            self._stack.enter_context(locks.hold(path, f"{self.header.run} (process {os.getpid()})", on_wait))
            if "torch" in interpreters["default"].environment.libraries:
                self._inspect()
                ceilings = self._ceilings()
        found = {name: interpreter.environment for name, interpreter in interpreters.items()}
        self.header = msgspec.structs.replace(self.header, environments=found, ceilings=ceilings)
        return self.header

    def measure(self, writer: store.Writer, before: Sequence[Record]) -> Finished:
        """The round robin over replicates and cases; a case that failed once is not tried again."""
        done = {(record.case, record.replicate) for record in before}
        failed = {record.case for record in before if record.failure}
        total = len(self.header.cases) * self.header.policy.replicates
        interrupted = False
        with _stoppable() as ignore_signals:
            try:
                for replicate in range(self.header.policy.replicates):
                    for index, case in enumerate(self.header.cases):
                        if (case.id, replicate) in done or case.id in failed:
                            continue
                        position = replicate * len(self.header.cases) + index
                        self.tell(Started(label=case.label, done=position, total=total, replicate=replicate))
                        record = self._record(case, replicate)
                        writer.append(record)
                        if record.failure:
                            failed.add(case.id)
                        self.tell(Stored(record=record, done=position + 1, total=total))
            except KeyboardInterrupt:
                interrupted = True
            ignore_signals()
            now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
            status = "interrupted" if interrupted else "complete"
            writer.finish(Footer(finished=now, status=status, records=writer.records))  # type: ignore[arg-type]
        return Finished(path=str(writer.path), interrupted=interrupted)

    def ask(self, interpreter: toolchains.Interpreter, job: jobs.JobType, label: str) -> jobs.ReplyType | Failure:
        """Have a worker do ``job``: its last reply, or the failure that its end amounts to."""
        last: list[jobs.ReplyType] = []
        stage = "start"

        def on_line(line: bytes) -> None:
            nonlocal stage
            reply = jobs.decode_reply(line)
            if isinstance(reply, jobs.Doing):
                stage = reply.phase
                self.tell(Step(label=label, phase=reply.phase, timed=reply.timed))
            else:
                last.append(reply)

        env = dict(interpreter.env)
        if self.settings.cold and isinstance(job, jobs.Measure | jobs.Produce):
            env |= {"TORCHINDUCTOR_CACHE_DIR": f"{job.scratch}/inductor", "TRITON_CACHE_DIR": f"{job.scratch}/triton"}
        limit = self.header.policy.timeout_ns
        outcome = process.run_child(interpreter.command, jobs.encode(job), env, limit, on_line)
        if not last:
            return crash(outcome, stage, limit)
        reply = last[-1]
        if isinstance(reply, jobs.Failed):
            log = (outcome.log + reply.trace)[-process.LOG_TAIL :]
            return Failure(
                kind=reply.kind, stage=reply.stage, message=reply.message, hint=reply.hint, log=log, where=reply.where
            )
        if isinstance(reply, jobs.Measured) and reply.record.failure:
            failure = reply.record.failure
            log = (outcome.log + failure.log)[-process.LOG_TAIL :]
            record = msgspec.structs.replace(reply.record, failure=msgspec.structs.replace(failure, log=log))
            return jobs.Measured(record=record)
        return reply

    def _default(self) -> toolchains.Interpreter:
        return toolchains.Interpreter(
            name="default",
            command=toolchains.worker_command(""),
            env=toolchains.worker_env(self.link, {}),
            environment=self.header.environments["default"],
            backends={name: base.load(name).missing() for name in {case.backend for case in self.header.cases}},
        )

    def _record(self, case: Case, replicate: int) -> Record:
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        blank = Record(case=case.id, label=case.label, replicate=replicate, started=now, toolchain=case.toolchain)
        interpreter = self.interpreters[case.toolchain]
        missing = interpreter.backends.get(case.backend)
        if missing is not None:
            failure = Failure(kind="Unavailable", stage="start", message=missing.reason, hint=missing.fix)
            return msgspec.structs.replace(blank, failure=failure)
        ready = self.maker.ready(case, base.load(case.backend).stages(case), self.interpreters, self.tell)
        if isinstance(ready, Failure):
            return msgspec.structs.replace(blank, failure=ready)
        with tempfile.TemporaryDirectory(prefix="trtbench-", ignore_cleanup_errors=True) as scratch:
            job = jobs.Measure(
                case=case,
                policy=self.header.policy,
                threshold=self.header.thresholds.get(case.precision, Threshold()),
                artifacts=ready.folders,
                scratch=scratch,
                replicate=replicate,
                device=self.device,
                suite_dir=str(self.suite_dir),
                seed=self.settings.seed,
                cold=self.settings.cold,
            )
            reply = self.ask(interpreter, job, case.label)
        if isinstance(reply, Failure):
            return msgspec.structs.replace(blank, failure=reply)
        assert isinstance(reply, jobs.Measured)
        record = msgspec.structs.replace(reply.record, phases=ready.phases + reply.record.phases)
        if case.id in self.work:
            lit = light.achieved(self.work[case.id], case.precision, self.header.ceilings, record.measurements)
            record = msgspec.structs.replace(record, work=lit)
        return record

    def _inspect(self) -> None:
        """Build every model without memory: a wrong factory ends the run here, with nothing written."""
        keys = {case.id: self._work_key(case) for case in self.header.cases}
        by_key = {digest(keys[case.id]): case for case in reversed(self.header.cases)}
        root = Path(self.settings.cache)
        counted: dict[str, Work] = {}
        for name, case in by_key.items():
            found, _ = artifacts.find(root, "work", keys[case.id])
            if found is not None:
                counted[name] = msgspec.json.decode((found.path / "work.json").read_bytes(), type=Work)
        left = tuple(
            msgspec.structs.replace(case, source=self.factories.get(case.model, case.source))
            for name, case in by_key.items()
            if name not in counted
        )
        if left:
            job = jobs.Inspect(cases=left, device=self.device, suite_dir=str(self.suite_dir), seed=self.settings.seed)
            reply = self._must(job, "models")
            assert isinstance(reply, jobs.Inspected)
            for case_id, work in reply.work.items():
                counted[digest(keys[case_id])] = work
                self._keep("work", keys[case_id], "work.json", msgspec.json.encode(work))
        self.work = {case_id: counted[digest(key)] for case_id, key in keys.items() if digest(key) in counted}

    def _work_key(self, case: Case) -> dict[str, Any]:
        found = self.interpreters["default"].environment.libraries
        return {
            "model": [case.factory, case.args, case.config, msgspec.to_builtins(case.inputs)],
            "precision": case.precision,
            "source": stages.source_digest(case, self.suite_dir),
            "libraries": {name: found.get(name, "") for name in ("torch", "torchvision", "timm", "transformers")},
        }

    def _ceilings(self) -> dict[str, float]:
        """The rates of this machine, measured once and kept."""
        root, key = Path(self.settings.cache), {"environment": self.interpreters["default"].environment.fingerprint}
        found, _ = artifacts.find(root, "ceilings", key)
        if found is not None:
            return msgspec.json.decode((found.path / "rates.json").read_bytes(), type=dict[str, float])
        reply = self._must(jobs.Ceilings(device=self.device), "this machine's ceilings")
        assert isinstance(reply, jobs.Rates)
        self._keep("ceilings", key, "rates.json", msgspec.json.encode(reply.ceilings))
        return reply.ceilings

    def _keep(self, kind: str, key: dict[str, Any], name: str, payload: bytes) -> None:
        root = Path(self.settings.cache)
        with artifacts.scratch(root, kind) as made:
            (made / name).write_bytes(payload)
            artifacts.keep(root, made, kind, key, (), datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"))

    def _must(self, job: jobs.JobType, label: str) -> jobs.ReplyType:
        """Like ``ask``, but a failure ends the run before anything is written."""
        reply = self.ask(self.interpreters["default"], job, label)
        if isinstance(reply, Failure):
            raise SuiteError(reply.message, where=reply.where or self.header.suite_path, fix=reply.hint)
        return reply


def crash(outcome: process.Outcome, stage: str, limit_ns: int) -> Failure:
    """The failure of a worker that ended without an answer."""
    if outcome.timed_out:
        return Failure(
            kind="Timeout",
            stage=stage,
            message=f"no result within {limit_ns / 1e9:g} s",
            hint="raise `measure: {timeout: ...}` in the suite, or see the log for what it waits on",
            log=outcome.log,
        )
    if outcome.code < 0:
        name = signal.Signals(-outcome.code).name
        hint = "the kernel's out-of-memory killer, most likely: a smaller batch" if name == "SIGKILL" else ""
        hint = hint or "a native library crashed; run the case alone with --select and read the log"
        return Failure(kind="Crash", stage=stage, message=f"the worker was ended by {name}", hint=hint, log=outcome.log)
    message = f"the worker ended with exit code {outcome.code} and no answer"
    return Failure(kind="Crash", stage=stage, message=message, hint="read the log of the case", log=outcome.log)


@contextlib.contextmanager
def _stoppable() -> Iterator[Callable[[], None]]:
    """SIGTERM and SIGHUP interrupt like Ctrl-C; the function given makes the rest of the block deaf to all three."""

    def interrupt(_signal: int, _frame: FrameType | None) -> None:
        ignore()  # a second Ctrl-C must not interrupt the clean-up of the first
        raise KeyboardInterrupt

    def ignore() -> None:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)

    before = {number: signal.getsignal(number) for number in SIGNALS}
    for number in SIGNALS:
        signal.signal(number, interrupt)
    try:
        yield ignore
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
