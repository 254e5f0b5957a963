"""By which names of modules and nodes the units of two cases are held against each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from bench.analysis import explain_names, operators
from bench.analysis.explain_sides import Unit

# How much of the smaller set of names the two sides must share to be aligned by them.
_SHARED = 0.5

Keys = list[tuple[str, ...]]  # of each unit: the nodes or modules that it computes, as both sides call them


def uneven(a: Sequence[Unit], b: Sequence[Unit]) -> frozenset[str]:
    """The modules that the sides compute in different numbers of pieces, which therefore are no calls: one side may run
    a part of the module in between, or prepare the weights of a convolution ahead of all else.
    """
    pieces = [{path: number for own in _in_pieces(side) for path, number in own} for side in (a, b)]
    return frozenset(path for path in pieces[0].keys() & pieces[1].keys() if pieces[0][path] != pieces[1][path])


def _in_pieces(units: Sequence[Unit]) -> Iterator[list[tuple[str, int]]]:
    """For each unit its modules, and how many pieces of each came before the one that it is in."""
    number: dict[str, int] = {}
    last: dict[str, int] = {}
    for at, unit in enumerate(units):
        own = []
        for path in dict.fromkeys(name.path for name in unit.names if not name.operator):
            before = last.get(path)
            number[path] = 0 if before is None else number[path] + (before < at - 1)
            last[path] = at
            own.append((path, number[path]))
        if at and not any(name.path or name.operator for name in unit.names):  # what has no name ends no piece
            last |= {path: at for path, place in last.items() if place == at - 1}
        yield own


def by_call(units: Sequence[Unit], uneven: frozenset[str], *, exact: bool) -> Keys:
    """The keys of each unit. A module that computes several times has one for each, ``relu``, ``relu_1``, as exporters
    to ONNX call them; but not one of ``uneven``.
    """
    keys: Keys = []
    for unit, pieces in zip(units, _in_pieces(units), strict=True):
        number = dict(pieces)
        own = []
        for name in unit.names:
            if name.operator:
                own += [name.exact] if exact else [name.path] if name.path else []
            else:
                later = 0 if name.path in uneven else number[name.path]
                own.append(f"{name.path}_{later}" if later else name.path)
        keys.append(tuple(dict.fromkeys(own)))
    return keys


def without_root(keys: Keys) -> Keys:
    """Keys without the module that all of them lie in: one side may have a wrapper around the model."""
    every = [key for own in keys for key in own if key != "."]
    root = explain_names.common(every) if every and not every[0].startswith("/") else ""
    return [tuple(key.removeprefix(root).removeprefix(".") or "." for key in own) for own in keys] if root else keys


def without_wrapper(units: Sequence[Unit]) -> Sequence[Unit]:
    """The units with the names that the other side has, which lacks the module around all of them."""
    root = explain_names.common([name.path for unit in units for name in unit.names if name.path not in ("", ".")])
    if not root:
        return units

    def inner(name: explain_names.Name) -> explain_names.Name:
        path = name.path.removeprefix(root).removeprefix(".") or "." if name.path else ""
        return msgspec.structs.replace(name, path=path)

    return [msgspec.structs.replace(unit, names=tuple(map(inner, unit.names))) for unit in units]


def shares(a: Keys, b: Keys) -> bool:
    """Whether both sides have half of the keys of the side that has fewer."""
    sets = [{key for own in keys for key in own} for keys in (a, b)]
    return bool(sets[0] and sets[1]) and len(sets[0] & sets[1]) >= _SHARED * min(map(len, sets))


def tells(units: Sequence[Unit], keys: Keys) -> bool:
    """Whether half of the convolutions, products and attentions have keys: where a runtime has new nodes for them, what
    is left of the names puts them in the wrong place.
    """
    named = [bool(own) for unit, own in zip(units, keys, strict=True) if unit.family in operators.ANCHORS]
    return sum(named) >= _SHARED * len(named)
