"""Several workers alive at once that measure in turn, in an order drawn for each round: one runs, the others wait."""

from __future__ import annotations

import contextlib
import os
import random
import time
from collections.abc import Sequence

import msgspec

from bench.machine import gpus
from bench.model.events import Step
from bench.model.run import Failure
from bench.runner import jobs, timeline
from bench.runner.answers import Answer
from bench.runner.dispatch import Dispatcher, OnEvent, judge
from bench.runner.toolchains import Interpreter
from bench.runner.watch import Watch
from bench.system import process


class Player:
    """One of the workers: it runs only while ``play`` does, and otherwise waits. ``end`` is how its job ended, None
    before; ``places`` has its place in each round that it took part in.
    """

    def __init__(
        self,
        dispatcher: Dispatcher,
        on_event: OnEvent,
        interpreter: Interpreter,
        job: jobs.Measure,
        label: str,
        watch: Watch,
        worker: process.Child | None,
    ) -> None:
        self.end: jobs.ReplyType | Failure | None = None
        self.places: list[int] = []
        self.label = label
        self._dispatcher = dispatcher
        self._on_event = on_event
        self._interpreter = interpreter
        self._job = job
        self._watch = watch
        self._worker = worker
        self._stage, self._since = "start", time.monotonic_ns()
        self._number = 0
        self._remaining_ns = dispatcher.limit_ns
        self._answer = Answer(job, self._on_step)
        self._stack = contextlib.ExitStack()
        if worker is not None:
            self._stack.callback(worker.close)

    def play(self, place: int | None = None, core: int | None = None) -> None:
        """Let the worker run until it waits for its next turn, or its job ends; the first time, start it.

        ``place`` is that of the turn in its round, None for what comes before the first. Its main thread has ``core``
        to itself as far as the other players go, None where it runs on any.
        """
        if place is not None:
            self.places.append(place)
        try:
            if self._number:
                assert self._worker is not None
                if len(self.places) == 1:
                    self._tell("measure", timed=True)
                self._take_turn(core)
            else:
                self._begin()
                if self.end is None:
                    self._hear()
        except gpus.DeviceLost as error:
            self._finish(Failure(kind="DeviceLost", stage=self._stage, message=error.what))

    def close(self) -> None:
        """End the worker, however far it is."""
        self._stack.close()

    def _take_turn(self, core: int | None) -> None:
        assert self._worker is not None
        if core is not None:
            self._worker.run_on({core})
        self._worker.say(b"")
        self._hear()
        if core is not None and self.end is None:
            # What it starts between its turns is not held to one core.
            self._worker.run_on(os.sched_getaffinity(0))

    def _begin(self) -> None:
        if refusal := self._dispatcher.refusal(self._job):
            self._finish(refusal)
            return
        self._number = self._stack.enter_context(timeline.at_work(self._on_event, self.label, "measure"))
        if self._worker is None:
            self._worker = self._dispatcher.start(self._interpreter, self._job, self._watch)
            self._stack.callback(self._worker.close)
        self._worker.say(self._answer.encoded)

    def _hear(self) -> None:
        """Wait until the worker pauses or ends."""
        assert self._worker is not None
        answer, pauses, began = self._answer, self._answer.pauses, time.monotonic_ns()

        def over() -> bool:
            replied = answer.complete or answer.refused()
            return replied or answer.pauses > pauses or self._dispatcher.halted

        heard = self._worker.hear(self._remaining_ns, answer.hear, over, tick=self._watch.tick)
        self._remaining_ns = max(0, self._remaining_ns - (time.monotonic_ns() - began))
        if heard and answer.pauses > pauses and not answer.refused() and not self._dispatcher.halted:
            if answer.pauses == 1:
                self._tell("waiting")
            return
        outcome = self._worker.finish(
            b"",
            self._remaining_ns,
            answer.hear,
            tick=self._watch.tick,
            stop=lambda: answer.refused() or self._dispatcher.halted,
        )
        end = judge(answer, outcome, self._stage, self._dispatcher.limit_ns)
        if outcome.timed_out and not answer.pauses and isinstance(end, Failure):  # else others had turns in that time
            figures = {"stage_ns": time.monotonic_ns() - self._since, "limit_ns": self._dispatcher.limit_ns}
            end = msgspec.structs.replace(end, details=figures)
        self._finish(end)

    def _finish(self, end: jobs.ReplyType | Failure) -> None:
        self.end = self._dispatcher.explain(end, self._job, self.label)
        self.close()

    def _on_step(self, step: jobs.Doing) -> None:
        self._stage, self._since = step.phase, time.monotonic_ns()
        self._watch.step(self._stage)
        # Before its first turn it does not measure yet: it waits.
        self._tell(step.phase, timed=step.timed)

    def _tell(self, phase: str, *, timed: bool = False) -> None:
        self._on_event(Step(label=self.label, phase=phase, timed=timed, worker=self._number, work="measure"))


def play(
    players: Sequence[Player],
    rng: random.Random,
    cores: Sequence[int] = (),
) -> None:
    """Start the players one after the other, then give each a turn in every round until all have ended.

    The order of each round is drawn from ``rng``, and so is the one of ``cores`` on which all of them run in it, if
    there are any. A player that fails leaves the others to go on.
    """
    for player in _shuffled(players, rng):
        player.play()
    while waiting := [player for player in players if player.end is None]:
        core = rng.choice(cores) if cores else None
        for place, player in enumerate(_shuffled(waiting, rng)):
            player.play(place, core)


def _shuffled(players: Sequence[Player], rng: random.Random) -> list[Player]:
    return rng.sample(players, len(players))
