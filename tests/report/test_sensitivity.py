"""What quantizing costs, as the command prints it."""

from __future__ import annotations

from bench.model.sensitivity import Accuracy, LayerError, Sensitivity
from bench.report import sensitivity as view

ACCURACY = Accuracy(
    reference={"cosine": 1.0, "sqnr": "inf", "odd": "nan"},
    quantized={"cosine": 0.99999995, "sqnr": 49.53, "odd": "nan"},
    layers=(LayerError(name="linear", op="linear", module="head", sqnr=30.0, weight_sqnr=40.0, quantized=True),),
)


def test_a_cosine_below_one_is_not_rounded_to_it_and_what_is_not_finite_is_said() -> None:
    lines = [line.split() for line in view.render(ACCURACY).splitlines()]
    assert lines[0] == ["network", "cosine", "sqnr", "odd"]
    assert lines[1] == ["fp32", "1", "inf", "nan"]
    assert lines[2] == ["all", "quantized", ">0.999999", "49.53", "nan"]


def test_a_target_that_is_missed_stands_below_the_table_and_the_ranking() -> None:
    missed = Accuracy(
        reference=ACCURACY.reference,
        quantized=ACCURACY.quantized,
        layers=ACCURACY.layers,
        sensitivity=(Sensitivity(name="linear", module="head", metrics=ACCURACY.quantized),),
        target="cosine >= 0.9999999",
        unmet="no assignment meets cosine >= 0.9999999: fp32 has 1",
    )
    text = view.render(missed)
    assert "0 in floating point" not in text
    assert "layers left in floating point" not in text
    order = ["all quantized", "one layer quantized at a time", "target: cosine >= 0.9999999\n", "no assignment meets"]
    places = [text.index(each) for each in order]
    assert places == sorted(places)
    assert "  fix: a lower target" in text
