"""Deformable convolution by indices and a matrix product: against its formula, one value at a time, and lowered."""

from __future__ import annotations

import itertools
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from bench.lowering import oracle  # noqa: E402
from bench.lowering.deformable import decompositions, deform_conv2d  # noqa: E402
from bench.runtimes.torch.session import own_warnings_filtered  # noqa: E402
from tests.lowering import kit  # noqa: E402
from tests.lowering.converters.kit import check, run  # noqa: E402
from tests.lowering.oracle.kit import values  # noqa: E402

pytestmark = pytest.mark.torch
SCHEMA = (
    "deform_conv2d(Tensor input, Tensor weight, Tensor offset, Tensor mask, Tensor bias, SymInt stride_h,"
    " SymInt stride_w, SymInt pad_h, SymInt pad_w, SymInt dilation_h, SymInt dilation_w, SymInt groups,"
    " SymInt offset_groups, bool use_mask) -> Tensor"
)


def tensors_of(
    size: tuple[int, int], kernel: tuple[int, int], step: int, before: int, gap: int, groups: int, moves: int, seed: int
) -> tuple[Any, ...]:
    """Input, offset, weight, bias and mask of two images of four channels, for six outputs."""
    out = [(n + 2 * before - gap * (k - 1) - 1) // step + 1 for n, k in zip(size, kernel, strict=True)]
    taps = kernel[0] * kernel[1]
    return (
        values("FLOAT", (2, 4, *size), seed), 2 * values("FLOAT", (2, 2 * moves * taps, *out), seed + 1),
        values("FLOAT", (6, 4 // groups, *kernel), seed + 2), values("FLOAT", (6,), seed + 3),
        values("FLOAT", (2, moves * taps, *out), seed + 4),
    )  # fmt: skip


def by_value(x: Any, offset: Any, weight: Any, bias: Any, mask: Any, step: int, before: int, gap: int) -> Any:
    """The documented sum, tap by tap: the input at a place between pixels, times the weight and the mask."""
    batch, channels, height, width = x.shape
    outputs, per_group, kh, kw = weight.shape
    moves = offset.shape[1] // (2 * kh * kw)
    result = bias.double().reshape(1, -1, 1, 1).repeat(batch, 1, *offset.shape[2:])

    def pixel(n: int, c: int, row: float, column: float) -> float:
        total, top, left = 0.0, math.floor(row), math.floor(column)
        for i, j in itertools.product((top, top + 1), (left, left + 1)):
            if 0 <= i < height and 0 <= j < width:
                total += float(x[n, c, i, j]) * (1 - abs(row - i)) * (1 - abs(column - j))
        return total

    for n, c, i, j, k in itertools.product(*map(range, (batch, channels, *offset.shape[2:], kh * kw))):
        tap = c // (channels // moves) * kh * kw + k
        row = i * step - before + k // kw * gap + float(offset[n, 2 * tap, i, j])
        column = j * step - before + k % kw * gap + float(offset[n, 2 * tap + 1, i, j])
        value = pixel(n, c, row, column) * (1.0 if mask is None else float(mask[n, tap, i, j]))
        group = c // per_group
        own = slice(group * outputs * per_group // channels, (group + 1) * outputs * per_group // channels)
        result[n, own, i, j] += value * weight[own, c % per_group, k // kw, k % kw].double()
    return result.float()


@pytest.mark.long
@settings(max_examples=8, derandomize=True, deadline=None)
@given(
    size=st.tuples(st.integers(3, 5), st.integers(3, 5)),
    kernel=st.tuples(st.integers(1, 2), st.integers(1, 3)),
    step=st.integers(1, 2),
    before=st.integers(0, 2),
    gap=st.integers(1, 2),
    groups=st.sampled_from((1, 2)),
    moves=st.sampled_from((1, 2, 4)),
    masked=st.booleans(),
    seed=st.integers(0, 99),
)
def test_it_computes_the_documented_sum(
    size: Any, kernel: Any, step: int, before: int, gap: int, groups: int, moves: int, masked: bool, seed: int
) -> None:
    before += gap  # so that the kernel fits
    x, offset, weight, bias, mask = tensors_of(size, kernel, step, before, gap, groups, moves, seed)
    mask = mask if masked else None
    result = deform_conv2d(x, offset, weight, bias, step, before, gap, mask)
    expected = by_value(x, offset, weight, bias, mask, step, before, gap)
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-4)


def test_without_moves_it_is_a_convolution() -> None:
    x, offset, weight, bias, _ = tensors_of((6, 7), (3, 3), 2, 1, 1, 2, 2, 0)
    expected = torch.nn.functional.conv2d(x, weight, bias, 2, 1, groups=2)
    torch.testing.assert_close(deform_conv2d(x, 0 * offset, weight, bias, 2, 1), expected)


@pytest.mark.long
@pytest.mark.parametrize("groups", [1, 2])
def test_it_is_lowered_on_each_version(groups: int) -> None:
    x, offset, weight, bias, mask = tensors_of((5, 6), (3, 2), 1, 1, 1, groups, 2, 0)

    def function(x: Any, offset: Any, mask: Any, weight: Any, bias: Any) -> Any:
        return deform_conv2d(x, offset, weight, bias, 1, 1, 1, mask)

    check(function, x, offset, mask, weights=(weight, bias), tolerance=1e-4)


class Gathering(torch.nn.Module):
    """The function with weights of its own."""

    def __init__(self, weight: Any, bias: Any) -> None:
        super().__init__()
        self.weight, self.bias = torch.nn.Parameter(weight), torch.nn.Parameter(bias)

    def forward(self, x: Any, y: Any, z: Any) -> Any:
        return deform_conv2d(x, y, self.weight, self.bias, 1, 1, 1, z)


@pytest.mark.long
def test_it_is_exported_to_onnx(tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    x, offset, weight, bias, mask = tensors_of((5, 6), (3, 2), 1, 1, 1, 2, 2, 0)
    with own_warnings_filtered():
        torch.onnx.export(
            Gathering(weight, bias).eval(), (x, offset, mask), tmp_path / "model.onnx", dynamo=True, verbose=False,
            input_names=["x", "y", "z"],
        )  # fmt: skip
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    (result,) = session.run(None, {"x": x.numpy(), "y": offset.numpy(), "z": mask.numpy()})
    expected = deform_conv2d(x, offset, weight, bias, 1, 1, 1, mask)
    torch.testing.assert_close(torch.from_numpy(result), expected, rtol=1e-4, atol=1e-4)


class Operator(torch.nn.Module):
    """torchvision's operator alone."""

    def __init__(self, weight: Any, bias: Any) -> None:
        super().__init__()
        self.weight, self.bias = torch.nn.Parameter(weight), torch.nn.Parameter(bias)

    def forward(self, x: Any, y: Any, z: Any) -> Any:
        operator = torch.ops.torchvision.deform_conv2d
        return operator(x, self.weight, y, z, self.bias, 1, 1, 1, 1, 1, 1, 1, 2, True)


@pytest.mark.long
def test_torchvisions_operator_is_decomposed_once_it_is_there() -> None:
    x, offset, weight, bias, mask = tensors_of((5, 6), (3, 2), 1, 1, 1, 1, 2, 0)
    inputs = {"x": x, "y": offset, "z": mask}
    expected = deform_conv2d(x, offset, weight, bias, 1, 1, 1, mask)

    def shaped(x: Any, weight: Any, offset: Any, *_: Any) -> Any:
        return offset.new_zeros(2, 6, *offset.shape[2:])

    with torch.library._scoped_library("torchvision", "FRAGMENT") as library:
        if not decompositions():  # as where torchvision is not imported: its operator, declared here
            library.define(SCHEMA)
            library.impl("deform_conv2d", shaped, "CompositeExplicitAutograd")
        program = kit.program(Operator(weight, bias), inputs)
    (result,) = run(program, list(inputs.values()), oracle.LATEST, names=list(inputs))
    torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.gpu
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize(("groups", "moves"), [(1, 1), (2, 4)])
def test_it_is_what_torchvision_computes(groups: int, moves: int, masked: bool) -> None:
    ops = pytest.importorskip("torchvision.ops")
    parts = [part.cuda() for part in tensors_of((17, 13), (3, 3), 2, 2, 2, groups, moves, 0)]
    x, offset, weight, bias, mask = parts
    mask = mask if masked else None
    expected = ops.deform_conv2d(x, offset, weight, bias, 2, 2, 2, mask)
    torch.testing.assert_close(deform_conv2d(x, offset, weight, bias, 2, 2, 2, mask), expected, rtol=1e-3, atol=1e-3)
