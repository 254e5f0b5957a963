"""Quantize and dequantize: symmetric int8 and fp8, with one scale or one for each index of a dimension."""

from __future__ import annotations

from typing import Any, ClassVar

import torch

from bench.lowering.oracle.core import FLOATS, TYPES, Layer, wide


class _Scaled(Layer):
    """Input 1 is the scale: no dimension, or one as long as the input's dimension ``axis``; positive constants."""

    settings: ClassVar[dict[str, Any]] = {"axis": None, "to_type": None}

    def _scale(self) -> torch.Tensor:
        self.require_type({"FLOAT"}, 1)
        x, scale = self.value(0), self.value(1)
        self.require(scale.dim() <= 1, f"a scale of shape {tuple(scale.shape)}")
        self.require(bool((scale > 0).all()) and bool(scale.isfinite().all()), "a scale that is not positive")
        if scale.dim() == 0:
            return scale
        axis = -1 if self.axis is None else int(self.axis)
        self.require(0 <= axis < x.dim(), f"{len(scale)} scales, and the axis {self.axis} of {x.dim()} dimensions")
        self.require(len(scale) == x.shape[axis], f"{len(scale)} scales for the sizes {tuple(x.shape)} at {axis}")
        return scale.reshape([-1 if dim == axis else 1 for dim in range(x.dim())])


class Quantize(_Scaled):
    """round(x / scale) to the nearest even number within -128 and 127, or to fp8 (e4m3) within -448 and 448."""

    interface = "IQuantizeLayer"

    def _compute(self) -> list[torch.Tensor]:
        self.require_type(FLOATS, 0)
        kind = "INT8" if self.to_type is None else self.member(self.to_type, "DataType")
        self.require(kind in ("INT8", "FP8"), f"quantization to {kind}, which the oracle does not compute")
        if kind == "FP8":
            return [(wide(self.value(0)) / self._scale()).clamp(-448, 448).to(TYPES[kind])]
        return [(wide(self.value(0)) / self._scale()).round().clamp(-128, 127).to(torch.int8)]


class Dequantize(_Scaled):
    """x scale, as FLOAT or as the type that was asked for."""

    interface = "IDequantizeLayer"

    def _compute(self) -> list[torch.Tensor]:
        self.require_type({"INT8", "FP8"}, 0)
        kind = "FLOAT" if self.to_type is None else self.member(self.to_type, "DataType")
        self.require(kind in FLOATS, f"dequantization to {kind}")
        return [(self.value(0).float() * self._scale()).to(TYPES[kind])]
