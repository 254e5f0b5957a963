"""A precision in terms of torch: its dtype, and TF32 on or off in every library."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from bench.model.suite import Precision

if TYPE_CHECKING:
    import torch


def dtype(precision: Precision) -> torch.dtype:
    """The torch dtype of weights, inputs and outputs at ``precision``."""
    import torch

    return {"fp32": torch.float32, "tf32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[precision]


@contextlib.contextmanager
def tf32(on: bool) -> Iterator[None]:
    """TF32 on or off in cuBLAS and cuDNN for the block.

    Uses the older of torch's two APIs, which torch 2.2 to 2.13 have; reading it after the newer one was written raises.
    """
    import torch

    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = torch.get_float32_matmul_precision(), matmul.allow_tf32, cudnn.allow_tf32
    set_tf32(on)
    try:
        yield
    finally:
        _set_older(*before)


def set_tf32(on: bool) -> None:
    """TF32 on or off, whatever was set before and by which API: a user's file may set any of them when it is imported.

    ``torch.set_float32_matmul_precision("medium")`` is undone too, which makes a CPU multiply float32 as bfloat16.
    """
    import torch

    # What the newer API wrote (torch 2.9 and later) would stay in force over the older one.
    mkldnn = torch.backends.mkldnn
    operators = [getattr(mkldnn, name, None) for name in ("conv", "rnn")]
    for place in (torch.backends, torch.backends.cudnn, mkldnn, *operators):
        if getattr(place, "fp32_precision", "none") != "none":
            place.fp32_precision = "none"
    _set_older("high" if on else "highest", on, on)


def _set_older(precision: str, matmul: bool, cudnn: bool) -> None:
    import torch

    torch.set_float32_matmul_precision(precision)
    torch.backends.cuda.matmul.allow_tf32 = matmul
    torch.backends.cudnn.allow_tf32 = cudnn
