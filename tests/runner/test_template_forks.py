"""What a template may have imported to be forked: no driver that is initialised, and no threads but some."""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.runner.template_kit import LOOK, Runner

pytestmark = pytest.mark.workers


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


# As torch has it: to count the devices initialises the driver, which no fork can use after that.
DRIVER = """
import os, sys, types
calls = []
def _cuda_getDeviceCount():
    calls.append(os.getpid())
    if {fails}:
        raise OSError("no driver")
    return {count}
own = types.SimpleNamespace(_cuda_getDeviceCount=_cuda_getDeviceCount)
cuda = types.SimpleNamespace(is_initialized=lambda: bool(calls), _is_in_bad_fork=lambda: False)
cuda.is_available = lambda: own._cuda_getDeviceCount() > 0
generator = types.SimpleNamespace(seed=lambda: 1)
sys.modules["torch"] = types.SimpleNamespace(_C=own, cuda=cuda, default_generator=generator, initial_seed=lambda: 1)
"""
# As Inductor has it, which chooses by that when it is imported.
CHOICE = """
import sys
cuda = sys.modules["torch"].cuda
answers = [cuda.is_available(), cuda.is_available()]
assert answers == [{here}] * 2, answers
"""


@pytest.mark.parametrize(("count", "fails"), [(2, False), (0, False), (1000, False), (1, True)])
def test_an_import_that_looks_for_a_gpu_starts_none(runner: Runner, count: int, fails: bool) -> None:
    torch = runner.module("torch", DRIVER.format(count=count, fails=fails))
    choice = runner.module("choice", CHOICE.format(here=count > 0 and not fails))
    assert runner.look(runner.fork(torch, choice))["modules"] == [torch, choice]
    assert runner.notes == []


ASKS = """
import torch
from torch._dynamo.variables.torch import constant_fold_functions
assert torch.cuda.is_available in constant_fold_functions
net = torch.compile(lambda x: x + 1 if torch.cuda.is_available() else x - 1, fullgraph=True, backend="eager")
assert net(torch.zeros(2)).tolist() in ([-1, -1], [1, 1])
"""


@pytest.mark.long
@pytest.mark.torch
def test_a_model_that_looks_for_a_gpu_compiles_in_a_fork(runner: Runner) -> None:
    pytest.importorskip("torch")
    runner.look_at(LOOK + ASKS)
    runner.look(runner.fork("torch", "bench.runtimes.torch.first_compile"))
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
