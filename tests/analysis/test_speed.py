"""Which case a speed is against: the nearest of the baseline's, however many there are."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.analysis.compare import compare
from bench.analysis.rows import rows
from bench.analysis.speed import check_baseline, is_baseline, parts_of, size, with_precision
from bench.errors import UsageError
from bench.model.run import Measurement, Record, Run
from bench.model.suite import Case, named
from tests.report.conftest import make

CASES = st.builds(
    Case,
    model=st.just("net"),
    factory=st.just("zoo.py:net"),
    inputs=st.just({}),
    backend=st.sampled_from(["eager", "inductor"]),
    options=st.sampled_from([{}, {"mode": "max-autotune"}]),
    precision=st.sampled_from(["fp32", "fp16", "bf16"]),
    symbols=st.sampled_from([{"batch": 1}, {"batch": 8}]),
    toolchain=st.sampled_from(["default", "old"]),
    cuda_graph=st.booleans(),
    streams=st.integers(1, 3),
)
NAMES = ("eager", "inductor", "inductor[mode=max-autotune]", "eager/fp16", "eager@old", "inductor@default/fp32")


@pytest.mark.parametrize(
    ("baseline", "parts"),
    [
        ("eager", ("eager", "", "")),
        ("eager@old/fp32", ("eager", "/fp32", "@old")),
        ("fx2trt[data=a/b@c.npz]/int8@old", ("fx2trt[data=a/b@c.npz]", "/int8", "@old")),
        ("", ("", "", "")),
    ],
)
def test_a_baseline_has_a_backend_with_options_a_precision_and_a_toolchain(
    baseline: str, parts: tuple[str, str, str]
) -> None:
    assert parts_of(baseline) == parts


@pytest.mark.parametrize(
    ("baseline", "what"),
    [
        ("eager/fp16", "no case of eager has the precision 'fp16'"),
        ("eager@older", "no case of eager has the toolchain 'older'"),
        ("eager/fp16@older", "no case of eager has the precision 'fp16' and the toolchain 'older'"),
        ("eager/bf16@older", "no case of eager has the toolchain 'older'"),
        ("eager/bf16@old", "no case of eager has the precision 'bf16' and the toolchain 'old'"),
        ("eager/fp32/bf16", "no case has the backend 'eager/fp32/bf16'. Did you mean 'eager/fp32'?"),
        ("eger/fp32", "no case has the backend 'eger/fp32'. Did you mean 'eager/fp32'?"),
    ],
)
def test_a_baseline_that_no_case_has_is_refused_by_what_is_absent(baseline: str, what: str) -> None:
    others = (("default", "fp32"), ("default", "bf16"), ("old", "fp32"))
    cases = [
        Case(model="net", factory="", inputs={}, backend="eager", precision=precision, toolchain=toolchain)
        for toolchain, precision in others
    ]
    with pytest.raises(UsageError) as caught:
        check_baseline(cases, baseline)
    assert str(caught.value).partition("\n")[0] == what


def nearest(case: Case, others: list[Case], baseline: str) -> Case | None:
    """By comparison with each of the others: precision, the options that are named, toolchain, graph, streams."""

    def distance(other: Case) -> tuple[bool, ...]:
        return (
            other.precision != case.precision,
            not baseline.startswith(named(other.backend, other.options)) or not is_exact(other),
            other.toolchain != case.toolchain,
            other.cuda_graph,
            other.streams != case.streams,
        )

    def is_exact(other: Case) -> bool:
        return baseline.replace(named(other.backend, other.options), "", 1)[:1] in ("", "@", "/")

    able = [
        other
        for other in others
        if is_baseline(other, baseline)
        and size(other) == size(case)
        and (other.precision in (case.precision, "fp32") or with_precision(other, baseline))
    ]
    return min(able, key=distance, default=None)


@given(st.lists(CASES, min_size=1, max_size=25, unique_by=lambda case: case.id), st.sampled_from(NAMES))
def test_a_speed_is_against_the_nearest_case_of_the_baseline(cases: list[Case], baseline: str) -> None:
    if not any(is_baseline(case, baseline) for case in cases):
        return
    samples = tuple(range(1000, 1008))
    records = [
        Record(case=c.id, label=c.label, measurements=(Measurement(boundary="latency", samples=samples),))
        for c in cases
    ]
    for case, row in zip(cases, rows(make(cases, records), baseline), strict=True):
        expected = nearest(case, cases, baseline)
        assert (row.speed.against if row.speed else None) == (expected.label if expected else None)


def run_of(sides: dict[str, list[tuple[int, int]]]) -> Run:
    """One of a case of each backend, with the time in ns and the build of each of its processes."""
    cases = {name: Case(model="net", factory="zoo.py:net", inputs={}, backend=name) for name in sides}
    records = [
        Record(
            case=cases[name].id,
            label=cases[name].label,
            replicate=replicate,
            build=build,
            measurements=(Measurement(boundary="latency", samples=(ns,) * 8),),
        )
        for name, processes in sides.items()
        for replicate, (ns, build) in enumerate(processes)
    ]
    return make(list(cases.values()), records, max(len(processes) for processes in sides.values()))


@pytest.mark.parametrize(
    ("eager", "inductor"),
    [
        ([2_190_000, 2_190_001], [2_330_000, 2_332_000]),
        ([1_000_000, 1_000_000], [1_000_000, 1_000_000]),
        ([1_000_000, 1_010_000], [900_000, 901_000, 902_000, 930_000]),
    ],
)
def test_a_table_and_a_comparison_have_one_interval_of_a_ratio(eager: list[int], inductor: list[int]) -> None:
    run = run_of({"eager": [(ns, 0) for ns in eager], "inductor": [(ns, 0) for ns in inductor]})
    speed = rows(run, "eager")[1].speed
    (pair,) = compare([run], axis="backend").pairs
    assert speed is not None
    assert pair.verdict is not None
    assert pair.verdict.low is not None
    assert pair.verdict.high is not None
    assert speed.low is not None
    assert speed.low < speed.ratio < speed.high
    expected = pair.verdict.high, pair.verdict.ratio, pair.verdict.low
    assert (1 / speed.low, 1 / speed.ratio, 1 / speed.high) == pytest.approx(expected)


BUILDS = {
    "eager": [(1_000_000, 0), (1_001_000, 0), (1_030_000, 1), (1_031_000, 1)],
    "inductor": [(950_000, 0), (951_000, 0), (920_000, 1), (921_000, 1)],
}


def test_a_table_has_the_interval_of_a_comparison_where_a_run_has_several_builds() -> None:
    """And marks none as the fastest whose builds differ by more."""
    run = run_of(BUILDS)
    (pair,) = compare([run], axis="backend").pairs
    first, second = rows(run, "eager")
    assert (second.speed.low, second.speed.high) == pytest.approx((1 / pair.verdict.high, 1 / pair.verdict.low))
    assert second.speed.low < 1 < second.speed.high
    assert first.tied
    assert second.tied
