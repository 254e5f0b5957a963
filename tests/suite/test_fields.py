"""The table of fields: the page on suites shows it, its defaults are the program's, schema and reader agree."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import bench
from bench.errors import SuiteError
from bench.model.suite import DEFAULT_POLICY, Case, Input, Policy, Suite
from bench.suite import fields, kinds, matrix
from bench.suite.kinds import Field, Kind
from bench.suite.yaml_marks import Document, Node
from tests.suite.kit import REGISTRY

PAGE = Path(bench.__file__).parent.parent / "docs" / "suites.md"
NAMES = matrix.Names(registry=REGISTRY)
AXES = matrix.axes_of(NAMES)
ENTRIES = matrix.entries_of(kinds.ANYTHING)
# The tables of the page, by the name in their marks.
TABLES = {
    "suite": fields.suite(NAMES),
    "models": fields.MODEL,
    "inputs": fields.INPUT,
    "limits": fields.LIMIT,
    "matrix": (*AXES, matrix.SYMBOL_AXIS, *ENTRIES),
    "dynamic": fields.DYNAMIC,
    "measure": fields.MEASURE,
    "accuracy": fields.QUANTIZED_LIMITS,
    "toolchains": fields.TOOLCHAIN,
}


def read(kind: Kind, value: Any) -> Any:
    return kind.read(Node(value, "key", Document("x.yaml", {})))


def default_of(field: Field) -> str:
    if field.required and field.default is msgspec.UNSET:
        return "required"
    value = ("off", "on")[field.default] if isinstance(field.default, bool) else field.default
    return "; ".join(str(part) for part in (value, field.otherwise) if part is not msgspec.UNSET and part != "")


def row(field: Field) -> str:
    name = field.name if " " in field.name else f"`{field.name}`"
    return f"| {name} | {field.description} | {default_of(field)} |"


@pytest.mark.parametrize("name", TABLES)
def test_the_page_on_suites_has_the_table(name: str) -> None:
    begin, end = f"<!-- {name}: begin -->\n", f"<!-- {name}: end -->\n"
    table = "\n".join(["| key | meaning | default |", "|---|---|---|", *map(row, TABLES[name]), ""])
    assert PAGE.read_text().partition(begin)[2].partition(end)[0] == table, f"put this between the marks:\n{table}"


def test_every_table_of_the_format_is_on_the_page() -> None:
    def tables(schema: Any) -> list[set[str]]:
        parts = schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ()
        own = [set(schema["properties"])] if isinstance(schema, dict) and "properties" in schema else []
        return own + [table for part in parts for table in tables(part)]

    shown = [{field.name for field in table} for table in TABLES.values()]
    axes = {axis.name for axis in AXES}
    # Backends have tables of their own, an entry has the axes, and accuracy has a key for each precision.
    limits = {field.name for field in fields.LIMITS}  # of precisions but int8
    known = [*shown, axes, axes | {"include", "exclude"}, set(fields.PRECISIONS), limits]
    whole = kinds.record(fields.suite(matrix.Names(registry={}))).schema
    assert [table for table in tables(whole) if table not in known] == []


@pytest.mark.parametrize(
    ("table", "owner"),
    [(fields.INPUT, Input), (matrix.axes_of(NAMES), Case), (fields.suite(NAMES), Suite)],
    ids=["input", "axes", "suite"],
)
def test_a_default_of_the_table_is_that_of_the_program(table: tuple[Field, ...], owner: type[msgspec.Struct]) -> None:
    _compare_defaults(table, {field.name: field.default for field in msgspec.structs.fields(owner)})


def test_a_default_of_measure_is_that_of_a_suite_without_it() -> None:
    _compare_defaults(fields.MEASURE, msgspec.structs.asdict(DEFAULT_POLICY))
    assert Suite(schema=1, name="s", path="", models={}, matrix={}).measure == DEFAULT_POLICY


def _compare_defaults(table: tuple[Field, ...], own: dict[str, Any]) -> None:
    stated = [field for field in table if field.default is not msgspec.UNSET and field.name != "dynamic"]
    assert stated
    for field in stated:
        value = read(field.kind, field.default)
        found = value[0] if isinstance(value, tuple) else value
        assert found == own[field.attribute or field.name], field.name


def test_measure_has_a_key_for_each_part_of_the_policy() -> None:
    settable = set(Policy.__struct_fields__) - {"quick"}  # which the command line sets
    assert {field.attribute or field.name for field in fields.MEASURE} == settable


# Kinds that a schema can say whole: what the reader refuses it refuses, and the other way round.
EXACT = {
    "whole": kinds.whole(),
    "whole from 0": kinds.whole(0),
    "any whole": kinds.whole(None),
    "number": kinds.number(-1, 1),
    "number without an end": kinds.number(0),
    "switch": kinds.SWITCH,
    "fraction": kinds.optional(kinds.number(0, 1)),
    "word": kinds.text(kinds.WORD, "x"),
    "text": kinds.text(),
    "choice": kinds.one_of(("fp32", "fp16"), "precision"),
    "several": kinds.several(kinds.one_of(("a", "b"), "letter")),
    "list": kinds.listing(kinds.whole()),
    "names": kinds.named(kinds.whole(), pattern=kinds.IDENTIFIER, example="a: 1"),
    "record": kinds.record(
        [
            Field(name="a", kind=kinds.whole(), description="", required="a: 1"),
            Field(name="b", kind=kinds.SWITCH, description=""),
        ],
    ),
}
# Those that refuse more than a schema can say.
WIDER = {
    "time": kinds.duration(),
    "fraction": kinds.FRACTION,
    "factory": fields.MODEL[0].kind,
    **{f"{name} {field.name}": field.kind for name, table in TABLES.items() for field in table},
}
VALIDATORS = {id(kind): jsonschema.Draft202012Validator(kind.schema) for kind in (*EXACT.values(), *WIDER.values())}
PIECES = st.none() | st.booleans() | st.integers(-2, 3) | st.floats(-2, 2) | st.sampled_from(
    ["a", "b", "on", "off", "fp32", "eager", "1", "5s", "0.5%", "", "a b", "é", "zoo.py:f", "timm:x", "batch"]
)  # fmt: skip
VALUES = st.recursive(
    PIECES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["a", "b", "c d", "", "min"]), inner),
    max_leaves=4,
)


def takes(kind: Kind, value: Any) -> bool:
    try:
        read(kind, value)
    except SuiteError:
        return False
    return True


def allows(kind: Kind, value: Any) -> bool:
    return bool(VALIDATORS[id(kind)].is_valid(value))


def has_whole_float(value: Any) -> bool:
    """Whether a number such as 1.0 is in it, which is an integer for JSON Schema and none for the reader."""
    if isinstance(value, list | dict):
        return any(map(has_whole_float, value.values() if isinstance(value, dict) else value))
    return isinstance(value, float) and value.is_integer()


# One value is held against all kinds: to think of it takes longer than to check it.
@given(VALUES)
@example({"a": 1})
@example({"a": 1, "b": True, "c": 2})
@example(["a", "b"])
@example([])
def test_a_schema_and_its_reader_take_and_refuse_the_same(value: Any) -> None:
    for name, kind in EXACT.items():
        allowed = allows(kind, value)
        assert allowed == takes(kind, value) or (allowed and has_whole_float(value)), name


@given(VALUES)
def test_what_a_schema_refuses_its_reader_refuses(value: Any) -> None:
    for name, kind in WIDER.items():
        assert allows(kind, value) or not takes(kind, value), name


@pytest.mark.parametrize(
    ("kind", "good", "bad"),
    [
        (kinds.duration(), ["15s", " 1.5 ms ", "2min", "1e3us"], ["15", "s", "1 day", 15, None]),
        (kinds.FRACTION, ["0.5%", "0.005", 0.005, "50 %"], ["x", "0.5s", 0, 1, None]),
        (
            fields.MODEL[0].kind,
            ["timm:dla34", "../zoo.py:f", "mypkg.models:Net.small", "mypkg:net", "nets/a.pt2", "a.onnx"],
            ["timm", "zoo.py:f g", "tim dla34", "net.pth", 3],
        ),
    ],
    ids=["time", "fraction", "factory"],
)
def test_a_pattern_of_the_schema_underlines_a_slip(kind: Kind, good: list[Any], bad: list[Any]) -> None:
    validator = jsonschema.Draft202012Validator(kind.schema)
    assert all(validator.is_valid(value) and takes(kind, value) for value in good)
    assert not any(validator.is_valid(value) or takes(kind, value) for value in bad)


def test_a_description_fits_a_cell_of_a_table() -> None:
    for table in TABLES.values():
        for field in table:
            assert field.description
            assert not re.search(r"[|\n]", field.description)
