"""Which module and operator each kernel computes, from the ranges around the call that launched it; pure.

A graph is launched by one call, within one range, so its nodes take the names of the same kernels launched one by one,
where such a profile of the program is given: kernels are matched by name and order.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence

import msgspec

from bench.analysis import waterfall
from bench.analysis.spans import Spans
from bench.model.data import Data
from bench.model.profile import Attribution, Copy, HostCall, Kernel, Profile, Range

# Cells of the table that matches two sequences, 2 bytes each.
_MOST_CELLS = 25_000_000


class Names(Data, frozen=True):
    """The innermost module (or layer) and operator around a host call, empty where there is none."""

    module: str = ""
    operator: str = ""


_NONE = Names()


def attribute(profile: Profile, reference: Profile | None = None) -> Profile:
    """``profile`` with the names of kernels and copies that have none yet. ``reference`` is of the same program with
    its kernels launched one by one, e.g. of the eager model or of the capture; it serves the nodes of graphs.
    O(n log n) in the number of events.
    """
    around = names_around(profile)
    nodes = _of_nodes(profile, attribute(reference)) if reference else {}

    def of(event: Kernel | Copy) -> Names:
        return around[event.call] if event.call is not None and 0 <= event.call < len(around) else _NONE

    kernels = tuple(_named(kernel, nodes.get(index, _NONE), of(kernel)) for index, kernel in enumerate(profile.kernels))
    copies = tuple(
        msgspec.structs.replace(copy, module=of(copy).module) if not copy.module and of(copy).module else copy
        for copy in profile.copies
    )
    return msgspec.structs.replace(profile, kernels=kernels, copies=copies)


def share(profile: Profile) -> Attribution:
    """How much of the kernel time of an attributed profile has a range."""
    inside = Spans((each.start, each.end) for each in waterfall.iterations(profile))
    total = within = module = operator = 0
    for kernel in profile.kernels:
        ns = max(kernel.end - kernel.start, 0)
        time = _issued(kernel, profile.calls)
        total += ns
        within += ns if inside.length(time, time + 1) else 0
        module += ns if kernel.module else 0
        operator += ns if kernel.operator else 0
    return Attribution(total_ns=total, iteration_ns=within, module_ns=module, operator_ns=operator)


def names_around(profile: Profile) -> list[Names]:
    """For each host call what encloses its start on its thread."""
    ranges: dict[int, list[Range]] = defaultdict(list)
    for each in profile.ranges:
        if each.kind in ("module", "layer", "operator"):
            ranges[each.thread].append(each)
    calls: dict[int, list[int]] = defaultdict(list)
    for index, call in enumerate(profile.calls):
        calls[call.thread].append(index)
    names = [_NONE] * len(profile.calls)
    for thread, indices in calls.items():
        if thread in ranges:
            _sweep(ranges[thread], profile.calls, indices, names)
    return names


def align(names: Sequence[str], others: Sequence[str]) -> list[int | None]:
    """For each name the index in ``others`` of the same name, so that the order is kept and as many as possible have
    one (a longest common subsequence). The middle of very long, different sequences stays without.
    """
    first = _common(zip(names, others, strict=False))
    most = min(len(names), len(others)) - first
    last = min(_common(zip(reversed(names), reversed(others), strict=False)), most)
    middle = _middle(names[first : len(names) - last], others[first : len(others) - last])
    ends = range(len(others) - last, len(others))
    return [*range(first), *(None if place is None else place + first for place in middle), *ends]


# -------------------------------------------------------------------------------------------------------------- ranges


def _sweep(ranges: list[Range], calls: Sequence[HostCall], indices: list[int], names: list[Names]) -> None:
    """Fill ``names`` of the calls of one thread: a stack of the ranges that are open, each with what it leads to."""
    # Of two with the same bounds, modules are around operators, and a path is around a longer one.
    ranges.sort(key=lambda each: (each.start, -each.end, each.kind == "operator", len(each.name)))
    stack: list[tuple[int, Names]] = []
    following = 0
    for index in sorted(indices, key=lambda place: calls[place].start):
        time = calls[index].start
        while following < len(ranges) and ranges[following].start <= time:
            opened = ranges[following]
            following += 1
            _close(stack, opened.start)
            outer = stack[-1][1] if stack else _NONE
            # An operator around a module is not what the module's kernels compute.
            inner = Names(outer.module, opened.name) if opened.kind == "operator" else Names(opened.name)
            stack.append((opened.end, inner))
        _close(stack, time)
        if stack:
            names[index] = stack[-1][1]


def _close(stack: list[tuple[int, Names]], time: int) -> None:
    while stack and stack[-1][0] <= time:
        stack.pop()


def _named(kernel: Kernel, node: Names, call: Names) -> Kernel:
    module = kernel.module or node.module or call.module
    operator = kernel.operator or node.operator or call.operator
    if (module, operator) == (kernel.module, kernel.operator):
        return kernel
    return msgspec.structs.replace(kernel, module=module, operator=operator)


# -------------------------------------------------------------------------------------------------------------- graphs


def _of_nodes(profile: Profile, reference: Profile) -> dict[int, Names]:
    """Names of the graph nodes of each iteration (by index of the kernel) from the reference's typical iteration."""
    groups = list(_by_iteration(reference).values())
    if not groups:
        return {}
    # The one with the median number of kernels: a first iteration may have initialised something.
    model = sorted(groups, key=len)[len(groups) // 2]
    originals = [reference.kernels[index] for index in model]
    texts = [kernel.name for kernel in originals]
    matches: dict[tuple[str, ...], list[int | None]] = {}
    names: dict[int, Names] = {}
    for group in _by_iteration(profile).values():
        key = tuple(profile.kernels[index].name for index in group)
        if key not in matches:
            matches[key] = align(key, texts)
        for index, place in zip(group, matches[key], strict=True):
            if place is not None and profile.kernels[index].node is not None:
                names[index] = Names(originals[place].module, originals[place].operator)
    return names


def _by_iteration(profile: Profile) -> dict[int, list[int]]:
    """Indices of the kernels that each iteration launched, in the order of launches and starts; all of them as one
    where a profile has no iterations.
    """
    bounds = waterfall.iterations(profile)
    starts = [each.start for each in bounds]
    groups: dict[int, list[int]] = defaultdict(list)
    order = sorted((_issued(kernel, profile.calls), kernel.start, at) for at, kernel in enumerate(profile.kernels))
    for time, _, index in order:
        place = bisect_right(starts, time) - 1
        if not bounds or (place >= 0 and time < bounds[place].end):
            groups[place].append(index)
    return groups


def _issued(kernel: Kernel, calls: Sequence[HostCall]) -> int:
    """When the host launched it; when it started, where that is not known."""
    known = kernel.call is not None and 0 <= kernel.call < len(calls)
    return calls[kernel.call].start if known and kernel.call is not None else kernel.start


def _common(pairs: Iterable[tuple[str, str]]) -> int:
    """How many pairs from the first on are equal."""
    number = 0
    for name, other in pairs:
        if name != other:
            break
        number += 1
    return number


def _middle(names: Sequence[str], others: Sequence[str]) -> list[int | None]:
    places: list[int | None] = [None] * len(names)
    if not names or not others or len(names) * len(others) > _MOST_CELLS:
        return places
    import numpy as np

    numbers = {name: number for number, name in enumerate({*names, *others})}
    columns = np.array([numbers[name] for name in others])
    # longest[i, j]: of the first i names and the first j others.
    longest = np.zeros((len(names) + 1, len(others) + 1), np.int16)
    for row, name in enumerate(names):
        matched = longest[row, :-1] + (columns == numbers[name])
        np.maximum.accumulate(np.maximum(longest[row, 1:], matched), out=longest[row + 1, 1:])
    row, column = len(names), len(others)
    while row and column:
        if longest[row, column] == longest[row - 1, column]:
            row -= 1
        elif longest[row, column] == longest[row, column - 1]:
            column -= 1
        else:
            row, column = row - 1, column - 1
            places[row] = column
    return places
