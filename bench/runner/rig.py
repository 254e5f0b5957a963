"""What a run works with: the locked devices, interpreters, stations of workers, and the artifacts of cases."""

from __future__ import annotations

import contextlib
import datetime
import itertools
import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Self

import msgspec

from bench import store
from bench.backends import base
from bench.errors import SourceChanged, SuiteError
from bench.model.data import digest
from bench.model.events import Event, Note
from bench.model.factory import module_of
from bench.model.run import Failure, Header, Record, Warning, Work
from bench.model.seam import Stage
from bench.model.suite import Case, Threshold
from bench.runner import capacity, cards, jobs, sources, temporary, timeline, toolchains, watch
from bench.runner.ahead import Turn
from bench.runner.dispatch import UNWATCHED, OnEvent
from bench.runner.fleet import Fleet
from bench.runner.hung_factories import HungFactories
from bench.runner.preflight import Preflight
from bench.runner.prestart import Prestart, import_limit_ns
from bench.runner.request import Settings
from bench.runner.side_by_side import Slots
from bench.runner.stages import Maker, Postponed, Ready
from bench.runner.station import Equipment
from bench.runner.templates import Templates
from bench.runner.turns import Turns
from bench.system import bytecode, process, scratch
from bench.system.signals import stoppable

# Turns that may be prepared for, and builds that are looked at together: of all turns, with several cards.
_AHEAD, _ALL = 256, 1 << 62
# A rehearsal of more processes than these forks its workers; a small one rehearses their start too.
_MANY = 32


class Rig:
    """What a run works with: the devices that it has locked, interpreters, and what makes artifacts."""

    def __init__(
        self,
        header: Header,
        settings: Settings,
        on_event: OnEvent,
        places: Mapping[str, str],
        factories: Mapping[str, str] | None = None,
        *,
        name: str = "",
    ) -> None:
        self.timeline = timeline.Timeline()
        on_event = self.timeline.before(on_event)
        self.places = places
        self.factories = factories or {}
        self.header = header
        self.settings = settings
        self.name = name or header.run
        self._event_lock = threading.Lock()
        self._on_event = on_event
        self.kind = header.environments["default"].kind
        self.device = header.environments["default"].address
        self.suite_dir = Path(header.suite_path).parent.resolve()
        self.interpreters: Mapping[str, toolchains.Interpreter] = {}
        self.preflight: Preflight | None = None
        self.work: dict[str, Work] = {}
        self.begun = False  # a run that is gone on with: its rows keep to the ceilings of its header
        self.wanted: Sequence[Case] = header.cases
        self.before: Sequence[Record] = ()
        self.marks: tuple[Warning, ...] = ()
        self.place = ""
        self.folders: Mapping[str, Path] = {}  # of suites, by toolchain, where it is not this one
        self.hung = HungFactories()
        self._makers: dict[str, Maker] = {}
        self._suite_changed = False
        self._stack = contextlib.ExitStack()
        self._templates: Templates | None = None
        self._forks = self._forks_workers()
        if self._forks or (self.size > 1 and self.kind != "fake"):
            self._templates = Templates(
                self.on_event,
                measure=self._forks,
                limit_ns=import_limit_ns(header.policy.timeout_ns),
                case_limit_ns=header.policy.timeout_ns,
                suite_dir=self.suite_dir,
                seed=settings.seed,
                size=self.size,
            )
            self._stack.callback(self._templates.close)

    def __enter__(self) -> Self:
        own = self._stack.enter_context(scratch.folder())
        self.link = toolchains.package_link(own)
        if self.kind != "fake":
            self._stack.enter_context(temporary.folder(own))
        self._cold_root = own / "cold" if self.settings.cold else None
        self.maker = self._new_maker(self.suite_dir)
        return self

    def _new_maker(self, suite_dir: Path) -> Maker:
        root, cold, seed = Path(self.settings.cache), self._cold_root, self.settings.seed
        rebuild, hung = self.settings.rebuild, self.hung
        return Maker(root, cold, suite_dir, self.device, seed, self._run_job, rebuild=rebuild, hung=hung)

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def size(self) -> int:
        """How many workers are started side by side: as the settings say, else as the machine has room for; one where
        true starts are wanted, or nothing is imported.
        """
        if self.settings.prestart:
            return self.settings.prestart
        return 1 if self.settings.cold or self.kind == "fake" else capacity.workers()

    def _forks_workers(self) -> bool:
        """Whether workers that measure are forked: as the settings say, else unless true starts are wanted, or one is
        at work. In a rehearsal those of many processes are, whose starts are nearly all of its time.
        """
        if self.settings.fork is not None:
            return self.settings.fork
        if self.kind == "fake":
            many = len(self.header.cases) * self.header.policy.replicates > _MANY
            return many and not self.settings.cold
        return self.size > 1 and not self.settings.cold

    def on_event(self, event: Event) -> None:
        """Pass an event on: one at a time, as workers are at work side by side."""
        with self._event_lock:
            self._on_event(event)

    def open(self, *, measures: bool = True) -> None:
        """Start the interpreter of every toolchain that is wanted once, and take the device's lock, unless nothing is
        measured on it.
        """
        self.interpreters = {"default": self._default()}
        here = self.header.environments["default"]
        for name in toolchains.foreign(self.wanted):
            toolchain, place = self.header.toolchains[name], self.places[name]
            distributions = base.distributions_of(sorted({case.backend for case in self.header.cases}))
            modules = tuple(sorted({module_of(case.factory) for case in self.header.cases} - {""}))
            interpreter = toolchains.probe(
                name,
                toolchain,
                self.suite_dir,
                here,
                self.link,
                place,
                distributions=distributions,
                modules=modules,
            )
            self.interpreters[name] = interpreter
        environments = {name: interpreter.environment for name, interpreter in self.interpreters.items()}
        self.header = msgspec.structs.replace(self.header, environments=environments)
        self._take_cards(lock=measures)

    def _take_cards(self, *, lock: bool) -> None:
        """Deal the cases to cards, and ``lock`` those that have any."""
        available = cards.find(self.kind, self.settings.devices, self.on_event)
        self.homes = cards.Homes(self.header, available, self.before)
        wanted = {case.id for case in self.wanted}
        shares = cards.deal(self.header, wanted, self.before, available, self.homes.of_group)
        self._several = len(available) > 1
        self.fleet = Fleet(len(shares))
        equipment = self._equipment()
        self.stations = [equipment.station(*share, self.interpreters, len(shares)) for share in shares]
        first = self.stations[0]
        self.interpreters, self.dispatcher = first.interpreters, first.dispatcher
        self._dispatchers = {each.interpreters["default"].card: each.dispatcher for each in self.stations}
        self.ahead = equipment.before_all(first)
        if lock:
            self._stack.enter_context(cards.hold((card for card, _ in shares), self.name, self.on_event))
        for station in self.stations:
            self._stack.callback(station.ahead.close)

    def _equipment(self) -> Equipment:
        gates, limit_ns = self.kind == "cuda", import_limit_ns(self.header.policy.timeout_ns)
        return Equipment(
            size=self.size,
            builds=self.header.policy.builds,
            limit_ns=self.header.policy.timeout_ns,
            cold=self.settings.cold,
            fork=self._forks,
            several=self._several,
            templates=self._templates,
            make=self._make,
            hung=self.hung,
            new_imports=lambda size, halted: Prestart(
                size, self.device, self.suite_dir, self.on_event, gates=gates, halted=halted, limit_ns=limit_ns
            ),
            halted=lambda: self.fleet.halted,
            on_event=self.on_event,
        )

    def prepare(self) -> Header:
        """Everything that can prove the user wrong before a file is written, and what the first turns need; the header
        with what was found out. The run is created now: what comes is measured.
        """
        default = self.interpreters["default"]
        if self.kind != "fake" and "torch" in default.environment.libraries:
            self.preflight = Preflight(
                Path(self.settings.cache),
                self.suite_dir,
                self.header.suite_path,
                self.device,
                default.environment,
                lambda job, label: self.dispatcher.run(default, job, label),
                lambda event: None if self.dispatcher.halted else self.on_event(event),
                gpu=self.stations[0].card.state,
                hung=lambda case: self.hung.failure(case, default.name),
            )
        wanted = {case.id for case in self.wanted}
        turns = Turns(self.header.cases, self.header.policy.replicates, wanted, self.before)
        soon = _soon(turns, _ALL if self._several else _AHEAD)
        with stoppable():
            if self._several:  # each card has workers of its own: none of them imports beside the others' measurements
                for station in self.stations:
                    station.ahead.begin_imports((c for c in station.cases if c.id in wanted), station.interpreters)
                    coming = Turns(station.cases, self.header.policy.replicates, wanted, self.before).coming()
                    station.ahead.begin_models(coming, station.interpreters)
            self.ahead.prepare(soon, self.interpreters, (self._check_metrics, self._count_work))
            if self.begun:
                return self.header
            ceilings = self.preflight.ceilings(self.wanted) if self.preflight else {}
        created = datetime.datetime.now(datetime.UTC)
        identity = digest([self.header.suite, [case.id for case in self.header.cases], created.isoformat()])
        self.header = msgspec.structs.replace(
            self.header,
            run=store.run_id(created, self.name, identity),
            created=created.isoformat(timespec="seconds"),
            ceilings=ceilings,
            fork=self._forks,
        )
        return self.header

    def _count_work(self) -> None:
        if self.preflight is not None:
            self.work = self.preflight.work(self.wanted, self.factories, self.settings.seed)

    def _run_job(
        self,
        interpreter: toolchains.Interpreter,
        job: jobs.JobType,
        label: str,
        watched: watch.Watch = UNWATCHED,
        worker: process.Child | None = None,
    ) -> jobs.ReplyType | Failure:
        """The worker's reply. SourceChanged if a file was edited before or meanwhile: which one it read is unknown."""
        try:
            self._check_sources()
        except SourceChanged:
            if worker is not None:
                worker.close()
            raise
        reply = self._dispatchers[interpreter.card].run(interpreter, job, label, watched, worker)
        self._check_sources()
        return reply

    def _check_sources(self) -> None:
        """SourceChanged if a model's file is not what it was at the start; a note if it is only the suite."""
        if name := sources.changed(self.header.sources, self.suite_dir):
            how = "has changed" if sources.digest_of(name, self.suite_dir) else "is not there any more"
            what = f"{how} since the run was begun: what was measured is stored, the rest would be of another model"
            raise SourceChanged(what, where=str(Path(self.header.suite_path).parent / name))
        suite = Path(self.header.suite_path)
        digest_now = sources.digest_of(suite.name, self.suite_dir)
        if not self._suite_changed and digest_now not in ("", sources.sha256_of(self.header.suite)):
            self._suite_changed = True
            self.on_event(Note(text=f"{suite} has changed since the run was begun, which keeps to the plan it has"))

    def _default(self) -> toolchains.Interpreter:
        used = {case.backend for case in self.header.cases}
        return toolchains.Interpreter(
            name="default",
            command=toolchains.worker_command(""),
            env=toolchains.worker_env(self.link, self._bytecode()),
            environment=self.header.environments["default"],
            backends={name: base.missing(name, self.device) for name in used},
        )

    def _bytecode(self) -> dict[str, str]:
        """The variables by which workers keep bytecode beside the artifacts; none where true starts are wanted."""
        if self.settings.cold or self.kind == "fake":
            return {}
        return bytecode.variables(os.environ, Path(self.settings.cache).resolve() / "bytecode")

    def artifacts(
        self,
        case: Case,
        needed: Sequence[Stage],
        build: int = 0,
        slots: Slots | None = None,
        interpreters: Mapping[str, toolchains.Interpreter] | None = None,
    ) -> Ready | Failure | Postponed:
        """The artifacts of ``case`` that ``needed`` names; made side by side with others in ``slots``, else alone, by
        workers of ``interpreters``, by default those of the first card.
        """
        interpreters = interpreters or self.interpreters
        interpreter = interpreters[case.toolchain]
        missing = toolchains.missing(interpreter, case.backend)
        if missing is not None:
            failure = Failure(kind="Unavailable", stage="start", message=missing.reason, hint=missing.fix)
            return toolchains.locate_failure(failure, interpreter, case)
        maker = self.maker
        if folder := self.folders.get(case.toolchain):  # whose code makes all that is of it
            maker = self._makers.setdefault(case.toolchain, self._new_maker(folder))
            interpreters = {**interpreters, "default": interpreter}
        limits = self.header.thresholds.get(case.precision, Threshold())
        return maker.ready(case, needed, interpreters, self.on_event, build, slots, limits)

    def _make(
        self,
        interpreters: Mapping[str, toolchains.Interpreter],
        case: Case,
        build: int,
        slots: Slots | None,
        stages: Sequence[Stage] | None = None,
    ) -> Ready | Failure | Postponed:
        """The artifacts that ``stages`` names, by default those for measuring ``case``."""
        needed = base.load(case.backend).stages(case) if stages is None else stages
        return self.artifacts(case, needed, build, slots, interpreters)

    def _check_metrics(self) -> None:
        """SuiteError if a metric is not there, or cannot be imported in a toolchain that calls it."""
        for name, interpreter in self.interpreters.items():
            cases = [case for case in self.wanted if case.metric and case.toolchain == name]
            if not cases:
                continue
            metrics = tuple(dict.fromkeys(case.metric for case in cases))
            job = jobs.CheckMetrics(device=self.device, suite_dir=str(self.suite_dir), metrics=metrics)
            reply = self.dispatcher.run(interpreter, job, "metrics")
            if isinstance(reply, Failure):
                what = reply.message if name == "default" else f"{reply.message} (in the toolchain {name!r})"
                raise SuiteError(what, where=reply.where or self.header.suite_path, fix=reply.hint)


def _soon(turns: Turns, limit: int) -> Callable[[], Iterator[Turn]]:
    """The next turns: looking through the whole plan would make each turn as long as it is."""
    return lambda: itertools.islice(turns.coming(), limit)
