"""Models built once, in a template: what workers find, and what they do where it cannot be built."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench import store
from bench.model.events import Ended, Event, Note, Step
from bench.model.suite import Case, Input, Policy, Threshold
from bench.runner import jobs, models_ahead
from bench.runner.ahead import Ahead
from bench.runner.prestart import Prestart
from bench.runner.stages import Ready
from bench.units import NS_PER_S
from tests import distribution_kit
from tests.conftest import Trtbench
from tests.runner.template_kit import Runner

NET = Case(model="net", factory="timm:net", inputs={"x": Input(shape=(2,))}, backend="ahead")
# A backend of another distribution, which builds what the case's ``args`` say: it needs no torch.
BACKEND = """
import contextlib, gc, os, signal, threading, weakref
from pathlib import Path
from bench.backends.fake import Fake
built, cycles = {}, []
class Cycle:
    def __init__(self):
        self.own, self.memory = self, bytearray(1 << 15)
class Ahead(Fake):
    def imports(self, case, stage=None):
        return ()
    def model_key(self, case):
        return str([case.factory, case.args])
    def build_model(self, case, context):
        way = case.args.get("way")
        if way == "raises":
            raise ValueError("no such layer")
        if way == "thread":
            threading.Thread(target=threading.Event().wait, daemon=True).start()
        if way == "dies":
            os.kill(os.getpid(), 9)
        if way == "stops":
            os.kill(os.getpid(), signal.SIGSTOP)
        if way == "cycles":
            cycles.extend(weakref.ref(Cycle()) for _ in range(10_000))
        if way == "hangs":
            with open(case.args["pipe"], "w") as pipe:
                pipe.write(str(os.getpid()))
            signal.pause()
        built[case.args.get("name", "")] = bytearray(case.args.get("bytes", 1))
        built["pid"], built["seed"], built["device"] = os.getpid(), context.seed, context.device
    @contextlib.contextmanager
    def prepare(self, case, options, context):
        if case.args.get("way") == "stops":
            self.build_model(case, context)
        (Path(__file__).parent / f"measured-{os.getpid()}").write_text(f"{case.args['name']} {list(built)[:1]}")
        with super().prepare(case, options, context) as prepared:
            yield prepared
BACKEND = Ahead()
"""
LOOK = """
import gc, json, os, sys
own = sys.modules.get("trtbench_ahead")
built = own.built if own else {}
built = {key: len(value) if isinstance(value, bytearray) else value for key, value in built.items()}
if own and own.cycles:
    built["cycles"] = sum(each() is not None for each in own.cycles)
    built["collects"] = gc.isenabled()
open(os.path.join(os.path.dirname(__file__), f"{os.getpid()}.json"), "w").write(json.dumps(built))
def metric(outputs, reference): return 0.0
"""


class ModelRunner(Runner):
    """Templates of an interpreter that has the backend ``ahead``; its steps are kept."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.steps: list[str] = []
        self.at_work: set[int] = set()
        super().__init__(folder, seed=7, suite_dir=folder, **settings)
        self.look_at(LOOK)

    def _hear(self, event: Event) -> None:
        match event:
            case Step(worker=0):
                pass
            case Step():
                assert (event.work, event.label) == ("preload", NET.label)
                self.steps.append(event.phase)
                self.at_work.add(event.worker)
            case Ended():
                self.at_work.remove(event.worker)
            case Note():
                self.notes.append(event.text)

    def build(self, **args: Any) -> Case:
        """Have a template build the model of a case with these arguments; the case."""
        case = msgspec.structs.replace(NET, args=args)
        model = models_ahead.model_of(case, self.folder)
        assert model is not None
        self.templates.build(self.interpreter, model, case)
        return case

    def models_in_worker(self, case: Case, **settings: Any) -> dict[str, Any]:
        """What a worker that measures ``case`` finds."""
        job = jobs.Measure(
            device="cpu",
            case=case,
            policy=Policy(),
            threshold=Threshold(),
            artifacts={},
            scratch="",
            seed=7,
            **settings,
        )
        return self.look(self.templates.start(self.interpreter, job))


@pytest.fixture
def runner(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModelRunner]:
    with distribution_kit.installed(tmp_path, "ahead", BACKEND, monkeypatch):
        runner = ModelRunner(tmp_path, measure=True, size=2)
        yield runner
        runner.templates.close()
        assert not runner.at_work


def refusals(runner: ModelRunner) -> list[str]:
    own = "each worker builds net itself: "
    assert all(note.startswith(own) for note in runner.notes)
    return [note.removeprefix(own) for note in runner.notes]


@pytest.mark.workers
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


@pytest.mark.workers
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


@pytest.mark.workers
def test_a_model_without_room_is_not_built(runner: ModelRunner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models_ahead, "room", lambda size: 64 << 20)
    assert runner.models_in_worker(runner.build(name="small", bytes=1 << 20))["small"] == 1 << 20
    assert runner.models_in_worker(runner.build(name="large", bytes=1 << 30)) == {}
    [refusal] = refusals(runner)
    assert "MemoryError" in refusal or "memory" in refusal


@pytest.mark.workers
def test_what_building_a_model_leaves_in_cycles_is_freed_meanwhile_and_at_its_end(
    runner: ModelRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models_ahead, "room", lambda size: 64 << 20)  # the cycles have 320 MiB
    seen = runner.models_in_worker(runner.build(name="net", way="cycles"))
    assert runner.notes == []
    assert (seen["net"], seen["cycles"], seen["collects"]) == (1, 0, True)


@pytest.mark.workers
def test_a_model_that_takes_longer_than_a_case_may_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with distribution_kit.installed(tmp_path, "ahead", BACKEND, monkeypatch):
        runner = ModelRunner(tmp_path, measure=True, case_limit_ns=2 * NS_PER_S)
        case = runner.build(way="stops")
        assert runner.models_in_worker(case) == {}
        assert refusals(runner) == ["building it takes more than 2.00 s"]
        runner.templates.close()


@pytest.mark.workers
def test_that_workers_build_a_model_themselves_is_told_once(
    runner: ModelRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models_ahead, "room", lambda size: None)
    assert runner.models_in_worker(runner.build(name="any")) == {}
    assert runner.models_in_worker(runner.build(way="raises")) == {}  # of the same name
    assert refusals(runner) == ["there is too little memory"]


@pytest.mark.workers
def test_after_the_end_of_its_template_workers_are_forked_without_the_model(runner: ModelRunner) -> None:
    case = runner.build(name="one")
    os.kill(runner.models_in_worker(case)["pid"], signal.SIGKILL)
    assert [runner.models_in_worker(case) for _ in range(2)] == [{}] * 2
    [refusal] = refusals(runner)
    assert refusal.startswith("its template is lost")


@pytest.mark.workers
def test_templates_of_models_that_nobody_needs_any_more_end(runner: ModelRunner) -> None:
    one, other = runner.build(name="one"), runner.build(name="other")
    pids = [runner.models_in_worker(case)["pid"] for case in (one, other)]
    model = models_ahead.model_of(other, runner.folder)
    assert model is not None
    runner.templates.keep_models([model], {model.toolchain: runner.interpreter})
    assert runner.models_in_worker(one) == {}
    assert runner.models_in_worker(other)["pid"] == pids[1]
    assert not Path(f"/proc/{pids[0]}").exists()


@pytest.mark.workers
def test_models_are_built_side_by_side_and_kept_until_the_last_of_their_turns(runner: ModelRunner) -> None:
    twice, once = (msgspec.structs.replace(NET, args={"name": name}) for name in ("twice", "once"))
    prestart = Prestart(2, "fake", runner.folder, runner.notes.append, gates=False)
    ahead = Ahead(2, 1, prestart, runner.templates, lambda *_: Ready(folders={}), lambda: None, runner.notes.append)
    turns = [(twice, 0), (once, 0), (twice, 1)]
    for place, are_there in enumerate(([True, True], [True, True], [True, False], [False, False])):
        ahead.begin_models(turns[place:], {"default": runner.interpreter}, [twice, once])
        assert [bool(runner.models_in_worker(case)) for case in (twice, once)] == are_there


@pytest.mark.workers
def test_the_only_model_of_one_turn_is_built_by_its_worker(runner: ModelRunner) -> None:
    only = msgspec.structs.replace(NET, args={"name": "only"})
    prestart = Prestart(2, "fake", runner.folder, runner.notes.append, gates=False)
    ahead = Ahead(2, 1, prestart, runner.templates, lambda *_: Ready(folders={}), lambda: None, runner.notes.append)
    ahead.begin_models([(only, 0)], {"default": runner.interpreter}, [only])
    assert runner.models_in_worker(only) == {}


@pytest.mark.workers
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


@pytest.mark.workers
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


# ------------------------------------------------------------------------------------------------------ whole runs

REHEARSAL = """\
schema: 1
name: ahead
models:
  twice: {factory: "timm:net", args: {name: twice}, inputs: {x: {shape: [batch, 2]}}}
  once: {factory: "timm:net", args: {name: once}, inputs: {x: {shape: [1, 2]}}}
matrix: {model: [twice], batch: [1, 2], backend: ahead, include: [{model: once, backend: ahead}]}
measure: {replicates: 1, max_time: 1s}
"""


@pytest.mark.workers
def test_in_a_run_workers_find_their_models(
    trtbench: Trtbench, runner: ModelRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = runner.folder / "ahead.yaml"
    suite.write_text(REHEARSAL)
    monkeypatch.setenv("PYTHONPATH", str(runner.folder))
    assert trtbench("run", suite, "--prestart", 2, "--fork", "--progress", "json") == 0, trtbench.err
    measured = sorted(path.read_text() for path in runner.folder.glob("measured-*"))
    assert measured == ["once ['once']", "twice ['twice']", "twice ['twice']"]
    built = [event for event in trtbench.events() if event["event"] == "step" and event.get("work") == "preload"]
    assert sorted((event["label"], event["phase"]) for event in built) == [
        (label, phase) for label in ("once/ahead/fp32", "twice/ahead/fp32/batch=1") for phase in ("load", "start")
    ]
    (run,) = trtbench.runs()
    assert [record.failure for record in run.records] == [None] * 3
    assert "note" not in {event["event"] for event in trtbench.events()}
    assert trtbench("run", suite, "--prestart", 2, "--no-fork") == 0
    assert len(list(runner.folder.glob("measured-*"))) == 6
    assert sorted(path.read_text() for path in runner.folder.glob("measured-*"))[-1] == "twice []"


@pytest.mark.workers
def test_a_log_says_once_which_model_each_worker_builds_itself(
    trtbench: Trtbench, runner: ModelRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = runner.folder / "ahead.yaml"
    suite.write_text(REHEARSAL.replace("args: {name: twice}", "args: {name: twice, way: raises}"))
    monkeypatch.setenv("PYTHONPATH", str(runner.folder))
    assert trtbench("run", suite, "--prestart", 2, "--fork", "--progress", "plain") == 0, trtbench.err
    assert trtbench.err.count("each worker builds twice itself: ValueError: no such layer\n") == 1
    assert "once itself" not in trtbench.err


@pytest.mark.long
@pytest.mark.workers
def test_a_model_that_stops_its_process_is_a_timeout_and_the_others_are_measured(
    trtbench: Trtbench, runner: ModelRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    suite = runner.folder / "ahead.yaml"
    stops = REHEARSAL.replace("args: {name: twice}", "args: {name: twice, way: stops}")
    suite.write_text(stops.replace("batch: [1, 2]", "batch: 1").replace("max_time: 1s", "max_time: 1s, timeout: 10s"))
    monkeypatch.setenv("PYTHONPATH", str(runner.folder))
    assert trtbench("run", suite, "--prestart", 2, "--fork", "--progress", "plain") == 1, trtbench.err
    assert trtbench.err.count("each worker builds twice itself: building it takes more than 10.0 s\n") == 1
    (run,) = trtbench.runs()
    kinds = {record.label.partition("/")[0]: record.failure and record.failure.kind for record in run.records}
    assert kinds == {"twice": "Timeout", "once": None}


SUITE = """\
schema: 1
name: ahead
device: cpu
models:
  bert:
    factory: transformers:BertModel
    config: {transformers: BertConfig, num_hidden_layers: 1, hidden_size: 64, num_attention_heads: 2, vocab_size: 99}
    inputs: {input_ids: {shape: [batch, 8], dtype: int64, range: [0, 99]}}
matrix: {backend: eager, batch: [1, 2]}
measure: {boundaries: [latency], replicates: 2, max_time: 1s}
"""


@pytest.mark.long
@pytest.mark.workers
@pytest.mark.torch
def test_a_run_builds_a_model_once_and_counts_the_time(trtbench: Trtbench, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    suite = tmp_path / "ahead.yaml"
    suite.write_text(SUITE)
    assert trtbench("run", suite, "--prestart", 2, "--fork", "--progress", "json") == 0
    events = [event for event in trtbench.events() if event["event"] == "step"]
    built = [event["phase"] for event in events if event.get("work") == "preload" and event["phase"] == "load"]
    assert built == ["load"]
    assert not [event for event in trtbench.events() if event["event"] == "note"]
    run = store.read(store.runs(trtbench.store)[0])
    assert len(run.records) == 4
    assert all(record.accuracy is not None and record.accuracy.ok for record in run.records)
    assert all("load" in {phase.name for phase in record.phases} for record in run.records)
    [end] = [event for event in trtbench.events() if event["event"] == "end"]
    whole: dict[str, int] = end["times"]  # type: ignore[assignment]
    assert sum(whole.values()) > sum(sum(record.times.values()) for record in run.records)
