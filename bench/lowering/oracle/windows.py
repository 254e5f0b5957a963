"""Layers that move a window over two or three dimensions: convolution, deconvolution, pooling."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from torch.nn import functional as F

from bench.lowering.oracle.core import FLOATS, NAMES, Layer, weights, wide

Sizes = tuple[int, ...]


class Windows(Layer):
    """What the three share: two or three spatial dimensions after batch and channels, stride, padding."""

    window = "kernel_size_nd"
    settings: ClassVar[dict[str, Any]] = {
        "stride_nd": (), "padding_nd": (), "pre_padding": (), "post_padding": (), "padding_mode": None,
    }  # fmt: skip

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("stride_nd", "padding_nd", "pre_padding", "post_padding", "dilation_nd"):
            value = self._spatial(name, value)
        super().__setattr__(name, value)
        if name == "padding_nd":
            self.pre_padding = self.post_padding = value

    def _spatial(self, name: str, value: Any) -> Sizes:
        sizes = tuple(int(size) for size in value)
        rank = len(getattr(self, self.window))
        self.require(not sizes or len(sizes) == rank, f"{name} = {sizes} for a window of {rank} dimensions")
        least = 0 if "padding" in name else 1
        self.require(all(size >= least for size in sizes), f"{name} = {sizes}; each must be {least} or more")
        return sizes

    def sizes(self, name: str, default: int) -> Sizes:
        """A setting for each spatial dimension."""
        value: Sizes = getattr(self, name)
        return value or (default,) * len(getattr(self, self.window))

    def require_image(self) -> torch.Tensor:
        """The input: batch, channels, and as many dimensions as the window has."""
        x, window = self.value(0), getattr(self, self.window)
        self.require_type(FLOATS, 0)
        self.require(len(window) in (2, 3), f"a window of {len(window)} dimensions; it takes 2 or 3")
        self.require(x.dim() == len(window) + 2, f"an input of shape {tuple(x.shape)} for a window {window}")
        return x

    def padding(self, sizes: Sequence[int], extent: Sizes) -> list[tuple[int, int, int]]:
        """For each dimension the padding before, after, and beyond that, so that the last window ends at the end.

        ``extent``: of one window, dilation included. Rounding up adds the third; SAME pads so that ceil(size / stride)
        windows fit, the odd one after (UPPER) or before (LOWER).
        """
        mode = self.member(self.padding_mode, "PaddingMode") if self.padding_mode is not None else ""
        result = []
        pairs = zip(self.sizes("pre_padding", 0), self.sizes("post_padding", 0), strict=True)
        for size, window, stride, (before, after) in zip(sizes, extent, self.sizes("stride_nd", 1), pairs, strict=True):
            beyond = 0
            if mode.startswith("SAME"):
                total = max((-(-size // stride) - 1) * stride + window - size, 0)
                small, large = total // 2, total - total // 2
                before, after = (small, large) if mode == "SAME_UPPER" else (large, small)
            free = size + before + after - window
            self.require(free >= 0, f"a window of {window} on {size} values and padding {before}, {after}")
            if mode == "EXPLICIT_ROUND_UP":
                beyond = -free % stride
            result.append((before, after, beyond))
        return result


def pad(x: torch.Tensor, padding: Sequence[tuple[int, int]], value: float = 0.0) -> torch.Tensor:
    """Pad the last dimensions; negative numbers cut."""
    return F.pad(x, [size for pair in reversed(padding) for size in pair], value=value)


class Convolution(Windows):
    """Cross-correlation with kernels of shape (maps, channels / groups, *window), and a bias for each map."""

    interface = "IConvolutionLayer"
    optional_inputs = 2  # 1 the kernel, 2 the bias, where they are tensors
    settings = Windows.settings | {
        "num_output_maps": 0, "kernel_size_nd": (), "kernel": None, "bias": None, "dilation_nd": (), "num_groups": 1,
    }  # fmt: skip

    def _compute(self) -> list[torch.Tensor]:
        x = self.require_image()
        self.require(x.shape[1] % self.num_groups == 0, f"{x.shape[1]} channels in {self.num_groups} groups")
        self.require(
            self.num_output_maps % self.num_groups == 0,
            f"{self.num_output_maps} maps in {self.num_groups} groups",
        )
        kernel, bias = self.kernel_of(x), self.bias_of(x)
        return [self.windows(wide(x), wide(kernel), None if bias is None else wide(bias)).to(x.dtype)]

    def windows(self, x: torch.Tensor, kernel: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        """The convolution in float32."""
        dilation = self.sizes("dilation_nd", 1)
        extent = tuple((size - 1) * step + 1 for size, step in zip(kernel.shape[2:], dilation, strict=True))
        padding = self.padding(x.shape[2:], extent)
        x = pad(x, [(before, after + beyond) for before, after, beyond in padding])
        function: Any = F.conv2d if len(dilation) == 2 else F.conv3d
        result: torch.Tensor = function(
            x, kernel, bias, stride=self.sizes("stride_nd", 1), dilation=dilation, groups=self.num_groups
        )
        return result

    def kernel_shape(self, channels: int) -> Sizes:
        """The shape of the kernel for an input of that many channels."""
        return (self.num_output_maps, channels // self.num_groups, *self.kernel_size_nd)

    def kernel_of(self, x: torch.Tensor) -> torch.Tensor:
        """The kernel, a tensor or weights, which must have the input's type."""
        shape = self.kernel_shape(x.shape[1])
        kernel = self._weights_of(x, 1, "kernel", torch.Size(shape).numel())
        if kernel is None:
            raise self.refusal("it has no kernel")
        if self.has(1):
            self.require(tuple(kernel.shape) == shape, f"a kernel of shape {tuple(kernel.shape)}; it takes {shape}")
        return kernel.reshape(shape)

    def bias_of(self, x: torch.Tensor) -> torch.Tensor | None:
        """The bias, if there is one."""
        return self._weights_of(x, 2, "bias", self.num_output_maps)

    def _weights_of(self, x: torch.Tensor, index: int, name: str, count: int) -> torch.Tensor | None:
        values = weights(getattr(self, name))
        self.require(values is None or not self.has(index), f"it has {name} twice, as weights and as input {index}")
        if self.has(index):
            values = self.value(index)
        if values is not None:
            kinds = NAMES[values.dtype], NAMES[x.dtype]
            self.require(kinds[0] == kinds[1], f"{name} of {kinds[0]} for an input of {kinds[1]}")
            self.require(values.numel() == count, f"{name} has {values.numel()} values; it takes {count}")
        return values


class Deconvolution(Convolution):
    """The transpose of a convolution, kernels (channels, maps / groups, *window); padding cuts the result."""

    interface = "IDeconvolutionLayer"

    def kernel_shape(self, channels: int) -> Sizes:
        """The shape of the kernel for an input of that many channels."""
        return (channels, self.num_output_maps // self.num_groups, *self.kernel_size_nd)

    def _compute(self) -> list[torch.Tensor]:
        self.require_type(FLOATS - {"BF16"}, 0)
        return super()._compute()

    def windows(self, x: torch.Tensor, kernel: torch.Tensor, bias: torch.Tensor | None) -> torch.Tensor:
        """The deconvolution in float32."""
        stride, dilation = self.sizes("stride_nd", 1), self.sizes("dilation_nd", 1)
        self.require(max(stride) == 1 or max(dilation) == 1, f"stride {stride} with dilation {dilation} does not build")
        function: Any = F.conv_transpose2d if len(stride) == 2 else F.conv_transpose3d
        result: torch.Tensor = function(x, kernel, bias, stride=stride, dilation=dilation, groups=self.num_groups)
        mode = self.member(self.padding_mode, "PaddingMode") if self.padding_mode is not None else ""
        cuts = []
        pairs = zip(self.sizes("pre_padding", 0), self.sizes("post_padding", 0), strict=True)
        for size, full, step, (before, after) in zip(x.shape[2:], result.shape[2:], stride, pairs, strict=True):
            if mode.startswith("SAME"):
                total = max(full - size * step, 0)
                small, large = total // 2, total - total // 2
                before, after = (small, large) if mode == "SAME_UPPER" else (large, small)
            self.require(before + after < full, f"padding {before}, {after} of a result of {full} values")
            cuts.append((-before, -after))
        return pad(result, cuts)


class Pooling(Windows):
    """The largest value or the average of each window.

    An average counts the values of the window inside the input (``average_count_excludes_padding``) or inside input and
    padding; what rounding up adds is counted in neither case.
    """

    interface = "IPoolingLayer"
    window = "window_size_nd"
    settings = Windows.settings | {
        "type": None, "window_size_nd": (), "blend_factor": 0.0, "average_count_excludes_padding": True,
    }  # fmt: skip

    def _compute(self) -> list[torch.Tensor]:
        kind = self.member(self.type, "PoolingType")
        x = self.require_image()
        window: Sizes = self.window_size_nd
        stride = self.sizes("stride_nd", 1)
        padding = self.padding(x.shape[2:], window)
        for (before, _, _), extent in zip(padding, window, strict=True):
            self.require(before < extent, f"padding {before} of a window of {extent}: it would hold padding alone")
        self._require_no_empty_window(x, padding, window, stride)
        whole = [(before, after + beyond) for before, after, beyond in padding]
        values = wide(x)
        flat = len(window) == 2
        largest: Any = F.max_pool2d if flat else F.max_pool3d
        mean: Any = F.avg_pool2d if flat else F.avg_pool3d
        result = torch.zeros(())
        if kind != "AVERAGE":
            result = largest(pad(values, whole, float("-inf")), window, stride)
        if kind != "MAX":
            counted = pad(torch.ones_like(values[:1, :1]), [(0, 0)] * len(window))
            if not self.average_count_excludes_padding:
                counted = pad(counted, [(before, after) for before, after, _ in padding], 1.0)
                counted = pad(counted, [(0, beyond) for _, _, beyond in padding])
            else:
                counted = pad(counted, whole)
            average = mean(pad(values, whole), window, stride) / mean(counted, window, stride)
            blend = self.blend_factor if kind == "MAX_AVERAGE_BLEND" else 1.0
            result = average if blend == 1 else (1 - blend) * result + blend * average
        return [result.to(x.dtype)]

    def _require_no_empty_window(
        self, x: torch.Tensor, padding: Sequence[tuple[int, int, int]], window: Sizes, stride: Sizes
    ) -> None:
        """The value of a window that lies in the padding alone is nowhere documented."""
        for size, (before, after, beyond), extent, step in zip(x.shape[2:], padding, window, stride, strict=True):
            last = (size + before + after + beyond - extent) // step * step
            self.require(last < before + size, "its last window would hold padding alone, whose value is undefined")
