"""The events of one inference on a timeline: lanes of phases, modules, operators, host calls and streams."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from bench.model.profile import Copy, Kernel, Profile
from bench.report import escape, kernels
from bench.report.html import columns

_LONGEST_NAME = 400
short_name = functools.lru_cache(maxsize=1 << 16)(kernels.short)  # of the same kernels in many profiles


class Names:
    """Texts that many rows share: each once, rows have its place."""

    def __init__(self) -> None:
        self._places: dict[str, int] = {}

    def place(self, text: str) -> int:
        """Of the text, as the page shows it."""
        return self._places.setdefault(text, len(self._places))

    @property
    def texts(self) -> list[str]:
        """All of them, by place."""
        return [escape.line(text, _LONGEST_NAME) for text in self._places]


class _Event(NamedTuple):
    lane: tuple[int, str, str]  # its order, kind and title
    start: int
    end: int
    name: str
    kind: str
    module: str = ""
    delay: int | None = None


def timeline(profile: Profile, names: Names, most: int) -> list[dict[str, Any]]:
    """The lanes of one inference, top to bottom: ``title``, ``kind`` (phase, module, operator, call, stream), ``left``
    (how many shorter events are not in it), and the ``events``, a table in the order of their starts.

    Events have ``start`` (ns after that of the one before), ``ns``, ``name``, ``kind`` (of work on the GPU), ``module``
    and ``delay``: from the start of the call that launched it, ns.
    """
    lanes: dict[tuple[int, str, str], list[_Event]] = defaultdict(list)
    for event in _events(profile):
        lanes[event.lane].append(event)
    zero = min((event.start for events in lanes.values() for event in events), default=0)
    shown: dict[tuple[int, str, str], list[_Event]] = {}
    for waiting, lane in zip(range(len(lanes), 0, -1), sorted(lanes, key=lambda lane: len(lanes[lane])), strict=True):
        longest = sorted(lanes[lane], key=lambda event: event.start - event.end)[: most // waiting]
        shown[lane] = sorted(longest, key=lambda event: (event.start, -event.end))
        most -= len(longest)
    return [
        {
            "title": escape.name(lane[2]),
            "kind": lane[1],
            "left": len(lanes[lane]) - len(shown[lane]),
            "events": columns.table([*_in_steps(shown[lane], names, zero)], ("start", "ns", "name")),
        }
        for lane in sorted(lanes)
    ]


def _in_steps(events: Iterable[_Event], names: Names, zero: int) -> Iterator[dict[str, Any]]:
    before = zero
    for event in events:
        yield {
            "start": event.start - before,
            "ns": event.end - event.start,
            "name": names.place(event.name),
            "kind": event.kind,
            "module": names.place(event.module) if event.module else None,
            "delay": event.delay,
        }
        before = event.start


def _events(profile: Profile) -> Iterator[_Event]:
    threads = {each.thread for each in profile.ranges} | {each.thread for each in profile.calls}

    def on(what: str, thread: int) -> str:
        return f"{what}, thread {thread}" if len(threads) > 1 else what

    kinds = {each.kind for each in profile.ranges}
    # Operators lie within modules, and are many: they are shown where they say more.
    wanted = [("phase", "phases"), ("module", "modules")]
    wanted += [("operator", "operators")] if profile.device == "cpu" or "module" not in kinds else []
    order = {kind: (at, kind, title) for at, (kind, title) in enumerate(wanted)}
    for each in profile.ranges:
        if each.kind in order:
            at, kind, title = order[each.kind]
            yield _Event((at, kind, on(title, each.thread)), each.start, each.end, each.name, kind)
    for call in profile.calls:
        yield _Event((3, "call", on("host calls", call.thread)), call.start, call.end, call.name, "call")
    work: list[Kernel | Copy] = [*profile.kernels, *profile.copies]
    for on_gpu in work:
        start = profile.calls[on_gpu.call].start if on_gpu.call is not None else None
        kernel = isinstance(on_gpu, Kernel)
        name = short_name(on_gpu.name) if isinstance(on_gpu, Kernel) else f"{on_gpu.kind}, {on_gpu.size:,} bytes"
        yield _Event(
            (4, "stream", f"stream {on_gpu.stream}"),
            on_gpu.start,
            on_gpu.end,
            name,
            "kernel" if kernel else "copy",
            on_gpu.module,
            None if start is None else on_gpu.start - start,
        )
