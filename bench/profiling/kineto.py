"""Reads the Chrome traces of torch.profiler (Kineto): operators and modules as ranges, CUDA calls, kernels, copies."""

from __future__ import annotations

import bisect
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from bench.analysis import host_calls
from bench.errors import CaseError
from bench.model import ranges
from bench.model.profile import Copy, CopyKind, HostCall, Kernel, Profile, Range
from bench.profiling import nodes as runtime_nodes

_AGAIN = "profile the case again: trtbench profile SUITE --tool torch"
_CALLS = ("cuda_runtime", "cuda_driver")
_ON_GPU = ("kernel", "gpu_memcpy", "gpu_memset")
_COPY_KINDS: dict[str, CopyKind] = {"HtoD": "h2d", "DtoH": "d2h", "DtoD": "d2d"}
_NS_PER_US = 1000
_MOST_FRAMES = 24


class _Event(msgspec.Struct):
    """One element of ``traceEvents``; ``ts`` and ``dur`` in microseconds."""

    ph: str = ""
    cat: str = ""
    name: str = ""
    pid: int | str = 0
    tid: int | str = 0
    ts: float = 0.0
    dur: float = 0.0
    args: dict[str, Any] = {}


class _Trace(msgspec.Struct, rename="camel"):
    """What of a trace is read. ``schema_version`` is Kineto's, ``base_time_nanoseconds`` (since 1970) what is zero."""

    trace_events: list[_Event] | None = None
    schema_version: int | None = None
    base_time_nanoseconds: int = 0


def read(
    path: Path, *, stacks: Path | None = None, nodes: Path | None = None, case: str = "", label: str = ""
) -> Profile:
    """The profile of a trace; ``stacks`` is another one of the same calls, recorded with Python's frames, ``nodes`` the
    ranges of the nodes that a runtime ran, on the clock of the day.

    CaseError for a file that is empty or cut off, no trace of Kineto's, or has no iteration of trtbench's.
    """
    events, base = _events(path)
    origin = min((event.ts for event in events), default=0.0)
    spans = _ranges(events, origin)
    if not any(each.kind == "iteration" for each in spans):
        what = "the trace has no iterations of trtbench's: it was made by another program, or cut off"
        raise CaseError(what, where=path.name, fix=_AGAIN)
    notes: tuple[str, ...] = ()
    if nodes is not None and nodes.exists():
        own, zero = len(spans), base + round(origin * _NS_PER_US)
        spans = runtime_nodes.merge(spans, nodes, [each.start + zero for each in runtime_nodes.iterations(spans)])
        notes = (runtime_nodes.ELSEWHERE,) if len(spans) == own else ()
    launches, calls = _calls(events, origin)
    if stacks is not None and stacks.exists():
        calls = _with_stacks(calls, spans, stacks)
    kernels, copies = _work(events, origin, launches, calls)
    return Profile(
        tool="torch",
        case=case,
        label=label,
        device="cuda" if kernels or copies or calls else "cpu",
        ranges=spans,
        calls=calls,
        kernels=kernels,
        copies=copies,
        notes=notes,
    )


def _events(path: Path) -> tuple[list[_Event], int]:
    """The events of a file that have a duration, and its zero, ns since 1970."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise CaseError(f"no trace: {error.strerror}", where=path.name, fix=_AGAIN) from error
    if not content.strip():
        raise CaseError("the trace is empty", where=path.name, fix=_AGAIN)
    try:
        trace = msgspec.json.decode(content, type=_Trace)
    except msgspec.ValidationError as error:
        raise CaseError(f"no trace of torch.profiler: {error}", where=path.name, fix=_AGAIN) from error
    except (msgspec.DecodeError, RecursionError) as error:
        raise CaseError(f"the trace is cut off, or no JSON: {error}", where=path.name, fix=_AGAIN) from error
    if trace.trace_events is None or trace.schema_version is None:
        raise CaseError(
            "no trace of torch.profiler: it lacks traceEvents or schemaVersion", where=path.name, fix=_AGAIN
        )
    events = [event for event in trace.trace_events if event.ph == "X" and event.cat != "Trace"]
    return events, trace.base_time_nanoseconds


def _ns(microseconds: float, origin: float) -> int:
    return round((microseconds - origin) * _NS_PER_US)


def _span(event: _Event, origin: float) -> tuple[int, int]:
    return _ns(event.ts, origin), _ns(event.ts + event.dur, origin)


def _thread(event: _Event) -> int:
    return event.tid if isinstance(event.tid, int) else 0


def _ranges(events: Iterable[_Event], origin: float) -> tuple[Range, ...]:
    """Ranges of trtbench's by their texts, operators of torch, and other annotations, by their start."""
    several = []
    for event in events:
        if event.cat not in ("user_annotation", "cpu_op"):
            continue
        parsed = ranges.parse(event.name)
        # `Torch-Compiled Region: 0/0` and the like are Python around operators; these have no blank in their names.
        is_operator = event.cat == "cpu_op" and " " not in event.name
        kind, name = parsed or ("operator" if is_operator else "other", event.name)
        start, end = _span(event, origin)
        several.append(Range(name=name, kind=kind, start=start, end=end, thread=_thread(event)))
    return tuple(sorted(several, key=lambda each: (each.start, -each.end)))


def _calls(events: Iterable[_Event], origin: float) -> tuple[dict[int, int], tuple[HostCall, ...]]:
    """The calls of the CUDA runtime and driver by their start, and the place of each by its correlation."""
    own = sorted((event for event in events if event.cat in _CALLS), key=lambda event: event.ts)
    frames = _frames(events)
    launches, calls = {}, []
    for place, event in enumerate(own):
        if isinstance(correlation := event.args.get("correlation"), int):
            launches[correlation] = place
        start, end = _span(event, origin)
        waits = host_calls.waits(event.name)  # of the others, which are many, nobody asks which line made them
        stack = _stack(frames[event.tid], event) if waits and event.tid in frames else ()
        calls.append(HostCall(name=event.name, start=start, end=end, thread=_thread(event), stack=stack))
    return launches, tuple(calls)


def _work(
    events: Iterable[_Event], origin: float, launches: Mapping[int, int], calls: Sequence[HostCall]
) -> tuple[tuple[Kernel, ...], tuple[Copy, ...]]:
    """What ran on the GPU, by its start."""
    kernels, copies = [], []
    graphs: Counter[int] = Counter()  # how much of each launch of a graph has been seen
    for event in sorted((event for event in events if event.cat in _ON_GPU), key=lambda event: event.ts):
        start, end = _span(event, origin)
        correlation, stream, node = (event.args.get(name) for name in ("correlation", "stream", "graph node id"))
        call = launches.get(correlation) if isinstance(correlation, int) else None
        if not node and call is not None and "GraphLaunch" in calls[call].name:
            graphs[call] += 1  # where Kineto does not tell its node, it has its number
            node = graphs[call]
        place: dict[str, Any] = {
            "start": start,
            "end": end,
            "stream": stream if isinstance(stream, int) else 0,
            "call": call,
            "node": node if isinstance(node, int) and node else None,
        }
        if event.cat == "kernel":
            kernels.append(Kernel(name=event.name, **place))
        else:
            size = event.args.get("bytes")
            copies.append(Copy(kind=_copy_kind(event), size=size if isinstance(size, int) else 0, **place))
    return tuple(kernels), tuple(copies)


def _copy_kind(event: _Event) -> CopyKind:
    if event.cat == "gpu_memset":
        return "memset"
    return next((kind for text, kind in _COPY_KINDS.items() if text in event.name), "other")


# ------------------------------------------------------------------------------------------------------------- stacks


class _Frames(NamedTuple):
    """The Python frames of a thread by their start, their starts, and each by its id."""

    starts: Sequence[float]
    events: Sequence[_Event]
    by_id: Mapping[Any, _Event]


def _frames(events: Iterable[_Event]) -> dict[int | str, _Frames]:
    by_thread: dict[int | str, list[_Event]] = defaultdict(list)
    for event in events:
        if event.cat == "python_function":
            by_thread[event.tid].append(event)
    several = {}
    for thread, own in by_thread.items():
        own.sort(key=lambda event: event.ts)
        by_id = {event.args.get("Python id"): event for event in own}
        several[thread] = _Frames([event.ts for event in own], own, by_id)
    return several


def _stack(frames: _Frames, call: _Event) -> tuple[str, ...]:
    """The frames that are open when ``call`` is made, the innermost first, as ``file:line function``.

    Frames nest, so the innermost is the last one that begins before the call and ends after it.
    """
    place = bisect.bisect_right(frames.starts, call.ts) - 1
    end = call.ts + call.dur
    while place >= 0 and frames.events[place].ts + frames.events[place].dur < end:
        place -= 1
    frame = frames.events[place] if place >= 0 else None
    stack: list[str] = []
    while frame is not None and len(stack) < _MOST_FRAMES:
        if text := _frame_text(frame.name):
            stack.append(text)
        frame = frames.by_id.get(frame.args.get("Python parent id"))
    return tuple(stack)


def _frame_text(name: str) -> str:
    """``models/gpt2.py(123): forward`` -> ``models/gpt2.py:123 forward``; empty for what is no line of Python."""
    place, separator, function = name.partition("): ")
    file, bracket, line = place.rpartition("(")
    return f"{file}:{line} {function}" if separator and bracket and line.isdigit() else ""


def _with_stacks(calls: tuple[HostCall, ...], spans: Sequence[Range], path: Path) -> tuple[HostCall, ...]:
    """The calls with the stacks that the same calls of another trace have: by their place in an iteration.

    Where the iterations make other calls, those of one name are matched by their number as far as they go.
    """
    events, _ = _events(path)
    origin = min((event.ts for event in events), default=0.0)
    known = _stacks_by_name(_calls(events, origin)[1], _ranges(events, origin))
    stacked = list(calls)
    for window in (each for each in spans if each.kind == "iteration"):
        counts: dict[str, int] = defaultdict(int)
        first = bisect.bisect_left(calls, window.start, key=lambda call: call.start)
        for place in range(first, len(calls)):
            call = calls[place]
            if call.start > window.end:
                break
            if call.thread == window.thread:
                stacks = known.get(call.name, ())
                if counts[call.name] < len(stacks):
                    stacked[place] = msgspec.structs.replace(call, stack=stacks[counts[call.name]])
                counts[call.name] += 1
    return tuple(stacked)


def _stacks_by_name(calls: Iterable[HostCall], spans: Iterable[Range]) -> dict[str, list[tuple[str, ...]]]:
    """The stacks of the calls of the first iteration, those of one name in their order."""
    window = next((each for each in spans if each.kind == "iteration"), None)
    known: dict[str, list[tuple[str, ...]]] = defaultdict(list)
    for call in calls:
        if window and call.thread == window.thread and window.start <= call.start <= window.end:
            known[call.name].append(call.stack)
    return known
