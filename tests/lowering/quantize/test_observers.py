"""Observers: the limits that they find, how histograms grow, and what has no scale."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from hypothesis import given  # noqa: E402
from hypothesis import strategies as st  # noqa: E402

from bench.errors import Unsupported  # noqa: E402
from bench.lowering.quantize.observers import BINS, MOST_CLIPPED, OBSERVERS, Entropy, Histogram, divergence  # noqa: E402

pytestmark = pytest.mark.torch


def seen(name: str, *values: Any) -> Any:
    observer = OBSERVERS[name]("layer1.conv")
    for value in values:
        observer.see(torch.as_tensor(value, dtype=torch.float32))
    return observer


def test_minmax_is_the_largest_magnitude_of_all_inputs() -> None:
    found = seen("minmax", [1.0, -3.0], [2.0, 0.5]).range()
    assert (found.limits, found.least, found.most, found.method, found.module) == (
        (3.0,), -3.0, 2.0, "minmax", "layer1.conv",
    )  # fmt: skip
    assert found.scales == (3.0 / 127,)


def test_a_moving_average_takes_a_hundredth_of_each_further_input() -> None:
    assert seen("moving_average", [1.0], [-3.0]).range().limits == pytest.approx((1.0 + 0.01 * 2.0,))


def test_a_percentile_leaves_out_what_is_rare() -> None:
    values = torch.cat([torch.linspace(-1, 1, 100_000), torch.tensor([50.0])])
    found = seen("percentile", values).range()
    assert 1 <= found.limits[0] < 1.1
    assert 0 < found.clipped <= 2 / 100_001


def test_entropy_clips_a_long_tail_and_keeps_what_is_even() -> None:
    generator = torch.Generator().manual_seed(0)
    tail = torch.cat([torch.randn(100_000, generator=generator), torch.tensor([40.0])])
    assert 2 < seen("entropy", tail).range().limits[0] < 20
    even = torch.rand(100_000, generator=generator)
    assert seen("entropy", even).range().limits[0] > 0.9


def test_a_tensor_of_few_bins_is_not_clipped() -> None:
    assert seen("entropy", [0.5, 0.5, 1.0]).range().limits[0] == pytest.approx(1.0, rel=2 / BINS)


@given(
    st.lists(
        st.lists(st.floats(-1e4, 1e4, width=32, allow_nan=False).filter(lambda x: x == 0 or abs(x) > 1e-3), min_size=1),
        min_size=1, max_size=5,
    )
)  # fmt: skip
def test_a_histogram_counts_every_value_however_it_grows(inputs: list[list[float]]) -> None:
    observer = seen("entropy", *inputs)
    assert isinstance(observer, Histogram)
    assert observer.counts.sum() == sum(map(len, inputs))
    largest = max(abs(value) for each in inputs for value in each)
    assert observer.width * BINS >= largest * (1 - 1e-6)
    assert (observer.width == 0) == (largest == 0)


def test_the_divergence_is_zero_where_nothing_is_merged() -> None:
    counts = np.arange(1.0, 129.0)
    assert divergence(counts, 128) == pytest.approx(0)
    assert divergence(np.concatenate([counts, [10.0]]), 128) > 0
    assert divergence(np.zeros(256), 128) == math.inf


def test_rounding_two_bins_to_one_level_costs_what_the_formula_says() -> None:
    counts = np.tile([1.0, 3.0], 128)
    p, q = counts / counts.sum(), np.full(256, 1 / 256)
    assert divergence(counts, 256) == pytest.approx(float((p * np.log(p / q)).sum()))


@pytest.mark.parametrize("name", OBSERVERS)
def test_what_has_no_scale_names_the_module(name: str) -> None:
    with pytest.raises(Unsupported, match=r"layer1.conv: an activation that is zero for all inputs") as error:
        seen(name, [0.0, 0.0]).range()
    assert error.value.fix
    for wrong in (math.nan, math.inf):
        with pytest.raises(Unsupported, match=r"layer1.conv: an activation that is NaN or infinite"):
            seen(name, [1.0, wrong]).range()
    with pytest.raises(Unsupported, match=r"layer1.conv: an activation without values"):
        seen(name, []).range()


@pytest.mark.parametrize("name", OBSERVERS)
@pytest.mark.parametrize(
    ("values", "problem"),
    [
        (([0.0], [0.0]), "zero"), (([2.0], [2.0, 2.0]), "constant"), (([-1.0], [-1.0]), "constant"),
        (([],), "no values"), (([1.0, math.nan], [2.0]), "not finite"), (([math.inf],), "not finite"),
        (([0.0], [1.0]), None),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_tensor_is_kept_and_its_other_values_too(name: str, values: Any, problem: Any) -> None:
    observer = seen(name, *values)
    assert observer.problem == problem
    finite = [value for each in values for value in each if math.isfinite(value)]
    assert (observer.least, observer.most) == (min(finite, default=math.inf), max(finite, default=-math.inf))


@pytest.mark.parametrize("size", [32, 320, 5000])
def test_entropy_clips_few_values_whose_magnitudes_begin_far_from_0(size: int) -> None:
    values = torch.linspace(0.1029, 0.3837, size)
    observer = seen("entropy", values[: size // 2], values[size // 2 :])
    limit = observer.range().limits[0]
    assert (values > limit).float().mean() <= MOST_CLIPPED + 1 / size
    assert observer.clipped(limit) <= MOST_CLIPPED


def test_the_entropy_of_a_tensor_with_zeros_is_that_of_the_rest() -> None:
    values = torch.randn(10_000, generator=torch.Generator().manual_seed(1))
    assert seen("entropy", torch.cat([values, torch.zeros(90_000)])).range().limits[0] == pytest.approx(
        seen("entropy", values).range().limits[0], rel=0.2
    )
    assert issubclass(OBSERVERS["entropy"], Entropy)
