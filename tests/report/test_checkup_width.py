"""What `diverge`, `lint-qdq` and `ops` print fits the terminal."""

from __future__ import annotations

import pytest

from bench.model.divergence import Cause, Check, Divergence, Node, Side
from bench.model.placement import Finding, Placement
from bench.model.program import SupportedOp
from bench.model.run import Failure
from bench.report import diverge, ops, placement
from tests.report.conftest import case

LONG = "words of a sentence that goes on and on, " * 5
SIDE = Side(low=-0.123456, high=0.654321, nan=7, infinite=8, size=2048)
CHECK = Check(node=Node(name="attn.scaled_dot_product_attention", op="sub"), ok=False, reference=SIDE, network=SIDE,
              dtype="float16", why=LONG)  # fmt: skip


def fits(text: str, width: int) -> bool:
    return all(len(line) <= width for line in text.splitlines()) and bool(text)


CASE = case("bert", "fx2trt")


@pytest.mark.parametrize("width", [60, 80, 120])
def test_lines_fit(width: int) -> None:
    cause = Cause(kind="cancellation", what=LONG, fix=LONG)
    wrong = Divergence(case=CASE, runtime=LONG, outputs=(CHECK,), first=CHECK, inputs=(CHECK,), cause=cause)
    failed = Divergence(case=CASE, failure=Failure(kind="Unsupported", stage="run", message=LONG, hint=LONG))
    text = diverge.render([wrong, failed], width=width)
    assert fits(text, width)
    assert " ".join(text.split()).count("words of a sentence that goes on and on,") == 5 * 8
    nodes = tuple(f"/model/layer{index}/conv/QuantizeLinear" for index in range(9))
    finding = Finding(rule="residual", module="layer1", nodes=nodes, what=LONG, fix=LONG)
    assert fits(placement.render([Placement(case=CASE, pairs=3, findings=(finding,))], width=width), width)
    operators = tuple(f"aten.conv{index}d.default" for index in range(9))
    op = SupportedOp(name="conv", signature="conv(input)", operators=operators, layers=LONG, about=f"``input``, {LONG}")
    assert fits(ops.text([op], width=width), width)


def test_ops_have_no_marks_of_docstrings() -> None:
    op = SupportedOp(name="clamp", signature="clamp(a)", operators=("aten.clamp",), layers="", about="At least ``a``.")
    assert "    At least a.\n" in ops.text([op])
    assert "At least `a`." in ops.markdown([op])
