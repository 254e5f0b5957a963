"""Leaders and findings of several runs."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from bench.analysis import leaders, overview
from bench.analysis.pool import gather
from bench.analysis.rows import rows
from bench.model.run import Failure, Run, Warning, Work
from bench.model.suite import Input
from tests.report.conftest import accuracy, case, example, make, record
from tests.report.html.kit import renamed


def looked_at(*runs: Run) -> tuple[list[leaders.Leader], list[overview.Highlight]]:
    tables = [rows(run) for run in runs]
    pools = [gather(run) for run in runs]
    chosen = leaders.best(runs, tables, pools, overview.machines(runs)[1])
    return chosen, overview.findings(runs, tables, pools, chosen)


def test_a_leader_is_the_fastest_accurate_case_with_the_margin_to_the_next() -> None:
    run = example(3)
    chosen, _ = looked_at(run)
    labels = {c.id: c.label for c in run.header.cases}
    first = chosen[0]
    assert "max-autotune" in labels[first.case]
    assert "bert/inductor/fp32" in labels[first.runner_up]  # onnxruntime would be next, and is inaccurate
    assert first.margin is not None
    assert first.margin.ratio == pytest.approx(1.24 / 1.10, rel=0.02)
    assert first.margin.low is not None
    assert first.margin.low > 1
    assert first.rivals == 4


def test_a_case_without_an_output_to_compare_does_not_lead() -> None:
    cases = [case("bert", backend) for backend in ("eager", "inductor", "torchscript")]
    output = msgspec.structs.replace(accuracy(cosine=None).outputs[0], empty=True)
    empty = msgspec.structs.replace(accuracy(), outputs=(output,), empty=True)
    scores = (empty, accuracy(), accuracy())
    records = [record(of, 1.0 + n, replicate, accuracy=score)
               for n, (of, score) in enumerate(zip(cases, scores, strict=True)) for replicate in range(3)]  # fmt: skip
    chosen, _ = looked_at(make(cases, records, replicates=3))
    assert [leader.case for leader in chosen] == [cases[1].id]


def test_cases_that_cannot_be_told_from_the_leader_are_ties_and_not_the_next() -> None:
    near, same, far = case("net", "eager"), case("net", "inductor"), case("net", "torchscript")
    records = [record(of, ms, n) for n in range(3) for of, ms in ((near, 1.0), (same, 1.0), (far, 2.0))]
    chosen, _ = looked_at(make([near, same, far], records, 3))
    (leader,) = chosen
    assert {leader.case, *leader.ties} == {near.id, same.id}
    assert leader.runner_up == far.id


def on_day(day: int, processes: dict[str, int]) -> Run:
    """A run of a day with so many processes of each backend."""
    cases = [case("net", backend) for backend in processes]
    records = [record(of, 1.0 + at, n) for at, of in enumerate(cases) for n in range(processes[of.backend])]
    created = f"2026-11-{day}T00:00:00+00:00"
    return renamed(make(cases, records, max(processes.values())), f"202611{day}T000000Z-net-1a2b3c4", created=created)


BACKENDS = ("eager", "inductor", "torchscript", "onnxruntime")


@pytest.mark.parametrize(
    ("runs", "day"),
    [
        # The latest, if it ranks more than half of the cases of any.
        ([(20, dict.fromkeys(BACKENDS, 1)), (21, dict.fromkeys(BACKENDS[:3], 1))], 21),
        ([(21, dict.fromkeys(BACKENDS, 1)), (20, dict.fromkeys(BACKENDS, 1))], 21),
        ([(20, dict.fromkeys(BACKENDS, 1)), (21, dict.fromkeys(BACKENDS[:2], 1))], 20),
        # Of these one whose ratios have intervals before a later and a broader one without.
        ([(20, dict.fromkeys(BACKENDS[:3], 2)), (21, dict.fromkeys(BACKENDS, 1))], 20),
        ([(20, dict.fromkeys(BACKENDS, 3)), (21, dict.fromkeys(BACKENDS[:3], 2)), (22, {"eager": 1})], 21),
        ([(20, dict.fromkeys(BACKENDS, 1)), (21, dict.fromkeys(BACKENDS[:2], 7))], 20),
        # Several processes of one side alone give a ratio no interval.
        ([(20, dict.fromkeys(BACKENDS, 1)), (21, {"eager": 7, "inductor": 1, "torchscript": 1})], 21),
        ([(20, {"eager": 2, "inductor": 2}), (21, {"eager": 7, "inductor": 1, "torchscript": 1})], 20),
        ([(20, {"eager": 2, "inductor": 2}), (21, {"eager": 1, "inductor": 7, "torchscript": 7})], 20),
    ],
)
def test_of_several_runs_the_latest_broad_one_whose_ratios_have_intervals_counts(
    runs: list[tuple[int, dict[str, int]]], day: int
) -> None:
    (leader,), _ = looked_at(*(on_day(*run) for run in runs))
    assert leader.run.startswith(f"202611{day}")
    assert leader.elsewhere == len(runs) - 1


def test_a_run_that_sets_a_backend_against_itself_is_not_broad() -> None:
    broad = on_day(20, {"eager": 1, "inductor": 1})
    pair = [case("net", "eager"), case("net", "eager", streams=2)]
    records = [record(of, 1.0 + at, n) for at, of in enumerate(pair) for n in range(7)]
    alone = renamed(make(pair, records, 7), "20261121T000000Z-net-1a2b3c4", created="2026-11-21T00:00:00+00:00")
    (leader,), _ = looked_at(broad, alone)
    assert (leader.run, leader.backends, leader.rivals) == (broad.header.run, 2, 2)


def test_a_run_without_its_baseline_does_not_take_the_place_of_one_that_has_it() -> None:
    whole = on_day(20, {"eager": 1, "inductor": 1, "torchscript": 1})
    without = on_day(21, {"inductor": 7, "torchscript": 7})
    (leader,), _ = looked_at(whole, without)
    assert (leader.run, leader.has_baseline) == (whole.header.run, True)
    (alone,), _ = looked_at(without)
    assert (alone.run, alone.has_baseline) == (without.header.run, False)


def timed(day: int, times: dict[str, float], processes: int = 1, flops: int = 100_000, side: int = 224) -> Run:
    """A run of a day with these backends, each of so many ms, of a model of so many FLOPs with images of that size."""
    inputs = {"x": Input(shape=("batch", 3, side, side))}
    cases = [msgspec.structs.replace(case("net", backend), inputs=inputs) for backend in times]
    work = Work(flops=flops, bytes=1)
    records = [
        record(of, ms, n, work=work) for of, ms in zip(cases, times.values(), strict=True) for n in range(processes)
    ]
    created = f"2026-11-{day}T00:00:00+00:00"
    return renamed(make(cases, records, processes), f"202611{day}T000000Z-net-1a2b3c4", created=created)


COMPILED = {"eager": 4.0, "inductor": 2.0}


@pytest.mark.parametrize(
    ("other", "day"),
    [
        (timed(20, {"eager": 4.0, "onnxruntime": 1.0}), 20),  # earlier and of one process, and far faster
        (timed(20, {"eager": 4.0, "onnxruntime": 1.96}), 21),  # sessions differ by as much
        (timed(20, {"eager": 4.0, "onnxruntime": 1.0}, flops=99_000), 21),  # another network of the same name
        (timed(20, {"eager": 4.0, "onnxruntime": 1.0}, flops=99_901), 20),  # it, but for its last layer
        (timed(20, {"eager": 4.0, "inductor": 1.0}), 21),  # the later time of the same case counts
    ],
)
def test_a_run_with_a_much_faster_case_of_its_own_counts_before_a_later_one(other: Run, day: int) -> None:
    (leader,), _ = looked_at(timed(21, COMPILED, processes=3), other)
    assert leader.run.startswith(f"202611{day}")
    assert leader.faster is None


def test_the_later_time_of_a_case_counts_before_an_earlier_one_with_an_interval() -> None:
    (leader,), _ = looked_at(timed(20, COMPILED, processes=3), timed(21, {"eager": 4.0, "inductor": 1.0}))
    assert leader.run.startswith("20261121")


def test_of_runs_that_are_faster_by_about_as_much_the_latest_counts() -> None:
    (leader,), _ = looked_at(
        timed(19, {"eager": 4.0, "onnxruntime": 1.00}),
        timed(20, {"eager": 4.0, "torchscript": 1.02}),
        timed(21, COMPILED),
    )
    assert leader.run.startswith("20261120")


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (timed(20, {"onnxruntime": 1.0}), "narrow"),
        (timed(20, {"onnxruntime": 1.0, "torchscript": 1.1}), "no_baseline"),
        (timed(20, {"onnxruntime": 1.96}), ""),
        (timed(20, {"onnxruntime": 1.0}, flops=99_000), ""),
        (timed(20, {"inductor": 1.0}), ""),
    ],
)
def test_a_lower_time_of_a_run_that_does_not_count_is_named_with_the_reason(other: Run, why: str) -> None:
    (leader,), _ = looked_at(timed(21, COMPILED, processes=3), other)
    assert leader.run.startswith("20261121")
    assert (leader.faster.why if leader.faster else "") == why
    if leader.faster:
        assert (leader.faster.run, leader.faster.rivals) == (other.header.run, len(other.header.cases))


def test_a_lower_time_of_an_engine_of_level_0_is_named_so() -> None:
    (leader,), _ = looked_at(of_level(20, None, 3), of_level(21, 0))
    assert leader.faster is not None
    assert leader.faster.why == "level_zero"


def test_images_of_another_size_are_another_line_even_if_symbols_are_the_same() -> None:
    large = timed(20, {"eager": 40.0, "onnxruntime": 30.0}, flops=9, side=1024)
    chosen, _ = looked_at(timed(21, COMPILED), large)
    assert [(leader.run[:8], leader.shapes) for leader in chosen] == [
        ("20261121", ((1, 3, 224, 224),)),
        ("20261120", ((1, 3, 1024, 1024),)),
    ]
    (alone,), _ = looked_at(large)
    assert alone.shapes == ()


def of_level(day: int, *levels: int | None, asked: bool = True) -> Run:
    """A run of a day with an engine of each level, the lower the faster, and eager for None.

    The suite asks for the levels, or the builder alone tells them.
    """
    cases, records = [], []
    for at, level in enumerate(levels):
        options = {"optimization_level": level} if asked else {}
        of = case("net", "eager" if level is None else "tensorrt", options={} if level is None else options | {"n": at})
        fairness = {} if level is None or asked else {"optimization_level": level}
        cases.append(of)
        records += [record(of, 8.0 if level is None else 1.0 + level, n, fairness=fairness) for n in range(2)]
    created = f"2026-11-{day}T00:00:00+00:00"
    return renamed(make(cases, records, 2), f"202611{day}T000000Z-net-1a2b3c4", created=created)


@pytest.mark.parametrize(
    ("runs", "day", "level_zero"),
    [
        ([(20, None, 3), (21, None, 0)], 20, ""),  # an engine that was built to be fast, though the other is later
        ([(20, None, 3), (21, None, 0, 0)], 20, ""),  # whatever the other has more
        ([(20, None), (21, None, 0)], 21, "first"),  # eager alone is compared with nothing
        ([(20, 0), (21, None, 0)], 21, "first"),
        ([(20, None, 0), (21, 0)], 20, "first"),
        ([(20, None, 0)], 20, "first"),
        ([(20, 0)], 20, "all"),
        ([(20, None, 0, 5)], 20, ""),  # it is faster than one of the highest level
    ],
)
def test_engines_of_optimization_level_0_do_not_lead_where_there_are_others(
    runs: list[tuple[int, int | None]], day: int, level_zero: str
) -> None:
    (leader,), _ = looked_at(*(of_level(*run) for run in runs))
    assert (leader.run[:8], leader.level_zero) == (f"202611{day}", level_zero)


def test_the_level_is_the_builders_where_the_suite_does_not_say_it() -> None:
    (leader,), _ = looked_at(of_level(20, None, 0, asked=False))
    assert leader.level_zero == "first"


def test_the_largest_gain_is_that_of_a_leader_over_its_baseline() -> None:
    _, findings = looked_at(example(3))
    gain = findings[0]
    assert (gain.kind, gain.count, gain.of) == ("gain", 3, 3)
    assert gain.value == pytest.approx(1.90 / 1.10, rel=0.05)


def test_host_bound_cases_are_counted_and_the_worst_is_named() -> None:
    cases = [case("net", backend) for backend in ("eager", "inductor", "torchscript")]
    bound = [
        (Warning(kind="HostBound", figures={"enqueue_ns": 3_000, "gpu_ns": 1_000, "graph": False}),),
        (Warning(kind="HostBound", figures={"enqueue_ns": 2_000, "gpu_ns": 1_000, "graph": False}),),
        (),
    ]
    records = [record(of, 1.0, boundaries=("gpu",), warnings=w) for of, w in zip(cases, bound, strict=True)]
    _, findings = looked_at(make(cases, records))
    assert findings[1] == overview.Highlight(
        kind="host_bound", count=2, of=3, run=findings[0].run or findings[1].run, case=cases[0].id, value=3.0
    )


UNSOUND: dict[str, dict[str, Any]] = {
    "inaccurate": {"accuracy": accuracy(False, 0.5)},
    "varying": {"accuracy": msgspec.structs.replace(accuracy(False), varies=True)},
    "changing": {"warnings": (Warning(kind="StateChanges", figures={"names": ["n"], "more": 0, "by": "program"}),)},
    "failed": {"failure": Failure(kind="Crash", stage="measure", message="SIGSEGV")},
}


@pytest.mark.parametrize("flaw", UNSOUND)
def test_no_finding_names_an_unsound_case_but_one_that_is_inaccurate(flaw: str) -> None:
    sound, unsound = case("net", "eager"), case("net", "inductor")
    bound, worse = (
        Warning(kind="HostBound", figures={"enqueue_ns": ns, "gpu_ns": 1_000, "graph": False}) for ns in (2_000, 9_000)
    )
    fields = UNSOUND[flaw] | {"warnings": (worse, *UNSOUND[flaw].get("warnings", ()))}
    records = [
        record(sound, 2.0, boundaries=("gpu",), warnings=(bound,)),
        record(unsound, 1.0, boundaries=("gpu",), **fields),
    ]
    _, (_, host_bound, inaccurate) = looked_at(make([sound, unsound], records))
    assert (host_bound.count, host_bound.of, host_bound.case, host_bound.value) == (1, 1, sound.id, 2.0)
    is_wrong = flaw == "inaccurate"
    assert (inaccurate.count, inaccurate.of) == (int(is_wrong), 1 + is_wrong)


@pytest.mark.parametrize(("outputs", "gains"), [(1, 1), (2, 2)], ids=["all", "one of two"])
def test_a_case_whose_accuracy_says_nothing_does_not_lead(outputs: int, gains: int) -> None:
    figures = {"constant": {"y": 0}, "repeated": [], "samples": 1, "outputs": outputs, "single": 0}
    blind = (Warning(kind="BlindReference", figures=figures),)
    cases = [case(model, backend) for model in ("net", "zeros") for backend in ("eager", "inductor")]
    times = (2.0, 1.0, 9.0, 1.0)
    records = [
        record(of, ms, n, warnings=blind if of.model == "zeros" else ())
        for of, ms in zip(cases, times, strict=True)
        for n in range(3)
    ]
    chosen, (gain, *_) = looked_at(make(cases, records, 3))
    assert [leader.case for leader in chosen] == [cases[1].id, cases[3].id][:gains]
    assert (gain.count, gain.of, gain.case) == (gains, gains, cases[1 if gains == 1 else 3].id)


def test_a_fast_inaccurate_case_is_set_against_the_leader() -> None:
    good, wrong, slow = case("net", "eager"), case("net", "inductor"), case("net", "torchscript")
    records = [
        record(good, 2.0),
        record(wrong, 1.0, accuracy=accuracy(False, 0.5)),
        record(slow, 4.0, accuracy=accuracy(False, 0.5)),
    ]
    _, findings = looked_at(make([good, wrong, slow], records))
    found = findings[2]
    assert (found.count, found.of, found.case, found.other) == (1, 3, wrong.id, good.id)
    assert found.value == pytest.approx(2.0, rel=0.05)


def test_engines_of_optimization_level_0_alone_have_no_fast_inaccurate_one() -> None:
    def beside(level: int | None) -> overview.Highlight:
        engines = [case("net", "tensorrt", options={"optimization_level": 0, "n": n}) for n in range(2)]
        records = [record(engines[0], 2.0), record(engines[1], 1.0, accuracy=accuracy(False, 0.5))]
        if level is not None:
            engines.append(case("net", "tensorrt", options={"optimization_level": level}))
            records.append(record(engines[-1], 4.0))
        return looked_at(make(engines, records))[1][2]

    alone, with_another = beside(None), beside(3)
    assert (alone.count, alone.of) == (0, 0)
    assert (with_another.count, with_another.of) == (1, 3)


def test_nothing_stands_out_of_a_run_without_results() -> None:
    chosen, findings = looked_at(make([case("net", "eager")], []))
    assert chosen == []
    assert [(finding.kind, finding.count, finding.case) for finding in findings] == [
        ("gain", 0, ""), ("host_bound", 0, ""), ("fast_inaccurate", 0, ""),
    ]  # fmt: skip
