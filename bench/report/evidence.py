"""What the intervals of a table leave out, and what its marks of missing evidence mean: lines of its legend."""

from __future__ import annotations

from collections.abc import Sequence

from bench.analysis.rows import Row, has_replicates
from bench.analysis.speed import VAGUE, Speed, is_undecided
from bench.report import cells


def evidence(table: Sequence[Row]) -> list[str]:
    """What the intervals leave out where figures rest on one process or on different cards, and what cells.ALONE,
    cells.ACROSS, cells.UNKNOWN and cells.UNDECIDED say; a line each, none if there is nothing to say.
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
    return lines + _undecided([row.speed for row in table if row.speed and row.speed.against != row.label])


def _undecided(speeds: Sequence[Speed]) -> list[str]:
    """What stands in place of the interval of a ratio, or of the ratio, that decides nothing."""
    lines, ratios = [], [speed for speed in speeds if speed.ratio is not None]
    if any(speed.low is None for speed in ratios):
        lines.append(
            f"{cells.UNKNOWN} of a ratio: a side has one process, which does not show how processes differ "
            "(--replicates 3 does)"
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
