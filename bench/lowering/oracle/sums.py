"""Layers that sum: reduction, softmax, normalization, matrix multiplication, einsum, attention."""

from __future__ import annotations

import torch

from bench.lowering.oracle.core import FLOATS, NUMBERS, Layer, wide
from bench.lowering.oracle.pointwise import require_broadcast


class Reduce(Layer):
    """One value of several along the axes whose bits are set. The average of integers is rounded towards zero."""

    interface = "IReduceLayer"
    settings = {"op": None, "axes": 0, "keep_dims": False}

    def _compute(self) -> list[torch.Tensor]:
        op = self.member(self.op, "ReduceOperation")
        self.require_type(NUMBERS | {"INT8"}, 0)
        x = self.value(0)
        axes = self.axes_of(self.axes, x.dim())
        y = wide(x)
        if op == "SUM":
            result = y.sum(axes, keepdim=self.keep_dims, dtype=y.dtype)
        elif op == "MAX":
            result = y.amax(axes, keepdim=self.keep_dims)
        elif op == "MIN":
            result = y.amin(axes, keepdim=self.keep_dims)
        elif op == "AVG":
            count = torch.Size([x.shape[axis] for axis in axes]).numel()
            total = y.sum(axes, keepdim=self.keep_dims, dtype=y.dtype)
            result = total / count if y.is_floating_point() else torch.div(total, count, rounding_mode="trunc")
        else:
            result = y
            for axis in reversed(axes):
                result = result.prod(axis, keepdim=self.keep_dims, dtype=y.dtype)
        return [result.to(x.dtype)]


class SoftMax(Layer):
    """exp(x) over its sum along one axis; by default the third from the end, or the first."""

    interface = "ISoftMaxLayer"
    settings = {"axes": None}

    def _compute(self) -> list[torch.Tensor]:
        self.require_type(FLOATS, 0)
        x = self.value(0)
        self.require(x.dim() > 1, "an input of one dimension; reshape it to two")
        axes = [max(x.dim() - 3, 0)] if self.axes is None else self.axes_of(self.axes, x.dim())
        self.require(len(axes) == 1, f"axes {axes}; it takes one")
        return [torch.softmax(wide(x), axes[0]).to(x.dtype)]


class Normalization(Layer):
    """(x - mean) / sqrt(variance + epsilon) scale + bias, with the mean over the axes whose bits are set.

    With ``num_groups`` the channels of each group are normalised together with the axes. Scale and bias have the rank
    of the input; sizes of 1 are repeated. Of version 1 their channels are the groups where there are several. Computed
    in float32.
    """

    interface = "INormalizationLayer"
    settings = {"axes": 0, "epsilon": 1e-5, "num_groups": 1}
    v2 = False

    @property
    def is_v2(self) -> bool:
        """Whether ``add_normalization_v2`` made it."""
        return self.v2

    def _compute(self) -> list[torch.Tensor]:
        self.require_type(FLOATS, 0, 1, 2)
        x = wide(self.value(0))
        scale, bias = wide(self.value(1)), wide(self.value(2))
        axes = self.axes_of(self.axes, x.dim())
        self.require(scale.shape == bias.shape, f"scale {tuple(scale.shape)} and bias {tuple(bias.shape)} differ")
        groups = self.num_groups
        if groups == 1:
            self._require_repeatable(scale, tuple(x.shape))
            return [(self._normal(x, axes) * scale + bias).to(self.value(0).dtype)]
        spatial = list(range(2, x.dim()))
        self.require(x.dim() >= 4, f"{x.dim()} dimensions with groups; it takes four and more")
        self.require(axes == spatial, f"axes {axes} with groups; it takes the spatial ones, {spatial}")
        self.require(x.shape[1] % groups == 0, f"{x.shape[1]} channels in {groups} groups")
        split = x.reshape(x.shape[0], groups, -1, *x.shape[2:])
        normal = self._normal(split, list(range(2, split.dim())))
        if not self.v2:
            self._require_repeatable(scale, (x.shape[0], groups, *x.shape[2:]), groups)
            scale, bias = (value.unsqueeze(2) for value in (scale, bias))
            return [(normal * scale + bias).reshape(x.shape).to(self.value(0).dtype)]
        self._require_repeatable(scale, tuple(x.shape), x.shape[1])
        return [(normal.reshape(x.shape) * scale + bias).to(self.value(0).dtype)]

    def _normal(self, x: torch.Tensor, axes: list[int]) -> torch.Tensor:
        centred = x - x.mean(axes, keepdim=True)
        return centred / torch.sqrt((centred * centred).mean(axes, keepdim=True) + self.epsilon)

    def _require_repeatable(self, scale: torch.Tensor, shape: tuple[int, ...], channels: int = 0) -> None:
        fits = scale.dim() == len(shape) and all(a in (1, b) for a, b in zip(scale.shape, shape, strict=True))
        fits = fits and channels in (0, scale.shape[1])
        self.require(fits, f"scale and bias of shape {tuple(scale.shape)} for {shape}")


class MatrixMultiply(Layer):
    """Products of matrices, the last two dimensions, or vectors, the last; leading sizes of 1 are repeated."""

    interface = "IMatrixMultiplyLayer"
    settings = {"op0": None, "op1": None}

    def _compute(self) -> list[torch.Tensor]:
        self.require_type(FLOATS, 0, 1)
        ops = self.member(self.op0, "MatrixOperation"), self.member(self.op1, "MatrixOperation")
        operands = []
        for index, op in enumerate(ops):
            value = wide(self.value(index))
            least = 1 if op == "VECTOR" else 2
            self.require(value.dim() >= least, f"input {index} of {value.dim()} dimensions as {op}")
            if op == "TRANSPOSE":
                value = value.mT
            elif op == "VECTOR":
                value = value.unsqueeze(-2 if index == 0 else -1)
            operands.append(value)
        a, b = operands
        require_broadcast(self, a[..., 0, 0], b[..., 0, 0])
        self.require(a.shape[-1] == b.shape[-2], f"{a.shape[-1]} columns and {b.shape[-2]} rows")
        result = a @ b
        for index, op in enumerate(ops):
            if op == "VECTOR":
                result = result.squeeze(-2 if index == 0 and ops[1] != "VECTOR" else -1)
        return [result.to(self.value(0).dtype)]


class Einsum(Layer):
    """A sum of products by an equation in small letters; no ellipsis and no letter twice in one operand."""

    interface = "IEinsumLayer"
    settings = {"equation": ""}

    def _compute(self) -> list[torch.Tensor]:
        count = self.num_inputs
        self.require_type(FLOATS, *range(count))
        equation = self.equation.replace(" ", "")
        operands, _, _ = equation.partition("->")
        self.require("..." not in equation, f"an ellipsis in {equation!r}")
        self.require(all(letter in ",->" or "a" <= letter <= "z" for letter in equation), f"letters of {equation!r}")
        self.require(len(operands.split(",")) == count, f"{equation!r} for {count} inputs")
        for index, letters in enumerate(operands.split(",")):
            rank = self.value(index).dim()
            self.require(len(letters) == rank, f"{letters!r} for an input of {rank} dimensions")
            self.require(len(set(letters)) == rank, f"a letter twice in {letters!r}")
        values = [self.value(index) for index in range(count)]
        return [torch.einsum(equation, [wide(value) for value in values]).to(values[0].dtype)]


class Attention(Layer):
    """normalise(query key^T, mask) value, of shapes (batch, heads, positions, width); there is no scaling.

    A mask of BOOL says where to attend, one of the query's type is added. Causal is by position from the first, or with
    LOWER_RIGHT from the last.
    """

    interface = "IAttention"
    settings = {"norm_op": None, "causal": False, "causal_kind": None, "mask": None, "decomposable": False}

    def _compute(self) -> list[torch.Tensor]:
        self.require_type(FLOATS, 0, 1, 2)
        query, key, value = (wide(self.value(index)) for index in range(3))
        shapes = [tuple(x.shape) for x in (query, key, value)]
        self.require(all(len(shape) == 4 for shape in shapes), f"shapes {shapes}; each has four dimensions")
        fits = (
            shapes[1][:3] == shapes[2][:3] and shapes[0][0] == shapes[1][0] and shapes[0][3] == shapes[1][3]
            and shapes[0][1] % shapes[1][1] == 0
        )  # fmt: skip
        self.require(fits, f"query, key and value of shapes {shapes}")
        repeats = shapes[0][1] // shapes[1][1]
        key, value = (x.repeat_interleave(repeats, 1) if repeats > 1 else x for x in (key, value))
        scores = query @ key.mT
        causal = self._causal()
        self.require(causal == "NONE" or self.mask is None, "a mask and causal")
        if causal != "NONE":
            late = shapes[1][2] - shapes[0][2] if causal == "LOWER_RIGHT" else 0
            places = torch.arange(shapes[0][2])[:, None] + late, torch.arange(shapes[1][2])
            scores = scores.masked_fill(places[1] > places[0], float("-inf"))
        if self.mask is not None:
            scores = self._masked(scores, self.mask.value)
        if self.member(self.norm_op, "AttentionNormalizationOp") == "SOFTMAX":
            scores = torch.softmax(scores, -1)
        return [(scores @ value).to(self.value(0).dtype)]

    def _causal(self) -> str:
        if self.causal_kind is not None:
            return self.member(self.causal_kind, "CausalMaskKind")
        return "UPPER_LEFT" if self.causal else "NONE"

    def _masked(self, scores: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        self.require(mask.dim() == 4, f"a mask of {mask.dim()} dimensions; it takes four")
        require_broadcast(self, scores, mask)
        if mask.dtype == torch.bool:
            return scores.masked_fill(~mask, float("-inf"))
        self.require(mask.dtype == self.value(0).dtype, "a mask of neither BOOL nor the query's type")
        return scores + wide(mask)
