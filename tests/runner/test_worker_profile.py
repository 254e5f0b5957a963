"""A worker's part of a profile, on a simulated GPU: the clock behind its gate, and when the profiler loads."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import tensors
from bench.backends import base
from bench.measure import cuda, profilers
from bench.model.profile import Range, RangeKind, Tool
from bench.model.suite import Case, Input, Policy
from bench.runner import jobs, worker_jobs
from tests.measure.conftest import gpu as gpu  # a fixture
from tests.measure.simulated import SimulatedGpu, SimulatedLane


class Lane(SimulatedLane):
    def read(self) -> dict[str, np.ndarray]:
        return {}


class Machine:
    """A backend, what it prepares, a profiler, and phases: all note in ``events`` what happens."""

    simulated = False
    captures_graphs = False
    max_lanes = None
    version = "1"

    def __init__(self, gpu: SimulatedGpu) -> None:
        self.events: list[str] = []
        self._lane = Lane(gpu, kernels=3)

    @contextlib.contextmanager
    def prepare(self, *_: Any) -> Iterator[Machine]:
        yield self

    def lanes(self, count: int) -> Sequence[Lane]:
        return [self._lane]

    def fairness(self) -> dict[str, Any]:
        return {}

    def early(self) -> None:
        self.events.append("early")

    def range_(self, kind: RangeKind, name: str) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def on(self, out: Path) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext()

    def stacks(self, out: Path) -> None:
        return None

    def __call__(self, phase: str) -> contextlib.AbstractContextManager[None]:
        self.events.append(phase)
        return contextlib.nullcontext()

    def tell(self, *_: Any) -> None:
        raise AssertionError

    tell_layers = tell


class Recording(Machine):
    """Its runtime writes down its nodes."""

    def nodes(self) -> list[Range]:
        return []


@pytest.fixture
def machine(gpu: SimulatedGpu, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Machine:
    machine: Machine = getattr(request, "param", Machine)(gpu)
    monkeypatch.setattr(cuda, "CudaDriver", lambda: gpu)
    monkeypatch.setattr(base, "load", lambda name: machine)
    monkeypatch.setattr(base, "options_of", lambda backend, case: None)
    monkeypatch.setattr(profilers, "profiler", lambda *_: machine)
    return machine


def profile(machine: Machine, gpu: SimulatedGpu, folder: Path, tool: Tool = "torch", **fields: Any) -> jobs.Profiled:
    tensors.write(folder / "inputs.safetensors", {"x": np.zeros(1, np.float32)})
    case = Case(model="net", factory="zoo.py:net", inputs={"x": Input(shape=(1,))}, backend="eager", **fields)
    job = jobs.Profile(
        case=case,
        policy=Policy(warmup_ns=1_000_000),
        artifacts={"reference": str(folder)},
        scratch=str(folder),
        out=str(folder),
        tool=tool,
        iterations=3,
        device="cuda:0",
        gate=os.dup(gpu.gate.fd),
    )
    return worker_jobs.profile(job, machine)  # type: ignore[arg-type]


def test_gpu_is_measured_behind_the_gate_of_the_job_before_the_profiler_loads(
    machine: Machine, gpu: SimulatedGpu, tmp_path: Path
) -> None:
    reply = profile(machine, gpu, tmp_path)
    assert set(reply.gpu_ns) == set(reply.recorded_gpu_ns) == {30_000}
    assert len(reply.recorded_gpu_ns) == len(reply.unprofiled_ns) == 3
    assert machine.events == ["first_call", "warmup", "measure", "warmup", "unprofiled", "profile", "early"]


@pytest.mark.parametrize(
    ("machine", "graph"), [(Machine, True), (Recording, False)], indirect=["machine"], ids=["graph", "nodes"]
)
def test_the_profiler_loads_before_what_it_would_not_see_otherwise(
    machine: Machine, gpu: SimulatedGpu, tmp_path: Path, graph: bool
) -> None:
    assert set(profile(machine, gpu, tmp_path, cuda_graph=graph).gpu_ns) == {30_000}
    assert machine.events[:2] == ["early", "first_call"]


def test_a_tool_that_replays_kernels_has_no_held_calls(machine: Machine, gpu: SimulatedGpu, tmp_path: Path) -> None:
    reply = profile(machine, gpu, tmp_path, "ncu")
    assert (reply.gpu_ns, reply.recorded_gpu_ns) == ((), ())
    assert "hold" not in [name for name, _ in gpu.log]
