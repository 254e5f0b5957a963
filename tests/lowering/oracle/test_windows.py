"""What the oracle computes of layers that look at windows or sample, against torch: generated shapes and arguments."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from torch.nn import functional as F  # noqa: E402

from bench.lowering import oracle  # noqa: E402
from tests.lowering.oracle import kit  # noqa: E402
from tests.lowering.oracle.kit import few, image, near, seeds  # noqa: E402

pytestmark = pytest.mark.torch


# ------------------------------------------------------------------------------------------------------------- windows


@few
@given(data=st.data(), rank=st.sampled_from((2, 2, 3)), groups=st.sampled_from((1, 2, 4)), transposed=st.booleans())
def test_convolutions(data: st.DataObject, rank: int, groups: int, transposed: bool) -> None:
    x = image(data.draw, 4, rank, least=5)
    window = tuple(data.draw(st.integers(1, 3)) for _ in range(rank))
    stride, padding = (data.draw(st.integers(1, 3)) for _ in range(2))
    padding = min(padding - 1, min(window) - 1)
    dilation = 1 if transposed and stride > 1 else data.draw(st.integers(1, 2))
    kernel = kit.values("FLOAT", ((4, 8 // groups) if transposed else (8, 4 // groups)) + window, data.draw(seeds))
    bias = kit.values("FLOAT", (8,), 1)
    name = f"conv_transpose{rank}d" if transposed else f"conv{rank}d"
    function: Any = getattr(F, name)
    expected = function(x, kernel, bias, stride=stride, padding=padding, dilation=dilation, groups=groups)
    _, net, (tensor,) = kit.network(x)
    add = net.add_deconvolution_nd if transposed else net.add_convolution_nd
    layer = add(tensor, 8, window, kernel.numpy(), bias.numpy())
    layer.stride_nd, layer.padding_nd, layer.dilation_nd = (stride,) * rank, (padding,) * rank, (dilation,) * rank
    layer.num_groups = groups
    near(kit.computed(layer), expected)


@few
@given(data=st.data(), rank=st.sampled_from((2, 2, 3)), ceil=st.booleans(), kind=st.sampled_from(("MAX", "own", "all")))
def test_pooling(data: st.DataObject, rank: int, ceil: bool, kind: str) -> None:
    x = image(data.draw, 3, rank)
    window = tuple(data.draw(st.integers(1, 3)) for _ in range(rank))
    stride = data.draw(st.integers(1, min(window)))  # beyond it torch leaves out windows of padding alone
    padding = data.draw(st.integers(0, min(window) // 2))
    settings = {"stride": stride, "padding": padding, "ceil_mode": ceil}
    if kind == "MAX":
        function: Any = getattr(F, f"max_pool{rank}d")
        expected = function(x, window, **settings)
    else:
        function = getattr(F, f"avg_pool{rank}d")
        expected = function(x, window, count_include_pad=kind == "all", **settings)
    trt, net, (tensor,) = kit.network(x)
    layer = net.add_pooling_nd(tensor, trt.PoolingType.MAX if kind == "MAX" else trt.PoolingType.AVERAGE, window)
    layer.stride_nd, layer.padding_nd = (stride,) * rank, (padding,) * rank
    layer.padding_mode = trt.PaddingMode.EXPLICIT_ROUND_UP if ceil else trt.PaddingMode.EXPLICIT_ROUND_DOWN
    layer.average_count_excludes_padding = kind != "all"
    beyond = [-(size + 2 * padding - extent) % stride for size, extent in zip(x.shape[2:], window, strict=True)]
    if ceil and any(extra and extra + padding >= extent for extra, extent in zip(beyond, window, strict=True)):
        with pytest.raises(oracle.Refusal, match="padding alone"):
            kit.computed(layer)
    else:
        near(kit.computed(layer), expected)


@pytest.mark.parametrize(("mode", "first"), [("SAME_UPPER", 1 + 2 + 3 + 4), ("SAME_LOWER", 0 + 1 + 2 + 3)])
def test_same_padding_puts_the_odd_one_after_or_before(mode: str, first: float) -> None:
    trt, net, (tensor,) = kit.network(torch.arange(1.0, 7.0).reshape(1, 1, 1, 6))
    layer = net.add_convolution_nd(tensor, 1, (1, 4), np.ones((1, 1, 1, 4), np.float32))
    layer.stride_nd, layer.padding_mode = (1, 3), getattr(trt.PaddingMode, mode)
    value = kit.computed(layer)
    assert value.shape[-1] == 2  # ceil(6 / 3), for which one value is padded
    assert value.flatten()[0] == first


# ---------------------------------------------------------------------------------------------------------- resampling


@few
@given(
    data=st.data(), mode=st.sampled_from(("nearest", "nearest-exact", "bilinear", "bicubic")), align=st.booleans(),
    seed=seeds,
)  # fmt: skip
def test_resize_as_interpolate(data: st.DataObject, mode: str, align: bool, seed: int) -> None:
    x = kit.values("FLOAT", (1, 2, *[data.draw(kit.sizes) for _ in range(2)]), seed)
    size = tuple(data.draw(kit.sizes) for _ in range(2))
    align = align and not mode.startswith("nearest")
    expected = F.interpolate(x, size, mode=mode, align_corners=align if not mode.startswith("nearest") else None)
    trt, net, (tensor,) = kit.network(x)
    layer = net.add_resize(tensor)
    layer.shape = (1, 2, *size)
    modes = {"bilinear": "LINEAR", "bicubic": "CUBIC"}
    layer.resize_mode = getattr(trt.InterpolationMode, modes.get(mode, "NEAREST"))
    transformation = "ASYMMETRIC" if mode == "nearest" else "ALIGN_CORNERS" if align else "HALF_PIXEL"
    layer.coordinate_transformation = getattr(trt.ResizeCoordinateTransformation, transformation)
    rounding = trt.ResizeRoundMode.HALF_UP if mode == "nearest-exact" else trt.ResizeRoundMode.FLOOR
    layer.nearest_rounding = rounding
    if align:
        layer.selector_for_single_pixel = trt.ResizeSelector.UPPER
    near(kit.computed(layer), expected)


@few
@given(align=st.booleans(), outside=st.sampled_from(("FILL", "CLAMP", "REFLECT")), seed=seeds)
def test_grid_sample_at_the_corners(align: bool, outside: str, seed: int) -> None:
    x = kit.values("FLOAT", (1, 1, 4, 4), seed)
    place = 1.0 if align else 0.75  # the centre of the last value
    trt, net, tensors = kit.network(x, torch.tensor([[[[-place, -place], [place, -place]]]]))
    layer = net.add_grid_sample(*tensors)
    layer.align_corners, layer.sample_mode = align, getattr(trt.SampleMode, outside)
    near(kit.computed(layer), x[..., :1, [0, 3]])
