"""The worker of one case under a profiler: its reply, what the tool recorded, and why it failed."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from bench.errors import CaseError
from bench.measure.profiled import PHASE
from bench.measure.profilers import SIMULATED
from bench.model.events import Note
from bench.model.profile import Profile
from bench.model.run import Failure
from bench.model.suite import Case
from bench.profiling import tools
from bench.profiling.options import ProfileOptions
from bench.runner import jobs
from bench.runner.dispatch import Dispatcher, OnEvent
from bench.runner.hung_factories import in_factory
from bench.runner.session import Session
from bench.runner.toolchains import Interpreter
from bench.runner.watch import Watch
from bench.system import process


class ProfiledWorker:
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
        hung, case = self._session.hung, job.case
        if failure := hung.failure_of_measuring(case, case.toolchain):
            return failure
        reply = self._dispatch(self._tool.prefix(self._out) if self._tool else (), interpreter, job)
        if isinstance(reply, Failure):
            failure = self._with_comparison(reply, interpreter, job)
            hung.add(case, case.toolchain, failure, measuring=True)
            return failure
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

        In the phase in which a tool records it has run already; else, of one that the worker runs under, it is tried,
        but where the model's factory did not return: that may take as long again.
        """
        if in_factory(failure, job.case.model):
            return failure
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
