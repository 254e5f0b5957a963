"""What plots set side by side, from runs whose times are known."""

from __future__ import annotations

import msgspec
import pytest

from bench.analysis import series
from bench.analysis.pool import gather
from bench.analysis.rows import rows
from bench.model.run import Measurement, Phase, Run, Warning, Work
from tests.report.conftest import MS, accuracy, case, example, make, record
from tests.report.html.kit import renamed


def timed(of, latency_ms: float, rate: float, **fields):
    """A record of one latency and one rate."""
    measured = (
        Measurement(boundary="latency", samples=(int(latency_ms * MS),) * 60, batch=of.batch),
        Measurement(boundary="throughput", samples=(), batch=of.batch, calls=int(rate), window_ns=of.batch * 1000 * MS),
    )
    return record(of, latency_ms, measurements=measured, **fields)


def ids(run: Run) -> dict[str, object]:
    return {of.id: of for of in run.header.cases}


def test_the_front_are_the_accurate_cases_that_none_beats_in_both() -> None:
    quick, slow, beaten = case("net", "a"), case("net", "b", batch=8), case("net", "c", batch=8)
    wrong, other = case("net", "d"), case("other", "a")
    cases = [quick, slow, beaten, wrong, other]
    figures = [(1.0, 100), (4.0, 300), (5.0, 290), (0.5, 900), (9.0, 1)]
    records = [timed(of, *each) for of, each in zip(cases, figures, strict=True)]
    records[3] = msgspec.structs.replace(records[3], accuracy=accuracy(False, why="wrong"))
    run = make(cases, records)
    assert series.front(rows(run), ids(run)) == {quick.id, slow.id, other.id}


def test_sequences_of_another_length_are_no_rivals() -> None:
    short = case("bert", "a", symbols={"batch": 1, "seq": 128})
    long = case("bert", "a", symbols={"batch": 1, "seq": 512})
    run = make([short, long], [timed(short, 1.0, 100), timed(long, 9.0, 10)])
    assert series.front(rows(run), ids(run)) == {short.id, long.id}


def test_scales_are_against_the_smallest_batch() -> None:
    cases = [case("net", "eager", batch=n) for n in (8, 1, 32)]
    alone = case("net", "aoti")
    records = [timed(of, 1.0, rate) for of, rate in zip(cases, (400, 100, 800), strict=True)]
    run = make([*cases, alone], [*records, timed(alone, 1.0, 50)])
    scales = series.scales(rows(run), ids(run))
    assert {of.batch: scales[of.id].gain for of in cases} == pytest.approx({1: 1.0, 8: 4.0, 32: 8.0})
    assert len({scales[of.id].key for of in cases}) == 1
    assert alone.id not in scales


def test_without_a_saturated_loop_rates_are_batches_over_times() -> None:
    cases = [case("net", "eager", batch=n) for n in (1, 4)]
    records = []
    for of in cases:
        whole = timed(of, 2.0, 1)
        records.append(msgspec.structs.replace(whole, measurements=whole.measurements[:1]))
    run = make(cases, records)
    scales = series.scales(rows(run), ids(run))
    assert [scales[of.id].rate.value for of in cases] == pytest.approx([500.0, 2000.0])
    assert scales[cases[1].id].gain == pytest.approx(4.0)


def test_a_start_has_its_steps_in_order_and_says_what_has_no_time() -> None:
    of = case("net", "aoti")
    phases = (
        Phase(name="prestart", ns=9_000),
        Phase(name="import", ns=20),
        Phase(name="build", ns=500, cold=False),
        Phase(name="export", ns=70, beside=True),
        Phase(name="deserialize", ns=3),
        Phase(name="load", ns=4),
        Phase(name="first_call", ns=5),
        Phase(name="measure", ns=9_000),
    )
    run = make([of], [record(of, 1.0, phases=phases)])
    start = series.start(rows(run)[0], gather(run)[0])
    assert start is not None
    assert [(step.name, step.ns, step.warm) for step in start.steps] == [
        ("compile or build", 500, True), ("import", 20, False), ("load", 7, False), ("first call", 5, False),
    ]  # fmt: skip
    assert (start.total_ns, start.beside) == (532, ("export",))
    none = make([of], [record(of, 1.0, phases=(Phase(name="measure", ns=1),))])
    assert series.start(rows(none)[0], gather(none)[0]) is None


@pytest.mark.parametrize(("intensity", "above"), [(2, 2e9), (1000, 50e9)])
def test_a_roof_is_the_lower_of_bandwidth_and_rate(intensity: int, above: float) -> None:
    of = case("net", "eager")
    work = Work(flops=intensity * 1000, bytes=1000, bound="memory", fraction={"latency": 0.25})
    run = make([of], [record(of, 1.0, work=work)])
    roof = series.roof(rows(run)[0], gather(run)[0], {"fp32": 50e9, "copy": 1e9})
    assert roof == series.Roof(intensity=intensity, achieved=0.25 * above, roof=above)
    assert series.roof(rows(run)[0], gather(run)[0], {"fp16": 50e9, "copy": 1e9}) is None


def test_speeds_of_inaccurate_cases_are_those_that_rows_withhold() -> None:
    run = example(3)
    table = rows(run)
    speeds = series.unsound_speeds(run, table, gather(run))
    wrong = [row for row in table if row.score and not row.score.ok]
    assert set(speeds) == {row.case for row in wrong}
    assert {row.speed for row in wrong} == {None}
    row = next(row for row in wrong if row.model == "bert")
    base = next(other for other in table if other.label == "bert/eager/fp32/batch=1/seq=128")
    assert speeds[row.case].ratio == pytest.approx(base.times["latency"].value / row.times["latency"].value, rel=0.01)


def test_a_case_whose_calls_are_not_alike_has_no_speed_even_with_a_mark() -> None:
    base, varying, changing = case("net", "eager"), case("net", "inductor"), case("net", "torchscript")
    records = [
        record(base, 2.0),
        record(varying, 1.0, accuracy=msgspec.structs.replace(accuracy(False), varies=True)),
        record(changing, 1.0, warnings=(Warning(kind="StateChanges", figures={}),)),
    ]
    run = make([base, varying, changing], records)
    assert series.unsound_speeds(run, rows(run), gather(run)) == {}


def machines(replicates: int) -> tuple[Run, Run]:
    """One case on two machines, of which the second takes half the time."""
    of = case("net", "eager")
    slow, quick = (
        make([of], [record(of, ms, n) for n in range(replicates)], replicates, path=f"{ms}.jsonl") for ms in (2.0, 1.0)
    )
    there = msgspec.structs.replace(quick.header.environments["default"], device="Other CPU")
    return slow, renamed(quick, "20261124T101500Z-smoke-1a2b3c4", environments={"default": there})


def test_a_machine_is_set_against_that_with_the_most_cases() -> None:
    slow, quick = machines(3)
    (ratio,) = series.of_machines([slow, quick], [0, 1])
    assert (ratio.run, ratio.base_run) == (quick.header.run, slow.header.run)
    assert ratio.ratio == pytest.approx(2.0, rel=0.02)
    assert ratio.low is not None
    assert ratio.high is not None
    assert ratio.low < ratio.ratio < ratio.high
    assert ratio.verdict == "FASTER"
    assert series.of_machines([slow, quick], [0, 0]) == []


def test_a_machine_with_other_questions_is_no_base() -> None:
    slow, quick = machines(3)
    many = [case("other", "eager", batch=n) for n in range(1, 9)]
    larger = renamed(make(many, [record(of, 1.0) for of in many]), "20261122T101500Z-large-1a2b3c4")
    (ratio,) = series.of_machines([larger, slow, quick], [0, 1, 2])
    assert (ratio.run, ratio.base_run) == (quick.header.run, slow.header.run)


def test_one_process_a_side_has_no_interval() -> None:
    (ratio,) = series.of_machines([*machines(1)], [0, 1])
    assert (ratio.low, ratio.high, ratio.verdict) == (None, None, "INCONCLUSIVE")


def test_toolchains_of_a_run_are_set_against_the_first() -> None:
    first, second = case("net", "eager"), case("net", "eager", toolchain="old")
    run = make([first, second], [record(first, 1.0), record(second, 2.0)])
    (ratio,) = series.of_toolchains(run)
    assert (ratio.base, ratio.case) == (first.id, second.id)
    assert ratio.ratio == pytest.approx(0.5, rel=0.02)
    assert series.of_toolchains(example(1)) == []


def test_a_history_has_the_runs_of_one_machine_from_old_to_new() -> None:
    of, other = case("net", "eager"), case("net", "aoti")
    new = make([of, other], [record(of, 1.0), record(other, 1.0)])
    old = renamed(make([of], [record(of, 1.1)]), "20261101T101500Z-smoke-1a2b3c4", created="2026-11-01T10:15:00+00:00")
    tables = [rows(new), rows(old)]
    ((whole,),) = series.of_runs([new, old], tables, [0, 0])
    assert whole == ([(old.header.run, of.id), (new.header.run, of.id)], ())
    assert series.of_runs([new, old], tables, [0, 1]) == []
