"""What runs have measured of two profiled cases, for the command and the dashboard alike; pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypeVar

from bench.analysis.figures import Figure
from bench.analysis.flaws import Flaw
from bench.model.run import Environment, Header
from bench.model.suite import Boundary

_BOUNDARIES: tuple[Boundary, ...] = ("gpu", "gpu_unheld", "latency")
# What is searched for in older runs. A run that asks for gpu may have gpu_unheld in its place.
_NEEDED: frozenset[Boundary] = frozenset({"gpu", "latency"})
_ON_CPU: frozenset[Boundary] = frozenset({"latency"})

Medians = dict[str, float]
_Value = TypeVar("_Value", str, float)


class Measured(NamedTuple):
    """Medians of two cases, ns by boundary; those of ``gpu``, ``gpu_unheld`` and ``latency`` that a run has of both.

    ``runs`` has the id of that run by boundary. Where no run has measured both, all three are empty. ``flaw_a`` and
    ``flaw_b`` say why such a run cannot judge a case, a predicate with the run's id; empty where it can.
    """

    runs: dict[str, str]
    a: Medians
    b: Medians
    flaw_a: str = ""
    flaw_b: str = ""


NOTHING = Measured({}, {}, {})


class OfCase(NamedTuple):
    """The times of a case in a run, by boundary, and why they cannot be used, None if they can."""

    times: Mapping[Boundary, Figure]
    flaw: Flaw | None


class Newest:
    """Gathers each boundary of two cases from the newest run that has it of both; runs come newest first."""

    def __init__(self, environment: Environment, a: str, b: str) -> None:
        """``environment`` is the one that the cases (ids) ``a`` and ``b`` were profiled in."""
        self._environment = environment
        self._cases = {a, b}
        self._runs: dict[str, str] = {}
        self._a: Medians = {}
        self._b: Medians = {}
        self._flaws: list[str] = ["", ""]

    @property
    def missing(self) -> frozenset[Boundary]:
        """The boundaries that an older run may still have; none when the search is over."""
        needed = _ON_CPU if self._environment.kind == "cpu" else _NEEDED
        return needed - self._runs.keys()

    def may_have(self, header: Header) -> bool:
        """Whether a run is of that model of device, and was to measure both cases by a boundary that is missing."""
        there = header.environments.get("default")
        return (
            there is not None
            and (there.arch, there.slug) == (self._environment.arch, self._environment.slug)
            and header.duel is None
            and self._cases <= {case.id for case in header.cases}
            and (not header.policy.boundaries or not set(header.policy.boundaries).isdisjoint(self.missing))
        )

    def add(self, run: str, a: OfCase, b: OfCase) -> None:
        """Take what the run (its id) has measured of both and newer ones have not."""
        new = [each for each in _BOUNDARIES if each in a.times and each in b.times and each not in self._runs]
        for boundary in new:
            self._runs[boundary] = run
            self._a[boundary], self._b[boundary] = a.times[boundary].value, b.times[boundary].value
        for side, of in enumerate((a, b)):
            if new and of.flaw and not self._flaws[side]:
                self._flaws[side] = f"{of.flaw.text} in {run}"

    @property
    def measured(self) -> Measured:
        """All that was taken."""
        return Measured(_in_order(self._runs), _in_order(self._a), _in_order(self._b), *self._flaws)


def _in_order(by_boundary: Mapping[str, _Value]) -> dict[str, _Value]:
    return {each: by_boundary[each] for each in _BOUNDARIES if each in by_boundary}
