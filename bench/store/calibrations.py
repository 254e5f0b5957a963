"""Calibrations as they are stored: one JSON file each beside the runs of their device, ``calibration-TIME-HASH.json``.

The schema version is written into the file; a file of an older schema would be migrated here, a newer one is refused.
"""

from __future__ import annotations

import contextlib
import math
import os
import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

from bench.errors import UPGRADE, StoreError, did_you_mean
from bench.model.calibration import Alarms, Calibration, Component, Level
from bench.store.files import store_error

SCHEMA = 1
HISTORY: dict[int, str] = {1: "2026-11-28: the first version."}
_NAME = re.compile(r"calibration-\d{8}T\d{6}Z-[0-9a-f]+")
_LARGEST_FILE = 1 << 26  # bytes


class _Version(msgspec.Struct):
    """What must be known of a file before the rest of it can be read."""

    schema: int = 0


def write(root: Path, calibration: Calibration) -> Path:
    """The file of a new calibration, ``ROOT/ARCH/DEVICE/NAME.json``, whole or not at all. StoreError if that fails."""
    here = calibration.environment
    path = root / here.arch / here.slug / f"{calibration.calibration}.json"
    content = msgspec.json.format(msgspec.json.encode(calibration), indent=1) + b"\n"
    part = path.with_name(f".{path.name}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.rename(path)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink()
        raise store_error(error, path, "choose another folder: --store DIR") from error
    return path


def read(path: Path) -> Calibration:
    """A stored calibration. StoreError if it cannot be read, is none, or has figures that cannot be."""
    another = "name another, or make one: trtbench calibrate SUITE"
    try:
        with path.open("rb") as file:
            content = file.read(_LARGEST_FILE)
    except OSError as error:
        raise StoreError(f"cannot be read: {error.strerror}", where=str(path), fix=another) from error
    try:
        schema = msgspec.json.decode(content, type=_Version).schema
        if schema > SCHEMA:
            what = f"the calibration has schema {schema}; this trtbench reads up to {SCHEMA}"
            raise StoreError(what, where=str(path), fix=UPGRADE)
        calibration = msgspec.json.decode(content, type=Calibration) if schema else None
    except (ValueError, RecursionError) as error:
        raise StoreError(f"not a calibration: {error}", where=str(path), fix=another) from error
    if calibration is None:
        raise StoreError("not a calibration: it has no schema version", where=str(path), fix=another)
    for problem in _problems(calibration):
        raise StoreError(f"not a calibration that trtbench wrote: {problem}", where=str(path), fix=another)
    return calibration


def files(root: Path) -> list[Path]:
    """The files of all calibrations under ``root``, newest first."""
    paths = [path for path in root.glob("*/*/calibration-*.json") if _NAME.fullmatch(path.stem)]
    return sorted(paths, key=lambda path: path.name, reverse=True)


def beside(folder: Path) -> list[Calibration]:
    """The calibrations in a folder of runs that can be read, newest first."""
    paths = sorted(folder.glob("calibration-*.json"), key=lambda path: path.name, reverse=True)
    readable = []
    for path in paths:
        with contextlib.suppress(StoreError):  # pages and comparisons can do without it
            readable.append(read(path))
    return readable


def resolve(root: Path, name: str) -> Path:
    """The file of a calibration by its path, its name or the beginning of that. StoreError if none or several fit."""
    if os.path.isfile(name):
        return Path(name)
    names = {path.stem: path for path in files(root)}
    fitting = [path for stem, path in names.items() if stem.startswith((name, f"calibration-{name}"))]
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        several = ", ".join(path.stem for path in fitting[:5])
        raise StoreError(f"{name!r} fits {len(fitting)} calibrations: {several}", fix="give more of the name")
    fix = f"the latest is {next(iter(names))}" if names else "make one: trtbench calibrate SUITE"
    raise StoreError(f"no calibration {name!r} in {root}.{did_you_mean(name, names)}", fix=fix)


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
