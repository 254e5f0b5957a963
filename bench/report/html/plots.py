"""The plots of a page: what each is about, its rows, and the columns of the table beside it.

A plot is a mapping, all of it but its rows in assets/plots/ID.json::

    {"id": "speed", "name": "Speed-up", "title": "what to read from it", "text": "what is shown, and how",
     "missing": "",                    # without rows: what would fill the plot, e.g. a command
     "panel": "size",                  # what has a chart of its own: size, model, run, pair, case
     "beyond": ["run"],                # facets of the page's filter that the plot does not follow
     "columns": [{"name": "speed", "title": "speed", "form": "ratio"}, ...],      # of the HTML table
     "spec": {...},                    # Vega-Lite of one chart, without "data" and "config"
     "rows": TABLE}                    # bench.report.html.columns; "case" is a place of cases

assets/charts.js gives a specification its rows and what only a reader's screen and filter decide: widths, domains,
colours, and how ticks read ("@time" and the like stand for these). A row has also the columns of its case, but for
those of its own. ``form`` is one of time, size, ratio, share, small, count, plain, flops, energy, when, yes; by default
it is a text. A page that is filtered shows the rows of the cases that match, or whose ``other`` case does.

What is computed is computed in bench.analysis.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import Any, NamedTuple

from bench.analysis import history, payback, series
from bench.analysis.pool import Pool
from bench.analysis.rows import Row
from bench.analysis.spreads import mismatch
from bench.model.calibration import Calibration
from bench.model.run import Run
from bench.model.suite import Case
from bench.report import cells, cold_start, compare_notes, escape
from bench.report.html import columns
from bench.report.html.page import asset
from bench.report.html.placed import PlacedProfile
from bench.report.html.profiles import waterfalls


class Source(NamedTuple):
    """What a page shows: all runs with their rows(), gathered pools, baselines and places of machines; and of the cases
    that are shown their rows, pools, columns, profiles, and places by run and id; and calibrations by the runs' folder.
    """

    runs: Sequence[Run]
    tables: Sequence[Sequence[Row]]
    gathered: Sequence[Sequence[Pool]]
    baselines: Sequence[str]
    machines: Sequence[int]
    rows: Sequence[Row]
    pools: Sequence[Pool]
    cases: Sequence[dict[str, Any]]
    place: Mapping[tuple[str, str], int]
    profiled: Sequence[PlacedProfile] = ()
    calibrations: Mapping[str, Sequence[Calibration]] = {}


def plots(source: Source) -> list[dict[str, Any]]:
    """All plots of a page, in the order in which they are shown."""
    return [
        {"id": name, **json.loads(asset(f"plots/{name}.json")), "rows": columns.table([*rows(source)], ("case",))}
        for name, rows in PLOTS.items()
    ]


# ------------------------------------------------------------------------------------------------------------- rows


def _speeds(source: Source) -> Iterator[dict[str, Any]]:
    """Ranked cases have their speed in the page's table of cases. Baselines are there if anything is against them."""
    unsound: dict[tuple[str, str], dict[str, Any]] = {}
    of_runs = zip(source.runs, source.tables, source.gathered, source.baselines, strict=True)
    for run, table, pools, baseline in of_runs:
        for id, speed in series.unsound_speeds(run, table, pools, baseline).items():
            unsound[run.header.run, id] = {
                "speed": speed.ratio,
                "speed_low": speed.low,
                "speed_high": speed.high,
                "speed_text": cells.ratio(speed, ""),
                "against": escape.name(speed.against),
            }
    shown = {place: unsound.get(key, source.cases[place]) for key, place in source.place.items()}
    against = {
        (source.cases[place]["run"], fields["against"])
        for place, fields in shown.items()
        if fields["against"] != source.cases[place]["label"]
    }
    for key, place in source.place.items():
        case = source.cases[place]
        if key in unsound:
            yield {"case": place, **unsound[key]}
        elif case["speed"] is not None and (
            case["against"] != case["label"] or (case["run"], case["label"]) in against
        ):
            yield {"case": place}


def _trades(source: Source) -> Iterator[dict[str, Any]]:
    for run, table in zip(source.runs, source.tables, strict=True):
        best = series.front(table, _cases(run))
        for row in table:
            place, latency = source.place.get((run.header.run, row.case)), row.times.get("latency")
            if place is not None and latency and row.rate:
                yield {
                    "case": place,
                    "front": row.case in best,
                    "latency": latency.value,
                    "latency_low": latency.low,
                    "latency_high": latency.high,
                    "latency_text": cells.time(latency),
                }


def _scales(source: Source) -> Iterator[dict[str, Any]]:
    for run, table in zip(source.runs, source.tables, strict=True):
        of_rows = series.scales(table, _cases(run))
        for row in table:
            place, scale = source.place.get((run.header.run, row.case)), of_rows.get(row.case)
            if place is not None and scale:
                yield {
                    "case": place,
                    "line": scale.key,
                    "rate": scale.rate.value,
                    "rate_low": scale.rate.low,
                    "rate_high": scale.rate.high,
                    "rate_text": cells.rate(scale.rate),
                    "gain": scale.gain,
                }


def _starts(source: Source) -> Iterator[dict[str, Any]]:
    paid = {
        (run.header.run, case.case): cold_start.outcome(case)
        for run, pools, baseline in zip(source.runs, source.gathered, source.baselines, strict=True)
        for case in payback.of_run(run, baseline, pools=pools).cases
    }
    for place, (row, pool) in enumerate(zip(source.rows, source.pools, strict=True)):
        start = series.start(row, pool)
        if start is None or row.failure:
            continue
        run = source.runs[source.cases[place]["run"]].header.run
        for step in start.steps:
            yield {
                "case": place,
                "step": step.name,
                "ns": step.ns,
                "source": "cache" if step.warm else "made",
                "total": start.total_ns,
                "beside": ", ".join(start.beside) or None,
                "paid": paid.get((run, row.case)),
            }


def _waterfalls(source: Source) -> Iterator[dict[str, Any]]:
    return waterfalls(source.profiled)


def _roofs(source: Source) -> Iterator[dict[str, Any]]:
    for place, (row, pool) in enumerate(zip(source.rows, source.pools, strict=True)):
        ceilings = source.runs[source.cases[place]["run"]].header.ceilings
        if row.ranked and (roof := series.roof(row, pool, ceilings)):
            yield {
                "case": place,
                "intensity": roof.intensity,
                "achieved": roof.achieved,
                "roof": roof.roof,
                "peak": ceilings[row.precision],
                "copy": ceilings["copy"],
            }


def _machines(source: Source) -> Iterator[dict[str, Any]]:
    return _ratios(source, series.of_machines(source.runs, source.machines), "device")


def _toolchains(source: Source) -> Iterator[dict[str, Any]]:
    return _ratios(source, [ratio for run in source.runs for ratio in series.of_toolchains(run)], "toolchain")


def _ratios(source: Source, ratios: Sequence[series.Ratio], what: str) -> Iterator[dict[str, Any]]:
    for ratio in ratios:
        place, base = source.place.get((ratio.run, ratio.case)), source.place.get((ratio.base_run, ratio.base))
        if place is None or base is None:
            continue
        yield {
            "case": place,
            "other": base,
            "side": source.cases[place][what],
            "base": source.cases[base][what],
            "ratio": ratio.ratio,
            "ratio_low": ratio.low,
            "ratio_high": ratio.high,
            "verdict": ratio.verdict,
            "of": ratio.boundary,
        }


def _histories(source: Source) -> Iterator[dict[str, Any]]:
    """Also ``level``, the median between two steps, and at a step its ratio; times are in the table of cases. A line
    has a ``part`` for each definition of boundaries, with what was ``redefined`` at the first point of the next one.
    """
    lines = series.of_runs(source.runs, source.tables, source.machines)
    levels = _levels(source, {case for parts in lines for part in parts for _, case in part.points})
    for line, parts in enumerate(lines):
        shown = [[point for point in part.points if point in source.place] for part in parts]
        if sum(map(len, shown)) < 2:
            continue
        for number, (part, points) in enumerate(zip(parts, shown, strict=True)):
            known = levels if all(point in levels for point in part.points) else {}
            redefined = compare_notes.texts(part.redefined) or None
            for index, point in enumerate(points):
                level, step = known.get(point, (None, None))
                of_step = {"level": level, "step": step, "redefined": None if index else redefined}
                yield {"case": source.place[point], "line": line, "part": number, **of_step}


def _levels(source: Source, ids: Set[str]) -> dict[tuple[str, str], tuple[float, float | None]]:
    """By run and case the level, and the ratio of a step; nothing of cases that have no step."""
    wanted = {case.id: case for run in source.runs for case in run.header.cases if case.id in ids}
    levels: dict[tuple[str, str], tuple[float, float | None]] = {}
    for bare, runs in history.histories(source.runs, list(wanted.values())):
        whole = history.with_steps(bare, runs, _calibration(source, runs[-1]) if runs else None)
        steps = {step.run: step.ratio for step in whole.steps}
        if steps:
            levels |= {(point.run, whole.case): (point.level_ns, steps.get(point.run)) for point in whole.points}
    return levels


def _calibration(source: Source, run: Run) -> Calibration | None:
    """The newest of the run's device, whatever libraries and drivers it is of: they change over a history."""
    here = [*run.header.environments.values()][:1]
    several = source.calibrations.get(str(Path(run.path).parent), ())
    return next((each for each in several if here and not mismatch(each, here, ("toolchain", "driver"))), None)


def _cases(run: Run) -> dict[str, Case]:
    return {case.id: case for case in run.header.cases}


# The plots in the order of the page, by the names of their files in assets/plots/, and what makes their rows.
PLOTS: dict[str, Callable[[Source], Iterator[dict[str, Any]]]] = {
    "speed": _speeds,
    "trade": _trades,
    "batch": _scales,
    "start": _starts,
    "roof": _roofs,
    "waterfall": _waterfalls,
    "machines": _machines,
    "toolchains": _toolchains,
    "history": _histories,
}
