"""Work and speed of light: counts against hand calculations, fractions against the roofline's formula."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from bench.errors import CaseError, SuiteError
from bench.measure import roofline
from bench.measure.clock import FakeClock
from bench.model.seam import Context
from bench.model.suite import Case, Input

ZOO = """
import functools
import torch

class Attention(torch.nn.Module):
    def __init__(self, item=False):
        super().__init__()
        self.project = torch.nn.Linear(8, 24, bias=False)
        self.item = item

    def forward(self, x):
        q, k, v = self.project(x).unflatten(-1, (3, 1, 8)).permute(2, 0, 3, 1, 4)
        if self.item and not torch.isfinite(x).all().item():
            raise ValueError("not finite")
        return torch.nn.functional.scaled_dot_product_attention(q, k, v)

def attention(item=False):
    return Attention(item)

class Wrapped(torch.nn.Linear):
    @functools.wraps(torch.nn.Linear.forward)
    def forward(self, x):
        return super().forward(x)

def wrapped():
    return Wrapped(8, 8)

class Hooked(torch.nn.Linear):
    def forward(self, hidden):
        return super().forward(hidden)

def hooked():
    model = Hooked(8, 8)
    rename = lambda module, args, given: (args, {"hidden": given["x"]})
    model.register_forward_pre_hook(rename, with_kwargs=True)
    return model

class Lookup(torch.nn.Module):
    def __init__(self, kind, rows=1000):
        super().__init__()
        self.kind = kind
        self.bag = torch.nn.EmbeddingBag(rows, 8)
        self.table = self.bag.weight
        self.register_buffer("positions", torch.arange(64).reshape(1, 64))

    def forward(self, x):
        if self.kind == "bag":
            return self.bag(x)
        if self.kind == "select":
            return self.table.index_select(0, x.flatten())
        if self.kind == "index":
            return self.table[x]
        if self.kind == "gather":
            return torch.gather(self.table, 0, x.reshape(-1, 1).expand(-1, 8))
        if self.kind == "view":
            return torch.nn.functional.embedding(x, self.table[:500])
        rows = torch.nn.functional.embedding(x, self.table)
        if self.kind == "slice":
            return rows + self.positions[:, : x.shape[1], None]
        return rows @ self.table.t() if self.kind == "tied" else rows

def lookup(kind="embedding", rows=1000):
    return Lookup(kind, rows)

def values():
    rates = torch.linspace(0, 0.5, 2).numpy()  # meta tensors have none, which is a TypeError
    return torch.nn.Sequential(Wrapped(8, 8), torch.nn.Dropout(float(rates[1])))

class Broken(torch.nn.Module):
    def forward(self, x):
        raise RuntimeError("no kernel anywhere")

def broken():
    return Broken()

class Large(torch.nn.Module):
    def forward(self, x):
        raise MemoryError

def large():
    return Large()
"""


@pytest.fixture
def context(tmp_path: Path) -> Context:
    (tmp_path / "zoo.py").write_text(ZOO)
    return Context(
        device="cpu",
        inputs={},
        artifacts={},
        scratch=tmp_path,
        suite_dir=tmp_path,
        clock=FakeClock(),
        phase=lambda name: contextlib.nullcontext(),
    )


@pytest.mark.torch
@pytest.mark.parametrize("item", [False, True])  # True cannot run on meta tensors
@pytest.mark.parametrize(("precision", "size"), [("fp32", 4), ("fp16", 2)])
def test_flops_and_bytes_are_those_counted_by_hand(context: Context, item: bool, precision: str, size: int) -> None:
    pytest.importorskip("torch")
    inputs = {"x": Input(shape=("batch", 5, 8))}
    case = Case(
        model="m", factory="zoo.py:attention", args={"item": item}, inputs=inputs, symbols={"batch": 2},
        backend="eager", precision=precision,
    )  # fmt: skip
    work = roofline.count(case, context)
    project, attend = 2 * (2 * 5) * 8 * 24, 2 * 2 * (2 * 5 * 5 * 8)
    assert work.flops == project + attend
    assert work.parameters == 8 * 24
    assert work.bytes == size * (8 * 24 + 2 * 5 * 8 + 2 * 5 * 8)


ROW = 8 * 2  # bytes of a row of the table in fp16
INDICES = 2 * 5
LOOKUPS = {  # what is read of the weights, and the bytes of the output
    "embedding": (INDICES * ROW, INDICES * ROW),
    "bag": (INDICES * ROW, 2 * ROW),
    "select": (INDICES * ROW, INDICES * ROW),
    "index": (INDICES * ROW, INDICES * ROW),
    "gather": (INDICES * ROW, INDICES * ROW),
    "view": (INDICES * ROW, INDICES * ROW),
    "slice": (INDICES * ROW + 5 * 8, INDICES * ROW),  # and 5 int64 positions of 64
    "tied": (1000 * ROW, INDICES * 1000 * 2),  # a product with the table reads all of it
}


@pytest.mark.torch
@pytest.mark.parametrize("kind", LOOKUPS)
def test_a_lookup_reads_the_rows_that_it_takes_of_a_table(context: Context, kind: str) -> None:
    pytest.importorskip("torch")
    inputs = {"x": Input(shape=(2, 5), dtype="int64", range=(0, 400))}
    case = Case(
        model="m", factory="zoo.py:lookup", args={"kind": kind}, inputs=inputs, backend="eager", precision="fp16"
    )
    read, returned = LOOKUPS[kind]
    assert roofline.count(case, context).bytes == read + INDICES * 8 + returned


@pytest.mark.torch
def test_a_lookup_reads_no_more_than_the_whole_table(context: Context) -> None:
    pytest.importorskip("torch")
    inputs = {"x": Input(shape=(2, 5), dtype="int64", range=(0, 3))}
    case = Case(model="m", factory="zoo.py:lookup", args={"rows": 3}, inputs=inputs, backend="eager")
    work = roofline.count(case, context)
    assert work.parameters == 3 * 8
    assert work.bytes == 3 * 8 * 4 + INDICES * 8 + INDICES * 8 * 4


@pytest.mark.torch
@pytest.mark.parametrize("factory", ["wrapped", "hooked"])
def test_a_model_takes_what_its_signature_does_not_show(context: Context, factory: str) -> None:
    pytest.importorskip("torch")
    case = Case(model="m", factory=f"zoo.py:{factory}", inputs={"x": Input(shape=(2, 8))}, backend="eager")
    assert roofline.count(case, context).flops == 2 * 2 * 8 * 8


@pytest.mark.torch
def test_a_factory_that_needs_values_is_counted_on_the_cpu(context: Context) -> None:
    pytest.importorskip("torch")
    case = Case(model="m", factory="zoo.py:values", inputs={"input": Input(shape=(2, 8))}, backend="eager")
    assert roofline.count(case, context).flops == 2 * 2 * 8 * 8


@pytest.mark.torch
def test_inputs_of_other_names_are_the_suites_fault(context: Context) -> None:
    pytest.importorskip("torch")
    case = Case(
        model="m", factory="zoo.py:attention", inputs={"y": Input(shape=(2, 8))}, backend="eager", source="s.yaml:3"
    )
    with pytest.raises(SuiteError, match="has no parameter 'y', which is an input of the suite") as caught:
        roofline.count(case, context)
    assert caught.value.where == "s.yaml:3"


@pytest.mark.torch
@pytest.mark.parametrize(("factory", "what"), [("broken", "no kernel anywhere"), ("large", "MemoryError")])
def test_a_model_that_runs_neither_without_memory_nor_on_the_cpu_is_told(
    context: Context, factory: str, what: str
) -> None:
    pytest.importorskip("torch")
    case = Case(model="m", factory=f"zoo.py:{factory}", inputs={"x": Input(shape=(2, 8))}, backend="eager")
    with pytest.raises(CaseError, match=f"cannot be run on zeros: {what}"):
        roofline.count(case, context)


def test_a_rate_is_the_best_of_all_rounds_and_of_every_kernel_that_counts_for_it() -> None:
    order: list[str] = []

    def kernel(name: str, *rates: float) -> Callable[[], float]:
        left = itertools.chain(rates, itertools.repeat(rates[-1]))

        def read() -> float:
            order.append(name)
            return next(left)

        return read

    found = roofline.fastest(
        [
            (("fp32", "fp16"), kernel("product", 2.0, 7.0, 1.0)),
            (("fp32", "fp16"), kernel("convolution", 5.0)),
            (("fp16",), kernel("emulated", 0.1)),
            (("bf16",), kernel("missing", 0.0)),
            (("copy",), kernel("copy", 0.001, 0.002)),
        ]
    )
    assert found == {"fp32": 7.0, "fp16": 7.0, "copy": 0.002}
    # In turn; what is far behind, or not there, is read once.
    assert order[:8] == ["product", "convolution", "emulated", "missing", "copy", "product", "convolution", "copy"]
    assert order.count("emulated") == order.count("missing") == 1
