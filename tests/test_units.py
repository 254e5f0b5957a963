"""Durations, sizes and fractions: what is parsed, what is refused, and that printing keeps the value."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.units import format_rate, format_size, format_time, parse_fraction, parse_size, parse_time


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("1.2 ms", 1_200_000),
        ("15s", 15_000_000_000),
        ("7 ns", 7),
        ("2.5us", 2500),
        ("2.5 µs", 2500),
        ("1 min", 60_000_000_000),
        ("1h", 3_600_000_000_000),
        (".5 s", 500_000_000),
        ("1e3 ns", 1000),
        (" 0 s ", 0),
    ],
)
def test_a_duration_is_a_number_with_a_unit(text: str, ns: int) -> None:
    assert parse_time(text) == ns


@pytest.mark.parametrize("text", ["", "5", "ms", "5 parsecs", "-1 ms", "1,5 ms", "1 ms 2", "nan s", "5 MB", "5 %"])
def test_a_duration_without_a_known_unit_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ValueError, match=r"e\.g\. '1\.2 ms'"):
        parse_time(text)


@pytest.mark.parametrize("parse", [lambda: parse_time("1e999 s"), lambda: parse_fraction("1e999%")])
def test_a_number_beyond_a_float_is_refused(parse) -> None:
    with pytest.raises(ValueError, match="too large"):
        parse()


@pytest.mark.parametrize(
    ("text", "size"), [("2 GiB", 2**31), ("1kB", 1000), ("1.5 MiB", 3 * 2**19), ("7 B", 7), ("1 MB", 10**6)]
)
def test_a_size_is_a_number_with_a_unit(text: str, size: int) -> None:
    assert parse_size(text) == size


def test_a_fraction_is_a_percentage_or_a_plain_number() -> None:
    assert parse_fraction("0.5%") == pytest.approx(0.005)
    assert parse_fraction("0.005") == 0.005
    for text in ("", "%", "half", "5 ms", "-1%"):
        with pytest.raises(ValueError, match="not a fraction"):
            parse_fraction(text)


@pytest.mark.parametrize(
    ("ns", "text"),
    [
        (0, "0 ns"),
        (0.25, "0.250 ns"),
        (5, "5.00 ns"),
        (999.4, "999 ns"),
        (999.9, "1.00 us"),
        (9.999, "10.0 ns"),
        (99.96, "100 ns"),
        (1_234_567, "1.23 ms"),
        (999_999_999, "1.00 s"),
        (1_234e9, "1234 s"),
        (-999.9, "-1.00 us"),
        (math.inf, "inf s"),
    ],
)
def test_a_time_is_shown_with_three_digits_in_the_unit_it_rounds_to(ns: float, text: str) -> None:
    assert format_time(ns) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [(0, "0 B"), (93, "93 B"), (1023, "1023 B"), (1023.9, "1.00 KiB"), (98_000_000, "93.5 MiB"), (2**40, "1024 GiB")],
)
def test_a_size_is_shown_in_binary_units(size: float, text: str) -> None:
    assert format_size(size) == text


@pytest.mark.parametrize(
    ("rate", "text"),
    [(0, "0"), (1234.5, "1,234"), (12.345, "12.3"), (0.0123, "0.0123"), (99.96, "100"), (999.6, "1,000")],
)
def test_a_rate_has_separated_thousands(rate: float, text: str) -> None:
    assert format_rate(rate) == text


def _within(value: int, digits: int) -> float:
    """How far off it may be: half of the last digit shown, and half of the whole unit that it is parsed to."""
    return 0.5 * 10 ** (1 - digits) * value + 0.5


@given(st.floats(1, 1e15), st.integers(2, 6))
def test_a_shown_time_parses_back_to_within_its_digits(ns: float, digits: int) -> None:
    text = format_time(ns, digits)
    assert parse_time(text) == pytest.approx(ns, abs=_within(ns, digits))
    assert sum(character.isdigit() for character in text) >= digits
    assert text.endswith(" s") or float(text.split()[0]) < 1000


@given(st.integers(0, 2**50), st.integers(3, 6))
def test_a_shown_size_parses_back_to_within_its_digits(size: int, digits: int) -> None:
    text = format_size(size, digits)
    assert parse_size(text) == pytest.approx(size, abs=_within(size, digits))
    assert text.endswith("GiB") or float(text.split()[0]) < 1024


@given(st.integers(0, 10**15))
def test_whole_nanoseconds_parse_to_themselves(ns: int) -> None:
    assert parse_time(f"{ns} ns") == ns


@given(st.text(max_size=12))
def test_any_text_is_a_number_from_zero_up_or_a_value_error_that_quotes_it(text: str) -> None:
    for parse in (parse_time, parse_size, parse_fraction):
        try:
            value = parse(text)
        except ValueError as error:
            message = str(error)
        else:
            assert value >= 0
            continue
        assert repr(text) in message
