"""Runs a plan: measures and stores its cases, or only produces their artifacts."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import bench
from bench import store
from bench.backends import base
from bench.machine import environment
from bench.machine.environment import Device
from bench.model.events import Started
from bench.model.run import Environment, Failure, Header
from bench.model.seam import Stage
from bench.model.suite import DEFAULT_THRESHOLDS, Case
from bench.runner import functions, sources, stages, toolchains
from bench.runner.dispatch import OnEvent
from bench.runner.refusals import check_boundaries, refuse_contradictions, refuse_other_than_text
from bench.runner.request import Request
from bench.runner.session import RunResult, Session
from bench.store import artifacts, privacy
from bench.suite.reader import locate, place_of_toolchain
from bench.system import repository
from bench.system.signals import stoppable


def describe_environment(request: Request, device: Device) -> Environment:
    """The environment that a request runs in on ``device``; simulated backends need none."""
    backends = {case.backend for case in request.plan.cases}
    simulated = any(base.load(name).simulated for name in backends)
    return environment.describe("fake" if simulated else device, base.distributions_of(sorted(backends)))


def new_session(
    request: Request,
    on_event: OnEvent,
    kind: type[Session] = Session,
    *,
    device: Device | None = None,
    metrics: bool = False,
    folders: Mapping[str, Path] | None = None,
) -> Session:
    """A session of a ``kind`` with the header of a new run, on ``device`` in place of the request's.

    SuiteError for a file or a function that the cases name and that is not there, also those of ``metrics`` where these
    are called: here, and not only once the device is free. ``folders`` are as in ``functions.check``.
    """
    suite, plan, settings = request.suite, request.plan, request.settings
    functions.check(suite, plan.cases, folders, metrics=metrics)
    refuse_other_than_text(Path(suite.path).resolve(), settings)
    here = describe_environment(request, device or request.device)
    used = {name: suite.toolchains[name] for name in toolchains.foreign(plan.cases)}
    header = Header(
        run="",
        created="",
        version=bench.__version__,
        environments={"default": here},
        suite=suite.text,
        suite_path=suite.path,
        cases=plan.cases,
        left_out=plan.left_out,
        policy=request.policy,
        baseline=suite.baseline,
        thresholds={**DEFAULT_THRESHOLDS, **suite.accuracy},
        toolchains=used,
        seed=settings.seed,
        cold=settings.cold,
        sources=sources.of_all(plan.cases, Path(suite.path).parent.resolve()),
        limits={name: model.limits for name, model in suite.models.items() if model.limits},
        commit=repository.commit(Path(suite.path).parent),
    )
    places = {name: place_of_toolchain(suite, name) for name in used}
    factories = {name: locate(suite, f"models.{name}.factory") for name in suite.models}
    return kind(header, settings, on_event, places, factories, name=suite.name)


def interruptible() -> AbstractContextManager[object]:
    """A block that Ctrl-C, SIGTERM or SIGHUP interrupts once: what follows until its end is ignored."""
    return stoppable()


def run(request: Request, on_event: OnEvent) -> RunResult:
    """Measure a plan and store the results. InputError, before anything is written, if suite or store are wrong."""
    refuse_contradictions(request.settings)
    check_boundaries(request)
    root = Path(request.settings.store)
    store.check_writable(root)
    artifacts.check_writable(Path(request.settings.cache))
    with new_session(request, on_event, metrics=True) as session:
        session.open()
        header = privacy.without_home(session.prepare(), Path(request.settings.cache))
        with contextlib.closing(store.create(root, header)) as writer:
            return session.measure(writer, (), {case.id for case in request.plan.cases})


def make(
    request: Request, on_event: OnEvent, needed: Callable[[Case], Sequence[Stage]], *, measures: bool = True
) -> Iterator[tuple[Case, stages.Ready | Failure]]:
    """The artifacts that ``needed`` names of each case of a plan, from the cache or made as in a run.

    The device is locked unless none of them ``measures`` anything on it.

    A folder that was made ``cold`` lasts until the iterator is closed.
    """
    cases = request.plan.cases
    with new_session(request, on_event) as session:
        session.open(measures=measures)
        for index, case in enumerate(cases):
            on_event(Started(label=case.label, done=index, total=len(cases)))
            end = session.artifacts(case, needed(case))
            assert not isinstance(end, stages.Postponed)  # what is made alone
            yield case, end
