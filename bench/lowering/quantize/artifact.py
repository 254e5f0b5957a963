"""The calibration of a case as an artifact: the ranges of its tensors, and their histograms."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from bench import tensors
from bench.errors import SuiteError
from bench.lowering.quantize import modelopt, pt2e, summary
from bench.lowering.quantize.scales import Range
from bench.model.seam import Context, Stage
from bench.model.suite import Case
from bench.model.tensor_ranges import SUMMARY, NetworkRanges
from bench.runtimes import calibration_data, shapes
from bench.runtimes.quantization import Settings, settings

if TYPE_CHECKING:
    import torch

    from bench.lowering.quantize.calibration import Calibration

STAGE = "calibration"
# What chooses the limits, beside torch.
_PACKAGES = {"pt2e": (pt2e.PACKAGE,), "modelopt": (modelopt.PACKAGE,)}
RANGES, HISTOGRAMS = "ranges.json", "histograms.safetensors"


def stage(case: Case, digest: str) -> Stage:
    """The calibration of a case; ``digest`` is of the lowering's own source. Cases that only place differently, or
    build with other options, share it.
    """
    how = settings(case.options)
    return Stage(
        name=STAGE,
        kind="calibration",
        producer="fx2trt",
        key={
            "model": shapes.model_key(case), "symbols": case.symbols, "lowering": digest, "observer": how.observer,
            "samples": how.samples, "data": how.data, "producer": how.producer,
        },
        libraries=shapes.libraries(case, *_PACKAGES.get(how.producer, ())),
        files=(how.data.partition(":")[0],) if how.data else (),
    )  # fmt: skip


def produce(graph: torch.fx.GraphModule, case: Case, context: Context, out: Path, how: Settings) -> None:
    """Calibrate a normalised graph in float32 and write what was observed into ``out``, also of tensors that have no
    scale. Phase: calibrate. Unavailable without the package of the producer.
    """
    calibrated = _calibration(graph, how)
    with context.phase("calibrate"):
        calibrated.run(inputs(case, context, how), lambda done: context.tell(f"{done} of {how.samples} samples"))
        ranges = calibrated.ranges()
    (out / RANGES).write_bytes(msgspec.json.format(msgspec.json.encode(ranges), indent=1))
    about = NetworkRanges(
        quantizer=calibrated.quantizer, observer=how.observer, samples=calibrated.samples, data=how.data,
        tensors=calibrated.tensors(ranges),
    )  # fmt: skip
    (out / SUMMARY).write_bytes(msgspec.json.encode(about))
    arrays: dict[str, Any] = {}
    for name, (counts, width) in calibrated.histograms().items():
        arrays |= {name: counts, f"{name}.width": np.array(width)}
    tensors.write(out / HISTOGRAMS, arrays)


def _calibration(graph: torch.fx.GraphModule, how: Settings) -> Calibration:
    from bench.lowering.quantize.calibration import Calibration
    from bench.lowering.quantize.observers import OBSERVERS

    if how.producer == "pt2e":
        return pt2e.calibration(graph, how)
    if how.producer == "modelopt":
        return modelopt.calibration(graph, how)
    return Calibration(graph, OBSERVERS[how.observer])


def read(folder: Path, case: Case) -> dict[str, Range]:
    """The ranges of ``case`` by the names of nodes.

    Raises:
        SuiteError: they are of another version, or the user's data are NaN or infinite.
        Unsupported: a tensor has no scale; names the modules.
    """
    try:
        about = _summary(folder)
        for each in about.tensors if about.data else ():
            if each.module in case.resolved and each.problem == "not finite":  # an input as it came
                raise calibration_data.not_finite(case, about.data, each.module)
        summary.check(about.tensors, suite=case.source.rpartition(":")[0] or "SUITE")
        return msgspec.json.decode((folder / RANGES).read_bytes(), type=dict[str, Range])
    except (OSError, msgspec.MsgspecError) as error:
        raise SuiteError(f"{folder / RANGES} is no calibration: {error}", fix="--rebuild") from error


def facts(folder: Path) -> dict[str, Any]:
    """Who quantized, with which observer, how many samples, of which data."""
    about = _summary(folder)
    return {name: getattr(about, name) for name in ("quantizer", "observer", "samples", "data")}


def _summary(folder: Path) -> NetworkRanges:
    return msgspec.json.decode((folder / SUMMARY).read_bytes(), type=NetworkRanges)


def inputs(case: Case, context: Context, how: Settings) -> Iterator[dict[str, torch.Tensor]]:
    """The calibration inputs as tensors, one batch after the other; errors as of ``calibration_data.batches``. They
    hold values of their own: a user's function may write its next batch into the arrays of the one before.
    """
    import torch

    for arrays in calibration_data.batches(case, context, how.samples, how.data):
        yield {name: torch.tensor(np.ascontiguousarray(array)) for name, array in arrays.items()}
