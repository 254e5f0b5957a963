"""Quantized convolutions over one dimension: as programs they are over two, and compute the same."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from bench.lowering import codegen, lower  # noqa: E402
from bench.lowering.quantize import calibration, insert, placement, widening  # noqa: E402
from tests.lowering import kit  # noqa: E402
from tests.lowering.converters.kit import run as run_program  # noqa: E402

pytestmark = pytest.mark.torch
INPUTS = kit.example((2, 4, 32))


class Audio(nn.Module):
    """Strides, groups, dilation, a transposed convolution with output padding, a sum, and activations."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv1d(4, 8, 5, stride=2, padding=2)
        self.grouped = nn.Conv1d(8, 8, 3, padding=2, dilation=2, groups=4)
        self.chain = nn.Sequential(nn.Conv1d(8, 8, 1, bias=False), nn.ReLU(), nn.Conv1d(8, 8, 3, padding=1), nn.ReLU6())
        self.up = nn.ConvTranspose1d(8, 4, 3, stride=2, padding=1, output_padding=1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x).relu()
        return self.up(self.chain(x) + self.grouped(x))


@pytest.fixture(scope="module")
def quantized() -> kit.Graph:
    torch.manual_seed(0)
    graph = lower.run_passes(kit.normalised(Audio(), INPUTS))
    ranges = calibration.calibrate(graph, [kit.example((2, 4, 32), seed=seed) for seed in range(10, 14)], "minmax")
    return insert.insert(graph, ranges)


def kernels(graph: kit.Graph) -> list[tuple[int, ...]]:
    """The shapes of the quantized kernels."""
    weights = (node.kwargs["weight"] for node in graph.graph.nodes if node.name.startswith("convolution"))
    return [tuple(weight.meta["val"].shape) for weight in weights]


def test_the_graph_computes_the_same_and_its_kernels_have_a_row(quantized: kit.Graph) -> None:
    wide = widening.widen(quantized)
    assert kernels(quantized) == [(8, 4, 5), (8, 8, 1), (8, 8, 3), (8, 2, 3), (8, 4, 3)]
    assert kernels(wide) == [(*shape[:2], 1, shape[2]) for shape in kernels(quantized)]
    with torch.no_grad():
        torch.testing.assert_close(wide(*INPUTS.values()), quantized(*INPUTS.values()))


def test_between_two_of_them_nothing_is_reshaped(quantized: kit.Graph) -> None:
    """Neither the activation nor the pair: TensorRT fuses them with what is beside them."""
    names = kit.ops(widening.widen(quantized))
    first, second = [at for at, name in enumerate(names) if name == "convolution"][1:3]
    between = names[first:second]
    assert between[:4] == ["convolution", "relu", "quantize", "dequantize"]
    assert "reshape" not in between


def test_other_graphs_are_left_as_they_are() -> None:
    plain = lower.run_passes(kit.normalised(Audio(), INPUTS))
    assert widening.widen(plain) is plain


@pytest.mark.parametrize("mended", [False, True])
@pytest.mark.parametrize("version", ["8.6.1", "10.13.3", "11.4.0"])
def test_the_oracle_computes_the_program(quantized: kit.Graph, version: str, mended: bool) -> None:
    graph = placement.mend(quantized) if mended else quantized
    program = written(graph)
    (actual,) = run_program(program, list(INPUTS.values()), version, list(INPUTS))
    with torch.no_grad():
        (expected,) = graph(*INPUTS.values())
    torch.testing.assert_close(actual, expected)


@pytest.mark.long
@pytest.mark.parametrize("mended", [False, True])
@pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None,
    reason="tensorrt_rtx is not installed: pip install tensorrt-rtx-cu13 (Linux on x86-64)",
)
def test_tensorrt_rtx_builds_the_program(quantized: kit.Graph, mended: bool, tmp_path: Path) -> None:
    from tests.lowering.test_rtx_builds import build

    assert build(written(placement.mend(quantized) if mended else quantized), tmp_path)


def written(graph: kit.Graph) -> codegen.Program:
    """The program of a quantized graph, as that of a case is written."""
    return codegen.generate(widening.widen(graph), ["y"], title="net", precision="int8")
