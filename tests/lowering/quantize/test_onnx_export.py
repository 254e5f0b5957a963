"""Quantized graphs as ONNX files: ONNX Runtime computes what the reference model does; lint says the same of both."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

from bench import api  # noqa: E402
from bench.lowering import lower  # noqa: E402
from bench.lowering.quantize import calibration, insert, onnx_export, placement  # noqa: E402
from bench.model.placement import Rule  # noqa: E402
from suites.small_resnet import small_resnet  # noqa: E402
from tests.lowering import kit  # noqa: E402
from tests.lowering.quantize import networks  # noqa: E402
from tests.lowering.quantize.test_placement import before  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore::DeprecationWarning")]
SHAPE = (8, 3, 32, 32)


def computed_by_file(graph: kit.Graph, x: torch.Tensor, path: Path, opset: int = 17) -> torch.Tensor:
    onnx_export.write(graph, [x], ["x"], ["y"], path, opset)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return torch.from_numpy(session.run(None, {"x": x.numpy()})[0])


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(a.flatten().double(), b.flatten().double(), 0))


@pytest.mark.parametrize("opset", [13, 17])
def test_onnx_runtime_computes_what_the_reference_model_does(opset: int, tmp_path: Path) -> None:
    graph, x = before("residual"), networks.example()
    result = computed_by_file(graph, x, tmp_path / "net.onnx", opset)
    (expected,) = graph(x)
    assert float((result - expected).norm() / expected.norm()) < 5e-3


def test_a_file_has_a_scale_for_each_channel_of_weights_and_zero_points_of_int8(tmp_path: Path) -> None:
    import onnx

    onnx_export.write(before("residual"), [networks.example()], ["x"], ["y"], tmp_path / "net.onnx", 17)
    model = onnx.load(tmp_path / "net.onnx")
    values: dict[str, Any] = {each.name: onnx.numpy_helper.to_array(each) for each in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant":
            values[node.output[0]] = onnx.numpy_helper.to_array(node.attribute[0].t)
    pairs = [node for node in model.graph.node if node.op_type in ("QuantizeLinear", "DequantizeLinear")]
    assert len(pairs) == 14
    for node in pairs:
        scale, zero = (values[name] for name in node.input[1:])
        assert (zero.shape, str(zero.dtype)) == (scale.shape, "int8")
        assert not zero.any()
        assert bool(node.attribute) == (scale.ndim == 1)  # an axis


@pytest.mark.long
@pytest.mark.parametrize("mended", [False, True])
@pytest.mark.parametrize("rule", networks.NETWORKS)
def test_of_the_file_lint_says_what_it_says_of_the_graph(rule: Rule, mended: bool, tmp_path: Path) -> None:
    graph = placement.mend(before(rule)) if mended else before(rule)
    result = computed_by_file(graph, networks.example(), tmp_path / "net.onnx")
    (expected,) = graph(networks.example())
    assert float((result - expected).norm() / expected.norm()) < 5e-3
    findings = api.lint_qdq_file(tmp_path / "net.onnx").findings
    assert [each.rule for each in findings] == [each.rule for each in placement.lint(graph)]


@pytest.mark.long
@pytest.mark.parametrize("observer", ["minmax", "entropy"])
def test_a_residual_network_keeps_its_answers_and_the_file_those_of_the_reference(
    observer: str, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    graph = lower.run_passes(kit.normalised(small_resnet().eval(), kit.example(SHAPE)))
    inputs = [kit.example(SHAPE, seed=seed) for seed in range(1, 17)]  # 128 samples
    quantized = insert.insert(graph, calibration.calibrate(graph, inputs, observer))
    (x,) = kit.example(SHAPE, seed=100).values()
    (plain,), (reference,) = graph(x), quantized(x)
    assert cosine(plain, reference) >= 0.99
    assert cosine(computed_by_file(quantized, x, tmp_path / "net.onnx"), reference) >= 0.999


class Attention(torch.nn.Module):
    """A convolution, and attention over what it returns, written with products of matrices."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = torch.nn.Conv1d(6, 6, 3, padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.conv(x)
        return torch.softmax(x @ x.transpose(1, 2), -1) @ x


def test_a_product_with_a_transposed_tensor_is_exported(tmp_path: Path) -> None:
    inputs = {"x": torch.randn(2, 6, 16, generator=torch.Generator().manual_seed(0))}
    torch.manual_seed(0)
    graph = lower.run_passes(kit.normalised(Attention(), inputs))
    assert any(node.kwargs.get("transpose_other") for node in graph.graph.nodes)  # by the pass on products
    quantized = insert.insert(graph, calibration.calibrate(graph, [inputs], "minmax"))
    (expected,) = quantized(inputs["x"])
    result = computed_by_file(quantized, inputs["x"], tmp_path / "net.onnx")
    assert float((result - expected).norm() / expected.norm()) < 5e-3


class Copies(torch.nn.Module):
    """Two convolutions with the same weights, each its own, as layers that were copied have before they are trained."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = torch.nn.Conv2d(3, 3, 1), torch.nn.Conv2d(3, 3, 1)
        self.second.load_state_dict(self.first.state_dict())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.first(x).relu())


def test_q_and_dq_of_layers_with_equal_weights_read_constants(tmp_path: Path) -> None:
    import onnx

    x = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    graph = kit.normalised(Copies(), {"x": x})
    quantized = insert.insert(graph, calibration.calibrate(graph, [{"x": x}], "minmax"))
    result = computed_by_file(quantized, x, tmp_path / "net.onnx")
    assert "Identity" not in [node.op_type for node in onnx.load(tmp_path / "net.onnx").graph.node]
    counts = api.lint_qdq_file(tmp_path / "net.onnx")
    assert (counts.weighted, counts.quantized) == (2, 2)
    (expected,) = quantized(x)
    assert float((result - expected).norm() / expected.norm()) < 5e-3
