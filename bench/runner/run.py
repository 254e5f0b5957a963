"""Runs a plan: measures and stores its cases, or only produces their artifacts."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bench import store
from bench.model.events import Started
from bench.model.run import Failure
from bench.model.seam import Stage
from bench.model.suite import Case
from bench.runner import stages
from bench.runner.dispatch import OnEvent
from bench.runner.request import Request
from bench.runner.session import Finished, new_session, refuse_contradictions
from bench.store import artifacts, privacy


def run(request: Request, on_event: OnEvent) -> Finished:
    """Measure a plan and store the results. InputError, before anything is written, if suite or store are wrong."""
    refuse_contradictions(request.settings)
    root = Path(request.settings.store)
    store.check_writable(root)
    artifacts.check_writable(Path(request.settings.cache))
    with new_session(request, on_event) as session:
        session.open()
        header = privacy.without_home(session.prepare(), Path(request.settings.cache))
        with contextlib.closing(store.create(root, header)) as writer:
            return session.measure(writer, (), {case.id for case in request.plan.cases})


def make(
    request: Request, on_event: OnEvent, needed: Callable[[Case], Sequence[Stage]]
) -> Iterator[tuple[Case, stages.Ready | Failure]]:
    """The artifacts that ``needed`` names of each case of a plan, from the cache or made as in a run; nothing measured.

    A folder that was made ``cold`` lasts until the iterator is closed.
    """
    cases = request.plan.cases
    with new_session(request, on_event) as session:
        session.open()
        for index, case in enumerate(cases):
            on_event(Started(label=case.label, done=index, total=len(cases)))
            end = session.artifacts(case, needed(case))
            assert not isinstance(end, stages.Postponed)  # what is made alone
            yield case, end
