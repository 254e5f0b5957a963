"""What the coming turns need, made ready side by side while nothing is measured: imports, artifacts, compile caches."""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Protocol

from bench.backends import base
from bench.model.abilities import CompilesAhead, ListsImports
from bench.model.events import Event, Note
from bench.model.run import Failure
from bench.model.seam import Stage
from bench.model.suite import Case
from bench.runner import models_ahead, toolchains
from bench.runner.prestart import IdleWorker, Prestart
from bench.runner.side_by_side import Slots, Threads
from bench.runner.stages import Postponed, Ready
from bench.runner.templates import Templates, imports_of
from bench.runner.toolchains import Interpreter

# So many builds per slot are looked at together: enough that no slot is idle for long, few enough that the first
# result is not far away.
_WINDOW = 4

Turn = tuple[Case, int]


class Make(Protocol):
    """Makes ``stages`` of a build of a case, by default what measuring it needs."""

    def __call__(
        self, case: Case, build: int, slots: Slots | None, stages: Sequence[Stage] | None = None
    ) -> Ready | Failure | Postponed:
        """As ``Maker.ready``."""
        ...


class Ahead:
    """Makes ready what coming turns need, by up to ``size`` workers; nothing ahead, everything in its turn, with one.

    ``halt`` ends the workers that make artifacts. ``builds`` is the number of independent builds of a model. With
    ``templates`` workers that measure are forked from these, and only those that cannot be are started ahead. Artifacts
    of up to ``window`` builds are made together; with 0 none are, and only imports come before their turn.
    """

    def __init__(
        self,
        size: int,
        builds: int,
        prestart: Prestart,
        templates: Templates | None,
        make: Make,
        halt: Callable[[], None],
        on_event: Callable[[Event], None],
        window: int | None = None,
    ) -> None:
        self._window = _WINDOW * size if window is None else window
        self._alone = window is None  # of several cards each begins its own models, before the first turn
        self._size = size
        self._builds = builds
        self._prestart = prestart
        self._templates = templates
        self._make = make
        self._halt = halt
        self._on_event = on_event
        self._slots = Slots(size)
        self._seen: set[tuple[str, int]] = set()
        self._ready: dict[tuple[str, int], Ready | Failure] = {}

    def prepare(
        self,
        turns: Callable[[], Iterator[Turn]],
        interpreters: Mapping[str, Interpreter],
        meanwhile: Iterable[Callable[[], object]] = (),
    ) -> None:
        """Make the first of ``turns`` ready, and with it others that come soon. ``meanwhile`` is other work that may be
        done beside it; what it raises is raised.
        """
        if self._size < 2:
            for task in meanwhile:
                task()
            return
        builds = self._next_builds(turns())
        if self._templates is None:
            self._prestart.begin(turns(), interpreters)
        else:
            self._prestart.begin((turn for turn in turns() if not _forks(turn[0])), interpreters)
            self.begin_imports((case for case, _ in builds), interpreters)
            if builds and self._alone:
                self.begin_models(turns(), interpreters, [case for case, _ in builds])
        tasks = list(meanwhile)
        if builds or tasks:
            with Threads(self._slots, self._halt) as threads, self._announced_interrupt():
                others = [threads.submit(task) for task in tasks]
                work = [threads.submit(functools.partial(self._build, *build)) for build in builds]
                work += [threads.submit(functools.partial(self._compile, *build)) for build in _compiling(builds)]
                threads.results(others)
                threads.results(work)
        self._prestart.wait()
        if self._templates is not None and self._window:  # else it would wait for imports of other cards
            self._templates.wait()

    def begin_imports(self, cases: Iterable[Case], interpreters: Mapping[str, Interpreter]) -> None:
        """Begin to import what workers of ``cases`` are forked with, beside what the caller does."""
        if self._templates is None:
            return
        for case in cases:
            if _forks(case) and toolchains.missing(interpreters[case.toolchain], case.backend) is None:
                self._templates.warm(interpreters[case.toolchain], imports_of(case))

    def begin_models(
        self,
        turns: Iterable[Turn],
        interpreters: Mapping[str, Interpreter],
        cases: Iterable[Case] | None = None,
    ) -> None:
        """Begin to build, beside what the caller does, the models that ``turns`` measure: all of them, or those of
        ``cases``, and then give up those that ``turns`` do not need any more. A single one that one turn measures is
        built by its worker as soon.
        """
        if self._templates is None:
            return
        suite_dir = self._templates.suite_dir
        uses = models_ahead.uses(turns, suite_dir)
        now = uses.keys() if cases is None else {models_ahead.model_of(case, suite_dir) for case in cases}
        if cases is not None:
            self._templates.keep_models(uses, interpreters)
        for model, (case, *others) in uses.items():
            here = interpreters[case.toolchain]
            if (others or len(uses) > 1) and model in now and toolchains.missing(here, case.backend) is None:
                self._templates.build(here, model, case)

    def ready(self, case: Case, build: int) -> Ready | Failure:
        """The artifacts of a turn: those made ahead when it is the first of them, else looked up, or made alone."""
        end = self._ready.pop((case.id, build), None) or self._make(case, build, None)
        assert not isinstance(end, Postponed)
        return end

    def take(self, case: Case, replicate: int) -> IdleWorker | None:
        """The worker that waits for a turn, if there is one."""
        return self._prestart.take(case, replicate)

    def drop(self, case: Case) -> None:
        """Nothing of ``case`` comes any more."""
        self._prestart.drop(case.id)

    def close(self) -> None:
        """End what waits."""
        self._prestart.close()

    @contextlib.contextmanager
    def _announced_interrupt(self) -> Iterator[None]:
        """An interrupt of the block is told at once: ending the workers takes a moment on a busy machine."""
        try:
            yield
        except KeyboardInterrupt:
            self._on_event(Note(text="interrupted: the workers that prepare cases are ended"))
            raise

    def _next_builds(self, turns: Iterator[Turn]) -> list[Turn]:
        """The builds that are to be looked at now: none, if that of the first turn has been, else a window of them."""
        builds = ((case, replicate % self._builds) for case, replicate in turns)
        first = next(builds, None)
        if first is None or not self._window or (first[0].id, first[1]) in self._seen:
            return []
        window: dict[tuple[str, int], Turn] = {}
        for case, build in itertools.chain([first], builds):
            if (case.id, build) not in self._seen:
                window[case.id, build] = (case, build)
            if len(window) == self._window:
                break
        self._seen |= window.keys()
        return list(window.values())

    def _build(self, case: Case, build: int) -> None:
        """Make the artifacts of a build, unless they have to be made alone."""
        end = self._make(case, build, self._slots)
        if isinstance(end, Postponed):
            self._tell(case, end)
        else:
            self._ready[case.id, build] = end

    def _compile(self, case: Case, build: int, stages: Sequence[Stage]) -> None:
        """Fill the compile caches of a build. Where that fails, so will its turn, which says why."""
        end = self._make(case, build, self._slots, stages)
        if isinstance(end, Postponed):
            self._tell(case, end)

    def _tell(self, case: Case, end: Postponed) -> None:
        """Let fewer work at once, with a note, if something failed because of that, or may have."""
        if end.failure is None:
            return
        what = f"{case.label}: {end.stage} ended in {end.failure.kind} beside other workers; it is made again alone"
        before = self._slots.limit
        if not end.failure.is_stopped and (fewer := self._slots.halve()) < before:
            what = f"{what}, and from now on at most {fewer} are at work at once"
        self._on_event(Note(text=what))


def _forks(case: Case) -> bool:
    """Whether the worker of a case can be forked from a template."""
    return isinstance(base.load(case.backend), ListsImports)


def _compiling(builds: Iterable[Turn]) -> list[tuple[Case, int, Sequence[Stage]]]:
    """The builds whose compile caches can be filled, with the stages for that; none if there is only one, which gains
    nothing by a process of its own.
    """
    compiling: list[tuple[Case, int, Sequence[Stage]]] = []
    for case, build in builds:
        backend = base.load(case.backend)
        if isinstance(backend, CompilesAhead) and (stage := backend.compile_stage(case)) is not None:
            needed = [other for other in base.load(case.backend).stages(case) if other.name in stage.needs]
            compiling.append((case, build, [*needed, stage]))
    return compiling if len(compiling) > 1 else []
