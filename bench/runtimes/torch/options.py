"""The options that every PyTorch backend has."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from bench.model import seam
from bench.runtimes.quantization import OBSERVER_OF_FP8, SAMPLES, check_data


class TorchOptions(seam.Options, frozen=True, kw_only=True):
    """Options of every PyTorch backend.

    ``memory_format`` is that of the model and of 4-D inputs. ``autocast`` keeps float32 weights and lets torch choose
    each operator's precision, in place of converting the weights.
    """

    memory_format: Literal["contiguous", "channels_last"] = "contiguous"
    autocast: bool = False


class Fp8Options(TorchOptions, frozen=True, kw_only=True):
    """Options of a backend that converts linear layers to fp8.

    ``scales: static`` are from a calibration, by ``observer``, ``samples`` and ``data``; ``dynamic`` are those of the
    largest magnitude in each call. The linear layers of the modules in ``floating`` stay in float16.
    """

    scales: Literal["static", "dynamic"] | None = None
    observer: Literal["minmax", "moving_average", "percentile"] | None = None
    samples: Annotated[int, msgspec.Meta(ge=1)] | None = None
    data: str | None = None
    floating: list[str] | None = None

    def __post_init__(self) -> None:
        check_data(self.data)
        if self.floating == []:  # no modules, as without the option: the same case
            msgspec.structs.force_setattr(self, "floating", None)

    def in_force(self, precision: str) -> dict[str, Any]:
        """At fp8 with the defaults of the scales, and with static ones of their calibration."""
        every = super().in_force(precision)
        if precision != "fp8":
            return every
        every |= {"scales": self.scales or "static", "floating": self.floating or []}
        if self.scales != "dynamic":
            observer, samples = self.observer or OBSERVER_OF_FP8, self.samples or SAMPLES
            every |= {"observer": observer, "samples": samples, "data": self.data or ""}
        return every
