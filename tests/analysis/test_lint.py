"""Findings on fairness: from synthetic records each kind and its absence."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest

from bench.analysis.compare import compare
from bench.analysis.conditions import Kind
from bench.analysis.lint import Finding, has_effect, lint, lint_pairs
from bench.model.run import Measurement, Record
from bench.model.suite import Case
from bench.model.telemetry import GpuFigures, Telemetry
from tests.report.conftest import case, make, record

RESULTS = Path(__file__).parent.parent.parent / "results"
ON_GPU = Telemetry(gpu=GpuFigures(gpu_memory_bytes=1 << 30))
GPU = ("gpu", "latency")


def measured(of: Case, ms: float = 1.0, replicate: int = 0, *, gpu: bool = False, **facts: Any) -> Record:
    fields: dict[str, Any] = {"telemetry": ON_GPU} if gpu else {}
    return record(of, ms, replicate, GPU if gpu else ("latency",), fairness=facts, **fields)


def findings(*records: tuple[Case, dict[str, Any]], gpu: bool = True) -> list[Finding]:
    """Of a run of one process a case, with these fairness reports."""
    return list(lint(make([of for of, _ in records], [measured(of, gpu=gpu, **facts) for of, facts in records])))


def sides(finding: Finding) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    return [(side.values, side.names) for side in finding.sides]


def on(value: bool) -> dict[str, Any]:
    return {"tf32": {"matmul": value, "cudnn": value}}


def test_tf32_on_one_side_alone_is_a_finding_where_something_is_computed_in_32_bits() -> None:
    (finding,) = findings((case("bert", "eager"), on(False)), (case("bert", "onnxruntime"), on(True)))
    assert (finding.kind, sorted(sides(finding))) == ("tf32", [(("off",), ("eager",)), (("on",), ("onnxruntime",))])
    half = [(case("bert", name, "fp16"), on(name == "eager")) for name in ("eager", "onnxruntime")]
    assert findings(*half) == []
    asked = [(case("bert", "eager", "fp32"), on(False)), (case("bert", "eager", "tf32"), on(True))]
    assert findings(*asked) == []


def test_one_of_the_two_switches_is_told_by_its_name() -> None:
    partly = {"tf32": {"matmul": False, "cudnn": True}}
    (finding,) = findings((case("bert", "eager"), on(False)), (case("bert", "aoti"), partly))
    assert (("on for cudnn alone",), ("aoti",)) in sides(finding)


def test_a_memory_format_that_one_backend_lacks_is_a_finding_and_one_that_all_have_is_an_axis() -> None:
    def of(backend: str, layout: str) -> tuple[Case, dict[str, Any]]:
        options = {} if layout == "contiguous" else {"memory_format": layout}
        return case("resnet18", backend, options=options), {"memory_format": layout}

    (finding,) = findings(of("eager", "channels_last"), of("inductor", "contiguous"))
    assert (finding.kind, finding.option) == ("memory_format", "memory_format: channels_last")
    axis = [of(backend, layout) for backend in ("eager", "inductor") for layout in ("channels_last", "contiguous")]
    assert findings(*axis) == []
    assert [side.values for side in findings(*axis[:3])[0].sides] == [
        ("channels_last",),
        ("contiguous", "channels_last"),
    ]


def test_an_engine_chooses_layouts_by_itself_so_that_of_its_inputs_is_no_finding() -> None:
    engine = {"memory_format": "contiguous", "runtime": "TensorRT 10.3"}
    eager = {"memory_format": "channels_last"}
    assert findings((case("bert", "eager"), eager), (case("bert", "tensorrt"), engine)) == []


def graphs(captured: str) -> dict[str, Any]:
    return {"graph_capture": captured}


def test_graphs_that_one_backend_captured_touch_what_the_host_does_and_have_the_effect_that_was_measured() -> None:
    plain, graph, other = case("bert", "eager"), case("bert", "eager", cuda_graph=True), case("bert", "aoti")
    several = [(plain, 2.0, "none"), (graph, 1.0, "harness"), (other, 1.5, "none")]
    records = [measured(of, ms, n, gpu=True, **graphs(captured)) for n in range(3) for of, ms, captured in several]
    (alone,) = lint(make([plain, graph, other], records[:3]))
    assert [(each.low, each.high) for each in alone.effects] == [(None, None)] * 2
    (finding,) = lint(make([plain, graph, other], records, 3))
    assert sides(finding) == [(("not captured",), ("aoti",)), (("captured", "not captured"), ("eager",))]
    assert finding.option == "cuda_graph: on"
    assert [(each.a, each.b, each.boundary) for each in finding.effects] == [
        (plain.id, graph.id, "gpu"),
        (plain.id, graph.id, "latency"),
    ]
    assert all(1.9 < each.low < each.ratio < each.high < 2.1 for each in finding.effects)
    assert finding.boundaries == ("gpu", "latency", "throughput")


def test_graphs_are_no_finding_where_only_a_held_stream_was_timed_or_there_is_no_gpu() -> None:
    pair = [(case("bert", "eager"), graphs("none")), (case("bert", "inductor"), graphs("backend"))]
    assert findings(*pair, gpu=False) == []
    held = [
        record(of, 1.0, fairness=facts, telemetry=ON_GPU, measurements=(Measurement(boundary="gpu", samples=(9,) * 9),))
        for of, facts in pair
    ]
    assert lint(make([of for of, _ in pair], held)) == ()


def test_modes_of_inductor_that_differ_in_graphs_alone_show_their_effect() -> None:
    modes = {"default": "none", "reduce-overhead": "backend", "max-autotune": "backend"}
    cases = {mode: case("bert", "inductor", options={"mode": mode}) for mode in modes}
    eager = case("bert", "eager")
    records = [measured(eager, 3.0, gpu=True, **graphs("none"))]
    records += [
        measured(cases[mode], ms, gpu=True, **graphs(modes[mode])) for mode, ms in zip(modes, (2, 1, 9), strict=True)
    ]
    (finding,) = lint(make([eager, *cases.values()], records))
    assert {(each.a, each.b) for each in finding.effects} == {(cases["default"].id, cases["reduce-overhead"].id)}


def test_inputs_that_graphs_copy_are_set_against_graphs_that_read_them_in_place() -> None:
    copied = {"graph_capture": "backend", "graph_inputs": "copied in every call"}
    cases = [case("bert", "inductor", options={"mode": "reduce-overhead"}), case("bert", "eager", cuda_graph=True)]
    (finding,) = findings((cases[0], copied), (cases[1], graphs("harness")))
    assert finding.kind == "inputs_copied"
    assert findings((cases[0], copied)) == []


def test_types_of_inputs_and_outputs_that_differ_are_findings() -> None:
    half = {"input_dtypes": ["float16"], "output_dtypes": ["float16"]}
    wide = {"input_dtypes": ["float16"], "output_dtypes": ["float32"]}
    (finding,) = findings((case("bert", "eager", "fp16"), half), (case("bert", "onnxruntime", "fp16"), wide))
    assert (finding.kind, {names: values for values, names in sides(finding)}) == (
        "outputs",
        {("eager",): ("float16",), ("onnxruntime",): ("float32",)},
    )


def test_threads_are_a_finding_on_a_cpu_alone() -> None:
    pair = [(case("bert", "eager"), {"threads": 2}), (case("bert", "onnxruntime"), {"threads": 4})]
    assert [finding.kind for finding in findings(*pair, gpu=False)] == ["threads"]
    assert findings(*pair) == []


def test_variables_for_threads_that_toolchains_differ_in_are_a_finding() -> None:
    here, there = case("bert", "eager"), case("bert", "eager", toolchain="old")
    run = make([here, there], [measured(here), measured(there)])
    assert lint(run) == ()
    plain = run.header.environments["default"]
    one = msgspec.structs.replace(plain, flags={"OMP_NUM_THREADS": "1", "LANG": "C"})
    header = msgspec.structs.replace(run.header, environments={"default": plain, "old": one})
    (finding,) = lint(msgspec.structs.replace(run, header=header))
    assert (("OMP_NUM_THREADS=1",), ("eager@old",)) in sides(finding)


def test_processes_of_one_case_that_timed_kernels_anew_or_not_show_the_effect() -> None:
    tuned, other = case("bert", "inductor[mode=max-autotune]"), case("bert", "aoti")
    records = [
        measured(tuned, 1.0 + (r % 2), r, gpu=True, autotune_cache=("warm", "cold")[r % 2]) for r in range(6)
    ] + [measured(other, 1.0, r, gpu=True, autotune_cache="warm") for r in range(6)]
    (finding,) = lint(make([tuned, other], records, replicates=6))
    assert (finding.kind, finding.key) == ("autotune", "autotune_cache")
    assert {(each.a, each.b, each.a_value) for each in finding.effects} == {(tuned.id, tuned.id, "cold")}
    assert all(1.9 < each.ratio < 2.1 for each in finding.effects)


def test_kernels_of_tensorrt_rtx_that_a_process_compiled_itself_are_told_from_those_of_an_earlier_one() -> None:
    cold, warm, off = (case("bert", "tensorrt_rtx", options={"optimization_level": n}) for n in range(3))
    facts = [(cold, "cold"), (warm, "warm"), (off, "off")]
    (finding,) = findings(*((of, {"runtime_cache": state}) for of, state in facts))
    assert (finding.kind, finding.key) == ("kernel_cache", "runtime_cache")
    assert sides(finding) == [
        (("compiled by an earlier process",), ("tensorrt_rtx[optimization_level=1]",)),
        (("compiled by this process",), tuple(f"tensorrt_rtx[optimization_level={n}]" for n in (0, 2))),
    ]
    assert findings((cold, {"runtime_cache": "cold"}), (off, {"runtime_cache": "off"})) == []


def test_processes_of_one_case_that_compiled_kernels_or_found_them_show_the_effect() -> None:
    first, other = case("bert", "tensorrt_rtx"), case("bert", "tensorrt_rtx", options={"runtime_cache": False})
    records = [measured(first, 2.0 - (r % 2), r, gpu=True, runtime_cache=("cold", "warm")[r % 2]) for r in range(6)]
    records += [measured(other, 1.0, r, gpu=True, runtime_cache="off") for r in range(6)]
    (finding,) = lint(make([first, other], records, replicates=6))
    assert {(each.a, each.b, each.a_value) for each in finding.effects} == {(first.id, first.id, "cold")}
    assert all(1.9 < each.ratio < 2.1 for each in finding.effects)


@pytest.mark.parametrize(
    ("facts", "kind", "figures"),
    [
        (
            {"graph_breaks": 2, "break_reasons": {"call to print": 2}},
            "graph_breaks",
            {"breaks": 2, "reasons": ("call to print",)},
        ),
        ({"recompiles": 3, "recompile_reasons": ["size"]}, "recompiles", {"recompiles": 3, "reasons": ("size",)}),
        ({"graphs_skipped": 1, "skip_reasons": ["cpu"]}, "graphs_skipped", {"skipped": 1, "reasons": ("cpu",)}),
        ({"frames_skipped": 4}, "uncompiled", {"functions": 4}),
        (
            {"fallback_nodes": 2, "fallback_ops": ["NonZero"], "partitions": 3},
            "fallback",
            {"nodes": 2, "partitions": 3, "operators": ("NonZero",)},
        ),
        (
            {"engine": {"precisions": {"fp16": 50, "fp32": 2, "int32": 9}}},
            "higher_precision",
            {"layers": 2, "of": 52, "precisions": ("fp32",), "counts": ("2 of 52",)},
        ),
    ],
)
def test_what_happened_to_a_case_is_a_finding_with_its_figures(facts, kind, figures) -> None:
    quiet = (case("bert", "eager", "fp16"), {"graph_breaks": 0, "recompiles": 0, "fallback_nodes": 0, "partitions": 1})
    (finding,) = findings(quiet, (case("bert", "inductor", "fp16"), facts))
    assert (finding.kind, finding.figures) == (kind, figures)
    assert [side.names for side in finding.sides] == [("inductor",)]


def test_layers_of_the_precision_asked_for_are_no_finding() -> None:
    engine = {"engine": {"precisions": {"fp16": 50, "int32": 9}}}
    assert findings((case("bert", "tensorrt", "fp16"), engine)) == []
    assert findings((case("bert", "tensorrt", "tf32"), {"engine": {"precisions": {"fp32": 5}}})) == []


def test_levels_of_optimisation_are_compared_among_the_backends_that_have_them() -> None:
    levels = [
        (case("bert", "tensorrt"), {"optimization_level": 3}),
        (case("bert", "torch_tensorrt"), {"optimization_level": 5}),
    ]
    assert [finding.kind for finding in findings(*levels, (case("bert", "eager"), {}))] == ["optimization_level"]
    assert findings(levels[0], (case("bert", "eager"), {})) == []


def test_models_with_the_same_finding_share_it() -> None:
    pairs = [(case(model, name), on(name == "aoti")) for model in ("bert", "resnet18") for name in ("eager", "aoti")]
    (finding,) = findings(*pairs)
    assert [len(side.cases) for side in finding.sides] == [2, 2]
    crossed = [*pairs[:2], (case("resnet18", "eager"), on(True)), (case("resnet18", "aoti"), on(False))]
    assert len(findings(*crossed)) == 2


def test_other_sizes_are_another_comparison() -> None:
    apart = [(case("bert", "eager", batch=1), on(False)), (case("bert", "aoti", batch=8), on(True))]
    assert findings(*apart) == []


@pytest.mark.parametrize("odd", [True, "on", 3, None, [1], {"a": {"b": []}}])
def test_a_report_of_another_program_is_no_error(odd) -> None:
    keys = ("tf32", "engine", "fallback_ops", "fallback_nodes", "input_dtypes", "graph_capture", "break_reasons")
    facts = dict.fromkeys(keys, odd) | {"graph_breaks": 1}
    assert {finding.kind for finding in findings((case("bert", "eager"), facts))} <= {"graph_breaks", "fallback"}


def test_cases_that_were_not_measured_or_not_selected_are_left_out() -> None:
    pair = [(case("bert", "eager"), on(False)), (case("bert", "aoti"), on(True))]
    run = make([of for of, _ in pair], [measured(of, **facts) for of, facts in pair])
    assert len(lint(run)) == 1
    assert lint(run, {pair[0][0].id}) == ()
    assert lint(make([of for of, _ in pair], [measured(pair[0][0], **pair[0][1])])) == ()


def test_a_measured_effect_below_one_percent_is_none() -> None:
    plain, graph, other = case("bert", "eager"), case("bert", "eager", cuda_graph=True), case("bert", "aoti")
    reports = [(plain, "none"), (graph, "harness"), (other, "none")]
    records = [measured(of, 1.0, r, gpu=True, **graphs(captor)) for of, captor in reports for r in range(5)]
    (finding,) = lint(make([of for of, _ in reports], records, replicates=5))
    assert finding.effects
    assert not has_effect(finding)
    assert has_effect(msgspec.structs.replace(finding, effects=()))


# ------------------------------------------------------------------------------------------------------- comparisons


def test_partners_of_a_comparison_are_set_against_each_other() -> None:
    eager = case("bert", "eager")
    runs = [
        make([eager], [measured(eager, 1.0, r, gpu=True, **on(value)) for r in range(3)]) for value in (False, True)
    ]
    (finding,) = lint_pairs(compare([runs[0]], [runs[1]]).pairs)
    assert sides(finding) == [(("off",), ("A",)), (("on",), ("B",))]
    assert lint_pairs(compare([runs[0]], [runs[0]]).pairs) == ()


def test_what_happened_on_one_side_of_a_comparison_is_named_by_its_backend_along_an_axis() -> None:
    cases = [case("bert", "eager"), case("bert", "inductor")]
    breaks = [0, 2]
    records = [measured(of, 1.0, r, graph_breaks=n) for of, n in zip(cases, breaks, strict=True) for r in range(3)]
    (finding,) = lint_pairs(compare([make(cases, records, replicates=3)], axis="backend").pairs)
    assert (finding.kind, sides(finding)) == ("graph_breaks", [((), ("inductor",))])


def test_a_graph_that_keeps_the_gpu_busy_for_longer_is_another_program() -> None:
    def taking(plain: float, captured: float, **fields: Any) -> list[Finding]:
        cases = [case("bert", "eager", "fp16", **fields), case("bert", "eager", "fp16", cuda_graph=True, **fields)]
        facts = [graphs("none"), graphs("harness")]
        records = [
            measured(of, ms, replicate, gpu=True, **told)
            for of, told, ms in zip(cases, facts, (plain, captured), strict=True)
            for replicate in range(3)
        ]
        return [each for each in lint(make(cases, records)) if each.kind == "graph_program"]

    (finding,) = taking(2.0, 5.0)
    assert sides(finding) == [((), ("eager graph",))]
    assert finding.figures["ratio"] == pytest.approx(2.5, rel=0.01)
    assert [(each.boundary, each.a_value) for each in finding.effects] == [("gpu", "captured")]
    assert finding.boundaries == ("gpu", "latency", "throughput")
    assert taking(2.0, 1.9) == taking(2.0, 2.1) == []


def test_algorithms_that_one_runtime_times_and_another_does_not_are_a_finding() -> None:
    eager = (case("resnet18", "eager", "fp16"), {"cudnn_benchmark": False})
    searched = (case("resnet18", "onnxruntime", "fp16"), {"cudnn_search": "exhaustive"})
    (finding,) = findings(eager, searched)
    assert (finding.kind, finding.key, finding.option) == ("autotune", "cudnn_benchmark", "cudnn_search: heuristic")
    assert sorted(sides(finding)) == [(("off",), ("eager",)), (("on",), ("onnxruntime",))]
    assert findings(eager, (searched[0], {"cudnn_search": "heuristic"})) == []
    assert findings(eager, (searched[0], {})) == []


def test_the_page_on_fairness_lists_every_kind() -> None:
    page = (RESULTS.parent / "docs" / "fairness.md").read_text()
    missing = [kind for kind in get_args(Kind) if f"`{kind}`" not in page.partition("## Findings")[2]]
    assert not missing


def test_builds_of_one_case_whose_engines_differ_are_all_counted() -> None:
    of = case("bert", "tensorrt", "fp16")
    precisions = ({"fp16": 50}, {"fp16": 49, "fp32": 1}, {"fp16": 48, "fp32": 3}, {"fp16": 49, "fp32": 1})
    records = [measured(of, 1.0, n, gpu=True, engine={"precisions": each}) for n, each in enumerate(precisions)]
    (finding,) = lint(make([of], records))
    expected = {"layers": 3, "of": 51, "precisions": ("fp32",), "counts": ("1 of 50", "3 of 51")}
    assert finding.figures == expected
