"""Work of a call that its stream's events do not see: refused, or timed without a hold; and what only looks like it."""

from __future__ import annotations

import random

import pytest

from bench.errors import Unsupported
from bench.measure.gate import Gate, create_gate
from bench.model.suite import Boundary, Policy
from bench.report.warnings import describe

from . import simulated
from .simulated import SimulatedGpu, SimulatedLane, run


class Queued(SimulatedGpu):
    """A stream takes 1,024 launches; the host waits where it would have more."""

    def __init__(self, gate: Gate) -> None:
        super().__init__(gate)
        self._ends: dict[int, list[int]] = {}

    def kernel(self, stream: int, ns: int) -> None:
        queue = self._ends.setdefault(stream, [])
        if len(queue) >= 1024 and self.gate.stuck is None:
            self.host.time = max(self.host.time, queue.pop(0))
        super().kernel(stream, ns)
        queue.append(self._free[stream])


@pytest.mark.parametrize(
    ("boundary", "launches", "each"),
    [
        *((boundary, 1, 5_000_000) for boundary in ("gpu", "gpu_unheld", "enqueue", "latency", "throughput")),
        *((boundary, 10, 20_000) for boundary in ("gpu", "gpu_unheld", "enqueue", "latency", "throughput")),
        ("gpu", 300, 20_000),
        ("enqueue", 300, 20_000),
    ],
)
def test_work_that_no_stream_waits_for_is_refused_whatever_is_asked_for(
    boundary: Boundary, launches: int, each: int
) -> None:
    class Escaping(SimulatedLane):
        def call(self) -> None:
            super().call()
            for _ in range(launches):
                self.gpu.kernel(999, each)

    gate = create_gate()
    card = Queued(gate)
    with pytest.raises(Unsupported, match="after the call's stream has ended") as refused:
        run(card, [Escaping(card, kernel_ns=50_000)], Policy(boundaries=(boundary,), warmup_ns=1_000_000))
    assert "wait_stream" in refused.value.fix
    gate.close()


@pytest.mark.parametrize("boundary", ["gpu", "enqueue", "latency", "throughput"])
def test_work_left_by_a_call_that_the_host_bounds_is_seen_under_the_hold(gpu: SimulatedGpu, boundary: Boundary) -> None:
    class Forked(SimulatedLane):
        """Its side stream waits for its own, and is done before the host has issued the rest."""

        def __init__(self, card: SimulatedGpu) -> None:
            super().__init__(card, kernel_ns=1_000)
            self._fork = card.event()

        def call(self) -> None:
            self.gpu.record(self._fork, self.stream or 0)
            self.gpu.wait_event(999, self._fork)
            self.gpu.kernel(999, 500_000)
            self.gpu.host.time += 2_000_000
            super().call()

    with pytest.raises(Unsupported, match="after the call's stream has ended"):
        run(gpu, [Forked(gpu)], Policy(boundaries=(boundary,), warmup_ns=1_000_000))


def test_work_that_comes_last_and_adds_up_to_nothing_is_seen(gpu: SimulatedGpu) -> None:
    class Last(SimulatedLane):
        """Its side stream starts when its own has ended, and works for less long."""

        def __init__(self, card: SimulatedGpu) -> None:
            super().__init__(card, kernel_ns=60_000)
            self._fork = card.event()

        def call(self) -> None:
            super().call()
            self.gpu.record(self._fork, self.stream or 0)
            self.gpu.wait_event(999, self._fork)
            self.gpu.kernel(999, 40_000)

    with pytest.raises(Unsupported, match="after the call's stream has ended"):
        run(gpu, [Last(gpu)], Policy(boundaries=("gpu",), warmup_ns=1_000_000))


class SlowSync(SimulatedGpu):
    """Synchronising takes the host ``price`` if anything was issued since the last time, as where memory is given back,
    and every ``each``-th time another 1 ms.
    """

    price, each = 0, 0

    def __init__(self, gate: Gate) -> None:
        super().__init__(gate)
        self._issued = self._times = 0

    def synchronize(self) -> None:
        super().synchronize()
        self._times += 1
        self.host.time += self.price * (len(self.log) - self._issued > 1)
        self.host.time += 1_000_000 * (self.each > 0 and self._times % self.each == 0)
        self._issued = len(self.log)


@pytest.mark.parametrize("kernel_ns", [10_000, 600_000_000])
@pytest.mark.parametrize(("price", "each"), [(60_000, 0), (5_000_000, 0), (0, 2), (0, 3), (0, 5), (60_000, 7)])
def test_what_a_synchronisation_costs_the_host_is_not_taken_for_work(
    monkeypatch: pytest.MonkeyPatch, kernel_ns: int, price: int, each: int
) -> None:
    monkeypatch.setattr(simulated, "POLL", max(100, kernel_ns // 1_000))
    gate = create_gate()
    card = SlowSync(gate)
    card.price, card.each = price, each
    policy = Policy(boundaries=("gpu",), warmup_ns=1_000_000, max_time_ns=1)
    assert run(card, [SimulatedLane(card, kernel_ns=kernel_ns)], policy).measurements
    gate.close()


class Ahead(SimulatedLane):
    """Work of ``side`` ns on a stream that starts at once, and that the lane's own waits for at the end."""

    side = 5_000_000

    def __init__(self, card: SimulatedGpu, **how: int) -> None:
        super().__init__(card, **how)
        self._join = card.event()

    def call(self) -> None:
        self.gpu.kernel(999, self.side)
        self.gpu.record(self._join, 999)
        super().call()
        self.gpu.wait_event(self.stream or 0, self._join)


def test_work_that_does_not_wait_for_the_held_stream_is_timed_without_a_hold(gpu: SimulatedGpu) -> None:
    rng = random.Random(0)

    class Unsteady(Ahead):
        def call(self) -> None:
            self._kernel_ns = 50_000 + rng.randrange(20_000)
            super().call()
            # The gate of this GPU opens at the end of a held block, when the side stream's work has long been done.
            if self.gpu.gate.stuck is not None:
                self.gpu.host.time += 6_000_000

    policy = Policy(boundaries=("gpu",), warmup_ns=1_000_000, max_time_ns=1_000_000_000)
    found = run(gpu, [Unsteady(gpu)], policy)
    assert [m.boundary for m in found.measurements] == ["enqueue", "gpu_unheld"]
    assert set(found.spans) == {"enqueue", "gpu_unheld"}
    assert min(found.measurements[-1].samples) >= 5_000_000
    unheld = found.warnings[-1]
    assert (unheld.kind, unheld.figures["cause"]) == ("Unheld", "runs_ahead")
    assert unheld.figures.keys() == {"cause", "period_ns", "gpu_ns"}
    assert unheld.figures["period_ns"] > 5_000_000
    assert "runs before the stream is released" in describe(unheld).text
    assert "side.wait_stream" in describe(unheld).hint
    # Nothing of a series that is not kept.
    assert not any("of gpu " in describe(warning).text for warning in found.warnings)
    assert "gpu" not in [warning.figures.get("boundary") for warning in found.warnings]


@pytest.mark.parametrize(
    ("side", "how"),
    [
        (10_000_000, {"kernel_ns": 1_000_000, "host_ns": 1_800_000}),  # back to back it is hardly longer
        (2_000_000, {"kernels": 300, "kernel_ns": 4_000}),  # the launch queue is full, so the host seems to be slow
    ],
)
def test_work_that_a_longer_hold_would_let_run_ahead_is_timed_without_one(side: int, how: dict[str, int]) -> None:
    gate = create_gate()
    card = Queued(gate)
    lane = Ahead(card, **how)
    lane.side = side
    found = run(card, [lane], Policy(boundaries=("gpu",), warmup_ns=1_000_000))
    assert [m.boundary for m in found.measurements] == ["enqueue", "gpu_unheld"]
    assert min(found.measurements[-1].samples) >= side
    unheld = found.warnings[-1]
    assert (unheld.kind, unheld.figures["cause"]) == ("Unheld", "runs_ahead")
    assert unheld.figures["shorter_ns"] > 0
    assert "held for longer, a call takes" in describe(unheld).text
    gate.close()


@pytest.mark.parametrize("seed", range(10))
def test_a_gpu_whose_speed_varies_is_held(gpu: SimulatedGpu, seed: int) -> None:
    rng = random.Random(seed)

    class Unsteady(SimulatedLane):
        """Its time drifts, differs by up to a third from call to call, and is now and then three times as long."""

        def call(self) -> None:
            drifting = 400_000 - self.calls % 50 * 2_000
            self._kernel_ns = int(drifting * (1 + rng.random() / 3) * (3 if rng.random() < 0.05 else 1))
            super().call()

    found = run(gpu, [Unsteady(gpu)], Policy(boundaries=("gpu",), warmup_ns=1_000_000))
    assert [m.boundary for m in found.measurements] == ["enqueue", "gpu"]


class NoisySync(SimulatedGpu):
    """Now and then a synchronisation takes the host another 1 ms."""

    rng = random.Random()

    def synchronize(self) -> None:
        super().synchronize()
        self.host.time += 1_000_000 * (self.rng.random() < 0.1)


@pytest.mark.parametrize("seed", range(20))
def test_a_noisy_host_does_not_hide_work_that_is_left(seed: int) -> None:
    class Escaping(SimulatedLane):
        def call(self) -> None:
            super().call()
            self.gpu.kernel(999, 100_000)

    gate = create_gate()
    card = NoisySync(gate)
    card.rng = random.Random(seed)
    with pytest.raises(Unsupported, match="after the call's stream has ended"):
        run(card, [Escaping(card, kernel_ns=50_000)], Policy(boundaries=("gpu",), warmup_ns=1_000_000))
    gate.close()


def test_a_busy_host_is_not_taken_for_work_left_on_the_device(gpu: SimulatedGpu) -> None:
    class Hiccup(SimulatedLane):
        def call(self) -> None:
            super().call()
            self.gpu.host.time += 2_000_000 * (self.calls % 7 == 0)

    assert run(gpu, [Hiccup(gpu)], Policy(boundaries=("gpu",), warmup_ns=1_000_000)).measurements
