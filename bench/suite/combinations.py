"""The combinations of a suite's axes, and those of its include entries: candidates for the cases of a plan."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from bench.model.seam import Runtime
from bench.model.suite import Case, Model, Range, Suite
from bench.suite.matrix import DEFAULTS, BackendEntry, read_backend, symbols_of
from bench.suite.reader import locate

MAX_SHOWN = 20  # values of an axis or a key that an error names


class Choice(msgspec.Struct, frozen=True):
    """A backend of the matrix or of an include entry, and where it is named."""

    entry: BackendEntry
    source: str


class Candidate(msgspec.Struct, frozen=True):
    """A case before it is known whether it stays; those ``from_include`` stand above ``exclude``."""

    case: Case
    entry: BackendEntry
    from_include: bool


class Axes(msgspec.Struct, frozen=True):
    """The values of every axis for one model; ``source`` locates backends that include entries take over."""

    model: str
    symbols: dict[str, tuple[int, ...]]
    settings: dict[str, tuple[Any, ...]]
    backends: tuple[Choice, ...]
    from_include: bool = False

    @property
    def count(self) -> int:
        """How many combinations they have."""
        return math.prod(len(values) for values in (*self.symbols.values(), *self.settings.values(), self.backends))


def product_axes(suite: Suite, registry: Mapping[str, Runtime]) -> Iterator[Axes]:
    """The axes of the matrix, for each of its models."""
    backends = _choices(suite, registry, suite.matrix["backend"], "matrix.backend")
    settings = {axis: suite.matrix.get(axis, (default,)) for axis, default in DEFAULTS.items()}
    for name in suite.matrix["model"]:
        yield Axes(name, _sizes(suite, suite.models[name], {}), settings, backends)


def include_axes(suite: Suite, registry: Mapping[str, Runtime]) -> Iterator[Axes]:
    """The axes of each include entry: an axis that an entry does not name has the first value of the matrix."""
    for index, entry in enumerate(suite.include):
        key = f"include.{index}.backend"
        backends = _choices(suite, registry, entry.get("backend", suite.matrix["backend"][:1]), key)
        settings = {axis: entry.get(axis, suite.matrix.get(axis, (default,))[:1]) for axis, default in DEFAULTS.items()}
        for name in entry.get("model", suite.matrix["model"][:1]):
            sizes = _sizes(suite, suite.models[name], entry, first=True)
            yield Axes(name, sizes, settings, backends, from_include=True)


def _choices(
    suite: Suite, registry: Mapping[str, Runtime], entries: tuple[dict[str, Any], ...], key: str
) -> tuple[Choice, ...]:
    return tuple(
        Choice(read_backend(entry, registry), locate(suite, f"{key}.{index}")) for index, entry in enumerate(entries)
    )


def _sizes(suite: Suite, model: Model, entry: Mapping[str, Any], first: bool = False) -> dict[str, tuple[int, ...]]:
    """The sizes of each symbol of the model: all points of ``dynamic``; else the include entry's, the matrix', or the
    default.
    """
    sizes: dict[str, tuple[int, ...]] = {}
    for symbol in symbols_of(model):
        if symbol in suite.dynamic:
            sizes[symbol] = suite.dynamic[symbol].at
        else:
            values = suite.matrix.get(symbol) or (model.symbols.get(symbol, 0),)
            sizes[symbol] = entry.get(symbol, values[:1] if first else values)
    return sizes


def candidates(suite: Suite, axes: Axes) -> Iterator[Candidate]:
    """The candidate of each combination, those of one set of values together, in the order of the backends."""
    model = suite.models[axes.model]
    for sizes in itertools.product(*axes.symbols.values()):
        symbols = dict(zip(axes.symbols, sizes, strict=True))
        # The points are not part of what a backend must support, so one more point changes no id.
        ranges = {
            name: Range(min=span.min, opt=span.opt, max=span.max)
            for name, span in suite.dynamic.items()
            if name in symbols
        }
        for values in itertools.product(*axes.settings.values()):
            fields = dict(zip(axes.settings, values, strict=True))
            fields["dynamic"] = ranges if fields["dynamic"] else {}
            for choice in axes.backends:
                case = Case(
                    model=axes.model,
                    factory=model.factory,
                    args=model.args,
                    config=model.config,
                    metric=model.metric,
                    arguments=model.arguments,
                    inputs=model.inputs,
                    symbols=symbols,
                    backend=choice.entry.name,
                    options=choice.entry.options,
                    source=choice.source,
                    **fields,
                )
                yield Candidate(case, choice.entry, axes.from_include)


def word(value: Any) -> str:
    """A value as a suite has it: ``on`` and ``off``, else its text."""
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)
