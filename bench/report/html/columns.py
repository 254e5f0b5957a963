"""Tables as columns of JSON: a column whose values repeat has each of them once, so that large runs stay small."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

_PLAIN = {bool, int, float, str, type(None)}


def table(rows: Sequence[Mapping[str, Any]], columns: Iterable[str] = ()) -> dict[str, Any]:
    """``{"rows": n, "columns": {name: column}}``; a row without a column's value has null there.

    ``columns`` are those that must exist whatever the rows have. A column is a list with a value for each row,
    ``{"same": value}``, or ``{"of": [distinct values], "at": [the place of each row's]}``.
    """
    names = dict.fromkeys([*columns, *itertools.chain.from_iterable(rows)])
    return {"rows": len(rows), "columns": {name: column([row.get(name) for row in rows]) for name in names}}


def column(values: Sequence[Any]) -> Any:
    """The values of a column in the shortest of its three forms; numbers are rounded."""
    types = set(map(type, values))
    if types == {float} and values.count(values[0]) == len(values):
        return {"same": number(values[0])}
    if float in types:
        values = [
            value
            if type(value) is not float
            else int(value)  # as number() has it, without a call for each of a million
            if -1e6 < value < 1e6 and value.is_integer()
            else number(value)
            for value in values
        ]
    if not values or not types <= _PLAIN:
        return list(values)
    if len(types) == 1 and values.count(values[0]) == len(values):
        return {"same": values[0]}
    if str in types and not types & {bool, int, float}:  # whose 1 and True would be one
        places: dict[Any, int] = {}
        at = [places.setdefault(value, len(places)) for value in values]
        if len(places) * 2 <= len(values):
            return {"of": list(places), "at": at}
    return list(values)


def number(value: float) -> int | float | None:
    """The number with six significant digits, an integer where it is whole; None for what JSON lacks."""
    if -1e6 < value < 1e6 and value.is_integer():  # most times, and six digits say all of them
        return int(value)
    if not math.isfinite(value):
        return None
    short = float("%.6g" % value)  # noqa: UP031, which is as fast as it gets, for a million of them
    return int(short) if short.is_integer() and abs(short) < 2**53 else short


def steps(values: Sequence[int]) -> list[int]:
    """Ascending whole numbers as ``[unit, first, step, step, ...]``: a number is that before it plus a step of units.

    The unit is a fiftieth of the middle half's width, so that a step mostly has one or two digits.
    """
    if not values:
        return []
    width = values[len(values) * 3 // 4] - values[len(values) // 4]
    unit = max(1, width // 50)
    places = [round((value - values[0]) / unit) for value in values]
    return [unit, values[0], *(b - a for a, b in itertools.pairwise(places))]
