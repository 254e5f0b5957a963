"""Targets of a metric: which numbers meet one, and those that none can."""

from __future__ import annotations

import math

import pytest

from bench.errors import UsageError
from bench.model.sensitivity import check_target, parse_target


def test_infinity_meets_every_target_and_nan_none() -> None:
    for text in ("sqnr >= 30", "sqnr >= -1"):
        target = parse_target(text)
        assert target.met(math.inf, math.inf)
        assert not target.met(math.nan, math.inf)
        assert not target.met(20.0, math.inf)


def test_a_target_is_shown_with_all_its_digits() -> None:
    assert parse_target("cosine >= 0.9999995").text == "cosine >= 0.9999995"
    assert parse_target("top1 >= -0.5 %").text == "top1 >= -0.005 against fp32"


@pytest.mark.parametrize("text", ["cosine >= 1", "cosine >= -0.1", "top1 >= 100 %", "top1 >= +0", "sqnr >= 300"])
def test_what_a_metric_can_be_is_a_target(text: str) -> None:
    check_target(parse_target(text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("cosine >= 1.5", "cosine >= 1.5: no network has more than fp32, whose cosine is 1"),
        ("top1 >= 101 %", "top1 >= 1.01: no network has more than fp32, whose top1 is 1"),
        ("top1 >= +1 %", "top1 >= 0.01 against fp32: no network has more than fp32"),
        ("sqnr >= -1", "sqnr >= -1 against fp32: fp32 has no error and so an infinite sqnr"),
        ("cosin >= 0.9", "there is no metric 'cosin'. Did you mean 'cosine'?"),
    ],
)
def test_what_it_cannot_be_is_refused(text: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        check_target(parse_target(text))
    assert caught.value.what.startswith(message)
    assert caught.value.where == "--target"
    assert caught.value.fix
