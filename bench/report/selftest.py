"""The self-test's table: each reading, the expected value, and whether it is within the limit."""

from __future__ import annotations

from collections.abc import Sequence

import bench
from bench.model.checkup import Reading
from bench.model.run import Environment
from bench.report import escape, notes
from bench.units import format_time

_TIMES = ("floor", "copy", "spin", "replay")


def render(readings: Sequence[Reading], environment: Environment) -> str:
    """The device and the version, one line per reading in the order taken, and a line that counts them."""
    lines = [f"{escape.line(notes.describe_device(environment))}, trtbench {bench.__version__}", ""]
    lines += [f"{'':6} {'measured':>10} {'expected':>10} {'off by':>10} {'limit':>10}  what"]
    for reading in readings:
        off = None if reading.expected is None else abs(reading.measured - reading.expected)
        state = "" if reading.expected is None else ("ok" if reading.ok else "FAILED")
        figures = (reading.measured, reading.expected, off, reading.limit)
        cells = " ".join(f"{_figure(reading.name, figure):>10}" for figure in figures)
        lines.append(f"{state:6} {cells}  {escape.line(reading.what)}")
    checks = [reading for reading in readings if reading.expected is not None]
    good = sum(reading.ok for reading in checks)
    return "\n".join([*lines, "", f"{good} of {len(checks)} checks ok"])


def _figure(name: str, figure: float | None) -> str:
    if figure is None:
        return "-"
    return format_time(figure, 4) if name in _TIMES else f"{figure:,.0f}"
