"""A suite file read and checked: YAML in, model.Suite out, every error with its line and a suggestion."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, cast

import msgspec
import numpy as np

from bench.errors import UPGRADE, did_you_mean
from bench.model.seam import Runtime
from bench.model.suite import (
    ASKABLE,
    DEFAULT_THRESHOLDS,
    PRECISIONS,
    Boundary,
    Input,
    Model,
    Policy,
    Range,
    Suite,
    Threshold,
    Toolchain,
)
from bench.suite import yaml_marks
from bench.suite.matrix import RESERVED, Names, backing, read_matrix, symbols_of
from bench.suite.schema import DTYPES, LIBRARIES, SYMBOL, VARIABLE, VERSION, WORD, json_schema, toolchains_schema
from bench.suite.yaml_marks import (
    Node,
    choice,
    duration,
    expected,
    fail,
    integer,
    mapping,
    required,
    sequence,
    several,
    text,
)
from bench.units import NS_PER_S

__all__ = ["json_schema", "load", "locate", "toolchains_schema"]

# Beside a suite: toolchains that all suites of the folder may name.
TOOLCHAINS = "toolchains.yaml"
LEAST_ENERGY_NS = 5 * NS_PER_S
_KEYS = ("schema", "name", "device", "baseline", "models", "matrix", "dynamic", "measure", "accuracy", "toolchains")


def load(path: Path, registry: Mapping[str, Runtime]) -> Suite:
    """The suite in ``path``, checked against the backends in ``registry``.

    Axes of ``Suite.matrix`` and of include and exclude entries are tuples; a backend entry is always a mapping
    with ``name``; toolchains are as written, with those of a ``toolchains.yaml`` beside the suite. SuiteError, with
    file and line, for whatever is wrong; nothing is imported and nothing is run.
    """
    root = yaml_marks.read(path)
    entries = mapping(root, _KEYS)
    _check_version(required(entries, "schema", root, f"schema: {VERSION}"))
    models = _models(required(entries, "models", root, "models: {NAME: {factory: ..., inputs: ...}}"))
    dynamic = _each(entries, "dynamic", lambda node: _range(node))
    used = {symbol for model in models.values() for symbol in symbols_of(model)}
    for symbol in dynamic:
        if symbol not in used:
            node = mapping(entries["dynamic"])[symbol]
            raise fail(node, f"no input has the symbol {symbol!r}.{did_you_mean(symbol, used)}")
    toolchains = (_toolchains(entries["toolchains"]) if "toolchains" in entries else {}) | _toolchains_beside(path)
    names = Names(models, registry, tuple(toolchains), dynamic)
    axes, include, exclude = read_matrix(required(entries, "matrix", root, "matrix: {backend: [eager]}"), names)
    labels = _labels([axes, *include], registry)
    return Suite(
        schema=VERSION,
        name=text(entries["name"], WORD, "resnet-18") if "name" in entries else re.sub(r"[^\w.+-]", "-", path.stem),
        path=str(path),
        models=models,
        matrix=axes,
        include=cast(tuple[dict[str, Any], ...], include),
        exclude=cast(tuple[dict[str, Any], ...], exclude),
        dynamic=dynamic,
        measure=_policy(entries["measure"]) if "measure" in entries else Policy(),
        accuracy=_accuracy(entries["accuracy"]) if "accuracy" in entries else {},
        toolchains=toolchains,
        device=cast(Any, choice(entries["device"], ("auto", "cpu", "cuda"), "device"))
        if "device" in entries
        else "auto",
        baseline=_baseline(entries.get("baseline"), labels, toolchains),
        lines=_lines(root),
    )


def locate(suite: Suite, key: str) -> str:
    """``suites/x.yaml:14``: the line of a dotted key such as ``matrix.backend.2``, or of its nearest known parent."""
    return yaml_marks.locate(suite.path, suite.lines, key)


def toolchains_of(path: Path, registry: Mapping[str, Runtime]) -> dict[str, Toolchain]:
    """The toolchains that a suite may name, or those of a ``toolchains.yaml``: the same mapping as a file."""
    return _toolchains(yaml_marks.read(path)) if path.name == TOOLCHAINS else load(path, registry).toolchains


def place_of_toolchain(suite: Suite, name: str) -> str:
    """Where a toolchain is defined: the line of the file beside the suite, which counts, or the suite's own."""
    beside = Path(suite.path).with_name(TOOLCHAINS)
    lines = yaml_marks.read(beside).document.lines if beside.is_file() else {}
    return yaml_marks.locate(str(beside), lines, name) if name in lines else locate(suite, f"toolchains.{name}")


def _lines(root: Node) -> dict[str, int]:
    """The lines by dotted key; include and exclude entries also without ``matrix.``."""
    lines = {key: line for key, line in root.document.lines.items() if key}
    short = {key.removeprefix("matrix."): line for key, line in lines.items() if re.match(r"matrix\.(in|ex)clude", key)}
    return lines | short


def _check_version(node: Node) -> None:
    version = integer(node)
    if version > VERSION:
        what = f"the suite is written in schema {version}; this trtbench reads up to schema {VERSION}"
        raise fail(node, what, UPGRADE)


def _each(entries: Mapping[str, Node], section: str, make: Callable[[Node], Any]) -> dict[str, Any]:
    """A section that maps names to values; empty if the suite does not have it."""
    if section not in entries:
        return {}
    found = {}
    for name, node in mapping(entries[section]).items():
        _check_name(node, name, WORD)
        found[name] = make(node)
    return found


def _check_name(node: Node, name: str, pattern: str) -> None:
    if not re.fullmatch(pattern, name):
        raise fail(node, f"{name!r} cannot be a name", "use letters, digits and _")


# ------------------------------------------------------------------------------------------------------------ models


def _models(node: Node) -> dict[str, Model]:
    entries = mapping(node)
    if not entries:
        raise fail(node, "the suite has no models", "models: {NAME: {factory: ..., inputs: ...}}")
    for name, entry in entries.items():
        _check_name(entry, name, WORD)
    return {name: _model(entry) for name, entry in entries.items()}


def _model(node: Node) -> Model:
    entries = mapping(node, ("factory", "inputs", "args", "config", "symbols", "metric"))
    inputs_node = required(entries, "inputs", node, "inputs: {x: {shape: [batch, 3, 224, 224]}}")
    inputs = {name: _input(entry) for name, entry in mapping(inputs_node).items()}
    if not inputs:
        raise fail(inputs_node, f"{inputs_node.key} is empty", "inputs: {x: {shape: [batch, 3, 224, 224]}}")
    model = Model(
        factory=_factory(required(entries, "factory", node, "factory: torchvision:resnet50")),
        inputs=inputs,
        args={name: entry.value for name, entry in mapping(entries["args"]).items()} if "args" in entries else {},
        config={name: entry.value for name, entry in mapping(entries["config"]).items()} if "config" in entries else {},
        metric=_file_function(entries["metric"]) if "metric" in entries else "",
    )
    if "config" in entries and not model.factory.startswith("transformers:"):
        what = f"{entries['config'].key} is for transformers models; {model.factory} would not see it"
        raise fail(entries["config"], what, "what the factory takes stands under `args`")
    if "symbols" not in entries:
        return model
    known = symbols_of(model)
    symbols = {name: integer(entry) for name, entry in mapping(entries["symbols"], known, "symbol").items()}
    return msgspec.structs.replace(model, symbols=symbols)


def _factory(node: Node) -> str:
    value = text(node)
    source, _, name = value.partition(":")
    if source.endswith(".py"):
        return _file_function(node)
    if source not in LIBRARIES:
        known = f"{', '.join(LIBRARIES)}, or a Python file beside the suite"
        what = f"unknown factory {value!r}.{did_you_mean(source, LIBRARIES)}"
        raise fail(node, what, f"write LIBRARY:NAME with one of {known}, e.g. torchvision:resnet50 or zoo.py:centernet")
    if not re.fullmatch(WORD, name):
        raise expected(node, f"{source}:NAME", "e.g. torchvision:resnet50")
    return value


def _file_function(node: Node) -> str:
    # Whether the file and the function are there is found out where they are imported: in the worker.
    return text(node, r"[^:\0]+\.py:[A-Za-z_]\w*", "zoo.py:centernet")


def _input(node: Node) -> Input:
    entries = mapping(node, ("shape", "dtype", "range"))
    shape = tuple(_size(item) for item in sequence(required(entries, "shape", node, "shape: [batch, 3, 224, 224]")))
    dtype = choice(entries["dtype"], DTYPES, "dtype") if "dtype" in entries else "float32"
    span = _span(entries["range"], dtype) if "range" in entries else None
    # Spelled out or not, the default is one value: msgspec omits it only if it is the same object, see Case.id.
    return Input(shape=shape, range=span) if dtype == "float32" else Input(shape=shape, dtype=dtype, range=span)


def _size(node: Node) -> int | str:
    if not isinstance(node.value, str):
        return integer(node)
    symbol = text(node, SYMBOL, "batch (a symbol is one word)")
    if symbol in RESERVED:
        raise fail(node, f"{symbol!r} cannot be a symbol: the word is taken", f"reserved: {', '.join(RESERVED)}")
    return symbol


def _span(node: Node, dtype: str) -> tuple[int, int]:
    if not dtype.startswith(("int", "uint")):
        raise fail(node, f"{node.key}: a range is for integers, and the dtype is {dtype}", "remove it")
    items = [integer(item, None) for item in sequence(node)]
    limits = np.iinfo(dtype)
    if len(items) != 2 or not limits.min <= items[0] < items[1] <= int(limits.max) + 1:
        what = f"{node.key}: a range is [low, high) with low < high, within {dtype}"
        raise fail(node, what, "e.g. [0, 100] for the integers 0 to 99")
    return items[0], items[1]


def _range(node: Node) -> Range:
    entries = mapping(node, ("min", "opt", "max", "at"))
    example = {"min": "min: 1", "opt": "opt: 8", "max": "max: 32"}
    low, opt, high = (integer(required(entries, key, node, example[key])) for key in example)
    if not low <= opt <= high:
        raise fail(node, f"{node.key}: min <= opt <= max does not hold: {low}, {opt}, {high}")
    if "at" not in entries:
        return Range(min=low, opt=opt, max=high, at=tuple(sorted({low, opt, high})))
    points = several(entries["at"])
    for point in points:
        if not low <= integer(point) <= high:
            raise expected(point, f"a point within {low} to {high}")
    return Range(min=low, opt=opt, max=high, at=tuple(dict.fromkeys(point.value for point in points)))


# --------------------------------------------------------------------------------------------------- other sections


def _boundaries(node: Node) -> tuple[Boundary, ...]:
    return tuple(dict.fromkeys(cast(Boundary, choice(item, ASKABLE, "boundary")) for item in several(node)))


_MEASURE: dict[str, tuple[str, Callable[[Node], Any]]] = {
    "boundaries": ("boundaries", _boundaries),
    "target_ci": ("target_ci", yaml_marks.fraction),
    "min_samples": ("min_samples", integer),
    "max_samples": ("max_samples", integer),
    "max_time": ("max_time_ns", duration),
    "warmup": ("warmup_ns", lambda node: duration(node, least=0)),
    "warmup_calls": ("warmup_calls", lambda node: integer(node, least=0)),
    "warmup_limit": ("warmup_limit_ns", duration),
    "throughput_time": ("throughput_ns", duration),
    "replicates": ("replicates", integer),
    "builds": ("builds", integer),
    "energy": ("energy_ns", lambda node: _energy(node)),
    "timeout": ("timeout_ns", duration),
}


def _energy(node: Node) -> int:
    value = duration(node, least=0)
    if 0 < value < LEAST_ENERGY_NS:  # the card's counter moves in steps of up to 0.1 s
        raise expected(node, "0s, or 5s or more", "energy: 5s")
    return value


def _policy(node: Node) -> Policy:
    entries = mapping(node, _MEASURE)
    policy = Policy(**{_MEASURE[key][0]: _MEASURE[key][1](entry) for key, entry in entries.items()})
    if policy.min_samples > policy.max_samples:
        what = f"measure: min_samples {policy.min_samples} is more than max_samples {policy.max_samples}"
        raise fail(entries.get("min_samples", node), what)
    return policy


def _accuracy(node: Node) -> dict[str, Threshold]:
    """Thresholds by precision: a limit that is not named keeps its default, ``null`` switches it off."""
    lows = {"cosine": -1.0, "sqnr": -1e9, "max_abs": 0.0, "rel_l2": 0.0}
    found = {}
    for precision, entry in mapping(node, PRECISIONS, "precision").items():
        limits = {}
        for name, limit in mapping(entry, lows, "limit").items():
            high = 1.0 if name == "cosine" else float("inf")
            limits[name] = None if limit.value is None else yaml_marks.number(limit, lows[name], high)
        found[precision] = msgspec.structs.replace(DEFAULT_THRESHOLDS[precision], **limits)
    return found


def _toolchains_beside(path: Path) -> dict[str, Toolchain]:
    beside = path.with_name(TOOLCHAINS)
    return _toolchains(yaml_marks.read(beside)) if beside.is_file() else {}


def _toolchains(node: Node) -> dict[str, Toolchain]:
    found = {}
    for name, entry in mapping(node).items():
        _check_name(entry, name, WORD)
        if name == "default":
            raise fail(entry, "'default' is the running interpreter", "give the toolchain another name")
        found[name] = _toolchain(entry)
    return found


def _toolchain(node: Node) -> Toolchain:
    entries = mapping(node, ("python", "env"))
    variables = mapping(entries["env"]) if "env" in entries else {}
    python = text(entries["python"], r"[^\0]+", "~/venvs/old/bin/python") if "python" in entries else ""
    return Toolchain(python=python, env={name: _variable(entry, name) for name, entry in variables.items()})


def _variable(node: Node, name: str) -> str:
    if not re.fullmatch(VARIABLE, name):
        raise fail(node, f"{name!r} cannot be the name of a variable", "use letters, digits and _")
    if name == "CUDA_VISIBLE_DEVICES":
        what = "a run has one device, so a toolchain cannot choose another"
        raise fail(node, what, f"set it for the whole run: {name}={node.value} trtbench run ...")
    if type(node.value) not in (str, int, float) or "\0" in str(node.value):
        raise expected(node, "text", "put it in quotes")
    return str(node.value)


def _labels(entries: list[dict[str, tuple[Any, ...]]], registry: Mapping[str, Runtime]) -> tuple[str, ...]:
    """The labels of all backends of the suite, such as ``inductor[mode=max-autotune]``."""
    found = (backing(value, registry).label for entry in entries for value in entry.get("backend", ()))
    return tuple(dict.fromkeys(found))


def _baseline(node: Node | None, labels: tuple[str, ...], toolchains: Mapping[str, Toolchain]) -> str:
    """A backend by its plain name or its label, where wanted with its toolchain: ``eager@default``."""
    known = tuple(dict.fromkeys((*labels, *(label.partition("[")[0] for label in labels))))
    if node is None:
        return "eager" if "eager" in known else ""
    name, _, place = str(node.value).rpartition("@")
    if name in known and place in ("default", *toolchains):
        return str(node.value)
    return choice(node, known, "baseline")
