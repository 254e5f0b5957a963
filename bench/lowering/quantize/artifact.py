"""The calibration of a case as an artifact: the ranges of its tensors, and their histograms."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from bench import tensors
from bench.errors import SuiteError
from bench.lowering.quantize.options import Settings, settings
from bench.lowering.quantize.scales import Range
from bench.model.seam import Context, Stage
from bench.model.suite import Case
from bench.runtimes import calibration_data, shapes

if TYPE_CHECKING:
    import torch

STAGE = "calibration"
RANGES, HISTOGRAMS, FACTS = "ranges.json", "histograms.safetensors", "calibration.json"


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
            "samples": how.samples, "data": how.data,
        },
        libraries=shapes.libraries(case),
        files=(how.data.partition(":")[0],) if how.data else (),
    )  # fmt: skip


def produce(graph: torch.fx.GraphModule, case: Case, context: Context, out: Path, how: Settings) -> None:
    """Calibrate a normalised graph in float32 and write what was observed into ``out``. Phase: calibrate."""
    from bench.lowering.quantize import calibration

    calibrated = calibration.Calibration(graph, how.observer)
    with context.phase("calibrate"):
        calibrated.run(inputs(case, context, how), lambda done: context.tell(f"{done} of {how.samples} samples"))
        ranges = calibrated.ranges()
    (out / RANGES).write_bytes(msgspec.json.format(msgspec.json.encode(ranges), indent=1))
    about = {"quantizer": "trtbench", "observer": how.observer, "samples": calibrated.samples, "data": how.data}
    (out / FACTS).write_bytes(msgspec.json.encode(about))
    arrays: dict[str, Any] = {}
    for name, (counts, width) in calibrated.histograms().items():
        arrays |= {name: counts, f"{name}.width": np.array(width)}
    tensors.write(out / HISTOGRAMS, arrays)


def read(folder: Path) -> dict[str, Range]:
    """The ranges by the names of nodes. SuiteError if they are of another version."""
    try:
        return msgspec.json.decode((folder / RANGES).read_bytes(), type=dict[str, Range])
    except (OSError, msgspec.MsgspecError) as error:
        raise SuiteError(f"{folder / RANGES} is no calibration: {error}", fix="--rebuild") from error


def facts(folder: Path) -> dict[str, Any]:
    """Who quantized, with which observer, how many samples, of which data."""
    return msgspec.json.decode((folder / FACTS).read_bytes(), type=dict[str, Any])


def inputs(case: Case, context: Context, how: Settings) -> Iterator[dict[str, torch.Tensor]]:
    """The calibration inputs as tensors, one batch after the other; errors as of ``calibration_data.batches``."""
    import torch

    for arrays in calibration_data.batches(case, context, how.samples, how.data):
        yield {name: torch.from_numpy(np.ascontiguousarray(array)) for name, array in arrays.items()}
