"""The tables of a run for a terminal: one per model, with its notes below."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from pathlib import Path
from typing import TYPE_CHECKING

from bench import store
from bench.analysis.figures import SHOWN, in_order
from bench.analysis.lint import lint as lint_run
from bench.analysis.pool import gather
from bench.analysis.rows import Row, against, has_replicates, leads, models, rows
from bench.model.run import Run
from bench.model.suite import Boundary
from bench.report import cells, duel, escape, lint, notes, outcome, plan, table, table_notes
from bench.report.evidence import evidence
from bench.report.note import Note
from bench.report.table import Column, Line

if TYPE_CHECKING:
    from rich.text import Text

# Optional columns leave a narrow table in this order, the highest number first; what is not named here stays: backend,
# precision and sizes, the time that speed is of, notes. Before the rate leaves, cells take several lines. Speed,
# accuracy and the time of rows without the one that speed is of have negative numbers: they leave last, after long
# backend names are broken anywhere, and only beside many sizes (an inaccurate row has a note all the same).
DROP = {
    "h2d": 93, "compute": 92, "d2h": 91, "rel L2": 80, cells.QUANTIZED_COSINE: 78, "cosine": 75, "memory": 70,
    "energy": 68, "enqueue": 65, "QPS in full": 63, "Python's share": 61, "of light": 60,
    "name in one line": 55, "notes in one line": 53, "latency": 50, "metric": 45, "setting in one line": 43, "gpu": 40,
    "interval in one line": 38, "speed in one line": 37, "name in whole words": 35, "QPS": 30, "gpu_unheld": 20,
    "± in one line": 10,
    "acc": -1, "speed": -2, "time of other rows": -3,
}  # fmt: skip
DROP_PHASES = {"validate": 90, "measure": 85, "warmup": 80, "import": 70, "first_call": 20, "compile": 10, "build": 10}
DROP_STATISTICS = {"samples": 20, "sd": 10}
PERCENTILES = (50, 90, 95, 99)
LEGEND, QPS_LEGEND = "{lead}± (larger half) and [ ] are 95% intervals", "; QPS is inferences per second"
# As long as `vs torch_tensorrt`: a backend with options would make its column wider than what stands in it.
LONGEST_TITLE, UNNAMED = 17, "vs baseline"
# Of a setting and of a row's notes, in a table where these take several lines.
LONGEST_WORD, LONGEST_MARKS = 16, 5


def render(
    run: Run,
    *,
    baseline: str = "",
    width: int = 80,
    color: bool = False,
    verbose: bool = False,
    phases: bool = False,
    stats: bool = False,
    only: Set[str] | None = None,
    option: str = "--verbose",
) -> str:
    """All tables of ``run`` in lines of at most ``width`` characters (a longer word, e.g. a path, is kept whole).

    Where the width is short, columns leave in the order of DROP, rates lose their interval, backends with options take
    several lines, and a line below the table says which columns are gone.

    ``baseline`` as for rows(). ``verbose``, which ``option`` sets, adds cases not measured, combinations left out, all
    warnings and logs of failures; ``phases`` a table of the steps before the measurement, ``stats`` one of minima,
    deviations and percentiles. ``only`` are the cases (ids) to show. UsageError for an unknown baseline.
    """
    pools = gather(run)
    figures = rows(run, baseline, pools, distributions=stats)
    all_rows = [cells.printable_row(row) for row in figures if only is None or row.case in only]
    lines = [*_heading(run, width), *(_cards(run, width) if verbose else [])]
    if run.header.duel is not None:
        lines += duel.block(run, width)
    if only is not None:
        lines.append(f"{len(all_rows)} of {cells.count(len(run.header.cases), 'case')} shown")
    mark = has_replicates(all_rows)
    tables = models(all_rows)
    keys, shared = notes.shared_notes([] if verbose else tables.values())
    reference = table_notes.reference(run, baseline)
    own = {model: notes.collect(members, reference, verbose, keys) for model, members in tables.items()}
    repeated = notes.repeated_notes([] if verbose else own.values())
    common = {(note.kind, note.text, note.fix) for note in repeated}
    marks = notes.marks([*shared, *(note for notes_of_table in own.values() for note in notes_of_table)])
    columns: list[Column] = []
    for model, members in tables.items():
        below = [note for note in own[model] if note.mark or (note.kind, note.text, note.fix) not in common]
        drawn, of_model = _model(model, members, marks, below, width, verbose, mark)
        lines += ["", *drawn]
        columns += of_model
        if phases:
            lines += ["", *_phases(model, members, width)]
        if stats:
            lines += ["", *_statistics(model, members, width)]
    if shared or repeated:
        lines += ["", _bold("notes of several tables"), *_below([*shared, *repeated], width, verbose)]
    if unequal := lint.short(lint_run(run, only, pools), store.run_argument(Path(run.path)), width):
        lines += ["", _bold("unequal conditions"), *unequal]
    lines.append("")
    if any(row.processes for row in all_rows):
        titles = [column.title for column in columns]
        legend = LEGEND.format(lead=_lead(all_rows)) + QPS_LEGEND * ("QPS" in titles)
        timed = [cell for column in columns if column.title in (*SHOWN, "QPS") for cell in column.cells]
        more = [cells.PYTHON_LEGEND] * any(title.startswith(cells.PYTHON_SHARE) for title in titles)
        more += cells.quantized_legend(all_rows) if cells.QUANTIZED_COSINE in titles else []
        more += [cells.VAGUE_LEGEND] * any(cells.UNKNOWN in cell for cell in timed)
        for line in [legend, *more, *evidence(all_rows, run, baseline)]:
            lines += _dim(table.wrap(line, width))
    lines += plan.left_out(run.header.left_out, width, verbose=verbose, option=option)
    return table.show(lines, color)


def _lead(table: Sequence[Row]) -> str:
    """What the legend says of the fastest; nothing where none is marked."""
    return f"{text}; " if (text := cells.lead(table, "*")) else ""


def _identity(members: Sequence[Row], star: str = "") -> tuple[list[Column], str]:
    """The columns that tell the rows of a table apart, and what they all share, for its title; the fastest get
    ``star``.
    """
    shared: list[str] = []
    names = [row.backend + (cells.mark(row, star) if star else "") for row in members]
    columns = [table.names("backend", names, DROP["name in one line"], DROP["name in whole words"])]
    precisions = {row.precision for row in members}
    if len(precisions) > 1:
        columns.append(Column(title="prec", cells=tuple(row.precision for row in members), align_left=True))
    else:
        shared += precisions
    for name in dict.fromkeys(name for row in members for name in row.symbols):
        sizes = tuple(str(row.symbols.get(name, "-")) for row in members)
        if len(set(sizes)) > 1:
            columns.append(Column(title=name, cells=sizes))
        else:
            shared.append(f"{name}={sizes[0]}")
    settings = [row.setting for row in members]
    room = min(max((len(word) for setting in settings for word in setting.split()), default=0), LONGEST_WORD)
    columns.append(table.in_words("setting", settings, DROP["setting in one line"], room, align_left=True))
    return columns, " · ".join(shared)


def _heading(run: Run, width: int) -> list[Text | str]:
    header = run.header
    counts = f"{cells.count(len(header.cases), 'case')} x {cells.count(header.policy.replicates, 'process')}"
    lines: list[Text | str] = [_bold(header.run)]
    for line in (notes.machine(run), *notes.toolchains(run)):
        lines += table.wrap(line, width)
    lines += table.wrap(f"{counts}: {outcome.counts(run)}; made {header.created}", width)
    for note in outcome.of_run(run):
        lines += _styled(_note(note, width), "yellow")
    return lines


def _cards(run: Run, width: int) -> list[Text | str]:
    """How many processes each card measured, of a run with several."""
    counts = Counter(record.card for record in run.records if record.card)
    shares = [f"{escape.name(card)} ({cells.count(number, 'process')})" for card, number in sorted(counts.items())]
    return [*table.wrap(f"cards: {', '.join(shares)}", width)] if shares else []


def _model(
    model: str,
    members: Sequence[Row],
    marks: Mapping[str, str],
    below: Sequence[Note],
    width: int,
    verbose: bool,
    mark: bool,
) -> tuple[list[Text | str], list[Column]]:
    """A table and its columns: rows have the ``marks`` of notes, by case, and ``below`` stands below it."""
    visible = [row for row in members if verbose or row.processes or row.failure]
    if not visible:
        nothing = f"  0 of {cells.count(len(members), 'case')} measured"
        return [_bold(model), *(_below(below, width, verbose) or [nothing])], []
    same, shared = _identity(visible, star=" *" if mark else "")
    columns, dropped = table.fit([*same, *_figures(visible, marks, mark)], width)
    start = sum(column.title in {c.title for c in same} for column in columns)
    spans = {index: (start, text) for index, row in enumerate(visible) if (text := _instead(row, marks))}
    styles = {index: _style(row) for index, row in enumerate(visible)}
    title = f"{model} · {shared}" if shared else model
    lines: list[Text | str] = [
        _bold(title),
        *table.draw(columns, width, spans=spans, styles=styles, breaks=_breaks(visible)),
    ]
    if any(column.title.startswith(UNNAMED) for column in columns):
        lines += _dim(table.wrap(f"the baseline is {against(visible)}", width))
    if dropped:
        lines += _dim(table.wrap(f"not shown at {width} columns: {', '.join(dropped)}", width))
    return lines + _below(below, width, verbose), columns


def _figures(visible: Sequence[Row], marks: Mapping[str, str], mark: bool) -> list[Column]:
    """Times, rate, speed, accuracy, memory, light, notes: in the order in which they are read; ``mark`` as in cells."""
    primary = next((row.primary for row in visible if row.primary), None)
    lacking = [row.times for row in visible if row.times and primary not in row.times]
    other = next((each for each in SHOWN if lacking and all(each in times for times in lacking)), None)
    columns = [_time_column(visible, boundary, primary, other, mark) for boundary in SHOWN]
    title = cells.python_share_title(visible)
    memory = {"gpu": "GPU memory", "host": "peak RSS"}
    of = {row.memory_of for row in visible if row.memory_of}
    return [
        *columns,
        _column(title, [cells.python_share(row.python_share, mark=mark) for row in visible], DROP[cells.PYTHON_SHARE]),
        Column(
            title="QPS",
            cells=tuple(cells.rate(row.rate) for row in visible),
            drop=DROP["QPS in full"],
            narrow=_column("QPS", [cells.rate(row.rate, bare=True) for row in visible], DROP["QPS"]),
        ),
        table.with_intervals(
            _versus(visible, primary),
            [cells.ratio(row.speed, row.label, mark=mark) for row in visible],
            DROP["speed in one line"],
            DROP["speed"],
            DROP["± in one line"],
        ),
        _column("acc", [cells.accuracy(row) for row in visible], DROP["acc"]),
        *(
            _column(escape.name(name), [cells.metric(row.score, name) for row in visible], DROP["metric"])
            for name in cells.metrics(visible)
        ),
        _column("cosine", [cells.cosine(row.score) for row in visible], DROP["cosine"]),
        _column(name := cells.QUANTIZED_COSINE, [cells.quantized_cosine(row.score) for row in visible], DROP[name]),
        _column("rel L2", [cells.small(row.score.rel_l2 if row.score else None) for row in visible], DROP["rel L2"]),
        _column(memory[of.pop()] if len(of) == 1 else "memory", [cells.memory(r) for r in visible], DROP["memory"]),
        _column("energy", [cells.energy(row.energy) for row in visible], DROP["energy"]),
        _column("of light", [cells.share(row.light) for row in visible], DROP["of light"]),
        table.in_words("note", [marks.get(row.case, "") for row in visible], DROP["notes in one line"], LONGEST_MARKS),
    ]


def _versus(visible: Sequence[Row], primary: Boundary | None) -> str:
    """``vs eager``; ``vs eager (latency)`` where that is not the first time of the table."""
    base = against(visible)
    if not base:
        return "speed"
    title = f"vs {base}" if len(f"vs {base}") <= LONGEST_TITLE else UNNAMED
    first = next((boundary for boundary in SHOWN if any(boundary in row.times for row in visible)), primary)
    return title if primary == first else f"{title} ({primary})"


def _time_column(
    visible: Sequence[Row], boundary: Boundary, primary: Boundary | None, other: Boundary | None, mark: bool
) -> Column:
    """The primary time stays, and the ``other`` that all rows without it have. Plain events are good beside held ones;
    without, they are of what could not be held.
    """
    texts = [cells.time(row.times.get(boundary), mark=mark) for row in visible]
    if boundary in (primary, other):
        then = 0 if boundary == primary else DROP["time of other rows"]
        return table.with_intervals(boundary, texts, DROP["interval in one line"], then, DROP["± in one line"])
    beside = boundary == "gpu_unheld" and primary not in ("gpu", "gpu_unheld")
    return _column(boundary, texts, DROP["gpu"] + 1 if beside else DROP[boundary])


def _column(title: str, texts: Sequence[str], drop: int = 0) -> Column:
    return Column(title=title, cells=tuple(texts), drop=drop)


def _breaks(visible: Sequence[Row]) -> set[int]:
    """Where the sizes change, if a size has several rows."""
    changes = {index for index in range(1, len(visible)) if visible[index].symbols != visible[index - 1].symbols}
    return changes if len(changes) < len(visible) - 1 else set()


def _instead(row: Row, marks: Mapping[str, str]) -> str:
    """What stands in place of a row's figures."""
    if row.processes:
        return ""
    if not row.failure:
        return "not measured yet"
    mark = marks.get(row.case, "")
    return f"note {mark}: {cells.failure(row.failure)}"  # the end may be cut


def _style(row: Row) -> str:
    if not row.processes:
        return "red" if row.failure else "dim"
    return "bold" if leads(row) else "red" if not row.ranked else ""


def _below(row_notes: Sequence[Note], width: int, verbose: bool) -> list[Text | str]:
    lines: list[Text | str] = []
    for note in row_notes:
        lines += _note(note, width)
        if verbose and note.log:
            lines += _dim([f"      {line}" for line in note.log.rstrip().splitlines()])
    return lines


def _note(note: Note, width: int) -> list[Text | str]:
    lead = f"{note.mark:>3} " if note.mark else "  - "
    lines: list[Text | str] = [*table.wrap(f"{note.kind}: {note.text}", width, " " * 4, lead)]
    if note.fix:
        lines += table.wrap(f"try: {note.fix}", width, " " * 9, " " * 4)
    return lines


def _phases(model: str, members: Sequence[Row], width: int) -> list[Text | str]:
    """Medians over processes; a time in parentheses was spent with warm caches or a ready artifact."""
    visible = [row for row in members if row.phases]
    if not visible:
        return []
    same, shared = _identity(visible)
    columns = list(same)
    for name in in_order([phase.name for phase in row.phases] for row in visible):
        columns.append(_column(name, [cells.phase(row, name) for row in visible], DROP_PHASES.get(name, 40)))
    kept, dropped = table.fit(columns, width)
    title = " · ".join(filter(None, (f"{model}: phases, warm in parentheses", shared)))
    lines: list[Text | str] = [_bold(title), *table.draw(kept, width, spans={}, styles={}, breaks=_breaks(visible))]
    if dropped:
        lines += _dim(table.wrap(f"not shown at {width} columns: {', '.join(dropped)}", width))
    return lines


def _statistics(model: str, members: Sequence[Row], width: int) -> list[Text | str]:
    """A line per case and boundary: over the samples of all its processes."""
    pairs = [(row, boundary) for row in members for boundary in SHOWN if boundary in row.times]
    if not pairs:
        return []
    same, shared = _identity([row for row, _ in pairs])
    figures = [row.times[boundary] for row, boundary in pairs]
    columns = [
        *same,
        Column(title="time", cells=tuple(boundary for _, boundary in pairs), align_left=True),
        _column("samples", [f"{figure.samples:,}" for figure in figures], DROP_STATISTICS["samples"]),
        _column("min", [cells.bare(figure.minimum) for figure in figures]),
        *(
            _column(f"p{percent}", [cells.bare(figure.percentiles.get(percent)) for figure in figures])
            for percent in PERCENTILES
        ),
        _column("sd", [cells.bare(figure.sd) for figure in figures], DROP_STATISTICS["sd"]),
    ]
    kept, dropped = table.fit(columns, width)
    title = " · ".join(filter(None, (f"{model}: samples of all processes", shared)))
    lines: list[Text | str] = [_bold(title), *table.draw(kept, width, spans={}, styles={})]
    if dropped:
        lines += _dim(table.wrap(f"not shown at {width} columns: {', '.join(dropped)}", width))
    return lines


def _bold(text: str) -> Line:
    return Line(text, "bold")


def _dim(lines: Sequence[str]) -> list[Text | str]:
    return _styled(lines, "dim")


def _styled(lines: Sequence[Text | str], style: str) -> list[Text | str]:
    return [Line(str(line), style) for line in lines]
