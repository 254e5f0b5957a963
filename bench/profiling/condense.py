"""Makes a profile small enough to keep: its typical iteration, and what all iterations say."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median_low
from typing import TypeVar

import msgspec

from bench.analysis import waterfall
from bench.model.profile import CondensedProfile, Copy, HostCall, Kernel, Parts, Profile, Range

Event = TypeVar("Event", Range, HostCall, Kernel, Copy)
Work = TypeVar("Work", Kernel, Copy)
# Operators within operators that take less of the iteration than this are left out: views, allocations, checks.
_SMALL = 0.001
_BLIND = (
    "more than half of the time is in no operator that the profiler sees: it is Python's, or that of a runtime that "
    "reports none, as packages of AOTInductor do"
)


def condense(profile: Profile) -> CondensedProfile:
    """The events of the iteration whose window is the median, from zero on, and the parts of each iteration.

    A kernel or copy belongs to the iteration that its call is in; without a call, to that in which it starts. Operators
    within operators are left out where they take less than a thousandth of the iteration. ValueError without an
    iteration.
    """
    iterations, parts = waterfall.iterations(profile), waterfall.parts(profile)
    if not iterations:
        raise ValueError("the profile has no iteration")
    kernels, chosen = _by_iteration(profile, iterations, profile.kernels), waterfall.typical(parts)
    if profile.device == "cpu" and _is_blind(parts[chosen]):
        profile = msgspec.structs.replace(profile, notes=(*profile.notes, _BLIND))
    return CondensedProfile(
        profile=_only(profile, iterations, chosen), parts=parts, kernel_ns=_medians(kernels, chosen)
    )


def _is_blind(parts: Parts) -> bool:
    return parts.operators + parts.threads < parts.window / 2


def _by_iteration(profile: Profile, iterations: Sequence[Range], events: Sequence[Work]) -> list[list[Work]]:
    """The events of each iteration, in the order of their start."""
    several: list[list[Work]] = [[] for _ in iterations]
    for event in sorted(events, key=lambda each: each.start):
        when = event.start if event.call is None else profile.calls[event.call].start
        place = _place(iterations, when)
        if place is not None:
            several[place].append(event)
    return several


def _place(iterations: Sequence[Range], when: int) -> int | None:
    """The iteration that has begun and not ended at ``when``."""
    low, high = 0, len(iterations)
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if iterations[middle].start <= when else (low, middle)
    return low - 1 if low and when <= iterations[low - 1].end else None


def _medians(kernels: Sequence[Sequence[Kernel]], chosen: int) -> tuple[int, ...]:
    """The median of each kernel of the chosen iteration; empty where iterations ran different kernels."""
    names = [[event.name for event in one] for one in kernels]
    if any(each != names[chosen] for each in names):
        return ()
    return tuple(
        median_low(one[place].end - one[place].start for one in kernels) for place in range(len(names[chosen]))
    )


def _only(profile: Profile, iterations: Sequence[Range], chosen: int) -> Profile:
    """The events of one iteration, which then starts at 0; calls have new places."""
    window = iterations[chosen]
    places = [place for place, call in enumerate(profile.calls) if window.start <= call.start <= window.end]
    moved = {place: number for number, place in enumerate(places)}

    def shifted(event: Event) -> Event:
        return msgspec.structs.replace(event, start=event.start - window.start, end=event.end - window.start)

    def work(events: Sequence[Work]) -> tuple[Work, ...]:
        own = _by_iteration(profile, iterations, events)[chosen]
        places_of_calls = [None if event.call is None else moved.get(event.call) for event in own]
        return tuple(
            msgspec.structs.replace(shifted(event), call=call) for event, call in zip(own, places_of_calls, strict=True)
        )

    inside = [each for each in profile.ranges if window.start <= each.start and each.end <= window.end]
    return msgspec.structs.replace(
        profile,
        ranges=tuple(shifted(each) for each in _without_small(inside, window)),
        calls=tuple(shifted(profile.calls[place]) for place in places),
        kernels=work(profile.kernels),
        copies=work(profile.copies),
    )


def _without_small(ranges: Sequence[Range], window: Range) -> list[Range]:
    """The ranges by their start, without short operators inside of others."""
    least = (window.end - window.start) * _SMALL
    left: list[Range] = []
    ends: dict[int, int] = {}  # of the operator that is open on each thread
    for each in sorted(ranges, key=lambda each: (each.start, -each.end)):
        if each.kind == "operator":
            inner = each.end <= ends.get(each.thread, -1)
            if inner and each.end - each.start < least:
                continue
            if not inner:
                ends[each.thread] = each.end
        left.append(each)
    return left
