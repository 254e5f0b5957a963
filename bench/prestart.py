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

from bench import jobs, process, toolchains
from bench.backends import base
from bench.events import Event, Note, Step
from bench.measure import cuda
from bench.model import Case
from bench.seam import Preloading
from bench.units import NS_PER_S

_LIMIT_NS = 300 * NS_PER_S


class Waiting(NamedTuple):
    """A worker that waits for its job, and the gate that it was started with, if it is for a GPU."""

    worker: process.Child
    gate: cuda.Gate | None

    def close(self) -> None:
        """End the worker."""
        self.worker.close()
        if self.gate is not None:
            self.gate.close()


class Prestart:
    """Up to ``size`` workers of the next turns; a turn is a case and its replicate."""

    def __init__(self, size: int, device: str, suite_dir: Path, tell: Callable[[Event], None], *, gates: bool) -> None:
        self._size = size
        self._gates = gates
        self._device = device
        self._suite_dir = suite_dir
        self._tell = tell
        self._waiting: dict[tuple[str, int], Waiting] = {}

    def take(
        self,
        turns: Iterable[tuple[Case, int]],
        interpreters: Mapping[str, toolchains.Interpreter],
    ) -> Waiting | None:
        """The worker of the first of ``turns``, with those of the next ones if there is none yet; None if it has to be
        started as usual. It is the caller's to close.
        """
        if self._size < 2:
            return None
        coming = {(case.id, replicate): case for case, replicate in turns}
        for gone in self._waiting.keys() - coming.keys():  # e.g. of a case that has failed since
            self._waiting.pop(gone).close()
        first = next(iter(coming))
        if not self._waiting and _can(coming[first], interpreters):
            can = ((case, turn[1]) for turn, case in coming.items() if _can(case, interpreters))
            self._start(list(itertools.islice(can, self._size)), interpreters)
        found = self._waiting.pop(first, None)
        if found is not None and not found.worker.alive:
            found.close()
            return None
        return found

    def close(self) -> None:
        """End the workers whose turn has not come."""
        while self._waiting:
            self._waiting.popitem()[1].close()

    def _start(self, turns: list[tuple[Case, int]], interpreters: Mapping[str, toolchains.Interpreter]) -> None:
        """Start a worker for each turn, and wait until all have imported what they need."""
        if len(turns) < 2:
            return
        self._tell(Step(label=turns[0][0].label, phase=f"prestart: {len(turns)} workers"))
        with contextlib.ExitStack() as clean:
            clean.callback(self.close)
            for case, replicate in turns:
                interpreter = interpreters[case.toolchain]
                gate = cuda.create_gate() if self._gates else None
                keep = () if gate is None else (gate.fd,)
                try:
                    worker = process.Child(interpreter.command, interpreter.env, keep=keep)
                except BaseException:
                    if gate is not None:
                        gate.close()
                    raise
                self._waiting[case.id, replicate] = Waiting(worker, gate)
                worker.say(jobs.encode(jobs.Preload(device=self._device, suite_dir=str(self._suite_dir), case=case)))
            for case, replicate in turns:
                self._hear(case, replicate)
            clean.pop_all()

    def _hear(self, case: Case, replicate: int) -> None:
        """Wait until the worker has imported everything; one that cannot is left to be started in its turn."""
        found = self._waiting[case.id, replicate]
        replies: list[jobs.ReplyType] = []
        ready: Callable[[], bool] = lambda: isinstance(replies[-1], jobs.Preloaded) if replies else False  # noqa: E731
        if not found.worker.hear(_LIMIT_NS, lambda line: replies.append(jobs.decode_reply(line)), ready):
            del self._waiting[case.id, replicate]
            found.close()
            told = [reply.message for reply in replies if isinstance(reply, jobs.Failed)] or ["it ended, or hangs"]
            why = told[0].partition("\n")[0]
            self._tell(Note(text=f"{case.label}: its worker is started in its turn, as it cannot be ahead: {why}"))


def _can(case: Case, interpreters: Mapping[str, toolchains.Interpreter]) -> bool:
    """Whether the case's worker may be started ahead: its backend knows what to import, and can run here."""
    return (
        isinstance(base.load(case.backend), Preloading)
        and toolchains.missing(interpreters[case.toolchain], case.backend) is None
    )
