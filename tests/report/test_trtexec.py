"""The block in the words of trtexec."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import model as m
from bench.errors import UsageError
from bench.report import trtexec

from .conftest import case, make

MS = 1_000_000


def measured(asked, **samples):
    loop = m.Measurement(
        boundary="throughput", samples=tuple(range(MS, 101 * MS, MS)), batch=asked.batch, calls=200, window_ns=4 * 10**9
    )
    parts = [m.Measurement(boundary=name, samples=values) for name, values in samples.items()]
    return m.Record(case=asked.id, label=asked.label, measurements=(loop, *parts))


def test_a_gpu_case_fills_every_line() -> None:
    asked = case("bert", "eager", batch=8)
    parts = {"enqueue": (MS,), "h2d": (MS // 4,), "compute": (10 * MS, 12 * MS), "d2h": (MS // 8,)}
    assert trtexec.render(make([asked], [measured(asked, **parts)]), asked.label) == (
        "=== Performance summary === (bert/eager/fp32/batch=8/seq=128, 1 process, 1 query is 8 inferences)\n"
        "Throughput: 50 qps\n"
        "Latency: min = 1 ms, max = 100 ms, mean = 50.5 ms, median = 50.5 ms, percentile(90%) = 90 ms, "
        "percentile(95%) = 95 ms, percentile(99%) = 99 ms\n"
        "Enqueue Time: min = 1 ms, max = 1 ms, mean = 1 ms, median = 1 ms, percentile(90%) = 1 ms, "
        "percentile(95%) = 1 ms, percentile(99%) = 1 ms\n"
        "H2D Latency: min = 0.25 ms, max = 0.25 ms, mean = 0.25 ms, median = 0.25 ms, percentile(90%) = 0.25 ms, "
        "percentile(95%) = 0.25 ms, percentile(99%) = 0.25 ms\n"
        "GPU Compute Time: min = 10 ms, max = 12 ms, mean = 11 ms, median = 11 ms, percentile(90%) = 12 ms, "
        "percentile(95%) = 12 ms, percentile(99%) = 12 ms\n"
        "D2H Latency: min = 0.125 ms, max = 0.125 ms, mean = 0.125 ms, median = 0.125 ms, percentile(90%) = 0.125 ms, "
        "percentile(95%) = 0.125 ms, percentile(99%) = 0.125 ms\n"
        "Total Host Walltime: 4 s\n"
        "Total GPU Compute Time: 2.2 s\n"
    )


def test_a_cpu_case_has_dashes_for_what_a_cpu_has_not() -> None:
    asked = case("bert", "eager")
    shown = trtexec.render(make([asked], [measured(asked)]))
    for title in ("Enqueue Time", "H2D Latency", "GPU Compute Time", "D2H Latency", "Total GPU Compute Time"):
        assert f"\n{title}: -\n" in shown


def test_processes_are_pooled() -> None:
    asked = case("bert", "eager")
    shown = trtexec.render(make([asked], [measured(asked), measured(asked)]), asked.id)
    assert "2 processes" in shown
    assert "Throughput: 50 qps" in shown
    assert "Total Host Walltime: 8 s" in shown


def test_without_a_case_every_measured_one_gets_a_block(run) -> None:
    assert trtexec.render(run).count("=== Performance summary ===") == 15


def test_an_unknown_or_unmeasured_case_is_an_error_that_helps(run) -> None:
    with pytest.raises(UsageError, match="Did you mean 'bert/eager/fp32/batch=1/seq=128'"):
        trtexec.render(run, "bert/eager/fp32/batch=1/seq=12")
    with pytest.raises(UsageError, match="nothing was measured of bert/aoti"):
        trtexec.render(run, "bert/aoti/fp32/batch=1/seq=128")


@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=300), st.sampled_from([90, 95, 99]))
def test_a_percentile_is_a_sample_that_leaves_at_most_that_share_above(samples, percent) -> None:
    ordered = sorted(samples)
    value = trtexec.percentile(ordered, percent)
    above = sum(sample > value for sample in ordered)
    assert value in ordered
    assert above * 100 <= (100 - percent) * len(ordered)


def test_percentiles_match_trtexec_on_a_published_rule() -> None:
    ordered = list(range(1, 1001))
    assert [trtexec.percentile(ordered, p) for p in (90, 95, 99)] == [900, 950, 990]
    assert trtexec.percentile([7], 99) == 7
