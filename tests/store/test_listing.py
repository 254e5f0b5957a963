"""The list of runs, from the first and the last line of each file."""

from __future__ import annotations

import json
from pathlib import Path

from bench import store
from bench.model.run import Footer
from bench.model.suite import Policy
from bench.report import runs as view
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


def test_a_duel_is_listed_as_one(tmp_path: Path) -> None:
    path = make(tmp_path, 11, 4, "complete").path
    duel = b'"duel":{"contests":[["a","b"]],"boundary":"latency","pairs":9},"suite":'
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
