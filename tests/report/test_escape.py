"""What models, suites and libraries write cannot steer a terminal, draw a row, or run in a spreadsheet."""

from __future__ import annotations

import csv
import io
import json

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.cli import output
from bench.errors import SuiteError
from bench.model import events
from bench.model.run import Failure, Record, Warning
from bench.model.suite import LeftOut, Plan
from bench.report import escape, export, plan, progress, text, trtexec

from .conftest import case, make, record

# A clear of the screen, an OSC title, a C1 control, a bidi override, a line separator, a zero-width space, DEL.
HOSTILE = "\x1b[2J\x1b]0;x\x07\x9b31m\u202egnp\u2066\u2028\u200b\x7f\nnet  1.00 us"


def hostile_run():
    one = case(f"m{HOSTILE}", "eager", options={"x": HOSTILE}, symbols={f"b{HOSTILE}": 1})
    two = case(f"m{HOSTILE}", "inductor", symbols={f"b{HOSTILE}": 2})
    failure = Failure(kind="Crash", stage=f"load{HOSTILE}", message=HOSTILE * 3, hint=HOSTILE, log=HOSTILE)
    warning = Warning(kind=f"Odd{HOSTILE}", figures={"x": HOSTILE}, message=HOSTILE, hint=HOSTILE)
    measured = record(one, 1.0, warnings=(warning,), fairness={f"k{HOSTILE}": HOSTILE})
    failed = Record(case=two.id, label=two.label, failure=failure)
    run = make([one, two], [measured, failed], damage=HOSTILE)
    left_out = (LeftOut(label=HOSTILE, reason=HOSTILE),)
    return msgspec.structs.replace(run, header=msgspec.structs.replace(run.header, left_out=left_out))


def unseen(shown: str, allowed: str = "\n") -> set[str]:
    return {character for character in shown if not character.isprintable()} - set(allowed)


@pytest.mark.parametrize("width", [80, 120])
def test_nothing_hostile_reaches_a_terminal_or_a_page(width: int) -> None:
    run = hostile_run()
    shown = [text.render(run, width=width, verbose=True, phases=True), export.markdown(run), export.csv(run)]
    shown += [export.json(run), trtexec.render(run)]
    shown += [plan.render(Plan(cases=run.header.cases, left_out=run.header.left_out), width=width, verbose=True)]
    for each in shown:
        assert unseen(each) == set()
        assert not [line for line in each.splitlines() if line.startswith("net  1.00 us")]
    assert "\\x1b[2J" in shown[0]
    assert "\\u202e" in shown[0]
    coloured = text.render(run, width=width, color=True)
    assert unseen(coloured, "\n\x1b") == set()
    assert "\x1b[2J" not in coloured


def test_json_keeps_the_texts_as_they_are() -> None:
    (one, _) = json.loads(export.json(hostile_run()))["rows"]
    assert one["model"] == f"m{HOSTILE}"


def test_progress_shows_one_line_for_one_record() -> None:
    run = hostile_run()
    stream = io.StringIO()
    happenings = [
        events.Started(label=run.records[1].label, done=0, total=2),
        events.Step(label="x", phase=f"build:{HOSTILE}"),
        events.Stored(record=run.records[1], done=1, total=2),
        events.Note(text=HOSTILE),
    ]
    with progress.Plain(stream) as view:
        for event in happenings:
            view(event)
    assert unseen(stream.getvalue()) == set()
    assert all(line.startswith(("[1/2]", "    ", "\\x1b")) for line in stream.getvalue().splitlines())
    lines = io.StringIO()
    for event in happenings:
        progress.Json(lines)(event)
    assert unseen(lines.getvalue()) == set()
    assert json.loads(lines.getvalue().splitlines()[-1])["text"] == HOSTILE


def test_an_error_is_shown_escaped_indented_and_bounded() -> None:
    shown = output.error(SuiteError(HOSTILE, where="suites/\x1bx.yaml:3", fix=f"type{HOSTILE}"))
    assert unseen(shown) == set()
    assert [line.startswith(("trtbench: ", "  fix: ", "    ")) for line in shown.splitlines()] == [True] * 4
    assert shown.startswith("trtbench: suites/\\x1bx.yaml:3: \\x1b[2J")
    assert len(output.error(SuiteError("x" * 100_000))) < 3000


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t=", "\r", " =", "\n@", "\N{FULLWIDTH EQUALS SIGN}"])
def test_a_text_in_a_csv_is_no_formula(start: str) -> None:
    asked = case(f"{start}cmd|' /C calc'!A0", "eager")
    (line,) = csv.DictReader(io.StringIO(export.csv(make([asked], [record(asked, 1.0)]))))
    assert line["model"].startswith("'")
    assert line["label"].startswith("'")
    assert float(line["latency_ns"]) > 0


def test_numbers_in_a_csv_stay_numbers() -> None:
    assert [escape.cell(value) for value in (-1.5, 3, None, True, "1e-3", "ok")] == [-1.5, 3, None, True, "1e-3", "ok"]


@given(st.text(st.characters(codec=None)))
def test_any_text_becomes_printable(value: str) -> None:
    shown = escape.line(value)
    assert not {c for c in shown if not c.isprintable()} & set(value) - {c for c in value if _harmless(c)}
    assert "\n" not in shown
    assert unseen(escape.lines(value).replace("\n", "")) <= {c for c in value if _harmless(c)}


def _harmless(character: str) -> bool:
    """Not printable for Python, but a blank of another width or a letter that it does not know yet."""
    import unicodedata

    return unicodedata.category(character) in ("Zs", "Co", "Cn")


@given(st.text(), st.integers(1, 50))
def test_a_long_text_says_how_much_is_left_out(value: str, limit: int) -> None:
    shown = escape.bounded(value, limit)
    assert shown == value if len(value) <= limit else shown.endswith(f"({len(value) - limit:,} more characters)")
