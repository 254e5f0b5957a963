"""One job in one worker process: its last reply, or a failure that describes how the worker ended."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import msgspec

from bench.machine import gpu_faults, gpus
from bench.model.events import Event, Step
from bench.model.run import Failure
from bench.runner import jobs, timeline
from bench.runner.answers import Answer
from bench.runner.hung_factories import HungFactories
from bench.runner.toolchains import Interpreter
from bench.runner.watch import Watch
from bench.system import process, signals
from bench.units import NS_PER_S, format_time

OnEvent = Callable[[Event], None]
UNWATCHED = Watch()
# What the worker wrote is in its record.
_READ = "--verbose shows what it wrote last"
_TRACE = "set PYTHONFAULTHANDLER=1: the log then names the Python line that led there"
_SILENT = "it has written nothing: look for os._exit in the model and what it imports"
# Of the layers of a build: from when on one is kept, how many a hint names, and by how many characters.
_LEAST_NS, _SHOWN_LAYERS, _LONGEST_NAME = NS_PER_S // 10, 3, 80
_FOREIGN_WRITER = "let the model, and what it imports, use no file descriptor that it has not opened itself"


class Start(Protocol):
    """Starts a worker."""

    def __call__(
        self, interpreter: Interpreter, job: jobs.Job, keep: Sequence[int], env: dict[str, str]
    ) -> process.Child:
        """A worker for ``job``, which is still to be sent, with the descriptors ``keep``. OSError if there is none."""
        ...


def new_process(interpreter: Interpreter, job: jobs.Job, keep: Sequence[int], env: dict[str, str]) -> process.Child:
    """A worker that is a new process, whatever its job."""
    return process.Child(interpreter.command, env, keep=keep)


class Dispatcher:
    """Starts workers, reports their steps, and turns every end into a reply or a Failure.

    ``gpu`` reads the state of the GPU after a job on it has failed. Once it is lost, nothing is started on it any more.
    No case is measured whose factory is among the ``hung``, to which one is added that hangs as a case is measured.
    ``start`` starts a worker for a job. With ``wakes`` jobs that are timed can be halted too: this process wakes twice
    a second for that, as it does anyway while it watches a GPU.
    """

    def __init__(
        self,
        limit_ns: int,
        cold: bool,
        on_event: OnEvent,
        gpu: Callable[[], gpus.State] = gpus.state,
        start: Start = new_process,
        *,
        hung: HungFactories | None = None,
        wakes: bool = False,
    ) -> None:
        self._hung = HungFactories() if hung is None else hung
        self._start = start
        self._wakes = wakes
        self._limit_ns = limit_ns
        self._cold = cold
        self._on_event = on_event
        self._gpu = gpu
        self._loss: Failure | None = None
        self._halted = threading.Event()

    @property
    def gpu_lost(self) -> bool:
        """Whether the GPU is lost: nothing is started on it any more."""
        return self._loss is not None

    def halt(self) -> None:
        """End all jobs, which may run in other threads, and let none begin."""
        self._halted.set()

    def run(
        self,
        interpreter: Interpreter,
        job: jobs.JobType,
        label: str,
        watch: Watch = UNWATCHED,
        worker: process.Child | None = None,
    ) -> jobs.ReplyType | Failure:
        """Run ``job`` in a worker, supervised by ``watch``: a new one, or ``worker``, which was started early.

        The events say when it starts, which phases it enters, and when it has ended.
        """
        if over := self.refusal(job):
            if worker is not None:
                worker.close()
            return over
        stage, since, work = "start", time.monotonic_ns(), _work(job)

        def on_step(step: jobs.Doing) -> None:
            nonlocal stage, since
            stage, since = step.phase, time.monotonic_ns()
            watch.step(stage)
            self._on_event(Step(label=label, phase=step.phase, timed=step.timed, worker=number, work=work))

        answer = Answer(job, on_step)
        end: jobs.ReplyType | Failure
        with contextlib.ExitStack() as early, timeline.at_work(self._on_event, label, work) as number:
            if worker is not None:
                early.callback(worker.close)
            try:
                if worker is None:
                    worker = self.start(interpreter, job, watch)
                with contextlib.closing(worker):
                    outcome = worker.finish(
                        answer.encoded,
                        self._limit_ns,
                        answer.hear,
                        tick=watch.tick or self._tick_of(job),
                        stop=lambda: answer.refused() or self._halted.is_set(),
                    )
            except gpus.DeviceLost as error:
                end = Failure(kind="DeviceLost", stage=stage, message=error.what)
            else:
                end = judge(answer, outcome, stage, self._limit_ns)
                if outcome.timed_out and isinstance(end, Failure):
                    figures = {"stage_ns": time.monotonic_ns() - since, "limit_ns": self._limit_ns}
                    end = msgspec.structs.replace(end, details=figures)
                end = with_layers(end, answer.slowest_layers(), job)
        return self.explain(end, job, label)

    @property
    def limit_ns(self) -> int:
        """The time that a job may take."""
        return self._limit_ns

    def refusal(self, job: jobs.Job) -> Failure | None:
        """Why the job is not begun: the run is over, the GPU lost, or its factory hangs; None where it can be."""
        if self._halted.is_set():
            return Failure(kind="Crash", stage="start", message="the run has ended")
        if self._loss is not None and job.device != "cpu":
            return self._loss
        return self._hung.failure_of_measuring(job.case, job.case.toolchain) if isinstance(job, jobs.Measure) else None

    def start(self, interpreter: Interpreter, job: jobs.Job, watch: Watch) -> process.Child:
        """A new worker for ``job``. OSError if there is none."""
        env = dict(interpreter.env)
        if self._cold and isinstance(job, jobs.Measure | jobs.Profile | jobs.Produce):
            env |= {"TORCHINDUCTOR_CACHE_DIR": f"{job.scratch}/inductor", "TRITON_CACHE_DIR": f"{job.scratch}/triton"}
        return self._start(interpreter, job, watch.descriptors, env)

    @property
    def halted(self) -> bool:
        """Whether the run is over for all threads."""
        return self._halted.is_set()

    def _tick_of(self, job: jobs.JobType) -> Callable[[int], None] | None:
        """A tick that lets a thread look if it has been halted; none while a worker is timed, unless it ``wakes``."""
        return (
            None if isinstance(job, jobs.Measure | jobs.Profile | jobs.Ceilings) and not self._wakes else lambda _: None
        )

    def explain(self, end: jobs.ReplyType | Failure, job: jobs.Job, label: str) -> jobs.ReplyType | Failure:
        """The end of a job, with a failure on the GPU classified by its state. What that of a measurement tells of the
        model's factory is remembered.
        """
        failure = end if isinstance(end, Failure) else end.record.failure if isinstance(end, jobs.Measured) else None
        if failure is not None and job.device != "cpu":
            failure = self._classify(failure, label)
        if isinstance(job, jobs.Measure):
            if failure is None:
                self._hung.has_measured(job.case.id)
            else:
                self._hung.add(job.case, job.case.toolchain, failure, measuring=True)
        if isinstance(end, jobs.Measured):
            return msgspec.structs.replace(end, record=msgspec.structs.replace(end.record, failure=failure))
        return end if failure is None else failure

    def _classify(self, failure: Failure, label: str) -> Failure:
        failure = gpu_faults.explain(failure, self._gpu())
        if failure.kind == "DeviceLost":
            self._loss = gpu_faults.after_loss(failure, label)
        return failure


def _work(job: jobs.JobType) -> str:
    """What a worker does that has this job, as the events name it."""
    match job:
        case jobs.Produce():
            return job.stage.name
        case jobs.Measure():
            return "measure"
        case jobs.Profile():
            return "profile"
        case jobs.Selftest():
            return "selftest"
    return "preflight"


def judge(answer: Answer, outcome: process.Outcome, stage: str, limit_ns: int) -> jobs.ReplyType | Failure:
    """The reply, with the worker's output beside the traceback where something failed; a failure if there is none, or
    if the worker did not end as one that has replied.
    """
    reply, log = answer.reply, outcome.log
    if answer.problem:
        message = f"the worker wrote {answer.problem}, to the pipe by which it answers"
        return Failure(kind="Crash", stage=stage, message=message, hint=_FOREIGN_WRITER, log=log)
    if isinstance(reply, jobs.Failed):
        tail = (log + reply.trace)[-process.LOG_TAIL :]
        return Failure(
            kind=reply.kind, stage=reply.stage, message=reply.message, hint=reply.hint, log=tail, where=reply.where
        )
    if reply is None or outcome.timed_out or outcome.code:
        return crash(outcome, stage, limit_ns, replied=reply is not None)
    if isinstance(reply, jobs.Measured) and reply.record.failure:
        failure = reply.record.failure
        failure = msgspec.structs.replace(failure, log=(log + failure.log)[-process.LOG_TAIL :])
        return msgspec.structs.replace(reply, record=msgspec.structs.replace(reply.record, failure=failure))
    return reply


def with_layers(end: jobs.ReplyType | Failure, layers: Mapping[str, int], job: jobs.Job) -> jobs.ReplyType | Failure:
    """A failed build with the ``layers`` that its builder timed longest, ns, the longest first; else as it is. Where
    its time ended, the hint names them, and what has the builder time fewer kernels, if ``job`` leaves anything.
    """
    seconds = {name: round(ns / NS_PER_S, 1) for name, ns in layers.items() if ns >= _LEAST_NS}
    if not isinstance(end, Failure) or not seconds:
        return end
    details = {**end.details, "slowest_layers_s": seconds}
    if end.kind != "Timeout":  # for a reason that has nothing to do with how long layers took
        return msgspec.structs.replace(end, details=details)
    several = [f"{_short(name)} ({each:.1f} s)" for name, each in list(seconds.items())[:_SHOWN_LAYERS]]
    lowest = isinstance(job, jobs.Produce) and job.case.options.get("optimization_level") == 0
    also = (
        "`optimization_level: 0` has it time the fewest kernels already"
        if lowest
        else "a lower `optimization_level` times fewer kernels"
    )
    hint = f"{end.hint}; the builder spent most time on {', '.join(several)}: {also}"
    return msgspec.structs.replace(end, hint=hint, details=details)


def _short(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 3]}..."


def crash(outcome: process.Outcome, stage: str, limit_ns: int, *, replied: bool = False) -> Failure:
    """The failure of a worker that ended without an answer, or not as one that has ``replied``."""
    if outcome.timed_out:
        return Failure(
            kind="Timeout",
            stage=stage,
            message=f"{'no end' if replied else 'no result'} within {format_time(limit_ns)}",
            hint="raise `measure: {timeout: ...}` in the suite, or see the log for what it waits on",
            log=outcome.log,
        )
    if outcome.code < 0:
        after = " after it had answered" if replied else ""
        message = f"the worker was ended by {signals.describe(-outcome.code)}{after}"
        message += ": a native library crashed" * signals.is_crash(-outcome.code)
        stops = signals.is_request(-outcome.code)
        details = {"signal": signal.Signals(-outcome.code).name, "attempts": 1} if stops else {}
        hint = _after_signal(-outcome.code, outcome.log)
        return Failure(kind="Crash", stage=stage, message=message, hint=hint, log=outcome.log, details=details)
    if outcome.code == jobs.PIPE_GONE:
        message = "the pipe by which the worker answers was closed, or another file put in its place"
        return Failure(kind="Crash", stage=stage, message=message, hint=_FOREIGN_WRITER, log=outcome.log)
    answer = "after it had answered" if replied else "and no answer"
    message = f"the worker ended with exit code {outcome.code} {answer}"
    hint = _READ if outcome.log.strip() else _SILENT
    return Failure(kind="Crash", stage=stage, message=message, hint=hint, log=outcome.log)


def _after_signal(number: int, log: str) -> str:
    """What to do about a worker that the signal ``number`` has ended, and that has written ``log``."""
    if number == signal.SIGKILL:
        return "the kernel's out-of-memory killer, most likely: a smaller batch"
    if signals.is_from_outside(number):
        return "the case itself may be sound: trtbench run --resume RUN measures it again, or a new run"
    is_traced = "most recent call first" in log  # as faulthandler writes
    hints = [_READ] * bool(log.strip()) + [_TRACE] * (signals.is_crash(number) and not is_traced)
    return "; ".join(hints)
