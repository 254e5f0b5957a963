"""Workers started before their turn: several import their runtimes at once, and then wait while others are measured.

Most of what a case costs is the start of its process. Imports of several run side by side, but never beside a
measurement: nothing is measured until all of them wait for their job, which is no work and no context on the device.
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
from bench.system import process
from bench.units import NS_PER_S

_LIMIT_NS = 300 * NS_PER_S


class Waiting(NamedTuple):
    """A worker that waits for its job, and the gate that it was started with, if it is for a GPU."""

    worker: process.Child
    gate: Gate | None

    def close(self) -> None:
        """End the worker."""
        self.worker.close()
        if self.gate is not None:
            self.gate.close()


class Prestart:
    """Up to ``size`` workers of the next turns, and one for each thing that their backends have to make first.

    A turn is a case and its replicate.
    """

    def __init__(self, size: int, device: str, suite_dir: Path, tell: Callable[[Event], None], *, gates: bool) -> None:
        self._size = size
        self._gates = gates
        self._device = device
        self._suite_dir = suite_dir
        self._tell = tell
        self._waiting: dict[tuple[str, int], Waiting] = {}
        self._builders: dict[tuple[str, int], Waiting] = {}
        self._refused: set[str] = set()  # what could not be imported ahead

    def start(
        self,
        turns: Iterable[tuple[Case, int]],
        interpreters: Mapping[str, toolchains.Interpreter],
        lacking: Callable[[Case, int], str],
    ) -> None:
        """Have a worker for the first of ``turns``, started with those of the next ones if there is none yet.

        ``lacking`` names what a turn's backend has to make first, if anything: what has one name is made once.
        """
        if self._size < 2:
            return
        coming = {(case.id, replicate): case for case, replicate in turns}
        for kept in (self._waiting, self._builders):
            for gone in kept.keys() - coming.keys():  # e.g. of a case that has failed since
                kept.pop(gone).close()
        first = next(iter(coming))
        if not self._waiting and self._can(coming[first], interpreters):
            can = ((case, turn[1]) for turn, case in coming.items() if self._can(case, interpreters))
            self._start(list(itertools.islice(can, self._size)), interpreters, lacking)

    def builder(self, case: Case, replicate: int) -> process.Child | None:
        """The worker that is to make what the turn's backend has to; the caller's to close. None if there is none."""
        found = self._builders.pop((case.id, replicate), None)
        return None if found is None or _dead(found) else found.worker

    def take(self, case: Case, replicate: int) -> Waiting | None:
        """The worker of a turn, the caller's to close; None if it has to be started as usual."""
        unneeded = self._builders.pop((case.id, replicate), None)
        if unneeded is not None:
            unneeded.close()
        found = self._waiting.pop((case.id, replicate), None)
        return None if found is None or _dead(found) else found

    def close(self) -> None:
        """End the workers whose turn has not come."""
        for kept in (self._waiting, self._builders):
            while kept:
                kept.popitem()[1].close()

    def _start(
        self,
        turns: list[tuple[Case, int]],
        interpreters: Mapping[str, toolchains.Interpreter],
        lacking: Callable[[Case, int], str],
    ) -> None:
        """Start the workers, and wait until all have imported what they need."""
        if len(turns) < 2:
            return
        missing = {lacking(*turn): turn for turn in reversed(turns)}  # the first that needs it makes it
        missing.pop("", None)
        self._tell(Step(label=turns[0][0].label, phase=f"prestart: {len(turns) + len(missing)} workers"))
        with contextlib.ExitStack() as clean:
            clean.callback(self.close)
            for turn in missing.values():
                self._begin(self._builders, *turn, interpreters[turn[0].toolchain], None)
            for turn in turns:
                gate = create_gate() if self._gates else None
                self._begin(self._waiting, *turn, interpreters[turn[0].toolchain], gate)
            for turn in missing.values():
                self._hear(self._builders, *turn)
            for turn in turns:
                self._hear(self._waiting, *turn)
            clean.pop_all()

    def _can(self, case: Case, interpreters: Mapping[str, toolchains.Interpreter]) -> bool:
        """Whether the case's worker may be started ahead: its backend knows what to import, and can run here; and no
        other that imports the same could not.
        """
        return (
            _imported(case) not in self._refused
            and isinstance(base.load(case.backend), Preloading)
            and toolchains.missing(interpreters[case.toolchain], case.backend) is None
        )

    def _begin(
        self,
        kept: dict[tuple[str, int], Waiting],
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
        kept[case.id, replicate] = Waiting(worker, gate)
        worker.say(jobs.encode(jobs.Preload(device=self._device, suite_dir=str(self._suite_dir), case=case)))

    def _hear(self, kept: dict[tuple[str, int], Waiting], case: Case, replicate: int) -> None:
        """Wait until the worker has imported everything; one that cannot is left to be started in its turn, and so are
        all that import the same, which is told once.
        """
        found = kept[case.id, replicate]
        replies: list[jobs.ReplyType] = []
        ready: Callable[[], bool] = lambda: isinstance(replies[-1], jobs.Preloaded) if replies else False  # noqa: E731
        if not found.worker.hear(_LIMIT_NS, lambda line: replies.append(jobs.decode_reply(line)), ready):
            del kept[case.id, replicate]
            found.close()
            if _imported(case) in self._refused:
                return
            self._refused.add(_imported(case))
            told = [reply.message for reply in replies if isinstance(reply, jobs.Failed)] or ["it ended, or hangs"]
            why = told[0].partition("\n")[0]
            what = "its worker, and what imports the same, is started in its turn, as it cannot be ahead"
            self._tell(Note(text=f"{case.label}: {what}: {why}"))


def _imported(case: Case) -> str:
    """What of a case its worker imports ahead, under one name."""
    return digest([case.toolchain, case.backend, case.options, case.factory])


def _dead(found: Waiting) -> bool:
    """Whether the worker has ended while it waited; what is left of it is closed."""
    if found.worker.alive:
        return False
    found.close()
    return True
