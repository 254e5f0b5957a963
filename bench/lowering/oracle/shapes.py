"""Layers that move values: constant, shuffle, concatenation, slice, padding, shape, squeeze, unsqueeze, fill."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from bench.lowering.oracle.core import INTEGERS, MAX_DIMS, NAMES, TYPES, Layer, Tensor, weights


class Constant(Layer):
    """Values that are known; not BOOL or UINT8, and not empty."""

    interface = "IConstantLayer"
    settings = {"shape": (), "weights": None}

    def _compute(self) -> list[torch.Tensor]:
        values = weights(self.weights)
        shape = tuple(int(size) for size in self.shape)
        if values is None:
            raise self.refusal("a constant without values")
        kind = NAMES[values.dtype]
        self.require(kind not in ("BOOL", "UINT8"), f"a constant of {kind}; cast one of INT32")
        if kind == "INT64":
            self.require(hasattr(self._network.trt.DataType, "INT64"), "this version has no INT64; convert to int32")
        count = torch.Size(shape).numel()
        self.require(values.numel() == count, f"{values.numel()} values for the shape {shape}")
        return [values.reshape(shape)]


class Shuffle(Layer):
    """A permutation, a reshape, and another permutation."""

    interface = "IShuffleLayer"
    optional_inputs = 1
    settings = {"first_transpose": (), "reshape_dims": (), "second_transpose": (), "zero_is_placeholder": True}
    reshapes = False

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name == "reshape_dims":
            object.__setattr__(self, "reshapes", True)

    def _compute(self) -> list[torch.Tensor]:
        x = self._transposed(self.value(0), "first_transpose")
        if self.has(1):
            x = x.reshape(self._target(x, self.integers(1)))
        elif self.reshapes:
            x = x.reshape(self._target(x, tuple(int(size) for size in self.reshape_dims)))
        return [self._transposed(x, "second_transpose").contiguous()]

    def _transposed(self, x: torch.Tensor, name: str) -> torch.Tensor:
        order = tuple(getattr(self, name))
        if not order:
            return x
        self.require(sorted(order[: x.dim()]) == list(range(x.dim())), f"{name} = {order} of {x.dim()} dimensions")
        return x.permute(order[: x.dim()])

    def _target(self, x: torch.Tensor, dims: tuple[int, ...]) -> list[int]:
        text = f"reshape_dims {dims} of a tensor of shape {tuple(x.shape)}"
        self.require(dims.count(-1) <= 1 and all(size >= -1 for size in dims), text)
        sizes = []
        for axis, size in enumerate(dims):
            if size == 0 and self.zero_is_placeholder:
                self.require(axis < x.dim(), f"{text}: 0 stands for a dimension that is not there")
                size = x.shape[axis]
            sizes.append(size)
        known = torch.Size([size for size in sizes if size != -1]).numel()
        if -1 in sizes:
            self.require(known > 0 and x.numel() % known == 0, text)
            sizes[sizes.index(-1)] = x.numel() // known
        self.require(torch.Size(sizes).numel() == x.numel(), text)
        return sizes


class Concatenation(Layer):
    """Tensors one after the other along ``axis``; by default the third from the end, or the first."""

    interface = "IConcatenationLayer"
    settings = {"axis": None}

    def _compute(self) -> list[torch.Tensor]:
        values = [self.value(index) for index in range(self.num_inputs)]
        self.require(bool(values), "no input")
        self.require_type(frozenset(TYPES), *range(len(values)))
        rank = values[0].dim()
        self.require({value.dim() for value in values} == {rank}, "inputs of different ranks")
        axis = max(rank - 3, 0) if self.axis is None else self.axis
        self.require(0 <= axis < rank, f"axis {axis} of {rank} dimensions")
        others = {tuple(size for index, size in enumerate(value.shape) if index != axis) for value in values}
        self.require(
            len(others) == 1, f"shapes {', '.join(str(tuple(value.shape)) for value in values)} on axis {axis}"
        )
        return [torch.cat(values, axis)]


class Slice(Layer):
    """Value ``start + i stride`` of each dimension; ``mode`` says what lies outside the input.

    STRICT_BOUNDS refuses it, WRAP repeats, CLAMP takes the nearest, REFLECT mirrors without repeating the edge, FILL
    takes input 4, or 0.
    """

    interface = "ISliceLayer"
    optional_inputs = 5  # 1 start, 2 shape, 3 stride, 4 the value to fill in, 5 axes
    settings = {"start": (), "shape": (), "stride": (), "mode": None, "axes": None}

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "axes" and self._network.version < (10, 3):
            raise AttributeError("ISliceLayer has axes from TensorRT 10.3 on")
        super().__setattr__(name, value)

    def _compute(self) -> list[torch.Tensor]:
        x = self.value(0)
        mode = "STRICT_BOUNDS" if self.mode is None else self.member(self.mode, "SampleMode")
        self.require(mode == "FILL" or not self.has(4), f"a value to fill in, with mode {mode}")
        starts, sizes, strides = self._per_axis(x.dim())
        inside = torch.ones((), dtype=torch.bool)
        for axis, (start, count, stride) in enumerate(zip(starts, sizes, strides, strict=True)):
            self.require(count >= 0, f"shape {sizes}")
            size = x.shape[axis]
            places = start + stride * torch.arange(count)
            within = (places >= 0) & (places < size)
            if mode == "STRICT_BOUNDS":
                last = start + stride * (count - 1)
                text = f"it takes {start} to {last} of the {size} values of dimension {axis}"
                self.require(bool(within.all()), text)
            self.require(mode in ("STRICT_BOUNDS", "FILL") or size > 0 or not count, f"dimension {axis} is empty")
            if mode == "FILL":
                shape = [1] * x.dim()
                shape[axis] = count
                inside = inside & within.reshape(shape)
                x = torch.cat([x, x.new_zeros(()).expand(*x.shape[:axis], 1, *x.shape[axis + 1 :])], axis)
                places = torch.where(within, places, torch.tensor(size))
            else:
                places = _outside(mode, places, max(size, 1))
            x = x.index_select(axis, places)
        if mode == "FILL" and self.has(4):
            fill = self.value(4)
            self.require(fill.numel() == 1 and fill.dtype == x.dtype, "the value to fill in is one of the input's type")
            x = torch.where(inside, x, fill.reshape(()))
        return [x.contiguous()]

    def _per_axis(self, rank: int) -> tuple[list[int], list[int], list[int]]:
        dims = [
            self.integers(index) if self.has(index) else tuple(int(size) for size in getattr(self, name))
            for index, name in ((1, "start"), (2, "shape"), (3, "stride"))
        ]
        axes: Sequence[int] | None = self.integers(5) if self.has(5) else self.axes
        length = rank if axes is None else len(axes)
        text = f"start, shape and stride {dims} for {length} dimensions"
        self.require(all(len(values) == length for values in dims), text)
        if axes is None:
            return list(dims[0]), list(dims[1]), list(dims[2])
        self.require(len({axis % rank for axis in axes}) == length, f"axes {tuple(axes)} of {rank} dimensions")
        x = self.value(0)
        whole = [0] * rank, list(x.shape), [1] * rank
        for values, given in zip(whole, dims, strict=True):
            for axis, value in zip(axes, given, strict=True):
                values[axis % rank] = value
        return whole


def _outside(mode: str, places: torch.Tensor, size: int) -> torch.Tensor:
    """Places as places of the input."""
    if mode == "WRAP":
        return places % size
    if mode == "CLAMP":
        return places.clamp(0, size - 1)
    if mode == "REFLECT":
        period = max(2 * (size - 1), 1)
        folded = places % period
        return torch.minimum(folded, period - folded) if size > 1 else torch.zeros_like(places)
    return places


class Padding(Layer):
    """Zeros around the last two dimensions; negative numbers cut."""

    interface = "IPaddingLayer"
    settings = {"pre_padding_nd": (), "post_padding_nd": ()}

    def _compute(self) -> list[torch.Tensor]:
        x = self.value(0)
        before, after = tuple(self.pre_padding_nd), tuple(self.post_padding_nd)
        self.require(len(before) == len(after) == 2, f"padding {before}, {after}; it takes two dimensions")
        self.require(x.dim() >= 4, f"an input of {x.dim()} dimensions; it takes 4 or more")
        sizes = [size + sum(pair) for size, *pair in zip(x.shape[-2:], before, after, strict=True)]
        self.require(min(sizes) > 0, f"padding {before}, {after} of {tuple(x.shape)}")
        return [torch.nn.functional.pad(x, [before[1], after[1], before[0], after[0]])]


class Shape(Layer):
    """The sizes as INT64; before TensorRT 10 as INT32."""

    interface = "IShapeLayer"

    def _compute(self) -> list[torch.Tensor]:
        dtype = torch.int64 if self._network.version >= (10, 0) else torch.int32
        return [torch.tensor(self.value(0).shape, dtype=dtype)]


class Squeeze(Layer):
    """Without the dimensions of size 1 that input 1 names."""

    interface = "ISqueezeLayer"

    def _compute(self) -> list[torch.Tensor]:
        x = self.value(0)
        axes = sorted({axis + x.dim() if axis < 0 else axis for axis in self.integers(1)})
        self.require(
            all(0 <= axis < x.dim() and x.shape[axis] == 1 for axis in axes), f"axes {axes} of {tuple(x.shape)}"
        )
        return [x.reshape([size for axis, size in enumerate(x.shape) if axis not in axes])]


class Unsqueeze(Layer):
    """With dimensions of size 1 at the places that input 1 names, of the output."""

    interface = "IUnsqueezeLayer"

    def _compute(self) -> list[torch.Tensor]:
        x, given = self.value(0), self.integers(1)
        rank = x.dim() + len(given)
        axes = {axis + rank if axis < 0 else axis for axis in given}
        self.require(len(axes) == len(given) and all(0 <= axis < rank for axis in axes), f"axes {given} of {rank}")
        self.require(rank < MAX_DIMS, f"{rank} dimensions")
        sizes = iter(x.shape)
        return [x.reshape([1 if axis in axes else next(sizes) for axis in range(rank)])]


class Fill(Layer):
    """LINSPACE: alpha plus beta times the place; random numbers are refused, as no two engines give the same.

    Inputs replace the settings: 0 the shape, 1 alpha (no dimensions), 2 beta (one value a dimension).
    """

    interface = "IFillLayer"
    optional_inputs = 3
    settings = {"shape": (), "operation": None, "alpha": 0.0, "beta": 1.0, "to_type": None}

    def _compute(self) -> list[torch.Tensor]:
        self.require(self.member(self.operation, "FillOperation") == "LINSPACE", "random numbers are not reproducible")
        kind = "FLOAT" if self.to_type is None else self.member(self.to_type, "DataType")
        shape = self.integers(0) if self.has(0) else tuple(int(size) for size in self.shape)
        dtype = TYPES.get(kind, torch.bool)
        if self.has(1) or self.has(2):
            kind = self.require_type(INTEGERS | {"FLOAT"}, 1, 2)
            dtype = TYPES[kind]
            start, steps = self.value(1), self.value(2)
            self.require(start.dim() == 0, "the start, input 1, has no dimensions")
            self.require(tuple(steps.shape) == (len(shape),), f"the steps, input 2, are {len(shape)} values")
        else:
            self.require(len(shape) == 1, "of more than one dimension the start and the steps are inputs")
            start, steps = torch.tensor(float(self.alpha)), torch.tensor([float(self.beta)])
        self.require(kind in INTEGERS | {"FLOAT"}, f"LINSPACE of {kind}")
        result = start.expand(shape)
        for axis, step in enumerate(steps):
            places = torch.arange(shape[axis]).reshape([-1 if axis == index else 1 for index in range(len(shape))])
            result = result + step * places
        return [result.to(dtype).contiguous()]


def inputs_of(tensors: Sequence[Tensor]) -> list[Tensor]:
    """A list of tensors as an argument; anything else is a TypeError, as in the binding."""
    if not isinstance(tensors, Sequence) or not all(isinstance(tensor, Tensor) for tensor in tensors):
        raise TypeError("a list of tensors")
    return list(tensors)
