"""Templates that build models by a backend which needs no torch, and what a worker forked from one finds."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench.model.events import Ended, Event, Note, Step
from bench.model.suite import Case, Input, Policy, Threshold
from bench.runner import jobs, models_ahead
from tests import distribution_kit
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


@contextmanager
def model_runner(folder: Path, monkeypatch: pytest.MonkeyPatch, **settings: Any) -> Iterator[ModelRunner]:
    """A runner whose interpreter, and this process, have the backend for the block; its templates end with it."""
    with distribution_kit.installed(folder, "ahead", BACKEND, monkeypatch):
        runner = ModelRunner(folder, measure=True, **settings)
        yield runner
        runner.templates.close()
        assert not runner.at_work
