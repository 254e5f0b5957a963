"""Deformable convolution in operators that every route knows: indices, bilinear interpolation, one matrix product."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

Pair = int | tuple[int, int]


def deform_conv2d(
    input: torch.Tensor, offset: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None,
    stride: Pair = (1, 1), padding: Pair = (0, 0), dilation: Pair = (1, 1), mask: torch.Tensor | None = None,
) -> torch.Tensor:  # fmt: skip
    """``torchvision.ops.deform_conv2d``: DCNv2 (Zhu et al., 2018, arXiv:1811.11168), without a mask DCNv1.

    ``input`` [batch, channels, H, W] and ``weight`` [outputs, channels / groups, kh, kw] give [batch, outputs, h, w].
    ``offset`` [batch, 2 g kh kw, h, w] moves each tap: of each of g groups of channels and each tap first its rows,
    then its columns, in pixels. ``mask`` [batch, g kh kw, h, w] scales taps. Beyond the borders the input is zero.

    A tap's value is interpolated between four pixels. All channels of a pixel lie together, so that a pixel is one row
    of a table and the four reads are of whole rows. Places are float32 whatever the input: half precision has steps
    of an eighth of a pixel from 128 on.
    """
    import torch

    (sy, sx), (py, px), (dy, dx) = _pair(stride), _pair(padding), _pair(dilation)
    batch, channels, height, width = input.shape
    outputs, per_group, kh, kw = weight.shape
    taps, rows, columns = kh * kw, offset.shape[2], offset.shape[3]
    groups = offset.shape[1] // (2 * taps)

    def by_pixel(x: torch.Tensor, parts: int) -> Any:
        """[batch, groups parts taps, h, w], per part as [batch, h, w, taps, groups]."""
        x = x.reshape(batch, groups, taps, parts, rows, columns).permute(3, 0, 4, 5, 2, 1)
        return [x[index].to(torch.float32) for index in range(parts)]

    def places(count: int, step: int, before: int, axis: int) -> torch.Tensor:
        """Where the first tap of each output lies, in a dimension of its own."""
        start = torch.arange(count, dtype=torch.float32, device=input.device) * step - before
        return start.reshape([count if at == axis else 1 for at in range(5)])

    def taps_of(steps: torch.Tensor) -> torch.Tensor:
        """[kh, kw] as [taps, 1]."""
        return steps.expand(kh, kw).reshape(taps, 1)

    down = taps_of(torch.arange(kh, dtype=torch.float32, device=input.device)[:, None] * dy)
    across = taps_of(torch.arange(kw, dtype=torch.float32, device=input.device)[None] * dx)
    moved_y, moved_x = by_pixel(offset, 2)
    y = moved_y + places(rows, sy, py, 1) + down
    x = moved_x + places(columns, sx, px, 2) + across
    scale = None if mask is None else by_pixel(mask, 1)[0]

    table = input.permute(0, 2, 3, 1).reshape(-1, channels // groups)  # a row: a pixel's channels of one group
    first = torch.arange(batch, device=input.device).reshape(-1, 1, 1, 1, 1) * (height * width)
    group = torch.arange(groups, device=input.device)
    total: Any = None
    columns_near = _neighbours(x, width)
    for row, row_share in _neighbours(y, height):
        for column, column_share in columns_near:
            share = row_share * column_share if scale is None else row_share * column_share * scale
            entries = ((first + (row * width + column)) * groups + group).reshape(-1)
            values = table.index_select(0, entries)
            values = values.reshape(batch, rows * columns, taps, groups, channels // groups)
            part = values * share.to(input.dtype).reshape(batch, rows * columns, taps, groups, 1)
            total = part if total is None else total + part

    split = channels // per_group
    read = total.reshape(batch, rows * columns, taps, split, per_group).permute(0, 3, 1, 2, 4)
    kernel = weight.reshape(split, outputs // split, per_group, taps).permute(0, 3, 2, 1)
    product = read.reshape(batch, split, rows * columns, taps * per_group) @ kernel.reshape(
        split, taps * per_group, outputs // split
    )
    result = product.permute(0, 1, 3, 2).reshape(batch, outputs, rows, columns)
    return result if bias is None else result + bias.reshape(-1, 1, 1)


def _neighbours(place: torch.Tensor, size: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The pixels on both sides of each place in one dimension, moved inside it, and their shares: 0 of one outside."""
    import torch

    before, pairs = torch.floor(place), []
    for near in (before, before + 1):
        inside = torch.logical_and(near >= 0, near <= size - 1)
        share = torch.where(inside, 1 - (place - near).abs(), 0.0)
        pairs.append((near.clamp(0, size - 1).to(torch.int64), share))
    return pairs


def decompositions() -> dict[Any, Any]:
    """The decomposition of torchvision's operator by it, once torchvision is imported; else none."""
    import torch

    if not hasattr(torch.ops.torchvision, "deform_conv2d"):
        return {}

    def operator(
        input: Any, weight: Any, offset: Any, mask: Any, bias: Any, stride_h: int, stride_w: int, pad_h: int,
        pad_w: int, dilation_h: int, dilation_w: int, groups: int, offset_groups: int, use_mask: bool,
    ) -> Any:  # fmt: skip
        steps = (stride_h, stride_w), (pad_h, pad_w), (dilation_h, dilation_w)
        return deform_conv2d(input, offset, weight, bias, *steps, mask if use_mask else None)

    return {torch.ops.torchvision.deform_conv2d.default: operator}


def _pair(value: Pair) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value
