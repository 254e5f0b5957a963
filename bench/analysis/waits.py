"""Which calls of one inference wait for the GPU before all its work has been given, and from where; pure."""

from __future__ import annotations

import re
from collections import defaultdict

from bench.analysis import host_calls, waterfall
from bench.analysis.attribution import Names, names_around
from bench.analysis.spans import Spans
from bench.model.data import Data
from bench.model.profile import Copy, HostCall, Kernel, Profile

# Frames of the framework itself: the line that called it is the one that its user can change.
_FRAMEWORK = re.compile(r"(^|/)torch/")


class Wait(Data, frozen=True, kw_only=True):
    """Calls of one kind from one place in the typical inference: ``count`` of them take ``ns`` together, for
    ``idle_ns`` of which the GPU does nothing. ``where`` is the frame that led to them (``file:line function``), or
    where the tool recorded none the operator and module around them; empty where there is neither.
    """

    name: str
    where: str
    count: int
    ns: int
    idle_ns: int


def waits(profile: Profile) -> tuple[Wait, ...]:
    """Those of the profile's median iteration, longest first. The wait for its last output is none of them: it comes
    after all work has been given.
    """
    parts = waterfall.parts(profile)
    if not parts or profile.device != "cuda":
        return ()
    iteration = waterfall.iterations(profile)[waterfall.typical(parts)]
    start, end = iteration.start, iteration.end
    issued = [call.end for call in profile.calls if start <= call.start < end and _issues_only(call)]
    issued += [
        each.end
        for each in profile.ranges
        if each.kind == "phase" and each.name in waterfall.ISSUING and start <= each.start < end
    ]
    last_issued = max(issued, default=start)
    work: tuple[Kernel | Copy, ...] = (*profile.kernels, *profile.copies)
    busy = Spans((event.start, event.end) for event in work)
    names = names_around(profile)
    groups: dict[tuple[str, str], list[HostCall]] = defaultdict(list)
    for call, around in zip(profile.calls, names, strict=True):
        if start <= call.start < last_issued and host_calls.waits(call.name):
            groups[host_calls.plain(call.name), _where(call, around)].append(call)
    every = []
    for (name, where), calls in groups.items():
        covered = Spans((call.start, call.end) for call in calls)
        within = list(zip(covered.starts, covered.ends, strict=True))
        ns = sum(last - first for first, last in within)
        idle = ns - sum(busy.length(first, last) for first, last in within)
        every.append(Wait(name=name, where=where, count=len(calls), ns=ns, idle_ns=idle))
    return tuple(sorted(every, key=lambda wait: (-wait.ns, wait.name, wait.where)))


def _issues_only(call: HostCall) -> bool:
    return host_calls.issues(call.name) and not host_calls.waits(call.name)


def _where(call: HostCall, around: Names) -> str:
    for frame in call.stack:
        if not _FRAMEWORK.search(frame):
            return frame
    if call.stack:
        return call.stack[0]
    return " in ".join(filter(None, (around.operator, around.module)))
