"""The sentence and the advice of one note for several warnings of a kind."""

from __future__ import annotations

import pytest

from bench.model.run import Warning
from bench.report.warnings import describe, merge


def test_one_sentence_for_several_cases_holds_for_each() -> None:
    noisy = [{"calls": 5, "ns": 1_200_000_000, "spread": spread} for spread in (0.011, 1.4)]
    sentence, _ = describe(merge([Warning(kind="Noisy", figures=each) for each in noisy]))
    assert "three windows differed by 1.1% to more than 100%, but neither" in sentence
    of = {"boundary": "latency", "graph": False}
    small = of | {"low_ns": 197e3, "high_ns": 220e3, "sd": 0.046, "within": 0.009}
    large = of | {"low_ns": 71e6, "high_ns": 110e6, "sd": 0.175, "within": 0.069}
    sentence, _ = describe(merge([Warning(kind="Spread", figures=each) for each in (small, large)]))
    assert (
        "process medians of latency differ by an sd of 4.6% to 17.5% though each is known to ±0.9% to 6.9%" in sentence
    )


@pytest.mark.parametrize(
    ("times", "change"),
    [
        (((6.91, 7.05), (2500, 2700)), "latency rose by 2.0% to 8.0% within a process"),
        (((6.91, 6.5), (2500, 2310)), "latency fell by 5.9% to 7.6% within a process"),
        (((6.91, 6.5), (2500, 2550)), "latency rose in some and fell in others, by up to 5.9% within a process"),
        (((6.91, 2500), (6.91, 7.05)), "latency rose by 2.0% to more than 100% within a process"),
        (((6.91, 2500), (2500, 6.91)), "rose in some and fell in others, by more than 100% within a process"),
        (((6.91, 7.05), (6.91, 7.05)), "latency went from 6.91 us to 7.05 us within a process"),
    ],
)
def test_drifts_of_unlike_cases_are_told_by_their_change(times, change: str) -> None:
    figures = [{"level": "samples", "boundary": "latency", "first_ns": a * 1e3, "last_ns": b * 1e3} for a, b in times]
    assert change in describe(merge([Warning(kind="Drift", figures=each) for each in figures])).text


def test_large_ratios_are_whole_numbers() -> None:
    common = {"boundary": "latency", "processes": 2, "graph": False, "level": "samples", "share": 0.1}
    figures = [common | {"low_ns": 1e3, "high_ns": high} for high in (457.2e3, 1_151e3)]
    text = describe(merge([Warning(kind="TwoStates", figures=each) for each in figures])).text
    assert "the slower one 457 to 1,151 times the faster" in text


def test_two_states_of_unlike_cases_are_told_by_how_far_they_lie_apart() -> None:
    common = {"boundary": "latency", "processes": 2, "graph": False}
    several = [(11.1e3, 19.8e3, 0.2), (53.2e3, 2.12e6, 0.3)]
    for level, text in (
        ("samples", "calls have two states of latency, the slower one 1.78 to 39.8 times the faster (20% to 30% in"),
        ("processes", "one of two states of latency, the slower one 1.78 to 39.8 times the faster (20% to 30% of 2 in"),
    ):
        figures = [common | {"level": level, "low_ns": a, "high_ns": b, "share": part} for a, b, part in several]
        assert text in describe(merge([Warning(kind="TwoStates", figures=each) for each in figures])).text


def test_the_advice_of_several_warnings_helps_each_of_them() -> None:
    common = {"boundary": "latency", "half_width": 0.03, "samples": 100}
    limits = ((1, 15_000_000_000), (8, 1_000_000_000))
    merged = merge([Warning(kind="MaxTime", figures={**common, "batch": n, "max_time_ns": ns}) for n, ns in limits])
    assert describe(merged).hint == "a longer max_time, or no --quick, if the run was made with it, or a smaller batch"
    lanes = [Warning(kind="FewerLanes", figures={"cause": "backend", "lanes": n, "requested": 4}) for n in (2, 3)]
    assert describe(merge(lanes)) == (
        "throughput is of 2 to 3 lanes, not of the 4 streams requested: the backend has no more", "streams: 2"
    )  # fmt: skip


def test_a_limit_of_time_is_told_by_what_set_it() -> None:
    common = {"boundary": "gpu", "half_width": 0.03, "samples": 9, "batch": 8}
    for quick, ms, hint in (
        (True, 1000, "run without --quick (it allows 1.00 s), with max_time above that"),
        (True, 500, "a longer max_time, above 1.00 s without --quick"),
        (False, 1000, "a longer max_time"),
    ):
        warning = Warning(kind="MaxTime", figures=common | {"quick": quick, "max_time_ns": ms * 1_000_000})
        assert describe(warning).hint == f"{hint}, or a smaller batch"


def test_graphs_that_gained_in_several_cases_are_told_by_how_much() -> None:
    bound = {"enqueue_ns": 144_000, "gpu_ns": 55_800.0, "graph": False}
    twins = [
        {"boundary": "throughput", "with_rate": 13_507.8, "without_rate": 14_219.1, "speed": speed, "effect": "faster"}
        for speed in (1.26, 8.4)
    ]
    merged = merge([Warning(kind="HostBound", figures={**bound, "graph_twin": twin}) for twin in twins])
    assert describe(merged).hint == "cuda_graph: on, which was faster here: 1.26 to 8.40 times as fast in throughput"
