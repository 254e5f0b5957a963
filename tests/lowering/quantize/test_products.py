"""Linear layers over more than two dimensions at int8: quantized, and as products that read their pairs directly."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("bench.lowering.oracle")

from torch import nn  # noqa: E402

from bench.lowering import codegen, lower, normalise  # noqa: E402
from bench.lowering.quantize import calibration, examination, insert, placement, products  # noqa: E402
from tests.lowering import kit  # noqa: E402
from tests.lowering.converters.kit import run as run_program  # noqa: E402

pytestmark = pytest.mark.torch
IDS = {"ids": torch.tensor([[0, 3, 1, 4, 2], [4, 4, 0, 1, 3]])}


class Encoder(nn.Module):
    """An embedding, linear layers on tokens, one without bias and one that is called twice, attention, and a product
    with a parameter.
    """

    def __init__(self) -> None:
        super().__init__()
        self.tokens = nn.Embedding(5, 8)
        self.up, self.down = nn.Linear(8, 16, bias=False), nn.Linear(16, 8)
        self.twice, self.head, self.scores = nn.Linear(8, 8), nn.Linear(8, 3), nn.Parameter(torch.randn(3, 4))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        x = self.tokens(ids)
        x = self.twice(self.twice(self.down(self.up(x).relu()) + x).relu())
        x = torch.softmax(x @ x.transpose(1, 2), -1) @ x
        return self.head(x) @ self.scores


@pytest.fixture(scope="module")
def quantized() -> kit.Graph:
    torch.manual_seed(0)
    graph = lower.run_passes(kit.normalised(Encoder(), IDS))
    return insert.insert(graph, calibration.calibrate(graph, [IDS], "minmax"))


def weights(graph: kit.Graph) -> list[tuple[list[int], int]]:
    """Of each constant that is quantized by channel, its shape and the axis of its scales."""
    nodes = [
        node for node in graph.graph.nodes if normalise.op_name(node) == "quantize" and node.kwargs["axis"] is not None
    ]
    return [(list(node.kwargs["input"].meta["val"].shape), node.kwargs["axis"]) for node in nodes]


def test_each_linear_layer_is_quantized_and_a_product_with_a_parameter_is_not(quantized: kit.Graph) -> None:
    assert kit.ops(quantized).count("linear") == 5
    about = examination.coverage(quantized, ())
    assert (about["layers"], about["quantized"]) == (6, 5)
    (reason,) = about["uncovered"]
    assert reason.endswith(": a product with a parameter, which is no linear layer")
    assert examination.coverage(quantized, [reason.partition(":")[0]])["uncovered"] == []


class Sums(nn.Module):
    """Products of parameters in sums, over two dimensions and by batch, below one module, and a linear layer."""

    class Body(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scores, self.several = nn.Parameter(torch.randn(6, 6)), nn.Parameter(torch.randn(2, 6, 6))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = torch.addmm(x[0, 0], x.flatten(0, 1), self.scores).unflatten(0, x.shape[:2])
            return torch.baddbmm(x, y, self.several, beta=0.5)

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = self.Body(), nn.Linear(6, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x))


def test_products_of_parameters_in_sums_are_layers_that_stay_in_floating_point() -> None:
    inputs = {"x": torch.randn(2, 5, 6, generator=torch.Generator().manual_seed(0))}
    torch.manual_seed(0)
    module = Sums()
    graph = lower.run_passes(kit.normalised(module, inputs))
    kit.assert_computes(graph, module, inputs)
    ranges = calibration.calibrate(graph, [inputs], "minmax")
    placed = examination.quantized(graph, ranges, "fx")
    reason = "body: a product with a parameter, which is no linear layer"
    assert examination.coverage(placed, ()) == {"layers": 3, "quantized": 1, "uncovered": [reason] * 2}
    placed = examination.quantized(graph, ranges, "fx", ["body"])
    assert examination.coverage(placed, ["body"]) == {"layers": 3, "quantized": 1, "uncovered": []}


@pytest.mark.parametrize("full_rank", [False, True])
def test_products_compute_the_same_and_read_their_pairs(quantized: kit.Graph, full_rank: bool) -> None:
    changed = products.as_products(quantized, full_rank=full_rank)
    lead = [1] * full_rank
    assert weights(quantized) == [([16, 8], 0), ([8, 16], 0), *[([8, 8], 0)] * 2, ([3, 8], 0)]
    assert weights(changed) == [
        ([*lead, *shape], 1 + full_rank) for shape in ([8, 16], [16, 8], [8, 8], [8, 8], [8, 3])
    ]
    assert "linear" not in kit.ops(changed)
    with torch.no_grad():
        torch.testing.assert_close(changed(*IDS.values()), quantized(*IDS.values()))


def test_other_graphs_are_left_as_they_are() -> None:
    torch.manual_seed(0)
    plain = lower.run_passes(kit.normalised(Encoder(), IDS))
    assert products.as_products(plain, full_rank=True) is plain


@pytest.mark.parametrize("version", ["8.6.1", "10.13.3", "11.4.0"])
def test_the_oracle_computes_the_program(quantized: kit.Graph, version: str) -> None:
    (actual,) = run_program(written(quantized), list(IDS.values()), version, list(IDS))
    with torch.no_grad():
        (expected,) = quantized(*IDS.values())
    torch.testing.assert_close(actual, expected)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_file_has_products_that_read_dequantized_tensors_alone(quantized: kit.Graph, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    from bench.lowering.quantize import onnx_export, onnx_view

    graph = products.as_products(quantized, full_rank=False)
    path = tmp_path / "net.onnx"
    onnx_export.write(graph, list(IDS.values()), ["ids"], ["y"], path, 17)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (result,) = session.run(None, {"ids": IDS["ids"].numpy()})
    with torch.no_grad():
        torch.testing.assert_close(torch.from_numpy(result), quantized(*IDS.values())[0], rtol=1e-4, atol=1e-4)
    counts = placement.summary(onnx_view.read(path))
    assert (counts.weighted, counts.quantized) == (6, 5)
    kinds = [node.op_type for node in onnx.load(path).graph.node]
    assert "Gemm" not in kinds
    assert "Identity" not in kinds  # which the exporter puts behind a constant that is there twice


class Two(nn.Module):
    """Two linear layers, the second without bias."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(6, 4), nn.Linear(4, 5, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.first(x).relu())


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("shape", [(6,), (3, 6), (2, 3, 6)])
def test_no_transpose_stands_behind_weights_in_a_file(shape: tuple[int, ...], tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    from bench.lowering.quantize import onnx_export, onnx_view

    inputs = {"x": torch.randn(shape, generator=torch.Generator().manual_seed(0))}
    torch.manual_seed(0)
    graph = lower.run_passes(kit.normalised(Two(), inputs))
    graph = insert.insert(graph, calibration.calibrate(graph, [inputs], "minmax"))
    changed = products.as_products(graph, full_rank=False)
    with torch.no_grad():
        torch.testing.assert_close(changed(*inputs.values()), graph(*inputs.values()))
    path = tmp_path / "net.onnx"
    onnx_export.write(changed, list(inputs.values()), ["x"], ["y"], path, 17)
    assert "Transpose" not in [node.op_type for node in onnx.load(path).graph.node]
    counts = placement.summary(onnx_view.read(path))
    assert (counts.weighted, counts.quantized) == (2, 2)


@pytest.mark.long
@pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None,
    reason="tensorrt_rtx is not installed: pip install tensorrt-rtx-cu13 (Linux on x86-64)",
)
def test_tensorrt_rtx_builds_the_program(quantized: kit.Graph, tmp_path: Path) -> None:
    from tests.lowering.test_rtx_builds import build

    assert build(written(quantized), tmp_path)


def written(graph: kit.Graph) -> codegen.Program:
    """The program of a quantized graph, as that of a case is written."""
    return codegen.generate(products.as_products(graph, full_rank=True), ["y"], title="net", precision="int8")
