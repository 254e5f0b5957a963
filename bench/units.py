"""Integer nanoseconds and bytes: parsing and formatting of durations, sizes and fractions."""

from __future__ import annotations

import re

NS_PER_S = 1_000_000_000

_TIME = {"ns": 1, "us": 1_000, "µs": 1_000, "ms": 1_000_000, "s": NS_PER_S, "min": 60 * NS_PER_S, "h": 3600 * NS_PER_S}
_SIZE = {"B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_QUANTITY = re.compile(r"\s*([0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?)\s*([A-Za-zµ%]*)\s*\Z")


def _parse(text: str, units: dict[str, int], example: str) -> int:
    match = _QUANTITY.match(text)
    if not match or match[2] not in units:
        raise ValueError(f"{text!r} is not a number with a unit ({', '.join(units)}), e.g. {example!r}")
    return round(float(match[1]) * units[match[2]])


def parse_time(text: str) -> int:
    """``"1.2 ms"`` -> 1200000 (integer nanoseconds). ValueError if the unit is missing or unknown."""
    return _parse(text, _TIME, "1.2 ms")


def parse_size(text: str) -> int:
    """``"2 GiB"`` -> 2147483648 (bytes). ValueError if the unit is missing or unknown."""
    return _parse(text, _SIZE, "2 GiB")


def parse_fraction(text: str) -> float:
    """``"0.5%"`` or ``"0.005"`` -> 0.005. ValueError for anything else."""
    match = _QUANTITY.match(text)
    if not match or match[2] not in ("", "%"):
        raise ValueError(f"{text!r} is not a fraction, e.g. '0.5%' or '0.005'")
    return float(match[1]) / (100 if match[2] else 1)


def _digits(value: float, digits: int) -> str:
    """``value`` with ``digits`` significant digits and no exponent."""
    if value == 0:
        return "0"
    whole = len(str(int(abs(value)))) if abs(value) >= 1 else 0
    return f"{value:.{max(digits - whole, 0)}f}"


def _scaled(value: float, steps: tuple[tuple[float, str], ...], digits: int) -> str:
    for factor, unit in steps:
        if abs(value) >= factor * 0.9995:
            return f"{_digits(value / factor, digits)} {unit}"
    factor, unit = steps[-1]
    return f"{_digits(value / factor, digits)} {unit}"


def format_time(ns: float, digits: int = 3) -> str:
    """1234567 -> ``"1.23 ms"``: ``digits`` significant digits in ns, us, ms or s."""
    return _scaled(ns, ((1e9, "s"), (1e6, "ms"), (1e3, "us"), (1, "ns")), digits)


def format_size(size: float, digits: int = 3) -> str:
    """98_000_000 -> ``"93.5 MiB"`` (binary units)."""
    return _scaled(size, ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB"), (1, "B")), digits)


def format_rate(per_second: float, digits: int = 3) -> str:
    """1234.5 -> ``"1,230"``-like rate without a unit: thousands separated, ``digits`` significant digits."""
    if per_second >= 10 ** (digits - 1):
        return f"{per_second:,.0f}"
    return _digits(per_second, digits)
