"""A simulated GPU for each test that asks for one, and a clock on it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench.measure.gate import create_gate

from .simulated import Rig, SimulatedGpu


@pytest.fixture
def gpu() -> Iterator[SimulatedGpu]:
    gate = create_gate()
    yield SimulatedGpu(gate)
    gate.close()


@pytest.fixture
def rig() -> Iterator[Rig]:
    rig = Rig()
    yield rig
    rig.clock.close()
    rig.gate.close()
