from __future__ import annotations

import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import SelectionError
from bench.model.suite import Case, Input, Range
from bench.suite import selection
from bench.suite.selection import And, Expression, Not, Or, Test, Vocabulary

WORDS = Vocabulary(
    symbols=("batch", "seq"),
    options=("mode", "threads", "fullgraph"),
    values={
        "model": ("resnet50", "bert"),
        "backend": ("eager", "inductor", "inductor[mode=max-autotune]"),
        "precision": ("fp32", "fp16"),
    },
)
EAGER = Case(model="bert", factory="timm:x", inputs={}, backend="eager", symbols={"batch": 1, "seq": 128})
TUNED = Case(
    model="resnet50",
    factory="timm:x",
    inputs={"x": Input(shape=(32,))},
    backend="inductor",
    options={"mode": "max-autotune"},
    symbols={"batch": 32},
    precision="fp16",
    cuda_graph=True,
    streams=4,
    dynamic={"batch": Range(min=1, opt=8, max=32)},
    toolchain="old",
)
PLAIN = Case(model="resnet50", factory="timm:x", inputs={}, backend="inductor", symbols={"batch": 9})
OPTIONS: dict[str, dict[str, Any]] = {
    EAGER.id: {},
    TUNED.id: {"mode": "max-autotune", "threads": 1, "fullgraph": False},
    PLAIN.id: {"mode": "default", "threads": 2, "fullgraph": True},
}
CASES = {"eager": EAGER, "tuned": TUNED, "plain": PLAIN}


def chosen(text: str | Expression) -> str:
    """The names of the cases that an expression selects."""
    parsed = selection.parse(text, WORDS) if isinstance(text, str) else text
    return " ".join(name for name, case in CASES.items() if selection.matches(parsed, case, OPTIONS[case.id]))


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("model=bert", "eager"),
        ("model != bert", "tuned plain"),
        ("backend=inductor", "tuned plain"),
        ("backend=inductor[mode=max-autotune]", "tuned"),
        ("backend!=inductor", "eager"),
        ("backend!=inductor[mode=max-autotune]", "eager plain"),
        ("backend~inductor*", "tuned plain"),
        ("backend~*[mode=*", "tuned"),
        ("backend~induct?r", "tuned plain"),
        ("backend~nductor", ""),
        ("model~*", "eager tuned plain"),
        ("batch<9", "eager"),
        ("batch<=9", "eager plain"),
        ("batch>9", "tuned"),
        ("batch>=9.0", "tuned plain"),
        ("batch=9", "plain"),
        ("batch=09", "plain"),
        ("batch!=9", "eager tuned"),
        ("seq=128", "eager"),
        ("seq!=128", "tuned plain"),
        ("seq>1", "eager"),
        ("streams=4", "tuned"),
        ("lanes=threads", "eager tuned plain"),
        ("cuda_graph=on", "tuned"),
        ("cuda_graph!=On", "eager plain"),
        ("dynamic=true", "tuned"),
        ("transfers=off", ""),
        ("l2=warm", "eager tuned plain"),
        ("toolchain=old", "tuned"),
        (f"id={PLAIN.id}", "plain"),
        (f"id~{PLAIN.id[:6]}*", "plain"),
        ("label~*/graph/*", "tuned"),
        ("label='bert/eager/fp32/batch=1/seq=128'", "eager"),
        ("option.mode=default", "plain"),
        ("option.mode!=default", "eager tuned"),
        ("option.mode~max*", "tuned"),
        ("option.threads>=2", "plain"),
        ("option.fullgraph=on", "plain"),
        ("model=bert and batch=1 or precision=fp16", "eager tuned"),
        ("precision=fp16 or model=bert and batch=2", "tuned"),
        ("(precision=fp16 or model=bert) and batch=1", "eager"),
        ("not model=bert and not batch=9", "tuned"),
        ("not (model=bert or batch=9)", "tuned"),
        ("not not model=bert", "eager"),
        ("((model=bert))or(batch=9)", "eager plain"),
        ('  model = "bert"  ', "eager"),
    ],
)
def test_an_expression_selects(text: str, names: str) -> None:
    assert chosen(text) == names


@pytest.mark.parametrize(
    ("text", "at", "message"),
    [
        ("", 0, "expected a key"),
        ("modle=bert", 0, "unknown key 'modle'. Did you mean 'model'?"),
        ("batch=1 and sequ=1", 12, "unknown key 'sequ'. Did you mean 'seq'?"),
        ("option.mod=x", 0, "unknown key 'option.mod'. Did you mean 'option.mode'?"),
        ("model=resnet", 6, "unknown model 'resnet'. Did you mean 'resnet50'?"),
        ("backend!=inducktor", 9, "unknown backend 'inducktor'. Did you mean 'inductor'?"),
        ("precision=fp61", 10, "unknown precision 'fp61'. Did you mean 'fp16'?"),
        ("batch=many", 6, "'many' is not a number"),
        ("option.threads>many", 15, "'many' is not a number"),
        ("cuda_graph=maybe", 11, "cuda_graph is on or off, not 'maybe'"),
        ("model<bert", 6, "`<` compares numbers, and model is none"),
        ("batch~1*", 6, "`~` compares text, and batch is none"),
        ("model", 5, "expected an operator after 'model'"),
        ("model=", 6, "expected a value after model="),
        ("model='bert", 6, "expected the closing quote"),
        ("model=bert batch=1", 11, "expected `and`, `or` or the end"),
        ("model=bert and", 14, "expected a key"),
        ("(model=bert", 11, "expected `)`"),
        ("model=bert)", 10, "expected `and`, `or` or the end"),
        ("not", 3, "expected a key"),
        ("(" * 1000, 50, "nested too deep"),
        ("not " * 1000, 199, "nested too deep"),
    ],
)
def test_a_wrong_expression_is_told_with_a_caret(text: str, at: int, message: str) -> None:
    with pytest.raises(SelectionError) as caught:
        selection.parse(text, WORDS)
    assert message in str(caught.value)
    assert pointed(caught.value).strip() == text[at : at + 1].strip()


def pointed(error: SelectionError) -> str:
    """The character above the caret, where one looks at the message as it is printed."""
    lines = f"trtbench: {error}".split("\n")
    caret = next(index for index, line in enumerate(lines) if line.strip() == "^")
    return lines[caret - 1][lines[caret].index("^") :][:1]


def test_a_caret_points_at_the_place_in_a_long_expression_and_below_odd_characters() -> None:
    for text, place in ((" or ".join(["batch=1"] * 500 + ["@"] + ["batch=1"] * 500), "@"), ("batch=1\tand\n@", "@")):
        with pytest.raises(SelectionError) as caught:
            selection.parse(text, WORDS)
        assert pointed(caught.value) == place
        assert len(str(caught.value)) < 1000
    with pytest.raises(SelectionError) as caught:
        selection.parse("model='日本' @", LOOSE)
    _, line, caret, *_ = str(caught.value).split("\n")
    assert caret.index("^") == line.index("@") + 2  # each of the two takes two columns


@pytest.mark.parametrize(
    ("text", "hint"),
    [("model=bert & batch=1", "`and`"), ("model=bert | batch=1", "`or`"), ("batch=1 AND batch=1", "`and`")],
)
def test_signs_of_other_languages_are_explained(text: str, hint: str) -> None:
    with pytest.raises(SelectionError) as caught:
        selection.parse(text, WORDS)
    assert hint in caught.value.fix


def test_two_equals_signs_mean_one() -> None:
    assert selection.parse("model==bert and batch == 1", WORDS) == selection.parse("model=bert and batch=1", WORDS)


def test_a_pattern_of_many_stars_is_compared_in_no_time() -> None:
    case = msgspec.structs.replace(EAGER, model="a" * 5000)
    assert not selection.matches(Test("model", "~", "*a" * 2000 + "*b"), case, {})
    assert selection.matches(Test("model", "~", "*a" * 2000 + "*"), case, {})


@given(st.text(alphabet="ab*?.[", max_size=8), st.text(alphabet="ab.[\n", max_size=8))
def test_a_pattern_means_what_it_says(pattern: str, text: str) -> None:
    expected = re.fullmatch(re.escape(pattern).replace(r"\*", ".*").replace(r"\?", "."), text, re.DOTALL) is not None
    assert selection.matches(Test("model", "~", pattern), msgspec.structs.replace(EAGER, model=text), {}) is expected


def test_an_expression_of_many_terms_is_read_and_a_longer_one_refused() -> None:
    assert len(selection.keys_of(selection.parse(" or ".join(["batch=1"] * 5000), WORDS))) == 1
    with pytest.raises(SelectionError, match="longer than 100,000 characters"):
        selection.parse("batch=1 or " * 20_000, WORDS)


def test_the_keys_of_an_expression_are_told_once() -> None:
    parsed = selection.parse("batch=1 or not (model=bert and batch=2)", WORDS)
    assert selection.keys_of(parsed) == ("batch", "model")


LOOSE = Vocabulary(symbols=("batch",), options=("mode",), values={})
VALUES = st.text(min_size=1, max_size=8).filter(lambda text: not ('"' in text and "'" in text))
TESTS = st.one_of(
    st.builds(
        Test, st.sampled_from(["model", "backend", "label", "option.mode"]), st.sampled_from(["=", "!=", "~"]), VALUES
    ),
    st.builds(Test, st.just("batch"), st.sampled_from(["=", "!=", "<", "<=", ">", ">="]), st.integers(-9, 99).map(str)),
    st.builds(Test, st.just("cuda_graph"), st.sampled_from(["=", "!="]), st.sampled_from(["on", "off"])),
)
EXPRESSIONS: st.SearchStrategy[Expression] = st.recursive(
    TESTS,
    lambda inner: st.one_of(
        inner.map(Not),
        st.lists(inner, min_size=2, max_size=3).map(lambda terms: And(tuple(terms))),
        st.lists(inner, min_size=2, max_size=3).map(lambda terms: Or(tuple(terms))),
    ),
    max_leaves=12,
)


@given(EXPRESSIONS)
def test_what_is_shown_parses_to_the_same_expression(expression: Expression) -> None:
    assert selection.parse(selection.show(expression), LOOSE) == expression


@given(EXPRESSIONS, EXPRESSIONS)
def test_and_or_and_not_mean_what_they_say(one: Expression, other: Expression) -> None:
    first, second = set(chosen(one).split()), set(chosen(other).split())
    assert set(chosen(And((one, other))).split()) == first & second
    assert set(chosen(Or((one, other))).split()) == first | second
    assert set(chosen(Not(one)).split()) == set(CASES) - first


@given(st.text(alphabet="model=batch<>!~()\"' andornt1\n", max_size=25))
def test_any_text_is_an_expression_or_an_error_with_a_caret(text: str) -> None:
    error = None
    try:
        selection.matches(selection.parse(text, LOOSE), EAGER, {})
    except SelectionError as caught:
        error = caught
    assert error is None or error.what.endswith("^")
