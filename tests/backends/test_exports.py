"""What exporters, tracers and compilers may lose of a model, through each backend that uses one."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest

from bench.analysis import fairness
from bench.backends import base
from bench.errors import Unsupported
from bench.model.suite import Case, Input, Range
from bench.report.warnings import describe
from bench.runtimes.torch import custom_ops, exports
from bench.runtimes.torch.options import TorchOptions
from bench.runtimes.torch.outputs import positional
from tests.backends.kit import Bench

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch
LEGACY = {"exporter": "legacy"}
ROWS = {"x": Input(shape=("n", 8))}
NAMES = ("linear", "relu", "add")


def missing(backend: str) -> None:
    lacks = base.load(backend).missing()
    if lacks is not None:
        pytest.skip(f"{lacks.reason}; {lacks.fix}")


def dynamic(bench: Bench, backend: str, factory: str, inputs: dict[str, Input] = ROWS, **options: Any) -> Case:
    missing(backend)
    symbols = {size: 4 for spec in inputs.values() for size in spec.shape if isinstance(size, str)}
    ranges = {name: Range(min=2, opt=4, max=8) for name in symbols}
    return bench.case(
        backend, f"exports_zoo.py:{factory}", inputs, symbols=symbols, dynamic=ranges, options=dict(options)
    )


# --------------------------------------------------------------------------------------------------- names, outputs


@pytest.mark.parametrize(
    ("backend", "options"),
    [
        ("onnxruntime", {"exporter": "dynamo"}),
        ("onnxruntime", LEGACY),
        ("torchscript", {}),
        ("torchscript", {"freeze": False}),
    ],
)
def test_no_name_of_an_input_output_or_weight_clashes_with_another(
    bench: Bench, backend: str, options: dict[str, Any]
) -> None:
    missing(backend)
    inputs = {name: Input(shape=(2, 8)) for name in NAMES}
    case = bench.case(backend, "exports_zoo.py:awkward", inputs, options=options)
    outputs, expected = bench.run(case), bench.reference(case)
    assert list(outputs) == list(expected)
    assert len(outputs) == 15
    for name, value in expected.items():
        assert np.allclose(outputs[name], value, atol=1e-5), name


@pytest.mark.parametrize(("backend", "options"), [("onnxruntime", LEGACY), ("torchscript", {})])
def test_tuples_and_lists_are_outputs_by_position(bench: Bench, backend: str, options: dict[str, Any]) -> None:
    missing(backend)
    case = bench.case(backend, "exports_zoo.py:heads", {"x": Input(shape=(2, 8))}, options=options)
    outputs, expected = bench.run(case), bench.reference(case)
    assert list(outputs) == list(expected) == ["0", "1.0", "1.1", "2"]
    assert all(np.allclose(outputs[name], expected[name], atol=1e-5) for name in expected)


# ------------------------------------------------------------------------------------------------------------ sizes


@pytest.mark.parametrize(
    ("backend", "options", "text"),
    [
        ("onnxruntime", {"exporter": "dynamo"}, r"fixed 'n' of the input 'x': its shape is \[4, 8\]"),
        ("onnxruntime", LEGACY, r"output 'output' is \[4, 8\] in the file"),
        ("torchscript", {}, r"the traced program cannot take n = 2, which the model can"),
        ("aoti", {}, r"it needs n = 4"),
        pytest.param("inductor", {}, r"it needs n = 4", marks=pytest.mark.long),
    ],
)
def test_rows_that_an_exporter_unrolled_are_not_told_as_any_number_of_rows(
    bench: Bench, backend: str, options: dict[str, Any], text: str
) -> None:
    with pytest.raises(Unsupported, match=text) as refused:
        bench.run(dynamic(bench, backend, "rows", **options))
    assert "tensor operators in forward" in refused.value.fix


@pytest.mark.parametrize(("backend", "options"), [("onnxruntime", LEGACY), ("torchscript", {})])
def test_a_range_that_the_model_itself_cannot_take_is_told(bench: Bench, backend: str, options: dict[str, Any]) -> None:
    with pytest.raises(Unsupported, match=r"the model itself cannot take n = 2, which the range allows") as refused:
        bench.run(dynamic(bench, backend, "table", **options))
    assert "dynamic" in refused.value.fix


@pytest.mark.parametrize(("backend", "options"), [("onnxruntime", LEGACY), ("torchscript", {})])
def test_a_choice_by_size_that_a_trace_fixed_is_told_though_shapes_agree(
    bench: Bench, backend: str, options: dict[str, Any]
) -> None:
    with pytest.raises(Unsupported, match="gives other values than the model at n = 8 in output 'output'"):
        bench.run(dynamic(bench, backend, "by_rows", **options))


@pytest.mark.parametrize(("backend", "options"), [("onnxruntime", LEGACY), ("torchscript", {})])
def test_outputs_that_change_from_call_to_call_are_no_choice_by_size(
    bench: Bench, backend: str, options: dict[str, Any]
) -> None:
    assert bench.run(dynamic(bench, backend, "noise", **options))["output"].shape == (4, 8)


def test_a_number_of_outputs_that_is_a_size_is_told(bench: Bench) -> None:
    with pytest.raises(Unsupported, match="the model returns 2 outputs at n = 2, and 4 at others"):
        bench.run(dynamic(bench, "torchscript", "list_of_rows"))


def test_sizes_that_must_be_equal_are_told_with_the_symbol_to_write(bench: Bench) -> None:
    inputs = {"x": Input(shape=("n", 8)), "y": Input(shape=("m", 8))}
    with pytest.raises(Unsupported, match="it needs m = n") as refused:
        bench.run(dynamic(bench, "aoti", "total", inputs))
    assert refused.value.fix == "write n for m in the inputs' shapes"


def test_a_size_that_is_the_only_one_of_its_range_may_be_a_number(bench: Bench) -> None:
    missing("onnxruntime")
    case = bench.case(
        "onnxruntime",
        "exports_zoo.py:rows",
        ROWS,
        symbols={"n": 4},
        dynamic={"n": Range(min=4, opt=4, max=4)},
        options=LEGACY,
    )
    assert bench.run(case)["output"].shape == (4, 8)


@pytest.mark.parametrize(
    ("span", "sizes"),
    [
        (Range(min=2, opt=4, max=8), [2, 8]),
        (Range(min=4, opt=4, max=8), [8]),
        (Range(min=1, opt=1, max=1), []),
        (Range(min=1, opt=1, max=8), [1, 8]),  # the example has 2: tracers take 1 for a constant
        (Range(min=2, opt=4, max=4096), [2, 5]),
    ],
)
def test_both_ends_of_a_range_are_tried_unless_one_would_take_much_memory(
    bench: Bench, span: Range, sizes: list[int]
) -> None:
    case = bench.case("onnxruntime", inputs=ROWS, symbols={"n": span.opt}, dynamic={"n": span})
    assert exports.other_sizes(case) == [{"n": size} for size in sizes]


def test_a_program_that_fails_where_the_model_does_not_is_refused_with_its_words(bench: Bench) -> None:
    case = dynamic(bench, "torchscript", "by_rows")
    context = bench.context(case)
    module, names = positional(torch.nn.Identity(), {"input": torch.ones(4, 8)})
    trial = exports.Trial(case, TorchOptions(), context, module, names)

    def run(arrays: Any) -> Any:
        if len(arrays["x"]) > 4:
            raise RuntimeError("a buffer is too small")
        return trial.inputs(arrays)

    with pytest.raises(Unsupported, match="the file cannot take n = 8, which the model can: a buffer is too small"):
        trial.check(run, "the file")


# --------------------------------------------------------------------------------------------------------- warnings


@pytest.mark.parametrize(("backend", "options"), [("onnxruntime", LEGACY), ("torchscript", {})])
def test_what_a_tracer_warns_of_is_the_row_s_warning_also_for_the_next_that_reads_the_file(
    bench: Bench, backend: str, options: dict[str, Any]
) -> None:
    missing(backend)
    case = bench.case(backend, "exports_zoo.py:early", {"x": Input(shape=(2, 8))}, options=options)
    for _ in range(2):
        with bench.prepared(case) as prepared:
            (warning,) = fairness.warnings(prepared.fairness(), case)
        assert warning.kind == "TracerWarning"
        assert warning.figures["warnings"] == 1
        text, hint = describe(warning)
        assert "Converting a tensor to a Python boolean" in text
        assert "exports_zoo.py:" in text
        assert "/" not in warning.figures["place"]
        assert "torch.where" in hint


def test_a_program_without_warnings_says_nothing_of_them(bench: Bench) -> None:
    missing("torchscript")
    with bench.prepared(bench.case("torchscript")) as prepared:
        assert exports.KEY not in prepared.fairness()


def test_a_size_of_several_inputs_is_no_warning_of_the_exporter(bench: Bench) -> None:
    case = dynamic(bench, "onnxruntime", "total", {**ROWS, "y": Input(shape=("n", 8))}, exporter="dynamo")
    with bench.prepared(case) as prepared:
        assert exports.KEY not in prepared.fairness()


def test_warnings_are_recorded_once_each_and_bounded_without_deprecations_or_folders() -> None:
    with exports.recorded_warnings() as messages:
        for _ in range(3):
            warnings.warn("the file /home/someone/secret/net.py is " + "long " * 100, UserWarning, stacklevel=1)
        warnings.warn("traced", torch.jit.TracerWarning, stacklevel=1)
        warnings.warn("old", FutureWarning, stacklevel=1)
        warnings.warn("older", DeprecationWarning, stacklevel=1)
        for number in range(50):
            warnings.warn(f"number {number}", UserWarning, stacklevel=1)
    first, second, *others = messages
    assert (first.kind, first.count, second.kind) == ("ExporterWarning", 3, "TracerWarning")
    assert first.text.startswith("the file net.py is long")
    assert len(first.text) <= 240
    assert first.place.startswith("test_exports.py:")
    assert len(others) < 10


# -------------------------------------------------------------------------------------------------- nothing compiled


@pytest.mark.parametrize(
    ("factory", "why"),
    [
        ("disabled", "disable"),
        ("scripted", "ScriptModule"),
        ("traced", "ScriptModule"),
        ("scripted_part", "'inner' is a ScriptModule"),
        ("returns", "no tensor operator"),
    ],
)
def test_a_model_of_which_nothing_is_compiled_is_no_row_of_inductor(bench: Bench, factory: str, why: str) -> None:
    missing("inductor")
    case = bench.case("inductor", f"exports_zoo.py:{factory}", {"x": Input(shape=(2, 8))})
    with pytest.raises(Unsupported, match=f"compiled no graph of this model: .*{why}") as refused:
        bench.run(case)
    assert "eager" in refused.value.fix


def test_a_compiler_that_is_switched_off_is_named(bench: Bench) -> None:
    missing("inductor")
    case = bench.case("inductor")
    with torch._dynamo.config.patch(disable=True), pytest.raises(Unsupported, match="TORCHDYNAMO_DISABLE"):
        bench.run(case)
    with torch.compiler.set_stance("force_eager"), pytest.raises(Unsupported, match="set_stance"):
        bench.run(case)


@pytest.mark.long
def test_a_part_that_is_left_to_python_is_counted(bench: Bench) -> None:
    missing("inductor")
    case = bench.case("inductor", "exports_zoo.py:disabled_part", {"x": Input(shape=(2, 8))})
    with bench.prepared(case) as prepared:
        report = prepared.fairness()
    assert (report["graphs"], report["graph_breaks"]) == (1, 1)
    assert "disable" in next(iter(report["break_reasons"]))


# --------------------------------------------------------------------------------------------------- own operators


def test_operators_that_a_model_s_file_or_factory_defines_are_there_where_its_program_runs(bench: Bench) -> None:
    for factory, name in (("scaled", "trtbench_tests::scale"), ("defined_late", "trtbench_tests::late")):
        case = bench.case("aoti", f"ops_zoo.py:{factory}", {"x": Input(shape=(2, 8))})
        assert not torch._C._jit_get_schemas_for_operator(name)
        custom_ops.define([name, "aten::add"], case, bench.context(case))
        assert torch._C._jit_get_schemas_for_operator(name)


def test_an_operator_that_nothing_defines_is_named(bench: Bench) -> None:
    case = bench.case("aoti")
    with pytest.raises(Unsupported, match="the operator trtbench_tests::none is not defined where the program runs"):
        custom_ops.define(["trtbench_tests::none"], case, bench.context(case))


def test_a_program_tells_the_operators_that_are_not_torch_s_own(bench: Bench) -> None:
    case = bench.case("aoti", "ops_zoo.py:scaled", {"x": Input(shape=(2, 8))})
    custom_ops.define(["trtbench_tests::scale"], case, bench.context(case))

    class Model(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            return torch.ops.trtbench_tests.scale(x.softmax(0)) + 1

    program = torch.export.export(Model(), (torch.ones(2, 8),))
    assert custom_ops.names_in(program) == ("trtbench_tests::scale",)


@pytest.mark.parametrize("exporter", [pytest.param("dynamo", marks=pytest.mark.long), "legacy"])
def test_an_operator_that_onnx_does_not_have_is_named(bench: Bench, exporter: str) -> None:
    missing("onnxruntime")
    case = bench.case("onnxruntime", "ops_zoo.py:scaled", {"x": Input(shape=(2, 8))}, options={"exporter": exporter})
    with pytest.raises(Unsupported, match="the model uses the operator trtbench_tests::scale") as refused:
        bench.artifacts(case)
    assert "exporter:" not in refused.value.fix


@pytest.mark.parametrize("factory", ["ops_zoo.py:scaled", "exports_zoo.py:squares"])
def test_torchscript_runs_own_operators_and_functions(bench: Bench, factory: str) -> None:
    case = bench.case("torchscript", factory, {"x": Input(shape=(2, 8))})
    outputs, expected = bench.run(case), bench.reference(case)
    assert np.allclose(outputs["output"], expected["output"], atol=1e-5)


# ------------------------------------------------------------------------------------------------------------ facts


@pytest.mark.parametrize("enabled", [True, False])
def test_onednn_is_told_as_what_torch_may_use_and_not_as_what_it_has(bench: Bench, enabled: bool) -> None:
    before = torch._C._get_mkldnn_enabled()
    torch._C._set_mkldnn_enabled(enabled)
    try:
        with bench.prepared(bench.case("eager")) as prepared:
            report = prepared.fairness()
    finally:
        torch._C._set_mkldnn_enabled(before)
    assert report["onednn_allowed"] is (enabled and torch.backends.mkldnn.is_available())
    assert "onednn" not in report
