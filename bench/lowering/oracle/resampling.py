"""Layers that sample between values: resize, grid sample."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch.nn import functional as F

from bench.lowering.oracle.core import FLOATS, Layer, wide

_ROUNDINGS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "HALF_UP": lambda x: torch.floor(x + 0.5),
    "HALF_DOWN": lambda x: torch.ceil(x - 0.5),
    "FLOOR": torch.floor,
    "CEIL": torch.ceil,
}


class Resize(Layer):
    """Other sizes of the last dimensions: three at most, with CUBIC two.

    The sizes are ``shape``, input 1, or the input's times ``scales``. Place i of the result is in the input i in / out
    (ASYMMETRIC), (i + 0.5) in / out - 0.5 (HALF_PIXEL) or i (in - 1) / (out - 1) (ALIGN_CORNERS), in float32.
    """

    interface = "IResizeLayer"
    optional_inputs = 1
    settings = {
        "shape": (), "scales": (), "resize_mode": None, "coordinate_transformation": None,
        "selector_for_single_pixel": None, "nearest_rounding": None, "exclude_outside": False, "cubic_coeff": -0.75,
    }  # fmt: skip

    def _compute(self) -> list[torch.Tensor]:
        x = self.value(0)
        mode = "NEAREST" if self.resize_mode is None else self.member(self.resize_mode, "InterpolationMode")
        self.require_type(FLOATS | ({"INT8"} if mode == "NEAREST" else set()), 0)
        sizes = self._sizes(tuple(x.shape))
        changed = [axis for axis, (size, other) in enumerate(zip(x.shape, sizes, strict=True)) if size != other]
        last = 2 if mode == "CUBIC" else 3
        self.require(
            not changed or changed[0] >= x.dim() - last, f"{tuple(x.shape)} to {sizes}: {mode} takes the last {last}"
        )
        y = wide(x)
        for axis in changed:
            y = self._along(y, axis, sizes[axis], mode)
        return [y.to(x.dtype)]

    def _sizes(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        scales = tuple(self.scales)
        if self.has(1):
            sizes = self.integers(1)
        elif scales:
            self.require(len(scales) == len(shape), f"{len(scales)} scales of {len(shape)} dimensions")
            exact = [size * scale for size, scale in zip(shape, scales, strict=True)]
            self.require(
                all(size == int(size) for size in exact),
                f"scales {scales} of {shape} give no whole sizes: which ratio then holds is not documented; set shape",
            )
            sizes = tuple(int(size) for size in exact)
        else:
            sizes = tuple(int(size) for size in self.shape) or shape
        self.require(len(sizes) == len(shape) and min(sizes) > 0, f"sizes {sizes} of a tensor of shape {shape}")
        return sizes

    def _places(self, before: int, after: int) -> torch.Tensor:
        """The place in the input of each value of the result."""
        kind = self.coordinate_transformation
        transformation = "ASYMMETRIC" if kind is None else self.member(kind, "ResizeCoordinateTransformation")
        single = self.selector_for_single_pixel
        selector = "FORMULA" if single is None else self.member(single, "ResizeSelector")
        index = torch.arange(after, dtype=torch.float32)
        if after == 1 and selector == "UPPER":
            return index
        if transformation == "ALIGN_CORNERS":
            self.require(after > 1, "ALIGN_CORNERS to one value divides by 0; set selector_for_single_pixel to UPPER")
            return index * ((before - 1) / (after - 1))
        ratio = torch.tensor(before, dtype=torch.float32) / after
        return index * ratio if transformation == "ASYMMETRIC" else (index + 0.5) * ratio - 0.5

    def _along(self, x: torch.Tensor, axis: int, after: int, mode: str) -> torch.Tensor:
        before = x.shape[axis]
        places = self._places(before, after)
        if mode == "NEAREST":
            kind = self.nearest_rounding
            rounding = "FLOOR" if kind is None else self.member(kind, "ResizeRoundMode")
            nearest = _ROUNDINGS[rounding](places).long().clamp(0, before - 1)
            return x.index_select(axis, nearest)
        low = torch.floor(places)
        part = places - low
        if mode == "LINEAR":
            taps = [(0, 1 - part), (1, part)]
        else:
            taps = [(step, cubic(step - part, self.cubic_coeff)) for step in (-1, 0, 1, 2)]
        inside = [((low + step >= 0) & (low + step < before)).float() for step, _ in taps]
        if self.exclude_outside and mode == "CUBIC":
            total = sum(weight * flag for (_, weight), flag in zip(taps, inside, strict=True))
            taps = [(step, weight * flag / total) for (step, weight), flag in zip(taps, inside, strict=True)]
        shape = [-1 if index == axis else 1 for index in range(x.dim())]
        result = torch.zeros(())
        for step, weight in taps:
            index = (low + step).long().clamp(0, before - 1)
            result = result + x.index_select(axis, index) * weight.reshape(shape)
        return result


def cubic(distance: torch.Tensor, a: float) -> torch.Tensor:
    """The weight of a value at a distance, by Keys' kernel with coefficient ``a``."""
    d = distance.abs()
    near = ((a + 2) * d - (a + 3)) * d * d + 1
    far = ((a * d - 5 * a) * d + 8 * a) * d - 4 * a
    return torch.where(d <= 1, near, torch.where(d < 2, far, torch.zeros_like(d)))


class GridSample(Layer):
    """Values of an image at places between -1 and 1, x first; outside it 0, the edge, or its reflection."""

    interface = "IGridSampleLayer"
    settings = {"interpolation_mode": None, "align_corners": False, "sample_mode": None}

    def _compute(self) -> list[torch.Tensor]:
        self.require_type(FLOATS, 0)
        self.require_type(FLOATS, 1)
        x, grid = self.value(0), self.value(1)
        self.require(
            x.dim() == 4 and grid.dim() == 4, f"inputs of {x.dim()} and {grid.dim()} dimensions; it takes four"
        )
        mode = (
            "LINEAR" if self.interpolation_mode is None else self.member(self.interpolation_mode, "InterpolationMode")
        )
        outside = "FILL" if self.sample_mode is None else self.member(self.sample_mode, "SampleMode")
        paddings = {"FILL": "zeros", "CLAMP": "border", "REFLECT": "reflection"}
        self.require(outside in paddings, f"sample_mode {outside}")
        modes = {"LINEAR": "bilinear", "NEAREST": "nearest", "CUBIC": "bicubic"}
        result = F.grid_sample(
            wide(x),
            wide(grid),
            mode=modes[mode],
            padding_mode=paddings[outside],
            align_corners=bool(self.align_corners),
        )
        return [result.to(x.dtype)]
