"""The parent of a run: a plan measured and stored, or only its artifacts made."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from bench import store
from bench.machine import environment
from bench.model.events import Started
from bench.model.run import Failure
from bench.model.seam import Stage
from bench.model.suite import Case, Plan, Policy, Suite
from bench.runner import stages
from bench.runner.dispatch import Tell
from bench.runner.session import Finished, Settings, new_session, refuse_both
from bench.store import artifacts


def run(
    suite: Suite, plan: Plan, policy: Policy, device: environment.Device, settings: Settings, tell: Tell
) -> Finished:
    """Measure ``plan`` and store it. InputError before anything is written if the suite or the store is wrong."""
    refuse_both(settings)
    root = Path(settings.store)
    store.check_writable(root)
    artifacts.check_writable(Path(settings.cache))
    with new_session(suite, plan, policy, device, settings, tell) as session:
        header = session.prepare()
        with contextlib.closing(store.create(root, header)) as writer:
            return session.measure(writer, (), {case.id for case in plan.cases})


def make(
    suite: Suite,
    plan: Plan,
    policy: Policy,
    device: environment.Device,
    settings: Settings,
    tell: Tell,
    needed: Callable[[Case], Sequence[Stage]],
) -> Iterator[tuple[Case, stages.Ready | Failure]]:
    """The artifacts that ``needed`` names of each case of ``plan``, found or made as in a run, and nothing measured.

    A folder that was made ``cold`` lasts until the iterator is closed.
    """
    with new_session(suite, plan, policy, device, settings, tell) as session:
        session.open()
        for index, case in enumerate(plan.cases):
            tell(Started(label=case.label, done=index, total=len(plan.cases)))
            yield case, session.ready(case, needed(case))
