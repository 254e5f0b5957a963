"""The order of a profiled case: calls without the profiler first, then iterations in ranges, modules by their paths."""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench.measure.clock import FakeClock
from bench.measure.cuda import CudaClock
from bench.measure.gate import Gate
from bench.measure.profiled import profile
from bench.measure.profilers import NODES, STARTS
from bench.model.lanes import Buffer
from bench.model.profile import Range, RangeKind
from bench.model.suite import Case, Input, Policy
from bench.units import NS_PER_S

from .simulated import SimulatedGpu, SimulatedLane

NS_PER_MS = NS_PER_S // 1000

CASE = Case(model="net", factory="zoo.py:net", inputs={"x": Input(shape=(1,))}, backend="eager")
POLICY = Policy(warmup_calls=2, warmup_ns=1)


class Log:
    """What happens, in order: a profiler, a lane, phases and modules that note it."""

    def __init__(self, call_ns: int = NS_PER_MS, modules: Sequence[str] = ()) -> None:
        self.clock = FakeClock()
        self.events: list[str] = []
        self.version = "log 1"
        self.stream = None
        self.max_lanes = None
        self.captures_graphs = False
        self.recording = False
        self._call_ns = call_ns
        self._modules = {path: Module() for path in modules}

    def lanes(self, count: int) -> Sequence[Any]:
        return [self]

    def fairness(self) -> dict[str, Any]:
        return {}

    def modules(self) -> dict[str, Any]:
        return dict(self._modules)

    def call(self) -> None:
        self.events.append("call" if self.recording else "plain call")
        self.clock.advance(self._call_ns)
        for module in self._modules.values():
            module()

    def inputs(self) -> dict[str, Buffer]:
        return {}

    outputs = inputs

    def poison(self) -> None:
        raise AssertionError

    def read(self) -> dict[str, Any]:
        return {}

    def early(self) -> None:
        self.events.append("early")

    def stacks(self, out: Path) -> None:
        return None

    @contextlib.contextmanager
    def range_(self, kind: RangeKind, name: str) -> Iterator[None]:
        self.events.append(f"{kind} {name}")
        yield
        self.events.append(f"end {kind}")

    @contextlib.contextmanager
    def on(self, out: Path) -> Iterator[None]:
        self.recording = True
        self.events.append("on")
        yield
        self.events.append("off")
        self.recording = False

    @contextlib.contextmanager
    def phase(self, name: str) -> Iterator[None]:
        self.events.append(f"in {name}")
        yield


class Module:
    """Calls its hooks, as a torch module does."""

    def __init__(self) -> None:
        self.before: list[Any] = []
        self.after: list[Any] = []

    def __call__(self) -> None:
        for hook in self.before:
            hook(self, ())
        for hook in self.after:
            hook(self, (), None)

    def register_forward_pre_hook(self, hook: Any) -> Handle:
        return Handle(self.before, hook)

    def register_forward_hook(self, hook: Any, *, always_call: bool) -> Handle:
        assert always_call
        return Handle(self.after, hook)


class Handle:
    def __init__(self, hooks: list[Any], hook: Any) -> None:
        hooks.append(hook)
        self._hooks, self._hook = hooks, hook

    def remove(self) -> None:
        self._hooks.remove(self._hook)


def profiled(log: Log, tmp_path: Path, iterations: int = 2, *, modules: bool = False, case: Case = CASE) -> Any:
    return profile(
        log, case, POLICY, log, log.clock, log.phase, tmp_path, iterations=iterations, modules=modules
    )  # fmt: skip


def test_calls_without_the_profiler_come_first(tmp_path: Path) -> None:
    log = Log()
    end = profiled(log, tmp_path)
    assert end.unprofiled_ns == (NS_PER_MS, NS_PER_MS)
    assert (end.tool_version, end.notes) == ("log 1", ())
    begin = log.events.index("in unprofiled")
    assert set(log.events[:begin]) == {"in warmup", "plain call"}
    iteration = ["phase call", "call", "end phase", "end iteration"]
    assert log.events[begin:] == [
        "in unprofiled", "plain call", "plain call",
        "in profile", "early", "on", f"case {CASE.label}", "phase profile",
        "iteration 0", *iteration, "iteration 1", *iteration,
        "end phase", "end case", "off",
    ]  # fmt: skip


class Narrator(Log):
    """Writes down its nodes, until they are read."""

    def nodes(self) -> Sequence[Range]:
        self.events.append("nodes")
        return [Range(name="conv", kind="layer", start=1, end=2)]


def test_a_runtime_that_writes_down_its_nodes_is_timed_after_that(tmp_path: Path) -> None:
    log = Narrator()
    before = time.time_ns()
    end = profile(log, CASE, POLICY, log, log.clock, log.phase, tmp_path, iterations=4, narrated=True)
    after = time.time_ns()
    assert len(end.unprofiled_ns) == 4
    assert log.events[log.events.index("off") :] == ["off", "nodes", "in unprofiled", *4 * ["plain call"]]
    (node,) = msgspec.json.decode((tmp_path / NODES).read_bytes(), type=list[Range])
    assert node.name == "conv"
    starts = msgspec.json.decode((tmp_path / STARTS).read_bytes(), type=list[int])
    assert len(starts) == 4
    assert [before, *starts, after] == sorted([before, *starts, after])


def test_modules_have_ranges_by_their_paths_while_the_profiler_is_on(tmp_path: Path) -> None:
    log = Log(modules=("layer1", "layer1.conv"))
    end = profiled(log, tmp_path, modules=True)
    assert log.events.count("module layer1.conv") == 2
    assert end.notes == ()
    before = len(log.events)
    log.call()
    assert log.events[before:] == ["plain call"]  # the hooks are gone


def test_a_call_that_runs_no_modules_is_noted(tmp_path: Path) -> None:
    (note,) = profiled(Log(), tmp_path, modules=True).notes
    assert note.startswith("a call runs no Python modules")


@pytest.mark.parametrize(("call_ns", "expected"), [(NS_PER_S // 4, 20), (NS_PER_S, 5), (60 * NS_PER_S, 3)])
def test_calls_that_take_long_are_fewer(tmp_path: Path, call_ns: int, expected: int) -> None:
    log = Log(call_ns)
    end = profiled(log, tmp_path, iterations=20)
    assert len(end.unprofiled_ns) == log.events.count("call") == expected
    assert bool(end.notes) == (expected < 20)


def profiled_on(
    gpu: SimulatedGpu, lane: SimulatedLane, log: Log, tmp_path: Path, case: Case = CASE, **options: Any
) -> Any:
    """The profile of a lane on the simulated GPU; of whose calls ``log`` has the beginning of their ranges."""
    log.lanes = lambda count: [lane]  # type: ignore[method-assign]
    log.clock = gpu.host  # type: ignore[assignment]
    with contextlib.closing(CudaClock(gpu, gpu.gate)) as clock:
        return profile(log, case, POLICY, log, gpu.host, log.phase, tmp_path, iterations=3, gpu=clock, **options)


@pytest.mark.parametrize("transfers", [True, False])
def test_an_iteration_on_a_gpu_is_a_request_with_one_wait(tmp_path: Path, gpu: SimulatedGpu, transfers: bool) -> None:
    lane, log = SimulatedLane(gpu, kernels=2, up=1000, down=500), Log()
    case = msgspec.structs.replace(CASE, transfers=transfers)
    marks: list[int] = []
    ranges = log.range_

    @contextlib.contextmanager
    def range_(kind: RangeKind, name: str) -> Iterator[None]:
        if kind == "iteration":
            marks.append(len(gpu.log))
        with ranges(kind, name):
            yield

    log.range_ = range_  # type: ignore[method-assign]
    end = profiled_on(gpu, lane, log, tmp_path, case, holds=False)
    iteration = [name for name, _ in gpu.log[marks[0] : marks[1]]]
    copies = ["copy"] if transfers else []
    assert iteration == [*copies, "kernel", "kernel", *copies, "synchronize"]
    assert min(end.unprofiled_ns) >= 2 * 10_000 + (1500 if transfers else 0)
    phases = [event for event in log.events if event.startswith("phase") and event != "phase profile"]
    assert phases == 3 * ["phase h2d", "phase call", "phase d2h", "phase wait"]
    assert gpu.live == {lane.stream}  # the pinned memory is given back


def test_an_iteration_with_a_cold_cache_is_no_promise(tmp_path: Path) -> None:
    (note,) = profiled(Log(), tmp_path, case=msgspec.structs.replace(CASE, l2="cold")).notes
    assert note.startswith("l2: cold is not kept up")


def test_gpu_is_measured_before_the_profiler_is_there_and_again_while_it_records(
    tmp_path: Path, gpu: SimulatedGpu
) -> None:
    lane, log = SimulatedLane(gpu, kernels=3), Log()
    before = set(gpu.live)
    end = profiled_on(gpu, lane, log, tmp_path, msgspec.structs.replace(CASE, l2="cold"))
    assert set(end.gpu_ns) == set(end.recorded_gpu_ns) == {30_000}
    assert len(end.recorded_gpu_ns) == 3
    assert gpu.live == before  # no event is left
    phases = [event for event in log.events if event.startswith("in ")]
    assert phases == ["in warmup", "in measure", "in warmup", "in unprofiled", "in profile"]
    held = [f"phase held {number}" for number in range(3)]
    recorded = log.events[log.events.index("early") :]
    assert [event for event in recorded if event in held] == held
    assert recorded.index("end phase", recorded.index("iteration 2")) < recorded.index(held[0]) < recorded.index("off")
    assert "fill" not in [name for name, _ in gpu.log]  # l2: cold is not kept up, so neither is it here


def test_a_recorded_call_is_issued_whole_before_its_stream_goes_on(tmp_path: Path, gpu: SimulatedGpu) -> None:
    """The host is slower than the GPU: gaps between the kernels of a call show only where the stream is not held."""
    lane, log = SimulatedLane(gpu, kernels=3, host_ns=50_000), Log()
    end = profiled_on(gpu, lane, log, tmp_path)
    assert min(end.unprofiled_ns) > 150_000
    assert set(end.gpu_ns) == set(end.recorded_gpu_ns) == {30_000}


class Waiting(SimulatedLane):
    """A call that waits for the GPU, from ``since`` on: the parent opens the gate."""

    def __init__(self, gpu: SimulatedGpu, parent: Gate, since: str, log: Log) -> None:
        super().__init__(gpu)
        self._parent, self._since, self._log = parent, since, log

    def call(self) -> None:
        super().call()
        if self._parent.stuck is not None and self._since in ["", *self._log.events]:
            self._parent.trip()


@pytest.mark.parametrize(("since", "own"), [("", set()), ("on", {10_000})])
def test_where_no_stream_can_be_held_nothing_is_compared(
    tmp_path: Path, gpu: SimulatedGpu, since: str, own: set[int]
) -> None:
    log, parent = Log(), Gate(os.dup(gpu.gate.fd))
    end = profiled_on(gpu, Waiting(gpu, parent, since, log), log, tmp_path)
    parent.close()
    assert set(end.gpu_ns) == own
    assert end.recorded_gpu_ns == ()
    assert log.events.count("phase call") == len(end.unprofiled_ns) == 3  # the profile is there all the same
    assert len(end.notes) == bool(own)


@pytest.mark.parametrize("refused", [True, False])
def test_no_held_call_where_the_tool_or_the_driver_forbids_it(
    tmp_path: Path, gpu: SimulatedGpu, refused: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if refused:
        monkeypatch.setattr(gpu, "can_hold", lambda: "not here")
    log = Log()
    end = profiled_on(gpu, SimulatedLane(gpu), log, tmp_path, holds=refused)
    assert (end.gpu_ns, end.recorded_gpu_ns, end.notes) == ((), (), ())
    assert "hold" not in [name for name, _ in gpu.log]


def test_a_runtime_that_writes_down_its_nodes_has_its_gpu_measured_after_that(
    tmp_path: Path, gpu: SimulatedGpu
) -> None:
    log = Narrator()
    end = profiled_on(gpu, SimulatedLane(gpu), log, tmp_path, narrated=True)
    assert set(end.gpu_ns) == set(end.recorded_gpu_ns) == {10_000}
    phases = [event for event in log.events if event.startswith("in ") or event == "nodes"]
    assert phases == ["in warmup", "in unprofiled", "in profile", "nodes", "in unprofiled", "in warmup", "in measure"]
