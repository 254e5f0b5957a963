"""The backend fx2trt: its options and stages, and programs that are run, of which a wrong one is refused."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench.backends import base, fx2trt
from bench.errors import SuiteError, Unsupported, UsageError
from bench.lowering import filling
from bench.machine import nvml
from bench.model.abilities import WritesPrograms
from bench.model.suite import Range
from bench.runtimes.trt import library
from bench.suite import matrix
from tests.backends.kit import Bench
from tests.backends.network_kit import FX, bench_of_lowering, case, needs_rtx, program
from tests.conftest import Trtbench

real = [pytest.mark.torch, pytest.mark.long, needs_rtx]


@pytest.fixture
def here(tmp_path: Path) -> Bench:
    return bench_of_lowering(tmp_path)


# ------------------------------------------------------------------------------------------------- options and stages


def test_options_are_those_of_an_engine_and_the_file_of_a_program() -> None:
    options = msgspec.convert({"program": "net/program.py", "workspace": "1 GiB", "optimization_level": 4}, FX.options)
    assert options.engine().workspace_bytes == 1 << 30
    assert options.engine().optimization_level == 4
    for wrong, message in (({"program": "net.txt"}, "no FILE.py"), ({"workspace": "much"}, "workspace"),
                           ({"exporter": "dynamo"}, "exporter")):  # fmt: skip
        with pytest.raises(msgspec.ValidationError, match=message):
            msgspec.convert(wrong, FX.options)


def test_what_it_cannot_run_is_left_out(bench: Bench) -> None:
    assert "trtbench codegen" in FX.unsupported(case(bench), "cpu")
    assert FX.unsupported(case(bench), "cuda:0") is None
    assert "torchscript" in FX.unsupported(case(bench, factory="net.pt"), "cuda:0")
    assert FX.unsupported(case(bench, precision="int8"), "cuda:0") is None
    assert FX.unsupported(case(bench, precision="fp8"), "cuda:0") is None
    assert FX.unsupported(case(bench, precision="bf16"), "cuda:0") is None
    refused = FX.unsupported(case(bench, options={"observer": "minmax"}), "cuda:0")
    assert refused == "observer: of precision int8 alone"


def test_a_kind_of_stage_that_pytorch_is_to_make_has_its_own_producer(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(fx2trt, "_BY_TORCH", (*fx2trt._BY_TORCH, "other"))
    asked = case(bench, precision="int8")
    stage = msgspec.structs.replace(FX.stages(asked)[0], kind="other")
    with pytest.raises(ValueError, match="PyTorch makes no stage of the kind 'other'"):
        FX.produce(stage, asked, bench.context(asked), tmp_path)


def test_tensors_at_int8_are_not_held_against_eager(bench: Bench) -> None:
    with pytest.raises(UsageError, match="by the rounding that was asked for") as error:
        FX.values(case(bench, precision="int8"))
    assert "trtbench quantize" in (error.value.fix or "")


def test_the_engine_is_made_of_the_program_in_the_toolchain_that_measures(bench: Bench) -> None:
    reference, source, build = FX.stages(case(bench, precision="fp16", toolchain="trt86"))
    assert (reference.name, source.name, build.needs) == ("reference", "program", ("program",))
    assert (source.toolchain, build.toolchain, build.producer) == ("default", "trt86", "fx2trt")
    options = {"optimization_level": 4}
    assert FX.program(case(bench, precision="fp16", options=options)) == [source]
    assert FX.stages(case(bench, options=options))[-1] != FX.stages(case(bench))[-1]
    assert FX.layers(case(bench)).producer == "fx2trt"


def test_implicit_int8_calibrates_the_program_of_float32(bench: Bench) -> None:
    options = {"calibrator": "entropy", "samples": 16, "data": "data.py:batches", "calibration_cache": "scales.cache"}
    calibrated = case(bench, precision="int8", options=options)
    assert FX.unsupported(calibrated, "cuda:0") is None
    _, source, build = FX.stages(calibrated)
    assert [source] == FX.program(calibrated) == FX.program(case(bench, precision="fp32"))
    assert (build.key["precision"], build.files) == ("int8", ("data.py", "scales.cache"))
    engine = msgspec.convert(options, FX.options).engine()
    assert (engine.calibrator, engine.samples, engine.data) == ("entropy", 16, "data.py:batches")
    assert FX.placement(calibrated) == []
    explicit = msgspec.convert({"samples": 16}, FX.options).engine()
    assert explicit.samples is None


@pytest.mark.parametrize(
    "fields",
    [{"precision": "fp16"}, {"dynamic": {"batch": Range(min=1, opt=2, max=4)}}, {"options": {"fallback": "torch"}}],
)
def test_implicit_int8_is_of_one_engine_with_fixed_sizes(bench: Bench, fields: dict[str, Any]) -> None:
    options = {"calibrator": "entropy"} | fields.get("options", {})
    refused = FX.unsupported(case(bench, **({"precision": "int8"} | fields | {"options": options})), "cuda:0")
    assert refused == "calibrator: entropy needs precision: int8, fixed sizes and fallback: none"


def test_a_program_of_the_users_takes_the_place_of_the_one_that_is_written(bench: Bench) -> None:
    _, build = FX.stages(case(bench, options={"program": "edited/program.py"}))
    assert build.files == ("edited/program.py", "edited/weights.safetensors")
    assert build.needs == ()


def test_the_table_of_ops_has_the_operators_of_each(trtbench: Trtbench) -> None:
    assert isinstance(FX, WritesPrograms)
    ops = {op.name: op for op in FX.ops()}
    assert "aten.transpose.int" in ops["permute"].operators
    assert ops["convolution"].layers == "IConvolutionLayer, IDeconvolutionLayer"
    assert trtbench("ops") == 0
    assert f"{len(ops)} ops, of" in trtbench.out
    assert "permute(input, dims)" in trtbench.out
    assert trtbench("ops", "--format", "markdown") == 0
    assert "| `permute` | `permute.default`, `transpose.int`" in trtbench.out


def test_a_program_that_is_not_there_is_told_where_there_is_no_gpu(
    trtbench: Trtbench, suite_of: Callable[..., Path]
) -> None:
    missing = "there is no file 'edited/program.py' in the suite's folder"
    suite = suite_of(backend="fx2trt, {name: fx2trt, program: edited/program.py}")
    assert trtbench("list", suite, "--device", "cuda") == 0
    assert missing in trtbench.err
    if nvml.GpuTelemetry(0).reason:  # else the engine of the other would be built
        assert (
            trtbench("build", suite, "--device", "cuda", "--select", "backend=fx2trt[program=edited/program.py]") == 2
        )
        assert f"SuiteError in build: {missing}" in trtbench.out


def test_data_of_the_calibration_is_a_file_or_names_a_function() -> None:
    for data in ("calibration.npz", "data.py:images"):
        assert msgspec.convert({"data": data}, FX.options).data == data
    for data in ("data.py", "data.py:", "images.npy", ""):
        with pytest.raises(msgspec.ValidationError, match=f"data: '{data}' is neither FILE.npz nor FILE.py:FUNCTION"):
            msgspec.convert({"data": data}, FX.options)
    with pytest.raises(msgspec.ValidationError, match="0 bytes are no workspace"):
        msgspec.convert({"workspace": "0 B"}, FX.options)


@pytest.mark.parametrize("backend", ["fx2trt", "onnxruntime", "eager", "inductor"])
def test_no_modules_in_floating_point_is_the_case_without_the_option(backend: str) -> None:
    plain, none, one = (
        matrix.read_backend({"name": backend, **options}, base.registry())
        for options in ({}, {"floating": []}, {"floating": ["head"]})
    )
    assert none == plain
    assert one != plain


def test_a_value_that_an_option_does_not_have_is_told_with_those_that_it_has(
    trtbench: Trtbench, suite_of: Callable[..., Path]
) -> None:
    suite = suite_of(precision="int8", backend="{name: fx2trt, observer: minmaxx}")
    assert trtbench("list", suite, "--device", "cuda") == 2
    assert "unknown value 'minmaxx' of the option 'observer' of fx2trt. Did you mean 'minmax'?" in trtbench.err
    assert "fix: known: minmax, moving_average, percentile, entropy, histogram, null\n" in trtbench.err


def test_in_place_of_others_it_keeps_the_options_that_the_suite_has_for_it(
    trtbench: Trtbench, suite_of: Callable[..., Path]
) -> None:
    def labels(suite: Path) -> list[str]:
        assert trtbench("list", suite, "--device", "cuda", "--backend", "fx2trt", "--format", "json") == 0
        return [case["label"] for case in json.loads(trtbench.out)["cases"]]

    own = "{name: fx2trt, optimization_level: 4}"
    assert labels(suite_of(backend=f"eager, {own}")) == ["net/fx2trt[optimization_level=4]/fp32/batch=2"]
    assert "the suite has no" not in trtbench.err
    other = "{name: onnxruntime, opset: 17}"
    assert labels(suite_of(backend=f"eager, {other}")) == ["net/fx2trt/fp32/batch=2"]
    assert "note: the suite has no fx2trt: its cases have the defaults of that, without opset" in trtbench.err
    part = suite_of(backend=f"eager, {other}").read_text()
    suite = suite_of(backend="eager")
    suite.write_text(part.replace("batch: [2]", f"batch: [2, 4], include: [{{batch: 4, backend: {own}}}]"))
    assert labels(suite) == ["net/fx2trt/fp32/batch=2", "net/fx2trt[optimization_level=4]/fp32/batch=4"]
    assert "note: cases that stand for others of the suite (1 of 2) have the defaults of fx2trt, without opset" in (
        trtbench.err
    )
    assert labels(suite_of(backend="eager, inductor")) == ["net/fx2trt/fp32/batch=2"]
    assert "the suite has no" not in trtbench.err


# ------------------------------------------------------------------------------------- the network, by TensorRT-RTX


@pytest.fixture
def api() -> library.Api:
    pytest.importorskip("tensorrt_rtx")
    return library.open_api((), "cpu", library.RTX)


def filled(api: library.Api, of: Any, folder: Path, source: str = "") -> Any:
    builder = api.module.Builder(api.log.logger)
    network = builder.create_network(1 << int(api.module.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    return filling.fill(api, network, of, folder, source)


class TestFilled:
    """What the program of a case makes of an empty network."""

    pytestmark = real

    def test_inputs_and_outputs_are_those_of_the_case(self, here: Bench, api: library.Api) -> None:
        of = case(here, precision="fp16")
        definition = filled(api, of, program(here, of))
        assert definition.inputs == {"x": "x"}
        assert definition.outputs == {"logits": "logits", "map": "map"}
        network = definition.network
        assert tuple(network.get_input(0).shape) == (2, 3, 8, 8)
        assert network.get_input(0).dtype == api.module.DataType.HALF
        assert [network.get_output(index).name for index in range(2)] == ["logits", "map"]
        names = [network.get_layer(index).name for index in range(network.num_layers)]
        assert names[0] == "conv"

    def test_dynamic_sizes_stay_dynamic(self, here: Bench, api: library.Api) -> None:
        of = case(here, dynamic={"batch": Range(min=1, opt=4, max=8)})
        folder = program(here, of)
        definition = filled(api, of, folder)
        assert tuple(definition.network.get_input(0).shape) == (-1, 3, 8, 8)
        assert '"x": ((1, 3, 8, 8), (4, 3, 8, 8), (8, 3, 8, 8))' in (folder / "program.py").read_text()

    @pytest.mark.parametrize(
        ("old", "new", "place", "message"),
        [
            ("p = Prelude(trt, net)", "p = Prelude(trt, net", r"^edited/program.py:\d+$", "no Python"),
            ("import argparse", "import argparsed", r"^edited/program.py:\d+$", "cannot be imported"),
            ("p = Prelude(trt, net)", "p = Prelude(trt)", r"^edited/program.py:\d+", "TypeError"),
            ("trt.ActivationType.RELU", "trt.ActivationType.RELUX", r"program.py:\d+ \(the model itself\)", "RELUX"),
            ("trt.MatrixOperation.TRANSPOSE", "trt.MatrixOperation.NONE", r"program.py:\d+ \(.*\)", "linear"),
            ('weights["conv.weight"]', 'weights["conv.wait"]', r"program.py:\d+ ", "conv.wait"),
            ("(3, 3),", "(5, 5),", r"program.py:\d+ ", "conv"),
            (
                "p.reshape(adaptive_avg_pool2d, (2, 4)",
                "p.reshape(adaptive_avg_pool2d, (2, 5)",
                r"program.py:\d+ ",
                "reshape",
            ),
            ('PRECISION = "fp32"', 'PRECISION = "fp16"', "", "at fp16, and the case at fp32"),
            ("(2, 3, 8, 8)", "(9, 3, 8, 8)", "", "takes the inputs"),
            ("def build", "def construct", "", "it has no build"),
        ],
    )
    def test_an_error_in_an_edited_program_is_told_with_its_line(
        self, old: str, new: str, place: str, message: str, here: Bench, api: library.Api
    ) -> None:
        of = case(here)
        folder = program(here, of)
        text = (folder / "program.py").read_text()
        assert old in text
        (folder / "program.py").write_text(text.replace(old, new))
        with pytest.raises(SuiteError, match=message) as caught:
            filled(api, of, folder, "edited/program.py")
        assert not place or re.search(place, caught.value.where)

    def test_a_layer_that_tensorrt_refuses_of_a_program_that_was_written(self, here: Bench, api: library.Api) -> None:
        of = case(here)
        folder = program(here, of)
        text = (folder / "program.py").read_text()
        (folder / "program.py").write_text(text.replace("trt.MatrixOperation.TRANSPOSE", "trt.MatrixOperation.NONE"))
        with pytest.raises(Unsupported, match=r"line \d+ .*linear"):
            filled(api, of, folder)

    def test_a_program_with_damaged_weights_or_none(self, here: Bench, api: library.Api) -> None:
        of = case(here)
        folder = program(here, of)
        weights = folder / "weights.safetensors"
        weights.write_bytes(weights.read_bytes()[:-4])
        with pytest.raises(SuiteError, match=r"the weights beside program.py cannot be read: .* is not a whole safe"):
            filled(api, of, folder)
        weights.unlink()
        with pytest.raises(SuiteError, match=r"program.py has no weights beside it: there is no file 'weights.safe"):
            filled(api, of, folder)
