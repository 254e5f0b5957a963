"""What a wrong tensor is said to come from, by its figures."""

from __future__ import annotations

from typing import Any

import msgspec
import numpy as np
import pytest

from bench.checkup import causes, checks
from bench.checkup.bisection import WrongLayer
from bench.model.divergence import Cause, Check, Graph, Node, Side

NODE = Node(name="layer", op="linear", inputs=("before",), weights=("layer.weight",), dtype="float16")


def values(low: float = -1.0, high: float = 1.0, **counts: int) -> Side:
    return Side(low=low, high=high, size=100, **counts)


def check(reference: Side | None = None, network: Side | None = None, **fields: Any) -> Check:
    usual = {"node": NODE, "ok": False, "dtype": "float16", "rel_l2": 0.003}
    return Check(reference=reference or values(), network=network or values(), **(usual | fields))


def cause(
    wrong: Check,
    before: Check | None = None,
    precision: Any = "fp16",
    vanishes: bool = False,
    nan_constants: tuple[str, ...] = (),
    **of: Any,
) -> Cause:
    reads = before or check(ok=True, rel_l2=1e-4)
    graph = Graph(nodes=(NODE,), outputs={}, **of)
    return causes.cause(WrongLayer(wrong, (reads,), vanishes), graph, precision, nan_constants)


def kind(wrong: Check, before: Check | None = None, precision: Any = "fp16", **of: Any) -> str:
    return cause(wrong, before, precision, **of).kind


BROKEN = values(infinite=3)


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        (check(values(high=7e4), BROKEN, rel_l2=None), "overflow"),
        (check(values(high=7e4), values(high=65504.0)), "overflow"),
        (check(values(), BROKEN, rel_l2=None), "overflow"),  # within the layer
        (check(values(zeros=1), values(zeros=40), underflows=39, rel_l2=0.9), "underflow"),
        (
            check(values(zeros=1), values(zeros=40), underflows=1, rel_l2=0.9),
            "layer",
        ),  # they are large in the reference
        (check(values(zeros=1), values(zeros=40), underflows=39), "rounding"),  # of what is lost nothing is felt
        (check(values(zeros=1), values(zeros=40), underflows=39, why="slice_rel_l2 1 of ch 3 is above"), "underflow"),
        (check(values(zeros=40), values(zeros=40)), "rounding"),
        (check(values(infinite=3), values(infinite=3)), "rounding"),  # a mask
        (check(values(), BROKEN, rel_l2=None, dtype="float32"), "layer"),
        (check(rel_l2=0.9), "layer"),
        (check(values(high=7e4), dtype="float32", rel_l2=0.9), "layer"),
    ],
)
def test_of_float16_by_the_range_of_the_values(wrong: Check, expected: str) -> None:
    assert kind(wrong) == expected


def test_of_float32_by_the_size_of_the_error() -> None:
    right = check(ok=True, rel_l2=1e-7, dtype="float32")
    assert kind(check(dtype="float32", rel_l2=2e-3), right, "fp32") == "precision fallback"
    assert kind(check(dtype="float32", rel_l2=2e-3), right, "tf32") == "rounding"
    assert kind(check(dtype="float32", rel_l2=2e-2), right, "tf32") == "layer"
    gelu = msgspec.structs.replace(NODE, op="gelu")  # which TF32 does not round
    assert kind(check(dtype="float32", rel_l2=2e-3, node=gelu), right, "tf32") == "layer"
    narrow = cause(check(dtype="float32", rel_l2=3e-7), check(ok=True, rel_l2=5e-8, dtype="float32"), "fp32")
    assert (narrow.kind, narrow.fix) == ("rounding", "a wider limit")
    assert "loses digits in float32" in narrow.what
    assert kind(check(dtype="float32", rel_l2=0.2), right, "fp32") == "layer"
    assert kind(check(dtype="float16"), right, "fp32") == "precision fallback"
    worn = check(ok=True, rel_l2=9e-4, dtype="float32")
    assert kind(check(dtype="float32", rel_l2=2e-3), worn, "fp32") == "rounding"


def test_a_limit_as_narrow_as_the_type() -> None:
    reads = check(ok=True, rel_l2=1e-6)
    graph = Graph(nodes=(NODE,), outputs={})
    narrow = causes.cause(WrongLayer(check(rel_l2=4e-4), (reads,)), graph, "fp16")
    wide = causes.cause(WrongLayer(check(rel_l2=2e-3), (reads,)), graph, "fp16")
    assert (narrow.kind, narrow.fix) == ("rounding", "a wider limit, or fp32")
    assert (wide.kind, "float32" in wide.fix) == ("rounding", True)
    alone = causes.cause(WrongLayer(check(rel_l2=0.9), ()), graph, "fp16")
    assert "no tensor that it reads is compared" in alone.what


def test_rounding_is_bounded_by_the_terms_of_a_layer_and_its_type() -> None:
    """An error of 0.14 from inputs that are right to 4e-4: a convolution whose padding was edited."""
    reads = check(ok=True, rel_l2=4e-4)
    of_18 = check(rel_l2=0.14, node=msgspec.structs.replace(NODE, terms=18))
    assert causes.rounding_bound(of_18, 4e-4, "fp16") == pytest.approx(8 * 18**0.5 * 2**-11)
    wrong = cause(of_18, reads)
    assert wrong.kind == "layer"
    assert "rounding of sums of 18 terms in float16 would make at most rel L2 0.017, not 0.14" in wrong.what
    assert kind(check(rel_l2=0.014, node=msgspec.structs.replace(NODE, terms=18)), reads) == "rounding"
    of_576 = check(rel_l2=0.14, node=msgspec.structs.replace(NODE, terms=576))
    assert kind(of_576, check(ok=True, rel_l2=2e-3)) == "layer"  # what it reads is off in proportion, not 24 times
    softmax = msgspec.structs.replace(NODE, terms=576, op="softmax")
    assert kind(check(rel_l2=0.14, node=softmax), check(ok=True, rel_l2=2e-3)) == "rounding"
    many = msgspec.structs.replace(NODE, terms=1 << 20)
    assert kind(check(rel_l2=0.14, node=many), reads) == "rounding"
    assert kind(check(rel_l2=0.31, node=many), reads) == "layer"  # whatever the number of terms
    assert kind(check(rel_l2=0.05, dtype="bfloat16", node=msgspec.structs.replace(NODE, terms=18))) == "rounding"


@pytest.mark.parametrize("op", ["sub", "Sub", "Add", "rsub"])  # of the lowered graph, and of ONNX
def test_a_difference_of_large_terms(op: str) -> None:
    node = Node(name="difference", op=op, inputs=("before",))
    large = check(values(high=500.0), values(high=500.0), ok=True, rel_l2=1e-4)
    assert kind(check(node=node, rel_l2=0.1), large) == "cancellation"
    assert kind(check(node=node, rel_l2=0.1, underflows=0), large) == "cancellation"  # zeros of what has cancelled
    assert kind(check(rel_l2=0.1), large) == "layer"
    assert kind(check(node=node), check(ok=True, rel_l2=1e-4)) == "rounding"
    assert kind(check(node=node, rel_l2=500.0), large) == "layer"  # a sum in place of the difference
    in_float32 = check(values(high=500.0), values(high=500.0), ok=True, rel_l2=1e-8, dtype="float32")
    assert kind(check(node=node, rel_l2=5e-5, dtype="float32"), in_float32, "fp32") == "cancellation"


def test_nan_of_the_reference_and_of_constants() -> None:
    nan = values(nan=7)
    in_both = cause(check(nan, nan, rel_l2=None))
    assert in_both.kind == "reference"
    assert "eager itself is NaN in 7 of 100 values" in in_both.what
    elsewhere = check(nan, nan, rel_l2=None, apart=2)
    assert kind(elsewhere) == "layer"
    of_constant = cause(check(values(), nan, rel_l2=None, apart=7), nan_constants=("other.weight", "layer.scale"))
    assert of_constant.kind == "NaN constant"
    assert "NaN in layer.scale," in of_constant.what
    assert kind(check(values(), nan, rel_l2=None, apart=7)) == "overflow"
    beyond = check(values(high=7e4), nan, rel_l2=None, apart=7)
    assert kind(beyond, nan_constants=("other.weight",)) == "overflow"  # of a layer behind it
    assert kind(beyond, nan_constants=("layer.scale",)) == "NaN constant"


def test_weights_and_fusion_come_before_what_the_values_say() -> None:
    broken = check(values(), BROKEN, rel_l2=None)
    assert kind(broken, infinite=("layer.weight",)) == "weight overflow"
    assert kind(broken, infinite=("other.weight",)) == "overflow"
    assert kind(broken, vanishes=True) == "fusion"


def test_a_tensor_beyond_float16_overflows_though_it_is_right_as_an_output() -> None:
    """As of an engine of TensorRT 8.6, which holds it in float16 within the network and in float32 as an output."""
    network = values(-4524.0, 65504.0, infinite=26)
    assert kind(check(values(-546e3, 699e3), network, dtype="float32"), vanishes=True) == "overflow"
    assert kind(check(values(-546e3, 699e3), network, dtype="float32"), precision="bf16", vanishes=True) == "fusion"


def test_the_figures_of_a_tensor() -> None:
    side = checks.side(np.array([[0.0, -3.0, np.inf], [np.nan, 2.0, 0.0]], np.float32))
    assert side == Side(low=-3.0, high=2.0, nan=1, infinite=1, zeros=2, size=6)
    assert side.largest == 3.0
    nothing = checks.side(np.array([np.nan]))
    assert (nothing.low, nothing.high, nothing.largest) == (None, None, 0.0)
