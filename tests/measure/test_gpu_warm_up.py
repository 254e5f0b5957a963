"""The warm-up of a case on a simulated GPU: plain calls, held ones, and calls that cannot be held."""

from __future__ import annotations

import math
import os

import pytest

from bench.measure.cuda import CudaClock
from bench.measure.gate import Gate
from bench.measure.gpu import measure
from bench.model.suite import Case, Policy

from . import simulated
from .simulated import Counting, SimulatedGpu, SimulatedLane, run


def test_plain_and_held_calls_share_the_least_time_of_the_warm_up(gpu: SimulatedGpu) -> None:
    lane = SimulatedLane(gpu, kernel_ns=1_000_000)
    phases = Counting(lane)
    asked = Case(model="m", factory="f:m", inputs={}, backend="b")
    measure([lane], asked, Policy(boundaries=("gpu",)), CudaClock(gpu, gpu.gate), gpu.host, phases)
    assert 150 < phases.calls["warmup"] <= 202  # of 200 ms


def test_a_call_that_waits_is_warmed_up_until_it_is_steady_too(
    gpu: SimulatedGpu, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulated, "POLL", 10_000)
    parent = Gate(os.dup(gpu.gate.fd))

    class Settling(SimulatedLane):
        """1 ms, and at first up to twice that; it settles within some seconds."""

        def call(self) -> None:
            self._kernel_ns = int(1_000_000 * (1 + math.exp(-self.gpu.host.time / 2e9)))
            super().call()
            if parent.stuck is not None:
                parent.trip()

    found = run(gpu, [Settling(gpu)], Policy(boundaries=("gpu",)))
    parent.close()
    unheld = found.measurements[-1]
    assert unheld.boundary == "gpu_unheld"
    assert unheld.samples[-1] < 1_100_000
