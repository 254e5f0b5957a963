"""Which kernels, on a CPU which operators, one inference spends its time in: each name once, longest first; pure."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

from bench.model.data import Data
from bench.model.profile import CondensedProfile, Range


class TopKernel(Data, frozen=True, kw_only=True):
    """All launches of one kernel in the typical inference: ``count`` of them take ``ns`` together, ``median_ns`` each,
    which is ``share`` of the time of all kernels. ``modules`` and ``operators`` are what they compute, in order.

    The time of a launch is its median over the iterations, where all of them ran the same kernels. On a CPU the same of
    operators; the time of one is without the operators within it.
    """

    name: str
    count: int
    ns: int
    median_ns: float
    share: float
    modules: tuple[str, ...] = ()
    operators: tuple[str, ...] = ()


def top_kernels(condensed: CondensedProfile) -> tuple[TopKernel, ...]:
    """The kernels of a profile, else its operators; empty where it has neither. ``share`` is of the sum of durations,
    which exceeds the time in which at least one runs where several do at once.
    """
    profile = condensed.profile
    spans = _kernels(condensed) if profile.kernels or profile.device == "cuda" else _operators(profile.ranges)
    total = sum(span.ns for span in spans)
    groups: dict[str, list[_Span]] = defaultdict(list)
    for span in spans:
        groups[span.name].append(span)
    several = [
        TopKernel(
            name=name,
            count=len(members),
            ns=sum(span.ns for span in members),
            median_ns=statistics.median(span.ns for span in members),
            share=sum(span.ns for span in members) / total if total else 0.0,
            modules=tuple(dict.fromkeys(span.module for span in members if span.module)),
            operators=tuple(dict.fromkeys(span.operator for span in members if span.operator)),
        )
        for name, members in groups.items()
    ]
    return tuple(sorted(several, key=lambda each: (-each.ns, each.name)))


class _Span(NamedTuple):
    name: str
    ns: int
    module: str
    operator: str = ""


def _kernels(condensed: CondensedProfile) -> list[_Span]:
    kernels = condensed.profile.kernels
    own = [max(kernel.end - kernel.start, 0) for kernel in kernels]
    times = condensed.kernel_ns if len(condensed.kernel_ns) == len(kernels) else own
    return [_Span(each.name, ns, each.module, each.operator) for each, ns in zip(kernels, times, strict=True)]


def _operators(ranges: Sequence[Range]) -> list[_Span]:
    """Each operator with its time less that of the operators directly within it, and the module around it."""
    stacks: dict[int, list[tuple[Range, int]]] = defaultdict(list)
    inner: dict[int, int] = defaultdict(int)
    modules: dict[int, str] = {}
    chosen = [each for each in ranges if each.kind in ("module", "operator")]
    ordered = sorted(chosen, key=lambda each: (each.start, -each.end, each.kind == "operator"))
    for place, each in enumerate(ordered):
        stack = stacks[each.thread]
        while stack and stack[-1][0].end <= each.start:
            stack.pop()
        outer = next((at for range_, at in reversed(stack) if range_.kind == "operator"), None)
        modules[place] = next((range_.name for range_, _ in reversed(stack) if range_.kind == "module"), "")
        if each.kind == "operator" and outer is not None:
            inner[outer] += each.end - each.start
        stack.append((each, place))
    return [
        _Span(each.name, max(each.end - each.start - inner[place], 0), modules[place])
        for place, each in enumerate(ordered)
        if each.kind == "operator"
    ]
