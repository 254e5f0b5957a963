"""Models built before a fork: the weights of a new process, no threads, and memory of its own where it counts."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from bench.backends import base
from bench.errors import CaseError, ModelError
from bench.model.abilities import BuildsModels
from bench.model.seam import Context
from bench.model.suite import Case, Input
from bench.runtimes.torch import factories, models, prebuilt, weights
from tests.backends.kit import Bench

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

# More elements than torch computes by one thread: erfinv, mul and add of trunc_normal are divided among threads.
ZOO = """
import torch
from torch import nn
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.large = nn.Linear(1024, 512)
        nn.init.trunc_normal_(self.large.weight)
        self.register_buffer("ones", torch.ones(300, 400))
        self.tied = nn.Linear(1024, 512, bias=False)
        self.tied.weight = self.large.weight
        self.row = self.large.weight.detach()[3]
    def forward(self, x):
        return self.large(x) + self.tied(x)
def net(): return Net()
def lazy(): return nn.LazyLinear(4)
"""
X = {"x": Input(shape=(4, 1024))}

Ahead = tuple[Case, Context]


@pytest.fixture
def ahead(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Ahead]:
    """A case and its context in a process that has built nothing yet."""
    (tmp_path / "ahead_zoo.py").write_text(ZOO)
    monkeypatch.setattr(prebuilt, "_models", {})
    before = set(sys.modules)
    case = bench.case("eager", "ahead_zoo.py:net", X)
    yield case, msgspec.structs.replace(bench.context(case, seed=5), suite_dir=tmp_path)
    for name in set(sys.modules) - before:
        if name.startswith("_trtbench_ahead_zoo"):
            del sys.modules[name]


def digests(model: Any) -> dict[str, str]:
    """Of all bytes of each tensor."""
    state = {**dict(model.named_parameters()), **dict(model.named_buffers()), "row": model.row}
    return {name: hashlib.sha256(value.detach().numpy().tobytes()).hexdigest() for name, value in state.items()}


FORK = """
import hashlib, json, os, signal, sys
from pathlib import Path
import torch
from bench.model.suite import Case, Input
from bench.runner import forking
from bench.runtimes.torch import prebuilt
from tests.backends.kit import Bench
from tests.runtimes.torch.test_prebuilt import X, digests
import msgspec
bench = Bench(Path(sys.argv[1]), suite_dir=Path(sys.argv[1]))
case = bench.case("eager", "ahead_zoo.py:net", X)
context = bench.context(case, seed=5)
before = forking.obstacle()
prebuilt.build(case, context)
forking.settle("building it")
about = {"before": before, "threads": torch.get_num_threads(), "cuda": torch.cuda.is_initialized()}
print(json.dumps(about), flush=True)
pid = os.fork()
if not pid:
    signal.alarm(120)  # the end of one that waits for threads of the process before the fork
    tasks = len(os.listdir("/proc/self/task"))
    a = torch.arange(512.0 * 512).reshape(512, 512) / 2**18
    product = (a @ a.T).relu().double().sum().item()
    more = len(os.listdir("/proc/self/task")) - tasks
    model = prebuilt.take(case, context)
    about = {"product": product, "more": more, "threads": torch.get_num_threads(), "digests": digests(model),
             "again": prebuilt.take(case, context) is not None, "bad": torch.cuda._is_in_bad_fork()}
    print(json.dumps(about), flush=True)
    os._exit(0)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
"""


def test_a_fork_has_the_weights_of_a_new_process_and_computes_by_several_threads(ahead: Ahead, tmp_path: Path) -> None:
    env = {**os.environ, "OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2", "PYTHONPATH": os.pathsep.join(sys.path)}
    words = [sys.executable, "-c", FORK, str(tmp_path)]
    end = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
    assert end.returncode == 0, end.stderr
    template, fork = (json.loads(line) for line in end.stdout.splitlines())
    assert template == {"before": "", "threads": 2, "cuda": False}
    assert (fork["threads"], fork["more"], fork["again"], fork["bad"]) == (2, 1, False, False)
    a = torch.arange(512.0 * 512).reshape(512, 512) / 2**18
    assert fork["product"] == pytest.approx((a @ a.T).relu().double().sum().item())
    assert fork["digests"] == digests(factories.build_model(*ahead, device="cpu"))


def test_what_was_built_is_taken_once_and_by_its_own_case_and_seed(ahead: Ahead) -> None:
    case, context = ahead
    torch.manual_seed(3)
    before = (torch.get_rng_state(), random.getstate(), np.random.get_state()[1].tolist())  # type: ignore[index,union-attr]
    backend = base.load("eager")
    assert isinstance(backend, BuildsModels)
    backend.build_model(case, context)
    for other in ({"args": {"n": 2}}, {"config": {"n": 2}}, {"factory": "ahead_zoo.py:lazy"}):
        assert prebuilt.take(msgspec.structs.replace(case, **other), context) is None
    assert prebuilt.take(case, msgspec.structs.replace(context, seed=6)) is None
    wide = msgspec.structs.replace(case, backend="inductor", precision="fp16", symbols={"batch": 9}, arguments={"y": 1})
    model = prebuilt.take(wide, context)
    assert model is not None
    assert not model.training
    assert prebuilt.take(case, context) is None
    assert torch.equal(before[0], torch.get_rng_state())
    assert before[1:] == (random.getstate(), np.random.get_state()[1].tolist())  # type: ignore[index,union-attr]


def test_a_model_that_needs_inputs_to_be_built_is_refused(ahead: Ahead) -> None:
    case, context = ahead
    with pytest.raises(ModelError):
        prebuilt.build(msgspec.structs.replace(case, factory="ahead_zoo.py:lazy", inputs={}), context)
    assert prebuilt.take(case, context) is None


def test_what_is_measured_on_a_cpu_shares_no_small_memory_and_keeps_its_views(ahead: Ahead) -> None:
    case, context = ahead
    prebuilt.build(case, context)
    [built] = prebuilt._models.values()
    before = {tensor.data_ptr() for tensor in (*built.parameters(), *built.buffers())}
    values = digests(built)
    model = models.load_original(case, context)
    assert model is built
    assert digests(model) == values
    assert before.isdisjoint(tensor.data_ptr() for tensor in (*model.parameters(), *model.buffers()))
    assert model.tied.weight is model.large.weight
    with torch.no_grad():
        model.large.weight[3] = 7
    assert torch.equal(model.row, torch.full((1024,), 7.0))


def test_large_weights_stay_where_they_are_on_a_host_with_one_memory(
    ahead: Ahead, monkeypatch: pytest.MonkeyPatch
) -> None:
    case, context = ahead
    monkeypatch.setattr(models, "_CACHED_BYTES", 1000)
    moves = []
    for nodes in (1, 2):
        monkeypatch.setattr(models, "_memory_nodes", lambda nodes=nodes: nodes)
        prebuilt.build(case, context)
        [built] = prebuilt._models.values()
        before = built.ones.data_ptr()
        moves.append(models.load_original(case, context).ones.data_ptr() != before)
    assert moves == [False, True]


def test_weights_that_are_not_the_reference_s_are_drawn_again(ahead: Ahead, tmp_path: Path) -> None:
    case, context = ahead
    right = factories.build_model(case, context, device="cpu")
    weights.write_fingerprint(right, tmp_path)
    context = msgspec.structs.replace(context, artifacts={"reference": tmp_path})
    prebuilt.build(case, context)
    [built] = prebuilt._models.values()
    with torch.no_grad():
        built.large.weight.add_(1)
    model = models.load_original(case, context)
    assert model is not built
    assert digests(model) == digests(right)
    with torch.no_grad():
        right.large.weight.add_(1)
    weights.write_fingerprint(right, tmp_path)
    prebuilt.build(case, context)
    with pytest.raises(CaseError, match="other weights here than for the reference"):
        models.load_original(case, context)
