"""Calibrations as they are stored: one JSON file each beside the runs of their device, ``calibration-TIME-HASH.json``.

The schema version is written into the file; a file of an older schema would be migrated here, a newer one is refused.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from bench.errors import StoreError
from bench.model.calibration import Alarms, Calibration, Component, Level
from bench.store import documents

HISTORY: dict[int, str] = {1: "2026-11-28: the first version."}
SCHEMA = max(HISTORY)
KIND = documents.Kind(
    prefix="calibration-",
    names=re.compile(r"calibration-\d{8}T\d{6}Z-[0-9a-f]+"),
    schema=SCHEMA,
    fields=(),
    largest=1 << 26,
    one="a calibration",
    several="calibrations",
    no="calibration",
    command="trtbench calibrate SUITE",
)


def write(root: Path, calibration: Calibration) -> Path:
    """The file of a new calibration, ``ROOT/ARCH/DEVICE/NAME.json``, whole or not at all. StoreError if that fails."""
    here = calibration.environment
    path = root / here.arch / here.slug / f"{calibration.calibration}.json"
    documents.write(path, msgspec.json.format(msgspec.json.encode(calibration), indent=1) + b"\n")
    return path


def read(path: Path) -> Calibration:
    """A stored calibration. StoreError if it cannot be read, is none, or has figures that cannot be."""
    calibration = documents.read(path, KIND, Calibration)
    for problem in _problems(calibration):
        what = f"not a calibration that trtbench wrote: {problem}"
        raise StoreError(what, where=str(path), fix=f"name another, or make one: {KIND.command}")
    return calibration


def files(root: Path) -> list[Path]:
    """The files of all calibrations under ``root``, newest first."""
    return documents.files(root, KIND)


def beside(folder: Path) -> list[Calibration]:
    """The calibrations in a folder of runs that can be read, newest first."""
    readable = []
    for path in documents.beside(folder, KIND):
        with contextlib.suppress(StoreError):  # pages and comparisons can do without it
            readable.append(read(path))
    return readable


def resolve(root: Path, name: str) -> Path:
    """The file of a calibration by its path, its name, or the beginning or last part of that.

    StoreError if none or several fit.
    """
    return documents.resolve(root, KIND, name)


def _problems(calibration: Calibration) -> Iterator[str]:
    if calibration.replicates < 2:
        yield f"replicates is {calibration.replicates}"
    for level in (*calibration.levels, *calibration.boundaries):
        name = f"{level.label or 'all cases'}, {level.boundary}"
        for component in (level.process, level.build, level.session):
            if component and not _is_possible(component):
                yield f"a standard deviation of {component.sd} ({name})"
        for alarms in (level.within, level.across, level.without):
            if alarms and not _is_rate(alarms):
                yield f"{alarms.alarms} alarms of {alarms.splits} ({name})"
        yield from _negative(level, name)


def _negative(level: Level, name: str) -> Iterator[str]:
    for field in ("centre_ns", "widest", "one_sitting", "two_sittings"):
        value = getattr(level, field)
        if value is not None and not 0 <= value < math.inf:
            yield f"{field} is {value} ({name})"


def _is_possible(component: Component) -> bool:
    return all(0 <= value < math.inf for value in (component.sd, component.low, component.high, component.dof))


def _is_rate(alarms: Alarms) -> bool:
    return 0 <= alarms.alarms <= alarms.splits and alarms.splits > 0 and 0 <= alarms.low <= alarms.high <= 1
