"""torchao's PT2E as the producer: its limits, and that its converted graph computes what ours does with them."""

from __future__ import annotations

import importlib.util
import math
from typing import Any

import msgspec
import pytest

torch = pytest.importorskip("torch")

from bench.errors import Unavailable, Unsupported  # noqa: E402
from bench.lowering import lower  # noqa: E402
from bench.lowering.quantize import insert, pt2e, summary  # noqa: E402
from bench.lowering.quantize.calibration import calibrate  # noqa: E402
from bench.runtimes.quantization import QuantizationOptions, Settings, settings  # noqa: E402
from tests.lowering import kit  # noqa: E402
from tests.lowering.quantize import networks  # noqa: E402

pytestmark = pytest.mark.torch
IS_INSTALLED = importlib.util.find_spec("torchao") is not None


def graph() -> kit.Graph:
    """With weights that int8 has exactly, as PT2E is not asked to quantize weights."""
    torch.manual_seed(0)
    network = networks.Residual(8)
    with torch.no_grad():
        for each in (network.stem, network.conv, network.head):
            scale = each.weight.abs().amax((1, 2, 3), keepdim=True) / 127
            each.weight.copy_((each.weight / scale).round() * scale)
    return lower.run_passes(kit.normalised(network, {"x": networks.example()}))


def calibrated(observer: Any, *inputs: Any) -> Any:
    calibration = pt2e.calibration(graph(), Settings(producer="pt2e", observer=observer))
    calibration.run([{"x": each} for each in inputs])
    return calibration


@pytest.mark.skipif(IS_INSTALLED, reason="torchao is installed")
def test_without_torchao_it_says_what_to_install() -> None:
    with pytest.raises(Unavailable, match="producer: pt2e needs torchao") as error:
        pt2e.calibration(graph(), Settings(producer="pt2e"))
    assert error.value.fix == "pip install torchao"


def test_each_producer_has_observers_of_its_own_and_a_default() -> None:
    assert (settings({}).observer, settings({"producer": "pt2e"}).observer) == ("entropy", "histogram")
    assert settings({"producer": "pt2e", "observer": "minmax"}).observer == "minmax"
    for options in ({"observer": "histogram"}, {"producer": "pt2e", "observer": "entropy"}):
        with pytest.raises(msgspec.ValidationError, match=f"{options['observer']} is none of producer"):
            msgspec.convert(options, QuantizationOptions)


@pytest.mark.long
@pytest.mark.skipif(not IS_INSTALLED, reason="pip install torchao")
def test_its_largest_magnitudes_are_ours() -> None:
    inputs = [networks.example(), 2 * networks.example() - 1]
    ranges = calibrated("minmax", *inputs).ranges()
    own = calibrate(graph(), [{"x": each} for each in inputs], "minmax")
    assert list(ranges) == list(own)
    for name, each in ranges.items():
        assert each.limits == pytest.approx(own[name].limits, rel=1e-5)
        assert (each.least, each.most, each.module) == (own[name].least, own[name].most, own[name].module)
        assert each.clipped == 0


@pytest.mark.long
@pytest.mark.skipif(not IS_INSTALLED, reason="pip install torchao")
def test_its_converted_graph_computes_what_ours_does_with_its_limits() -> None:
    x = networks.example()
    calibration = calibrated("minmax", x)
    (theirs,) = calibration.converted()(x)
    ranges = calibration.ranges()
    (ours,) = insert.insert(graph(), ranges)(x)
    step = list(ranges.values())[-1].scales[0]  # PT2E rounds the output too
    torch.testing.assert_close(ours, theirs, atol=0.51 * step, rtol=0)
    assert (ours - theirs).abs().max() > 0.4 * step


@pytest.mark.long
@pytest.mark.skipif(not IS_INSTALLED, reason="pip install torchao")
@pytest.mark.parametrize("observer", ["histogram", "moving_average"])
def test_its_other_observers_clip_and_keep_the_answer(observer: str) -> None:
    x = networks.example()
    x[0, 0, 0, 0] = 20
    calibration = calibrated(observer, x / 2, x)
    ranges = calibration.ranges()
    assert all(each.method == observer for each in ranges.values())
    first = next(iter(ranges.values()))
    assert first.limits[0] < 20 == first.most
    (ours,), (expected,) = insert.insert(graph(), ranges)(x / 4), graph()(x / 4)
    assert float(torch.nn.functional.cosine_similarity(ours.flatten(), expected.flatten(), 0)) > 0.99


@pytest.mark.long
@pytest.mark.skipif(not IS_INSTALLED, reason="pip install torchao")
def test_what_has_no_scale_is_named_as_of_our_own_observers() -> None:
    calibration = calibrated("minmax", torch.full_like(networks.example(), math.nan))
    assert calibration.quantizer.startswith("torchao ")
    with pytest.raises(Unsupported, match=r"^x: an activation that is NaN or infinite"):
        summary.check(calibration.tensors(calibration.ranges()))
