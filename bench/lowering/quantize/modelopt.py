"""NVIDIA ModelOpt as the producer of scales: its calibrators see the activations and choose the limits."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import warnings
from typing import TYPE_CHECKING, Any

from bench.errors import Unavailable
from bench.lowering.quantize.observers import Histogram
from bench.model.distributions import install
from bench.runtimes.quantization import Settings

if TYPE_CHECKING:
    import torch

    from bench.lowering.quantize.calibration import Calibration

PACKAGE = "nvidia-modelopt"
_MODULE = "modelopt"
_STEP = 8  # bins between the limits that entropy tries, as of this package's own; each takes milliseconds


class Calibrated(Histogram):
    """A calibrator of ModelOpt (``modelopt.torch.quantization.calib``) beside a histogram for the summary."""

    def __init__(self, where: str, calibrator: Any, method: str) -> None:
        super().__init__(where)
        self.name = method
        self._calibrator = calibrator

    def _see(self, value: torch.Tensor, largest: float) -> None:
        super()._see(value, largest)
        if largest:  # of zeros alone ModelOpt makes bins without a width
            self._calibrator.collect(value.float())

    def _limit(self) -> float:
        if self.name == "minmax":
            return float(self._calibrator.compute_amax())
        return float(self._calibrator.compute_amax(self.name, stride=_STEP))


def calibration(graph: torch.fx.GraphModule, how: Settings) -> Calibration:
    """The calibration of a normalised graph by ModelOpt. Unavailable where it is not installed."""
    if importlib.util.find_spec(_MODULE) is None:
        raise Unavailable("producer: modelopt needs NVIDIA ModelOpt", fix=install(_MODULE))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of versions of other packages, which calibrators do not use
        from modelopt.torch.quantization import calib

    from bench.lowering.quantize.calibration import Calibration

    kind = calib.MaxCalibrator if how.observer == "minmax" else calib.HistogramCalibrator

    def observer(where: str) -> Calibrated:
        return Calibrated(where, kind(num_bits=8, axis=None, unsigned=False), how.observer)

    return Calibration(graph, observer, f"{PACKAGE} {importlib.metadata.version(PACKAGE)}")
