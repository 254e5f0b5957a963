"""Names of variables and layers: new each time, valid Python, and as short as they can be."""

from __future__ import annotations

import keyword

from hypothesis import given
from hypothesis import strategies as st

from bench.lowering.names import Names


def test_a_variable_has_as_many_parts_of_the_name_as_make_it_unique() -> None:
    names = Names()
    assert [names.variable(f"{block}.conv.weight") for block in ("a.one", "b.one")] == [
        "conv_weight",
        "one_conv_weight",
    ]


def test_a_name_that_is_taken_gets_a_number() -> None:
    names = Names()
    assert [names.layer("relu") for _ in range(3)] == ["relu", "relu_1", "relu_2"]
    assert [names.variable("p"), names.variable("lambda"), names.variable("0")] == ["p_1", "lambda_1", "_0"]


def test_no_variable_hides_what_a_program_calls() -> None:
    names = Names()
    assert [names.variable(name) for name in ("emit_gelu", "Prelude", "float", "block.emit_gelu")] == [
        "_emit_gelu",
        "Prelude_1",
        "float_1",
        "block_emit_gelu",
    ]


@given(st.lists(st.text(max_size=12), max_size=20))
def test_variables_are_identifiers_and_differ(texts: list[str]) -> None:
    names = Names()
    variables = [names.variable(text) for text in texts]
    assert len(set(variables)) == len(variables)
    assert all(each.isidentifier() and each.isascii() and not keyword.iskeyword(each) for each in variables)


def test_letters_that_python_reads_as_one_are_two_variables() -> None:
    names = Names()
    assert names.variable("\N{LATIN SMALL LIGATURE FI}x") != names.variable("fix")
    assert names.variable("x\N{SUPERSCRIPT TWO}") == "x_1"
