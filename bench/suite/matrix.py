"""The matrix of a suite: its axes, the values they may have, and its include and exclude entries."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin

import msgspec

from bench.errors import did_you_mean
from bench.model.seam import Runtime
from bench.model.suite import PRECISIONS, Model, Range, named
from bench.suite.yaml_marks import Node, boolean, choice, expected, fail, integer, mapping, required, sequence, several

# The axes besides the symbols, and the value of a case where the matrix does not name the axis.
DEFAULTS: dict[str, Any] = {
    "precision": "fp32",
    "cuda_graph": False,
    "streams": 1,
    "l2": "warm",
    "transfers": True,
    "toolchain": "default",
    "dynamic": False,
}
AXES = ("model", *DEFAULTS, "backend")
# Words that mean something else in a matrix or in a selection.
RESERVED = (*AXES, "include", "exclude", "id", "label", "option", "and", "or", "not")
Entry = dict[str, tuple[Any, ...]]


class Backing(msgspec.Struct, frozen=True):
    """A backend entry as a case holds it: ``options`` without defaults, ``every`` option with its value."""

    name: str
    options: dict[str, Any]
    every: dict[str, Any]

    @property
    def label(self) -> str:
        """``inductor[mode=max-autotune]``."""
        return named(self.name, self.options)


class Names(msgspec.Struct, frozen=True):
    """What the values of a matrix are checked against."""

    models: dict[str, Model]
    registry: Mapping[str, Runtime]
    toolchains: tuple[str, ...]
    dynamic: dict[str, Range]

    @property
    def symbols(self) -> tuple[str, ...]:
        """Every symbol of every input shape."""
        return tuple(dict.fromkeys(symbol for model in self.models.values() for symbol in symbols_of(model)))


def symbols_of(model: Model) -> tuple[str, ...]:
    """The symbols of the model's input shapes in the order of their appearance."""
    return tuple(dict.fromkeys(size for spec in model.inputs.values() for size in spec.shape if isinstance(size, str)))


def backing(entry: Mapping[str, Any], registry: Mapping[str, Runtime]) -> Backing:
    """A backend entry with its options read. msgspec.ValidationError if they do not fit."""
    name = entry["name"]
    struct = msgspec.convert({key: value for key, value in entry.items() if key != "name"}, registry[name].options)
    every = msgspec.structs.asdict(struct)
    # By value: msgspec omits a default only if it is the very same object.
    defaults = {field.name: field.default for field in msgspec.structs.fields(struct)}
    asked = {key: value for key, value in msgspec.to_builtins(struct).items() if every[key] != defaults[key]}
    return Backing(name, asked, every)


def read_matrix(node: Node, names: Names) -> tuple[Entry, tuple[Entry, ...], tuple[Entry, ...]]:
    """The axes, the include entries and the exclude entries, every value in a tuple."""
    known = (*AXES, *names.symbols, "include", "exclude")
    entries = mapping(node, known, "axis")
    required(entries, "backend", node, "backend: [eager, inductor]")
    axes: Entry = {"model": tuple(names.models)}
    axes |= {axis: _values(entry, axis, names) for axis, entry in entries.items() if axis not in ("include", "exclude")}
    if names.dynamic:
        axes.setdefault("dynamic", (True,))
    for axis in entries:
        _check_dynamic(entries[axis], axis, names)
    for model in axes["model"]:
        _check_symbols(node, model, {*axes, *names.dynamic}, names)
    include = _combinations(entries.get("include"), names)
    for index, combination in enumerate(include):
        entry = sequence(entries["include"])[index]
        for axis, value in mapping(entry).items():
            _check_dynamic(value, axis, names)
        for model in combination.get("model", axes["model"][:1]):
            _check_symbols(entry, model, {*axes, *combination, *names.dynamic}, names)
    return axes, include, _combinations(entries.get("exclude"), names)


def _combinations(node: Node | None, names: Names) -> tuple[Entry, ...]:
    if node is None:
        return ()
    found = []
    for item in sequence(node):
        entries = mapping(item, (*AXES, *names.symbols), "axis")
        if not entries:
            raise fail(item, f"{item.key} is empty", "name at least one axis, e.g. {backend: eager, batch: 32}")
        found.append({axis: _values(entry, axis, names) for axis, entry in entries.items()})
    return tuple(found)


def _check_dynamic(node: Node, axis: str, names: Names) -> None:
    if axis in names.dynamic:
        what = f"{axis!r} is in `dynamic`, which says at which points it is measured"
        raise fail(node, what, f"remove it here, or list the points in `dynamic: {{{axis}: {{at: [...]}}}}`")
    if axis == "dynamic" and not names.dynamic:
        raise fail(node, "the axis `dynamic` needs a section `dynamic`", "dynamic: {batch: {min: 1, opt: 8, max: 32}}")


def _check_symbols(place: Node, model: str, given: set[str], names: Names) -> None:
    for name, spec in names.models[model].inputs.items():
        for index, size in enumerate(spec.shape):
            if isinstance(size, str) and size not in given and size not in names.models[model].symbols:
                key = f"models.{model}.inputs.{name}.shape.{index}"
                what = f"the symbol {size!r} in the shape of {model}'s input {name!r} has no value"
                did = did_you_mean(size, given | set(names.models[model].symbols))
                fix = f"add `{size}: [1]` to the matrix, or `symbols: {{{size}: 1}}` to the model"
                raise fail(Node(size, key, place.document), f"{what}.{did}" if did else what, fix)


def _values(node: Node, axis: str, names: Names) -> tuple[Any, ...]:
    values = [_value(item, axis, names) for item in several(node)]
    return tuple(value for index, value in enumerate(values) if value not in values[:index])


def _value(node: Node, axis: str, names: Names) -> Any:
    choices = {
        "model": tuple(names.models),
        "precision": PRECISIONS,
        "l2": ("warm", "cold"),
    }
    if axis == "backend":
        return _backend(node, names.registry)
    if axis in choices:
        return choice(node, choices[axis], axis)
    if axis == "toolchain":
        return _toolchain(node, names.toolchains)
    if axis in ("cuda_graph", "transfers", "dynamic"):
        return boolean(node)
    return integer(node)


def _toolchain(node: Node, named_there: tuple[str, ...]) -> str:
    known = ("default", *named_there)
    if isinstance(node.value, str) and node.value not in known:
        what = f"unknown toolchain {node.value!r}.{did_you_mean(node.value, known)}"
        fix = "define it under `toolchains`, or in a toolchains.yaml beside the suite"
        raise fail(node, what, f"known: {', '.join(known)}; {fix}")
    return choice(node, known, "toolchain")


def _backend(node: Node, registry: Mapping[str, Runtime]) -> dict[str, Any]:
    """``eager`` or ``{name: inductor, mode: max-autotune}``, always returned in the second form."""
    if not isinstance(node.value, dict):
        return {"name": choice(node, tuple(registry), "backend")}
    entries = mapping(node)
    name = choice(required(entries, "name", node, "name: eager"), tuple(registry), "backend")
    fields = {field.encode_name: field.type for field in msgspec.structs.fields(registry[name].options)}
    for key, entry in entries.items():
        if key != "name" and key not in fields:
            what = f"unknown option {key!r} of {name}.{did_you_mean(key, fields)}"
            raise fail(entry, what, f"known: {', '.join(fields)}" if fields else f"{name} has no options")
    try:
        backing(node.value, registry)
    except msgspec.ValidationError as error:
        raise _bad_option(node, name, fields, error) from error
    return dict(node.value)


def _bad_option(node: Node, name: str, fields: Mapping[str, Any], error: Exception) -> Exception:
    """``Invalid enum value 'max' - at `$.mode``` as an error at the line of ``mode``, with the nearest value."""
    message, _, path = str(error).partition(" - at `$.")
    option = (re.match(r"\w+", path) or [""])[0]
    if option not in fields:
        return fail(node, f"options of {name}: {message}")
    entry = mapping(node)[option]
    known = [value for value in get_args(fields[option]) if isinstance(value, str)]
    if get_origin(fields[option]) is not Literal or not known:
        return fail(entry, f"option {option!r} of {name}: {message}")
    if not isinstance(entry.value, str):
        return expected(entry, f"one of {', '.join(known)}", "put it in quotes")
    what = f"unknown value {entry.value!r} of the option {option!r} of {name}.{did_you_mean(entry.value, known)}"
    return fail(entry, what, f"known: {', '.join(value or repr(value) for value in known)}")
