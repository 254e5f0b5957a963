"""The notes below tables: failures, warnings and unequal conditions, each told once."""

import pytest

from bench.api import tables
from bench.model.run import Accuracy, Failure, Record, Run, Warning
from bench.model.telemetry import Telemetry
from bench.report import export, text
from tests.report.test_text import ended

from .conftest import case, make, record


def test_the_heading_tells_results_from_failures_and_what_is_not_tried() -> None:
    cases = [case("bert", name) for name in ("eager", "onnxruntime", "aoti")]
    eager, missing, broken = cases
    fine = [record(eager, 2.0, n) for n in range(3)]

    def heading(run: Run) -> str:
        return next(line for line in text.render(run, width=200).splitlines() if " x 3 processes" in line)

    assert "1 case x 3 processes: 3 of 3 measured; made" in heading(make([eager], fine, 3))
    some = [*fine, ended(missing, 0, "Unavailable")]
    assert "4 of 6 done: 3 measured, 1 unavailable; 2 not tried; made" in heading(make(cases[:2], some, 3))
    assert "not tried:" not in text.render(make(cases[:2], some, 3))
    run = make(cases, [*some, ended(broken, 0, "Crash")], 3)
    assert "5 of 9 done: 3 measured, 1 unavailable, 1 failed; 4 not tried; made" in heading(run)
    lost = make(cases, [*fine, ended(broken, 0, "DeviceLost")], 3)  # --resume runs it again
    assert "4 of 9 done: 3 measured, 1 failed; made" in heading(lost)


def test_a_note_of_several_processes_of_one_row_does_not_name_it_as_another() -> None:
    asked = case("bert", "eager")
    figures = [{"boundary": "latency", "half_width": n / 100, "samples": 112} for n in (1, 2, 3)]
    said = [(Warning(kind="Plateau", figures=each),) for each in figures]
    run = make([asked], [record(asked, 2.0, n, warnings=warnings) for n, warnings in enumerate(said)], 3)
    shown = text.render(run, width=200)
    assert "Plateau: the median of latency is known to ±1.0% to 3.0% from 112 samples" in shown
    assert "(and 2 like it)" in " ".join(shown.split())
    assert "likewise" not in shown


def test_outputs_that_vary_have_one_note_with_the_advice_of_the_warning() -> None:
    asked, figures = case("bert", "eager"), {"outputs": {"y": 1.0}, "more": 0, "by": "program"}
    change = (Warning(kind="OutputsChange", figures=figures),)
    varying = Accuracy(ok=False, outputs=(), varies=True, why="outputs change from call to call ('y')")
    run = make([asked], [record(asked, 2.0, accuracy=varying, warnings=change)])
    shown = text.render(run, width=200)
    assert "1 Varies: outputs change from call to call ('y'); not ranked" in shown
    assert "try: a factory without dropout or noise in forward" in shown
    assert "OutputsChange" not in shown
    sound = text.render(make([asked], [record(asked, 2.0, warnings=change)]), width=200)
    assert "1 OutputsChange: two calls on equal inputs return other values" in sound


def test_notes_of_the_report_itself_use_the_sign_of_its_tables() -> None:
    asked = case("bert", "eager")
    shown = text.render(make([asked], [record(asked, 2.0 + n % 2, n) for n in range(4)], 4), width=200)
    assert "though each is known to ±" in shown


def test_a_failure_stands_in_place_of_times_with_message_and_hint_below(run) -> None:
    shown = text.render(run, width=120)
    (row,) = [line for line in shown.splitlines() if line.startswith("aoti")]
    assert "Timeout in compile" in row
    assert "no result within 1200 s" in shown
    assert "try: raise `measure: {timeout: ...}`" in shown
    assert "[autotune] 412 of 9000" not in shown
    assert "[autotune] 412 of 9000" in text.render(run, width=120, verbose=True)


def test_the_same_warning_of_several_rows_is_told_once_unless_verbose(run) -> None:
    assert text.render(run).count("NotSteady") == 1
    assert "(likewise torchscript batch=8)" in text.render(run, width=200)
    assert text.render(run, verbose=True).count("NotSteady") == 2


def shown_with(*notes: Failure | Warning | Accuracy) -> str:
    """The table of one row per note."""
    cases = [case("bert", "eager", batch=batch) for batch in range(1, len(notes) + 1)]
    found = []
    for asked, note in zip(cases, notes, strict=True):
        if isinstance(note, Failure):
            found.append(Record(case=asked.id, label=asked.label, failure=note))
        elif isinstance(note, Warning):
            found.append(record(asked, 2.0, warnings=(note,)))
        else:
            found.append(record(asked, 2.0, accuracy=note))
    return text.render(make(cases, found), width=200)


def failure(message: str, where: str = "") -> Failure:
    return Failure(kind="ValueError", stage="load", message=message, where=where)


def test_failures_of_one_kind_that_say_different_things_are_both_told() -> None:
    shown = shown_with(
        failure("batch 2 is not a multiple of 3"),
        failure("tokenizer vocabulary exhausted at position 17"),
        failure("batch 4 is not a multiple of 3"),
    )
    assert "batch 2 is not a multiple of 3 (likewise eager batch=3)" in shown
    assert "tokenizer vocabulary exhausted at position 17\n" in shown
    names = shown_with(failure("no converter of conv2d"), failure("no converter of conv3d"))
    assert "like it" not in names


def test_a_failure_has_its_place_and_equal_ones_at_other_places_are_each_told() -> None:
    shown = shown_with(
        failure("no such array", "mine.yaml:16"), failure("no such array", "mine.yaml:17"), failure("no such array")
    )
    assert "ValueError in load: mine.yaml:16: no such array\n" in shown
    assert "ValueError in load: mine.yaml:17: no such array\n" in shown
    assert "ValueError in load: no such array\n" in shown


@pytest.mark.parametrize(
    ("first", "other"),
    [
        ("the worker ended with exit code 3 and no answer", "the worker ended with exit code 14 and no answer"),
        ("the worker was ended by signal 40", "the worker was ended by signal 41"),
        ("zoo.py:Net raised ValueError: none (zoo.py:10)", "zoo.py:Net raised ValueError: none (zoo.py:12)"),
        ("OSError: [Errno 28] it failed", "OSError: [Errno 12] it failed"),
        ("the compiler ended with status -1", "the compiler ended with status -2"),
        ("the builder failed with error code -3", "the builder failed with error code -4"),
        ("a call ended with CUDA error 700", "a call ended with CUDA error 2"),
        ("a library ended with status 0xC0000005", "a library ended with status 0xC0000006"),
        ("net.onnx, line 3 is empty", "net.onnx, line 4 is empty"),
    ],
)
def test_failures_of_other_codes_or_lines_are_each_told(first: str, other: str) -> None:
    shown = shown_with(failure(first), failure(other), failure(first))
    assert f"{first}\n" in shown
    assert f"{other}\n" in shown
    assert "like" not in shown


@pytest.mark.parametrize(
    ("first", "other"),
    [
        ("the deadline 5 s is over", "the deadline 6 s is over"),
        ("a baseline 3 times as fast", "a baseline 4 times as fast"),
        ("relative error 0.25 is above the limit", "relative error 0.375 is above the limit"),
    ],
)
def test_failures_that_differ_in_amounts_are_one_note(first: str, other: str) -> None:
    shown = shown_with(failure(first), failure(other))
    assert f"{first} (likewise eager batch=2)" in shown
    assert other not in shown


def test_warnings_that_differ_in_numbers_are_one_note_with_their_span() -> None:
    times = ((5_780_000, 777_000), (12_100_000, 4_200_000), (903_000, 88), (1_020_000_000, 2_048_000))
    figures = [{"enqueue_ns": host, "gpu_ns": gpu, "graph": False} for host, gpu in times]
    shown = shown_with(*(Warning(kind="HostBound", figures=each) for each in figures))
    assert shown.count("HostBound") == 1
    assert (
        "issuing a call takes the host 903 us to 1.02 s, running it takes the GPU 88.0 ns to 4.20 ms: the GPU waits"
        in shown
    )
    assert "(likewise eager batch=2, eager batch=3, eager batch=4)" in " ".join(shown.split())
    graphs = shown_with(*(Warning(kind="HostBound", figures={**figures[0], "graph": graph}) for graph in (True, False)))
    assert graphs.count("HostBound") == 2
    many = shown_with(*(Warning(kind="ForeignProcess", figures={"processes": n}) for n in range(1, 9)))
    assert "1 to 8 other processes were on the GPU (and 7 like it)" in many


def test_warnings_of_schema_1_have_their_own_words() -> None:
    said = [f"issuing a call takes the host {n} ms" for n in range(1, 9)]
    shown = shown_with(*(Warning(kind="HostBound", message=text, hint="cuda_graph: on") for text in said))
    assert f"{said[0]} (and 7 like it)" in shown
    assert shown.count("HostBound") == shown.count("try: cuda_graph: on") == 1


def test_a_nan_is_never_told_as_another_low_cosine() -> None:
    def low(why: str) -> Accuracy:
        return Accuracy(ok=False, outputs=(), why=why)

    shown = shown_with(
        low("cosine 0.97 is below 0.999"), low("cosine nan is below 0.999"), low("cosine -1e-05 is below 0.999")
    )
    assert "cosine 0.97 is below 0.999; not ranked (likewise eager batch=3)" in shown
    assert "cosine nan is below 0.999; not ranked\n" in shown


def test_unequal_conditions_are_told_with_who_has_which(run) -> None:
    shown = text.render(run, width=200)
    assert "- threads: 4 (onnxruntime), 2 (eager, inductor, torchscript)" in shown
    assert "tf32" not in shown


def test_conditions_of_several_parts_are_told_part_by_part() -> None:
    cases = [case("bert", "eager"), case("bert", "inductor"), case("bert", "onnxruntime")]
    common = {"quantizer": "trtbench", "data": ""}
    told = [{**common, "samples": 32, "placement": ["a", "b"]}, {**common, "samples": 128}, {**common, "samples": 128}]
    found = [record(c, 2.0, fairness={"calibration": parts}) for c, parts in zip(cases, told, strict=True)]
    shown = text.render(make(cases, found), width=120)
    assert "unequal: calibration.samples: 32 (eager), 128 (inductor, onnxruntime)" in shown
    assert "calibration.data" not in shown  # which all have alike
    assert "{" not in shown


def test_figures_that_describe_an_engine_are_no_unequal_condition() -> None:
    cases = [case("bert", "tensorrt"), case("bert", "torch_tensorrt")]
    found = [record(c, 2.0, fairness={"engine": {"plan_bytes": len(c.backend)}}) for c in cases]
    assert "plan_bytes" not in text.render(make(cases, found))


def test_conditions_that_only_differ_between_precisions_are_not_called_unequal() -> None:
    cases = [case("bert", "eager", "fp32"), case("bert", "eager", "tf32")]
    found = [record(c, 2.0, fairness={"tf32": c.precision == "tf32"}) for c in cases]
    assert "unequal" not in text.render(make(cases, found))


def test_left_out_combinations_are_counted_and_told_with_reasons_on_demand(run) -> None:
    assert "5 combinations left out; --verbose says why" in text.render(run)
    assert "5 combinations left out; verbose=True says why" in tables(run)  # in Python
    shown = text.render(run, verbose=True)
    assert "CUDA graphs need a GPU (5)" in shown
    assert "bert/torchscript/fp32/batch=128/graph" in shown


def test_a_gpu_that_nothing_watched_is_told_once_for_the_whole_run() -> None:
    cases = [case("bert", "eager"), case("resnet18", "eager"), case("resnet18", "inductor")]
    unwatched = Telemetry(gpu_reason="NVML says: Insufficient Permissions")
    run = make(cases, [record(asked, 1.0, telemetry=unwatched) for asked in cases])
    for shown in (text.render(run, width=140), export.markdown(run)):
        assert shown.count("NVML says: Insufficient Permissions") == 1
    assert "Insufficient" not in text.render(make(cases, [record(asked, 1.0) for asked in cases]))


def test_autotuned_and_reused_kernels_side_by_side_are_unequal_and_reasons_are_not() -> None:
    names = ("inductor[mode=max-autotune]", "inductor", "eager")
    cases = [case("bert", name) for name in names]
    told = [
        {"autotune_cache": "cold", "mode": "max-autotune", "break_reasons": {"a": 1}},
        {"autotune_cache": "warm", "mode": "default", "break_reasons": {"b": 2}},
        {},
    ]
    shown = text.render(make(cases, [record(c, 1.0, fairness=f) for c, f in zip(cases, told, strict=True)]), width=140)
    choices = "timed for this build (inductor[mode=max-autotune]), taken from earlier timings (inductor)"
    assert f"Inductor's choice of kernels: {choices}" in " ".join(shown.split())
    assert "break_reasons" not in shown
    assert "unequal: mode" not in shown


def shared_run(names, **fields):
    cases = [case(name, "eager") for name in names]
    warnings = [
        Warning(kind="HostBound", figures={"enqueue_ns": 1000 * n, "gpu_ns": 100 * n, "graph": False})
        for n in range(1, 9)
    ]
    return make(cases, [record(c, 2.0, warnings=(w,), **fields) for c, w in zip(cases, warnings, strict=False)])


def test_a_note_that_repeats_for_every_model_is_told_once() -> None:
    shown = text.render(shared_run(["bert", "resnet18", "vit"]), width=120)
    assert shown.count("HostBound: ") == 1
    assert len([line for line in shown.splitlines() if line.startswith("eager") and line.endswith("  A")]) == 3
    assert "(likewise resnet18 eager, vit eager)" in " ".join(shown.split())
    assert shown.index("notes of several tables") < shown.index("HostBound: ")
    assert text.render(shared_run(["bert", "resnet18"]), width=120, verbose=True).count("HostBound: ") == 2
    alone = text.render(shared_run(["bert"]), width=120)
    assert "notes of several tables" not in alone
    assert "  1 HostBound: " in alone


def test_a_failure_of_every_model_is_told_once_and_its_rows_refer_to_it() -> None:
    cases = [case(name, "tensorrt") for name in ("bert", "resnet18")]
    failure = Failure(
        kind="Unavailable", stage="start", message="tensorrt is not installed", hint="pip install tensorrt"
    )
    records = [Record(case=asked.id, label=asked.label, failure=failure) for asked in cases]
    shown = text.render(make(cases, records), width=100)
    assert shown.count("tensorrt is not installed") == 1
    assert shown.count("note A: Unavailable in start") == 2


def test_the_log_of_a_failure_stands_below_its_own_note_alone() -> None:
    asked = case("bert", "eager")
    failure = Failure(kind="Crash", stage="measure", message="ended by SIGSEGV", log="the last words")
    warned = (Warning(kind="GraphsByBackend"),)
    run = make([asked], [record(asked, 2.0, 0, warnings=warned), record(asked, 2.0, 1, failure=failure)], 2)
    lines = text.render(run, width=200, verbose=True).splitlines()
    assert sum("the last words" in line for line in lines) == 1
    at = next(index for index, line in enumerate(lines) if "the last words" in line)
    assert "SIGSEGV" in lines[at - 1]
