"""Calibration of linear layers for fp8: the ranges of their inputs, by the observers of int8, without a graph.

The model runs as a module, so that a range has the path of the layer that the tensor enters, and models that
torch.export cannot take are calibrated too.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from bench import tensors
from bench.errors import SuiteError, Unsupported
from bench.lowering.quantize import observers
from bench.lowering.quantize.observers import OBSERVERS, Histogram, Observer
from bench.lowering.quantize.scales import Range
from bench.model.data import Data
from bench.model.seam import Context, Stage
from bench.model.suite import Case
from bench.runtimes import calibration_data, shapes
from bench.runtimes.quantization import OBSERVER_OF_FP8, SAMPLES
from bench.runtimes.torch import fp8, models, session
from bench.runtimes.torch.options import TorchOptions

if TYPE_CHECKING:
    import torch

STAGE, KIND = "calibration", "linear_inputs"
LIMITS, HISTOGRAMS = "linear_inputs.json", "histograms.safetensors"
_STATIC = ("observer", "samples", "data")


class Calibration(Data, frozen=True, kw_only=True):
    """What the linear layers of a model were called with, by path: who observed it, by which observer, on how many
    samples, of which data (empty: drawn).
    """

    quantizer: str
    observer: str
    samples: int
    data: str
    ranges: dict[str, Range]


def unsupported(case: Case) -> str | None:
    """Why the options of a case do not fit its precision, or its sizes no calibration; None if they do."""
    requested = [name for name in ("scales", *_STATIC, "floating") if case.options.get(name)]
    if case.precision != "fp8":
        return f"{', '.join(requested)}: of precision fp8 alone" if requested else None
    if is_static(case):
        return "calibration needs fixed sizes, and the case has dynamic ones: scales: dynamic" if case.dynamic else None
    unused = [name for name in requested if name in _STATIC]
    return f"{', '.join(unused)}: needs scales: static" if unused else None


def is_static(case: Case) -> bool:
    """Whether a case at fp8 has the scales of a calibration."""
    return case.precision == "fp8" and case.options.get("scales") != "dynamic"


def stages(case: Case) -> list[Stage]:
    """The calibration of a case at fp8 with static scales; nothing for any other."""
    if not is_static(case):
        return []
    data = case.options.get("data") or ""
    key = {
        "model": shapes.model_key(case),
        "symbols": case.symbols,
        "code": _digest(),
        "observer": case.options.get("observer") or OBSERVER_OF_FP8,
        "samples": case.options.get("samples") or SAMPLES,
        "data": data,
    }
    files = (data.partition(":")[0],) if data else ()
    libraries = shapes.libraries(case)
    return [Stage(name=STAGE, kind=KIND, producer="eager", key=key, libraries=libraries, files=files)]


def produce(case: Case, context: Context, out: Path, key: Mapping[str, Any]) -> None:
    """Run the model in float32 on the CPU and write the range of the input of each linear layer that is called into
    ``out``, with histograms of observers that have them. ``key`` is the stage's. Phases: import, load, calibrate.

    Raises:
        SuiteError: the calibration data do not fit, are NaN, or there are none.
        Unsupported: an input is always zero, or not finite; names the module.
    """
    plain = msgspec.structs.replace(case, precision="fp32", options={})
    on_cpu = msgspec.structs.replace(context, device="cpu")
    with session.torch_session(plain, on_cpu), session.own_warnings_filtered():
        with context.phase("load"):
            model = models.load_model(plain, TorchOptions(), on_cpu, "cpu")
        with context.phase("calibrate"):
            seen, samples = _observe(model, case, context, key)
            try:
                ranges = {path: observer.range() for path, observer in seen.items()}
            except Unsupported:
                calibration_data.check_numbers(case, context, key["samples"], key["data"])
                raise
    about = Calibration(
        quantizer="trtbench", observer=key["observer"], samples=samples, data=key["data"], ranges=ranges
    )  # fmt: skip
    (out / LIMITS).write_bytes(msgspec.json.format(msgspec.json.encode(about), indent=1))
    arrays: dict[str, Any] = {}
    for path, each in seen.items():
        if isinstance(each, Histogram):
            arrays |= {path: each.counts, f"{path}.width": np.array(each.width)}
    tensors.write(out / HISTOGRAMS, arrays)


def read(folder: Path) -> Calibration:
    """A calibration. SuiteError if it is of another version."""
    try:
        return msgspec.json.decode((folder / LIMITS).read_bytes(), type=Calibration)
    except (OSError, msgspec.MsgspecError) as error:
        raise SuiteError(f"{folder / LIMITS} is no calibration: {error}", fix="--rebuild") from error


def scales(case: Case, context: Context) -> fp8.Scales:
    """The scales of a case at fp8. SuiteError if its calibration is of another version."""
    floating = tuple(case.options.get("floating") or ())
    if not is_static(case):
        return fp8.Scales(floating=floating)
    ranges = read(context.artifacts[STAGE]).ranges
    return fp8.Scales(limits={path: each.limits[0] for path, each in ranges.items()}, floating=floating)


def load_model(case: Case, options: TorchOptions, context: Context) -> tuple[torch.nn.Module, dict[str, Any]]:
    """The model of a case on its device, with its linear layers at fp8 if the case is; then the second says which, and
    by which calibration, for the fairness report. Errors as of ``models.load_model`` and ``models.load_fp8``.
    """
    if case.precision != "fp8":
        return models.load_model(case, options, context, context.device), {}
    model, report = models.load_fp8(case, options, context, scales(case, context))
    if is_static(case):
        about = read(context.artifacts[STAGE])
        report["calibration"] = {name: getattr(about, name) for name in ("quantizer", *_STATIC)}
    return model, report


def _observe(
    model: torch.nn.Module, case: Case, context: Context, how: Mapping[str, Any]
) -> tuple[dict[str, Observer], int]:
    """The observers of the layers that were called, by path, and how many samples they have seen."""
    import torch

    seen: dict[str, Observer] = {}

    def see(path: str, module: torch.nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
        if path not in seen:
            seen[path] = OBSERVERS[how["observer"]](path or "the model")
        value = args[0] if args else kwargs["input"]
        seen[path].see(value.detach().float())

    hooks = [
        layer.register_forward_pre_hook(functools.partial(see, path), with_kwargs=True)
        for path, layer in fp8.linear_layers(model).items()
    ]
    samples = 0
    with torch.no_grad():
        for arrays in calibration_data.batches(case, context, how["samples"], how["data"]):
            # copies: a model may write into its inputs, which are a user's own arrays
            model(**{name: torch.tensor(np.ascontiguousarray(array)) for name, array in arrays.items()})
            samples += case.batch
            context.tell(f"{samples} of {how['samples']} samples")
    for hook in hooks:
        hook.remove()
    if not samples:
        raise SuiteError("there are no inputs to calibrate with", where=case.source, fix="samples: 128, or data")
    return seen, samples


def _digest() -> str:
    """A digest of the code that calibrates."""
    files = (Path(__file__), Path(observers.__file__))
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()[:16]
