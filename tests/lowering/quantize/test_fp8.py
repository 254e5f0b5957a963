"""Q/DQ for fp8: what they stand on, what the graph computes, the program, and the engine that TensorRT-RTX builds."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import msgspec
import pytest

torch = pytest.importorskip("torch")
oracle = pytest.importorskip("bench.lowering.oracle")

from torch import nn  # noqa: E402

from bench import tensors  # noqa: E402
from bench.backends import base  # noqa: E402
from bench.errors import Unsupported, UsageError  # noqa: E402
from bench.lowering import artifact, codegen, lower, normalise  # noqa: E402
from bench.lowering.quantize import calibration, examination, insert  # noqa: E402
from bench.model.sensitivity import Question  # noqa: E402
from bench.model.suite import Case, Input  # noqa: E402
from bench.runtimes.trt import builder  # noqa: E402
from bench.system import userfile  # noqa: E402
from tests.backends.kit import Bench, cosine  # noqa: E402
from tests.lowering import kit  # noqa: E402

pytestmark = pytest.mark.torch
INPUTS = kit.example((2, 16, 8, 8))
ZOO = Path(__file__).parents[2] / "backends"
IMAGES = {"x": Input(shape=("batch", 3, 8, 8))}


class Mixed(nn.Module):  # type: ignore[misc]
    """A convolution, linear layers on three dimensions that share their input, a sum and a pool."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.pool = nn.Conv2d(16, 16, 3, padding=1), nn.MaxPool2d(2)
        self.left, self.right = nn.Linear(16, 32), nn.Linear(16, 32)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.pool(self.conv(x) + x).flatten(2).mT
        return self.left(y).relu() + self.right(y)


class Pool(nn.Module):  # type: ignore[misc]
    """No product."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.max_pool2d(x, 2)


def graph(half: bool = False) -> kit.Graph:
    torch.manual_seed(0)
    module = Mixed().half() if half else Mixed()
    inputs = {name: value.half() if half else value for name, value in INPUTS.items()}
    result = lower.run_passes(kit.normalised(module, inputs))
    result.meta[insert.TO] = insert.FP8
    return result


@pytest.fixture(scope="module")
def quantized() -> kit.Graph:
    ranges = calibration.calibrate(graph(), [kit.example((2, 16, 8, 8), seed=seed) for seed in range(4)], "minmax")
    return insert.insert(graph(half=True), ranges)


def test_pairs_stand_on_inputs_and_weights_of_products_and_nowhere_else(quantized: kit.Graph) -> None:
    nodes = [node for node in quantized.graph.nodes if normalise.op_name(node) == "quantize"]
    assert all(node.kwargs["dtype"] == insert.FP8 for node in nodes)
    readers = [
        sorted(normalise.op_name(user) for dq in node.users for user in dq.users) for node in nodes
    ]  # fmt: skip
    assert sorted(readers) == [["convolution"], ["convolution"], ["linear"], ["linear"], ["linear", "linear"]]


def test_the_graph_agrees_with_float32_and_is_not_float16(quantized: kit.Graph) -> None:
    x = INPUTS["x"]
    expected = graph()(x)[0].detach().numpy()
    (result,) = quantized(x.half())
    half = graph(half=True)(x.half())[0]
    assert result.dtype == torch.float16
    assert cosine(result.float().detach().numpy(), expected) > 0.995
    assert 1 - cosine(result.float().detach().numpy(), expected) > 10 * (
        1 - cosine(half.float().detach().numpy(), expected)
    )


def test_the_program_is_what_the_graph_computes_and_tensorrt_8_has_none(quantized: kit.Graph, tmp_path: Path) -> None:
    written = codegen.generate(quantized, ["y"], title="net", precision="fp8")
    assert "It needs TensorRT 10 or later" in written.source
    written.write(tmp_path)
    module = userfile.execute(tmp_path / "program.py", "_fp8_program")
    weights = tensors.read(tmp_path / "weights.safetensors")
    trt = oracle.Module("11.4.0")
    network = oracle.Network(trt, {"x": INPUTS["x"].half()})
    with torch.no_grad():
        module.build(trt, network, weights)
        (result,) = network.results().values()
        (expected,) = quantized(INPUTS["x"].half())
    assert cosine(result.float().numpy(), expected.float().numpy()) > 0.9999
    old = oracle.Module("8.6.1")
    with pytest.raises(ValueError, match="TensorRT 8 quantizes to int8 alone"):
        module.build(old, oracle.Network(old, {"x": INPUTS["x"].half()}), weights)


def test_a_weight_of_zeros_names_its_module() -> None:
    module = graph()
    ranges = calibration.calibrate(module, [INPUTS], "minmax")
    module.get_buffer("conv.weight").zero_()
    with pytest.raises(Unsupported, match=r"^conv: the weight .* is zero or not finite"):
        insert.insert(module, ranges)


def test_a_graph_without_such_layers_is_refused() -> None:
    module = lower.run_passes(kit.normalised(Pool(), INPUTS))
    module.meta[insert.TO] = insert.FP8
    with pytest.raises(Unsupported, match="no layer of the model can run at fp8"):
        insert.insert(module, {})


class Along(nn.Module):  # type: ignore[misc]
    """A convolution over one dimension, and two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.left, self.right = nn.Conv1d(4, 4, 3, padding=1), nn.Linear(8, 8), nn.Linear(8, 8)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.right(self.left(self.conv(x)))


def test_the_reason_for_a_layer_is_that_of_fp8_also_where_others_stay_in_floating_point() -> None:
    inputs = kit.example((2, 4, 8))
    graphs = [
        lower.run_passes(kit.normalised(module, {"x": value}))
        for module, value in ((Along(), inputs["x"]), (Along().half(), inputs["x"].half()))
    ]
    for each in graphs:
        each.meta[insert.TO] = insert.FP8
    ranges = calibration.calibrate(graphs[0], [inputs], "minmax")
    about = examination.coverage(examination.quantized(graphs[1], ranges, "fx", ["left"]), ["left"])
    assert about == {"layers": 3, "quantized": 1, "uncovered": ["conv: over one dimension"]}


def case(bench: Bench, backend: str = "fx2trt", **options: Any) -> Case:
    return bench.case(
        backend, "fp8_zoo.py:net", IMAGES, precision="fp8", symbols={"batch": 2}, options={"samples": 4} | options
    )


def test_the_calibration_is_of_the_largest_magnitudes_and_not_that_of_int8(bench: Bench) -> None:
    fx: Any = base.load("fx2trt")
    ours = fx.stages(case(bench))[1]
    of_int8 = fx.stages(msgspec.structs.replace(case(bench), precision="int8"))[1]
    assert (ours.key["observer"], of_int8.key["observer"]) == ("minmax", "entropy")
    assert fx.stages(case(bench, observer="minmax"))[1] == ours
    assert ours != fx.stages(msgspec.structs.replace(case(bench, observer="minmax"), precision="int8"))[1]


def test_what_is_of_int8_alone_is_refused(bench: Bench) -> None:
    fx: Any = base.load("fx2trt")
    assert fx.unsupported(case(bench), "cuda:0") is None
    assert fx.unsupported(case(bench, placement="mended"), "cuda:0").startswith("placement: mended is of int8")
    assert fx.unsupported(case(bench, observer="entropy"), "cuda:0").startswith("observer: entropy is of int8")
    for stages in (lambda each: artifact.examination_stages(each, None), fx.values):
        with pytest.raises(UsageError):
            stages(case(bench))
    with pytest.raises(UsageError, match="this case is at fp8"):
        artifact.examination_stages(case(bench), Question())


@pytest.mark.long
@pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None,
    reason="tensorrt_rtx is not installed: pip install tensorrt-rtx-cu13 (Linux on x86-64)",
)
def test_tensorrt_rtx_builds_for_gpus_with_fp8_and_says_why_not_for_others(tmp_path: Path) -> None:
    bench = Bench(root=tmp_path, suite_dir=ZOO)
    of = case(bench, "tensorrt_rtx", route="fx2trt", compute_capabilities=[8.9])
    of = msgspec.structs.replace(of, options={name: each for name, each in of.options.items() if name != "samples"})
    folders = bench.artifacts(of)
    info = builder.read_info(folders["build"])
    assert (info.network, info.compute_capabilities) == ("program.py", ("8.9",))
    layers = (folders["program"] / "program.py").read_text().partition("\ndef build(")[2]
    assert layers.count("= emit_quantize(") == layers.count('"float8_e4m3fn"') == 2 * 5
    older = msgspec.structs.replace(of, options={"route": "fx2trt", "compute_capabilities": [8.0]})
    with pytest.raises(Unsupported, match="HW-specific datatypes: fp8_e4m3"):
        bench.artifacts(older)
