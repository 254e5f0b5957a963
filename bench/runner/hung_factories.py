"""Factories that did not return within the time of a worker: what would call one again in the run is not begun."""

from __future__ import annotations

import threading
from typing import NamedTuple

from bench.backends import base
from bench.model.factory import step_of
from bench.model.run import Failure
from bench.model.seam import REFERENCES, WEIGHTS
from bench.model.suite import Case


def in_factory(failure: Failure, model: str) -> bool:
    """Whether the time of a worker ended in the factory of ``model``, which had at least half of it.

    What else such a worker does first, imports above all, may be slow beside others.
    """
    figures = failure.details
    inside = failure.kind == "Timeout" and failure.stage.endswith(f": {step_of(model)}")
    return inside and 2 * figures.get("stage_ns", 0) >= figures.get("limit_ns", 0) > 0


class _Hang(NamedTuple):
    """The first timeout of a factory, and the case whose worker had called it."""

    failure: Failure
    case: str
    label: str


class HungFactories:
    """Those of one run, by the interpreter that called them and their arguments; several threads may add to them.

    A case that has been measured before is not held to what others met.
    """

    def __init__(self) -> None:
        self._hangs: dict[tuple[str, str], _Hang] = {}
        self._callers: set[tuple[str, str, str]] = set()  # with the backends whose workers that measure have hung
        self._measured: set[str] = set()
        self._lock = threading.Lock()

    def add(self, case: Case, interpreter: str, failure: Failure, *, measuring: bool = False) -> bool:
        """Whether ``failure`` is the timeout of the factory of ``case``, in a worker of ``interpreter`` that made an
        artifact of it, or measured it; from then on it is known.
        """
        if not in_factory(failure, case.model):
            return False
        key = interpreter, case.factory_key
        with self._lock:
            self._hangs.setdefault(key, _Hang(failure, case.id, case.label))
            if measuring:
                self._callers.add((*key, case.backend))
        return True

    def has_measured(self, case: str) -> None:
        """Remember that the case of this id has been measured: its factory returns."""
        with self._lock:
            self._measured.add(case)

    def failure(self, case: Case, interpreter: str) -> Failure | None:
        """Why nothing of ``case`` is begun that calls its factory; None where that is not known to hang."""
        with self._lock:
            hang = self._hangs.get((interpreter, case.factory_key))
            if hang is None or case.id in self._measured:
                return None
        return hang.failure if hang.case == case.id else _of_another(hang)

    def failure_of_measuring(self, case: Case, interpreter: str) -> Failure | None:
        """Why ``case`` is not measured; None also where its worker, as far as is known, runs what was built before, and
        calls no factory.
        """
        with self._lock:
            hangs = (interpreter, case.factory_key, case.backend) in self._callers
        return self.failure(case, interpreter) if hangs or _calls_factory(case) else None


def _calls_factory(case: Case) -> bool:
    """Whether the worker that measures ``case`` builds its model: there is no artifact that it would run."""
    stages = base.load(case.backend).stages(case)
    return not any(stage.of_model and stage.name not in (*REFERENCES, WEIGHTS) for stage in stages)


def _of_another(hang: _Hang) -> Failure:
    """The failure of a case that is not begun, which a resumed run tries: the factory may have been slow only once."""
    return Failure(
        kind=hang.failure.kind,
        stage=hang.failure.stage,
        message=f"not begun, as the same factory did not return in {hang.label}: {hang.failure.message}",
        hint=f"{hang.failure.hint}; the log is that of {hang.label}",
        details={"not_begun": True},
    )
