"""A run in a notebook: its tables, whose texts are no HTML."""

from __future__ import annotations

import html
import re

import msgspec

from bench import api
from bench.analysis.rows import rows
from bench.model.run import Run
from bench.report import cells
from bench.report.html import notebook
from tests.report.conftest import case, example, make, record


def test_a_notebook_shows_the_tables(run: Run) -> None:
    shown = api.Run(**{name: getattr(run, name) for name in run.__struct_fields__})._repr_html_()
    texts = [html.unescape(text) for text in re.findall(r"<t[dh][^>]*>([^<]*)", shown)]
    for row in rows(run):
        if "latency" in row.times:
            assert cells.time(row.times["latency"]) in [text.removesuffix(" †") for text in texts]
    assert "Timeout in compile" in texts
    assert re.findall(r"<h4>([^<]*)", shown) == ["bert", "resnet18"]


def test_the_fastest_is_bold_and_a_tie_has_its_mark() -> None:
    cases = [case("bert", backend) for backend in ("eager", "inductor", "aoti")]
    times = zip(cases, (1.0, 1.0, 9.0), strict=True)
    shown = notebook.tables(make(cases, [record(of, ms, n) for of, ms in times for n in range(3)], 3))
    first, tied, slow = re.findall(r"<tr>(?:(?!</tr>).)*</tr>", shown)[1:]
    assert ("<th>eager" in first, "<td>inductor" in tied, "<td>aoti" in slow) == (True, True, True)
    assert [line.count("≈") for line in (first, tied, slow)] == [0, 1, 0]
    assert "≈ cannot be told from it" in shown


def test_names_are_texts_and_large_runs_are_cut() -> None:
    cases = [case("<img src=x>", "eager", batch=n) for n in range(1, 212)]
    shown = notebook.tables(make(cases, [record(of, 1.0) for of in cases[:3]]))
    assert "<img" not in shown
    assert "&lt;img src=x&gt;" in shown
    assert shown.count("<tr>") == 1 + notebook.MOST_ROWS
    assert "and 11 more cases" in shown


def test_a_run_without_records_has_its_heading() -> None:
    bare = msgspec.structs.replace(example(1), records=())
    assert "0 of 17" in notebook.tables(bare)
