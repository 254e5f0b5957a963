"""Figures of warnings as text: a number, or a Span where several processes or cases have the same warning."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple, TypeAlias

from bench.units import format_time


class Span(NamedTuple):
    """The lowest and the highest value of a figure."""

    low: float
    high: float


Number: TypeAlias = float | Span


def format_span(value: Number, form: Callable[[float], str]) -> str:
    """``120 us``, or ``120 to 131 us`` where the unit of both ends is the same."""
    if not isinstance(value, Span):
        return form(value)
    low, high = form(value.low), form(value.high)
    number, _, unit = low.partition(" ")
    return high if low == high else f"{number if unit and unit == high.partition(' ')[2] else low} to {high}"


def time(value: Number) -> str:
    """Nanoseconds, in the unit that fits."""
    return format_span(value, format_time)


def percent(value: Number, form: str = ".1%") -> str:
    """A fraction in per cent; ``form`` is Python's format specification."""
    return format_span(value, lambda fraction: format(fraction, form))


def number(value: Number, form: str = ".0f") -> str:
    """A plain number; ``form`` is Python's format specification."""
    return format_span(value, lambda number: format(number, form))


def ratio(value: Number) -> str:
    """Three digits, and whole from 100 on: ``1.78``, ``39.8``, ``1,150``."""
    return format_span(value, lambda number: f"{number:,.0f}" if number >= 99.95 else f"{number:.3g}")


def times(count: Number) -> str:
    """``once``, or ``3 times``."""
    return "once" if count == 1 else f"{number(count)} times"


def low(value: Number) -> float:
    """The number, or the lowest of a span."""
    return value.low if isinstance(value, Span) else value


def high(value: Number) -> float:
    """The number, or the highest of a span."""
    return value.high if isinstance(value, Span) else value


def because(reasons: Iterable[str]) -> str:
    """The first reason, and how many others there are."""
    first, *others = [*reasons] or [""]
    return (f": {first}" if first else "") + (f" (and {len(others)} more)" if others else "")


def enumeration(names: Sequence[str], last: str) -> str:
    """``a, b and c``, with ``last`` as the last word between."""
    return f" {last} ".join(filter(None, [", ".join(names[:-1]), names[-1]]))


def inside(hits: Mapping[str, bool]) -> str:
    """``in throughput``, the boundaries that were hit."""
    return (
        "in every boundary" if all(hits.values()) else f"in {enumeration([b for b, hit in hits.items() if hit], 'and')}"
    )
