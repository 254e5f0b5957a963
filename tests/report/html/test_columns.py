"""Tables as columns: what goes in comes out, in the shortest form."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.report.html import columns
from tests.report.html.kit import rows_of, unpack

VALUES = st.one_of(st.none(), st.booleans(), st.integers(-(2**53), 2**53), st.text("ab\u00e9", max_size=2))


@settings(max_examples=50)
@given(st.lists(VALUES, max_size=10))
def test_a_column_is_unpacked_to_its_values(values: list[object]) -> None:
    unpacked = unpack(columns.column(values), len(values))
    assert [(type(value), value) for value in unpacked] == [(type(value), value) for value in values]


def test_texts_that_repeat_are_there_once() -> None:
    assert columns.column(["eager", "aoti", "eager", "aoti"]) == {"of": ["eager", "aoti"], "at": [0, 1, 0, 1]}
    assert columns.column(["cpu"] * 3) == {"same": "cpu"}
    assert columns.column([1, 2, 1, 2]) == [1, 2, 1, 2]


def test_true_and_one_stay_apart() -> None:
    assert columns.column([1, True]) == [1, True]
    assert columns.column([1, True])[1] is True


@pytest.mark.parametrize(
    ("value", "short"),
    [(1234567.89, 1234570), (0.123456789, 0.123457), (5.0, 5), (math.nan, None), (math.inf, None), (0.0, 0)],
)
def test_numbers_have_six_digits_and_what_json_lacks_is_null(value: float, short: float | None) -> None:
    assert columns.number(value) == short


def test_rows_without_a_value_have_null_and_named_columns_exist_in_an_empty_table() -> None:
    assert rows_of(columns.table([{"a": 1}, {"b": "x"}])) == [{"a": 1, "b": None}, {"a": None, "b": "x"}]
    assert columns.table([], ("a",)) == {"rows": 0, "columns": {"a": []}}


@settings(max_examples=50)
@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=64).map(sorted))
def test_steps_give_the_numbers_back_within_half_a_unit(values: list[int]) -> None:
    unit, first, *rest = columns.steps(values)
    place, back = 0, [first]
    for step in rest:
        place += step
        back.append(first + place * unit)
    assert all(abs(value - near) * 2 <= unit for value, near in zip(values, back, strict=True))
    assert columns.steps([]) == []
