"""The modules and operators of a compiled program's kernels, from the provenance of its calls; pure."""

from __future__ import annotations

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
    for group in _iterations(profile):
        for place, several in _sources([profile.kernels[place] for place in group], calls):
            index = group[place]
            kernels[index] = _named(kernels[index], several)
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


def _sources(kernels: Sequence[Kernel], calls: Sequence[KernelCall]) -> list[tuple[int, Sequence[KernelCall]]]:
    """For the places of ``kernels`` the calls that they may be of."""
    matcher = SequenceMatcher(None, [k.name for k in kernels], [call.kernel for call in calls], autojunk=False)
    sources: list[tuple[int, Sequence[KernelCall]]] = []
    kernel = call = 0
    for first, of_call, count in matcher.get_matching_blocks():  # the last one is empty, at both ends
        between = [each for each in calls[call:of_call] if each.extern]
        sources += _between(range(kernel, first), between)
        sources += [(first + n, calls[of_call + n : of_call + n + 1]) for n in range(count)]
        kernel, call = first + count, of_call + count
    return sources


def _between(places: Sequence[int], calls: Sequence[KernelCall]) -> list[tuple[int, Sequence[KernelCall]]]:
    if not calls:
        return []
    if len(places) == len(calls):
        return [(place, [call]) for place, call in zip(places, calls, strict=True)]
    return [(place, calls) for place in places]


def _named(kernel: Kernel, calls: Sequence[KernelCall]) -> Kernel:
    module = "+".join(dict.fromkeys(name for call in calls for name in call.modules))
    operator = "+".join(dict.fromkeys(name for call in calls for name in call.operators))
    return msgspec.structs.replace(kernel, module=kernel.module or module, operator=kernel.operator or operator)
