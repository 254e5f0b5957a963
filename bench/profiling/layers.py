"""The layers of the engines of a few cases, timed in a separate pass whose result is an artifact."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from bench.backends import base
from bench.errors import UsageError
from bench.model.abilities import TimesLayers
from bench.model.profile import FILE, Layers
from bench.model.run import Failure
from bench.model.seam import Stage
from bench.model.suite import Case
from bench.runner import run
from bench.runner.dispatch import OnEvent
from bench.runner.request import Request
from bench.runner.session import Session
from bench.runner.stages import Postponed, Ready

MOST = 8


def layers(request: Request, on_event: OnEvent) -> Iterator[tuple[Case, Layers | Failure]]:
    """The layers of each case of a plan, from the cache if possible, or the failure.

    UsageError for more than MOST cases, and for a backend that cannot report layers.
    """
    _check(request.plan.cases)
    for case, ready in run.make(request, on_event, _stages):
        if isinstance(ready, Failure):
            yield case, ready
            continue
        yield case, _read(case, ready)


def of_case(session: Session, case: Case) -> Layers | Failure:
    """The layers of one case, with all that is needed made in ``session``; a failure of a backend that has none."""
    if not isinstance(base.load(case.backend), TimesLayers):
        return Failure(kind="Unsupported", stage="layers", message=f"{case.backend} cannot report layers")
    ready = session.artifacts(case, _stages(case))
    return ready if isinstance(ready, Failure) else _read(case, ready)


def check_any(cases: Sequence[Case]) -> None:
    """UsageError if none of the cases is of a backend that can report layers."""
    if not any(isinstance(base.load(case.backend), TimesLayers) for case in cases):
        _check(cases)


def _read(case: Case, ready: Ready | Postponed) -> Layers:
    assert isinstance(ready, Ready)  # what is made alone is not postponed
    folder = Path(ready.folders[_backend_of(case).layers(case).name])
    return msgspec.json.decode((folder / FILE).read_bytes(), type=Layers)


def _stages(case: Case) -> list[Stage]:
    return [*base.load(case.backend).stages(case), _backend_of(case).layers(case)]


def _backend_of(case: Case) -> TimesLayers:
    backend = base.load(case.backend)
    assert isinstance(backend, TimesLayers)
    return backend


def _check(cases: Sequence[Case]) -> None:
    without_layers = list(dict.fromkeys(c.backend for c in cases if not isinstance(base.load(c.backend), TimesLayers)))
    if without_layers:
        with_layers = [case.backend for case in cases if case.backend not in without_layers]
        fix = f'--select "backend={with_layers[0]}"' if with_layers else "add `tensorrt` to the backends of the suite"
        raise UsageError(f"{', '.join(without_layers)} cannot report layers", fix=fix)
    if len(cases) > MOST:
        raise UsageError(
            f"{len(cases)} cases are selected; layers are printed for at most {MOST}",
            fix=f'one of them: --select "id={cases[0].id}"  (trtbench list shows every id)',
        )
