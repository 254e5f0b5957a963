"""A precision in terms of torch: its dtype, and TF32 on or off in every library."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from bench.errors import Unsupported
from bench.model.suite import Precision

if TYPE_CHECKING:
    import torch


def dtype(precision: Precision) -> torch.dtype:
    """The torch dtype of weights, inputs and outputs at ``precision``; at fp8 of what is not quantized."""
    import torch

    half = torch.float16
    return {"fp32": torch.float32, "tf32": torch.float32, "fp16": half, "fp8": half, "bf16": torch.bfloat16}[precision]


def convert_tensor(tensor: torch.Tensor, to: torch.dtype, device: str | None = None) -> torch.Tensor:
    """``tensor`` on ``device``, as ``to`` if it is float32, float16 or bfloat16.

    All else keeps its dtype: float64 was chosen where it is, complex numbers would lose their imaginary part, and
    integers, booleans and quantised values are no floats.
    """
    import torch

    return tensor.to(device, to if tensor.dtype in (torch.float32, torch.float16, torch.bfloat16) else tensor.dtype)


def convert(model: torch.nn.Module, to: torch.dtype, device: str) -> torch.nn.Module:
    """``model`` on ``device`` with its parameters and buffers as ``convert_tensor`` has them.

    Unsupported if it has floats, all of them float64, and another precision is wanted: the row would be of float64.
    """
    import torch

    kinds = {tensor.dtype for tensor in (*model.parameters(), *model.buffers()) if tensor.is_floating_point()}
    if kinds == {torch.float64} and to != torch.float32:
        what = f"all weights of the model are float64, which no precision converts, so it would not run in {to}"
        raise Unsupported(what, fix="let the factory return float32 weights")
    return model._apply(lambda tensor: convert_tensor(tensor, to, device))


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
