"""Aligns the units of two cases by the structure of their model: the smallest blocks that no unit of either crosses."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Literal

from bench.analysis import explain_names, operators
from bench.analysis.explain_sides import Unit
from bench.model.data import Data

By = Literal["nodes", "modules", "operators"]
# How much of the smaller set of names the two sides must share to be aligned by them.
_SHARED = 0.5
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


Keys = list[tuple[str, ...]]  # of each unit: the nodes or modules that it computes, as both sides call them


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
    exact = (_visited(a, exact=True), _visited(b, exact=True))
    visited = (_visited(a, exact=False), _visited(b, exact=False))
    plain = tuple([tuple(name.path for name in unit.names if name.path) for unit in side] for side in (a, b))
    for by, (keys_a, keys_b) in (("nodes", exact), ("modules", visited), ("modules", (plain[0], plain[1]))):
        for pair in ((keys_a, keys_b), (_without_root(keys_a), _without_root(keys_b))):
            if _shares(*pair):
                nodes = by == "nodes" and any(name.operator for unit in (*a, *b) for name in unit.names)
                return _by_keys(a, b, *pair, "nodes" if nodes else "modules")
    return _by_operators(a, b)


# ---------------------------------------------------------------------------------------------------------- by names


def _visited(units: Sequence[Unit], *, exact: bool) -> Keys:
    """The keys of each unit. A module that computes several times has one for each: ``relu``, ``relu_1``, as exporters
    to ONNX call them.
    """
    visits: dict[str, int] = {}
    last: dict[str, int] = {}
    keys: Keys = []
    for unit in units:
        own = []
        for name in unit.names:
            if name.operator:
                own += [name.exact] if exact else [name.path] if name.path else []
                continue
            before = last.get(name.path)
            visits[name.path] = 0 if before is None else visits[name.path] + (before < len(keys) - 1)
            last[name.path] = len(keys)
            own.append(f"{name.path}_{visits[name.path]}" if visits[name.path] else name.path)
        if not own and keys:  # what has no name does not end a visit
            last = {path: len(keys) if at == len(keys) - 1 else at for path, at in last.items()}
        keys.append(tuple(dict.fromkeys(own)))
    return keys


def _without_root(keys: Keys) -> Keys:
    """Keys without the module that all of them lie in: one side may have a wrapper around the model."""
    every = [key for own in keys for key in own if key != "."]
    root = explain_names.common(every) if every and not every[0].startswith("/") else ""
    return [tuple(key.removeprefix(root).removeprefix(".") or "." for key in own) for own in keys] if root else keys


def _shares(a: Keys, b: Keys) -> bool:
    sets = [{key for own in keys for key in own} for keys in (a, b)]
    return bool(sets[0] and sets[1]) and len(sets[0] & sets[1]) >= _SHARED * min(map(len, sets))


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
    anchors = [[at for at, unit in enumerate(side) if unit.family in operators.ANCHORS] for side in (a, b)]
    if not anchors[0] or not anchors[1]:
        anchors = [[at for at, unit in enumerate(side) if unit.family not in operators.MOVES] for side in (a, b)]
    pairs = _matches([a[at] for at in anchors[0]], [b[at] for at in anchors[1]])
    if not pairs:
        return Alignment(by="operators", blocks=_whole(a, b))
    starts = [[anchors[side][pair[side]] for pair in pairs] for side in (0, 1)]
    homes = [_homes((a, b)[side], starts[side], set(anchors[side])) for side in (0, 1)]
    blocks = []
    for number in range(len(pairs)):
        own = [[at for at, home in enumerate(homes[side]) if home == number] for side in (0, 1)]
        blocks.append(Block(name=_name(a, b, *own), a=tuple(own[0]), b=tuple(own[1])))
    return Alignment(by="operators", blocks=tuple(_numbered(blocks)))


def _whole(a: Sequence[Unit], b: Sequence[Unit]) -> tuple[Block, ...]:
    own = (tuple(range(len(a))), tuple(range(len(b))))
    return (Block(name="all", a=own[0], b=own[1]),) if a or b else ()


def _homes(units: Sequence[Unit], starts: Sequence[int], anchors: set[int]) -> list[int]:
    """The number of the block of each unit: of the last start before it, or of the next for what prepares it."""
    homes, block = [], 0
    following = -1
    ahead = [0] * len(units)
    for at in range(len(units) - 1, -1, -1):
        following = at if at in anchors else following
        ahead[at] = following
    number = {start: index for index, start in enumerate(starts)}
    for at, unit in enumerate(units):
        block = number.get(at, block)
        prepares = unit.family in operators.MOVES and "nhwctonchw" not in unit.name.lower()
        homes.append(number.get(ahead[at], block) if prepares else block)
    return homes


def _matches(a: Sequence[Unit], b: Sequence[Unit]) -> list[tuple[int, int]]:
    """Pairs of the same family in the order of both sides: as many as possible, of like times where several fit.

    The longest common subsequence, where a pair counts more the nearer its times are to each other.
    """
    best = [[0.0] * (len(b) + 1) for _ in range(len(a) + 1)]
    for i in range(len(a) - 1, -1, -1):
        row, below, unit = best[i], best[i + 1], a[i]
        for j in range(len(b) - 1, -1, -1):
            least = max(row[j + 1], below[j])
            if unit.family == b[j].family:
                least = max(least, below[j + 1] + _likeness(unit, b[j]))
            row[j] = least
    pairs, i, j = [], 0, 0
    while i < len(a) and j < len(b):
        if a[i].family == b[j].family and best[i][j] == best[i + 1][j + 1] + _likeness(a[i], b[j]):
            pairs.append((i, j))
            i, j = i + 1, j + 1
        elif best[i][j] == best[i + 1][j]:
            i += 1
        else:
            j += 1
    return pairs


def _likeness(a: Unit, b: Unit) -> float:
    return 1 + 0.25 * (min(a.ns, b.ns) + 1) / (max(a.ns, b.ns) + 1)


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
