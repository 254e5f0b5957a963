"""Which values of a quantized graph are rounded to float16, and which stay."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("bench.lowering.oracle")

from torch import nn  # noqa: E402

from bench.lowering import lower  # noqa: E402
from bench.lowering.quantize import calibration, insert  # noqa: E402
from bench.lowering.quantize.rounding import InFloat16  # noqa: E402
from tests.lowering import kit  # noqa: E402

pytestmark = pytest.mark.torch

X = kit.example((2, 8))
BEYOND = 1e6  # no finite number of float16


class Times(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.sin(x) * BEYOND


class Layer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(8, 4, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x)


def test_results_have_the_precision_of_float16_and_not_its_range() -> None:
    graph = lower.run_passes(kit.normalised(Times(), X))
    (exact,), (rounded,) = graph(X["x"]), InFloat16(graph).run(X["x"])
    expected = torch.sin(X["x"].half().float()).half().float() * BEYOND
    small = expected.abs() < 65504
    assert rounded.dtype == exact.dtype == torch.float32
    assert not torch.equal(rounded, exact)
    assert torch.equal(rounded[~small], expected[~small])
    assert torch.equal(rounded[small], expected[small].half().float())


def test_what_is_on_the_grid_of_int8_stays_there() -> None:
    torch.manual_seed(0)
    plain = lower.run_passes(kit.normalised(Layer(), X))
    graph = insert.insert(plain, calibration.calibrate(plain, [X]))
    on_grid = X["x"].half().float()  # so that only Q/DQ could change what the layer reads
    (exact,), (rounded,) = graph(on_grid), InFloat16(graph).run(on_grid)
    assert "dequantize" in kit.ops(graph)
    assert torch.equal(rounded, exact.half().float())
    assert not torch.equal(rounded, exact)
