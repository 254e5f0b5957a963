"""One run in progress: the round robins over replicates and cases, and the records that they leave."""

from __future__ import annotations

import datetime
import functools
import itertools
import random
from collections.abc import Iterator, Sequence, Set
from typing import Literal

import msgspec

from bench import store
from bench.errors import SourceChanged
from bench.model.data import Data
from bench.model.events import Begin, End, Note, Started, Stored
from bench.model.run import Footer, Record
from bench.model.suite import Case
from bench.runner.ahead import Turn
from bench.runner.attempts import Attempts
from bench.runner.recorder import Recorder
from bench.runner.refusals import cannot_continue
from bench.runner.rig import Rig
from bench.runner.station import Station
from bench.runner.toolchains import import_folders
from bench.runner.turns import Turns
from bench.store import privacy
from bench.system.signals import stoppable

# Turns that may be prepared for while a group is measured.
_AHEAD = 256


class RunResult(Data, frozen=True, kw_only=True):
    """How a run ended: its file, whether it was interrupted, and how files that it had before were lost."""

    path: str
    interrupted: bool = False
    rescues: tuple[str, ...] = ()


class Session(Rig):
    """One run in progress: the loop over cases."""

    def measure(self, writer: store.Writer, before: Sequence[Record], wanted: Set[str]) -> RunResult:
        """Measure the ``wanted`` cases that the records ``before`` lack, with an event at the beginning and the end."""
        run, cases = self.header.run, len(self.header.cases)
        total = cases * self.header.policy.replicates
        self.on_event(Begin(run=run, path=str(writer.path), cases=cases, total=total))
        status: Literal["complete", "interrupted", "failed"] = "failed"
        try:
            finished, status = self._measure(writer, before, wanted)
            return finished
        finally:
            times = self.timeline.end()
            self.on_event(End(run=run, path=str(writer.path), status=status, records=writer.records, times=times))

    def _measure(
        self, writer: store.Writer, before: Sequence[Record], wanted: Set[str]
    ) -> tuple[RunResult, Literal["complete", "interrupted"]]:
        """The round robin over replicates and the ``wanted`` cases; a case that failed once is not tried again.

        Of the records ``before``, those that a lost GPU left say nothing of their cases. The run is complete when
        nothing of its plan is missing.
        """
        policy, work = self.header.policy, []
        self._attempts = Attempts(before)
        self._ends = {(record.case, record.replicate): record.failure for record in before}
        for record in before:
            if record.failure is None:
                self.hung.has_measured(record.case)
        for station in self.stations:
            work.append((station, Turns(station.cases, policy.replicates, wanted, before)))
        interrupted = False
        problem: SourceChanged | None = None
        with stoppable() as ignore_signals:
            try:
                tasks = [functools.partial(self._round_robin, writer, *each) for each in work]
                self.fleet.run(tasks, self._halt)
            except KeyboardInterrupt:
                interrupted = True
            except OSError as error:  # no room for temporary files, no descriptors: no fault of the case
                raise cannot_continue(error, writer.path, self.header) from error
            except SourceChanged as error:
                problem = error
            ignore_signals()
            now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
            status: Literal["complete", "interrupted"]
            status = "complete"
            if interrupted or problem or any(turns.left for _, turns in work) or self._has_untold():
                status = "interrupted"
            times = self.timeline.end()
            # Where the number may be another than the header's, also on the last line: who reads that alone has it.
            replicates = policy.replicates if self.begun else 0
            writer.finish(
                Footer(finished=now, status=status, records=writer.records, replicates=replicates, times=times)
            )
        if problem:
            problem.fix = (
                f"restore it, then {store.continuation(writer.path, self.header)}; or start a new run with it as it is"
            )
            raise problem
        return RunResult(path=str(writer.path), interrupted=interrupted, rescues=tuple(writer.rescues)), status

    def _round_robin(self, writer: store.Writer, station: Station, turns: Turns) -> None:
        """The turns of one card, each stored as it ends."""
        name = station.card.id if self._several else ""
        total = len(self.header.cases) * self.header.policy.replicates
        recorder = self._recorder(station)
        for group in turns.groups(self._group_of):
            done, others = self.fleet.count(name, group[0][0]), self.fleet.others
            label, *beside = (case.label for _, case, _ in group)
            replicate = group[0][2]
            self.on_event(
                Started(label=label, done=done, total=total, replicate=replicate, card=name, beside=tuple(beside))
            )
            rng = random.Random(f"{self.header.seed} {replicate} {label}")
            records = recorder.records([turn[1:] for turn in group], functools.partial(_from, turns), rng)
            if self.fleet.halted:
                return
            for turn, record in zip(group, records, strict=True):
                self._take(writer, station, turns, turn, record, others)

    def _take(
        self,
        writer: store.Writer,
        station: Station,
        turns: Turns,
        turn: tuple[int, Case, int],
        record: Record,
        others: int,
    ) -> None:
        """Store the record of a turn, while ``others`` were at work, with what is known of it here."""
        position, case, _ = turn
        card, name = station.card, station.card.id if self._several else ""
        total = len(self.header.cases) * self.header.policy.replicates
        if record.measurements:
            telemetry = msgspec.structs.replace(record.telemetry, resumed_on=self.place)
            warnings = (*record.warnings, *self.marks)
            record = msgspec.structs.replace(record, warnings=warnings, telemetry=telemetry)
        folders = import_folders(self.interpreters)
        record = privacy.without_paths(self.homes.mark(record, case, card, others), self.suite_dir, folders)
        record = msgspec.structs.replace(record, times=self.timeline.end_turn(name, case.label))
        failure = self._attempts.judge(case.id, record.failure)
        record = msgspec.structs.replace(record, failure=failure)
        if failure and not failure.is_stopped:
            turns.drop(case)
            station.ahead.drop(case)
        with self.fleet.one_at_a_time:
            self._ends[case.id, record.replicate] = failure
            self._store(writer, record)
            done = self.fleet.count(name, position + 1)
            self.on_event(Stored(record=record, done=done, total=total))

    def _has_untold(self) -> bool:
        """Whether a process is to be measured again, as its end says nothing of its case: a signal has ended it, or it
        was not begun.
        """
        failures = [(case, failure) for (case, _), failure in self._ends.items() if failure]
        failed = {case for case, failure in failures if failure.is_final}
        return any(case not in failed for case, failure in failures if failure.is_stopped or failure.is_not_begun)

    def _group_of(self, case: Case) -> str:
        """What cases that are measured in turn have in common: all but the backend; else each is by itself."""
        if not self.header.policy.interleave:
            return case.id
        plain = msgspec.structs.replace(case, backend="", options={}, toolchain="default")
        return plain.id

    def _halt(self) -> None:
        """End the jobs of all cards."""
        for station in self.stations:
            station.dispatcher.halt()
        if self._templates is not None:
            self._templates.halt()

    def _recorder(self, station: Station) -> Recorder:
        return Recorder(
            station.card,
            station.interpreters,
            station.dispatcher,
            station.ahead,
            self._run_job,
            self.header,
            self.settings,
            self.maker.shared(),
            self.preflight,
            self.work,
            self.on_event,
            self.folders,
        )

    def _store(self, writer: store.Writer, record: Record) -> None:
        known = len(writer.rescues)
        writer.append(record)
        for text in writer.rescues[known:]:
            self.on_event(Note(text=f"{text}, where it goes on"))


def _from(turns: Turns, place: int) -> Iterator[Turn]:
    """The next turns, from the one at ``place`` of the group that is begun."""
    return itertools.islice(turns.coming(), place, place + _AHEAD)
