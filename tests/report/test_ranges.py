"""Ranges of a calibration as text and as JSON."""

from __future__ import annotations

import json

import pytest

from bench.model.run import Failure
from bench.model.suite import Case, Input
from bench.model.tensor_ranges import CaseRanges, NetworkRanges, TensorRange
from bench.report import ranges

CASE = Case(model="net", factory="zoo.py:net", inputs={"x": Input(shape=(1, 3))}, backend="fx2trt", precision="int8")
TENSORS = (
    TensorRange(name="x", module="x", least=-2.0, most=4.0, limit=2.0, clipped=0.25, histogram=(1000, 100, 10, 0) * 8,
                reach=4.0),
    TensorRange(name="relu", module="stem", least=0.0, most=3.0, limit=3.0, histogram=(5, 0, 0, 1) * 8, reach=3.0),
    TensorRange(name="add", module="stem", least=0.5, most=0.5, limit=0.5, problem="constant"),
    TensorRange(name="conv", module="head\n", problem="not finite"),
)  # fmt: skip


def case(*tensors: TensorRange, **fields: str) -> CaseRanges:
    about = NetworkRanges(quantizer="trtbench", observer="entropy", samples=8, tensors=tensors, **fields)
    return CaseRanges(case=CASE, ranges=about)


def test_a_line_for_each_tensor_with_a_stroke_at_its_limit_and_a_note() -> None:
    text = ranges.render([case(*TENSORS)], most=0, width=160)
    heading, facts, _, titles, _, first, relu, add, last, *legend = text.splitlines()
    assert heading == CASE.label
    assert facts == (
        "by trtbench: observer entropy, 8 samples, drawn as the inputs of the case; 4 tensors; "
        "without a scale: head\\n; constant: stem"
    )
    assert titles.split() == ["tensor", "of", "node", "least", "most", "limit", "clipped", "histogram", "note"]
    assert first.split()[:6] == ["x", "-2", "4", "2", "25.00%", "█▆▃"]
    bars = first.partition("% ")[2].strip()
    assert bars.index("│") == 16
    assert relu.split()[:2] == ["stem", "relu"]
    assert relu.rstrip().endswith("│")
    assert add.rstrip().endswith("constant")
    assert last.rstrip().endswith("NaN or infinite: no scale")
    assert "logarithms" in " ".join(legend)


@pytest.mark.parametrize(("part", "shown"), [(0.0, ""), (1e-6, "<0.01%"), (4.9e-5, "<0.01%"), (5.1e-5, "0.01%")])
def test_a_part_that_is_clipped_is_never_shown_as_nothing(part: float, shown: str) -> None:
    tensor = TensorRange(name="x", module="x", least=-2.0, most=4.0, limit=2.0, clipped=part)
    line = ranges.render([case(tensor)], most=0, width=160).splitlines()[5]
    assert ("".join(word for word in line.split() if "%" in word)) == shown


def test_of_many_the_wrong_and_the_most_clipped_are_shown_in_the_order_of_the_network() -> None:
    more = tuple(
        TensorRange(name=f"n{index}", module=f"m{index}", limit=1.0, clipped=index / 100) for index in range(20)
    )
    text = ranges.render([case(*more, TENSORS[3])], most=3, width=160)
    shown = [line.split()[0] for line in text.splitlines()[5:8]]
    assert shown == ["m18", "m19", "head\\n"]
    assert "3 of 21 tensors: --top 0 has all" in text
    assert "no histogram: observer entropy or percentile counts one" in text


@pytest.mark.parametrize("width", [60, 80, 100])
def test_lines_fit_the_terminal_and_say_what_has_left(width: int) -> None:
    text = ranges.render([case(*TENSORS)], most=0, width=width)
    assert all(len(line) <= width for line in text.splitlines())
    assert "not shown at" in text


def test_a_case_without_a_calibration_says_why() -> None:
    failure = Failure(kind="Unsupported", stage="calibrate", message="no such operator", hint="another model")
    text = ranges.render([CaseRanges(case=CASE, failure=failure), case(TENSORS[0])], most=0, width=120)
    assert text.startswith(f"{CASE.label}: Unsupported in calibrate: no such operator\n  fix: another model\n")


def test_json_has_every_field() -> None:
    document = json.loads(ranges.json([case(*TENSORS)]))
    assert document["schema"] == 1
    (only,) = document["cases"]
    assert only["label"] == CASE.label
    tensors = only["ranges"]["tensors"]
    assert [each["problem"] for each in tensors] == [None, None, "constant", "not finite"]
    assert tensors[0]["histogram"] == [1000, 100, 10, 0] * 8
