"""Workers started before their turn: several import their runtimes at once, and then wait while others are measured.

Most of the time of a case is the start of its process. Imports run in parallel, but never during a measurement: nothing
is measured until all these workers wait for their jobs. A waiting worker does no work and has no context on the device.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from bench.backends import base
from bench.measure.gate import Gate, create_gate
from bench.model.abilities import PreloadsImports
from bench.model.data import digest
from bench.model.events import Event, Note, Step
from bench.model.suite import Case
from bench.runner import jobs, timeline, toolchains
from bench.runner.answers import Answer
from bench.system import process
from bench.units import NS_PER_S

_LEAST_NS, _LIMIT_NS = 60 * NS_PER_S, 300 * NS_PER_S
_TURN_NS = NS_PER_S // 4  # how soon an import is given up when the run ends


def import_limit_ns(case_limit_ns: int) -> int:
    """How long an import ahead of its case's turn may take: as long as the case may, but a minute at least, as others
    import beside it, and five at most.
    """
    return min(max(case_limit_ns, _LEAST_NS), _LIMIT_NS)


class IdleWorker(NamedTuple):
    """A worker that waits for its job, the gate that it was started with, if it is for a GPU, and what it answers to
    the request to import; ``importing`` lasts, as an event says, until that is here, and may until ``deadline_ns`` of
    the monotonic clock.
    """

    worker: process.Child
    gate: Gate | None
    answer: Answer
    importing: contextlib.ExitStack
    deadline_ns: int

    def close(self) -> None:
        """End the worker."""
        self.importing.close()
        self.worker.close()
        if self.gate is not None:
            self.gate.close()


class Prestart:
    """Up to ``size`` workers of the next turns; a turn is a case and its replicate. ``limit_ns`` is that of one import.
    ``halted`` says that the run is over, where that is for another thread to know.
    """

    def __init__(
        self,
        size: int,
        device: str,
        suite_dir: Path,
        on_event: Callable[[Event], None],
        *,
        gates: bool,
        halted: Callable[[], bool] | None = None,
        limit_ns: int = _LIMIT_NS,
    ) -> None:
        self._halted = halted
        self._limit_ns = limit_ns
        self._size = size
        self._gates = gates
        self._device = device
        self._suite_dir = suite_dir
        self._on_event = on_event
        self._waiting: dict[tuple[str, int], IdleWorker] = {}
        self._importing: dict[tuple[str, int], Case] = {}
        self._failed_imports: set[str] = set()  # what could not be imported ahead

    def begin(
        self,
        turns: Iterable[tuple[Case, int]],
        interpreters: Mapping[str, toolchains.Interpreter],
    ) -> None:
        """Ensure that the first of ``turns`` has a worker; if not, start it together with those of the next turns.

        They import until ``wait``; the turns are those that can still come.
        """
        if self._size < 2:
            return
        turns = iter(turns)
        possible = (turn for turn in turns if self._can_prestart(turn[0], interpreters))
        first = next(turns, None)
        if first is None or (first[0].id, first[1]) in self._waiting or not self._can_prestart(first[0], interpreters):
            return
        group = [first, *itertools.islice(possible, self._size - 1)]
        if len(group) < 2:
            return
        self._on_event(Step(label=first[0].label, phase=f"prestart: {len(group)} workers"))
        for case, replicate in group:
            if (case.id, replicate) not in self._waiting:
                self._spawn(case, replicate, interpreters[case.toolchain])

    def wait(self) -> None:
        """Wait until all that were started have imported what they need, or cannot."""
        while self._importing:
            turn, case = next(iter(self._importing.items()))
            del self._importing[turn]
            self._await(case, turn)

    def take(self, case: Case, replicate: int) -> IdleWorker | None:
        """The worker of a turn, the caller's to close; None if it has to be started as usual."""
        waiting = self._waiting.pop((case.id, replicate), None)
        return None if waiting is None or _has_ended(waiting) else waiting

    def drop(self, case_id: str) -> None:
        """End the workers of a case that is not measured any more."""
        for turn in [turn for turn in self._waiting if turn[0] == case_id]:
            self._importing.pop(turn, None)
            self._waiting.pop(turn).close()

    def close(self) -> None:
        """End the workers whose turn has not come."""
        self._importing.clear()
        while self._waiting:
            self._waiting.popitem()[1].close()

    def _can_prestart(self, case: Case, interpreters: Mapping[str, toolchains.Interpreter]) -> bool:
        """Whether the case's worker may be started ahead: its backend knows what to import, and can run here; and no
        other that imports the same could not.
        """
        return (
            _imports(case) not in self._failed_imports
            and isinstance(base.load(case.backend), PreloadsImports)
            and toolchains.missing(interpreters[case.toolchain], case.backend) is None
        )

    def _spawn(self, case: Case, replicate: int, interpreter: toolchains.Interpreter) -> None:
        gate = create_gate() if self._gates else None
        keep = () if gate is None else (gate.fd,)
        try:
            worker = process.Child(interpreter.command, interpreter.env, keep=keep)
        except BaseException:
            if gate is not None:
                gate.close()
            raise
        answer = Answer(jobs.Preload(device=self._device, suite_dir=str(self._suite_dir), case=case))
        importing = contextlib.ExitStack()
        deadline = time.monotonic_ns() + self._limit_ns
        self._waiting[case.id, replicate] = IdleWorker(worker, gate, answer, importing, deadline)
        importing.enter_context(timeline.at_work(self._on_event, case.label, timeline.PRELOAD))
        self._importing[case.id, replicate] = case
        worker.say(answer.encoded)

    def _await(self, case: Case, turn: tuple[str, int]) -> None:
        """Wait until the worker has imported everything. One that cannot is started in its turn instead, and so are all
        that import the same; a note says so once.
        """
        waiting = self._waiting[turn]
        answer = waiting.answer
        imported = self._hear(waiting.worker, answer, waiting.deadline_ns)
        waiting.importing.close()
        if imported and isinstance(answer.reply, jobs.Preloaded) and not answer.problem:
            return
        del self._waiting[turn]
        waiting.close()
        if _imports(case) in self._failed_imports or (self._halted is not None and self._halted()):
            return
        self._failed_imports.add(_imports(case))
        message = answer.reply.message if isinstance(answer.reply, jobs.Failed) else "it ended, or hangs"
        why = f"it wrote {answer.problem}" if answer.problem else message.partition("\n")[0]
        what = "its worker, and what imports the same, is started in its turn, as it cannot be started ahead"
        self._on_event(Note(text=f"{case.label}: {what}: {why}"))

    def _hear(self, worker: process.Child, answer: Answer, deadline: int) -> bool:
        """Whether the worker has answered in time, and the run is not over. What it has said before is heard, however
        late that is.
        """
        over: Callable[[], bool] = lambda: answer.complete or answer.refused()  # noqa: E731
        left = max(deadline - time.monotonic_ns(), _TURN_NS)
        if self._halted is None:
            return worker.hear(left, answer.hear, over)
        deadline = time.monotonic_ns() + left
        while worker.alive and not self._halted() and time.monotonic_ns() < deadline:
            if worker.hear(_TURN_NS, answer.hear, over):
                return True
        return False


def _imports(case: Case) -> str:
    """The name of what the worker of a case imports ahead."""
    return digest([case.toolchain, case.backend, case.options, case.factory])


def _has_ended(waiting: IdleWorker) -> bool:
    """Whether the worker has ended while it waited; what is left of it is closed."""
    if waiting.worker.alive:
        return False
    waiting.close()
    return True
