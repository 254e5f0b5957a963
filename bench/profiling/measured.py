"""What runs have measured of two profiled cases, without a profiler: each boundary by the newest that has it."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from bench.analysis import rows
from bench.errors import StoreError
from bench.model.run import Environment, Header
from bench.model.suite import Boundary
from bench.store import reader

_BOUNDARIES: tuple[Boundary, ...] = ("gpu", "gpu_unheld", "latency")
# What is searched for in older runs. A run that asks for gpu may have gpu_unheld in its place.
_NEEDED: frozenset[Boundary] = frozenset({"gpu", "latency"})
_ON_CPU: frozenset[Boundary] = frozenset({"latency"})

Medians = dict[str, float]


class Measured(NamedTuple):
    """Medians of two cases, ns by boundary; those of ``gpu``, ``gpu_unheld`` and ``latency`` that a run has of both.

    ``runs`` has the id of that run by boundary. Where no run has measured both, all three are empty.
    """

    runs: dict[str, str]
    a: Medians
    b: Medians


NOTHING = Measured({}, {}, {})


def newest(folders: Iterable[Path], environment: Environment, a: str, b: str) -> Measured:
    """The medians of the cases ``a`` and ``b`` (ids), each boundary by the newest run in ``folders`` that was made on
    the same model of device and has it of both. A file that cannot be read is passed over.
    """
    paths = {path for folder in folders for path in folder.glob("*.jsonl")}
    needed = _ON_CPU if environment.kind == "cpu" else _NEEDED
    runs: dict[str, str] = {}
    of_a: Medians = {}
    of_b: Medians = {}
    for path in sorted(paths, key=lambda path: path.name, reverse=True):
        try:
            header = reader.read_header(path)
            if not _may_tell(header, environment, {a, b}, needed - runs.keys()):
                continue
            times = _times(path, a, b)
        except StoreError:
            continue  # explaining needs no run, and `trtbench show` says what is wrong with a file
        for boundary in times.keys() - runs.keys():
            runs[boundary] = header.run
            of_a[boundary], of_b[boundary] = times[boundary]
        if needed <= runs.keys():
            break
    shown = [each for each in _BOUNDARIES if each in runs]
    return Measured(
        {each: runs[each] for each in shown},
        {each: of_a[each] for each in shown},
        {each: of_b[each] for each in shown},
    )


def _may_tell(header: Header, environment: Environment, cases: set[str], needed: Iterable[str]) -> bool:
    """Whether a run is of that model of device, and was to measure both cases by a boundary that is still needed."""
    there = header.environments.get("default")
    return (
        there is not None
        and (there.arch, there.slug) == (environment.arch, environment.slug)
        and header.duel is None
        and cases <= {case.id for case in header.cases}
        and (not header.policy.boundaries or not set(header.policy.boundaries).isdisjoint(needed))
    )


def _times(path: Path, a: str, b: str) -> dict[str, tuple[float, float]]:
    """The medians of both cases in a run, by the boundaries that both have."""
    run = reader.read(path, packed=True, only={a, b})
    times = {row.case: row.times for row in rows.rows(run, distributions=False) if row.case in (a, b)}
    shared = [each for each in _BOUNDARIES if each in times[a] and each in times[b]]
    return {each: (times[a][each].value, times[b][each].value) for each in shared}
