"""Workers forked from templates: what is imported once, what each has of its own, and what is done without one."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench.machine.environment import describe
from bench.model.events import Event, Note, Step
from bench.model.seam import Stage
from bench.model.suite import Case, Policy, Threshold
from bench.runner import jobs, templates, toolchains
from bench.runner.answers import Answer
from bench.runner.templates import Templates
from bench.system import process
from bench.units import format_time
from tests.system.test_process import Holders

pytestmark = pytest.mark.workers
LIMIT_NS = 60_000_000_000

# A metric's file, which a worker executes: it writes what it finds to a file of its own beside it.
LOOK = """
import gc, json, os, random, sys, threading
import numpy
about = {
    "pid": os.getpid(), "modules": [name for name in sys.modules if name.startswith("own_")],
    "random": random.random(), "numpy": float(numpy.random.random()), "frozen": gc.get_freeze_count(),
    "collects": gc.isenabled(), "threads": threading.active_count(), "name": os.environ.get("TRTBENCH_TEST"),
    "stdin": sys.stdin.read(), "path": sys.path[:1], "hash": hash("text"),
    "score": open("/proc/self/oom_score_adj").read(),
    "session": os.getsid(0) == os.getpid(),
    "torch": sys.modules["torch"].initial_seed() if "torch" in sys.modules else None,
}
open(os.path.join(os.path.dirname(__file__), f"{os.getpid()}.json"), "w").write(json.dumps(about))
def metric(outputs, reference): return 0.0
"""


class Runner:
    """Templates of the running interpreter, which finds the modules in ``folder``; the notes are kept."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder
        self.notes: list[str] = []
        self.imports: list[str] = []
        self.templates = Templates(self._hear, **settings)
        env = toolchains.worker_env(toolchains.package_link(folder), {})
        env["PYTHONPATH"] += os.pathsep + str(folder)
        self.interpreter = toolchains.Interpreter(
            name="default", command=toolchains.worker_command(""), env=env, environment=describe("fake")
        )
        self.look_at(LOOK)

    def _hear(self, event: Event) -> None:
        if isinstance(event, Note):
            self.notes.append(event.text)
        else:
            assert isinstance(event, Step)
            assert (event.worker, event.phase) == (0, "import, once for all workers")
            self.imports.append(event.label)

    def look_at(self, code: str) -> None:
        (self.folder / "look.py").write_text(code)

    def module(self, name: str, code: str = "") -> str:
        """The name of a new module, which notes the processes that import it."""
        name = f"own_{name}_{len(list(self.folder.glob('*.py')))}"
        first = f"import os\nwith open({str(self.folder / name)!r}, 'a') as f: f.write(f'{{os.getpid()}}\\n')\n"
        (self.folder / f"{name}.py").write_text(first + code)
        return name

    def importers(self, name: str) -> list[str]:
        """The processes that have imported a module, as often as they have."""
        path = self.folder / name
        return path.read_text().split() if path.exists() else []

    def look(self, worker: process.Child | None) -> dict[str, Any]:
        """What a worker finds."""
        assert worker is not None
        answer = Answer(jobs.CheckMetrics(device="cpu", metrics=("look.py:metric",), suite_dir=str(self.folder)))
        before = set(self.folder.glob("*.json"))
        outcome = worker.finish(answer.encoded, LIMIT_NS, answer.hear)
        worker.close()
        assert isinstance(answer.reply, jobs.Checked), (answer.reply, outcome)
        assert outcome.code == 0
        [new] = set(self.folder.glob("*.json")) - before
        return dict(json.loads(new.read_text()))

    def fork(self, *names: str) -> process.Child | None:
        return self.templates.fork(self.interpreter, names)

    def new(self) -> process.Child:
        return process.Child(self.interpreter.command, self.interpreter.env)


@pytest.fixture(scope="module")
def shared_runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    runner = Runner(tmp_path_factory.mktemp("templates"))
    yield runner
    runner.templates.close()


@pytest.fixture
def runner(shared_runner: Runner) -> Runner:
    shared_runner.notes.clear()
    shared_runner.imports.clear()
    shared_runner.look_at(LOOK)
    return shared_runner


def children() -> set[str]:
    return set(Path(f"/proc/self/task/{os.getpid()}/children").read_text().split())


def test_what_is_named_is_imported_once_and_in_order_for_all_workers(runner: Runner) -> None:
    first = runner.module("first")
    second = runner.module("second", f"import sys; assert {first!r} in sys.modules")
    seen = [runner.look(runner.fork(first, second)) for _ in range(3)]
    shorter = runner.look(runner.fork(first))
    assert [each["modules"] for each in seen] == [[first, second]] * 3
    assert shorter["modules"] == [first]
    assert len(runner.importers(first)) == len(runner.importers(second)) == 1
    assert len({each["pid"] for each in (*seen, shorter)}) == 4
    assert runner.notes == []
    assert runner.imports[-2:] == [first, second]  # told, as nothing else may be at work meanwhile


def test_a_name_in_a_module_is_looked_up_as_libraries_import_what_they_name_then(runner: Runner) -> None:
    part = runner.module("part")
    lazy = runner.module("lazy", f"def __getattr__(name):\n  import {part}\n  return {part}")
    assert runner.look(runner.fork(f"{lazy}:part"))["modules"] == [lazy, part]
    assert len(runner.importers(part)) == 1


def test_each_has_what_a_new_process_would_have(runner: Runner) -> None:
    name = runner.module("name", "import random, numpy\nrandom.seed(1)\nnumpy.random.seed(1)")
    one, other = (runner.look(runner.fork(name)) for _ in range(2))
    new = runner.look(runner.new())
    assert one["random"] != other["random"]
    assert one["numpy"] != other["numpy"]
    assert one["frozen"] > 0 == new["frozen"]
    same = ("collects", "threads", "stdin", "path", "hash", "score", "session")
    assert {key: one[key] for key in same} == {key: new[key] for key in same}
    assert one["score"].strip() == "1000"


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("raise ValueError('no such thing')", "ValueError: no such thing"),
        ("import threading, time\nthreading.Thread(target=time.sleep, args=(600,), daemon=True).start()", "a thread"),
        ("import subprocess\nsubprocess.Popen(['sleep', '600'])", "started processes"),
        ("os.kill(os.getpid(), 11)", "the import ends it"),
        ("raise SystemExit(0)", "SystemExit"),
    ],
)
def test_what_cannot_be_forked_is_told_once_and_its_workers_are_of_the_template_before(
    runner: Runner, code: str, told: str
) -> None:
    names = first, bad, last = runner.module("first"), runner.module("bad", code), runner.module("last")
    seen = [runner.look(runner.fork(*names)) for _ in range(2)]
    assert [each["modules"] for each in seen] == [[first]] * 2
    assert len(runner.importers(first)) == len(runner.importers(bad)) == 1
    assert runner.importers(last) == []
    [note] = runner.notes
    assert note.startswith(f"each worker imports {bad} itself, and is not forked after it: ")
    assert told in note


@pytest.mark.long
def test_an_import_that_hangs_is_given_up_at_the_limit(tmp_path: Path) -> None:
    runner = Runner(tmp_path, limit_ns=10_000_000_000)
    before = children()
    name = runner.module("hangs", "import signal; signal.pause()")
    assert runner.look(runner.fork(name))["modules"] == []
    why = f"the import takes more than {format_time(10_000_000_000)}"
    assert runner.notes == [f"each worker imports {name} itself, and is not forked after it: {why}"]
    runner.templates.close()
    assert children() == before


def test_closing_ends_all_and_gives_up_what_is_being_imported(tmp_path: Path) -> None:
    before = children()
    runner = Runner(tmp_path)
    os.mkfifo(tmp_path / "begun")
    name = runner.module("hangs", f"open({str(tmp_path / 'begun')!r}, 'w').close()\nimport signal; signal.pause()")
    worker = runner.fork()
    runner.templates.warm(runner.interpreter, (name,))
    (tmp_path / "begun").read_bytes()
    runner.templates.close()
    assert children() == before
    assert worker is not None
    assert worker.finish(b"", LIMIT_NS, print).code != 0
    worker.close()
    assert runner.notes == []
    assert runner.fork() is None


def test_halting_lets_nobody_wait_for_what_is_being_imported(tmp_path: Path) -> None:
    runner = Runner(tmp_path)
    os.mkfifo(tmp_path / "begun")
    name = runner.module("hangs", f"open({str(tmp_path / 'begun')!r}, 'w').close()\nimport signal; signal.pause()")
    workers: list[process.Child | None] = []
    waiting = threading.Thread(target=lambda: workers.append(runner.fork(name)))
    waiting.start()
    (tmp_path / "begun").read_bytes()
    runner.templates.halt()
    waiting.join(60)
    runner.templates.close()
    assert len(workers) == 1
    for worker in workers:
        if worker is not None:  # of the template before
            worker.close()
    assert runner.notes == []


def test_templates_are_made_side_by_side(runner: Runner, tmp_path: Path) -> None:
    for name in ("here", "there"):
        os.mkfifo(tmp_path / name)
    # Opening a pipe waits for the other end: each import ends only while the other runs.
    here, there = (str(tmp_path / name) for name in ("here", "there"))
    one = runner.module("one", f"open({here!r}, 'w').close(); open({there!r}).close()")
    other = runner.module("other", f"open({here!r}).close(); open({there!r}, 'w').close()")
    runner.templates.warm(runner.interpreter, (one,))
    assert runner.look(runner.fork(other))["modules"] == [other]
    assert runner.look(runner.fork(one))["modules"] == [one]


def test_after_its_template_has_ended_a_worker_comes_from_the_one_before(runner: Runner) -> None:
    first, second = runner.module("first"), runner.module("second")
    runner.look(runner.fork(first, second))
    [pid] = runner.importers(second)
    os.kill(int(pid), signal.SIGKILL)
    assert runner.look(runner.fork(first, second))["modules"] == [first]
    assert runner.look(runner.fork(first, second))["modules"] == [first]
    [note] = runner.notes
    assert note.startswith(f"each worker imports {second} itself, and is not forked after it: its template is lost")


def test_a_number_that_a_template_uses_itself_is_left_to_a_new_process(runner: Runner) -> None:
    job = jobs.CheckMetrics(device="cpu", metrics=())
    number = os.dup2(0, 200)  # that of its requests
    try:
        worker = runner.templates.start(runner.interpreter, job, keep=(number,))
    finally:
        os.close(number)
    assert runner.look(worker)["frozen"] == 0
    assert runner.look(runner.templates.start(runner.interpreter, job))["frozen"] > 0
    assert runner.notes == []


def test_an_interpreter_in_which_no_worker_starts_has_no_templates(runner: Runner) -> None:
    command = (sys.executable, "-c", "raise SystemExit(3)")
    bad = toolchains.Interpreter(name="other", command=command, env={}, environment=describe("fake"))
    assert runner.templates.fork(bad, ("json",)) is None
    assert runner.notes == ["each worker in the toolchain 'other' is started, not forked: the import ends it"]


PARENT = """
import sys
import threading
from pathlib import Path
from tests.runner.test_templates import Runner
runner = Runner(Path(sys.argv[1]))
worker = runner.fork(runner.module("first"), runner.module("holds", sys.argv[2]))
print("forked", flush=True)
sys.stdin.read()
"""


def test_all_templates_and_workers_end_when_the_run_is_killed(tmp_path: Path) -> None:
    with contextlib.closing(Holders(tmp_path / "held")) as holders:
        words = [sys.executable, "-c", PARENT, str(tmp_path), holders.code]
        with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
            assert parent.stdout is not None
            assert parent.stdout.readline() == b"forked\n"
            assert holders.ready()
            parent.kill()
        assert holders.released()


# ----------------------------------------------------------------------------------------------------------- a device


def test_a_template_in_which_a_driver_of_cuda_is_initialised_is_refused(runner: Runner, tmp_path: Path) -> None:
    compiler = shutil.which("cc") or shutil.which("g++")
    if compiler is None:
        pytest.skip("there is no C compiler; apt-get install g++")
    names = []
    for state in (0, 3):
        source = tmp_path / f"driver-{state}.c"
        source.write_text(f"int cuDeviceGetCount(int *count) {{ *count = 1; return {state}; }}")
        (tmp_path / str(state)).mkdir()
        path = tmp_path / str(state) / "libcuda.so.1"
        words = [compiler, "-x", "c", "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", "-o", path, source]
        subprocess.run(words, check=True)
        names.append(runner.module("driver", f"import ctypes\ndriver = ctypes.CDLL({str(path)!r})"))
    used, unused = names
    assert runner.look(runner.fork(unused))["modules"] == [unused]
    assert runner.notes == []
    assert runner.look(runner.fork(used))["modules"] == []
    assert [note.partition(": ")[2] for note in runner.notes] == ["an import has initialised the CUDA driver"]


# As torch has it, which knows in a fork only that the process before has asked the driver.
TORCH = """
import os, sys, types
own = os.getpid()
cuda = types.SimpleNamespace(is_initialized=lambda: {0}, _is_in_bad_fork=lambda: not {0} and os.getpid() != own)
sys.modules["torch"] = types.SimpleNamespace(cuda=cuda)
"""


def test_a_template_in_which_torch_has_started_cuda_is_refused(runner: Runner) -> None:
    for initialised in (True, False):
        name = runner.module("torch", TORCH.format(initialised))
        assert runner.look(runner.fork(name))["modules"] == []
    assert [note.partition(": ")[2] for note in runner.notes] == ["an import has started CUDA"] * 2


# As torch has it: the question whether there is a GPU initialises the driver, which no fork can use after that.
DRIVER = """
import os, sys, types
calls = []
def is_available():
    calls.append(os.getpid())
    if {fails}:
        raise OSError("no driver")
    return {here}
cuda = types.SimpleNamespace(is_initialized=lambda: bool(calls), _is_in_bad_fork=lambda: False)
cuda.is_available = is_available
generator = types.SimpleNamespace(seed=lambda: 1)
sys.modules["torch"] = types.SimpleNamespace(cuda=cuda, default_generator=generator, initial_seed=lambda: 1)
"""
# As Inductor has it, which chooses by that when it is imported.
CHOICE = """
import sys
cuda = sys.modules["torch"].cuda
answers = [cuda.is_available(), cuda.is_available()]
assert answers == [{here}] * 2, answers
"""


@pytest.mark.parametrize(("here", "fails"), [(True, False), (False, False), (False, True)])
def test_an_import_that_looks_for_a_gpu_starts_none(runner: Runner, here: bool, fails: bool) -> None:
    torch = runner.module("torch", DRIVER.format(here=here, fails=fails))
    choice = runner.module("choice", CHOICE.format(here=here))
    assert runner.look(runner.fork(torch, choice))["modules"] == [torch, choice]
    assert runner.notes == []


ARROW = """
import pyarrow, pyarrow.compute
def sums(rows):
    table = pyarrow.table({"key": [n % 7 for n in range(rows)], "value": list(range(rows))})
    return table.group_by("key").aggregate([("value", "sum")]).num_rows
"""


@pytest.mark.long
def test_a_worker_may_use_arrow_which_its_template_has_imported(runner: Runner) -> None:
    if importlib.util.find_spec("pyarrow") is None:
        pytest.skip("pyarrow is not installed")
    module = runner.module("arrow", ARROW)
    runner.look_at(LOOK + f"import {module}\nassert {module}.sums(100_000) == 7\n")
    assert module in runner.look(runner.fork(module))["modules"]
    assert runner.notes == []


# ------------------------------------------------------------------------------------------------------ jobs and names

CASE = Case(model="m", factory="f:m", inputs={}, backend="fake")
CHECK = jobs.CheckMetrics(device="cpu", metrics=())


def test_a_cold_job_and_one_with_another_environment_have_a_process_of_their_own(
    runner: Runner,
) -> None:
    job = jobs.CheckMetrics(device="cpu", metrics=())
    cold = jobs.CheckMetrics(device="cpu", metrics=(), cold=True)
    other = {**runner.interpreter.env, "TRTBENCH_TEST": "another"}
    start = runner.templates.start
    assert runner.look(start(runner.interpreter, cold))["frozen"] == 0
    own = runner.look(start(runner.interpreter, job, env=other))
    assert (own["frozen"], own["name"]) == (0, "another")
    forked = runner.look(start(runner.interpreter, job))
    assert forked["frozen"] > 0
    assert forked["name"] is None
    assert runner.look(start(runner.interpreter, job, env=dict(runner.interpreter.env)))["frozen"] > 0


BERT = Case(model="m", factory="transformers:BertModel", inputs={}, backend="eager")
CORE = ("torch", "transformers.modeling_utils")


def stage(kind: str, producer: str, **key: object) -> Stage:
    return Stage(name=kind, kind=kind, producer=producer, key=key)


@pytest.mark.parametrize(
    ("changes", "made", "expected"),
    [
        ({}, None, CORE),
        ({"factory": "zoo.py:net"}, None, ("torch",)),
        ({"factory": "mypkg.models:net"}, None, ("torch",)),
        ({"factory": "net.pt2"}, None, ("torch",)),
        ({"factory": "timm:dla34", "backend": "torchscript"}, None, ("torch", "timm")),
        ({"backend": "inductor"}, None, (*CORE, "bench.runtimes.torch.first_compile")),
        ({"backend": "inductor"}, stage("reference", "eager"), CORE),
        ({"backend": "onnxruntime"}, None, ()),
        ({"backend": "onnxruntime"}, stage("onnx", "onnxruntime", exporter="dynamo"), (*CORE, "onnxscript")),
        ({"backend": "tensorrt"}, stage("onnx", "onnxruntime", exporter="legacy"), (*CORE, "onnx")),
        ({"backend": "tensorrt", "factory": "net.onnx"}, stage("onnx", "onnxruntime"), ()),
        ({"backend": "tensorrt"}, None, ("tensorrt",)),
        ({"backend": "torch_tensorrt"}, None, ("torch", "tensorrt")),
        ({"backend": "torch_tensorrt"}, stage("torch_tensorrt", "torch_tensorrt"), (*CORE, "tensorrt")),
        ({"backend": "torch_tensorrt", "options": {"ir": "torch_compile"}}, None, (*CORE, "tensorrt")),
        ({"backend": "fake"}, None, ()),
    ],
)
def test_a_template_has_what_a_case_or_its_stage_imports_of_libraries(
    changes: dict[str, Any], made: Stage | None, expected: tuple[str, ...]
) -> None:
    assert templates.imports_of(msgspec.structs.replace(BERT, **changes), made) == expected


def test_every_job_of_a_run_says_what_its_worker_imports() -> None:
    def names(job: jobs.Job, measure: bool = True) -> tuple[str, ...] | None:
        return templates.imports(job, measure=measure)

    common: dict[str, Any] = {"device": "cpu", "case": msgspec.structs.replace(BERT, backend="inductor")}
    measure = jobs.Measure(policy=Policy(), threshold=Threshold(), artifacts={}, scratch="", **common)
    assert names(measure) == (*CORE, "bench.runtimes.torch.first_compile")
    assert names(measure, measure=False) is None
    made = jobs.Produce(stage=stage("reference", "eager"), artifacts={}, out="", scratch="", **common)
    assert names(made, measure=False) == CORE
    assert names(jobs.Inspect(device="cpu", cases=(common["case"], CASE))) == CORE
    assert names(jobs.Inspect(device="cpu", cases=())) == ()
    assert names(jobs.Ceilings(device="cpu")) == ("torch",)
    assert names(CHECK) == ()
    assert names(jobs.Describe(device="cpu")) is None
    assert names(jobs.Selftest(device="cpu", gate=-1)) is None


# -------------------------------------------------------------------------------------------------------------- torch

COMPUTE = """
import json, os
import numpy, torch
def tasks(): return len(os.listdir("/proc/self/task"))
# NumPy's own threads, which a new process starts at once and a forked one when it multiplies.
numpy.ones((64, 64)) @ numpy.ones((64, 64))
torch.set_num_threads(2)
before = tasks()
seed = torch.initial_seed()
torch.manual_seed(0)
x = torch.randn(256, 512)
y = (x @ x.T).relu()
about = {{
    "sum": float(y.double().sum()), "threads": torch.get_num_threads(), "more": tasks() - before, "seed": seed,
    "bad_fork": torch.cuda._is_in_bad_fork(), "compiled": {compiled},
}}
open(os.path.join(os.path.dirname(__file__), f"{{os.getpid()}}.json"), "w").write(json.dumps(about))
def metric(outputs, reference): return 0.0
"""
COMPILED = "float(torch.compile(lambda x: x.sin().cos() + 1)(x).double().sum())"


@pytest.mark.long
@pytest.mark.torch
def test_torch_and_inductor_compute_what_they_do_in_a_new_process(runner: Runner) -> None:
    pytest.importorskip("torch")
    runner.look_at(COMPUTE.format(compiled=COMPILED))
    forked, new = (runner.look(worker) for worker in (runner.fork("torch", "torch._inductor.compile_fx"), runner.new()))
    assert forked.pop("seed") != new.pop("seed")
    assert forked == new
    assert (forked["threads"], forked["more"], forked["bad_fork"]) == (2, 1, False)
    assert runner.notes == []


@pytest.mark.long
@pytest.mark.torch
@pytest.mark.parametrize(
    "names",
    [
        ("torch", "transformers.modeling_utils", "torch._inductor.compile_fx", "torch._inductor.package"),
        ("torch", "transformers.modeling_utils", "onnxscript"),
    ],
)
def test_what_the_backends_name_can_be_imported_in_a_template(runner: Runner, names: tuple[str, ...]) -> None:
    for name in names:
        pytest.importorskip(name.partition(".")[0])
    one, other = (runner.look(runner.fork(*names)) for _ in range(2))
    assert one["torch"] != other["torch"]  # of a generator that the system seeds
    assert runner.notes == []
