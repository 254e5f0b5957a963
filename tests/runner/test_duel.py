"""Duels through the command line and the API on the fake backend: pairs, blocks in turn, verdicts, what goes wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import bench
from bench.cli import commands
from bench.errors import UsageError
from bench.measure.pace import BLOCKS
from bench.model.events import Compared, Event, Started
from tests.conftest import Trtbench
from tests.runner.duel_kit import backend, write

pytestmark = pytest.mark.workers


@pytest.fixture(scope="module")
def duel(tmp_path_factory: pytest.TempPathFactory) -> tuple[bench.Run, list[Event], Path]:
    """One that has three sides, and its events."""
    root = tmp_path_factory.mktemp("duel")
    events: list[Event] = []
    run = bench.duel(
        write(root),
        'not label~"*time*" and not label~"*fail*"',
        [backend("time=1.05"), backend("time=0.9")],
        store=root / "results",
        cache=root / "cache",
        seed=5,
        on_event=events.append,
    )
    return run, events, root


Duel = tuple[bench.Run, list[Event], Path]


def test_all_sides_are_compared_with_the_first_and_end_when_decided(duel: Duel) -> None:
    run, events, _ = duel
    slow, fast = bench.matches(run)
    assert (slow.kind, fast.kind) == ("SLOWER", "FASTER")
    assert slow.standing.ratio == pytest.approx(1.05, rel=0.005)
    assert fast.standing.ratio == pytest.approx(0.9, rel=0.005)
    assert slow.a == fast.a != slow.b
    assert 3 <= slow.standing.pairs < 25
    told = [event for event in events if isinstance(event, Compared)]
    assert [event.over for event in told if event.label == slow.b_label][-1]
    assert len([event for event in events if isinstance(event, Started)]) == max(
        slow.standing.pairs, fast.standing.pairs
    )


def test_a_pair_is_two_fresh_processes_that_measure_block_by_block_in_an_order_drawn_for_each_round(duel: Duel) -> None:
    run, _, _ = duel
    first = [record for record in run.records if record.replicate == 0]
    assert len(first) == 3
    for record in run.records:
        (measured,) = record.measurements
        assert measured.boundary == "latency"
        assert len(measured.blocks) == BLOCKS
        assert sum(measured.blocks) == len(measured.samples)
        assert len(record.places) == BLOCKS
    for places in zip(*(record.places for record in first), strict=True):
        assert sorted(places) == [0, 1, 2]
    assert len({record.places for record in run.records}) > 3


def test_the_file_says_that_it_is_a_duel_and_shows_its_verdicts(
    duel: Duel, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _, _ = duel
    assert run.header.duel is not None
    assert (run.header.duel.boundary, run.header.duel.pairs, run.header.duel.seed) == ("latency", 25, 5)
    assert run.footer is not None
    assert run.footer.status == "complete"
    monkeypatch.setenv("COLUMNS", "200")
    (summary,) = bench.runs(store=duel[2] / "results", rehearsals=True)
    assert (summary.state, summary.processes) == ("complete", len(run.records))
    assert commands.main(["show", run.path]) == 0
    out = capsys.readouterr().out
    assert "SLOWER" in out
    assert f"{len(run.records)} of {len(run.records)} measured" in out
    with pytest.raises(UsageError, match="duel") as caught:
        bench.compare(run, axis="backend")
    assert "show" in caught.value.fix
    with pytest.raises(UsageError, match="cannot be resumed"):
        bench.resume(run)


@pytest.mark.long
def test_the_same_seed_gives_the_same_order(duel: Duel, tmp_path: Path) -> None:
    run, _, root = duel
    again = bench.duel(
        root / "sparring.yaml",
        'not label~"*time*" and not label~"*fail*"',
        [backend("time=1.05"), backend("time=0.9")],
        store=tmp_path,
        cache=root / "cache",
        seed=5,
        pairs=3,
    )
    before = {(record.case, record.replicate): record.places for record in run.records}
    assert {(r.case, r.replicate): r.places for r in again.records}.items() <= before.items()


def test_a_side_that_fails_or_is_wrong_ends_the_duel_with_what_happened(trtbench: Trtbench, tmp_path: Path) -> None:
    suite = write(tmp_path)
    select = ["--select", 'not label~"*time*" and not label~"*fail*"']
    against = ["--against", "label~*segfault*", "--against", "label~*wrong*"]
    assert trtbench("duel", suite, *select, *against) == 1
    assert "Crash" in trtbench.out
    assert "SIGSEGV" in trtbench.out
    assert "is inaccurate" in trtbench.out
    (run,) = trtbench.runs()
    assert len(run.records) == 3
    assert [match.kind for match in bench.matches(run)] == ["NONE", "NONE"]


def test_slower_fails_where_it_is_asked_to_and_other_formats_say_the_same(trtbench: Trtbench, tmp_path: Path) -> None:
    suite = write(tmp_path)
    words = ["duel", suite, "--select", backend("time=0.9"), "--against", backend("time=1.05"), "--pairs", "3"]
    assert trtbench(*words, "--fail-on", "slower:10%", "--format", "json", "--progress", "plain") == 1
    report = json.loads(trtbench.out)
    (match,) = report["matches"]
    assert (match["verdict"], match["pairs"], len(match["ratios"])) == ("SLOWER", 3, 3)
    assert match["ratio"] == pytest.approx(1.05 / 0.9, rel=0.01)
    assert "[3/3] 1.16" in trtbench.err
    assert "] SLOWER  net/fp32/batch=1: fake[" in trtbench.err
    (run,) = trtbench.runs()
    assert not bench.matches(run)[0].slower(0.2)


def test_ctrl_c_leaves_a_file_that_says_how_far_it_came(tmp_path: Path) -> None:
    def interrupt(event: Event) -> None:
        if isinstance(event, Started) and event.done == 1:
            raise KeyboardInterrupt

    suite = write(tmp_path)
    with pytest.raises(bench.Interrupted) as caught:
        bench.duel(
            suite,
            backend("time=0.9"),
            backend("time=0.9"),
            store=tmp_path / "results",
            cache=tmp_path / "cache",
            on_event=interrupt,
        )
    run = bench.read(caught.value.run.path)
    assert run.footer is not None
    assert run.footer.status == "interrupted"
    (match,) = bench.matches(run)
    assert (match.kind, match.standing.pairs) == ("INCONCLUSIVE", 1)
    assert (match.a_label[-6:], match.b_label[-7:]) == ("/@here", "/@again")


BAD = {
    "no second side": ([], "no second side"),
    "both": (["--against", "fake", "--against-rev", "main"], "one second side"),
    "nothing": (["--against", "net/fak"], "Did you mean 'fake'"),
    "expression": (["--against", "backend=inductor"], "no case matches"),
    "boundary": (["--against", "net", "--boundary", "latenzy"], "Did you mean 'latency'"),
    "of a gpu": (["--against", "net", "--boundary", "gpu"], "no boundary gpu"),
    "few pairs": (["--against", "net", "--pairs", "2"], "the most pairs of a duel can be 3 to 200, not 2"),
    "time": (["--against", "net", "--max-time", "soon"], "not a number with a unit"),
    "no repository": (["--against-rev", "main"], "no git repository"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_clear_error_and_nothing_is_written(name: str, trtbench: Trtbench, tmp_path: Path) -> None:
    words, message = BAD[name]
    assert trtbench("duel", write(tmp_path), "--select", backend("time=0.9"), *words) == 2
    assert message in trtbench.err
    assert "fix:" in trtbench.err
    assert not trtbench.runs()


def test_one_case_cannot_be_the_second_side_of_several(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="only a first side") as caught:
        bench.duel(
            write(tmp_path),
            'not label~"*time=0.9*"',
            backend("time=0.9"),
            store=tmp_path / "results",
            cache=tmp_path / "cache",
        )
    assert "--select" in caught.value.fix
    assert not (tmp_path / "results").exists()
