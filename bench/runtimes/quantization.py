"""How a model is quantized at int8: what a suite may say, described once for all backends that quantize."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

from bench.model import seam
from bench.model.data import Data
from bench.model.suite import Case

Producer = Literal["trtbench", "pt2e", "modelopt"]
Observer = Literal["minmax", "moving_average", "percentile", "entropy", "histogram"]
PlacementRule = Literal["fx", "mended"]
_OF_8_BITS = ("int8", "fp8")
# Options of a backend whose user, or TensorRT, says what is quantized and how.
_BY_OTHERS = ("calibrator", "network", "program")
# The observer of fp8 by default: float8's steps grow with the value, so that a wide range costs small values little.
OBSERVER_OF_FP8: Literal["minmax"] = "minmax"
SAMPLES = 128


# The observers of each producer, its default first.
OBSERVERS: Mapping[Producer, tuple[Observer, ...]] = {
    "trtbench": ("entropy", "minmax", "moving_average", "percentile"),
    "pt2e": ("histogram", "minmax", "moving_average"),
    "modelopt": ("entropy", "minmax", "percentile"),
}


class QuantizationOptions(seam.Options, frozen=True, kw_only=True):
    """Options of a backend that are of precision int8 alone; ``null`` is the default of ``Settings``, which says what
    each means.
    """

    producer: Producer | None = None
    observer: Observer | None = None
    samples: Annotated[int, msgspec.Meta(ge=1)] | None = None
    data: str | None = None
    placement: PlacementRule | None = None
    floating: list[str] | None = None

    def __post_init__(self) -> None:
        check_data(self.data)
        if self.floating == []:  # no modules, as without the option: the same case
            msgspec.structs.force_setattr(self, "floating", None)
        producer = self.producer or "trtbench"
        if self.observer is not None and self.observer not in OBSERVERS[producer]:
            known = ", ".join(OBSERVERS[producer])
            raise ValueError(f"observer: {self.observer} is none of producer {producer}, which has {known}")

    def in_force(self, precision: str) -> dict[str, Any]:
        """At a precision of 8 bits with the defaults of ``Settings``, unless a network by hand has its own Q/DQ; where
        TensorRT calibrates, with its number of samples alone.
        """
        every = super().in_force(precision)
        if precision not in _OF_8_BITS:
            return every
        if any(every.get(name) for name in _BY_OTHERS):
            calibrates = every.get("calibrator") and not every["calibration_cache"]
            return every | {"samples": self.samples or SAMPLES} if calibrates else every
        if precision == "fp8":
            every["observer"] = self.observer or OBSERVER_OF_FP8
        return every | msgspec.structs.asdict(settings(every)) | {"floating": self.floating or []}


def check_data(data: str | None) -> None:
    """ValueError for the option ``data`` that names neither an .npz nor a function of a file."""
    if data is not None and not data.endswith(".npz") and not data.partition(":")[2]:
        raise ValueError(f"data: {data!r} is neither FILE.npz nor FILE.py:FUNCTION")


# The names of these options.
QUANTIZATION = QuantizationOptions.__struct_fields__


def quantization_options(case: Case) -> str:
    """The names of those that a case has, separated by commas."""
    return ", ".join(name for name in QUANTIZATION if case.options.get(name))


def without_quantization(options: Mapping[str, Any]) -> dict[str, Any]:
    """A case's options without these and TensorRT's calibrator."""
    return {
        name: value for name, value in options.items() if name not in (*QUANTIZATION, "calibrator", "calibration_cache")
    }


class Settings(Data, frozen=True, kw_only=True):
    """How a case at int8 is quantized. ``producer`` is who observes the activations: this package, torchao's PT2E, or
    NVIDIA ModelOpt.
    ``data`` is an ``.npz`` beside the suite with an array for each input, or
    ``file.py:function``, which yields mappings of such arrays; without, inputs are drawn as those of the case. The
    layers of the modules ``floating`` stay in floating point.
    """

    producer: Producer = "trtbench"
    observer: Observer = "entropy"
    samples: int = SAMPLES
    data: str = ""
    placement: PlacementRule = "fx"
    floating: tuple[str, ...] = ()


def settings(options: Mapping[str, Any]) -> Settings:
    """Those among a case's options, or a stage's key; defaults where there are none."""
    requested = {name: value for name in QUANTIZATION if (value := options.get(name)) is not None}
    producer = requested.get("producer", "trtbench")
    return msgspec.convert({"observer": OBSERVERS[producer][0]} | requested, Settings)
