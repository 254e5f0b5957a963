"""The selection expression of ``--select``: ``model=resnet50 and (batch<=8 or not backend~inductor*)``.

::

    or   := and ("or" and)*
    and  := not ("and" not)*
    not  := "not" not | "(" or ")" | test
    test := key ("=" | "==" | "!=" | "<" | "<=" | ">" | ">=" | "~") value

A value ends at a blank or a parenthesis, or stands in single or double quotes. A case that does not have the key
(a symbol of another model, an option of another backend) equals no value. ``~`` knows ``*`` and ``?`` only, so that
``backend~inductor[mode=*`` needs no escapes.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from typing import Any, Literal
from unicodedata import east_asian_width

import msgspec

from bench.errors import SelectionError, did_you_mean
from bench.model.suite import Case, named

Op = Literal["=", "!=", "<", "<=", ">", ">=", "~"]
TEXTS = ("model", "backend", "precision", "lanes", "l2", "toolchain", "id", "label")
SWITCHES = ("cuda_graph", "transfers", "dynamic")
_ON = {"on": True, "true": True, "off": False, "false": False}
_ORDER: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}
_KEY = re.compile(r"[A-Za-z_][\w.]*")
_OP = re.compile(r"==|!=|<=|>=|[=<>~]")
_BARE = re.compile(r"""[^\s()"']+""")
_QUOTATION = re.compile(r'"[^"]*"|' + r"'[^']*'")
_WORDS = {word: re.compile(rf"{word}(?![\w.=!<>~])") for word in ("and", "or", "not")}
_MAX_DEPTH = 50
_MAX_LENGTH = 100_000
_SHOWN = 60  # characters that an error shows on each side of its place


class Test(msgspec.Struct, frozen=True):
    """A comparison of one field of a case with a value as written."""

    __test__ = False  # not a pytest class

    key: str
    op: Op
    value: str


class Not(msgspec.Struct, frozen=True):
    """True where ``term`` is not."""

    term: Expression


class And(msgspec.Struct, frozen=True):
    """True where all of two or more terms are."""

    terms: tuple[Expression, ...]


class Or(msgspec.Struct, frozen=True):
    """True where one of two or more terms is."""

    terms: tuple[Expression, ...]


Expression = Test | Not | And | Or


class Vocabulary(msgspec.Struct, frozen=True):
    """The words that mean something: symbols, options, and the values of the keys whose values are checked."""

    symbols: tuple[str, ...]
    options: tuple[str, ...]
    values: Mapping[str, tuple[str, ...]]

    @property
    def keys(self) -> tuple[str, ...]:
        """Every key that may stand left of an operator."""
        return (*TEXTS, *SWITCHES, "streams", *self.symbols, *(f"option.{name}" for name in self.options))


def parse(text: str, vocabulary: Vocabulary) -> Expression:
    """The expression in ``text``. SelectionError with a caret under what is wrong."""
    return _Parser(text, vocabulary).parse()


def show(expression: Expression) -> str:
    """The expression as text that parses to itself."""
    if isinstance(expression, Test):
        bare = _BARE.fullmatch(expression.value) is not None and not expression.value.startswith("=")
        quote = "" if bare else "'" if '"' in expression.value else '"'
        return f"{expression.key}{expression.op}{quote}{expression.value}{quote}"
    if isinstance(expression, Not):
        return f"not {_inner(expression.term)}"
    return (" and " if isinstance(expression, And) else " or ").join(_inner(term) for term in expression.terms)


def _inner(expression: Expression) -> str:
    return f"({show(expression)})" if isinstance(expression, And | Or) else show(expression)


def keys_of(expression: Expression) -> tuple[str, ...]:
    """The keys that the expression names, in the order of their appearance."""
    if isinstance(expression, Test):
        return (expression.key,)
    terms = (expression.term,) if isinstance(expression, Not) else expression.terms
    return tuple(dict.fromkeys(key for term in terms for key in keys_of(term)))


def matches(expression: Expression, case: Case, options: Mapping[str, Any]) -> bool:
    """Whether the case is selected; ``options`` are all options of its backend, defaults included."""
    if isinstance(expression, Not):
        return not matches(expression.term, case, options)
    if isinstance(expression, And):
        return all(matches(term, case, options) for term in expression.terms)
    if isinstance(expression, Or):
        return any(matches(term, case, options) for term in expression.terms)
    values = values_of(expression.key, case, options)
    if expression.op == "!=":
        return not any(_is_true("=", value, expression.value) for value in values)
    return any(_is_true(expression.op, value, expression.value) for value in values)


def values_of(key: str, case: Case, options: Mapping[str, Any]) -> tuple[Any, ...]:
    """What ``key`` is in the case: nothing where it does not apply; a backend goes by its label and by its name."""
    if key == "backend":
        return tuple(dict.fromkeys((named(case.backend, case.options), case.backend)))
    if key.startswith("option."):
        name = key.removeprefix("option.")
        return (options[name],) if name in options else ()
    if key == "dynamic":
        return (bool(case.dynamic),)
    if key in TEXTS or key in SWITCHES or key == "streams":
        return (getattr(case, key),)
    return (case.symbols[key],) if key in case.symbols else ()


def _is_true(op: Op, value: Any, literal: str) -> bool:
    if isinstance(value, bool):
        return op == "=" and value is _ON.get(literal.lower())
    if op == "~":
        return _fits(literal, str(value))
    if isinstance(value, int | float):
        number = _number(literal)
        return number is not None and (value == number if op == "=" else _ORDER[op](value, number))
    return op == "=" and str(value) == literal


def _fits(pattern: str, text: str) -> bool:
    """Whether ``text`` matches a pattern of ``*`` and ``?``, in steps of at most one times the other's length.

    Only the last ``*`` is ever tried again: what an earlier one could take more, the last can too.
    """
    at = place = 0
    star, resume = -1, 0
    while place < len(text):
        if at < len(pattern) and pattern[at] == "*":
            star, resume = at, place
            at += 1
        elif at < len(pattern) and pattern[at] in ("?", text[place]):
            at, place = at + 1, place + 1
        elif star >= 0:
            resume += 1
            at, place = star + 1, resume
        else:
            return False
    return not pattern[at:].strip("*")


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


class _Parser:
    """Recursive descent over the text; ``at`` is the position of the next character."""

    def __init__(self, text: str, vocabulary: Vocabulary) -> None:
        self.text = text
        self.vocabulary = vocabulary
        self.at = 0
        self.depth = 0

    def parse(self) -> Expression:
        if len(self.text) > _MAX_LENGTH:
            raise SelectionError(f"longer than {_MAX_LENGTH:,} characters", where="--select", fix="edit the suite")
        expression = self.either()
        if not self.at_end():
            raise self.error("expected `and`, `or` or the end", self.continuation())
        return expression

    def either(self) -> Expression:
        terms = [self.both()]
        while self.word("or"):
            terms.append(self.both())
        return terms[0] if len(terms) == 1 else Or(tuple(terms))

    def both(self) -> Expression:
        terms = [self.one()]
        while self.word("and"):
            terms.append(self.one())
        return terms[0] if len(terms) == 1 else And(tuple(terms))

    def one(self) -> Expression:
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise self.error("nested too deep")
        if self.word("not"):
            expression: Expression = Not(self.one())
        elif self.starts("("):
            self.at += 1
            expression = self.either()
            if not self.starts(")"):
                raise self.error("expected `)`")
            self.at += 1
        else:
            expression = self.test()
        self.depth -= 1
        return expression

    def test(self) -> Test:
        key = self.take(_KEY, "a key, e.g. model=resnet50")
        start = self.at - len(key)
        if key not in self.vocabulary.keys:
            keys = self.vocabulary.keys
            raise self.error(f"unknown key {key!r}.{did_you_mean(key, keys)}", f"known: {', '.join(keys)}", start)
        op = self.take(_OP, f"an operator after {key!r}: = != < <= > >= ~")
        op = "=" if op == "==" else op
        in_quotes = self.starts('"') or self.starts("'")
        if in_quotes:
            value = self.take(_QUOTATION, "the closing quote")
        else:
            value = self.take(_BARE, f"a value after {key}{op}")
        place = self.at - len(value)
        value = value[1:-1] if in_quotes else value
        self.check(key, op, value, place)
        return Test(key, op, value)  # type: ignore[arg-type]  # _OP matches nothing but an Op

    def check(self, key: str, op: str, value: str, place: int) -> None:
        """Whether the operator and the value make sense for the key."""
        number = key == "streams" or key in self.vocabulary.symbols
        if op in _ORDER and (key in TEXTS or key in SWITCHES):
            raise self.error(f"`{op}` compares numbers, and {key} is none", "use = != or ~", place)
        if op == "~" and (number or key in SWITCHES):
            raise self.error(f"`~` compares text, and {key} is none", "use =", place)
        if (number or op in _ORDER) and _number(value) is None:
            raise self.error(f"{value!r} is not a number", place=place)
        if key in SWITCHES and value.lower() not in _ON:
            raise self.error(f"{key} is on or off, not {value!r}", place=place)
        choices = self.vocabulary.values.get(key, ())
        if op in ("=", "!=") and choices and value not in choices:
            raise self.error(
                f"unknown {key} {value!r}.{did_you_mean(value, choices)}", f"known: {', '.join(choices)}", place
            )

    def skip_blanks(self) -> None:
        while self.at < len(self.text) and self.text[self.at].isspace():
            self.at += 1

    def at_end(self) -> bool:
        self.skip_blanks()
        return self.at == len(self.text)

    def starts(self, text: str) -> bool:
        self.skip_blanks()
        return self.text.startswith(text, self.at)

    def word(self, word: str) -> bool:
        self.skip_blanks()
        match = _WORDS[word].match(self.text, self.at)
        self.at = match.end() if match else self.at
        return match is not None

    def continuation(self) -> str:
        """What may be meant by a word in the place of `and` or `or`."""
        for sign, word in (("&", "and"), ("|", "or"), ("AND", "and"), ("OR", "or")):
            if self.starts(sign):
                return f"write `{word}`"
        return ""

    def take(self, pattern: re.Pattern[str], expectation: str) -> str:
        self.skip_blanks()
        match = pattern.match(self.text, self.at)
        if not match:
            raise self.error(f"expected {expectation}")
        self.at = match.end()
        return match[0]

    def error(self, what: str, fix: str = "", place: int | None = None) -> SelectionError:
        """The error, with the expression on a line of its own and a caret below the place."""
        at = self.at if place is None else place
        first = max(at - _SHOWN, 0)
        line = "".join(char if char.isprintable() else " " for char in self.text[first : at + _SHOWN])
        before, after = "..." * (first > 0), "..." * (at + _SHOWN < len(self.text))
        column = len(before) + sum(2 if east_asian_width(char) in "WF" else 1 for char in line[: at - first])
        return SelectionError(f"{what}\n    {before}{line}{after}\n    {' ' * column}^", where="--select", fix=fix)
