"""The list of runs, from the first and the last line of each file."""

from __future__ import annotations

import json
import re
from pathlib import Path

import msgspec
import pytest

from bench import store
from bench.model.run import Failure, Footer
from bench.model.suite import Case, Policy
from bench.report import outcome
from bench.report import runs as view
from bench.store import codec
from tests.store.kit import case, environment, header, record

HERE = environment(kind="cpu", arch="cpu-x86_64", device="Example CPU", slug="example")


def make(root: Path, day: int, records: int, status: str = "", rehearsal: bool = False) -> store.Writer:
    where = environment() if rehearsal else HERE
    name, plan = f"202611{day}T101500Z-small-1a2b3c4", (case(), case("other"))
    top = header(plan, run=name, environments={"default": where}, policy=Policy(replicates=2))
    writer = store.create(root, top)
    for number in range(records):
        writer.append(record(replicate=number))
    if status:
        writer.finish(Footer(finished="now", status=status, records=records))  # type: ignore[arg-type]
    return writer


def test_every_state_is_told(tmp_path: Path) -> None:
    make(tmp_path, 11, 4, "complete")
    make(tmp_path, 12, 3, "interrupted")
    make(tmp_path, 13, 2).close()
    writer = make(tmp_path, 14, 1)
    damaged = make(tmp_path, 15, 1, "complete").path
    damaged.write_bytes(b"rubbish")
    make(tmp_path, 16, 1, "complete", rehearsal=True)
    listed = store.summaries(tmp_path)
    assert [(one.state, one.records) for one in listed] == [
        ("unreadable", 0), ("running", 1), ("unfinished", 2), ("interrupted", 3), ("complete", 4),
    ]  # fmt: skip
    assert {(one.cases, one.processes, one.device) for one in listed[1:]} == {(2, 4, "Example CPU")}
    writer.close()
    assert [one.state for one in store.summaries(tmp_path)][1] == "unfinished"
    assert [one.rehearsal for one in store.summaries(tmp_path, rehearsals=True)] == [True] + [False] * 5


def shown(path: Path) -> str:
    """How many of how many processes are done, as `show` says, and the state."""
    run = store.read(path)
    numbers = re.match(r"(\d+) of (\d+) ", outcome.counts(run))
    assert numbers
    return f"{'/'.join(numbers.groups())} {run.footer.status if run.footer else 'unfinished'}"


def listed(root: Path) -> str:
    (one,) = store.summaries(root)
    return f"{one.records}/{one.processes} {one.state}"


def line(replicate: int, of: Case | None = None, failure: Failure | None = None) -> bytes:
    one = record(of, replicate)
    return codec.encode(msgspec.structs.replace(one, failure=failure, measurements=()) if failure else one)


def footer(status: str, records: int, replicates: int = 0, **times: int) -> bytes:
    end = Footer(finished="", status=status, records=records, replicates=replicates, times=times)  # type: ignore[arg-type]
    return codec.encode(end)


LOST, CRASH = (Failure(kind=kind, stage="measure", message="x") for kind in ("DeviceLost", "Crash"))
OTHER, STRANGER = case("other"), case("stranger")
# What follows the records 0 and 1 of the first case, of two cases x 2, and what both say of it.
ENDS = {
    "nothing": (b"", "2/4 unfinished"),
    "a torn record": (line(0, OTHER)[:-40], "2/4 unfinished"),
    "a footer and a torn record": (footer("interrupted", 2) + line(0, OTHER)[:40], "2/4 interrupted"),
    "a torn footer": (footer("complete", 2)[:-1], "2/4 unfinished"),
    "more processes": (footer("interrupted", 2, 8) + line(2) + line(3) + footer("interrupted", 4), "4/16 interrupted"),
    "more processes, killed": (footer("interrupted", 2, 8) + line(2), "3/16 unfinished"),
    "a plan that grew and is done": (
        footer("interrupted", 2, 3) + line(2) + b"".join(line(n, OTHER) for n in range(3)) + footer("complete", 6),
        "6/6 complete",
    ),
    "a failure that ends its case": (line(0, OTHER, CRASH) + footer("complete", 3), "3/4 complete"),
    "a lost process that was tried again": (
        line(0, OTHER, LOST) + line(1, OTHER) + line(0, OTHER) + footer("complete", 5),
        "4/4 complete",
    ),
    "a case outside the plan": (line(0, STRANGER) + footer("interrupted", 3), "2/4 interrupted"),
    "a line that is none": (b"rubbish\n" + line(0, OTHER) + footer("interrupted", 3), "3/4 interrupted"),
    "an impossible footer": (footer("interrupted", 2, 8, waiting=10**18), "2/4 unfinished"),
    "a second run": (b'{"line":"header","schema":2,"run":"x"}\n' + line(0, OTHER), "2/4 unfinished"),
}


@pytest.mark.parametrize("end", ENDS)
def test_what_is_done_is_counted_as_it_is_shown(tmp_path: Path, end: str) -> None:
    writer = make(tmp_path, 11, 2)
    writer.close()
    lines, expected = ENDS[end]
    writer.path.write_bytes(writer.path.read_bytes() + lines)
    assert listed(tmp_path) == expected
    if end != "a second run":  # of which a reader needs the whole header
        assert shown(writer.path) == expected


def test_of_a_complete_run_only_the_ends_are_read(tmp_path: Path) -> None:
    path = make(tmp_path, 11, 4, "complete").path
    top, *records, end = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(top + b"".join(b"?" * (len(record) - 1) + b"\n" for record in records) + end)
    assert (listed(tmp_path), shown(path)) == ("4/4 complete", "0/4 complete")
    path.write_bytes(top + b"".join(b"?" * (len(record) - 1) + b"\n" for record in records))
    assert listed(tmp_path) == "0/4 unfinished"


def test_a_duel_is_listed_as_one(tmp_path: Path) -> None:
    path = make(tmp_path, 11, 4, "complete").path
    duel = b'"duel":{"contests":[],"boundary":"latency","pairs":9},"suite":'
    path.write_bytes(path.read_bytes().replace(b'"suite":', duel, 1))
    make(tmp_path, 12, 4, "complete")
    listed = store.summaries(tmp_path)
    assert [one.duel for one in listed] == [False, True]
    assert [line.split()[-2:] for line in view.render(listed, width=120).splitlines()[-2:]] == [
        ["4/4", "complete"],
        ["complete,", "duel"],
    ]


def test_the_list_fits_the_terminal_and_is_whole_as_json(tmp_path: Path) -> None:
    make(tmp_path, 11, 4, "complete")
    (tmp_path / "cpu-x86_64" / "example" / "20261112T101500Z-x-1a2b3c4.jsonl").write_bytes(b"")
    listed = store.summaries(tmp_path)
    for width in (80, 120):
        shown = view.render(listed, width=width)
        assert max(map(len, shown.splitlines())) <= width
        assert "20261111T101500Z-small-1a2b3c4" in shown
        assert "4/4  complete" in shown
    assert "20261112T101500Z-x-1a2b3c4: not a trtbench run: the file is empty" in shown
    whole = json.loads(view.json(listed))
    assert [one["state"] for one in whole["runs"]] == ["unreadable", "complete"]
    assert whole["runs"][1]["path"] == str(listed[1].path)
