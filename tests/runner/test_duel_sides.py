"""Which cases the two selections of a duel name, and which of them are compared with each other."""

from __future__ import annotations

import pytest

from bench.backends import base
from bench.errors import SelectionError, UsageError
from bench.model.suite import AGAIN, Case, Input, Toolchain
from bench.runner.duel_sides import HERE, again, contests, level, select


def case(model: str, backend: str = "eager", batch: int = 1, **fields: object) -> Case:
    inputs = {"x": Input(shape=("batch", 3))}
    return Case(model=model, factory="f:m", inputs=inputs, backend=backend, symbols={"batch": batch}, **fields)  # type: ignore[arg-type]


MODES = ({}, {"mode": "max-autotune"})
CASES = [
    case(model, backend, batch, options=options)
    for model in ("r18", "r50")
    for backend, options in (("eager", {}), *(("inductor", mode) for mode in MODES))
    for batch in (1, 8)
]


def labels(text: str) -> list[str]:
    return [each.label for each in select(CASES, base.registry(), text, "--against")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("r18/eager/batch=1", ["r18/eager/fp32/batch=1"]),
        ("r18/eager", ["r18/eager/fp32/batch=1", "r18/eager/fp32/batch=8"]),
        ("batch=8/r50/eager", ["r50/eager/fp32/batch=8"]),
        ("r18/inductor/batch=1", ["r18/inductor/fp32/batch=1"]),  # the one without options
        ("r18/inductor[mode=max-autotune]/batch=1", ["r18/inductor[mode=max-autotune]/fp32/batch=1"]),
        ("model=r50 and backend=eager and batch<8", ["r50/eager/fp32/batch=1"]),
    ],
)
def test_a_side_is_parts_of_labels_or_an_expression(text: str, expected: list[str]) -> None:
    assert labels(text) == expected


def test_a_backend_goes_by_its_name_where_no_case_has_it_without_options() -> None:
    only = [each for each in CASES if each.options]
    chosen = select(only, base.registry(), "r18/inductor/batch=8", "--against")
    assert [each.label for each in chosen] == ["r18/inductor[mode=max-autotune]/fp32/batch=8"]


@pytest.mark.parametrize(
    ("text", "message"),
    [("r18/eagr", "Did you mean 'eager'"), ("r18/eager/batch=7", "no case has"), ("batch=7", "no case matches")],
)
def test_a_side_without_a_case_is_an_error_that_names_the_option(text: str, message: str) -> None:
    with pytest.raises(SelectionError, match=message) as caught:
        labels(text)
    assert caught.value.where.startswith("--against")


def pairs(first: str, *others: str) -> list[list[str]]:
    registry = base.registry()
    sides = [select(CASES, registry, text, "--against") for text in (first, *others)]
    return [[each.label for each in contest] for contest in contests(sides[0], sides[1:], where="x.yaml")]


def test_several_cases_are_compared_with_those_that_agree_in_what_both_sides_have() -> None:
    assert pairs("eager", "inductor") == [
        [f"{model}/eager/fp32/batch={batch}", f"{model}/inductor/fp32/batch={batch}"]
        for model in ("r18", "r50")
        for batch in (1, 8)
    ]
    assert pairs("r18/eager", "r50/eager") == [
        [f"r18/eager/fp32/batch={batch}", f"r50/eager/fp32/batch={batch}"] for batch in (1, 8)
    ]


def test_one_case_is_compared_with_all_the_others_and_not_with_itself() -> None:
    (contest,) = pairs("r18/eager/batch=1", "r18/batch=1", "r50/eager/batch=8")
    assert contest == [
        "r18/eager/fp32/batch=1",
        "r18/inductor/fp32/batch=1",
        "r18/inductor[mode=max-autotune]/fp32/batch=1",
        "r50/eager/fp32/batch=8",
    ]


def test_a_case_whose_only_opponent_is_itself_is_compared_with_itself_in_another_toolchain() -> None:
    one = select(CASES, base.registry(), "r18/eager", "--select")
    several = contests(one, [one], where="x.yaml")
    assert [[each.label for each in contest] for contest in several] == [
        [f"r18/eager/fp32/batch={batch}", f"r18/eager/fp32/batch={batch}/@again"] for batch in (1, 8)
    ]
    assert again(several, {}) == {AGAIN: Toolchain()}
    assert again(contests(CASES[:1], [CASES[1:2]], where="x.yaml"), {}) == {}
    older = [case("r18", toolchain="older")]
    (contest,) = contests(older, [older], where="x.yaml")
    assert contest[1].toolchain == "older-again"
    definition = Toolchain(python="old/bin/python")
    assert again((contest,), {"older": definition}) == {"older-again": definition}


def test_both_sides_start_in_a_copy_of_the_environment_where_one_does() -> None:
    one = select(CASES, base.registry(), "r18/eager/batch=1", "--select")
    other = select(CASES, base.registry(), "r18/inductor/batch=1", "--against")
    several = level(contests(one, [one, other], where="x.yaml"), {AGAIN})
    assert [[each.toolchain for each in contest] for contest in several] == [[HERE, AGAIN, HERE]]
    plain = contests(one, [other], where="x.yaml")
    assert level(plain, {AGAIN}) == plain


def test_sides_that_agree_in_nothing_are_an_error() -> None:
    with pytest.raises(UsageError, match="has an opponent"):
        contests(
            [case("r18", batch=1), case("r50", batch=8)], [[case("r18", batch=8), case("r50", batch=1)]], where="x.yaml"
        )
