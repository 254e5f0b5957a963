"""Reads and checks suite files: YAML to ``model.Suite``, every error with its line and a suggestion."""

from __future__ import annotations

import itertools
import re
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.errors import did_you_mean
from bench.model.seam import Runtime
from bench.model.suite import DEFAULT_POLICY, Suite, Toolchain
from bench.suite import fields, yaml_marks
from bench.suite.kinds import entries as entries_of
from bench.suite.matrix import DEFAULTS, Names, matrix, read_backend, symbols_of
from bench.suite.schema import json_schema, toolchains_schema
from bench.suite.yaml_marks import Node, fail, mapping

__all__ = ["json_schema", "load", "locate", "toolchains_schema"]

# Beside a suite: toolchains that all suites of the folder may name.
TOOLCHAINS = "toolchains.yaml"


def load(path: Path, registry: Mapping[str, Runtime]) -> Suite:
    """The suite in ``path``, checked against the backends in ``registry``.

    Axes of ``Suite.matrix`` and of include and exclude entries are tuples; a backend entry is always a mapping
    with ``name``; toolchains are as written, with those of a ``toolchains.yaml`` beside the suite. SuiteError, with
    file and line, for whatever is wrong; nothing is imported and nothing is run.
    """
    root = yaml_marks.read(path)
    table = fields.suite(Names(registry=registry))
    if "schema" in mapping(root):  # of a newer one other keys may be missing, or have another meaning
        next(field for field in table if field.name == "schema").kind.read(mapping(root)["schema"])
    entries = entries_of(root, table)
    # The matrix refers to the rest, so its values come last.
    values = {
        field.name: field.kind.read(entries[field.name])
        for field in table
        if field.name in entries and field.name != "matrix"
    }
    models, dynamic = values["models"], values.get("dynamic", {})
    symbols = {symbol for model in models.values() for symbol in symbols_of(model)}
    for symbol in dynamic:
        if symbol not in symbols:
            node = mapping(entries["dynamic"])[symbol]
            raise fail(node, f"no input has the symbol {symbol!r}.{did_you_mean(symbol, symbols)}")
    toolchains = values.get("toolchains", {}) | _toolchains_beside(path)
    names = Names(models=models, registry=registry, toolchains=tuple(toolchains), dynamic=dynamic)
    axes, include, exclude = matrix(names).read(entries["matrix"])
    labels = _labels([axes, *include], registry)
    return Suite(
        schema=fields.VERSION,
        name=values.get("name") or re.sub(r"[^\w.+-]", "-", path.stem),
        path=str(path),
        models=models,
        matrix=axes,
        include=include,
        exclude=exclude,
        dynamic=dynamic,
        measure=values.get("measure", DEFAULT_POLICY),
        accuracy=values.get("accuracy", {}),
        toolchains=toolchains,
        device=values.get("device", "auto"),
        baseline=_baseline(entries.get("baseline"), labels, toolchains, _precisions(axes, include)),
        lines=_lines(root),
        text=root.document.text,
    )


def locate(suite: Suite, key: str) -> str:
    """``suites/x.yaml:14``: the line of a dotted key such as ``matrix.backend.2``, or of its nearest known parent."""
    return yaml_marks.locate(suite.path, suite.lines, key)


def toolchains_of(path: Path, registry: Mapping[str, Runtime]) -> dict[str, Toolchain]:
    """The toolchains that a suite may name, or those of a ``toolchains.yaml``: the same mapping as a file."""
    return _toolchains(path) if path.name == TOOLCHAINS else load(path, registry).toolchains


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


def _toolchains_beside(path: Path) -> dict[str, Toolchain]:
    beside = path.with_name(TOOLCHAINS)
    return _toolchains(beside) if beside.is_file() else {}


def _toolchains(path: Path) -> dict[str, Toolchain]:
    toolchains: dict[str, Toolchain] = fields.TOOLCHAINS.read(yaml_marks.read(path))
    return toolchains


def _labels(entries: list[dict[str, tuple[Any, ...]]], registry: Mapping[str, Runtime]) -> tuple[str, ...]:
    """The labels of all backends of the suite, such as ``inductor[mode=max-autotune]``."""
    labels = (read_backend(value, registry).label for entry in entries for value in entry.get("backend", ()))
    return tuple(dict.fromkeys(labels))


def _precisions(axes: Mapping[str, tuple[Any, ...]], include: Sequence[Mapping[str, tuple[Any, ...]]]) -> list[str]:
    """The precisions that cases of the suite have."""
    of_matrix = axes.get("precision", (DEFAULTS["precision"],))
    of_include = (value for entry in include for value in entry.get("precision", ()))
    return list(dict.fromkeys(map(str, (*of_matrix, *of_include))))


def _baseline(
    node: Node | None, labels: tuple[str, ...], toolchains: Mapping[str, Toolchain], precisions: Collection[str]
) -> str:
    """A backend by its plain name or its label, optionally with its precision, toolchain or both in either order:
    ``eager/fp32``, ``eager@default``, ``eager/fp32@default``.
    """
    names = tuple(dict.fromkeys((*labels, *(label.partition("[")[0] for label in labels))))
    if node is None:
        return "eager" if "eager" in names else ""
    of_toolchain = [f"@{place}" for place in ("default", *toolchains)]
    of_precision = [f"/{each}" for each in precisions]
    pairs = list(itertools.product(of_precision, of_toolchain))
    endings = ("", *of_precision, *of_toolchain, *(a + b for a, b in pairs), *(b + a for a, b in pairs))
    near = [name for name in names if str(node.value).startswith(name)]
    known = [name + ending for name in near for ending in endings]
    if node.value in known:
        return str(node.value)
    what = f"unknown baseline {node.value!r}.{did_you_mean(str(node.value), known or names)}"
    places = f", and with @TOOLCHAIN: {', '.join(('default', *toolchains))}" if toolchains else ""
    raise fail(node, what, f"known: {', '.join(names)}; each also with /PRECISION: {', '.join(precisions)}{places}")
