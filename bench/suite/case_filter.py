"""The cases that a ``--select`` expression matches, of a suite or of a stored run."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bench.errors import SelectionError
from bench.model.seam import Runtime
from bench.model.suite import LANES, PRECISIONS, Case, Suite
from bench.suite import selection
from bench.suite.combinations import MAX_SHOWN, Candidate, word
from bench.suite.matrix import BackendEntry, read_backend, symbols_of


def select_cases(cases: Sequence[Case], registry: Mapping[str, Runtime], select: str) -> tuple[Case, ...]:
    """The cases of a stored run that ``select`` matches, in their order. SelectionError if it is wrong or
    matches none.
    """
    entries = [read_backend({"name": case.backend, **case.options}, registry) for case in cases]
    symbols = [symbol for case in cases for symbol in case.symbols]
    mask = _match_each("the run", cases, entries, [case.model for case in cases], symbols, registry, select)
    return tuple(itertools.compress(cases, mask))


def select_candidates(
    suite: Suite, registry: Mapping[str, Runtime], candidates: list[Candidate], select: str
) -> list[Candidate]:
    """The candidates of a suite that ``select`` matches, in their order. SelectionError as of ``select_cases``."""
    cases, entries = [each.case for each in candidates], [each.entry for each in candidates]
    symbols = [symbol for model in suite.models.values() for symbol in symbols_of(model)]
    mask = _match_each("the suite", cases, entries, suite.models, symbols, registry, select)
    return list(itertools.compress(candidates, mask))


def _match_each(
    of: str,
    cases: Sequence[Case],
    entries: Sequence[BackendEntry],
    models: Iterable[str],
    symbols: Iterable[str],
    registry: Mapping[str, Runtime],
    select: str,
) -> list[bool]:
    """Of each case whether ``select`` matches it; SelectionError if it is wrong or matches none."""
    vocabulary = selection.Vocabulary(
        symbols=tuple(dict.fromkeys(symbols)),
        options=tuple(dict.fromkeys(name for each in entries for name in each.every)),
        values={
            "model": tuple(dict.fromkeys(models)),
            "backend": tuple(dict.fromkeys([*(each.label for each in entries), *registry])),
            "precision": PRECISIONS,
            "lanes": LANES,
        },
    )
    expression = selection.parse(select, vocabulary)
    known: dict[tuple[int, str, str], dict[str, Any]] = {}  # thousands of cases share few entries
    options = []
    for case, entry in zip(cases, entries, strict=True):
        at = (id(entry), case.precision, case.factory)
        if at not in known:
            known[at] = entry.in_force(case)
        options.append(known[at])
    mask = [selection.matches(expression, *pair) for pair in zip(cases, options, strict=True)]
    if any(mask):
        return mask
    lines = []
    for key in selection.keys_of(expression):
        values = [selection.values_of(key, *pair) for pair in zip(cases, options, strict=True)]
        names = list(dict.fromkeys(word(value[0]) for value in values if value))
        text = ", ".join(names[:MAX_SHOWN]) + (", ..." if len(names) > MAX_SHOWN else "")
        lines.append(f"{key}: {text or 'no case has it'}")
    raise SelectionError("no case matches", where=f"--select {select}", fix=f"{of} has " + "; ".join(lines))
