"""Aligns the units of two cases by the structure of their model: the smallest blocks that no unit of either crosses."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from bench.analysis import explain_names, operator_order, operators, unit_keys
from bench.analysis.explain_sides import Unit
from bench.analysis.unit_keys import Keys
from bench.model.data import Data

By = Literal["nodes", "modules", "operators"]
_LONGEST_NAME = 4
_TRANSFERS = {"h2d": "inputs to the device", "d2h": "outputs to the host"}


class Block(Data, frozen=True, kw_only=True):
    """A part of the model: which units of A and of B (indices, in order) compute it, and its ``name``."""

    name: str
    a: tuple[int, ...] = ()
    b: tuple[int, ...] = ()


class Alignment(Data, frozen=True, kw_only=True):
    """All units of both sides, each in one of ``blocks``; ``by`` says what they were aligned by."""

    by: By
    blocks: tuple[Block, ...]


def align(a: Sequence[Unit], b: Sequence[Unit]) -> Alignment:
    """Blocks in the order in which A runs them.

    By the names of ``nodes`` or the paths of ``modules`` where the sides share half of them, else by the order of
    ``operators``: convolutions, products and attention are matched in order, other units belong to the one before.
    Copies from and to the host are blocks of their own.
    """
    # Which side comes first decides between matches that are as good: it must not depend on who asks.
    if _content(b) < _content(a):
        turned = align(b, a)
        return Alignment(by=turned.by, blocks=_in_order([Block(name=o.name, a=o.b, b=o.a) for o in turned.blocks]))
    own = [[at for at, unit in enumerate(side) if not unit.transfer] for side in (a, b)]
    inner = _align([a[at] for at in own[0]], [b[at] for at in own[1]])
    blocks = [
        Block(name=each.name, a=tuple(own[0][at] for at in each.a), b=tuple(own[1][at] for at in each.b))
        for each in inner.blocks
    ]
    for transfer in ("h2d", "d2h"):
        copies = [tuple(at for at, unit in enumerate(side) if unit.transfer == transfer) for side in (a, b)]
        if any(copies):
            blocks.append(Block(name=_TRANSFERS[transfer], a=copies[0], b=copies[1]))
    return Alignment(by=inner.by, blocks=_in_order(blocks))


def _content(units: Sequence[Unit]) -> list[tuple[str, int, tuple[str, ...]]]:
    return [(unit.name, unit.ns, tuple(name.exact for name in unit.names)) for unit in units]


def _align(a: Sequence[Unit], b: Sequence[Unit]) -> Alignment:
    uneven = unit_keys.uneven(a, b)
    by_nodes = (unit_keys.by_call(a, uneven, exact=True), unit_keys.by_call(b, uneven, exact=True))
    by_modules = (unit_keys.by_call(a, uneven, exact=False), unit_keys.by_call(b, uneven, exact=False))
    plain = tuple([tuple(name.path for name in unit.names if name.path) for unit in side] for side in (a, b))
    for by, (keys_a, keys_b) in (("nodes", by_nodes), ("modules", by_modules), ("modules", (plain[0], plain[1]))):
        nodes = by == "nodes" and any(name.operator for unit in (*a, *b) for name in unit.names)
        kind: By = "nodes" if nodes else "modules"
        if not (unit_keys.tells(a, keys_a) and unit_keys.tells(b, keys_b)):
            continue
        if unit_keys.shares(keys_a, keys_b):
            return _by_keys(a, b, keys_a, keys_b, kind)
        without = unit_keys.without_root(keys_a), unit_keys.without_root(keys_b)
        if unit_keys.shares(*without):
            return _by_keys(unit_keys.without_wrapper(a), unit_keys.without_wrapper(b), *without, kind)
    return _by_operators(a, b)


# ---------------------------------------------------------------------------------------------------------- by names


class _Union:
    """Sets that merge, by the root of each member."""

    def __init__(self) -> None:
        self._parent: dict[str, str] = {}

    def root(self, key: str) -> str:
        path = []
        while (parent := self._parent.setdefault(key, key)) != key:
            path.append(key)
            key = parent
        for each in path:
            self._parent[each] = key
        return key

    def merge(self, keys: Iterable[str]) -> None:
        first, *rest = [self.root(key) for key in keys] or [""]
        for each in rest:
            self._parent[self.root(each)] = self.root(first)


def _by_keys(a: Sequence[Unit], b: Sequence[Unit], keys_a: Keys, keys_b: Keys, by: By) -> Alignment:
    union = _Union()
    orders = [list(dict.fromkeys(key for own in keys for key in own)) for keys in (keys_a, keys_b)]
    shared = set(orders[0]) & set(orders[1])
    for units, keys in ((a, keys_a), (b, keys_b)):
        for unit, own in zip(units, keys, strict=True):
            union.merge(own)
            if unit.span and len(own) > 1:
                for order in orders:
                    if own[0] in order and own[-1] in order:
                        first, last = sorted((order.index(own[0]), order.index(own[-1])))
                        union.merge(order[first : last + 1])
    for order, other in (orders, orders[::-1]):
        shared |= _join_parts(union, order, other)
    for order in orders:
        _attach(union, order, shared)
    members: dict[str, tuple[list[int], list[int]]] = {}
    for index, keys in enumerate((keys_a, keys_b)):
        units = (a, b)[index]
        for at, key in enumerate(_filled(units, keys)):
            members.setdefault(union.root(key) if key else "", ([], []))[index].append(at)
    blocks = [Block(name=_name(a, b, *each), a=tuple(each[0]), b=tuple(each[1])) for each in members.values()]
    return Alignment(by=by, blocks=tuple(_numbered(blocks)))


def _join_parts(union: _Union, order: Sequence[str], other: Sequence[str]) -> set[str]:
    """Merge each module that the other side names by its parts alone with these; all that were merged."""
    joined: set[str] = set()
    around, own = _modules_around(other), _modules_around(order)
    for key in sorted(set(order) - set(other)):
        if key in around and key not in own:
            inner = [each for each in other if each.startswith(f"{key}.")]
            union.merge([key, *inner])
            joined |= {key, *inner}
    return joined


def _modules_around(keys: Sequence[str]) -> set[str]:
    """Every module that a key lies in."""
    return {key[:at] for key in keys for at, character in enumerate(key) if character == "."}


def _attach(union: _Union, order: Sequence[str], shared: set[str]) -> None:
    """Merge each key of one side alone with its neighbour of the same module that both sides have, the one before if
    both neighbours are as near.
    """
    anchors: list[str | None] = [None] * len(order)
    after: str | None = None
    for at in range(len(order) - 1, -1, -1):
        anchors[at] = after
        after = order[at] if order[at] in shared else after
    before: str | None = None
    for at, key in enumerate(order):
        if key in shared:
            before = key
            continue
        nearest = max(filter(None, (before, anchors[at])), key=lambda each: _nearness(key, each), default=None)
        if nearest is not None:
            union.merge([nearest, key])


def _nearness(key: str, other: str) -> int:
    parts = [each.replace("/", ".").split(".") for each in (key, other)]
    return next((at for at, pair in enumerate(zip(*parts, strict=False)) if pair[0] != pair[1]), min(map(len, parts)))


def _filled(units: Sequence[Unit], keys: Keys) -> list[str]:
    """One key for each unit; of one without, that of the unit before, or after for what moves values."""
    firsts = [own[0] if own else "" for own in keys]
    after, following = "", [""] * len(firsts)
    for at in range(len(firsts) - 1, -1, -1):
        after = firsts[at] or after
        following[at] = after
    before, filled = "", []
    for unit, own, later in zip(units, firsts, following, strict=True):
        before = own or before
        filled.append(own or (later or before if unit.family in operators.MOVES else before or later))
    return filled


# ------------------------------------------------------------------------------------------------------ by operators


def _by_operators(a: Sequence[Unit], b: Sequence[Unit]) -> Alignment:
    several = operator_order.match(a, b)
    if not several:
        return Alignment(by="operators", blocks=_whole(a, b))
    blocks = [Block(name=_name(a, b, *own), a=tuple(own[0]), b=tuple(own[1])) for own in several]
    return Alignment(by="operators", blocks=tuple(_numbered(blocks)))


def _whole(a: Sequence[Unit], b: Sequence[Unit]) -> tuple[Block, ...]:
    own = (tuple(range(len(a))), tuple(range(len(b))))
    return (Block(name="all", a=own[0], b=own[1]),) if a or b else ()


# -------------------------------------------------------------------------------------------------------------- names


def _name(a: Sequence[Unit], b: Sequence[Unit], own_a: Sequence[int], own_b: Sequence[int]) -> str:
    """``layer1.0: conv3 + relu_2``: the module that all lies in, and its parts."""
    units = [*(a[at] for at in own_a), *(b[at] for at in own_b)]
    computing = [unit for unit in units if unit.family not in operators.MOVES] or units
    paths = list(dict.fromkeys(name.path for unit in computing for name in unit.names if name.path))
    if not paths:
        exact = list(dict.fromkeys(name.exact for unit in computing for name in unit.names))
        families = list(dict.fromkeys(unit.family for unit in computing))
        return " + ".join(_short(exact)) if exact else " + ".join(_short(families))
    if len(paths) == 1:
        return paths[0] if paths[0] != "." else "the model itself"
    root = explain_names.common(paths)
    rests = [path.removeprefix(root).removeprefix(".") for path in paths if path not in (root, ".")]
    parts = " + ".join(_short(rests or paths))
    return f"{root}: {parts}" if root else parts


def _short(parts: Sequence[str]) -> list[str]:
    if len(parts) <= _LONGEST_NAME:
        return list(parts)
    return [*parts[: _LONGEST_NAME - 2], f"{len(parts) - _LONGEST_NAME + 1} more", parts[-1]]


def _numbered(blocks: Sequence[Block]) -> Iterable[Block]:
    """Names that several blocks have get the number of each."""
    names: dict[str, int] = {}
    for block in blocks:
        names[block.name] = names.get(block.name, 0) + 1
    counts: dict[str, int] = {}
    for block in blocks:
        counts[block.name] = counts.get(block.name, 0) + 1
        number = f" {counts[block.name]}" if names[block.name] > 1 else ""
        yield Block(name=block.name + number, a=block.a, b=block.b)


def _in_order(blocks: Sequence[Block]) -> tuple[Block, ...]:
    """By the first unit of A; what only B runs, after what B runs before it."""
    last, places = -1, {}
    for block in sorted((each for each in blocks if each.b), key=lambda each: each.b[0]):
        last = block.a[0] if block.a else last
        places[block.b[0]] = (last, block.b[0])
    return tuple(sorted(blocks, key=lambda each: (each.a[0], -1) if each.a else places[each.b[0]]))
