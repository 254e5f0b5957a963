"""A row's figures against the samples that they come from."""

import csv
import io
import math
import statistics
from typing import Any

import msgspec
import pytest

from bench.analysis.rows import Row, models, rows
from bench.errors import UsageError
from bench.model.run import Failure, Measurement, Record, Warning
from bench.model.suite import Case, Range
from bench.model.telemetry import GpuFigures, HostFigures, Telemetry
from bench.report import export, text
from bench.report.warnings import describe
from tests.report.conftest import accuracy, case, example, make, record


def by_label(found):
    return {row.label: row for row in found}


def test_one_process_gives_the_sample_median_with_an_interval_around_it() -> None:
    asked = case("bert", "eager")
    one = record(asked, 2.0)
    (row,) = rows(make([asked], [one]))
    figure = row.times["latency"]
    assert figure.value == statistics.median(one.measurements[0].samples)
    assert figure.processes == 1
    assert figure.low < figure.value < figure.high
    assert row.rate.low is None  # a single window has no spread


def test_several_processes_give_an_interval_over_their_medians_not_over_their_samples() -> None:
    asked = case("bert", "eager")
    found = [record(asked, 2.0, replicate) for replicate in range(5)]
    (row,) = rows(make([asked], found, replicates=5))
    medians = [statistics.median(one.measurements[0].samples) for one in found]
    figure = row.times["latency"]
    assert figure.processes == 5
    assert min(medians) <= figure.value <= max(medians)
    assert figure.low < figure.value < figure.high
    doubled = [msgspec.structs.replace(one, measurements=tuple(twice(x) for x in one.measurements)) for one in found]
    (again,) = rows(make([asked], doubled, replicates=5))
    same = again.times["latency"]  # more samples of the same processes are no more evidence
    assert (same.value, same.low, same.high) == (figure.value, figure.low, figure.high)


def twice(measured: Measurement) -> Measurement:
    return msgspec.structs.replace(measured, samples=measured.samples * 2)


def test_processes_that_differ_by_more_than_their_samples_explain_are_told() -> None:
    asked = case("bert", "eager")
    even = [record(asked, 2.0, replicate=index, boundaries=("gpu",)) for index in range(4)]
    assert rows(make([asked], even))[0].warnings == ()
    apart = [record(asked, 2.0 + 0.1 * (index % 2), replicate=index, boundaries=("gpu",)) for index in range(4)]
    (warning,) = rows(make([asked], apart))[0].warnings
    assert warning.kind == "Spread"
    assert "process medians of gpu lie from 1." in describe(warning).text
    assert "cuda_graph: on" in describe(warning).hint
    assert rows(make([asked], apart[:2]))[0].warnings == ()
    host = [record(asked, 2.0 + index % 2, replicate=index) for index in range(4)]
    (warning,) = rows(make([asked], host))[0].warnings
    assert "cuda_graph" not in describe(warning).hint


def of_processes(asked: Case, times: list[float]) -> Row:
    records = [record(asked, time, replicate=index, boundaries=("gpu",)) for index, time in enumerate(times)]
    return rows(make([asked], records))[0]


def test_two_states_and_drift_of_processes_are_told() -> None:
    asked = case("bert", "eager")
    (states,) = of_processes(asked, [0.531, 0.548, 0.531, 0.531, 0.548, 0.531, 0.548]).warnings
    assert (states.kind, states.figures["level"], states.figures["boundary"]) == ("TwoStates", "processes", "gpu")
    assert states.figures["share"] == pytest.approx(3 / 7)
    kinds = [warning.kind for warning in of_processes(asked, [2.0 + 0.02 * n for n in range(7)]).warnings]
    assert kinds == ["Spread", "Drift"]
    assert of_processes(asked, [2.0 + 0.0001 * n for n in range(7)]).warnings == ()


def test_two_states_of_calls_are_told_of_processes_that_are_alike() -> None:
    asked = case("bert", "eager")
    samples = tuple(531_000 + 17_000 * (n % 3 == 0) + n for n in range(200))
    records = [
        Record(
            case=asked.id, label=asked.label, replicate=index,
            measurements=(Measurement(boundary="latency", samples=samples),),
        )
        for index in range(2)
    ]  # fmt: skip
    (states,) = rows(make([asked], records))[0].warnings
    assert (states.kind, states.figures["level"], states.figures["processes"]) == ("TwoStates", "samples", 2)


def test_rate_counts_inferences_not_calls() -> None:
    asked = case("bert", "eager", batch=8)
    (row,) = rows(make([asked], [record(asked, 10.0)]))
    loop = record(asked, 10.0).measurements[-1]
    assert row.rate.value == pytest.approx(8 * loop.calls / (loop.window_ns / 1e9))


def test_a_measurement_repeated_for_the_same_replicate_counts_once_and_the_last_wins() -> None:
    asked = case("bert", "eager")
    broken = Record(case=asked.id, label=asked.label, failure=Failure(kind="Crash", stage="load", message="x"))
    (row,) = rows(make([asked], [broken, record(asked, 2.0)]))
    assert (row.processes, row.failed, row.failure) == (1, 0, None)


@pytest.mark.parametrize("replicates", [1, 3])
def test_speed_is_baseline_time_over_own_time_and_has_an_interval_from_two_processes_on(replicates) -> None:
    slow, fast = case("bert", "eager"), case("bert", "inductor")
    found = [record(c, ms, r) for r in range(replicates) for c, ms in ((slow, 2.0), (fast, 1.0))]
    base, row = rows(make([slow, fast], found, replicates))
    assert row.speed.ratio == pytest.approx(2.0, rel=0.05)
    if replicates > 1:
        assert row.speed.low < row.speed.ratio < row.speed.high
    else:  # nothing is known of how its processes differ
        assert (row.speed.low, row.speed.high) == (None, None)
    assert row.speed.within == (replicates == 1)
    assert row.speed.against == slow.label
    assert (base.speed.ratio, base.speed.low) == (1.0, None)


def test_the_baseline_is_the_same_precision_where_there_is_one_else_fp32() -> None:
    cases = [case("bert", "eager"), case("bert", "eager", "fp16"), case("bert", "inductor", "fp16"),
             case("bert", "inductor", "bf16")]  # fmt: skip
    found = by_label(rows(make(cases, [record(c, 2.0) for c in cases])))
    assert found["bert/inductor/fp16/batch=1/seq=128"].speed.against == "bert/eager/fp16/batch=1/seq=128"
    assert found["bert/inductor/bf16/batch=1/seq=128"].speed.against == "bert/eager/fp32/batch=1/seq=128"


def test_another_size_or_l2_state_or_model_is_no_baseline() -> None:
    cases = [case("bert", "eager", batch=8), case("resnet18", "eager"), case("bert", "eager", l2="cold"),
             case("bert", "inductor")]  # fmt: skip
    assert rows(make(cases, [record(c, 2.0) for c in cases]))[-1].speed is None


def test_a_baseline_can_be_named_with_its_options_or_without() -> None:
    cases = [case("bert", "eager"), case("bert", "inductor[mode=max-autotune]"), case("bert", "inductor")]
    run = make(cases, [record(c, 2.0) for c in cases])
    assert rows(run, "inductor")[0].speed.against == cases[2].label  # the one without options first
    assert rows(run, "inductor[mode=max-autotune]")[0].speed.against == cases[1].label


def test_the_baseline_is_of_the_same_toolchain_unless_it_is_named_with_one() -> None:
    cases = [case("bert", name, toolchain=place) for place in ("default", "old") for name in ("eager", "inductor")]
    run = make(cases, [record(c, 2.0) for c in cases])
    assert [row.speed.against for row in rows(run)] == [cases[0].label] * 2 + [cases[2].label] * 2
    for place, base in (("default", cases[0]), ("old", cases[2])):
        assert {row.speed.against for row in rows(run, f"eager@{place}")} == {base.label}
    with pytest.raises(UsageError) as caught:
        rows(run, "eager@odl")
    assert "eager@default, eager@old" in caught.value.fix


def test_an_unknown_baseline_is_an_error_that_suggests_and_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match=r"'inductr'.*Did you mean 'inductor'") as caught:
        rows(example(1), "inductr")
    assert "onnxruntime" in caught.value.fix


def test_an_inaccurate_case_keeps_its_times_and_neither_ranks_nor_serves_as_baseline() -> None:
    cases = [case("bert", name) for name in ("eager", "inductor", "torchscript")]
    wrong = record(cases[1], 0.1, accuracy=accuracy(False, 0.2, why="y: cosine 0.2 < 0.99999"))
    run = make(cases, [record(cases[0], 2.0), wrong, record(cases[2], 1.0)])
    _, inaccurate, right = rows(run)
    assert inaccurate.times["latency"].value < right.times["latency"].value
    assert (inaccurate.ranked, inaccurate.fastest, inaccurate.speed) == (False, False, None)
    assert right.fastest
    assert [row.speed for row in rows(run, "inductor")] == [None, None, None]


def test_one_inaccurate_process_makes_the_case_inaccurate() -> None:
    asked = case("bert", "eager")
    found = [record(asked, 2.0, 0), record(asked, 2.0, 1, accuracy=accuracy(False, None, nan=3, why="NaN"))]
    (row,) = rows(make([asked], found, replicates=2))
    assert (row.score.ok, row.score.cosine, row.score.nan, row.ranked) == (False, None, 3, False)


def test_a_case_of_which_a_process_failed_shows_its_times_and_does_not_rank() -> None:
    asked, other = case("bert", "eager"), case("bert", "inductor")
    crash = Record(case=asked.id, label=asked.label, replicate=1,
                     failure=Failure(kind="Crash", stage="measure", message="SIGSEGV"))  # fmt: skip
    row, _ = rows(make([asked, other], [record(asked, 2.0), crash, record(other, 3.0)], replicates=2))
    assert (row.processes, row.failed, row.ranked) == (1, 1, False)
    assert "latency" in row.times


def test_a_case_without_a_record_is_a_row_without_figures() -> None:
    cases = [case("bert", "eager"), case("bert", "aoti")]
    row = rows(make(cases, [record(cases[0], 2.0)]))[1]
    assert (row.processes, row.failure, row.times, row.rate, row.ranked) == (0, None, {}, None, False)


def test_light_is_of_the_time_that_is_shown() -> None:
    asked = case("bert", "eager")
    for several in ((1.0, 4.0, 4.0), (1.0, 2.0), (3.0,)):
        run = make([asked], [record(asked, ms, n) for n, ms in enumerate(several)], replicates=len(several))
        (row,) = rows(run)
        assert row.light is not None
        assert row.light * row.times["latency"].value == pytest.approx(0.5e6, rel=0.02)  # ns at the ceiling


@pytest.mark.parametrize("flaw", ["inaccurate", "varying", "changing", "failed"])
def test_an_unsound_case_has_times_and_no_ratio(flaw: str) -> None:
    fields: dict[str, Any] = {
        "inaccurate": {"accuracy": accuracy(False, 0.5)},
        "varying": {"accuracy": msgspec.structs.replace(accuracy(False), varies=True)},
        "changing": {"warnings": (Warning(kind="OutputsChange", figures={}),)},
        "failed": {"failure": Failure(kind="Crash", stage="measure", message="SIGSEGV")},
    }
    of, base = case("bert", "inductor"), case("bert", "eager")
    row, other = rows(make([of, base], [record(of, 1.0, **fields[flaw]), record(base, 2.0)]))
    assert (row.ranked, row.speed, row.light) == (False, None, None)
    assert "latency" in row.times
    assert other.light is not None


def test_fastest_is_told_per_size_and_only_where_there_is_a_choice() -> None:
    cases = [case("bert", "eager"), case("bert", "inductor"), case("bert", "eager", batch=8)]
    found = rows(make(cases, [record(c, ms) for c, ms in zip(cases, (2.0, 1.0, 0.5), strict=True)]))
    assert [row.fastest for row in found] == [False, True, False]


def test_speed_uses_the_gpu_boundary_where_the_baseline_has_it_and_never_mixes_it_with_unheld() -> None:
    cases = [case("bert", name) for name in ("eager", "inductor", "torchscript")]
    found = [
        record(cases[0], 2.0, boundaries=("gpu", "latency")),
        record(cases[1], 1.0, boundaries=("gpu", "latency")),
        record(cases[2], 1.0, boundaries=("gpu_unheld", "latency")),
    ]
    _, held, unheld = rows(make(cases, found))
    assert held.speed.boundary == "gpu"
    assert held.light == pytest.approx(0.6)
    assert (unheld.speed, unheld.ranked) == (None, False)


def test_gpu_memory_is_shown_before_host_memory_and_the_highest_process_counts() -> None:
    asked = case("bert", "eager")
    memory = lambda gpu: Telemetry(host=HostFigures(peak_rss_bytes=9), gpu=GpuFigures(gpu_memory_bytes=gpu))  # noqa: E731
    found = [record(asked, 2.0, r, telemetry=memory(5 + r)) for r in range(2)]
    (row,) = rows(make([asked], found, replicates=2))
    assert (row.memory, row.memory_of) == (6, "gpu")


def test_energy_is_the_median_of_what_processes_told_and_shown_only_where_one_did() -> None:
    asked = case("bert", "eager")
    found = [record(asked, 2.0, r, telemetry=Telemetry(inference_j=j)) for r, j in enumerate((0.5, 0.75, 2.0))]
    run = make([asked], found, replicates=3)
    (row,) = rows(run)
    assert row.energy == 0.75
    assert "750 mJ" in text.render(run, width=160)
    assert "| energy |" in export.markdown(run)
    assert "energy" not in export.markdown(make([asked], [record(asked, 2.0)]))


def test_telemetry_without_a_figure_is_no_figure() -> None:
    asked = case("bert", "eager")
    empty = Telemetry(host=HostFigures(), gpu=GpuFigures(), other={"inference_j": "much", "gpu_memory_bytes": [1]})
    found = [record(asked, 2.0, 0, telemetry=empty), record(asked, 2.0, 1, telemetry=Telemetry(inference_j=2))]
    run = make([asked], found, 2)
    (row,) = rows(run)
    assert (row.energy, row.memory, row.memory_of) == (2.0, None, "")
    assert "bert" in text.render(run)


def test_phases_keep_cold_and_warm_apart() -> None:
    asked = case("bert", "eager")
    (row,) = rows(make([asked], [record(asked, 2.0, r) for r in range(3)], replicates=3))
    compile_ = next(phase for phase in row.phases if phase.name == "compile")
    assert (compile_.cold_ns, compile_.warm_ns) == (30e9, 2e9)


def test_fairness_that_differs_between_processes_is_told_in_full() -> None:
    asked = case("bert", "eager")
    found = [record(asked, 2.0, r, fairness={"cache": ("cold", "warm")[r], "layout": False}) for r in range(2)]
    run = make([asked], found, replicates=2)
    assert rows(run)[0].fairness == {"cache": ("cold", "warm"), "layout": (False,)}
    other = case("bert", "inductor")
    run = make([asked, other], [*found, record(other, 2.0, fairness={"cache": "off", "layout": True})], replicates=2)
    shown = text.render(run, width=200)
    assert "unequal: cache: cold or warm (eager), off (inductor)" in shown
    assert "unequal: layout: off (eager), on (inductor)" in shown


def test_setting_holds_what_model_backend_precision_and_sizes_do_not_say() -> None:
    asked = case("bert", "eager", cuda_graph=True, streams=2, dynamic={"batch": Range(min=1, opt=8, max=32)})
    (row,) = rows(make([asked], [record(asked, 2.0)]))
    assert row.setting == "batch in 1..32 graph streams=2"


def test_rows_of_a_model_stand_by_size_so_that_equal_work_is_side_by_side() -> None:
    cases = [case("bert", name, batch=batch) for name in ("eager", "inductor") for batch in (8, 1)]
    table = models(rows(make(cases, [record(c, 2.0) for c in cases])))
    assert [(row.symbols["batch"], row.backend) for row in table["bert"]] == [
        (1, "eager"), (1, "inductor"), (8, "eager"), (8, "inductor")
    ]  # fmt: skip


def test_too_few_samples_give_a_time_without_an_interval() -> None:
    asked = case("bert", "eager")
    short = record(asked, 2.0, measurements=(Measurement(boundary="latency", samples=(100, 200)),))
    figure = rows(make([asked], [short]))[0].times["latency"]
    assert (figure.value, figure.low, figure.high) == (150, None, None)
    assert math.isfinite(figure.value)


def test_a_baseline_named_with_a_precision_serves_all_precisions() -> None:
    cases = [case("bert", name, precision) for precision in ("fp32", "fp16") for name in ("eager", "inductor")]
    run = make(cases, [record(asked, 2.0) for asked in cases])
    assert {row.speed.against for row in rows(run, "eager/fp32")} == {cases[0].label}
    assert {row.speed.against for row in rows(run, "inductor@default/fp16")} == {cases[3].label}
    shown = text.render(run, baseline="eager/fp32", width=200)
    assert "vs eager/fp32" in shown
    assert "no baseline has their precision" not in shown
    with pytest.raises(UsageError, match=r"eager has the precision 'bf16'"):
        rows(run, "eager/bf16")


def test_a_case_that_returns_nothing_to_compare_is_not_ranked() -> None:
    """Neither is it a baseline: the lowest time of a program without an output is no result."""
    output = msgspec.structs.replace(
        accuracy().outputs[0], cosine=None, max_abs=None, rel_l2=None, sqnr=None, empty=True
    )
    empty = msgspec.structs.replace(accuracy(), outputs=(output,), empty=True)
    cases = [case("bert", backend) for backend in ("eager", "inductor", "torchscript")]
    times = [(cases[0], 1.0, empty), (cases[1], 2.0, accuracy()), (cases[2], 3.0, accuracy())]
    run = make(cases, [record(of, ms, n, accuracy=score) for of, ms, score in times for n in range(3)], replicates=3)
    table = rows(run)
    assert [(row.ranked, row.fastest, row.tied) for row in table] == [
        (False,) * 3,
        (True, True, False),
        (True, False, False),
    ]
    assert all(row.speed is None for row in table)
    assert "the baseline eager has only empty outputs" in " ".join(text.render(run, width=160).split())
    lines = list(csv.DictReader(io.StringIO(export.csv(run))))
    assert [(line["ranked"], line["accurate"]) for line in lines] == [("False", ""), ("True", "True"), ("True", "True")]
