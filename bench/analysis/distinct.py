"""Plain data as keys of mappings, so that equal values are recognised without comparing each with all."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping
from typing import Any

from bench.model.run import Warning


def key_of(value: Any) -> Hashable:
    """What two values of plain data (numbers, texts, lists, mappings) share exactly if they are equal."""
    if isinstance(value, Mapping):
        return "mapping", frozenset((name, key_of(member)) for name, member in value.items())
    if isinstance(value, list | tuple):
        return type(value).__name__, tuple(map(key_of, value))
    return value  # type: ignore[no-any-return]


def key_of_warning(warning: Warning) -> Hashable:
    """What equal warnings share."""
    return warning.kind, warning.message, warning.hint, key_of(warning.figures)


def distinct(warnings: Iterable[Warning]) -> list[Warning]:
    """Each warning once, in order; they hold mappings, which cannot be hashed themselves."""
    first: dict[Hashable, Warning] = {}
    for warning in warnings:
        first.setdefault(key_of_warning(warning), warning)
    return list(first.values())
