"""Where the time of one inference went, from the events of its profile; pure.

On a GPU a moment of an iteration is, by the first of these that is true:

- ``kernels``: a kernel runs, on any stream;
- ``copies``: a copy or a memset runs;
- ``tail``: all work of the iteration is done;
- otherwise the GPU is idle before its next work. Until the call that gave it that work has returned, the host is
  behind: ``wait`` while it is in a call that waits for the GPU (``.item()``, a blocking copy), else ``launch``, with
  the Python between launches. After that call the work is on its way: ``launch`` too, and also counted as ``dispatch``;
  the nodes of a graph have only that. It takes a few us; what exceeds DISPATCH_LIMIT is ``unexplained``.

``unexplained`` is also an iteration without work on the GPU, and idle time before work of which nothing tells when it
was given. On a CPU: see ``_on_cpu``.
"""

from __future__ import annotations

import statistics
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import NamedTuple

from bench.analysis import host_calls
from bench.analysis.spans import Spans
from bench.model.profile import Copy, HostCall, Kernel, Parts, Profile, Range
from bench.units import format_time

# From a launch to the start of its work pass some 2 to 10 us, more where every node of a graph is traced.
DISPATCH_LIMIT = 50_000
# Between two kernels in the queue of a stream, where a profile has no such pair to tell.
USUAL_GAP = 1_000
# The slowest window is more than so many times the typical one: times within one then say little.
APART = 2
# Ranges of kind phase within an iteration, in which the host gives the GPU work, or waits for it.
ISSUING, WAITING = ("h2d", "call", "d2h"), ("wait",)

_Span = tuple[int, int]


def parts(profile: Profile) -> tuple[Parts, ...]:
    """One for each range of kind ``iteration``, in the order of their starts. Each sums up to its ``window``."""
    measure: Callable[[Range], Parts] = _OnGpu(profile).parts if profile.device == "cuda" else _on_cpu(profile)
    return tuple(map(measure, iterations(profile)))


def iterations(profile: Profile) -> list[Range]:
    """The ranges of kind ``iteration`` in the order of their starts."""
    return sorted((each for each in profile.ranges if each.kind == "iteration"), key=_by_time)


def typical(parts: Sequence[Parts]) -> int:
    """The index of the iteration that is shown: its window is the median, of an even number the shorter of the two
    middle ones. ValueError without any.
    """
    if not parts:
        raise ValueError("no iterations")
    windows = [each.window for each in parts]
    return windows.index(statistics.median_low(windows))


def rank(count: int) -> int:
    """Of so many windows the typical one is the how many-th by time, the fastest first, from 1 on."""
    return (count + 1) // 2


def ratio(parts: Sequence[Parts], unprofiled_ns: Sequence[int]) -> float | None:
    """The typical window over the median time of the same inferences without a profiler; None where one is missing."""
    without = statistics.median(unprofiled_ns) if unprofiled_ns else 0
    return parts[typical(parts)].window / without if parts and without else None


def spread(windows: Sequence[int]) -> str:
    """That these, ns, lie far apart, for a note; empty where they do not."""
    if not windows or max(windows) <= APART * statistics.median_low(windows):
        return ""
    times = f"{format_time(min(windows))} to {format_time(max(windows))}"
    return (
        f"the {len(windows)} windows of the profile lie far apart, {times}, so that times within one say little: "
        "profile it again while nothing else runs"
    )


# ---------------------------------------------------------------------------------------------------------------- GPU


class _Work(NamedTuple):
    """Work on the GPU from ``start`` on; the host gave it on ``thread`` from ``issued`` until ``launched``."""

    start: int
    issued: int
    launched: int
    thread: int


class _OnGpu:
    """The events of a profile, sorted once for all its iterations."""

    def __init__(self, profile: Profile) -> None:
        kernels, copies = profile.kernels, profile.copies
        device_copies = [copy for copy in copies if copy.kind in ("d2d", "memset")]
        self._kernels = _spans(kernels)
        self._work = _spans((*kernels, *copies))
        self._busy = _spans((*kernels, *device_copies))
        phases = [each for each in profile.ranges if each.kind == "phase"]
        blocked: dict[int, list[_Span]] = defaultdict(list)
        for call in profile.calls:
            if host_calls.waits(call.name):
                blocked[call.thread].append((call.start, call.end))
        for phase in phases:
            if phase.name in WAITING:
                blocked[phase.thread].append((phase.start, phase.end))
        self._blocked = {thread: Spans(intervals) for thread, intervals in blocked.items()}
        # Where the call of some work is not known, it is taken to be the last of these before it.
        issuing: dict[str, list[Range | HostCall]] = defaultdict(list)
        for phase in phases:
            if phase.name in ISSUING:
                issuing[phase.name].append(phase)
                issuing[""].append(phase)
        issuing[""] += [call for call in profile.calls if host_calls.issues(call.name)]
        self._issuing = {name: sorted(each, key=_by_time) for name, each in issuing.items()}
        self._issue_starts = {name: [each.start for each in ordered] for name, ordered in self._issuing.items()}
        events: tuple[Kernel | Copy, ...] = (*kernels, *copies)
        works = (self._as_work(event, profile.calls) for event in events if event.end > event.start)
        self._works = sorted(work for work in works if work is not None)
        self._starts = [work.start for work in self._works]

    def parts(self, iteration: Range) -> Parts:
        start, end = iteration.start, max(iteration.end, iteration.start)
        kernels = self._kernels.length(start, end)
        launch = dispatch = wait = tail = unexplained = 0
        for first, last in self._work.gaps(start, end):
            if last < end:
                issuing, waiting, starting, rest = self._gap(first, last)
                launch, dispatch = launch + issuing + starting, dispatch + starting
                wait, unexplained = wait + waiting, unexplained + rest
            elif first > start:
                tail += last - first
            else:
                unexplained += last - first
        busy = list(self._busy.within(start, end))
        return Parts(
            window=end - start,
            kernels=kernels,
            copies=self._work.length(start, end) - kernels,
            launch=launch,
            wait=wait,
            tail=tail,
            unexplained=unexplained,
            dispatch=dispatch,
            busy=self._busy.length(start, end),
            span=busy[-1][1] - busy[0][0] if busy else 0,
            held=self._held(busy),
        )

    def _held(self, busy: Sequence[_Span]) -> int:
        """The sum of ``busy`` and of the gaps between, each as if its work had been launched before the gap began."""
        queued: list[int] = []
        late: list[int] = []
        for (_, first), (last, _) in pairwise(busy):
            work = self._next(last)
            is_queued = work is not None and work.launched <= first and last - first <= DISPATCH_LIMIT
            (queued if is_queued else late).append(last - first)
        usual = statistics.median_low(queued) if queued else USUAL_GAP
        return sum(last - first for first, last in busy) + sum(queued) + sum(min(gap, usual) for gap in late)

    def _gap(self, start: int, end: int) -> tuple[int, int, int, int]:
        """Of an idle stretch that work ends: ns of issuing, waiting, the work on its way, and of what nothing tells."""
        work = self._next(end)
        if work is None:
            return 0, 0, 0, end - start
        issued, launched = min(max(work.issued, start), end), min(max(work.launched, start), end)
        blocked = self._blocked.get(work.thread)
        waiting = blocked.length(start, issued) if blocked else 0
        starting = min(end - launched, DISPATCH_LIMIT)
        return launched - start - waiting, waiting, starting, end - launched - starting

    def _next(self, time: int) -> _Work | None:
        """The work that starts at ``time``, of several that which was given first: it could have started earlier. None
        where nothing tells when it was given.
        """
        first, last = bisect_left(self._starts, time), bisect_right(self._starts, time)
        return min(self._works[first:last], key=_by_launch) if first < last else None

    def _as_work(self, event: Kernel | Copy, calls: Sequence[HostCall]) -> _Work | None:
        origin: HostCall | Range | None = None
        if event.call is not None and 0 <= event.call < len(calls):
            origin = calls[event.call]
        else:
            name = event.kind if isinstance(event, Copy) and event.kind in self._issuing else ""
            place = bisect_left(self._issue_starts.get(name, ()), event.start)
            origin = self._issuing[name][place - 1] if place else None
        return None if origin is None else _Work(event.start, origin.start, origin.end, origin.thread)


def _by_launch(work: _Work) -> tuple[int, int, int]:
    return work.launched, work.issued, work.thread


def _spans(events: Iterable[Kernel | Copy]) -> Spans:
    return Spans((event.start, event.end) for event in events)


def _by_time(event: Range | HostCall) -> tuple[int, int, int]:
    return event.start, event.end, event.thread


# ---------------------------------------------------------------------------------------------------------------- CPU


def _on_cpu(profile: Profile) -> Callable[[Range], Parts]:
    """On a CPU a moment of an iteration is, by the first of these that is true:

    - ``operators``: the thread of the iteration is in an operator (the threads that compute it are part of it);
    - ``threads``: another thread is in one, so this one waits for it;
    - ``python``: the thread is in any other range of the iteration, e.g. its phase ``call``: Python, and code that the
      tool does not see.
    """
    operators: dict[int, list[_Span]] = defaultdict(list)
    for each in profile.ranges:
        if each.kind == "operator":
            operators[each.thread].append((each.start, each.end))
    every = [span for spans in operators.values() for span in spans]
    anywhere = Spans(every)
    own = {thread: Spans(spans) for thread, spans in operators.items()}
    inner = {thread: Spans((*every, *spans)) for thread, spans in _inner(profile).items()}

    def measure(iteration: Range) -> Parts:
        start, end, thread = iteration.start, max(iteration.end, iteration.start), iteration.thread
        here = own[thread].length(start, end) if thread in own else 0
        working = anywhere.length(start, end)
        seen = inner[thread]
        return Parts(
            window=end - start,
            operators=here,
            threads=working - here,
            python=seen.length(start, end) - working,
            unexplained=sum(last - first for first, last in seen.gaps(start, end)),
        )

    return measure


def _inner(profile: Profile) -> dict[int, list[_Span]]:
    """By thread of an iteration: its ranges that lie within an iteration, but for operators."""
    inner: dict[int, list[_Span]] = {each.thread: [] for each in iterations(profile)}
    around = {thread: [each for each in iterations(profile) if each.thread == thread] for thread in inner}
    starts = {thread: [each.start for each in ordered] for thread, ordered in around.items()}
    for each in profile.ranges:
        if each.kind in ("iteration", "operator") or each.thread not in inner:
            continue
        place = bisect_right(starts[each.thread], each.start) - 1
        if place >= 0 and each.end <= around[each.thread][place].end:
            inner[each.thread].append((each.start, each.end))
    return inner
