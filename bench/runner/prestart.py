"""Workers started before their turn: several import their runtimes at once, and then wait while others are measured.

Most of the time of a case is the start of its process. Imports run in parallel, but never during a measurement: nothing
is measured until all these workers wait for their jobs. A waiting worker does no work and has no context on the device.
"""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from bench.backends import base
from bench.measure.gate import Gate, create_gate
from bench.model.data import digest
from bench.model.events import Event, Note, Step
from bench.model.seam import Preloading
from bench.model.suite import Case
from bench.runner import jobs, toolchains
from bench.runner.answers import Answer
from bench.system import process
from bench.units import NS_PER_S

_LIMIT_NS = 300 * NS_PER_S


class Waiting(NamedTuple):
    """A worker that waits for its job, the gate that it was started with, if it is for a GPU, and what it answers to
    the request to import.
    """

    worker: process.Child
    gate: Gate | None
    answer: Answer

    def close(self) -> None:
        """End the worker."""
        self.worker.close()
        if self.gate is not None:
            self.gate.close()


class Prestart:
    """Up to ``size`` workers of the next turns, and one for each artifact that their backends must build first.

    A turn is a case and its replicate.
    """

    def __init__(
        self, size: int, device: str, suite_dir: Path, on_event: Callable[[Event], None], *, gates: bool
    ) -> None:
        self._size = size
        self._gates = gates
        self._device = device
        self._suite_dir = suite_dir
        self._on_event = on_event
        self._waiting: dict[tuple[str, int], Waiting] = {}
        self._builders: dict[tuple[str, int], Waiting] = {}
        self._failed_imports: set[str] = set()  # what could not be imported ahead

    def start(
        self,
        turns: Iterable[tuple[Case, int]],
        interpreters: Mapping[str, toolchains.Interpreter],
        missing_artifact: Callable[[Case, int], str],
    ) -> None:
        """Ensure that the first of ``turns`` has a worker; if not, start it together with those of the next turns.

        ``missing_artifact`` names what a turn's backend has to make first, if anything; turns of one name share it.
        """
        if self._size < 2:
            return
        next_turns = {(case.id, replicate): case for case, replicate in turns}
        for workers in (self._waiting, self._builders):
            for turn in workers.keys() - next_turns.keys():  # e.g. of a case that has failed since
                workers.pop(turn).close()
        first = next(iter(next_turns))
        if not self._waiting and self._can_prestart(next_turns[first], interpreters):
            possible = ((case, turn[1]) for turn, case in next_turns.items() if self._can_prestart(case, interpreters))
            self._start(list(itertools.islice(possible, self._size)), interpreters, missing_artifact)

    def builder(self, case: Case, replicate: int) -> process.Child | None:
        """The worker that is to make what the turn's backend has to; the caller's to close. None if there is none."""
        waiting = self._builders.pop((case.id, replicate), None)
        return None if waiting is None or _has_ended(waiting) else waiting.worker

    def take(self, case: Case, replicate: int) -> Waiting | None:
        """The worker of a turn, the caller's to close; None if it has to be started as usual."""
        builder = self._builders.pop((case.id, replicate), None)
        if builder is not None:
            builder.close()
        waiting = self._waiting.pop((case.id, replicate), None)
        return None if waiting is None or _has_ended(waiting) else waiting

    def close(self) -> None:
        """End the workers whose turn has not come."""
        for workers in (self._waiting, self._builders):
            while workers:
                workers.popitem()[1].close()

    def _start(
        self,
        turns: list[tuple[Case, int]],
        interpreters: Mapping[str, toolchains.Interpreter],
        missing_artifact: Callable[[Case, int], str],
    ) -> None:
        """Start the workers, and wait until all have imported what they need."""
        if len(turns) < 2:
            return
        builds = {missing_artifact(*turn): turn for turn in reversed(turns)}  # the first that needs it makes it
        builds.pop("", None)
        self._on_event(Step(label=turns[0][0].label, phase=f"prestart: {len(turns) + len(builds)} workers"))
        with contextlib.ExitStack() as clean:
            clean.callback(self.close)
            for turn in builds.values():
                self._spawn(self._builders, *turn, interpreters[turn[0].toolchain], None)
            for turn in turns:
                gate = create_gate() if self._gates else None
                self._spawn(self._waiting, *turn, interpreters[turn[0].toolchain], gate)
            for turn in builds.values():
                self._await(self._builders, *turn)
            for turn in turns:
                self._await(self._waiting, *turn)
            clean.pop_all()

    def _can_prestart(self, case: Case, interpreters: Mapping[str, toolchains.Interpreter]) -> bool:
        """Whether the case's worker may be started ahead: its backend knows what to import, and can run here; and no
        other that imports the same could not.
        """
        return (
            _imports(case) not in self._failed_imports
            and isinstance(base.load(case.backend), Preloading)
            and toolchains.missing(interpreters[case.toolchain], case.backend) is None
        )

    def _spawn(
        self,
        workers: dict[tuple[str, int], Waiting],
        case: Case,
        replicate: int,
        interpreter: toolchains.Interpreter,
        gate: Gate | None,
    ) -> None:
        keep = () if gate is None else (gate.fd,)
        try:
            worker = process.Child(interpreter.command, interpreter.env, keep=keep)
        except BaseException:
            if gate is not None:
                gate.close()
            raise
        answer = Answer(jobs.Preload(device=self._device, suite_dir=str(self._suite_dir), case=case))
        workers[case.id, replicate] = Waiting(worker, gate, answer)
        worker.say(answer.encoded)

    def _await(self, workers: dict[tuple[str, int], Waiting], case: Case, replicate: int) -> None:
        """Wait until the worker has imported everything. One that cannot is started in its turn instead, and so are all
        that import the same; a note says so once.
        """
        waiting = workers[case.id, replicate]
        answer = waiting.answer
        over: Callable[[], bool] = lambda: answer.complete or answer.refused()  # noqa: E731
        heard = waiting.worker.hear(_LIMIT_NS, answer.hear, over)
        if not heard or not isinstance(answer.reply, jobs.Preloaded) or answer.problem:
            del workers[case.id, replicate]
            waiting.close()
            if _imports(case) in self._failed_imports:
                return
            self._failed_imports.add(_imports(case))
            message = answer.reply.message if isinstance(answer.reply, jobs.Failed) else "it ended, or hangs"
            why = f"it wrote {answer.problem}" if answer.problem else message.partition("\n")[0]
            what = "its worker, and what imports the same, is started in its turn, as it cannot be started ahead"
            self._on_event(Note(text=f"{case.label}: {what}: {why}"))


def _imports(case: Case) -> str:
    """The name of what the worker of a case imports ahead."""
    return digest([case.toolchain, case.backend, case.options, case.factory])


def _has_ended(waiting: Waiting) -> bool:
    """Whether the worker has ended while it waited; what is left of it is closed."""
    if waiting.worker.alive:
        return False
    waiting.close()
    return True
