"""Integer nanoseconds and bytes: parsing and formatting of durations, sizes and fractions."""

from __future__ import annotations

import math
import re
from typing import TypeAlias

NS_PER_S = 1_000_000_000

_TIME = {"ns": 1, "us": 1_000, "µs": 1_000, "ms": 1_000_000, "s": NS_PER_S, "min": 60 * NS_PER_S, "h": 3600 * NS_PER_S}
_SIZE = {"B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}
_NUMBER = r"[0-9]*\.?[0-9]+(?:[eE][-+]?[0-9]+)?"
_QUANTITY = re.compile(rf"\s*({_NUMBER})\s*([A-Za-zµ%]*)\s*\Z")
# Regular expressions, as JSON Schema has them, for what parse_time and parse_fraction take.
TIME_PATTERN = rf"^\s*{_NUMBER}\s*({'|'.join(_TIME)})\s*$"
FRACTION_PATTERN = rf"^\s*{_NUMBER}\s*%?\s*$"


def _parse(text: str, units: dict[str, int], example: str) -> int:
    match = _QUANTITY.match(text)
    if not match or match[2] not in units:
        raise ValueError(f"{text!r} is not a number with a unit ({', '.join(units)}), e.g. {example!r}")
    value = float(match[1]) * units[match[2]]
    if math.isinf(value):
        raise ValueError(f"{text!r} is too large")
    return round(value)


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
    value = float(match[1]) / (100 if match[2] else 1)
    if math.isinf(value):
        raise ValueError(f"{text!r} is too large")
    return value


def _decimals(value: float, digits: int) -> int:
    """Decimal places that show ``digits`` significant digits of ``value``; none if the whole part has as many."""
    if digits == 3 and 1 <= value < 999:  # most of what tables show, away from where rounding adds a digit
        if value < 9.99:
            return 2
        if 10 <= value < 99.9:
            return 1
        if value >= 100:
            return 0
    if value == 0 or not math.isfinite(value):
        return 0
    exponent = int(f"{value:.{digits - 1}e}".partition("e")[2])  # after rounding: 9.999 has that of 10.0
    return max(digits - 1 - exponent, 0)


def _digits(value: float, digits: int) -> str:
    return f"{value:.{_decimals(value, digits)}f}"


# Units that rise: the factor and the name of each, and the factor of the next.
_Steps: TypeAlias = tuple[tuple[int, str, float], ...]
_TIME_STEPS: _Steps = (
    (1, "ns", 10**3), (10**3, "us", 10**6), (10**6, "ms", NS_PER_S), (NS_PER_S, "s", math.inf),
)  # fmt: skip
_SIZE_STEPS: _Steps = ((1, "B", 2**10), (2**10, "KiB", 2**20), (2**20, "MiB", 2**30), (2**30, "GiB", math.inf))


def _in_unit(value: float, steps: _Steps, digits: int) -> str:
    """In the first unit in which the rounded number stays below one of the next."""
    size = abs(value)
    for factor, unit, above in steps:
        if size >= above:  # and no rounding makes it less
            continue
        text = _digits(value / factor, digits)
        if size < 0.9 * above or abs(float(text)) * factor < above:
            return f"{text} {unit}"
    factor, unit, _ = steps[-1]
    return f"{_digits(value / factor, digits)} {unit}"


def format_time(ns: float, digits: int = 3) -> str:
    """1234567 -> ``"1.23 ms"``: ``digits`` significant digits in ns, us, ms or s."""
    return _in_unit(ns, _TIME_STEPS, digits)


def format_size(size: float, digits: int = 3) -> str:
    """98_000_000 -> ``"93.5 MiB"`` (binary units); a number of bytes below 1 KiB is whole."""
    if abs(size) < 2**10 and size == int(size):
        return f"{size:.0f} B"
    return _in_unit(size, _SIZE_STEPS, digits)


def format_rate(per_second: float) -> str:
    """1234.5 -> ``"1,234"``, 12.345 -> ``"12.3"``: thousands separated, at least three significant digits."""
    return f"{per_second:,.{_decimals(per_second, 3)}f}"
