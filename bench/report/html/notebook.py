"""A run as a notebook shows it: the tables of its models as plain HTML, with the notebook's own styles."""

from __future__ import annotations

import html
from collections.abc import Sequence

from bench.analysis.rows import PRIMARY, Row, against, has_replicates, leads, models, rows
from bench.model.run import Run
from bench.report import cells, escape, notes, outcome

MOST_ROWS = 200


def tables(run: Run) -> str:
    """A heading with the machine, and a table per model as in the terminal; the first ``MOST_ROWS`` rows of a run. Bold
    and ``≈`` are explained below them.
    """
    table = [cells.printable_row(row) for row in rows(run)]
    mark = has_replicates(table)
    parts = [
        f"<p><strong>{_text(run.header.run)}</strong><br>{_text(notes.machine(run))}<br>{_text(outcome.counts(run))}</p>"
    ]
    for model, members in models(table[:MOST_ROWS]).items():
        parts += [f"<h4>{_text(model)}</h4>", _table(members, mark)]
    if legend := cells.lead(table, "bold:"):
        parts.append(f"<p>{html.escape(legend)}</p>")
    if len(table) > MOST_ROWS:
        more = cells.count(len(table) - MOST_ROWS, "more case")
        parts.append(f"<p>and {more}: bench.write_report(run) shows all</p>")
    return "\n".join(parts)


def _table(members: Sequence[Row], mark: bool) -> str:
    boundaries = [boundary for boundary in PRIMARY if any(boundary in row.times for row in members)]
    base = against(members)
    heads = [
        "backend",
        "precision",
        "sizes",
        "setting",
        *boundaries,
        "QPS",
        f"vs {base}" if base else "speed",
        "accuracy",
    ]
    lines = [f"<tr>{''.join(f'<th>{_text(head)}</th>' for head in heads)}</tr>"]
    for row in members:
        sizes = ", ".join(f"{name}={size}" for name, size in row.symbols.items())
        names = [row.backend, row.precision, sizes, row.setting]
        if row.failure and not row.processes:
            figures = [cells.failure(row.failure), *[cells.NONE] * (len(heads) - len(names) - 1)]
        else:
            figures = [
                *(
                    cells.time(row.times.get(of), mark=mark) + cells.mark(row, "") * (mark and of == row.primary)
                    for of in boundaries
                ),
                cells.rate(row.rate),
                cells.ratio(row.speed, row.label, mark=mark),
                cells.accuracy(row),
            ]
        tag = "th" if leads(row) else "td"  # bold where the notebook has no styles for more
        texts = [f"<{tag}>{_text(name)}</{tag}>" for name in names]
        texts += [f'<{tag} style="text-align: right">{_text(figure)}</{tag}>' for figure in figures]
        lines.append(f"<tr>{''.join(texts)}</tr>")
    return f"<table>{''.join(lines)}</table>"


def _text(text: str) -> str:
    return html.escape(escape.name(text))
