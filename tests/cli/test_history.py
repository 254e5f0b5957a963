"""`trtbench history`: over the files of a store, in every format, and names that no case has."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import msgspec
import pytest

import bench
from bench import store
from bench.model.run import Footer
from tests.analysis.test_compare import EAGER, HERE, INDUCTOR
from tests.analysis.test_history import series
from tests.conftest import Trtbench

ROOT = Path(__file__).parents[2]


def suite_of(root: Path) -> Path:
    return root.with_name("net.yaml")


def write(root: Path, levels: list[float], here=HERE) -> None:
    """A file for each run of a series, whose suite lies beside the store."""
    suite = suite_of(root)
    suite.touch()
    for run in series(levels, here=here):
        day = f"202601{int(run.header.run[1:]) + 1:02}T000000Z-net-0000000"
        header = msgspec.structs.replace(run.header, run=day, cases=(EAGER, INDUCTOR), suite_path=str(suite))
        writer = store.create(root, header)
        for record in run.records:
            writer.append(record)
            writer.append(msgspec.structs.replace(record, case=INDUCTOR.id, label=INDUCTOR.label))
        writer.finish(Footer(finished="", status="complete", records=writer.records))


def test_a_history_of_files_in_every_format(trtbench: Trtbench) -> None:
    write(trtbench.store, [1.0] * 6 + [1.05] * 6)
    write(trtbench.store, [2.0] * 2, msgspec.structs.replace(HERE, device="H200", slug="h200"))
    assert trtbench("history", EAGER.label) == 0
    assert trtbench.out.count(f"{EAGER.label} ({EAGER.id}): latency on ") == 2  # one a device
    assert "step at 20260107T000000Z-net-0000000: 1.00 ms -> 1.05 ms" in trtbench.out
    assert trtbench("history", INDUCTOR.id[:6], "--format", "json") == 0
    whole = json.loads(trtbench.out)["histories"]
    assert sorted(len(each["points"]) for each in whole) == [2, 12]
    assert {each["label"] for each in whole} == {INDUCTOR.label}
    assert trtbench("history", EAGER.label, "--format", "csv") == 0
    assert len(list(csv.DictReader(io.StringIO(trtbench.out)))) == 14
    assert trtbench("history", EAGER.label, "--format", "markdown", "--boundary", "latency") == 0
    assert "| 20260107T000000Z-net-0000000 | " in trtbench.out.replace("\\_", "_")

    assert trtbench("history", EAGER.label, "--calibration", "2026") == 2
    assert "no calibration '2026'" in trtbench.err
    assert trtbench("history", EAGER.label, "--boundary", "latncy") == 2
    assert "Did you mean 'latency'?" in trtbench.err
    assert trtbench("history", EAGER.label, "--boundary", "gpu") == 2
    assert "no run has gpu of " in trtbench.err
    assert trtbench.paste(trtbench.err[trtbench.err.index("trtbench history") :].strip()) == 0
    assert "2 runs: steps are looked for from" in trtbench.out
    command = f"trtbench calibrate {suite_of(trtbench.store)} --store {trtbench.store}\n"
    assert f"  {command}" in trtbench.out  # in a line of its own
    assert trtbench("history", EAGER.label, "--format", "markdown") == 0
    assert command in trtbench.out.replace("\\", "")
    suite_of(trtbench.store).unlink()
    assert trtbench("history", EAGER.label) == 0
    assert f"trtbench calibrate SUITE --store {trtbench.store}" in " ".join(trtbench.out.split())
    assert trtbench("history", "net/eagr/fp32/batch=1") == 2
    assert f"has the case 'net/eagr/fp32/batch=1'. Did you mean '{EAGER.label}' or " in trtbench.err
    show = trtbench.err[trtbench.err.index("trtbench show") : trtbench.err.rindex("` does")]
    assert trtbench.paste(show) == 0
    assert EAGER.backend in trtbench.out


def test_runs_that_compare_refuses_are_in_no_line_together(trtbench: Trtbench) -> None:
    case, trtbench.store = "resnet18/eager/tf32/batch=1/graph", ROOT / "results"
    before, after = "20261128T120005Z-clock_gpu-817ba4f", "20261128T210815Z-clock_gpu-251a428"
    assert trtbench("history", case) == 0
    parts = [part for part in trtbench.out.split(f"{case} (") if before in part or after in part]
    assert len(parts) == 2
    assert "boundaries cd34e8079965 -> 94d1f9315c92: a boundary is defined differently" in " ".join(parts[1].split())
    assert "noise of a run" in parts[0]  # the calibration is of its runs, and not of those of the other definition
    lines = [{point.run for point in each.points} for each in bench.history(case, store=trtbench.store)]
    assert sum({before, after} <= line for line in lines) == 0
    assert trtbench("history", case, "--format", "csv") == 0
    rows = {row["run"]: row["definition"] for row in csv.DictReader(io.StringIO(trtbench.out))}
    assert (rows[before], rows[after]) == ("cd34e8079965", "94d1f9315c92")
    assert trtbench("compare", before, after) == 2
    assert "REFUSED: the environments differ in boundaries cd34e8079965 -> 94d1f9315c92" in trtbench.err


def test_the_page_shows_what_the_committed_runs_say(
    trtbench: Trtbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the files that it names: a later run adds a line to the history, and none to the page."""
    monkeypatch.setenv("COLUMNS", "120")
    blocks = (ROOT / "docs" / "history.md").read_text().split("```")[1::2]
    (block,) = [block for block in blocks if block.startswith("\n$ trtbench history ")]
    command, shown = block.removeprefix("\n$ ").split("\n", 1)
    for path in (ROOT / "results").glob("*/*/*.json*"):
        if path.name.partition(".")[0] in shown:
            copy = tmp_path / path.relative_to(ROOT)
            copy.parent.mkdir(parents=True, exist_ok=True)
            copy.symlink_to(path)
    monkeypatch.chdir(tmp_path)  # whose store is the one that a command looks into by itself
    assert trtbench.paste(command) == 0
    assert shown.splitlines() == [line.rstrip() for line in trtbench.out.splitlines()]


def test_a_duel_is_no_point(trtbench: Trtbench) -> None:
    write(trtbench.store, [1.0] * 3)
    path = trtbench.store / "sm_90" / "h100" / "20260103T000000Z-net-0000000.jsonl"
    text = path.read_text()
    duel = f'"duel":{{"contests":[["{EAGER.id}","{INDUCTOR.id}"]],"boundary":"latency","pairs":3}},"suite":'
    assert '"suite":' in text
    path.write_text(text.replace('"suite":', duel, 1))
    assert trtbench("history", EAGER.label) == 0
    assert "2 runs" in trtbench.out
    for other in set(path.parent.iterdir()) - {path}:
        other.unlink()
    assert trtbench("history", EAGER.label) == 2
    assert f"only duels in {trtbench.store} have the case '{EAGER.label}'" in trtbench.err
    command = f"trtbench run {suite_of(trtbench.store)} --store {trtbench.store}"
    assert f"fix: measure it in a run: {command}\n" in trtbench.err


def test_a_file_that_cannot_be_read_is_told(trtbench: Trtbench) -> None:
    write(trtbench.store, [1.0] * 2)
    bad = trtbench.store / "sm_90" / "h100" / "20260109T000000Z-net-0000000.jsonl"
    bad.write_text("not a run\n")
    torn = bad.with_name("20260101T000000Z-net-0000000.jsonl")
    with torn.open("a") as file:
        file.write('{"line":"rec')
    assert trtbench("history", EAGER.label) == 0
    assert "2 runs" in trtbench.out
    assert "not read:" in trtbench.out
    assert f"{bad}:1:nota" in "".join(trtbench.out.split())  # which is broken into lines
    assert f"{torn}:9: the last line is torn" in " ".join(trtbench.out.split())


@pytest.mark.parametrize("words", [["net"], ["net", "--format", "json"]])
def test_a_store_without_runs(trtbench: Trtbench, words: list[str]) -> None:
    assert trtbench("history", *words) == 2
    assert "there are no runs in " in trtbench.err


def test_an_empty_name(trtbench: Trtbench) -> None:
    assert trtbench("history", "") == 2
    assert "it is empty" in trtbench.err
