"""Images in other sizes, and at other places."""

from __future__ import annotations

from typing import Any

from bench.lowering.calls import Tensor
from bench.lowering.registry import converter, variant
from bench.lowering.sizes import Size
from bench.lowering.writer import Writer


@converter(
    "aten.upsample_nearest2d.vec", "aten.upsample_nearest1d.vec", "aten.upsample_nearest3d.vec",
    layers="IResizeLayer NEAREST",
)  # fmt: skip
def upsample_nearest(w: Writer, *, input: Tensor, output_size: Any, scale_factors: list[float] | None) -> Tensor:
    """The value at the place rounded down."""
    return _resize(w, input, scale_factors, "NEAREST", "ASYMMETRIC", rounding="FLOOR")


@converter(
    "aten._upsample_nearest_exact2d.vec", "aten._upsample_nearest_exact1d.vec", "aten._upsample_nearest_exact3d.vec",
    layers="IResizeLayer NEAREST",
)  # fmt: skip
def upsample_nearest_exact(w: Writer, *, input: Tensor, output_size: Any, scale_factors: list[float] | None) -> Tensor:
    """The value nearest to the centre."""
    return _resize(w, input, scale_factors, "NEAREST", "HALF_PIXEL", rounding="HALF_UP")


@converter(
    "aten.upsample_bilinear2d.vec", "aten.upsample_linear1d.vec", "aten.upsample_trilinear3d.vec",
    layers="IResizeLayer LINEAR",
)  # fmt: skip
def upsample_linear(
    w: Writer, *, input: Tensor, output_size: Any, align_corners: bool, scale_factors: list[float] | None
) -> Tensor:
    """Between the nearest values, by distance."""
    return _resize(w, input, scale_factors, "LINEAR", "ALIGN_CORNERS" if align_corners else "HALF_PIXEL")


@converter("aten.upsample_bicubic2d.vec", layers="IResizeLayer CUBIC")
def upsample_bicubic2d(
    w: Writer, *, input: Tensor, output_size: Any, align_corners: bool, scale_factors: list[float] | None
) -> Tensor:
    """By cubic polynomials through four values of each dimension."""
    return _resize(w, input, scale_factors, "CUBIC", "ALIGN_CORNERS" if align_corners else "HALF_PIXEL")


def _resize(
    w: Writer, input: Tensor, scales: list[float] | None, mode: str, transformation: str, rounding: str = ""
) -> Tensor:
    spatial = input.shape[2:]
    if scales and transformation != "ALIGN_CORNERS":  # places go by the factor, not by the ratio of the sizes
        for size, scale in zip(spatial, scales, strict=True):
            whole = scale == int(scale) if isinstance(size, Size) else size * scale == int(size * scale)
            if not whole:
                raise w.refuse(f"interpolate by {scale} of {size} values, no whole number; pass size, not scale_factor")
    layer = w.net.add_resize(input)
    sizes = w.sizes(w.result.shape)
    if isinstance(sizes, tuple):
        layer.shape = sizes
    else:
        layer.set_input(1, sizes)
    layer.resize_mode = getattr(w.trt.InterpolationMode, mode)
    layer.coordinate_transformation = getattr(w.trt.ResizeCoordinateTransformation, transformation)
    if rounding:
        layer.nearest_rounding = getattr(w.trt.ResizeRoundMode, rounding)
    if transformation == "ALIGN_CORNERS":
        layer.selector_for_single_pixel = w.trt.ResizeSelector.UPPER
    return w.out(layer)


@converter("aten.grid_sampler.default", layers="IGridSampleLayer")
def grid_sampler(
    w: Writer, *, input: Tensor, grid: Tensor, interpolation_mode: int, padding_mode: int, align_corners: bool
) -> Tensor:
    """Values of an image at places between -1 and 1."""
    if input.rank != 4:
        raise w.refuse(f"grid_sample of {input.rank} dimensions; TensorRT takes 4")
    layer = w.net.add_grid_sample(input, w.cast(grid, input.dtype))
    layer.interpolation_mode = getattr(w.trt.InterpolationMode, ("LINEAR", "NEAREST", "CUBIC")[interpolation_mode])
    layer.sample_mode = getattr(w.trt.SampleMode, ("FILL", "CLAMP", "REFLECT")[padding_mode])
    layer.align_corners = align_corners
    return w.out(layer)


@variant("aten.grid_sampler_2d.default", of="grid_sampler")
def _grid_sampler_2d(result: Any, **kwargs: Any) -> dict[str, Any]:
    return kwargs
