"""The real builder and ONNX parser of TensorRT-RTX, which need no GPU: what converts, and what is refused and how."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import onnx
import pytest

from bench.backends import base
from bench.errors import CaseError, Unavailable, Unsupported
from bench.model.suite import Case, Input, Range
from bench.runtimes import onnx_file, onnx_manifest
from bench.runtimes.trt import builder, library, networks, versions
from bench.suite import plan as planning
from bench.suite import reader
from tests.backends.kit import Bench
from tests.runtimes.trt import vocabulary
from tests.store.test_files import file_size_limit

HERE = Path(__file__).parent
INSTALL = "pip install tensorrt-rtx-cu13 (Linux on x86-64); nox -s long installs it"
pytestmark = [
    pytest.mark.long,
    pytest.mark.torch,
    pytest.mark.skipif(
        importlib.util.find_spec("tensorrt_rtx") is None, reason=f"tensorrt_rtx is not installed: {INSTALL}"
    ),
]
ADA: dict[str, Any] = {"compute_capabilities": [8.9]}


@pytest.fixture
def here(bench: Bench, tmp_path: Path) -> Bench:
    """Cases of the files beside this one, each with artifacts of its own."""
    return Bench(root=tmp_path, suite_dir=HERE)


def build(bench: Bench, case: Case) -> builder.BuildInfo:
    """The description of the case's engine, whose plan is there."""
    folder = bench.artifacts(case)["build"]
    plan, info = builder.read(folder)
    assert len(plan) == info.plan_bytes > 0
    return info


def vocabulary_case(name: str, **fields: Any) -> Case:
    inputs = {"x": Input(shape=vocabulary.MODULES[name][1])}
    common: dict[str, Any] = {"options": ADA} | fields
    return Case(
        model="m", factory="vocabulary.py:module", args={"name": name}, inputs=inputs, backend="tensorrt_rtx", **common
    )


# ------------------------------------------------------------------------------------------------------- what converts


@pytest.mark.parametrize("name", vocabulary.MODULES)
def test_a_module_converts_in_half_precision(here: Bench, name: str) -> None:
    info = build(here, vocabulary_case(name, precision="fp16"))
    assert info.runtime.startswith("TensorRT-RTX 1.")
    assert info.strongly_typed
    assert info.compute_capabilities == ("8.9",)
    assert info.layers > 0


@pytest.mark.parametrize("precision", ["fp32", "tf32", "bf16"])
@pytest.mark.parametrize("name", ["conv2d", "encoder layer", "lstm"])
def test_a_module_converts_in_the_other_precisions(here: Bench, name: str, precision: str) -> None:
    info = build(here, vocabulary_case(name, precision=precision))
    assert ("TF32" in info.flags) == (precision == "tf32")


@pytest.mark.parametrize("precision", ["fp16", "bf16", "fp32"])
def test_outputs_have_the_types_that_the_file_declares(here: Bench, precision: str) -> None:
    case = vocabulary_case("lstm", precision=precision)
    context = here.context(case, {"export": here.artifacts(case)["export"]})
    api = library.open_api([], "cpu", library.RTX)
    network = versions.new_network(api, api.module.Builder(api.log.logger), True)
    definition = networks.parse(api, network, context)
    declared = onnx_file.describe(context.artifacts["export"] / onnx_manifest.MODEL).outputs
    outputs = [network.get_output(index) for index in range(network.num_outputs)]
    types = {tensor.name: versions.dtype_name(tensor.dtype) for tensor in outputs}
    assert types == {value.name: value.dtype for value in declared}
    assert set(definition.outputs.values()) == set(types)
    assert {"fp16": "float16", "bf16": "bfloat16", "fp32": "float32"}[precision] in types.values()


SUITES = HERE.parents[2] / "suites"


def smoke_models() -> list[Case]:
    """One case of each model of the smoke suite."""
    registry = base.registry()
    cases = planning.plan(reader.load(SUITES / "smoke.yaml", registry), registry, device="cpu").cases
    return list({case.model: case for case in cases}.values())


@pytest.mark.parametrize("model", ["bert", "resnet18"])
def test_each_model_of_the_smoke_suite_converts(tmp_path: Path, model: str) -> None:
    cases = {case.model: case for case in smoke_models()}
    assert set(cases) == {"bert", "resnet18"}
    case = msgspec.structs.replace(cases[model], backend="tensorrt_rtx", options=ADA, precision="fp16")
    assert build(Bench(root=tmp_path, suite_dir=SUITES), case).layers > 20


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_the_resnet_by_hand_converts(here: Bench, precision: str) -> None:
    options = ADA | {"network": "../../../suites/networks.py:resnet"}
    case = Case(
        model="m", factory="vocabulary.py:resnet", inputs={"x": Input(shape=(2, 3, 64, 64))}, backend="tensorrt_rtx",
        options=options, precision=precision,
    )  # fmt: skip
    info = build(here, case)
    assert (list(info.inputs), list(info.outputs)) == (["x"], ["output"])


def test_a_dynamic_size_is_a_range_of_the_engine(here: Bench) -> None:
    case = Case(
        model="m", factory="vocabulary.py:module", args={"name": "conv2d"}, backend="tensorrt_rtx", options=ADA,
        inputs={"x": Input(shape=("batch", 8, 16, 16))}, symbols={"batch": 2},
        dynamic={"batch": Range(min=1, opt=4, max=8)},
    )  # fmt: skip
    assert build(here, case).profile == {"x": ((1, 8, 16, 16), (4, 8, 16, 16), (8, 8, 16, 16))}


@pytest.mark.parametrize(("most", "fits"), [(2, True), (8, False)])
def test_a_network_that_does_not_run_in_its_whole_range_is_told_as_it_is_built(
    here: Bench, most: int, fits: bool
) -> None:
    case = msgspec.structs.replace(
        vocabulary_case("clamp", options=ADA | {"network": "vocabulary.py:with_two_rows"}),
        inputs={"x": Input(shape=("batch", 12, 16))}, symbols={"batch": 2},
        dynamic={"batch": Range(min=1, opt=2, max=most)},
    )  # fmt: skip
    if fits:
        assert build(here, case).profile == {"x": ((1, 12, 16), (2, 12, 16), (2, 12, 16))}
        return
    with pytest.raises(Unsupported, match=r"does not run with batch=8, which is in the range .*incompatible") as caught:
        build(here, case)
    assert "`dynamic`" in caught.value.fix


def test_a_disk_that_is_full_when_the_engine_is_written_is_told(here: Bench) -> None:
    with file_size_limit(100_000), pytest.raises(CaseError, match=r"cannot be written: File too large") as caught:
        build(here, vocabulary_case("linear", precision="fp16"))
    assert "--cache DIR" in caught.value.fix


@pytest.mark.parametrize("requested", [None, [8.6, 8.9], [7.5], [12.0, 12.1]])
def test_engines_are_for_the_gpus_that_are_named(here: Bench, requested: list[float] | None) -> None:
    options = {} if requested is None else {"compute_capabilities": requested}
    info = build(here, vocabulary_case("linear", precision="fp16", options=options))
    assert info.compute_capabilities == tuple(str(number) for number in requested or ())


# ------------------------------------------------------------------------------------------------------ what is refused


def test_an_unknown_compute_capability_is_told_with_those_that_are_there(here: Bench) -> None:
    message = r"does not build for compute capability 9\.0; it has 7\.5, 8\.0, 8\.6, 8\.9"
    with pytest.raises(Unsupported, match=message) as caught:
        build(here, vocabulary_case("linear", options={"compute_capabilities": [9.0]}))
    assert "--compute-capability" in caught.value.fix


def test_the_current_gpu_is_unavailable_where_there_is_none(here: Bench) -> None:
    with pytest.raises(Unavailable, match="needs a GPU") as caught:
        build(here, vocabulary_case("linear", options={"compute_capabilities": "current"}))
    assert "[8.9]" in caught.value.fix


def test_a_workspace_that_no_kernel_fits_is_told(here: Bench) -> None:
    case = vocabulary_case("conv2d", precision="fp16", options=ADA | {"workspace": 64})
    with pytest.raises(Unsupported, match="workspace limit"):
        build(here, case)


def parse(here: Bench, data: bytes) -> None:
    """What becomes of an ONNX file."""
    case = vocabulary_case("linear", precision="fp16")
    export = here.folder()
    (export / onnx_manifest.MODEL).write_bytes(data)
    manifest = onnx_manifest.Manifest(("x",), ("y",), "legacy", 17, own_names=True)
    (export / "manifest.json").write_bytes(msgspec.json.encode(manifest))
    options = base.options_of(base.load("tensorrt_rtx"), case)
    builder.build(case, options, here.context(case, {"export": export}), here.folder(), library.RTX)  # type: ignore[arg-type]


def one_node(operator: str, domain: str = "", sizes: tuple[int, ...] = (4, 4)) -> bytes:
    """A file of one node called ``odd``."""
    node = onnx.helper.make_node(operator, ["x"], ["y"], name="odd", domain=domain)
    ends = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, sizes) for name in ("x", "y")]
    graph = onnx.helper.make_graph([node], "graph", ends[:1], ends[1:])
    opsets = [onnx.helper.make_opsetid("", 17), *([onnx.helper.make_opsetid(domain, 1)] if domain else [])]
    return bytes(onnx.helper.make_model(graph, opset_imports=opsets).SerializeToString())


@pytest.mark.parametrize(
    ("operator", "domain", "why"),
    [
        ("Det", "", r"Det odd \(node 0\): the parser does not support this operator"),
        ("Unique", "", r"Unique odd \(node 0\): the parser does not support this operator"),
        ("Mystery", "mine", r"Mystery odd \(node 0\): .*Plugin not found"),
    ],
)
def test_a_node_that_is_refused_is_named(here: Bench, operator: str, domain: str, why: str) -> None:
    with pytest.raises(Unsupported, match=why):
        parse(here, one_node(operator, domain))


def test_a_file_that_is_cut_short_is_told(here: Bench) -> None:
    whole = one_node("Relu")
    parse(here, whole)
    for size in (1, 10, len(whole) // 2, len(whole) - 1):
        with pytest.raises(Unsupported, match="Failed to parse the ONNX model"):
            parse(here, whole[:size])


@pytest.mark.parametrize("data", [b"", b"hello world, this is not a model"])
def test_a_file_without_a_model_is_told_though_the_parser_takes_it(here: Bench, data: bytes) -> None:
    with pytest.raises(CaseError, match="holds no model"):
        parse(here, data)


@pytest.mark.skipif(shutil.which("nvidia-smi") is not None, reason="there is a driver here")
def test_a_plan_needs_a_driver_and_a_damaged_one_is_told(here: Bench) -> None:
    plan, _ = builder.read(here.artifacts(vocabulary_case("linear", precision="fp16"))["build"])
    api = library.open_api((), "cpu", library.RTX)
    for data in (b"", plan[:10], plan[: len(plan) // 2], plan[:-1]):
        api.log.lines.clear()
        with pytest.raises(CaseError, match="damaged or cut short"):
            library.deserialize(api, data)
    api.log.lines.clear()
    with pytest.raises(Unavailable, match="finds no usable GPU"):
        library.deserialize(api, plan)


# ------------------------------------------------------------------------------------------------ how it is installed

OPEN = """
import importlib, sys
from bench.errors import Unavailable
from bench.runtimes.trt import library

{change}
try:
    print(library.open_api((), "cpu", library.RTX).name)
except Unavailable as error:
    print(error.what, "|", error.fix)
"""
INSTALL = "for Linux on x86-64: pip install tensorrt-rtx-cu13"
AS_VERSION = "importlib.import_module('tensorrt_rtx').__version__ = '{}'"


@pytest.mark.parametrize(
    ("change", "answer"),
    [
        ("", r"TensorRT-RTX 1\.\d+\.\d+\.\d+$"),
        (
            "sys.modules['tensorrt_rtx_bindings'] = None",
            rf"the package 'tensorrt_rtx_bindings' is not installed \| {INSTALL}",
        ),
        (
            "sys.modules['tensorrt_rtx_libs'] = None",
            r"TensorRT-RTX's bindings are installed, its libraries are not found: libtensorrt.* \| install the lib",
        ),
        (
            AS_VERSION.format("1.99.0.1"),
            r"TensorRT-RTX's bindings are version 1\.99\.0\.1, the libtensorrt_rtx .* is 1\.\d",
        ),
        (
            AS_VERSION.format("1.5.0.114"),
            rf"TensorRT-RTX 1\.5\.0\.114 is too old: 1\.6 is the first that works \| {INSTALL}",
        ),
    ],
    ids=["whole", "no bindings", "no libraries", "newer bindings", "older bindings"],
)
def test_parts_that_are_missing_or_of_another_version_are_told(change: str, answer: str) -> None:
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE.parents[2]), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-c", OPEN.format(change=change)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    assert re.match(answer, done.stdout.strip()), done.stdout
