"""Models built once, in a template: what workers find, and what they do where it cannot be built."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from bench.runner import models_ahead
from bench.runner.ahead import Ahead
from bench.runner.prestart import Prestart
from bench.runner.stages import Ready
from bench.units import NS_PER_S
from tests.runner.model_kit import NET, ModelRunner, model_runner

pytestmark = pytest.mark.workers


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelRunner]:
    with model_runner(tmp_path, monkeypatch, size=2) as runner:
        yield runner


def refusals(runner: ModelRunner) -> list[str]:
    own = "each worker builds net itself: "
    assert all(note.startswith(own) for note in runner.notes)
    return [note.removeprefix(own) for note in runner.notes]


def test_all_workers_of_a_model_find_what_its_template_has_built(runner: ModelRunner) -> None:
    case, other = runner.build(name="one"), runner.build(name="other")
    seen = [runner.models_in_worker(case) for _ in range(2)]
    assert seen[0] == seen[1]
    assert (seen[0]["one"], seen[0]["seed"], seen[0]["device"]) == (1, 7, "cpu")
    beside = runner.models_in_worker(other)
    assert "one" not in beside
    assert beside["pid"] != seen[0]["pid"]
    assert sorted(runner.steps) == ["load", "load", "start", "start"]  # built side by side
    assert runner.notes == []
    assert runner.models_in_worker(msgspec.structs.replace(NET, args={"name": "third"})) == {}
    assert runner.models_in_worker(case, cold=True) == {}


@pytest.mark.parametrize(
    ("way", "why"),
    [
        ("raises", "ValueError: no such layer"),
        ("thread", "building it has started a thread"),
        ("dies", "building it ends it"),
    ],
)
def test_workers_build_a_model_themselves_where_a_template_cannot(runner: ModelRunner, way: str, why: str) -> None:
    case = runner.build(way=way)
    assert [runner.models_in_worker(case) for _ in range(2)] == [{}] * 2
    [refusal] = refusals(runner)
    assert why in refusal


def test_a_model_without_room_is_not_built(runner: ModelRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models_ahead, "room", lambda size: 64 << 20)
    assert runner.models_in_worker(runner.build(name="small", bytes=1 << 20))["small"] == 1 << 20
    assert runner.models_in_worker(runner.build(name="large", bytes=1 << 30)) == {}
    [refusal] = refusals(runner)
    assert "MemoryError" in refusal or "memory" in refusal


def test_what_building_a_model_leaves_in_cycles_is_freed_meanwhile_and_at_its_end(
    runner: ModelRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models_ahead, "room", lambda size: 64 << 20)  # the cycles have 320 MiB
    seen = runner.models_in_worker(runner.build(name="net", way="cycles"))
    assert runner.notes == []
    assert (seen["net"], seen["cycles"], seen["collects"]) == (1, 0, True)


def test_a_model_that_takes_longer_than_a_case_may_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with model_runner(tmp_path, monkeypatch, case_limit_ns=2 * NS_PER_S) as runner:
        case = runner.build(way="stops")
        assert runner.models_in_worker(case) == {}
        assert refusals(runner) == ["building it takes more than 2.00 s"]


def test_that_workers_build_a_model_themselves_is_told_once(
    runner: ModelRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models_ahead, "room", lambda size: None)
    assert runner.models_in_worker(runner.build(name="any")) == {}
    assert runner.models_in_worker(runner.build(way="raises")) == {}  # of the same name
    assert refusals(runner) == ["there is too little memory"]


def test_after_the_end_of_its_template_workers_are_forked_without_the_model(runner: ModelRunner) -> None:
    case = runner.build(name="one")
    os.kill(runner.models_in_worker(case)["pid"], signal.SIGKILL)
    assert [runner.models_in_worker(case) for _ in range(2)] == [{}] * 2
    [refusal] = refusals(runner)
    assert refusal.startswith("its template is lost")


def test_templates_of_models_that_nobody_needs_any_more_end(runner: ModelRunner) -> None:
    one, other = runner.build(name="one"), runner.build(name="other")
    pids = [runner.models_in_worker(case)["pid"] for case in (one, other)]
    model = models_ahead.model_of(other, runner.folder)
    assert model is not None
    runner.templates.keep_models([model], {model.toolchain: runner.interpreter})
    assert runner.models_in_worker(one) == {}
    assert runner.models_in_worker(other)["pid"] == pids[1]
    assert not Path(f"/proc/{pids[0]}").exists()


def test_models_are_built_side_by_side_and_kept_until_the_last_of_their_turns(runner: ModelRunner) -> None:
    twice, once = (msgspec.structs.replace(NET, args={"name": name}) for name in ("twice", "once"))
    prestart = Prestart(2, "fake", runner.folder, runner.notes.append, gates=False)
    ahead = Ahead(2, 1, prestart, runner.templates, lambda *_: Ready(folders={}), lambda: None, runner.notes.append)
    turns = [(twice, 0), (once, 0), (twice, 1)]
    for place, are_there in enumerate(([True, True], [True, True], [True, False], [False, False])):
        ahead.begin_models(turns[place:], {"default": runner.interpreter}, [twice, once])
        assert [bool(runner.models_in_worker(case)) for case in (twice, once)] == are_there


def test_the_only_model_of_one_turn_is_built_by_its_worker(runner: ModelRunner) -> None:
    only = msgspec.structs.replace(NET, args={"name": "only"})
    prestart = Prestart(2, "fake", runner.folder, runner.notes.append, gates=False)
    ahead = Ahead(2, 1, prestart, runner.templates, lambda *_: Ready(folders={}), lambda: None, runner.notes.append)
    ahead.begin_models([(only, 0)], {"default": runner.interpreter}, [only])
    assert runner.models_in_worker(only) == {}


def test_a_model_that_waits_to_be_built_is_given_up_beside_those_that_are(runner: ModelRunner) -> None:
    models = []
    for name in ("one", "other"):  # as many as are built at once
        os.mkfifo(pipe := runner.folder / name)
        case = runner.build(way="hangs", pipe=str(pipe))
        pipe.read_bytes()
        models.append(models_ahead.model_of(case, runner.folder))
    runner.build(name="third")
    runner.templates.keep_models([each for each in models if each], {"default": runner.interpreter})
    assert len(runner.at_work) == 2
    assert refusals(runner) == []  # as there would be for both after the limit


@pytest.mark.parametrize("end", ["close", "not needed"])
def test_a_model_that_is_being_built_is_given_up(runner: ModelRunner, end: str) -> None:
    pipe = runner.folder / "begun"
    os.mkfifo(pipe)
    runner.build(way="hangs", pipe=str(pipe))
    pid = pipe.read_text()
    if end == "close":
        runner.templates.close()
    else:
        runner.templates.keep_models([], {"default": runner.interpreter})
    assert not Path(f"/proc/{pid}").exists()
    assert refusals(runner) == []  # as there would be one after the limit
    assert not runner.at_work
