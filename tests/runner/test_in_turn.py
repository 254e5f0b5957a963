"""Workers that measure in turn: the order in which they play, and what they may say."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

import bench
from bench.model.suite import DEFAULT_POLICY, Case, Input, Threshold
from bench.runner import jobs
from bench.runner.answers import Answer
from bench.runner.in_turn import play


class Scripted:
    """A player of so many rounds that notes when it plays."""

    def __init__(self, name: str, rounds: int, story: list[str]) -> None:
        self.end: object = None
        self.cores: list[int | None] = []
        self._name = name
        self._left = rounds
        self._story = story

    def play(self, place: int | None = None, core: int | None = None) -> None:
        self.cores.append(core)
        self._story.append(self._name if place is None else f"{self._name}{place}")
        if place is not None:
            self._left -= 1
        if not self._left:
            self.end = "done"


def story(seed: int, **rounds: int) -> list[str]:
    told: list[str] = []
    play([Scripted(name, count, told) for name, count in rounds.items()], random.Random(seed))  # type: ignore[misc]
    return told


def test_all_are_started_first_and_then_each_plays_once_in_every_round() -> None:
    told = story(1, a=3, b=3, c=3)
    assert sorted(told[:3]) == ["a", "b", "c"]
    for begin in (3, 6, 9):
        turns = told[begin : begin + 3]
        assert [turn[1] for turn in turns] == ["0", "1", "2"]
        assert {turn[0] for turn in turns} == {"a", "b", "c"}
    assert len(told) == 12


def test_one_that_ends_early_leaves_the_others_to_go_on() -> None:
    told = story(2, a=1, b=3, c=0)  # c fails as it starts
    assert [turn for turn in told if turn[0] == "c"] == ["c"]
    assert sum(turn[0] == "b" for turn in told) == 4
    assert told[-2:] == ["b0", "b0"]


def test_the_order_is_that_of_the_seed_and_differs_from_round_to_round() -> None:
    assert story(3, a=6, b=6) == story(3, a=6, b=6)
    assert len({story(3, a=9, b=9)[begin] for begin in range(2, 20, 2)}) == 2


def test_all_run_on_one_core_in_a_round_and_on_others_in_the_next() -> None:
    players = [Scripted(name, 12, []) for name in "ab"]
    play(players, random.Random(4), (3, 5, 7))  # type: ignore[arg-type]
    first, second = (player.cores for player in players)
    assert first == second
    assert first[0] is None  # up to the first turn they run anywhere
    assert set(first[1:]) == {3, 5, 7}


def job(*, rounds: int) -> jobs.Measure:
    case = Case(model="m", factory="f:m", inputs={"x": Input(shape=(1,))}, backend="fake")
    return jobs.Measure(
        case=case,
        policy=DEFAULT_POLICY,
        threshold=Threshold(),
        artifacts={},
        scratch="",
        device="cpu",
        rounds=rounds,
    )


@pytest.mark.parametrize("rounds", [8, 0])
def test_only_a_worker_that_takes_turns_may_pause(rounds: int) -> None:
    answer = Answer(job(rounds=rounds))
    for _ in range(2):
        answer.hear(jobs.encode(jobs.Paused(ticket=answer.job.ticket)))
    assert (answer.pauses, bool(answer.problem)) == ((2, False) if rounds else (0, True))
    assert not answer.complete


@pytest.mark.long
@pytest.mark.workers
def test_a_worker_that_hangs_ends_at_its_limit_and_its_partner_is_measured(tmp_path: Path) -> None:
    suite = tmp_path / "hanging.yaml"
    suite.write_text(
        "schema: 1\nname: hanging\nmodels:\n  net: {factory: 'zoo.py:net', inputs: {x: {shape: [batch, 3]}}}\n"
        "matrix: {model: net, backend: [fake, {name: fake, fail: hang}], batch: 1}\nmeasure: {timeout: 10s}\n"
    )
    run = bench.duel(suite, "net/fake", "fake[fail=hang]", store=tmp_path / "results", cache=tmp_path / "cache")
    fine, hanging = run.records
    assert len(fine.measurements[0].blocks) > 1
    assert hanging.failure is not None
    assert hanging.failure.kind == "Timeout"
    assert hanging.places == ()
