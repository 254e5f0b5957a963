"""The names of weights in a graph."""

from __future__ import annotations

from bench.lowering import exported_weights


def test_a_keyword_in_a_name_of_a_weight_has_underscores_until_no_other_weight_is_in_its_place() -> None:
    names = {"class.weight", "class.weight_", "class_.weight", "if", "if_.bias", "for.bias", "for_", "scale"}
    for name in sorted(names):
        names.add(exported_weights.attribute(name, names))
    assert names >= {"class__.weight", "class_.weight_", "if__", "for__.bias"}
    assert len(names) == 12
