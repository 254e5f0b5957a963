"""What a run has measured of two cases that were profiled, without a profiler: the newest run that has both."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from bench.analysis import rows
from bench.errors import StoreError
from bench.model.run import Environment
from bench.model.suite import Boundary
from bench.store import reader

_BOUNDARIES: tuple[Boundary, ...] = ("gpu", "gpu_unheld", "latency")


class Measured(NamedTuple):
    """Medians of two cases in one run, ns by boundary; those of ``gpu``, ``gpu_unheld`` and ``latency`` that both have.
    ``run`` is empty, and so are both, where no run has measured them.
    """

    run: str
    a: dict[str, float]
    b: dict[str, float]


NOTHING = Measured("", {}, {})


def newest(folders: Iterable[Path], environment: Environment, a: str, b: str) -> Measured:
    """The medians of the cases ``a`` and ``b`` (ids) in the newest run in ``folders`` that was made on the same model
    of device and has a boundary of both. A file that cannot be read is passed over.
    """
    paths = {path for folder in folders for path in folder.glob("*.jsonl")}
    for path in sorted(paths, key=lambda path: path.name, reverse=True):
        try:
            if measured := _of_run(path, environment, a, b):
                return measured
        except StoreError:
            continue  # explaining needs no run, and `trtbench show` says what is wrong with a file
    return NOTHING


def _of_run(path: Path, environment: Environment, a: str, b: str) -> Measured | None:
    header = reader.read_header(path)
    if not {a, b} <= {case.id for case in header.cases} or header.duel is not None:
        return None
    there = header.environments.get("default")
    if there is None or (there.arch, there.slug) != (environment.arch, environment.slug):
        return None
    run = reader.read(path, packed=True, only={a, b})
    times = {row.case: row.times for row in rows.rows(run, distributions=False) if row.case in (a, b)}
    shared = [each for each in _BOUNDARIES if each in times[a] and each in times[b]]
    if not shared:
        return None
    of_a, of_b = ({str(each): times[case][each].value for each in shared} for case in (a, b))
    return Measured(header.run, of_a, of_b)
