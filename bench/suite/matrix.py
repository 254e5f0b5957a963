"""The matrix of a suite: the table of its axes, its include and exclude entries, and checks of its references."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import msgspec

from bench.errors import did_you_mean
from bench.model.factory import program_of
from bench.model.seam import Options, Runtime
from bench.model.suite import LANES, PRECISIONS, Case, Model, Range, named
from bench.suite.kinds import SWITCH, Field, Kind, Schema, listing, one_of, record, reference, several, whole
from bench.suite.option_errors import bad_option
from bench.suite.yaml_marks import Node, fail, mapping, sequence

Entry = dict[str, tuple[Any, ...]]


class BackendEntry(msgspec.Struct, frozen=True):
    """A backend entry as a case holds it: ``options`` without defaults, ``every`` option with its value."""

    name: str
    options: dict[str, Any]
    every: dict[str, Any]
    struct: msgspec.Struct

    def in_force(self, case: Case) -> dict[str, Any]:
        """``every`` option with the value that ``case`` has: its own where the model is a file with a program."""
        if not isinstance(self.struct, Options) or program_of(case.factory):
            return self.every
        return self.struct.in_force(case.precision)

    @property
    def label(self) -> str:
        """``inductor[mode=max-autotune]``."""
        return named(self.name, self.options)


class Names(msgspec.Struct, frozen=True, kw_only=True):
    """What the values of a matrix are checked against; without a registry any backend passes the schema."""

    registry: Mapping[str, Runtime]
    models: dict[str, Model] = {}
    toolchains: tuple[str, ...] = ()
    dynamic: dict[str, Range] = {}

    @property
    def symbols(self) -> tuple[str, ...]:
        """Every symbol of every input shape."""
        return tuple(dict.fromkeys(symbol for model in self.models.values() for symbol in symbols_of(model)))


def symbols_of(model: Model) -> tuple[str, ...]:
    """The symbols of the model's input shapes in the order of their appearance."""
    return tuple(dict.fromkeys(size for spec in model.inputs.values() for size in spec.shape if isinstance(size, str)))


def read_backend(entry: Mapping[str, Any], registry: Mapping[str, Runtime]) -> BackendEntry:
    """A backend entry with its options read. msgspec.ValidationError if they do not fit."""
    name = entry["name"]
    struct = msgspec.convert({key: value for key, value in entry.items() if key != "name"}, registry[name].options)
    every = msgspec.structs.asdict(struct)
    # By value: msgspec omits a default only if it is the very same object.
    defaults = _defaults(type(struct))
    options = {key: value for key, value in msgspec.to_builtins(struct).items() if every[key] != defaults[key]}
    return BackendEntry(name, options, every, struct)


@functools.cache
def _defaults(options: type[msgspec.Struct]) -> dict[str, Any]:
    """The defaults of a backend's options; msgspec reads their annotations anew each time."""
    return {field.name: field.default for field in msgspec.structs.fields(options)}


# ---------------------------------------------------------------------------------------------------- references


def _check_matrix(
    names: Names, values: dict[str, Any], node: Node
) -> tuple[Entry, tuple[Entry, ...], tuple[Entry, ...]]:
    entries = mapping(node)
    include: tuple[Entry, ...] = values.pop("include", ())
    exclude: tuple[Entry, ...] = values.pop("exclude", ())
    axes: Entry = {"model": tuple(names.models)} | values
    if names.dynamic:
        axes.setdefault("dynamic", (True,))
    for axis in entries:
        _check_dynamic(entries[axis], axis, names)
    for model in axes["model"]:
        _check_symbols(node, model, {*axes, *names.dynamic}, names)
    nodes = sequence(entries["include"]) if include else []
    for entry, combination in zip(nodes, include, strict=True):
        for axis, value in mapping(entry).items():
            _check_dynamic(value, axis, names)
        for model in combination.get("model", axes["model"][:1]):
            _check_symbols(entry, model, {*axes, *combination, *names.dynamic}, names)
    return axes, include, exclude


def _check_dynamic(node: Node, axis: str, names: Names) -> None:
    if axis in names.dynamic:
        what = f"{axis!r} is in `dynamic`, which says at which points it is measured"
        raise fail(node, what, f"remove it here, or list the points in `dynamic: {{{axis}: {{at: [...]}}}}`")
    if axis == "dynamic" and not names.dynamic:
        raise fail(node, "the axis `dynamic` needs a section `dynamic`", "dynamic: {batch: {min: 1, opt: 8, max: 32}}")


def _check_symbols(place: Node, model: str, available: set[str], names: Names) -> None:
    for name, spec in names.models[model].inputs.items():
        for index, size in enumerate(spec.shape):
            if isinstance(size, str) and size not in available and size not in names.models[model].symbols:
                key = f"models.{model}.inputs.{name}.shape.{index}"
                what = f"the symbol {size!r} in the shape of {model}'s input {name!r} has no value"
                did = did_you_mean(size, available | set(names.models[model].symbols))
                fix = f"add `{size}: [1]` to the matrix, or `symbols: {{{size}: 1}}` to the model"
                raise fail(Node(size, key, place.document), f"{what}.{did}" if did else what, fix)


# --------------------------------------------------------------------------------------- toolchains and backends


def _toolchain(definitions: tuple[str, ...], node: Node) -> str:
    names = ("default", *definitions)
    if isinstance(node.value, str) and node.value not in names:
        what = f"unknown toolchain {node.value!r}.{did_you_mean(node.value, names)}"
        fix = "define it under `toolchains`, or in a toolchains.yaml beside the suite"
        raise fail(node, what, f"known: {', '.join(names)}; {fix}")
    return str(reference(names, "toolchain").read(node))


def _backend(registry: Mapping[str, Runtime], node: Node) -> dict[str, Any]:
    """``eager`` or ``{name: inductor, mode: max-autotune}``, always returned in the second form."""
    backends = reference(tuple(registry), "backend")
    if not isinstance(node.value, dict):
        return {"name": _usable(node, backends.read(node), registry)}
    entries = mapping(node)
    if "name" not in entries:
        raise fail(node, f"{node.key} has no `name`", "add `name: eager`")
    name = _usable(entries["name"], backends.read(entries["name"]), registry)
    fields = {field.encode_name: field.type for field in msgspec.structs.fields(registry[name].options)}
    for key, entry in entries.items():
        if key != "name" and key not in fields:
            what = f"unknown option {key!r} of {name}.{did_you_mean(key, fields)}"
            raise fail(entry, what, f"known: {', '.join(fields)}" if fields else f"{name} has no options")
    try:
        read_backend(node.value, registry)
    except msgspec.ValidationError as error:
        raise bad_option(node, name, fields, error) from error
    return dict(node.value)


def _usable(node: Node, name: str, registry: Mapping[str, Runtime]) -> str:
    """The name; SuiteError if an installed package has a backend of it that cannot be loaded."""
    problem = getattr(registry[name], "problem", "")
    if problem:
        raise fail(node, problem, getattr(registry[name], "fix", ""))
    return name


def _backend_schema(registry: Mapping[str, Runtime]) -> Schema:
    """A name, or a mapping with ``name`` and that backend's options."""
    if not registry:
        return {"type": ["string", "object"]}
    forms: list[Schema] = [{"enum": list(registry)}]
    for name, runtime in registry.items():
        options, _ = options_schema(name, runtime)
        forms.append(
            {
                "type": "object",
                "properties": {"name": {"const": name}} | options["properties"],
                "required": ["name", *options.get("required", [])],
                "additionalProperties": False,
            }
        )
    return {"anyOf": forms}


def options_schema(name: str, runtime: Runtime) -> tuple[Schema, Schema]:
    """The schema of a backend's options, and the definitions that it refers to by ``#/$defs/NAME.TYPE``."""
    template = f"#/$defs/{name}.{{name}}"
    _, parts = msgspec.json.schema_components((runtime.options,), ref_template=template)
    options = parts.pop(runtime.options.__name__)
    return options, {f"{name}.{part}": schema for part, schema in parts.items()}


# ------------------------------------------------------------------------------------------------ the table of axes


def axes_of(names: Names) -> tuple[Field, ...]:
    """The axes, in the order in which a suite may name them; each has a value or a list of them."""
    symbols = (msgspec.structs.replace(SYMBOL_AXIS, name=symbol) for symbol in names.symbols)
    return (
        Field(
            name="model",
            kind=several(reference(tuple(names.models), "model")),
            description="names from `models`",
            otherwise="all",
        ),
        *_FIXED,
        Field(
            name="toolchain",
            kind=several(Kind(functools.partial(_toolchain, names.toolchains), {"type": "string"})),
            description="`default`, or names from `toolchains`",
            default="default",
        ),
        Field(
            name="dynamic",
            kind=several(SWITCH),
            description="on, off; only with a section `dynamic`",
            default=False,
            otherwise="on with that section",
        ),
        Field(
            name="backend",
            kind=several(Kind(functools.partial(_backend, names.registry), _backend_schema(names.registry))),
            description="a name, or a mapping with `name` and that backend's options",
            required="backend: [eager, inductor]",
        ),
        *symbols,
    )


_FIXED = (
    Field(
        name="precision",
        kind=several(one_of(PRECISIONS, "precision")),
        description=", ".join(PRECISIONS),
        default="fp32",
    ),
    Field(name="cuda_graph", kind=several(SWITCH), description="on, off", default=False),
    Field(
        name="streams",
        kind=several(whole()),
        description="independent lanes in `throughput` (threads on a CPU)",
        default=1,
    ),
    Field(
        name="lanes",
        kind=several(one_of(LANES, "lanes")),
        description="threads, processes: whether one process calls all lanes, or each lane is a process that loads the "
        "model; see [deploy.md](deploy.md#lanes-in-processes)",
        default="threads",
    ),
    Field(
        name="l2",
        kind=several(one_of(("warm", "cold"), "l2")),
        description="warm, cold: whether a call may find the GPU's L2 cache as the call before it left it; "
        "see [measuring.md](measuring.md)",
        default="warm",
    ),
    Field(
        name="transfers",
        kind=several(SWITCH),
        description="on, off: whether the copies from and to the host are part of `latency` and `throughput`",
        default=True,
    ),
)
SYMBOL_AXIS = Field(name="any symbol", kind=several(whole()), description="integers", otherwise="the model's `symbols`")


def matrix(names: Names) -> Kind:
    """The matrix; its value is the axes, the include entries and the exclude entries, every value in a tuple."""
    axes = axes_of(names)
    entry = record(
        [msgspec.structs.replace(axis, required="") for axis in axes],
        noun="axis",
        others=SYMBOL_AXIS,
        example="{backend: eager, batch: 32}",
    )
    return record([*axes, *entries_of(entry)], functools.partial(_check_matrix, names), noun="axis", others=SYMBOL_AXIS)


def entries_of(entry: Kind) -> tuple[Field, Field]:
    """The lists of combinations that a matrix has beside its axes."""
    include = "combinations that are added; an axis that an entry does not name takes the first value of the matrix"
    exclude = "combinations that are taken away: those that agree with all that an entry names"
    return (
        Field(name="include", kind=listing(entry), description=include, otherwise="none"),
        Field(name="exclude", kind=listing(entry), description=exclude, otherwise="none"),
    )


# The axes besides the symbols, and the value of a case where the matrix does not name the axis.
DEFAULTS: dict[str, Any] = {
    axis.name: axis.default for axis in axes_of(Names(registry={})) if axis.default is not msgspec.UNSET
}
AXES = ("model", *DEFAULTS, "backend")
# Words that mean something else in a matrix or in a selection.
RESERVED = (*AXES, "include", "exclude", "id", "label", "option", "and", "or", "not")
