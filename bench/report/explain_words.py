"""What an explanation says of a cause in a group of parts: a sentence about all of them, and each side's kernels."""

from __future__ import annotations

from collections import Counter
from typing import NamedTuple

from bench.analysis.causes import kernel_name
from bench.analysis.explain import Explanation
from bench.report.explain_groups import CauseSum, Group
from bench.units import format_time

_OUTSTANDING = 1.5  # times the mean of its parts: the largest of them is named


def signed(ns: float) -> str:
    """``+55.0 us``, ``-1.20 ms``, ``0 ns``."""
    return f"{'+' if ns > 0 else '-' if ns < 0 else ''}{format_time(abs(ns))}"


def sentence(cause: CauseSum, group: Group) -> str:
    """``in 18 of 48 parts: conv on tensor cores in A, ...; most in layer1.0: conv1, +9.00 us``."""
    count = len(group.parts)
    if count == 1:
        return cause.text
    if cause.parts == 1:
        return f"in {cause.largest}: {cause.text}"
    if cause.alike < cause.parts:
        where = f"in {cause.alike} of {cause.parts} parts"
    else:
        where = f"in {cause.parts} of {count} parts" if cause.parts < count else f"in all {count} parts"
    outstanding = abs(cause.largest_ns) * cause.parts >= _OUTSTANDING * abs(cause.ns)
    most = f"; most in {cause.largest}, {signed(cause.largest_ns)}" if outstanding else ""
    return f"{where}: {cause.text}{most}"


class KernelSum(NamedTuple):
    """A kernel, how often a side runs it for a cause, and how long in all, ns."""

    name: str
    runs: int
    ns: int

    @property
    def figures(self) -> str:
        """`` (2 times, 45.5 us)``."""
        return f" ({f'{self.runs} times, ' if self.runs > 1 else ''}{format_time(self.ns)})"


def kernels_of(explanation: Explanation, cause: CauseSum) -> list[tuple[str, list[KernelSum]]]:
    """The kernels of each side that belong to a cause, if any do, the one that takes longest first."""
    sides = []
    for name, side, places in (("A", explanation.a, cause.units_a), ("B", explanation.b, cause.units_b)):
        counts: Counter[str] = Counter()
        times: Counter[str] = Counter()
        for at in places:
            counts[kernel_name(side.units[at])] += 1
            times[kernel_name(side.units[at])] += side.units[at].ns
        several = [KernelSum(kernel, counts[kernel], ns) for kernel, ns in times.most_common()]
        sides += [(name, several)] if several else []
    return sides
