"""A profile as a trace for viewers (ui.perfetto.dev, chrome://tracing), in the JSON of Chrome's trace event format.

Threads of the host are tracks with ranges and calls, streams of the GPU tracks with kernels and copies, and an arrow
leads from each call to the work that it gave. Where work of one stream overlaps, as nodes of a graph do, the stream has
several tracks, as a track can show spans only one after another or one within another.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from bench.model.profile import Copy, Kernel, Profile, Range
from bench.report import escape
from bench.units import format_size

HOST, GPU = 1, 2
_COPIES = {"h2d": "copy host to device", "d2h": "copy device to host", "d2d": "copy device to device", "other": "copy"}
# Of ranges with the same bounds the outer one comes first.
_OUTER = ("case", "iteration", "phase", "other", "module", "layer", "operator")
_Event = dict[str, Any]


def trace(profile: Profile) -> str:
    """The whole file as text. ``otherData`` says of which case and tool it is; an event's ``args`` have the module,
    operator and graph node of a kernel, the bytes of a copy, the Python frames of a call.

    ValueError for a profile without events, e.g. one of layers alone.
    """
    if not (profile.ranges or profile.calls or profile.kernels or profile.copies):
        raise ValueError("the profile has no events")
    streams = _tracks(profile)
    events = [*_names(profile, streams), *_host(profile), *_gpu(profile, streams)]
    other = {"case": profile.case, "label": profile.label, "tool": profile.tool, "tool_version": profile.tool_version}
    document = {"displayTimeUnit": "ns", "otherData": other, "traceEvents": events}
    lines = [msgspec.json.encode(event).decode() for event in events]
    head = msgspec.json.encode({**document, "traceEvents": []}).decode().removesuffix("]}")
    # An event a line: such files are read and compared by people too.
    return escape.in_json(head + "\n" + ",\n".join(lines) + "\n]}\n")


def _tracks(profile: Profile) -> dict[tuple[int, int], list[Kernel | Copy]]:
    """Work by stream and number of the track, in the order of starts; on no track does any overlap."""
    tracks: dict[tuple[int, int], list[Kernel | Copy]] = {}
    ends: dict[tuple[int, int], int] = {}
    for event in sorted(_work(profile), key=lambda each: (each.start, each.end)):
        number = 0
        while ends.get((event.stream, number), event.start) > event.start:
            number += 1
        tracks.setdefault((event.stream, number), []).append(event)
        ends[event.stream, number] = event.end
    return dict(sorted(tracks.items()))


def _work(profile: Profile) -> Iterable[Kernel | Copy]:
    yield from profile.kernels
    yield from profile.copies


def _names(profile: Profile, tracks: Iterable[tuple[int, int]]) -> list[_Event]:
    """What the viewer shows beside the tracks, and their order."""
    tracks = list(tracks)
    threads = sorted({each.thread for each in profile.ranges} | {each.thread for each in profile.calls})
    events = [_about("process_name", HOST, 0, name=f"host: {profile.label}")] if threads else []
    events += [_about("process_sort_index", HOST, 0, sort_index=0)] if threads else []
    events += [_about("thread_name", HOST, thread, name=f"thread {thread}") for thread in threads]
    events += [_about("process_name", GPU, 0, name="GPU")] if tracks else []
    events += [_about("process_sort_index", GPU, 0, sort_index=1)] if tracks else []
    for place, (stream, number) in enumerate(tracks):
        name = f"stream {stream}" + (f", beside it {number}" if number else "")
        events.append(_about("thread_name", GPU, place, name=name))
        events.append(_about("thread_sort_index", GPU, place, sort_index=place))
    return events


def _about(what: str, process: int, track: int, **arguments: Any) -> _Event:
    return {"ph": "M", "name": what, "pid": process, "tid": track, "args": arguments}


def _host(profile: Profile) -> list[_Event]:
    ranges = [
        _span(each.name, each.kind, each.start, each.end, HOST, each.thread, {})
        for each in sorted(profile.ranges, key=_outer_first)
    ]
    calls = [
        _span(each.name, "call", each.start, each.end, HOST, each.thread, {"stack": each.stack} if each.stack else {})
        for each in profile.calls
    ]
    return [*ranges, *calls]


def _outer_first(each: Range) -> tuple[int, int, int, int]:
    return each.start, -each.end, _OUTER.index(each.kind), len(each.name)


def _gpu(profile: Profile, tracks: dict[tuple[int, int], list[Kernel | Copy]]) -> list[_Event]:
    events: list[_Event] = []
    for place, works in enumerate(tracks.values()):
        for event in works:
            events.append(_as_span(event, place))
            if event.call is not None and 0 <= event.call < len(profile.calls):
                events += _arrow(profile, event, event.call, place, len(events))
    return events


def _as_span(event: Kernel | Copy, place: int) -> _Event:
    about: _Event = {} if event.node is None else {"node": event.node}
    about |= {"module": event.module} if event.module else {}
    if isinstance(event, Copy):
        name = "memset" if event.kind == "memset" else _COPIES[event.kind]
        about |= {"bytes": event.size}
        name = f"{name}, {format_size(event.size)}"
        return _span(name, "copy", event.start, event.end, GPU, place, about)
    about |= {"operator": event.operator} if event.operator else {}
    return _span(event.name, "kernel", event.start, event.end, GPU, place, about)


def _arrow(profile: Profile, event: Kernel | Copy, call: int, place: int, number: int) -> Sequence[_Event]:
    """From the start of the call to that of its work; each has an ``id`` of its own."""
    origin = profile.calls[call]
    identity = f"{place}.{number}"
    shared = {"cat": "launch", "name": "launch", "id": identity}
    return (
        {"ph": "s", **shared, "ts": _us(origin.start), "pid": HOST, "tid": origin.thread},
        {"ph": "f", "bp": "e", **shared, "ts": _us(event.start), "pid": GPU, "tid": place},
    )


def _span(name: str, kind: str, start: int, end: int, process: int, track: int, about: _Event) -> _Event:
    event = {"ph": "X", "name": name, "cat": kind, "ts": _us(start), "dur": _us(max(end - start, 0))}
    return event | {"pid": process, "tid": track} | ({"args": about} if about else {})


def _us(ns: int) -> float:
    """The format's unit, exact to the ns."""
    return round(ns / 1000, 3)
