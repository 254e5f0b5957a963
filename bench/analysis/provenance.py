"""The modules and operators of a compiled program's kernels, from the provenance of its calls; pure."""

from __future__ import annotations

import itertools
from bisect import bisect_right
from collections.abc import Sequence
from difflib import SequenceMatcher

import msgspec

from bench.model.profile import Kernel, Profile
from bench.model.provenance import KernelCall, Provenance


def name_kernels(profile: Profile, provenance: Provenance) -> Profile:
    """``profile`` with the modules and operators of the kernels that have none yet.

    In each iteration kernels and calls are matched by name and order, so that a kernel that is called for several
    modules has that of each call. Kernels of libraries, which have names of their own, are those between two matched
    ones: as many as calls one each, else those of one call together; else they have all of what is called there.
    """
    calls = provenance.calls
    if not calls or not profile.kernels:
        return profile
    kernels = list(profile.kernels)
    sources: dict[tuple[str, ...], list[tuple[int, Sequence[KernelCall]]]] = {}  # iterations are alike, mostly
    for group in _iterations(profile):
        names = tuple(profile.kernels[index].name for index in group)
        if names not in sources:
            sources[names] = _sources(names, calls)
        for place, several in sources[names]:
            kernels[group[place]] = _named(kernels[group[place]], several)
    return msgspec.structs.replace(profile, kernels=tuple(kernels))


def _iterations(profile: Profile) -> list[list[int]]:
    """The places of the kernels of each iteration, in the order of their starts; all, where none is recorded."""
    bounds = sorted((each.start, each.end) for each in profile.ranges if each.kind == "iteration")
    starts = [start for start, _ in bounds]
    groups: list[list[int]] = [[] for _ in range(max(len(bounds), 1))]
    for index in sorted(range(len(profile.kernels)), key=lambda index: profile.kernels[index].start):
        place = bisect_right(starts, _issued(profile, profile.kernels[index])) - 1 if bounds else 0
        if place >= 0:
            groups[place].append(index)
    return groups


def _issued(profile: Profile, kernel: Kernel) -> int:
    known = kernel.call is not None and 0 <= kernel.call < len(profile.calls)
    return profile.calls[kernel.call].start if known and kernel.call is not None else kernel.start


def _sources(names: Sequence[str], calls: Sequence[KernelCall]) -> list[tuple[int, Sequence[KernelCall]]]:
    """For the places of kernels with these ``names`` the calls that they may be of."""
    anchors = _anchors(names, calls)
    sources: list[tuple[int, Sequence[KernelCall]]] = []
    for (kernel, call), (next_kernel, next_call) in itertools.pairwise([(-1, -1), *anchors, (len(names), len(calls))]):
        between = [each for each in calls[call + 1 : next_call] if each.extern]
        sources += _between(range(kernel + 1, next_kernel), between)
        if next_kernel < len(names):
            sources.append((next_kernel, [calls[next_call]]))
    return sources


def _anchors(names: Sequence[str], calls: Sequence[KernelCall]) -> list[tuple[int, int]]:
    """The places of kernels and calls that are the same by name and order. What can have no partner is left out first:
    between the rest of both there is then nothing, and they are alike as a whole.
    """
    called = {call.kernel for call in calls if not call.extern}
    run = set(names)
    ours = [place for place, name in enumerate(names) if name in called]
    theirs = [place for place, call in enumerate(calls) if not call.extern and call.kernel in run]
    matcher = SequenceMatcher(
        None, [names[place] for place in ours], [calls[place].kernel for place in theirs], autojunk=False
    )
    return [
        (ours[block.a + n], theirs[block.b + n]) for block in matcher.get_matching_blocks() for n in range(block.size)
    ]


def _between(places: Sequence[int], calls: Sequence[KernelCall]) -> list[tuple[int, Sequence[KernelCall]]]:
    if not calls:
        return []
    if len(places) == len(calls):
        return [(place, [call]) for place, call in zip(places, calls, strict=True)]
    return [(place, calls) for place in places]


def _named(kernel: Kernel, calls: Sequence[KernelCall]) -> Kernel:
    """Of several calls with different operators it is not known which one this is; the ranges around it may tell."""
    module = "+".join(dict.fromkeys(name for call in calls for name in call.modules))
    operators = {call.operators for call in calls}
    operator = "+".join(operators.pop()) if len(operators) == 1 else ""
    return msgspec.structs.replace(kernel, module=kernel.module or module, operator=kernel.operator or operator)
