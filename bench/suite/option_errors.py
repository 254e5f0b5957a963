"""A backend's option of a wrong type or value as an error at its line, in the words of the other errors of a suite."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import UnionType
from typing import Any, Literal, Union, get_args, get_origin

from bench.errors import SuiteError, did_you_mean
from bench.suite.yaml_marks import Node, describe, expected, fail, mapping

# What msgspec says of a value of another type, or outside of its limits.
_TYPES = re.compile(r"Expected `(?P<types>[\w |]+)`(?P<limit> (?:[<>]=?|of length) .+)?(?:, got `\w+`)?$")
_WORDS = {
    "str": "text",
    "int": "an integer",
    "float": "a number",
    "bool": "on or off",
    "array": "a list",
    "object": "a mapping",
    "null": "nothing",
}


def bad_option(node: Node, name: str, fields: Mapping[str, Any], error: Exception) -> SuiteError:
    """``Invalid enum value 'max' - at `$.mode``` as an error at the line of ``mode``, with the nearest value."""
    message, _, path = str(error).partition(" - at `$.")
    option = (re.match(r"\w+", path) or [""])[0]
    if option not in fields:
        return fail(node, f"options of {name}: {message}")
    entry = mapping(node)[option]
    choices, others = _choices(fields[option])
    is_text = isinstance(entry.value, str)
    if not choices or (set(others) - {"null"} and not is_text):
        what = _in_words(message)
        fix = "put it in quotes" if "text" in what and isinstance(entry.value, int | float) else ""
        whole = path.rstrip("`") == option  # else it is about a part of the value
        got = f", got {describe(entry)}" if what != message and whole else ""
        return fail(entry, f"option {option!r} of {name}: {what}{got}", fix)
    if not is_text:
        return expected(entry, f"one of {', '.join([*choices, *others])}", _fix(entry, name, option, choices))
    what = f"unknown value {entry.value!r} of the option {option!r} of {name}.{did_you_mean(entry.value, choices)}"
    known = [*(value or repr(value) for value in choices), *filter(None, others)]
    return fail(entry, what, f"known: {', '.join(known)}")


def _fix(entry: Node, name: str, option: str, choices: Sequence[str]) -> str:
    """What to write in place of a value that is no text: an entry for each one of a list, or a word in quotes that YAML
    reads as a switch or a number.
    """
    value = entry.value
    if isinstance(value, list):
        entries = ", ".join(f"{{name: {name}, {option}: {text}}}" for text in choices if text in value)
        entries = entries or f"{{name: {name}, {option}: {choices[0]}}}"
        return f"one backend entry per value, e.g. [{entries}]"
    word = entry.document.switches.get(entry.key, str(value))
    return "put it in quotes" if word in choices else f"e.g. {option}: {choices[0]}, or leave it out"


def _in_words(message: str) -> str:
    """``Expected `str | null`, got `int``` as ``expected text or nothing``; another message as it is."""
    match = _TYPES.match(message)
    if match is None:
        return message
    words = [_WORDS.get(each, each) for each in match["types"].split(" | ")]
    limit = (match["limit"] or "").replace(" >= ", " of at least ").replace(" <= ", " of at most ")
    return f"expected {' or '.join(words)}{limit}"


def _choices(kind: Any) -> tuple[list[str], list[str]]:
    """The texts that an option of this type may have, where they are listed, and in words what else it may be."""
    kinds = get_args(kind) if get_origin(kind) in (Union, UnionType) else (kind,)
    texts = [value for each in kinds if get_origin(each) is Literal for value in get_args(each)]
    words = {list: "a list", type(None): "null"}
    others = [words.get(get_origin(each) or each, "") for each in kinds if get_origin(each) is not Literal]
    return [value for value in texts if isinstance(value, str)], others
