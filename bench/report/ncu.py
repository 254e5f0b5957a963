"""The figures that Nsight Compute counted of a kernel, for a terminal."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bench.model.profile import KernelFigures
from bench.report import escape
from bench.units import format_rate, format_time

_LEGEND = "counted with cold caches while the kernel was replayed alone: compare the shares, and durations with nsys's"


def render(figures: Sequence[KernelFigures], *, width: int = 80) -> str:
    """A block of lines per launch: what it is, how long it takes, and how busy it keeps the GPU."""
    return "".join(f"{line}\n" for each in figures for line in _lines(each, width)) + f"{_LEGEND}\n"


def _lines(figures: KernelFigures, width: int) -> list[str]:
    rows = [
        ("duration", format_time(figures.ns) if figures.ns is not None else ""),
        ("SM", _of_peak(figures.sm)),
        ("memory", _of_peak(figures.memory)),
        ("DRAM", _of_peak(figures.dram)),
        ("occupancy", _occupancy(figures)),
        ("registers", f"{figures.registers} a thread" if figures.registers is not None else ""),
        ("grid", _grid(figures)),
    ]
    name = escape.line(figures.name)
    head = name if len(name) <= width else f"{name[: max(width - 1, 1)]}…"
    return [head, *(f"  {title:<10} {text}" for title, text in rows if text)]


def _of_peak(fraction: float | None) -> str:
    return "" if fraction is None else f"{fraction:.1%} of its peak"


def _occupancy(figures: KernelFigures) -> str:
    if figures.occupancy is None:
        return ""
    limit = "" if figures.occupancy_limit is None else f" of {figures.occupancy_limit:.1%} possible"
    return f"{figures.occupancy:.1%}{limit}"


def _grid(figures: KernelFigures) -> str:
    if not figures.grid or not figures.block:
        return ""
    blocks, threads = math.prod(figures.grid), math.prod(figures.block)
    waves = "" if figures.waves is None else f", {format_rate(figures.waves)} waves"
    return f"{blocks:,} blocks of {threads:,} threads{waves}"
