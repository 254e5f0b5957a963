"""Kinds of values in a suite file, each with how it is read and its JSON Schema, and the fields of a mapping."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Collection, Sequence
from typing import Any

import msgspec

from bench.errors import did_you_mean
from bench.suite.yaml_marks import Node, expected, fail, mapping, sequence, several_items
from bench.units import FRACTION_PATTERN, TIME_PATTERN, parse_fraction, parse_time

Schema = dict[str, Any]
WORD = r"[A-Za-z0-9_][A-Za-z0-9_.+-]*"
IDENTIFIER = r"[A-Za-z_][A-Za-z0-9_]*"
_LETTERS = {
    WORD: "use letters (a-z, A-Z), digits and . _ + -, with a letter, digit or _ first",
    IDENTIFIER: "use letters (a-z, A-Z), digits and _, with a letter or _ first",
}
_MAX_NS = 2**63


class Kind(msgspec.Struct, frozen=True):
    """``read`` returns the value of a node, or raises SuiteError at its line.

    ``schema`` takes all that ``read`` takes; it takes more where JSON Schema cannot say what is refused, such as the
    name of something that is not in the file.
    """

    read: Callable[[Node], Any]
    schema: Schema


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """A key of a mapping.

    ``description`` is Markdown, for the documentation and for editors. ``required`` is an example of the key, which
    must then be there. ``default`` is what an absent key stands for, as YAML has it; ``otherwise`` says it in words
    where it is no single value. ``attribute`` is the name that the value has in the program, if it is another.
    """

    name: str
    kind: Kind
    description: str
    required: str = ""
    default: Any = msgspec.UNSET
    otherwise: str = ""
    attribute: str = ""

    @property
    def schema(self) -> Schema:
        """The kind's schema with the description and the default."""
        default = {} if self.default is msgspec.UNSET else {"default": self.default}
        return {**self.kind.schema, "description": self.description, **default}


Fields = Sequence[Field]


# --------------------------------------------------------------------------------------------------------- mappings


def entries(node: Node, fields: Fields, noun: str = "key") -> dict[str, Node]:
    """The entries of a mapping by key. SuiteError if one is not a field, or a required field is not there."""
    values = mapping(node, {field.name: field for field in fields}, noun)
    for field in fields:
        if field.required and field.name not in values:
            raise fail(node, f"{node.key or 'the suite'} has no `{field.name}`", f"add `{field.required}`")
    return values


def record(
    fields: Fields,
    make: Callable[[dict[str, Any], Node], Any] = lambda values, node: values,
    *,
    noun: str = "key",
    others: Field | None = None,
    example: str = "",
) -> Kind:
    """A mapping with these fields; its value is what ``make`` returns for the values, by attribute, and the node.

    ``make`` checks what the fields have to do with each other. ``others`` stands in the schema for keys that only the
    file as a whole decides on. With an ``example``, which the error shows, it has at least one key.
    """
    by_name = {field.name: field for field in fields}

    def read(node: Node) -> Any:
        parts = entries(node, fields, noun)
        if example and not parts:
            raise fail(node, f"{node.key} is empty", f"name at least one {noun}, e.g. {example}")
        values = {by_name[name].attribute or name: by_name[name].kind.read(entry) for name, entry in parts.items()}
        return make(values, node)

    schema: Schema = {
        "type": "object",
        "properties": {field.name: field.schema for field in fields},
        "required": [field.name for field in fields if field.required],
        "additionalProperties": others.schema if others else False,
    }
    return Kind(read, schema | ({"minProperties": 1} if example else {}))


def named(
    value: Kind,
    *,
    pattern: str = "",
    noun: str = "a name",
    check: Callable[[str, Node], None] = lambda name, node: None,
    example: str = "",
) -> Kind:
    """A mapping from names to values of one kind; with an ``example`` it has at least one entry.

    A name matches ``pattern``, if there is one, and passes ``check``, which raises SuiteError.
    """

    def read(node: Node) -> dict[str, Any]:
        values = mapping(node)
        if example and not values:
            raise fail(node, f"{node.key} is empty", example)
        for name, entry in values.items():
            if pattern and not re.fullmatch(pattern, name):
                raise fail(entry, f"{name!r} cannot be {noun}", _LETTERS.get(pattern, ""))
            check(name, entry)
        return {name: value.read(entry) for name, entry in values.items()}

    schema: Schema = {"type": "object", "additionalProperties": value.schema}
    if pattern:
        schema["propertyNames"] = {"pattern": f"^{pattern}$"}
    return Kind(read, schema | ({"minProperties": 1} if example else {}))


def _plain(node: Node) -> dict[str, Any]:
    return {name: entry.value for name, entry in mapping(node).items()}


# A mapping whose contents are not the suite's affair.
ANYTHING = Kind(_plain, {"type": "object"})


# ------------------------------------------------------------------------------------------------------------ lists


def listing(value: Kind) -> Kind:
    """A list; its value is a tuple."""
    return Kind(
        lambda node: tuple(value.read(item) for item in sequence(node)), {"type": "array", "items": value.schema}
    )


def several(value: Kind) -> Kind:
    """A list of at least one, or a single value; the value is a tuple without repetitions."""

    def read(node: Node) -> tuple[Any, ...]:
        values = [value.read(item) for item in several_items(node)]
        unique: dict[bytes, Any] = {}  # by their text, as mappings have no hash
        for item in values:
            unique.setdefault(msgspec.json.encode(item), item)
        return tuple(unique.values())

    return Kind(read, {"anyOf": [value.schema, {"type": "array", "items": value.schema, "minItems": 1}]})


def optional(value: Kind) -> Kind:
    """A value or ``null``."""
    return Kind(
        lambda node: None if node.value is None else value.read(node), {"anyOf": [value.schema, {"type": "null"}]}
    )


# ------------------------------------------------------------------------------------------------------------- text


def text(pattern: str = "", example: str = "") -> Kind:
    """Text that is not empty, and matches the whole of ``pattern`` if there is one."""

    def read(node: Node) -> str:
        if not isinstance(node.value, str) or not node.value:
            raise expected(node, "text", "put it in quotes" if isinstance(node.value, bool | int | float) else "")
        if pattern and not re.fullmatch(pattern, node.value):
            raise expected(node, f"something like {example}")
        return node.value

    return Kind(read, {"type": "string", **({"pattern": f"^{pattern}$"} if pattern else {"minLength": 1})})


def one_of(names: Collection[str], noun: str) -> Kind:
    """One of the names known."""
    return Kind(lambda node: _choice(node, names, noun), {"enum": list(names)})


def reference(names: Collection[str], noun: str) -> Kind:
    """One of the names that the suite, or something beside it, defines; there may be thousands."""
    known = dict.fromkeys(names)
    return Kind(lambda node: _choice(node, known, noun), {"type": "string"})


def _choice(node: Node, names: Collection[str], noun: str) -> str:
    if not isinstance(node.value, str):
        raise expected(node, f"one of {', '.join(names)}")
    if node.value not in names:
        what = f"unknown {noun} {node.value!r}.{did_you_mean(node.value, names)}"
        raise fail(node, what, f"known: {', '.join(names)}")
    return node.value


# ---------------------------------------------------------------------------------------------------------- numbers


def whole(least: int | None = 1) -> Kind:
    """A whole number, at least ``least``; true and false are no numbers."""

    def read(node: Node) -> int:
        if type(node.value) is not int or (least is not None and node.value < least):
            wanted = "an integer" + ("" if least is None else f" of at least {least}")
            raise expected(node, wanted, _number_fix(node))
        return node.value

    return Kind(read, {"type": "integer", **({} if least is None else {"minimum": least})})


def _number_fix(node: Node) -> str:
    if isinstance(node.value, str) and re.fullmatch(r"\s*-?\d+\s*", node.value):
        return f"write {node.value.strip()} without quotes"
    *parents, last = node.key.split(".")
    return f"e.g. {parents[-1]}: [1, 8]" if last.isdigit() and parents else f"e.g. {last}: 1"


def number(low: float, high: float = math.inf) -> Kind:
    """A finite number in [low, high]; its value is a float."""
    span = f"of {low:g} to {high:g}" if high < math.inf else f"of at least {low:g}"

    def read(node: Node) -> float:
        value = node.value
        if type(value) not in (int, float) or not math.isfinite(value) or not low <= value <= high:
            raise expected(node, f"a number {span}")
        return float(value)

    return Kind(read, {"type": "number", "minimum": low, **({"maximum": high} if high < math.inf else {})})


def duration(least: int = 1) -> Kind:
    """A time with a unit; its value is integer nanoseconds, at least ``least`` of them."""

    def read(node: Node) -> int:
        if not isinstance(node.value, str):
            fix = f"write {node.value}s" if type(node.value) in (int, float) else ""
            raise expected(node, "a time with a unit, e.g. 15s", fix)
        try:
            value = parse_time(node.value)
        except (ValueError, OverflowError) as error:
            raise expected(node, "a time with a unit, e.g. 15s") from error
        if not least <= value < _MAX_NS:
            raise expected(node, "a time longer than 0" if value < least else "a time that can pass")
        return value

    return Kind(read, {"type": "string", "pattern": TIME_PATTERN})


def _switch(node: Node) -> bool:
    states = {"on": True, "off": False}
    value = states.get(node.value, node.value) if isinstance(node.value, str) else node.value
    if not isinstance(value, bool):
        raise expected(node, "on or off")
    return value


def _fraction(node: Node) -> float:
    value = node.value
    if isinstance(value, str):
        try:
            value = parse_fraction(value)
        except (ValueError, OverflowError) as error:
            raise expected(node, "a fraction, e.g. 0.5%") from error
    if type(value) not in (int, float) or not 0 < value < 1:
        raise expected(node, "a fraction between 0 and 1, e.g. 0.5%")
    return float(value)


# ``on`` or ``off``, bare or in quotes: editors that read YAML 1.2 take the bare words for text.
SWITCH = Kind(_switch, {"enum": [True, False, "on", "off"]})
# ``0.5%`` or ``0.005``: between 0 and 1, both excluded.
FRACTION = Kind(
    _fraction,
    {
        "anyOf": [
            {"type": "string", "pattern": FRACTION_PATTERN},
            {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1},
        ]
    },
)
