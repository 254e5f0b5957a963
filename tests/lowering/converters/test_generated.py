"""Converters over generated shapes, types and arguments, and over dynamic sizes."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from torch.nn import functional as F  # noqa: E402

from tests.lowering import kit as exports  # noqa: E402
from tests.lowering.converters import kit  # noqa: E402
from tests.lowering.oracle.kit import values  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.long]
# A tracing takes a tenth of a second or more.
few = settings(max_examples=12, derandomize=True)  # what holds today holds tomorrow
sizes = st.integers(1, 4)
dtypes = st.sampled_from(("FLOAT", "HALF"))
seeds = st.integers(0, 99)


def shapes(least: int, most: int) -> st.SearchStrategy[tuple[int, ...]]:
    return st.lists(sizes, min_size=least, max_size=most).map(tuple)


@few
@given(shape=shapes(2, 4), last=st.integers(1, 2), dtype=dtypes, affine=st.integers(0, 2))
def test_layer_norm(shape: tuple[int, ...], last: int, dtype: str, affine: int) -> None:
    tail = shape[-last:]
    weights = [values(dtype, tail, seed) for seed in range(1, 1 + affine)]
    kit.check(lambda x, *more: F.layer_norm(x, tail, *more), values(dtype, shape), weights=weights)


@few
@given(shape=shapes(0, 3), groups=st.sampled_from((1, 2, 3, 6)), dtype=dtypes, affine=st.integers(0, 2))
def test_group_norm(shape: tuple[int, ...], groups: int, dtype: str, affine: int) -> None:
    weights = [values(dtype, (12,), seed) for seed in range(1, 1 + affine)]
    kit.check(lambda x, *more: F.group_norm(x, groups, *more), values(dtype, (2, 12, *shape)), weights=weights)


@few
@given(data=st.data(), dtype=dtypes, form=st.sampled_from(("plain", "causal", "bool", "added", "groups")), seed=seeds)
def test_attention(data: st.DataObject, dtype: str, form: str, seed: int) -> None:
    batch, heads, rows, columns, width = (data.draw(sizes) for _ in range(5))
    repeats = 2 if form == "groups" else 1
    query = values(dtype, (batch, heads * repeats, rows, width), seed)
    key, value = (values(dtype, (batch, heads, columns, width), seed + each) for each in (1, 2))
    masks = []
    if form == "bool":
        masks = [values("BOOL", (rows, columns), seed) | (torch.arange(columns) == 0)]
    elif form == "added":
        masks = [values(dtype, (batch, 1, rows, columns), seed)]

    def attend(query: Any, key: Any, value: Any, *mask: Any) -> Any:
        return F.scaled_dot_product_attention(
            query, key, value, *mask, is_causal=form == "causal", enable_gqa=form == "groups"
        )

    kit.check(attend, query, key, value, *masks)


@few
@given(data=st.data(), mode=st.sampled_from(("nearest", "nearest-exact", "bilinear", "bicubic")), align=st.booleans())
def test_interpolate(data: st.DataObject, mode: str, align: bool) -> None:
    shape = (1, 2, *(data.draw(st.integers(1, 6)) for _ in range(2)))
    size = tuple(data.draw(st.integers(1, 9)) for _ in range(2))
    corners = align if mode.startswith("bi") else None
    kit.check(lambda x: F.interpolate(x, size, mode=mode, align_corners=corners), values("FLOAT", shape))


@few
@given(data=st.data(), shape=shapes(1, 4), keep=st.booleans(), seed=seeds)
def test_reductions(data: st.DataObject, shape: tuple[int, ...], keep: bool, seed: int) -> None:
    dims = sorted(data.draw(st.sets(st.integers(0, len(shape) - 1), min_size=1)))
    axis = dims[0]

    def reduce(x: Any) -> Any:
        extremes = (x.amax(dims, keep), x.amin(dims, keep), *x.max(axis, keep), *x.min(axis, keep))
        return (x.sum(dims, keep), x.mean(dims, keep), x.var(dims, correction=0, keepdim=keep), *extremes)

    kit.check(reduce, values("FLOAT", shape, seed))


@few
@given(data=st.data(), shape=shapes(1, 4), seed=seeds, descending=st.booleans())
def test_order_and_cumulative_sums(data: st.DataObject, shape: tuple[int, ...], seed: int, descending: bool) -> None:
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    k = data.draw(st.integers(1, shape[axis]))
    kit.check(
        lambda x: (*x.topk(k, axis, largest=descending), *x.sort(axis, descending), x.cumsum(axis), x.flip(axis)),
        values("FLOAT", shape, seed),
    )


@few
@given(data=st.data(), shape=shapes(2, 4), seed=seeds)
def test_indices(data: st.DataObject, shape: tuple[int, ...], seed: int) -> None:
    axis = data.draw(st.integers(0, len(shape) - 2))
    generator = torch.Generator().manual_seed(seed)
    index = torch.randint(-shape[axis], shape[axis], data.draw(shapes(1, 2)), generator=generator)
    other = torch.randint(-shape[axis + 1], shape[axis + 1], index.shape, generator=generator)
    lead = (slice(None),) * axis
    kit.check(
        lambda x, i, j: (x[(*lead, i)], x[(*lead, i, j)], x.index_select(axis, torch.zeros_like(i).flatten())),
        values("FLOAT", shape, seed), index, other,
    )  # fmt: skip


@few
@given(data=st.data(), shape=shapes(2, 3), mode=st.sampled_from(("constant", "reflect", "replicate")), seed=seeds)
def test_padding(data: st.DataObject, shape: tuple[int, ...], mode: str, seed: int) -> None:
    most = shape[-1] - 1 if mode == "reflect" else 3
    before, after = (data.draw(st.integers(0, most)) for _ in range(2))
    kit.check(lambda x: F.pad(x, (before, after), mode=mode), values("FLOAT", shape, seed))


@few
@given(data=st.data(), shape=shapes(2, 4), seed=seeds, dtype=dtypes)
def test_writes_at_indices(data: st.DataObject, shape: tuple[int, ...], seed: int, dtype: str) -> None:
    axis = data.draw(st.integers(0, len(shape) - 2))
    generator = torch.Generator().manual_seed(seed)
    count = data.draw(st.integers(1, min(shape[axis : axis + 2])))
    index, other = (torch.randperm(size, generator=generator)[:count] for size in shape[axis : axis + 2])
    from_end = data.draw(st.booleans())
    lead = (slice(None),) * axis
    x = values(dtype, shape, seed)

    def write(x: Any, i: Any, j: Any) -> Any:
        i = i - shape[axis] if from_end else i
        results = [x.clone() for _ in range(3)]
        results[0][(*lead, i)] = x[(*lead, slice(0, count))] * 2
        results[1][(*lead, i, j)] = x[(*lead, slice(0, 1), slice(0, 1))].squeeze(axis) + 1
        results[2][(*lead, i)] = x.flatten()[0]
        return results

    kit.check(write, x, index, other)


@few
@given(data=st.data(), shape=shapes(1, 4), seed=seeds)
def test_writes_into_slices_and_windows(data: st.DataObject, shape: tuple[int, ...], seed: int) -> None:
    axis = data.draw(st.integers(-len(shape), len(shape) - 1))
    size = shape[axis]
    start = data.draw(st.integers(-size, size - 1))
    end = data.draw(st.integers(-size, size + 2))
    step = data.draw(st.integers(1, 3))
    window = data.draw(st.integers(1, size))

    count = len(range(*slice(start, end, step).indices(size)))

    def write(x: Any) -> Any:
        part = x.flip(axis)[(*[slice(None)] * (axis % len(shape)), slice(0, count))]
        written = x.slice_scatter(part, axis, start, end, step) if part.numel() else x * 1
        return written, x.select_scatter(x.select(axis, 0) * 2, axis, start), x.unfold(axis, window, step)

    kit.check(write, values("FLOAT", shape, seed))


@few
@given(shape=shapes(0, 3), seed=seeds, dtype=dtypes, number=st.sampled_from((-2.5, -1.0, 0.75, 3.0)))
def test_remainders(shape: tuple[int, ...], seed: int, dtype: str, number: float) -> None:
    x, y = 4 * values(dtype, shape, seed), values(dtype, shape, seed + 1)
    y = torch.where(y.abs() < 0.25, 1.0, y).to(x.dtype)
    # The quotient may round to a whole number, where the remainder changes from one end to the other.
    near = ((x.double() / y.double()) - (x.double() / y.double()).round()).abs() < 1e-4
    x = torch.where(near, 0.5 * y, x)
    x = torch.where(((x.double() / number) - (x.double() / number).round()).abs() < 1e-4, y.new_tensor(number / 2), x)
    near = ((x.double() / y.double()) - (x.double() / y.double()).round()).abs() < 1e-4
    y = torch.where(near, 2.0 * number, y)
    kit.check(lambda x, y: (x % y, torch.fmod(x, y), x % number, torch.fmod(x, number)), x, y)


@few
@given(shape=shapes(1, 3), seed=seeds, number=st.sampled_from((-3, -1, 2, 7)))
def test_remainders_of_integers(shape: tuple[int, ...], seed: int, number: int) -> None:
    x = torch.randint(-20, 20, shape, generator=torch.Generator().manual_seed(seed))
    y = torch.where(x > 0, 3, -4)
    kit.check(lambda x, y: (x % y, torch.fmod(x, y), x % number, torch.fmod(x, number)), x, y)


# -------------------------------------------------------------------------------------------------------- dynamic sizes

DYNAMIC: dict[str, Callable[[torch.Tensor], Any]] = {
    "causal attention": lambda x: F.scaled_dot_product_attention(x[:, None], x[:, None], x[:, None], is_causal=True),
    "positions": lambda x: x + torch.arange(x.shape[1], dtype=torch.float32)[:, None],
    "cumulative sums": lambda x: x.cumsum(1),
    "interpolate": lambda x: F.interpolate(x.transpose(1, 2), scale_factor=2, mode="linear"),
    "pad and flip": lambda x: F.pad(x, (1, 1, 0, 2)).flip(1),
    "norms": lambda x: (F.layer_norm(x, (4,)), F.group_norm(x.transpose(1, 2), 2)),
    "numbers": lambda x: torch.cat([x, torch.zeros_like(x[:, :1])], 1) + torch.ones(x.shape[1] + 1, 1),
    "triangles": lambda x: torch.tril(x @ x.mT, -1),
    "reductions": lambda x: (x.mean(1), x.max(1)[0], x.var(1, correction=0), x.argmax(-1)),
    "negative indices": lambda x: (x[:, -1], x[:, torch.tensor([0, -1])]),
    "einsum": lambda x: torch.einsum("bsd,btd->bst", x, x),
}


class Function(torch.nn.Module):
    """A module that calls a function."""

    def __init__(self, function: Callable[[torch.Tensor], Any]) -> None:
        super().__init__()
        self.function = function

    def forward(self, x: torch.Tensor) -> Any:
        return self.function(x)


@pytest.mark.parametrize("name", DYNAMIC)
def test_one_program_computes_all_sizes_of_its_range(name: str, tmp_path: Path) -> None:
    dims = [{0: torch.export.Dim("batch", min=1, max=8), 1: torch.export.Dim("length", min=2, max=16)}]
    profile = {"x": ((1, 2, 4), (2, 5, 4), (8, 16, 4))}
    module = Function(DYNAMIC[name])
    program = exports.program(module, {"x": torch.zeros(2, 5, 4)}, dims=dims, profile=profile)
    for shape in ((2, 5, 4), (3, 7, 4)):
        x = values("FLOAT", shape)
        expected = module(x)
        for version in kit.VERSIONS:
            results = kit.run(program, [x], version, names=["x"])
            for result, value in zip(results, expected if isinstance(expected, tuple) else [expected], strict=True):
                torch.testing.assert_close(result, value.to(result.dtype), rtol=2e-5, atol=2e-5)
    if importlib.util.find_spec("tensorrt_rtx") is not None:
        from tests.lowering.test_rtx_builds import build

        assert build(program, tmp_path)
