"""The page's tables about profiles: where the time of one inference goes, its events on a timeline, its kernels, layers
and copies, and why a case differs from its baseline.
"""

from __future__ import annotations

import contextlib
import functools
import statistics
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from bench.analysis import explain, explain_sides, waterfall
from bench.analysis.rows import Row
from bench.analysis.top_kernels import top_kernels
from bench.analysis.waterfalls import BESIDE
from bench.errors import UsageError
from bench.model.profile import CaseProfile, CondensedProfile, Copy, Kernel, Profile, ProfileRun
from bench.model.run import Run
from bench.report import cells, escape, explain_tables, kernels
from bench.report.html import columns

# The parts of a window in the order of a bar: of a GPU's inference, of a CPU's.
PARTS = ("kernels", "copies", "launch", "wait", "tail", "operators", "threads", "python", "unexplained")
# Of a profile's timeline, and of all of a page's: of each lane the longest events stay.
MOST_EVENTS, MOST_EVENTS_OF_PAGE, FEWEST_EVENTS = 2_000, 60_000, 100
MOST_KERNELS, MOST_LAYERS, MOST_PAIRS, MOST_PARTS, MOST_NAMES = 20, 400, 40, 10, 3
MOST_COMPARED = 8_000_000  # pairs of kernels of both sides
_LONGEST_NAME = 400
_short_name = functools.lru_cache(maxsize=1 << 16)(kernels.short)  # of the same kernels in many profiles


class PlacedProfile(NamedTuple):
    """A profile of a case: ``places`` are those of the case in all runs of the folder, ``place`` of the newest."""

    place: int
    places: tuple[int, ...]
    run: ProfileRun
    case: CaseProfile

    @property
    def condensed(self) -> CondensedProfile | None:
        """None for a failure."""
        return self.case.condensed


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


def select(
    runs: Sequence[Run], place: Mapping[tuple[str, str], int], profiles: Mapping[str, Sequence[ProfileRun]]
) -> list[PlacedProfile]:
    """The newest profile of each case that is shown, in the order of cases: one with events, one with layers, and a
    failure where there is neither. ``profiles`` are those beside runs, newest first, by folder.
    """
    chosen = []
    for folder, files in profiles.items():
        there = sorted(
            (run for run in runs if run.path and str(Path(run.path).parent) == folder),
            key=lambda run: run.header.created,
            reverse=True,
        )
        places: dict[str, list[int]] = defaultdict(list)
        for run in there:
            for case in run.header.cases:
                if (at := place.get((run.header.run, case.id))) is not None:
                    places[case.id].append(at)
        first: dict[tuple[str, str], PlacedProfile] = {}
        for file in files:
            for each in file.cases:
                if each.case in places:
                    of_case = tuple(places[each.case])
                    first.setdefault((each.case, _what(each)), PlacedProfile(of_case[0], of_case, file, each))
        whole = {case for case, what in first if what != "failure"}
        chosen += [each for (case, what), each in first.items() if what != "failure" or case not in whole]
    return sorted(chosen, key=lambda each: each.place)


def _what(case: CaseProfile) -> str:
    if case.condensed is None:
        return "failure"
    return "events" if case.condensed.parts or case.condensed.profile.kernels else "layers"


def tables(
    chosen: Sequence[PlacedProfile], cases: Sequence[Mapping[str, Any]], rows: Sequence[Row], runs: Sequence[str]
) -> dict[str, Any]:
    """``profiles``, ``timelines``, ``kernels``, ``layers``, ``copies``, ``explanations``, how many ``pairs`` there are
    to explain, and the ``names`` in tables. ``rows`` are those of ``cases``, ``runs`` the ids of the page's runs.
    """
    names = Names()
    timed = sum(_what(each.case) == "events" for each in chosen)
    most = max(FEWEST_EVENTS, min(MOST_EVENTS, MOST_EVENTS_OF_PAGE // max(timed, 1)))
    return {
        "profiles": columns.table([_profile(each) for each in chosen], ("case", "places")),
        "timelines": [_timeline(each.condensed.profile, names, most) if each.condensed else [] for each in chosen],
        "kernels": columns.table([*_kernels(chosen, names)], ("profile",)),
        "layers": columns.table([*_layers(chosen, names)], ("profile",)),
        "copies": columns.table([*_copies(chosen)], ("profile",)),
        **explanations(chosen, cases, rows, runs),
        "names": names.texts,
    }


def _profile(each: PlacedProfile) -> dict[str, Any]:
    row: dict[str, Any] = {
        "case": each.place,
        "places": list(each.places),
        "tool": each.run.tool,
        "created": escape.name(each.run.created),
    }
    if each.case.failure is not None:
        row |= {
            "failure": escape.name(cells.failure(each.case.failure)),
            "message": escape.lines(cells.message(each.case.failure)),
        }
    if each.condensed is None:
        return row
    profile, parts = each.condensed.profile, each.condensed.parts
    row |= {
        "version": escape.name(profile.tool_version),
        "device": profile.device,
        "notes": [escape.line(note) for note in profile.notes],
        "runtime": escape.name(profile.layers.runtime) if profile.layers else None,
    }
    if parts:
        middle = parts[waterfall.typical(parts)]
        row |= {"window": middle.window, "iterations": len(parts)}
        row["ratio"] = waterfall.ratio(parts, profile.unprofiled_ns)
        row |= {name: getattr(middle, name) for name in PARTS}
        row["unprofiled"] = statistics.median(profile.unprofiled_ns) if profile.unprofiled_ns else None
    return row


# ------------------------------------------------------------------------------------------------------------ timeline


class _Event(NamedTuple):
    lane: tuple[int, str, str]  # its order, kind and title
    start: int
    end: int
    name: str
    kind: str
    module: str = ""
    delay: int | None = None


def _timeline(profile: Profile, names: Names, most: int) -> list[dict[str, Any]]:
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
        name = _short_name(on_gpu.name) if isinstance(on_gpu, Kernel) else f"{on_gpu.kind}, {on_gpu.size:,} bytes"
        yield _Event(
            (4, "stream", f"stream {on_gpu.stream}"),
            on_gpu.start,
            on_gpu.end,
            name,
            "kernel" if kernel else "copy",
            on_gpu.module,
            None if start is None else on_gpu.start - start,
        )


# -------------------------------------------------------------------------------------------------------------- tables


def _kernels(chosen: Sequence[PlacedProfile], names: Names) -> Iterator[dict[str, Any]]:
    for number, profiled in enumerate(chosen):
        if profiled.condensed is None or _what(profiled.case) != "events":
            continue
        every = top_kernels(profiled.condensed)
        for each in every[:MOST_KERNELS]:
            yield {
                "profile": number,
                "name": names.place(_short_name(each.name)),
                "full": names.place(each.name),
                "count": each.count,
                "ns": each.ns,
                "each": each.median_ns,
                "share": each.share,
                "module": names.place(_several(each.modules or each.operators)),
            }
        if rest := every[MOST_KERNELS:]:
            total = {"ns": sum(each.ns for each in rest), "share": sum(each.share for each in rest)}
            yield {"profile": number, "count": sum(each.count for each in rest), "others": len(rest), **total}


def _several(texts: Sequence[str]) -> str:
    """The first of them, and how many more there are."""
    more = f" and {len(texts) - MOST_NAMES} more" if len(texts) > MOST_NAMES else ""
    return ", ".join(texts[:MOST_NAMES]) + more


def _layers(chosen: Sequence[PlacedProfile], names: Names) -> Iterator[dict[str, Any]]:
    for number, profiled in enumerate(chosen):
        engine = profiled.condensed.profile.layers if profiled.condensed else None
        if engine is None:
            continue
        times = [statistics.median(layer.ns) if layer.ns else None for layer in engine.layers]
        total = sum(filter(None, times))
        longest = sorted(range(len(times)), key=lambda at: -(times[at] or 0))[:MOST_LAYERS]
        for at in sorted(longest):
            layer = engine.layers[at]
            yield {
                "profile": number,
                "at": at + 1,
                "name": names.place(layer.name),
                "kind": escape.name(layer.kind),
                "precision": escape.name(layer.precision),
                "tactic": names.place(layer.tactic) if layer.tactic else None,
                "reformat": layer.reformat,
                "format": escape.name(layer.outputs[0].format) if layer.outputs else None,
                "ns": times[at],
                "share": (times[at] or 0) / total if total else None,
            }


def _copies(chosen: Sequence[PlacedProfile]) -> Iterator[dict[str, Any]]:
    for number, profiled in enumerate(chosen):
        groups: dict[str, list[Copy]] = defaultdict(list)
        for copy in profiled.condensed.profile.copies if profiled.condensed else ():
            groups[copy.kind].append(copy)
        for kind, copies in groups.items():
            ns, size = sum(copy.end - copy.start for copy in copies), sum(copy.size for copy in copies)
            yield {"profile": number, "kind": kind, "count": len(copies), "bytes": size, "ns": ns}


def waterfalls(chosen: Sequence[PlacedProfile]) -> Iterator[dict[str, Any]]:
    """The rows of the plot: a line for each case and part of its window."""
    for profiled in chosen:
        if profiled.condensed is None or not profiled.condensed.parts:
            continue
        parts, profile = profiled.condensed.parts, profiled.condensed.profile
        middle = parts[waterfall.typical(parts)]
        for name in PARTS:
            if ns := getattr(middle, name):
                yield {
                    "case": profiled.place,
                    "step": name,
                    "ns": ns,
                    "share": ns / middle.window if middle.window else None,
                    "total": middle.window,
                    "slowed": waterfall.ratio(parts, profile.unprofiled_ns),
                    "tool": profiled.run.tool,
                }


# ------------------------------------------------------------------------------------------------------- explanations


def explanations(
    chosen: Sequence[PlacedProfile], cases: Sequence[Mapping[str, Any]], rows: Sequence[Row], runs: Sequence[str]
) -> dict[str, Any]:
    """``pairs``, how many cases and their baselines were both profiled, and ``explanations`` of why they differ: of
    MOST_PAIRS, the most different first, as far as their kernels are few enough to be compared in seconds.

    Each has ``case`` and ``base`` (places), ``ns`` and ``base_ns`` (of one inference), ``work`` and ``base_work``,
    ``gaps`` (what these are as long as: see explain), ``measured`` (boundary and the medians of both), ``by`` (what
    parts were aligned by), ``totals`` (cause, ns, number of parts), ``parts``, ``others`` (how many parts are not in
    it) and ``notes``.
    """
    profiled: dict[int, PlacedProfile] = {}
    for each in sorted(chosen, key=lambda each: _what(each.case)):  # events before layers
        if each.condensed is not None:
            for at in each.places:
                profiled.setdefault(at, each)
    places = {(case["run"], case["label"]): at for at, case in enumerate(cases)}
    pairs = []
    for place, each in profiled.items():
        case = cases[place]
        base = places.get((case["run"], case["against"])) if case["against"] else None
        if place == each.place and base is not None and base != place and base in profiled:
            pairs.append((each, place, profiled[base], base))
    pairs.sort(key=lambda pair: -abs(1 - (cases[pair[1]]["speed"] or 1)))
    several: list[dict[str, Any]] = []
    compared = 0
    for ours, place, theirs, base in pairs:
        measured = [
            {name: rows[at].times[name].value for name in BESIDE if name in rows[at].times} for at in (base, place)
        ]
        shared = [name for name in measured[0] if name in measured[1]]
        a, b = (
            msgspec.structs.replace(_side(each), measured={name: times[name] for name in shared})
            for each, times in zip((theirs, ours), measured, strict=True)
        )
        compared += len(a.units) * len(b.units)
        if several and (len(several) == MOST_PAIRS or compared > MOST_COMPARED):
            break
        with contextlib.suppress(UsageError):  # they have nothing in common, as of a GPU and of a CPU
            several.append(_explanation(explain.explain(a, b, run=runs[cases[place]["run"]]), place, base))
    return {"pairs": len(pairs), "explanations": several}


def _explanation(whole: explain.Explanation, place: int, base: int) -> dict[str, Any]:
    differing = [part for part in whole.parts if part.difference or part.causes]
    return {
        "case": place,
        "base": base,
        "ns": whole.b.window,
        "base_ns": whole.a.window,
        "work": whole.b.work,
        "base_work": whole.a.work,
        "gaps": whole.gaps if whole.a.idle or whole.b.idle else None,
        "measured": [[name, whole.a.measured[name], whole.b.measured[name]] for name in whole.a.measured],
        "by": whole.by,
        "totals": [[explain_tables.cause_name(whole, kind), ns, count] for kind, ns, count in whole.totals],
        "parts": [_part(part) for part in differing[:MOST_PARTS]],
        "others": max(len(differing) - MOST_PARTS, 0),
        "notes": [escape.line(note) for note in whole.notes],
    }


def _side(profiled: PlacedProfile) -> explain_sides.Side:
    assert profiled.condensed is not None
    return explain_sides.of_condensed(profiled.case.case, profiled.case.label, profiled.condensed)


def _part(part: explain.Part) -> dict[str, Any]:
    why = [
        {
            "kind": cause.kind,
            "ns": cause.ns,
            "text": escape.line(cause.text),
            "base": _short(cause.kernels_a),
            "case": _short(cause.kernels_b),
        }
        for cause in part.causes
    ]
    return {"name": escape.name(part.name), "base_ns": part.a, "ns": part.b, "causes": why}


def _short(several: Sequence[str]) -> list[str]:
    texts = [escape.name(_short_name(name)) for name in several[:MOST_NAMES]]
    return texts + ([f"{len(several) - MOST_NAMES} more"] if len(several) > MOST_NAMES else [])
