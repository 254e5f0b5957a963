"""The options that every PyTorch backend has."""

from __future__ import annotations

from typing import Literal

from bench.model import seam


class TorchOptions(seam.Options, frozen=True, kw_only=True):
    """Options of every PyTorch backend.

    ``memory_format`` is that of the model and of 4-D inputs. ``autocast`` keeps float32 weights and lets torch choose
    each operator's precision, in place of converting the weights.
    """

    memory_format: Literal["contiguous", "channels_last"] = "contiguous"
    autocast: bool = False
