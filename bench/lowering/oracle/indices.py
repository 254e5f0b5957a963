"""Layers that go by index: gather, scatter, one-hot, non-zero, top-k, cumulative sums."""

from __future__ import annotations

import torch

from bench.lowering.oracle.core import FLOATS, INTEGERS, NUMBERS, TYPES, Layer, wide


class Gather(Layer):
    """Values at indices: DEFAULT whole slices along an axis, ELEMENT one value an index, ND by vectors of indices.

    An index outside the input, negative ones among them, is refused: what comes of it differs between versions.
    """

    interface = "IGatherLayer"
    settings = {"axis": 0, "num_elementwise_dims": 0, "mode": None}

    def _compute(self) -> list[torch.Tensor]:
        mode = "DEFAULT" if self.mode is None else self.member(self.mode, "GatherMode")
        self.require_type(INTEGERS, 1)
        data, indices = self.value(0), self.value(1).long()
        batch = self.num_elementwise_dims
        if mode == "ND":
            return [self._nd(data, indices, batch)]
        axis = self.axis
        self.require(0 <= axis < data.dim(), f"axis {axis} of {data.dim()} dimensions")
        require_indices(self, indices, data.shape[axis])
        if mode == "ELEMENT":
            self.require(batch == 0, "num_elementwise_dims with ELEMENT")
            require_same_but(self, data, indices, axis)
            return [torch.gather(data, axis, indices)]
        self.require(batch in (0, 1) and batch <= axis, f"num_elementwise_dims {batch}, axis {axis}")
        if batch == 0:
            taken = data.index_select(axis, indices.reshape(-1))
            return [taken.reshape(data.shape[:axis] + indices.shape + data.shape[axis + 1 :])]
        self.require(data.shape[0] == indices.shape[0], f"{data.shape[0]} and {indices.shape[0]} elements")
        rows = [row.index_select(axis - 1, index.reshape(-1)) for row, index in zip(data, indices, strict=True)]
        shape = data.shape[:axis] + indices.shape[1:] + data.shape[axis + 1 :]
        return [torch.stack(rows).reshape(shape)]

    def _nd(self, data: torch.Tensor, indices: torch.Tensor, batch: int) -> torch.Tensor:
        self.require(data.dim() >= 1 and indices.dim() >= 1, "ND of a scalar")
        width = indices.shape[-1]
        self.require(0 <= batch < min(data.dim(), indices.dim()), f"num_elementwise_dims {batch}")
        self.require(1 <= width <= data.dim() - batch, f"vectors of {width} indices for {tuple(data.shape)}")
        self.require(data.shape[:batch] == indices.shape[:batch], "the elementwise dimensions differ")
        for place in range(width):
            require_indices(self, indices[..., place], data.shape[batch + place])
        leading = [
            torch.arange(size).reshape([-1 if axis == index else 1 for index in range(indices.dim() - 1)])
            for axis, size in enumerate(indices.shape[:batch])
        ]
        return data[(*leading, *indices.unbind(-1))]


def require_indices(layer: Layer, indices: torch.Tensor, size: int) -> None:
    """Refuse indices outside 0 .. size - 1."""
    outside = indices[(indices < 0) | (indices >= size)]
    if outside.numel():
        raise layer.refusal(f"the index {int(outside[0])} of {size} values; add the size to negative ones")


def require_same_but(layer: Layer, data: torch.Tensor, indices: torch.Tensor, axis: int) -> None:
    """Refuse indices whose sizes are not those of the data, other than along the axis."""
    shapes = tuple(data.shape), tuple(indices.shape)
    layer.require(len(shapes[0]) == len(shapes[1]), f"shapes of different ranks: {shapes[0]} and {shapes[1]}")
    same = all(a == b or index == axis for index, (a, b) in enumerate(zip(*shapes, strict=True)))
    layer.require(same, f"shapes {shapes[0]} and {shapes[1]} differ beyond axis {axis}")


class Scatter(Layer):
    """Data with updates written over it; an index that comes twice is refused if its updates differ."""

    interface = "IScatterLayer"
    settings = {"axis": 0, "mode": None}

    def _compute(self) -> list[torch.Tensor]:
        mode = self.member(self.mode, "ScatterMode")
        self.require_type(INTEGERS, 1)
        self.require_type(frozenset(TYPES), 0, 2)
        data, indices, updates = self.value(0), self.value(1).long(), self.value(2)
        if mode == "ELEMENT":
            self.require(0 <= self.axis < data.dim(), f"axis {self.axis} of {data.dim()} dimensions")
            self.require(indices.shape == updates.shape, f"shapes {tuple(indices.shape)} and {tuple(updates.shape)}")
            require_same_but(self, data, indices, self.axis)
            require_indices(self, indices, data.shape[self.axis])
            result = data.scatter(self.axis, indices, updates)
            self._require_unique(torch.equal(result.gather(self.axis, indices), updates))
            return [result]
        width = indices.shape[-1]
        self.require(1 <= width <= data.dim(), f"vectors of {width} indices for {tuple(data.shape)}")
        expected = indices.shape[:-1] + data.shape[width:]
        self.require(updates.shape == expected, f"updates of shape {tuple(updates.shape)}; it takes {tuple(expected)}")
        for place in range(width):
            require_indices(self, indices[..., place], data.shape[place])
        result = data.clone()
        result[indices.unbind(-1)] = updates
        self._require_unique(torch.equal(result[indices.unbind(-1)], updates))
        return [result]

    def _require_unique(self, unique: bool) -> None:
        self.require(unique, "an index comes twice with different updates: which one stays is not defined")


class OneHot(Layer):
    """A dimension of ``depth`` (input 2) values more, input 1's second where the index is, else its first."""

    interface = "IOneHotLayer"
    settings = {"axis": -1}

    def _compute(self) -> list[torch.Tensor]:
        self.require_type({"INT32"}, 0)
        self.require_type(INTEGERS, 2)
        indices, values, depth = self.value(0).long(), self.value(1), self.value(2)
        self.require(tuple(values.shape) == (2,) and depth.dim() == 0, "values are two, the depth has no dimensions")
        rank = indices.dim() + 1
        self.require(-rank <= self.axis < rank, f"axis {self.axis} of {rank} dimensions")
        hot = indices.unsqueeze(-1) == torch.arange(int(depth))
        return [torch.where(hot, values[1], values[0]).movedim(-1, self.axis).contiguous()]


class NonZero(Layer):
    """The indices of what is not zero, one column each."""

    interface = "INonZeroLayer"
    settings = {"indices_type": None}

    def _compute(self) -> list[torch.Tensor]:
        kind = "INT32" if self.indices_type is None else self.member(self.indices_type, "DataType")
        self.require(kind in INTEGERS, f"indices of {kind}")
        return [self.value(0).nonzero().T.contiguous().to(TYPES[kind])]


class TopK(Layer):
    """The k largest or smallest values along one of the last four dimensions, sorted, and their indices.

    Of equal values the first come first, which TensorRT does not promise.
    """

    interface = "ITopKLayer"
    optional_inputs = 1  # 1 k
    settings = {"op": None, "k": 0, "axes": 0, "indices_type": None}
    LIMIT = 3840

    def _compute(self) -> list[torch.Tensor]:
        self.require_type(NUMBERS, 0)
        x = self.value(0)
        self.require(x.dim() > 1, "an input of one dimension; reshape it to two")
        axes = self.axes_of(self.axes, x.dim())
        self.require(len(axes) == 1 and axes[0] >= x.dim() - 4, f"axes {axes}; it takes one of the last four")
        kind = "INT32" if self.indices_type is None else self.member(self.indices_type, "DataType")
        self.require(kind in INTEGERS, f"indices of {kind}")
        axis, k = axes[0], self.k
        if self.has(1):
            self.require(self.value(1).dim() == 0, "k, input 1, has no dimensions")
            k = int(self.value(1))
        self.require(0 < k <= self.LIMIT, f"k = {k}; it takes 1 to {self.LIMIT}")
        self.require(k <= x.shape[axis], f"k = {k} of {x.shape[axis]} values")
        largest = self.member(self.op, "TopKOperation") == "MAX"
        values, indices = torch.sort(wide(x), dim=axis, descending=largest, stable=True)
        values, indices = values.narrow(axis, 0, k), indices.narrow(axis, 0, k)
        return [values.to(x.dtype).contiguous(), indices.to(TYPES[kind]).contiguous()]


class Cumulative(Layer):
    """Sums of all values up to each one along an axis, input 1, a constant without dimensions."""

    interface = "ICumulativeLayer"
    settings = {"op": None, "exclusive": False, "reverse": False}

    def _compute(self) -> list[torch.Tensor]:
        self.member(self.op, "CumulativeOperation")
        self.require_type(FLOATS | INTEGERS, 0)
        self.require_type(INTEGERS, 1)
        x, place = self.value(0), self.value(1)
        self.require(place.dim() == 0, "the axis, input 1, has no dimensions")
        axis = int(place)
        self.require(-x.dim() <= axis < x.dim(), f"axis {axis} of {x.dim()} dimensions")
        y = wide(x)
        y = y.flip(axis) if self.reverse else y
        total = y.cumsum(axis, dtype=y.dtype)
        total = total - y if self.exclusive else total
        return [(total.flip(axis) if self.reverse else total).to(x.dtype)]
