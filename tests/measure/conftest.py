"""A simulated GPU for each test that asks for one."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench.measure.gate import create_gate

from .simulated import SimulatedGpu


@pytest.fixture
def gpu() -> Iterator[SimulatedGpu]:
    gate = create_gate()
    yield SimulatedGpu(gate)
    gate.close()
