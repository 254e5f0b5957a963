"""The operators that quantize and dequantize in PyTorch: symmetric int8 and fp8 (e4m3), rounded to the nearest even."""

from __future__ import annotations

import torch

from bench.runtimes.torch.fp8 import LARGEST

LEAST, MOST = -128, 127


@torch.library.custom_op("trtbench::quantize", mutates_args=())  # type: ignore[untyped-decorator]
def quantize(self: torch.Tensor, scale: torch.Tensor, axis: int | None = None, dtype: str = "int8") -> torch.Tensor:
    """round(x / scale) within -128 and 127, as TensorRT's IQuantizeLayer, or for ``float8_e4m3fn`` to a number of that
    type within -448 and 448; ``scale`` is one number, or one for each index of the dimension ``axis``.
    """
    if dtype != "int8":
        return (self.float() / along(scale, axis, self.dim())).clamp(-LARGEST, LARGEST).to(getattr(torch, dtype))
    return (self.float() / along(scale, axis, self.dim())).round().clamp(LEAST, MOST).to(torch.int8)


@quantize.register_fake  # type: ignore[untyped-decorator]
def _(self: torch.Tensor, scale: torch.Tensor, axis: int | None = None, dtype: str = "int8") -> torch.Tensor:
    return torch.empty_like(self, dtype=getattr(torch, dtype))


@torch.library.custom_op("trtbench::dequantize", mutates_args=())  # type: ignore[untyped-decorator]
def dequantize(
    self: torch.Tensor, scale: torch.Tensor, axis: int | None = None, dtype: str = "int8", result: str = "float32"
) -> torch.Tensor:
    """x scale, as ``result``."""
    return (self.float() * along(scale, axis, self.dim())).to(getattr(torch, result))


@dequantize.register_fake  # type: ignore[untyped-decorator]
def _(
    self: torch.Tensor, scale: torch.Tensor, axis: int | None = None, dtype: str = "int8", result: str = "float32"
) -> torch.Tensor:
    return torch.empty_like(self, dtype=getattr(torch, result))


def along(scale: torch.Tensor, axis: int | None, rank: int) -> torch.Tensor:
    """``scale`` in a shape that is repeated over the other dimensions."""
    if axis is None:
        return scale.float().reshape(())
    return scale.float().reshape([-1 if dim == axis % rank else 1 for dim in range(rank)])
