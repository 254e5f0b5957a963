"""The records of the turns of one card: artifacts, a worker, what was seen of it, and its speed of light."""

from __future__ import annotations

import contextlib
import datetime
import functools
import os
import random
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec

from bench.analysis import roofline
from bench.measure import pace
from bench.model.events import Event, Note
from bench.model.run import Failure, Header, Record, Work
from bench.model.suite import Case, Threshold
from bench.runner import in_turn, jobs, toolchains, watch
from bench.runner.ahead import Ahead, Turn
from bench.runner.cards import Card
from bench.runner.dispatch import UNWATCHED, Dispatcher
from bench.runner.preflight import Preflight
from bench.runner.request import Settings
from bench.runner.stages import Ready
from bench.system import process, scratch

# Held while a folder of the run is made or removed: others may be doing the same with the one above it.
_FOLDERS = threading.Lock()


class RunJob(Protocol):
    """Runs a job in a worker: a new one, or the one that was started early."""

    def __call__(
        self,
        interpreter: toolchains.Interpreter,
        job: jobs.JobType,
        label: str,
        watched: watch.Watch = UNWATCHED,
        worker: process.Child | None = None,
    ) -> jobs.ReplyType | Failure:
        """As ``Dispatcher.run``. SourceChanged if a file of the user's was edited meanwhile."""
        ...


class _Bout(NamedTuple):
    """A case that is measured once: the record's beginning, its artifacts, and the worker if it was started early."""

    case: Case
    blank: Record
    ready: Ready
    interpreter: toolchains.Interpreter
    job: jobs.Measure
    watched: watch.Watch
    worker: process.Child | None


class Recorder:
    """Makes the records of turns on ``card``, whose workers ``interpreters`` start.

    ``shared`` is the folder of backends' own caches, ``work`` that of the cases' calls by id; ``folders`` are those of
    suites by toolchain, where that is another one's.
    """

    def __init__(
        self,
        card: Card,
        interpreters: Mapping[str, toolchains.Interpreter],
        dispatcher: Dispatcher,
        ahead: Ahead,
        run_job: RunJob,
        header: Header,
        settings: Settings,
        shared: Path,
        preflight: Preflight | None,
        work: Mapping[str, Work],
        on_event: Callable[[Event], None],
        folders: Mapping[str, Path] | None = None,
    ) -> None:
        self._folders = folders or {}
        self._alone: set[str] = set()  # cases for which there is no memory beside others
        self.card = card
        self.dispatcher = dispatcher
        self.ahead = ahead
        self._interpreters = interpreters
        self._run_job = run_job
        self._header = header
        self._settings = settings
        self._shared = shared
        self._preflight = preflight
        self._work = work
        self._on_event = on_event
        environment = header.environments["default"]
        self._kind, self._device = environment.kind, environment.address
        self._suite_dir = Path(header.suite_path).parent.resolve()
        self._rounds = header.duel.rounds if header.duel else pace.BLOCKS
        one_core = header.duel is not None and header.duel.one_core
        self._cores = sorted(os.sched_getaffinity(0)) if one_core else ()

    def record(self, case: Case, replicate: int, coming: Callable[[], Iterator[Turn]]) -> Record:
        """The record of a turn, the first of those that are ``coming`` and may be prepared for."""
        with contextlib.ExitStack() as stack:
            ready = self._make_ready(case, replicate, coming)
            if isinstance(ready, Failure):
                return msgspec.structs.replace(self._blank(case, replicate), failure=ready)
            bout = stack.enter_context(self._bout(case, replicate, ready))
            reply = self._run_job(bout.interpreter, bout.job, case.label, bout.watched, worker=bout.worker)
            return self._complete(bout, reply)

    def records(
        self, turns: Sequence[Turn], coming: Callable[[int], Iterator[Turn]], rng: random.Random
    ) -> Sequence[Record]:
        """The records of several turns at once, in their order: their workers measure in turn, block by block, in an
        order drawn from ``rng``. ``coming`` gives those of ``turns`` from a place on, and what follows them.

        A case for which memory has no room beside the others is measured by itself, from then on too.
        """
        group = [turn for turn in turns if turn[0].id not in self._alone]
        if len(group) > 1:
            places = [place for place, turn in enumerate(turns) if turn in group]
            several = self.together(group, lambda index: coming(places[index]), rng)
            records = dict(zip(places, several, strict=True))
        else:
            records = {}
        for place, (case, replicate) in enumerate(turns):
            record = records.get(place)
            if record is not None and not _may_lack_memory(record.failure):
                continue
            if record is not None:
                self._alone.add(case.id)
                self._on_event(Note(text=f"{case.label}: no memory beside the others; it is measured by itself"))
            records[place] = self.record(case, replicate, functools.partial(coming, place))
        return [records[place] for place in range(len(turns))]

    def together(
        self, turns: Sequence[Turn], coming: Callable[[int], Iterator[Turn]], rng: random.Random
    ) -> Sequence[Record]:
        """As ``records``, but what has no room beside the others fails."""
        records: dict[int, Record] = {}
        bouts: dict[int, _Bout] = {}
        with contextlib.ExitStack() as stack:
            for index, (case, replicate) in enumerate(turns):  # all is made before the first of them measures
                ready = self._make_ready(case, replicate, functools.partial(coming, index))
                if isinstance(ready, Failure):
                    records[index] = msgspec.structs.replace(self._blank(case, replicate), failure=ready)
                else:
                    bouts[index] = stack.enter_context(self._bout(case, replicate, ready, taking_turns=True))
            players = {}
            for index, bout in bouts.items():
                worker, watched = bout.worker, bout.watched
                player = in_turn.Player(
                    self.dispatcher, self._on_event, bout.interpreter, bout.job, bout.case.label, watched, worker
                )
                stack.callback(player.close)
                players[index] = player
            in_turn.play(list(players.values()), rng, self._cores)
            for index, player in players.items():
                assert player.end is not None
                record = _without_partners(self._complete(bouts[index], player.end), len(players) - 1)
                records[index] = msgspec.structs.replace(record, places=tuple(player.places))
        return [records[index] for index in range(len(turns))]

    def _blank(self, case: Case, replicate: int) -> Record:
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        build = replicate % self._header.policy.builds
        return Record(
            case=case.id, label=case.label, replicate=replicate, started=now, toolchain=case.toolchain, build=build
        )

    def _make_ready(self, case: Case, replicate: int, coming: Callable[[], Iterator[Turn]]) -> Ready | Failure:
        if not self.dispatcher.gpu_lost:
            self.ahead.prepare(coming, self._interpreters)
        return self.ahead.ready(case, replicate % self._header.policy.builds)

    @contextlib.contextmanager
    def _bout(self, case: Case, replicate: int, ready: Ready, *, taking_turns: bool = False) -> Iterator[_Bout]:
        """What it takes to measure a case once; its folders and its gate last as long as the block."""
        blank = self._blank(case, replicate)
        with (
            scratch.folder() as own,
            self._output_folder(case) as kept,
            contextlib.ExitStack() as stack,
        ):
            started = self.ahead.take(case, replicate)  # not before: a disk that is full ends the run with it
            if started is not None:
                stack.callback(started.worker.close)  # the gate is the watch's
            gate = started.gate if started else None
            watched = stack.enter_context(watch.open_watch(self._kind, gate, self.card.visible))
            job = jobs.Measure(
                case=case,
                policy=self._header.policy,
                threshold=self._threshold(case),
                artifacts={**ready.folders, "keep": str(kept)},
                scratch=str(own),
                gate=watched.gate,
                shared=str(self._shared),
                replicate=replicate,
                build=blank.build,
                device=self._device,
                suite_dir=str(self._folders.get(case.toolchain, self._suite_dir)),
                seed=self._settings.seed,
                cold=self._settings.cold,
                rounds=self._rounds if taking_turns else 0,
            )
            interpreter = self._interpreters[case.toolchain]
            yield _Bout(case, blank, ready, interpreter, job, watched, started.worker if started else None)

    def _complete(self, bout: _Bout, reply: jobs.ReplyType | Failure) -> Record:
        """The record of a worker's reply, with what was seen of it."""
        if isinstance(reply, Failure):
            return bout.watched.complete(msgspec.structs.replace(bout.blank, failure=reply), {})
        assert isinstance(reply, jobs.Measured)
        record = bout.watched.complete(reply.record, reply.spans)
        record = msgspec.structs.replace(
            record, phases=bout.ready.phases + record.phases, warnings=bout.ready.warnings + record.warnings
        )
        if record.failure:
            failure = toolchains.locate_failure(record.failure, bout.interpreter, bout.case)
            record = msgspec.structs.replace(record, failure=failure)
        return self._with_roofline(record, bout.case)

    @contextlib.contextmanager
    def _output_folder(self, case: Case) -> Iterator[Path]:
        """A folder for what a backend is asked to keep, e.g. generated code; told if it was used, gone if not."""
        folder = Path(self._settings.cache) / "kept" / self._header.run / case.id
        with _FOLDERS:
            folder.mkdir(parents=True, exist_ok=True)
        try:
            yield folder
        finally:
            for empty in (folder, folder.parent):
                with _FOLDERS, contextlib.suppress(OSError):
                    empty.rmdir()
        if folder.exists():
            self._on_event(Note(text=f"{case.label}: kept in {folder}"))

    def _threshold(self, case: Case) -> Threshold:
        """The limits of the case's precision, and those of its model's metric."""
        threshold = self._header.thresholds.get(case.precision, Threshold())
        return msgspec.structs.replace(threshold, metric=self._header.limits.get(case.model, {}))

    def _with_roofline(self, record: Record, case: Case) -> Record:
        """``record`` with its fraction of speed of light, and a warning where that is more than there can be."""
        if self._preflight is None or case.id not in self._work:
            return record
        ceilings = self._header.ceilings
        work = roofline.achieved(self._work[case.id], case.precision, ceilings, record.measurements)
        record = msgspec.structs.replace(record, work=work)
        # One that is wrong says so, and may be fast because it has not done the work.
        past = roofline.warnings(work, case.precision, ceilings) if record.accuracy and record.accuracy.ok else ()
        if past:
            self._preflight.forget(ceilings, case.label)
        return msgspec.structs.replace(record, warnings=(*record.warnings, *past))


def _may_lack_memory(failure: Failure | None) -> bool:
    """Whether a process ended so for want of memory: told, or by the kernel, which takes the largest."""
    return failure is not None and (
        failure.kind == "OutOfMemory" or (failure.kind == "Crash" and "SIGKILL" in failure.message)
    )


def _without_partners(record: Record, partners: int) -> Record:
    """The record of a process that took turns: those on the card beside it that are its partners are no strangers."""
    gpu = record.telemetry.gpu
    if gpu is None or not gpu.foreign_processes:
        return record
    strangers = max(0, gpu.foreign_processes - partners)
    warnings = []
    for warning in record.warnings:
        if warning.kind != "ForeignProcess":
            warnings.append(warning)
        elif strangers:  # whose the memory is, is not known
            warnings.append(msgspec.structs.replace(warning, figures={"processes": strangers}))
    gpu = msgspec.structs.replace(gpu, foreign_processes=strangers, foreign_memory_bytes=None)
    telemetry = msgspec.structs.replace(record.telemetry, gpu=gpu)
    return msgspec.structs.replace(record, warnings=tuple(warnings), telemetry=telemetry)
