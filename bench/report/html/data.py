"""The data of a page: runs and their rows as tables of columns, every text escaped for display.

A page holds one JSON object::

    {"format": 1, "version": "0.2.0", "made": "2026-11-28T12:00:00+00:00", "title": "...", "store": "results",
     "refresh": 0,                                              # seconds after which the page loads itself again
     "problems": ["results/x.jsonl: ..."],                      # files and lines that could not be read
     "boundaries": {"gpu": "event to event ...", ...},          # their definitions
     "machines": TABLE, "runs": TABLE, "cases": TABLE, "times": TABLE, "processes": TABLE, "distributions": TABLE,
     "phases": TABLE, "outputs": TABLE, "conditions": TABLE, "notes": TABLE, "case_notes": TABLE, "left_out": TABLE,
     "leaders": TABLE, "findings": TABLE,
     "profiles": TABLE, "kernels": TABLE, "layers": TABLE, "copies": TABLE, "timelines": [...], "explanations": [...],
     "names": [...], "pairs": 0,                                # bench.report.html.profiles, timelines, explanations
     "plots": [...]}                                            # bench.report.html.plots

TABLE is ``{"rows": n, "columns": {name: COLUMN}}``, COLUMN one of ``[value, ...]``, ``{"same": value}`` and
``{"of": [distinct values], "at": [place, ...]}`` (bench.report.html.columns); null is "not recorded". Rows refer to
rows of other tables by their place: ``run``, ``machine``, ``case``, ``process``, ``note``. Times are nanoseconds, sizes
bytes, rates inferences per second, ``*_low`` and ``*_high`` 95 % intervals, ``*_text`` what the terminal's tables show.

``machines``: device, arch, kind, label.
``runs``: id, path, machine, created, suite, status, counts, cases, replicates, version, libraries, toolchains, limits,
    cold, baseline, show (a command), ceilings (a text), fingerprint (of the default toolchain), notes (texts),
    verdicts (of a duel, texts).
``cases``: run, machine, device, id, label, model, backend, precision, sizes, batch, setting, toolchain, status
    (fastest, tied, ok, unranked, inaccurate, varies, failed, unavailable, waiting), ranked, tied, processes, builds,
    failed, boundary (of time), time, rate, speed, against (a label), baseline (its backend), accuracy, accuracy_why,
    flaw (why its times cannot be used: a predicate), cosine, rel_l2, max_abs, sqnr, quantized_cosine, quantized_sqnr
    (against the quantized model), rounding_cosine (of that model, with float16 between its layers and without), memory,
    memory_of, energy, python_share, python_share_of (the boundary), light, flops, bytes, bound, failure,
    failure_message, failure_hint, failure_log, warnings (their kinds), rerun (a command).
``times``: case, boundary, time, minimum, sd, p50, p90, p95, p99, samples, processes.
``processes``: case, replicate, build, started, card, failure, and the telemetry's figures by name.
``distributions``: process, boundary, samples, marked, stop, median, steps (of at most 64 quantiles: columns.steps).
``phases``: case, name, cold, warm. ``conditions``: case, name, value.
``outputs``: case, name, cosine, max_abs, rel_l2, sqnr, nan, slice, slice_rel_l2, quantized_cosine, quantized_sqnr,
    rounding_cosine of the least accurate process.
``notes``: kind, text, fix; ``case_notes``: case, note. ``left_out``: run, label, reason, count.
``leaders``: case, ties (places of cases), runner_up, margin, margin_low, margin_high, rivals, elsewhere,
    level_zero, shapes (a text), faster (a case), faster_why, faster_rivals, faster_backends (bench.analysis.leaders).
``findings``: kind, count, of, case, other, value (bench.analysis.overview).
``profiles``: case, places (of the case in all runs of its machine), tool, version, created, device, notes, failure,
    message, runtime (of layers), window, iterations, which (of them the window
    is), unprofiled, ratio, of calls on a held stream held, own_gpu and
    recorded_gpu (bench.analysis.held_calls: span, gpu, recorded_gpu), and the parts of the window by name.
``kernels``: profile, name, full, module (places in ``names``), count, ns, each, share; the last of a profile has
    ``others``, how many it stands for. ``layers``: profile, at, name, tactic (places in ``names``), kind, precision,
    reformat, format, ns, share. ``copies``: profile, kind, count, bytes, ns.
``timelines``, one for each profile: bench.report.html.timelines. ``explanations``: bench.report.html.explanations.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import Any

from bench import __version__, store
from bench.analysis import leaders, overview
from bench.analysis.distribution import MOST_QUANTILES
from bench.analysis.pool import Pool, gather
from bench.analysis.rows import Row, rows
from bench.model.calibration import Calibration
from bench.model.profile import ProfileRun
from bench.model.run import Run
from bench.model.suite import BOUNDARIES, Case
from bench.report import cells, duel, escape, lint, notes, outcome, warnings
from bench.report.html import cases, columns, explanations, placed, plots, processes, profiles
from bench.report.note import Note, printable_note
from bench.units import format_rate

FORMAT = 1
TITLE = "trtbench report"
# Quantiles of a series by the number of records from which on they are fewer, so that a page can be sent around.
_FEWER = ((2_500, 32), (5_000, 16))


def page_data(
    runs: Sequence[Run],
    *,
    made: str,
    baselines: Sequence[str] = (),
    only: Sequence[Set[str] | None] = (),
    problems: Sequence[str] = (),
    title: str = TITLE,
    place: str = "",
    refresh: int = 0,
    profiled: Mapping[str, Sequence[ProfileRun]] = {},
    calibrations: Mapping[str, Sequence[Calibration]] = {},
) -> dict[str, Any]:
    """The object that the module describes, of ``runs`` in this order.

    Args:
        runs: what is shown, each once.
        made: when the page is made, ISO 8601.
        baselines: of each run, as for rows(); by default its own.
        only: for each run the ids of the cases to show, None for all; ranks and speeds are of the whole run.
        problems: what is wrong with files that are not among the runs.
        title: of the page.
        place: the folder of the runs, as the page names it.
        refresh: after how many seconds the page loads itself again, 0 for never.
        profiled: the profiles beside the runs, newest first, by folder.
        calibrations: likewise; histories take one of their device for the noise of a run.
    """
    only = only or [None] * len(runs)
    machines, places = overview.machines(runs)
    labels = [_label(machine) for machine in machines]
    pools = [gather(run) for run in runs]
    baselines = baselines or [""] * len(runs)
    tables = [rows(*of) for of in zip(runs, baselines, pools, strict=True)]
    shown = _Shown(runs, tables, pools, only, places, labels)
    chosen_profiles = placed.select(runs, shown.place, profiled)
    records = sum(len(run.records) for run in runs)
    best = leaders.best(runs, tables, pools, places)
    return {
        "format": FORMAT,
        "version": __version__,
        "made": made,
        "title": escape.name(title),
        "store": escape.name(place),
        "refresh": refresh,
        "problems": [escape.lines(problem) for problem in problems],
        "boundaries": BOUNDARIES,
        "machines": _machines(machines, labels),
        "runs": columns.table([_run(*of) for of in zip(runs, places, pools, strict=True)], ("id", "created")),
        "cases": columns.table(shown.cases, cases.COLUMNS),
        "times": columns.table(cases.times(shown.rows), ("case", "boundary", "time")),
        **processes.tables(shown.pools, quantiles_for(records)),
        "phases": columns.table(cases.phases(shown.rows), ("case", "name", "cold", "warm")),
        "outputs": columns.table(cases.outputs(shown.pools), ("case", "name")),
        "conditions": columns.table(cases.conditions(shown.rows), ("case", "name", "value")),
        **_note_tables(shown),
        "left_out": columns.table(_left_out(runs), ("run", "label", "reason", "count")),
        **_verdicts(
            runs, tables, pools, [leader for leader in best if (leader.run, leader.case) in shown.place], shown.place
        ),
        **profiles.tables(
            chosen_profiles, shown.cases, shown.rows, explanations.timed(runs, tables, pools),
            [profiled.get(str(Path(run.path).parent), ()) if run.path else () for run in runs],
        ),
        "plots": plots.plots(
            plots.Source(
                runs=runs, tables=tables, gathered=pools, baselines=baselines, machines=places, rows=shown.rows,
                pools=shown.pools, cases=shown.cases, place=shown.place, profiled=chosen_profiles,
                calibrations=calibrations,
            )
        ),
    }  # fmt: skip


def _machines(machines: Sequence[overview.Machine], labels: Sequence[str]) -> dict[str, Any]:
    fields = [
        {"device": machine.device, "arch": machine.arch, "kind": machine.kind, "label": label}
        for machine, label in zip(machines, labels, strict=True)
    ]
    return columns.table(fields, ("device", "arch", "kind", "label"))


def _note_tables(shown: _Shown) -> dict[str, Any]:
    every_note, case_notes = _notes(shown)
    return {
        "notes": columns.table(every_note, ("kind", "text", "fix")),
        "case_notes": columns.table(case_notes, ("case", "note")),
    }


def _verdicts(
    runs: Sequence[Run],
    tables: Sequence[Sequence[Row]],
    pools: Sequence[Sequence[Pool]],
    chosen: Sequence[leaders.Leader],
    place: Mapping[tuple[str, str], int],
) -> dict[str, Any]:
    """The tables of the fastest cases that are shown, and of what is to be said of them."""
    findings = overview.findings(runs, tables, pools, chosen)
    return {
        "leaders": columns.table([_leader(leader, place) for leader in chosen], ("case", "margin")),
        "findings": columns.table([_finding(finding, place) for finding in findings], ("kind",)),
    }


def quantiles_for(records: int) -> int:
    """How many quantiles of a process's samples a page of so many ``records`` has."""
    return next((number for limit, number in reversed(_FEWER) if records >= limit), MOST_QUANTILES)


class _Shown:
    """The cases of all runs that the page shows, in the order of runs and plans: rows, pools, and their places."""

    def __init__(
        self,
        runs: Sequence[Run],
        tables: Sequence[Sequence[Row]],
        pools: Sequence[Sequence[Pool]],
        only: Sequence[Set[str] | None],
        places: Sequence[int],
        labels: Sequence[str],
    ) -> None:
        self.rows: list[Row] = []
        self.pools: list[Pool] = []
        self.cases: list[dict[str, Any]] = []
        self.place: dict[tuple[str, str], int] = {}
        for number, (run, table, of_run, wanted) in enumerate(zip(runs, tables, pools, only, strict=True)):
            rerun, by_label = _Rerun(run), {row.label: row for row in table}
            for row, pool in zip(table, of_run, strict=True):
                if wanted is not None and row.case not in wanted:
                    continue
                self.place[run.header.run, row.case] = len(self.rows)
                self.rows.append(row)
                self.pools.append(pool)
                of = {"run": number, "machine": places[number], "device": labels[places[number]]}
                also = {"baseline": cases.baseline(row, pool, by_label), "rerun": rerun.of(pool.case)}
                self.cases.append(of | cases.fields(row, pool) | also)


class _Rerun:
    """The command that measures a case of a run again."""

    def __init__(self, run: Run) -> None:
        self._suite = store.suite_argument(run.header.suite_path)

    def of(self, case: Case) -> str:
        """Empty for a run that was made without a suite file."""
        if not self._suite.removesuffix("'").endswith((".yaml", ".yml")):
            return ""
        return escape.line(" ".join(["trtbench run", self._suite, "--select", f"id={case.id}"]))


def _label(machine: overview.Machine) -> str:
    differs = f" ({machine.differs})" if machine.differs else ""
    return escape.name(machine.device) + escape.name(differs)


def _run(run: Run, machine: int, pools: Sequence[Pool]) -> dict[str, Any]:
    header = run.header
    here = header.environments.get("default") or next(iter(header.environments.values()), None)
    whole = [f"{note.kind}: {note.text}" + (f"; try: {note.fix}" if note.fix else "") for note in outcome.of_run(run)]
    whole += map(escape.line, lint.of_run(run, pools))
    return {
        "id": escape.name(header.run),
        "path": escape.line(run.path),
        "machine": machine,
        "created": escape.name(header.created),
        "suite": escape.name(header.suite_path),
        "status": run.footer.status if run.footer else "unfinished",
        "counts": ("a duel: " if header.duel else "") + outcome.counts(run),
        "cases": len(header.cases),
        "replicates": header.policy.replicates,
        "version": escape.name(header.version),
        "libraries": escape.line(notes.machine(run)),
        "toolchains": [escape.line(line) for line in notes.toolchains(run)],
        "fingerprint": here.fingerprint if here else None,
        "limits": escape.line(", ".join(f"{name} {value}" for name, value in here.limits.items())) if here else "",
        "ceilings": _ceilings(header.ceilings),
        "cold": header.cold,
        "baseline": escape.name(header.baseline or "eager"),
        "show": f"trtbench show {store.run_argument(Path(run.path))}",
        "notes": whole,
        "verdicts": duel.verdicts(run),
    }


def _ceilings(ceilings: Mapping[str, float]) -> str:
    """``copy 3,000 GB/s, fp16 900 TFLOP/s``."""
    parts = []
    for name, rate in ceilings.items():
        scale = 1e12 if rate >= 1e12 else 1e9
        unit = ("TB/s" if scale == 1e12 else "GB/s") if name == "copy" else "TFLOP/s" if scale == 1e12 else "GFLOP/s"
        parts.append(f"{escape.name(name)} {format_rate(rate / scale)} {unit}")
    return ", ".join(parts)


def _notes(shown: _Shown) -> tuple[list[dict[str, Any]], list[dict[str, int]]]:
    """Every warning's sentence once, and which cases have it."""
    places: dict[tuple[str, str, str], int] = {}
    pairs = []
    for case, row in enumerate(shown.rows):
        groups: dict[tuple[str, ...], list[Any]] = {}
        for warning in row.warnings:
            groups.setdefault(warnings.key(warning), []).append(warning)
        for group in groups.values():
            text, fix = warnings.describe(warnings.merge(group))
            note = printable_note(Note(kind=group[0].kind, text=text, fix=fix))
            key = note.kind, note.text, note.fix
            pairs.append({"case": case, "note": places.setdefault(key, len(places))})
    return [{"kind": kind, "text": text, "fix": fix} for kind, text, fix in places], pairs


def _left_out(runs: Sequence[Run]) -> list[dict[str, Any]]:
    """The combinations that plans do not contain, by reason, with one of them as an example."""
    groups: dict[tuple[int, str], list[str]] = {}
    for number, run in enumerate(runs):
        for each in run.header.left_out:
            groups.setdefault((number, each.reason), []).append(each.label)
    return [
        {"run": number, "reason": escape.line(reason), "label": escape.name(labels[0]), "count": len(labels)}
        for (number, reason), labels in groups.items()
    ]


def _leader(leader: leaders.Leader, place: Mapping[tuple[str, str], int]) -> dict[str, Any]:
    margin = leader.margin
    return {
        "case": place[leader.run, leader.case],
        "ties": [place[leader.run, case] for case in leader.ties if (leader.run, case) in place],
        "runner_up": place.get((leader.run, leader.runner_up)),
        "margin": margin and margin.ratio,
        "margin_low": margin and margin.low,
        "margin_high": margin and margin.high,
        "margin_text": cells.ratio(margin, ""),
        "rivals": leader.rivals,
        "elsewhere": leader.elsewhere,
        "level_zero": leader.level_zero,
        "shapes": ", ".join("x".join(map(str, shape)) for shape in leader.shapes),
        **_faster(leader, place),
    }


def _faster(leader: leaders.Leader, place: Mapping[tuple[str, str], int]) -> dict[str, Any]:
    """The columns of the faster case of another run, None where there is none that the page shows."""
    faster = leader.faster
    case = place.get((faster.run, faster.case)) if faster else None
    if faster is None or case is None:
        return dict.fromkeys(("faster", "faster_why", "faster_rivals", "faster_backends"))
    return {
        "faster": case,
        "faster_why": faster.why,
        "faster_rivals": faster.rivals,
        "faster_backends": faster.backends,
    }


def _finding(finding: overview.Highlight, place: Mapping[tuple[str, str], int]) -> dict[str, Any]:
    return {
        "kind": finding.kind,
        "count": finding.count,
        "of": finding.of,
        "case": place.get((finding.run, finding.case)),
        "other": place.get((finding.run, finding.other)),
        "value": finding.value,
    }
