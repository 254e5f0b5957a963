"""A run's rows for other programs and pages: markdown for a README, CSV for a sheet, JSON with every raw figure."""

from __future__ import annotations

import csv as csv_format
import io
import sys
from collections.abc import Mapping, Sequence, Set
from typing import Any

import msgspec

from bench.analysis.figures import SHOWN, in_order
from bench.analysis.lint import has_effect
from bench.analysis.lint import lint as lint_run
from bench.analysis.rows import PRIMARY, Row, against, has_replicates, leads, models, rows, without_void_figures
from bench.model.run import Run
from bench.model.suite import Boundary
from bench.report import cells, escape, lint, notes, outcome, table_notes, warnings
from bench.report.evidence import evidence
from bench.report.note import Note

# 4: `fastest` is the lowest time alone.
# 3: `telemetry` in groups; `warnings` have `figures`.
# 2: values of `fairness` as stored, in lists; `telemetry`; `speed.across_devices`; `speed.ratio` may be null.
JSON_SCHEMA = 4


def markdown(run: Run, baseline: str = "", *, only: Set[str] | None = None) -> str:
    """One table per model (GitHub flavour), its notes as a list below; a last line says what bold and marks mean."""
    header = run.header
    processes = cells.count(header.policy.replicates, "process")
    lines = [f"`{header.run}` on {_escape(notes.machine(run))}; {processes} per case; times with 95% intervals."]
    lines += [f"\n`{name}`:{rest}" for name, _, rest in (line.partition(":") for line in notes.toolchains(run))]
    if whole := outcome.of_run(run):
        lines += ["", *(f"- {_note(note)}" for note in whole)]
    table = [without_void_figures(row) for row in _rows(run, baseline, only)]
    mark, reference = has_replicates(table), table_notes.reference(run, baseline)
    for model, members in models(table).items():
        lines += ["", f"### {_escape(model)}", "", *_table([r for r in members if r.processes or r.failure], mark)]
        places = {row.case: place for place, row in enumerate(members)}
        listed_notes = notes.collect(members, reference, named=True)
        lines += ["", *(f"- {_note(note, members, places)}" for note in listed_notes)] if listed_notes else []
    if unequal := [each for each in lint_run(run, only) if has_effect(each)]:
        lines += ["", "### Unequal conditions", ""]
        lines += [f"- {_escape(lint.sentence(each))}; try: {_escape(lint.fix(each))}" for each in unequal]
    left_out = f"{cells.count(len(header.left_out), 'combination')} left out" if header.left_out else ""
    if last := "; ".join(filter(None, (cells.lead(table, "bold:"), *evidence(table, run, baseline), left_out))):
        lines += ["", f"{last[0].upper()}{last[1:]}."]
    return escape.lines("\n".join(lines).rstrip(), sys.maxsize) + "\n"


def csv(run: Run | Sequence[Run], baseline: str = "", *, only: Set[str] | None = None) -> str:
    """One line per case of one run or several under a header line: identity, one column per symbol, for each boundary
    ``NAME_ns``, ``NAME_low_ns``, ``NAME_high_ns`` and its statistics, the phases, and the other figures as raw numbers;
    empty where there is none.
    """
    tables = [(one.header.run, _rows(one, baseline, only)) for one in _several(run)]
    table = [row for _, members in tables for row in members]
    symbols = list(dict.fromkeys(name for row in table for name in row.symbols))
    boundaries = [boundary for boundary in SHOWN if any(boundary in row.times for row in table)]
    phases = in_order([phase.name for phase in row.phases] for row in table)
    metrics = cells.metrics(table)
    flat = [
        {
            escape.line(column): escape.cell(value)
            for column, value in {
                "run": name,
                **_flat(row, symbols, boundaries, phases),
                **{f"metric_{each}": row.score and row.score.metric.get(each) for each in metrics},
            }.items()
        }
        for name, members in tables
        for row in members
    ]
    buffer = io.StringIO()
    writer = csv_format.DictWriter(buffer, list(flat[0]) if flat else ["run", "case"], lineterminator="\n")
    writer.writeheader()
    writer.writerows(flat)
    return buffer.getvalue()


def json(run: Run | Sequence[Run], baseline: str = "", *, only: Set[str] | None = None) -> str:
    """One object, or a list of one for each of several runs: ``schema``, ``run``, ``created``, ``version``,
    ``environments`` (by toolchain, each with its ``fingerprint``), ``status`` (complete, interrupted, unfinished),
    ``damage``, ``rows`` and ``left_out``.

    A row has every field of rows.Row (None as null); times are nanoseconds, rates inferences/s, sizes bytes.
    docs/results-format.md says what each means.
    """
    several = _several(run)
    whole = _whole(run, baseline, only) if isinstance(run, Run) else [_whole(one, baseline, only) for one in several]
    return escape.in_json(msgspec.json.format(msgspec.json.encode(whole), indent=2).decode()) + "\n"


def _several(run: Run | Sequence[Run]) -> Sequence[Run]:
    return [run] if isinstance(run, Run) else run


def _rows(run: Run, baseline: str, only: Set[str] | None) -> list[Row]:
    """The rows of the cases (ids) that are asked for, all of them without ``only``; their figures are of the whole."""
    return [row for row in rows(run, baseline) if only is None or row.case in only]


def _whole(run: Run, baseline: str, only: Set[str] | None) -> dict[str, Any]:
    header = run.header
    environments = {
        name: {**msgspec.to_builtins(found), "fingerprint": found.fingerprint}
        for name, found in header.environments.items()
    }
    return {
        "schema": JSON_SCHEMA,
        "run": header.run,
        "created": header.created,
        "version": header.version,
        "environments": environments,
        "status": run.footer.status if run.footer else "unfinished",
        "damage": run.damage,
        "rows": [_whole_row(row) for row in _rows(run, baseline, only)],
        "left_out": header.left_out,
    }


def _whole_row(row: Row) -> dict[str, Any]:
    """Every field of a row, with the sentences of its warnings."""
    described = [(warning, *warnings.describe(warning)) for warning in row.warnings]
    texts = [
        {"kind": warning.kind, "message": text, "hint": hint, "figures": warning.figures}
        for warning, text, hint in described
    ]
    return {**msgspec.to_builtins(row, str_keys=True), "warnings": texts}


def _table(members: Sequence[Row], mark: bool) -> list[str]:
    symbols = list(dict.fromkeys(name for row in members for name in row.symbols))
    primary = next((row.primary for row in members if row.primary), None)
    times = [boundary for boundary in PRIMARY if any(boundary in row.times for row in members)]
    base = against(members)
    versus = f"vs {_escape(base)} ({primary})" if base else "speed"
    shared = cells.python_share_title(members)
    columns: dict[str, list[str]] = {
        "backend": [_escape(row.backend) for row in members],
        "precision": [row.precision for row in members],
        **{_escape(name): [str(row.symbols.get(name, cells.NONE)) for row in members] for name in symbols},
        "setting": [_escape(row.setting) for row in members],
        **{name: [cells.time(row.times.get(name), mark=mark) for row in members] for name in times},
        shared: [cells.python_share(row.python_share, mark=mark) for row in members],
        "QPS": [cells.rate(row.rate) for row in members],
        versus: [cells.ratio(row.speed, row.label, mark=mark) for row in members],
        "accuracy": [cells.accuracy(row) for row in members],
        **{_escape(name): [cells.metric(row.score, name) for row in members] for name in cells.metrics(members)},
        "energy": [cells.energy(row.energy) for row in members],
        "of light": [cells.share(row.light) for row in members],
    }
    if not any(columns["setting"]):
        del columns["setting"]
    for optional in ("energy", shared):
        if set(columns[optional]) == {cells.NONE}:
            del columns[optional]
    first_figure = 2 + len(symbols) + ("setting" in columns)
    lines = [f"| {' | '.join(columns)} |", f"|{'|'.join('---' if i < 2 else '--:' for i in range(len(columns)))}|"]
    for index, row in enumerate(members):
        texts = [texts[index] for texts in columns.values()]
        if row.failure and not row.processes:
            empty = [cells.NONE] * (len(texts) - first_figure - 1)
            texts = [*texts[:first_figure], _escape(cells.failure(row.failure)), *empty]
        if mark and row.primary in columns and (row.fastest or row.tied):
            place = list(columns).index(row.primary)
            texts[place] = f"**{texts[place]}**" if leads(row) else texts[place] + cells.mark(row, "")
        lines.append(f"| {' | '.join(texts)} |")
    return lines


def _note(note: Note, members: Sequence[Row] = (), places: Mapping[str, int] = {}) -> str:
    """A line of a list; ``places`` are those of the ``members`` by case."""
    who = table_notes.names([members[place] for place in sorted(places[case] for case in note.about)])
    fix = f"; try: {note.fix}" if note.fix else ""
    return _escape(f"{note.kind}{f' ({who})' if who else ''}: {note.text}{fix}")


def _escape(text: str) -> str:
    return escape.line(text.replace("|", "\\|").replace("<", "&lt;").replace("\n", " "))


def _flat(row: Row, symbols: Sequence[str], boundaries: Sequence[Boundary], phases: Sequence[str]) -> dict[str, Any]:
    rate, speed, score, failure, python = row.rate, row.speed, row.score, row.failure, row.python_share
    return {
        "case": row.case,
        "label": row.label,
        "model": row.model,
        "backend": row.backend,
        "precision": row.precision,
        **{f"symbol_{name}": row.symbols.get(name) for name in symbols},
        "setting": row.setting,
        "processes": row.processes,
        "builds": row.builds,
        "failed": row.failed,
        **_flat_times(row, boundaries),
        **_flat_phases(row, phases),
        "rate": rate and rate.value,
        "rate_low": rate and rate.low,
        "rate_high": rate and rate.high,
        "speed": speed and speed.ratio,
        "speed_low": speed and speed.low,
        "speed_high": speed and speed.high,
        "speed_within": speed and speed.within,
        "speed_across_devices": speed and speed.across_devices,
        "speed_boundary": speed and speed.boundary,
        "speed_against": speed and speed.against,
        "speed_pairs": speed and speed.pairs,
        "accurate": score and score.accurate,
        "cosine": score and score.cosine,
        "rel_l2": score and score.rel_l2,
        "max_abs": score and score.max_abs,
        "sqnr": score and score.sqnr,
        "quantized_cosine": score and score.quantized_cosine,
        "quantized_sqnr": score and score.quantized_sqnr,
        "rounding_cosine": score and score.rounding_cosine,
        "memory_bytes": row.memory,
        "memory_of": row.memory_of,
        "light": row.light,
        "inference_j": row.energy,
        "python_share_ns": python and python.ns,
        "python_share_low_ns": python and python.low_ns,
        "python_share_high_ns": python and python.high_ns,
        "python_share_fraction": python and python.fraction,
        "python_share_boundary": python and python.boundary,
        "ranked": row.ranked,
        "fastest": row.fastest,
        "tied": row.tied,
        "warnings": " ".join(dict.fromkeys(warning.kind for warning in row.warnings)),
        "failure_kind": failure and failure.kind,
        "failure_stage": failure and failure.stage,
        "failure_message": failure and failure.message,
    }


def _flat_times(row: Row, boundaries: Sequence[Boundary]) -> dict[str, float | None]:
    times: dict[str, float | None] = {}
    for boundary in boundaries:
        figure = row.times.get(boundary)
        times[f"{boundary}_ns"] = figure.value if figure else None
        times[f"{boundary}_low_ns"] = figure.low if figure else None
        times[f"{boundary}_high_ns"] = figure.high if figure else None
        times[f"{boundary}_min_ns"] = figure.minimum if figure else None
        times[f"{boundary}_sd_ns"] = figure.sd if figure else None
        for percent in (90, 95, 99):
            times[f"{boundary}_p{percent}_ns"] = figure.percentiles.get(percent) if figure else None
    return times


def _flat_phases(row: Row, phases: Sequence[str]) -> dict[str, float | None]:
    times: dict[str, float | None] = {}
    of_row = {phase.name: phase for phase in row.phases}
    for name in phases:
        times[f"phase_{name}_ns"] = of_row[name].cold_ns if name in of_row else None
        times[f"phase_{name}_warm_ns"] = of_row[name].warm_ns if name in of_row else None
    return times
