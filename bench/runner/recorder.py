"""The records of the turns of one card: artifacts, a worker, what was seen of it, and its speed of light."""

from __future__ import annotations

import contextlib
import datetime
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

import msgspec

from bench.analysis import roofline
from bench.model.events import Event, Note
from bench.model.run import Failure, Header, Record, Work
from bench.model.suite import Case, Threshold
from bench.runner import jobs, toolchains, watch
from bench.runner.ahead import Ahead, Turn
from bench.runner.cards import Card
from bench.runner.dispatch import UNWATCHED, Dispatcher
from bench.runner.preflight import Preflight
from bench.runner.request import Settings
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


class Recorder:
    """Makes the records of turns on ``card``, whose workers ``interpreters`` start.

    ``shared`` is the folder of backends' own caches, ``work`` that of the cases' calls by id.
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
    ) -> None:
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

    def record(self, case: Case, replicate: int, coming: Callable[[], Iterator[Turn]]) -> Record:
        """The record of a turn, the first of those that are ``coming`` and may be prepared for."""
        now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        build = replicate % self._header.policy.builds
        blank = Record(
            case=case.id, label=case.label, replicate=replicate, started=now, toolchain=case.toolchain, build=build
        )
        interpreter = self._interpreters[case.toolchain]
        if not self.dispatcher.gpu_lost:
            self.ahead.prepare(coming, self._interpreters)
        ready = self.ahead.ready(case, build)
        if isinstance(ready, Failure):
            return msgspec.structs.replace(blank, failure=ready)
        started = self.ahead.take(case, replicate)
        with (
            scratch.folder() as own,
            self._output_folder(case) as kept,
            contextlib.ExitStack() as stack,
        ):
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
                build=build,
                device=self._device,
                suite_dir=str(self._suite_dir),
                seed=self._settings.seed,
                cold=self._settings.cold,
            )
            worker = started.worker if started else None
            reply = self._run_job(interpreter, job, case.label, watched, worker=worker)
            if isinstance(reply, Failure):
                return watched.complete(msgspec.structs.replace(blank, failure=reply), {})
            assert isinstance(reply, jobs.Measured)
            record = watched.complete(reply.record, reply.spans)
        record = msgspec.structs.replace(record, phases=ready.phases + record.phases)
        if record.failure:
            failure = toolchains.locate_failure(record.failure, interpreter, case)
            record = msgspec.structs.replace(record, failure=failure)
        return self._with_roofline(record, case)

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
