"""What a calibration observed, as its artifact has it: ranges, coarse histograms, and what has no scale."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from bench.errors import SuiteError, Unsupported  # noqa: E402
from bench.lowering.quantize import artifact, summary  # noqa: E402
from bench.lowering.quantize.calibration import Calibration  # noqa: E402
from bench.lowering.quantize.observers import OBSERVERS  # noqa: E402
from bench.model.suite import Case, Input  # noqa: E402
from bench.model.tensor_ranges import BINS, SUMMARY, NetworkRanges, TensorRange  # noqa: E402
from tests.lowering import kit  # noqa: E402

pytestmark = pytest.mark.torch


class Dead(torch.nn.Module):
    """The first convolution is dead, the second constant, the third as usual."""

    def __init__(self) -> None:
        super().__init__()
        self.dead, self.constant, self.usual = (torch.nn.Conv2d(3, 2, 1) for _ in range(3))
        with torch.no_grad():
            for each, bias in ((self.dead, -1.0), (self.constant, 0.5)):
                each.weight.zero_()
                each.bias.fill_(bias)

    def forward(self, x: Any) -> Any:
        return self.dead(x).relu() + self.constant(x).relu() + self.usual(x).relu()


def observed(*inputs: Any, observer: str = "entropy") -> tuple[TensorRange, ...]:
    graph = kit.normalised(Dead(), {"x": torch.zeros(1, 3, 4, 4)})
    calibration = Calibration(graph, OBSERVERS[observer])
    calibration.run([{"x": each} for each in inputs])
    return calibration.tensors(calibration.ranges())


def test_each_tensor_has_its_module_its_range_and_what_is_wrong() -> None:
    x = torch.linspace(-1, 3, 48).reshape(1, 3, 4, 4)
    tensors = {each.module: each for each in observed(x, -x)}
    assert tensors["x"].problem is None
    assert (tensors["x"].least, tensors["x"].most) == (-3.0, 3.0)
    assert sum(tensors["x"].histogram) == 96
    assert len(tensors["x"].histogram) == BINS
    assert 2.9 < tensors["x"].reach < 3.2
    assert tensors["x"].limit is not None
    problems = {each.module: each.problem for each in tensors.values() if each.problem}
    assert problems["dead"] == "zero"
    assert problems["constant"] == "constant"
    assert tensors["dead"].limit is None
    assert tensors["constant"].limit == pytest.approx(0.5, rel=1e-3)
    with pytest.raises(Unsupported, match=r"^dead: an activation that is zero for all inputs") as error:
        summary.check(tuple(tensors.values()), suite="int8.yaml")
    assert "trtbench quantize int8.yaml --ranges" in (error.value.fix or "")


def test_an_input_that_is_not_finite_names_itself_and_what_reads_it() -> None:
    tensors = observed(torch.full((1, 3, 4, 4), math.nan), torch.ones(1, 3, 4, 4), observer="minmax")
    assert tensors[0].problem == "not finite"
    assert (tensors[0].least, tensors[0].histogram) == (1.0, ())
    with pytest.raises(Unsupported, match=r"^x: an activation that is NaN or infinite in calibration; so have .*usual"):
        summary.check(tensors)


@given(st.lists(st.integers(0, 1000), min_size=1, max_size=2048).filter(any))
def test_coarse_bins_have_every_count_and_end_with_the_last(counts: list[int]) -> None:
    coarse, width = summary.coarse(np.array(counts, np.int64))
    assert (len(coarse), sum(coarse)) == (BINS, sum(counts))
    last = max(index for index, count in enumerate(counts) if count)
    assert (BINS - 1) * (width - 1) <= last < BINS * width
    assert coarse[0] == sum(counts[:width])


def test_the_advice_has_the_command_that_lists_what_was_observed_of_the_suite() -> None:
    tensors = observed(torch.full((1, 3, 4, 4), math.nan))
    with pytest.raises(Unsupported) as caught:
        summary.check(tensors, suite="my suites/int8.yaml")
    assert "; trtbench quantize 'my suites/int8.yaml' --ranges lists what was observed" in caught.value.fix
    with pytest.raises(Unsupported) as caught:  # of fp8, of which it lists nothing
        summary.check(tensors)
    assert caught.value.fix == "inputs as the model will get them: data"


def test_an_input_that_is_nan_is_told_of_the_users_data_and_else_of_the_tensor(tmp_path: Path) -> None:
    case = Case(
        model="net", factory="zoo.py:net", backend="fx2trt", precision="int8", source="mine.yaml:16",
        inputs={"x": Input(shape=(1, 3, 4, 4), dtype="float32")},
    )  # fmt: skip
    x = torch.full((1, 3, 4, 4), math.nan)
    about = NetworkRanges(quantizer="trtbench", observer="entropy", samples=1, data="nan.npz", tensors=observed(x))
    (tmp_path / SUMMARY).write_bytes(msgspec.json.encode(about))
    with pytest.raises(SuiteError, match=r"mine\.yaml:16: data: nan\.npz: the input 'x' is NaN or infinite in places"):
        artifact.read(tmp_path, case)
    (tmp_path / SUMMARY).write_bytes(msgspec.json.encode(msgspec.structs.replace(about, data="")))
    with pytest.raises(Unsupported, match="x: an activation that is NaN or infinite"):
        artifact.read(tmp_path, case)
