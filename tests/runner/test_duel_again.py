"""The command that begins a duel again, which cannot be resumed: it names the contests that the duel had."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

import bench
from bench import store
from bench.cli.arguments import parse
from bench.model.run import Failure, Footer, Header, Measurement, Record, Run
from bench.model.suite import Policy
from bench.report import outcome
from bench.runner.duel import Challenge, new_challenge
from bench.runner.request import Settings
from bench.units import parse_time
from tests.conftest import Trtbench
from tests.runner.duel_kit import backend, write

PLAIN = 'not label~"*time*" and not label~"*fail*"'
SLOW, FAST = backend("time=1.05"), backend("time=0.9")


def challenge_of(words: list[str], folder: Path) -> Challenge:
    """What `trtbench duel` would measure, asked for by these words."""
    asked = parse(["duel", *words])
    return new_challenge(
        bench.load(asked.suite),
        Settings(store=str(folder), cache=str(folder)),
        select=asked.select,
        against=asked.against or [],
        revision=asked.against_rev or "",
        boundary=asked.boundary,
        pairs=asked.pairs,
        max_time_ns=parse_time(asked.max_time) if asked.max_time else 0,
    )


def run_of(challenge: Challenge, pairs: int, status: str = "", times: tuple[float, ...] = (1.0, 1.2)) -> Run:
    """The duel as it is stored after so many pairs, without an end unless it has a ``status``."""
    request = challenge.request
    header = Header(
        run="20261123T101500Z-sparring-1a2b3c4",
        created="2026-11-23T10:15:00+00:00",
        version="0.2.0",
        environments={},
        suite="",
        suite_path=request.suite.path,
        cases=request.plan.cases,
        policy=Policy(replicates=pairs),
        toolchains=request.suite.toolchains,
        duel=msgspec.structs.replace(challenge.duel, commit="0123456789ab" if challenge.revision else ""),
    )
    records = tuple(
        Record(case=case.id, label=case.label, replicate=pair, measurements=(measured(times[at % 2], pair),))
        for pair in range(pairs)
        for at, case in enumerate(header.cases)
    )
    footer = Footer(finished="", status=status, records=len(records)) if status else None  # type: ignore[arg-type]
    return Run(
        path="results/cpu/x/20261123T101500Z-sparring-1a2b3c4.jsonl", header=header, records=records, footer=footer
    )


def measured(ms: float, pair: int) -> Measurement:
    return Measurement(boundary="latency", samples=(round(ms * (1 + (pair % 2) * 0.3 * (ms - 1)) * 1e6),) * 50)


def commands_of(run: Run) -> Iterator[list[str]]:
    for command in store.continuation(Path(run.path), run.header).split("; "):
        program, name, *words = shlex.split(command)
        assert (program, name) == ("trtbench", "duel")
        yield words


@pytest.mark.parametrize(
    "words",
    [
        ["--select", PLAIN, "--against", SLOW],
        ["--select", PLAIN, "--against", SLOW, "--against", FAST, "--boundary", "throughput", "--pairs", "50"],
        ["--select", PLAIN, "--against", PLAIN, "--max-time", "10min"],
    ],
    ids=["one", "two", "itself"],
)
def test_the_command_asks_for_the_same_duel(tmp_path: Path, words: list[str]) -> None:
    before = challenge_of([str(write(tmp_path)), *words], tmp_path)
    (command,) = commands_of(run_of(before, 1))
    after = challenge_of(command, tmp_path)
    assert after.duel == before.duel
    assert after.request.plan == before.request.plan


@pytest.mark.workers
def test_the_command_begins_a_duel_of_another_device_than_the_suites(trtbench: Trtbench, tmp_path: Path) -> None:
    suite = write(tmp_path)
    suite.write_text(f"device: cuda\n{suite.read_text()}")
    trtbench.store = tmp_path / "st x"
    assert trtbench("duel", suite, "--select", PLAIN, "--against", SLOW, "--pairs", "3", "--device", "cpu") == 0
    (path,) = trtbench.store.glob("*/*/*.jsonl")
    command = store.continuation(path, store.read_header(path))
    assert "--device cpu" in command
    assert trtbench.paste(command) == 0
    assert len(trtbench.runs()) == 2


def test_a_revision_is_named_by_its_commit(tmp_path: Path) -> None:
    before = challenge_of([str(write(tmp_path)), "--select", PLAIN, "--against-rev", "a/b"], tmp_path)
    (command,) = commands_of(run_of(before, 1))
    after = challenge_of(command, tmp_path)
    assert after.revision == "0123456789ab"
    assert after.duel.contests[0][0] == before.duel.contests[0][0]


def test_each_contest_has_a_command(tmp_path: Path) -> None:
    before = challenge_of([str(write(tmp_path)), "--select", SLOW, "--against", FAST], tmp_path)
    (sides,) = before.duel.contests
    duel = msgspec.structs.replace(before.duel, contests=(sides, sides[::-1]))
    several = run_of(msgspec.structs.replace(before, duel=duel), 1)
    assert [challenge_of(words, tmp_path).duel.contests for words in commands_of(several)] == [(sides,), (sides[::-1],)]


def test_what_is_said_of_a_duel_that_was_ended(tmp_path: Path) -> None:
    challenge = challenge_of([str(write(tmp_path)), "--select", SLOW, "--against", FAST, "--pairs", "4"], tmp_path)

    def note(run: Run) -> tuple[str, str, str]:
        (only,) = (each for each in outcome.of_run(run) if each.kind in ("interrupted", "unfinished"))
        return only.kind, only.text, only.fix

    kind, text, fix = note(run_of(challenge, 2, "interrupted"))
    assert (kind, text) == ("interrupted", "the duel was interrupted before it was decided")
    command = f"trtbench duel {tmp_path}/sparring.yaml --select id="
    assert fix.startswith(f"a duel cannot be resumed; start it again: {command}")
    assert "the duel has no end" in note(run_of(challenge, 2))[1]
    after = "the duel was interrupted after every match was decided or had run all its pairs"
    for over in (run_of(challenge, 4, "interrupted"), run_of(challenge, 3, "interrupted", (1.0, 1.0))):
        assert note(over) == ("interrupted", after, "")
    assert not outcome.of_run(run_of(challenge, 2, "complete"))


def test_a_run_that_was_ended_when_all_was_measured_lacks_nothing(trtbench: Trtbench) -> None:
    trtbench.store = Path(__file__).parents[2] / "results"
    run = bench.read("20261128T210903Z-smoke-a900ddc", store=trtbench.store)
    ended = msgspec.structs.replace(run, footer=msgspec.structs.replace(run.footer, status="interrupted"))
    first, *_ = outcome.of_run(ended)
    assert first.text == "the run was interrupted after everything in its plan was measured"
    assert not any("--resume" in note.fix for note in outcome.of_run(ended))
    fewer = msgspec.structs.replace(ended, records=ended.records[1:])
    stopped = Failure(kind="Crash", stage="load", message="", details={"signal": "SIGTERM", "attempts": 1})
    last = msgspec.structs.replace(ended.records[-1], failure=stopped)
    tried_again = msgspec.structs.replace(ended, records=(*ended.records[:-1], last))
    for lacking in (fewer, tried_again):
        assert outcome.of_run(lacking)[0].fix == f"trtbench run --resume {store.run_argument(Path(run.path))}"


@pytest.mark.parametrize("name", ["20261128T214421Z-more_work-615753d", "20261128T212602Z-more_work-4f2888c"])
def test_no_page_advises_to_resume_a_duel(trtbench: Trtbench, name: str) -> None:
    trtbench.store = Path(__file__).parents[2] / "results"
    assert trtbench("show", name) == 0
    assert "--resume" not in trtbench.out
    command = (
        "trtbench duel tests/selfbench/more_work/more_work.yaml --select id=47aba331c68d --against id=47aba331c68d"
    )
    options = f"--boundary latency --pairs 25 --device cuda --store {shlex.quote(str(trtbench.store))}"
    assert f"{command} {options}\n" in trtbench.out
    assert trtbench("run", "--resume", name) == 2
    assert command in trtbench.err
