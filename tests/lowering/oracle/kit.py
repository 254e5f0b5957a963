"""Values, shapes and networks for tests of layers, of the oracle or of the real builder of TensorRT-RTX."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from hypothesis import settings
from hypothesis import strategies as st

from bench.lowering import oracle

KINDS = {
    "FLOAT": torch.float32, "HALF": torch.float16, "BF16": torch.bfloat16, "INT32": torch.int32, "INT64": torch.int64,
    "BOOL": torch.bool,
}  # fmt: skip
FLOATS = ("FLOAT", "HALF", "BF16")
few = settings(max_examples=8, derandomize=True)  # what holds today holds tomorrow
seeds = st.integers(0, 999)
floats = st.sampled_from(FLOATS)
TOLERANCE = {torch.float32: 1e-5, torch.float16: 4e-3, torch.bfloat16: 3e-2}


class One(NamedTuple):
    """A layer: types and shapes of its inputs, and what adds it, ``add(trt, net, tensors)``."""

    inputs: tuple[tuple[str, tuple[int, ...]], ...]
    add: Callable[[Any, Any, list[Any]], Any]
    text: str

    def __repr__(self) -> str:
        return f"{self.text} of {self.inputs}"


def values(kind: str, shape: tuple[int, ...], seed: int = 0) -> torch.Tensor:
    """Seeded values: integers of -4 to 4, floats of the normal distribution."""
    generator = torch.Generator().manual_seed(seed)
    if kind == "BOOL":
        return torch.rand(shape, generator=generator) > 0.5
    if kind in ("INT32", "INT64"):
        return torch.randint(-4, 5, shape, generator=generator, dtype=KINDS[kind])
    return torch.randn(shape, generator=generator).to(KINDS[kind])


def near(value: torch.Tensor, expected: torch.Tensor) -> None:
    """Equal shapes, types and values, but for the rounding of the type."""
    limit = TOLERANCE.get(expected.dtype, 0.0)
    torch.testing.assert_close(value, expected, rtol=limit, atol=limit, equal_nan=True)


def image(draw: st.DrawFn, channels: int, rank: int = 2, least: int = 3) -> torch.Tensor:
    """One or two images of ``channels``, with ``rank`` sizes of ``least`` to 9."""
    shape = (draw(st.integers(1, 2)), channels, *[draw(st.integers(least, 9)) for _ in range(rank)])
    return values("FLOAT", shape, draw(seeds))


def network(*inputs: torch.Tensor, version: str = oracle.LATEST) -> tuple[Any, Any, list[Any]]:
    """The module, a network, and its inputs ``x0``, ``x1``, ..."""
    trt = oracle.Module(version)
    net = oracle.Network(trt, {f"x{index}": value for index, value in enumerate(inputs)})
    names = {dtype: name for name, dtype in KINDS.items()}
    tensors = [
        net.add_input(f"x{index}", getattr(trt.DataType, names[value.dtype]), tuple(value.shape))
        for index, value in enumerate(inputs)
    ]
    return trt, net, tensors


def computed(layer: Any, index: int = 0) -> torch.Tensor:
    """The values of an output."""
    value: torch.Tensor = layer.get_output(index).value
    return value


def constant(net: Any, array: np.ndarray[Any, Any], keep: list[Any] | None = None) -> Any:
    """A constant of these values."""
    array = np.array(array, order="C")
    if keep is not None:
        keep.append(array)
    return net.add_constant(array.shape, array).get_output(0)


# ------------------------------------------------------------------------------------------------------------- layers

sizes = st.integers(1, 6)
kinds = st.sampled_from(("FLOAT", "FLOAT", "HALF", "INT32", "INT64", "BOOL"))


def shapes(least: int = 0, most: int = 5) -> st.SearchStrategy[tuple[int, ...]]:
    return st.lists(sizes, min_size=least, max_size=most).map(tuple)
