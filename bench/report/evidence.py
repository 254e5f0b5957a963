"""What the intervals of a table leave out, and what its marks of missing evidence mean: lines of its legend."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from pathlib import Path

from bench.analysis.rows import Row, has_replicates
from bench.analysis.sequential import FIRST
from bench.analysis.speed import VAGUE, Speed, is_undecided
from bench.analysis.spreads import knows_more, mismatch
from bench.model.run import Run
from bench.report import cells, escape
from bench.store import calibrations, store_option


def evidence(table: Sequence[Row], run: Run, baseline: str = "") -> list[str]:
    """What the intervals leave out where figures rest on one process or on different cards, and what cells.ALONE,
    cells.ACROSS, cells.UNKNOWN and cells.UNDECIDED say; a line each, none if there is nothing to say. ``table`` are
    the rows of ``run`` with the ``baseline`` that was asked for.
    """
    lines, left_out = [], "spread between processes is not in the interval"
    if not has_replicates(table):
        measured = any(row.processes for row in table)
        lines += [f"1 process: {left_out}s, and no case is marked as the fastest"] if measured else []
    elif alone := sum(map(_alone, table)):
        who = f"one process, or in a ratio one on a side ({cells.count(alone, 'case')})"
        lines.append(f"{cells.ALONE} {who}: {left_out}")
    if across := sum(bool(row.speed and row.speed.across_devices) for row in table):
        who = f"no card or machine is known to have run both sides ({cells.count(across, 'case')})"
        lines.append(f"{cells.ACROSS} {who}: how two of them differ is not in the interval")
    speeds = [row.speed for row in table if row.speed and row.speed.against != row.label]
    if any(speed.pairs for speed in speeds):
        lines.append("ratios to the baseline are those of the duel's pairs; their intervals allow for stopping early")
    return lines + _undecided(speeds, lambda: _calibrated(table, run, baseline))


def _calibrated(table: Sequence[Row], run: Run, baseline: str) -> str:
    """The command that has intervals by a calibration beside the run, the newest of its environment; empty if none."""
    path = Path(run.path)
    here = run.header.environments.get("default")
    if here is None or path.parts[-3:-1] != (here.arch, here.slug):  # not in a store
        return ""
    calibration = next((each for each in calibrations.beside(path.parent) if not mismatch(each, [here], ())), None)
    if calibration is None or not knows_more(calibration, run, table):
        return ""
    words = ["trtbench", "compare", path.stem, "--axis", "backend", *(["--baseline", baseline] if baseline else [])]
    return escape.line(f"{shlex.join(words)}{store_option(path.parents[2])}")


def _undecided(speeds: Sequence[Speed], command: Callable[[], str]) -> list[str]:
    """What stands in place of the interval of a ratio, or of the ratio, that decides nothing."""
    lines, ratios = [], [speed for speed in speeds if speed.ratio is not None]
    if any(speed.low is None and speed.pairs for speed in ratios):
        lines.append(f"{cells.UNKNOWN} of a ratio: fewer than {FIRST} pairs do not show how pairs differ")
    if any(speed.low is None and not speed.pairs for speed in ratios):
        lines.append(
            f"{cells.UNKNOWN} of a ratio: a side has one process, which does not show how processes differ "
            "(--replicates 3 does)"
            + (f"; with the calibration of this kind of machine: {known}" if (known := command()) else "")
        )
    if any(speed.low is not None and is_undecided(speed.low, speed.high) for speed in ratios):
        why = f"the interval of the ratio contains 1, and its ends differ by more than a factor of {VAGUE:g}"
        lines.append(f"{cells.UNDECIDED}: {why}")
    return lines


def _alone(row: Row) -> bool:
    """Whether a time of ``row``, or a side of its speed, has one process. The row may have more of them: those that
    could not hold the stream have no ``gpu``.
    """
    return any(figure.processes == 1 for figure in row.times.values()) or (row.speed is not None and row.speed.within)
