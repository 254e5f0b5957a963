"""What measures the cases of one card: its interpreters, its workers, and what is made ready for them."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple, Protocol

from bench.model.events import Event
from bench.model.run import Failure
from bench.model.seam import Stage
from bench.model.suite import Case
from bench.runner import cards
from bench.runner.ahead import Ahead
from bench.runner.cards import Card
from bench.runner.dispatch import Dispatcher, new_process
from bench.runner.hung_factories import HungFactories
from bench.runner.prestart import Prestart
from bench.runner.side_by_side import Slots
from bench.runner.stages import Postponed, Ready
from bench.runner.templates import Templates
from bench.runner.toolchains import Interpreter

Interpreters = Mapping[str, Interpreter]
# The builds that are looked at together where all artifacts are made before the first turn.
_ALL = 1 << 62


class MakeOn(Protocol):
    """Makes ``stages`` of a build of a case by workers of ``interpreters``, by default what measuring it needs."""

    def __call__(
        self,
        interpreters: Interpreters,
        case: Case,
        build: int,
        slots: Slots | None,
        stages: Sequence[Stage] | None = None,
    ) -> Ready | Failure | Postponed:
        """As ``Maker.ready``."""
        ...


class Station(NamedTuple):
    """What measures ``cases`` on one card."""

    card: Card
    cases: tuple[Case, ...]
    interpreters: Interpreters
    dispatcher: Dispatcher
    ahead: Ahead


class Equipment(NamedTuple):
    """What stations are made of: up to ``size`` workers side by side in all, by ``templates`` if there are any, which
    with ``fork`` also those that measure come from. With ``several`` cards a station sees its own alone; all artifacts
    are made before the first turn, as compilers beside a measurement would disturb it, and only imports are left to the
    stations. ``halted`` says that the run is over for all of them; ``hung`` has the factories that do not return.
    """

    size: int
    builds: int
    limit_ns: int
    cold: bool
    fork: bool
    several: bool
    templates: Templates | None
    make: MakeOn
    hung: HungFactories
    new_imports: Callable[[int, Callable[[], bool] | None], Prestart]
    halted: Callable[[], bool]
    on_event: Callable[[Event], None]

    def station(self, card: Card, cases: tuple[Case, ...], interpreters: Interpreters, count: int) -> Station:
        """One of ``count`` stations."""
        start = new_process if self.templates is None else self.templates.start
        dispatcher = Dispatcher(
            self.limit_ns, self.cold, self.on_event, card.state, start, hung=self.hung, wakes=self.several
        )
        imports = self.new_imports(max(1, self.size // count), self.halted if self.several else None)
        own = cards.interpreters_on(card, interpreters, count) if self.several else interpreters
        return Station(card, cases, own, dispatcher, self._ahead(imports, own, dispatcher, 0 if self.several else None))

    def before_all(self, first: Station) -> Ahead:
        """What makes ready what is made before the first turn."""
        if not self.several:
            return first.ahead
        return self._ahead(self.new_imports(1, None), first.interpreters, first.dispatcher, _ALL)

    def _ahead(
        self, imports: Prestart, interpreters: Interpreters, dispatcher: Dispatcher, window: int | None
    ) -> Ahead:
        templates = self.templates if self.fork else None
        make = functools.partial(self.make, interpreters)

        def halt() -> None:
            dispatcher.halt()
            if self.templates is not None:  # else who waits for one would wait until it has imported everything
                self.templates.halt()

        return Ahead(self.size, self.builds, imports, templates, make, halt, self.on_event, window)
