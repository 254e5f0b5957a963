"""Samples in blocks: how many, what comes before the first of each, and when a series ends."""

from __future__ import annotations

import itertools

import msgspec
import pytest

from bench.measure import pace
from bench.measure.clock import FakeClock
from bench.measure.loop import sample
from bench.measure.pace import BLOCKS, InTurn, blocks_of, lead_in_of
from bench.measure.stop import StopRule
from bench.model.suite import DEFAULT_POLICY

MS = 1_000_000


class Series:
    """A series of calls of ``ns`` each, counted; ``order`` has the calls and the waits."""

    def __init__(self, ns: int, **policy: int) -> None:
        clock = FakeClock()
        self.order: list[str] = []
        calls = itertools.count()

        def take() -> int:
            clock.advance(ns)
            self.order.append(f"call {next(calls)}")
            return ns

        def wait() -> None:
            clock.advance(3600 * 1000 * MS)  # others measure meanwhile
            self.order.append("wait")

        self.rule = InTurn(wait).rule(msgspec.structs.replace(DEFAULT_POLICY, **policy), clock)
        self.samples = sample(take, self.rule)

    @property
    def calls(self) -> int:
        return len(self.order) - self.order.count("wait")


def test_a_series_waits_before_each_of_its_blocks_and_not_after_the_last() -> None:
    series = Series(MS)
    assert series.order.count("wait") == BLOCKS
    assert series.order[0] == "wait"
    assert series.order[-1].startswith("call")
    assert series.rule.reason == "Blocks"


@pytest.mark.parametrize(
    ("ns", "block", "lead"),
    [
        (MS // 10, 12, 3),  # fast calls: by number
        (MS, 12, 3),
        (10 * MS, 5, 1),  # by 50 ms
        (30 * MS, 2, 1),
    ],
)
def test_a_block_ends_by_number_or_time_and_its_first_calls_are_no_samples(ns: int, block: int, lead: int) -> None:
    series = Series(ns)
    assert blocks_of(series.rule) == (block,) * BLOCKS
    assert series.calls == (block + lead) * BLOCKS
    assert len(series.samples) == block * BLOCKS
    per_block = block + lead
    assert lead_in_of(series.rule) == {n for n in range(series.calls) if n % per_block < lead}


def test_calls_as_long_as_a_block_are_all_samples_after_the_first() -> None:
    series = Series(200 * MS)
    assert blocks_of(series.rule) == (1,) * BLOCKS
    assert series.calls == BLOCKS + 1


def test_the_longest_time_counts_what_is_measured_and_not_the_waits() -> None:
    series = Series(1000 * MS, max_time_ns=3000 * MS)
    assert series.rule.reason == "MaxTime"
    assert blocks_of(series.rule) == (1, 1)


def test_who_measures_alone_waits_for_nobody_and_has_no_blocks() -> None:
    pace.ALONE.wait()
    rule = pace.ALONE.rule(DEFAULT_POLICY, FakeClock())
    assert type(rule) is StopRule
    assert (blocks_of(rule), lead_in_of(rule)) == ((), frozenset())
