"""`measure: {interleave: on}`: the backends of a model in turn, and what happens where one does not fit."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.measure.pace import BLOCKS
from tests.conftest import FAKE_SUITE, Trtbench

pytestmark = pytest.mark.workers

BACKENDS = "[fake, {name: fake, time: 1.05 ms}, {name: fake, fail: memory}]"


def test_the_backends_of_a_model_are_measured_in_turn_and_one_without_memory_by_itself(
    trtbench: Trtbench, tmp_path: Path
) -> None:
    text = FAKE_SUITE.format(backends=BACKENDS, replicates=1, timeout="60s")
    suite = tmp_path / "interleaved.yaml"
    suite.write_text(text.replace("batch: [1, 8]", "batch: 1").replace("{replicates", "{interleave: on, replicates"))
    assert trtbench("run", suite) == 1
    assert "fail=memory]/fp32/batch=1: no memory beside the others; it is measured by itself" in trtbench.err
    (run,) = trtbench.runs()
    assert run.header.policy.interleave
    first, second, memory = run.records
    for record in (first, second):
        by_name = {m.boundary: m for m in record.measurements}
        assert len(by_name["latency"].blocks) == BLOCKS
        assert by_name["throughput"].calls > 0
        assert len(record.places) == BLOCKS + 1  # throughput is one block
    assert first.places[:-1] != second.places[:-1]
    assert sum(first.places) + sum(second.places) == BLOCKS + 1  # one is 0, the other 1 in each round
    assert first.times["imports"] > 0
    assert memory.failure is not None
    assert (memory.failure.kind, memory.places) == ("OutOfMemory", ())
