"""NVIDIA ModelOpt as the producer: its calibrators choose the limits, and what is wrong is named as of our own."""

from __future__ import annotations

import importlib.util
import math
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from bench.errors import Unavailable, Unsupported  # noqa: E402
from bench.lowering import lower  # noqa: E402
from bench.lowering.quantize import modelopt, summary  # noqa: E402
from bench.lowering.quantize.calibration import calibrate  # noqa: E402
from bench.runtimes.quantization import Settings  # noqa: E402
from tests.lowering import kit  # noqa: E402
from tests.lowering.quantize import networks  # noqa: E402

IS_INSTALLED = importlib.util.find_spec("modelopt") is not None
pytestmark = pytest.mark.torch


def graph() -> kit.Graph:
    torch.manual_seed(0)
    return lower.run_passes(kit.normalised(networks.Residual(8), {"x": networks.example()}))


def calibrated(observer: Any, *inputs: Any) -> Any:
    calibration = modelopt.calibration(graph(), Settings(producer="modelopt", observer=observer))
    calibration.run([{"x": each} for each in inputs])
    return calibration


@pytest.mark.skipif(IS_INSTALLED, reason="ModelOpt is installed")
def test_without_modelopt_it_says_what_to_install() -> None:
    with pytest.raises(Unavailable, match="producer: modelopt needs NVIDIA ModelOpt") as error:
        modelopt.calibration(graph(), Settings(producer="modelopt"))
    assert error.value.fix == "pip install nvidia-modelopt"


@pytest.mark.long
@pytest.mark.skipif(not IS_INSTALLED, reason="pip install nvidia-modelopt")
def test_its_limits_are_ours_for_the_largest_and_clip_a_tail_for_the_others() -> None:
    x = networks.example()
    inputs = [x / 2, x]
    own = calibrate(graph(), [{"x": each} for each in inputs], "minmax")
    ranges = {observer: calibrated(observer, *inputs).ranges() for observer in ("minmax", "entropy", "percentile")}
    for name, each in own.items():
        assert ranges["minmax"][name].limits == pytest.approx(each.limits, rel=1e-6)
        for observer, of in ranges.items():
            assert of[name].method == observer
            assert 0 < of[name].limits[0] <= each.limits[0] * 1.01
    assert ranges["percentile"]["input_0"].limits[0] < own["input_0"].limits[0]
    wrong = calibrated("minmax", x, torch.full_like(x, math.nan))
    assert wrong.quantizer.startswith("nvidia-modelopt ")
    with pytest.raises(Unsupported, match=r"^x: an activation that is NaN or infinite"):
        summary.check(wrong.tensors(wrong.ranges()))
