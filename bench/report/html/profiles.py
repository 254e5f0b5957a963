"""The page's tables about profiles: where the time of one inference goes, its kernels, layers and copies."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench.analysis import held_calls, waterfall
from bench.analysis.rows import Row
from bench.analysis.top_kernels import top_kernels
from bench.analysis.waterfalls import profile_notes
from bench.model.profile import Copy, ProfileRun
from bench.report import cells, escape
from bench.report.html import columns
from bench.report.html.explanations import TimedRun, explanations
from bench.report.html.placed import PlacedProfile
from bench.report.html.timelines import Names, short_name, timeline
from bench.report.waterfall import middle_window

# The parts of a window in the order of a bar: of a GPU's inference, of a CPU's.
PARTS = ("kernels", "copies", "launch", "wait", "tail", "operators", "threads", "python", "unexplained")
# Of a profile's timeline, and of all of a page's: of each lane the longest events stay.
MOST_EVENTS, MOST_EVENTS_OF_PAGE, FEWEST_EVENTS = 2_000, 60_000, 100
MOST_KERNELS, MOST_LAYERS, MOST_NAMES = 20, 400, 3


def tables(
    chosen: Sequence[PlacedProfile],
    cases: Sequence[Mapping[str, Any]],
    rows: Sequence[Row],
    runs: Sequence[TimedRun],
    files: Sequence[Sequence[ProfileRun]],
) -> dict[str, Any]:
    """``profiles``, ``timelines``, ``kernels``, ``layers``, ``copies``, ``explanations``, how many ``pairs`` there are
    to explain, and the ``names`` in tables. ``rows`` are those of ``cases``, ``runs`` the page's runs,
    ``files`` for each of these the profiles beside it, newest first.
    """
    names = Names()
    timed = sum(each.kind == "events" for each in chosen)
    most = max(FEWEST_EVENTS, min(MOST_EVENTS, MOST_EVENTS_OF_PAGE // max(timed, 1)))
    return {
        "profiles": columns.table([_profile(each) for each in chosen], ("case", "places")),
        "timelines": [timeline(each.condensed.profile, names, most) if each.condensed else [] for each in chosen],
        "kernels": columns.table([*_kernels(chosen, names)], ("profile",)),
        "layers": columns.table([*_layers(chosen, names)], ("profile",)),
        "copies": columns.table([*_copies(chosen)], ("profile",)),
        **explanations(chosen, cases, rows, runs, files),
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
            "message": escape.lines(each.case.failure.text),
        }
    if each.condensed is None:
        return row
    profile, parts = each.condensed.profile, each.condensed.parts
    row |= {
        "version": escape.name(profile.tool_version),
        "device": profile.device,
        "notes": [escape.line(note) for note in profile_notes(each.condensed)],
        "runtime": escape.name(profile.layers.runtime) if profile.layers else None,
    }
    if parts:
        middle = parts[waterfall.typical(parts)]
        row |= {"window": middle.window, "iterations": len(parts), "which": middle_window({len(parts)})}
        row["ratio"] = waterfall.ratio(parts, profile.unprofiled_ns)
        row |= {name: getattr(middle, name) for name in PARTS}
        row["unprofiled"] = statistics.median(profile.unprofiled_ns) if profile.unprofiled_ns else None
        own = held_calls.compare(each.condensed)
        row |= {"held": own.span, "own_gpu": own.gpu, "recorded_gpu": own.recorded_gpu}
    return row


# -------------------------------------------------------------------------------------------------------------- tables


def _kernels(chosen: Sequence[PlacedProfile], names: Names) -> Iterator[dict[str, Any]]:
    for number, profiled in enumerate(chosen):
        if profiled.condensed is None or profiled.kind != "events":
            continue
        every = top_kernels(profiled.condensed)
        for each in every[:MOST_KERNELS]:
            yield {
                "profile": number,
                "name": names.place(short_name(each.name)),
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
