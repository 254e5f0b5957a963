"""The analysis of stored runs that the defaults of sampling rest on."""

from __future__ import annotations

import numpy as np
import pytest

from bench.model.run import Measurement
from tests.selfbench.samples_needed import rows


def case(processes: float, noise: float, n: int = 256) -> list[Measurement]:
    """Seven processes whose medians differ by ``processes`` and whose samples vary by ``noise``, sds of logs."""
    rng = np.random.default_rng(0)
    return [
        Measurement(boundary="gpu", samples=tuple(round(ns) for ns in centre * np.exp(rng.normal(0, noise, n))))
        for centre in 1e6 * np.exp(rng.normal(0, processes, 7))
    ]


def test_samples_do_not_help_where_processes_differ() -> None:
    for row in rows("gpu", [case(0.05, 0.002)]):
        assert row.growth == pytest.approx(1, abs=0.05)
    assert row.samples == "rule"
    assert row.used == 30


def test_samples_help_where_processes_are_alike() -> None:
    by_samples = {row.samples: row for row in rows("gpu", [case(0, 0.05)])}
    assert by_samples["first 10"].growth > 4  # 256 samples against 10
    assert by_samples["first 10"].growth > by_samples["first 100"].growth
    assert by_samples["rule"].used > 50


def test_a_part_of_the_window_stands_for_a_shorter_one() -> None:
    assert [(row.samples, row.used) for row in rows("throughput", [case(0.01, 0.1)])] == [
        ("25% of window", 64), ("50% of window", 128), ("75% of window", 192),
    ]  # fmt: skip
