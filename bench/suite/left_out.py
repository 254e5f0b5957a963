"""Which combinations a plan leaves out, and why: an ``exclude`` entry says so, or their backend can never run them."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from typing import Any, TypeAlias

from bench.errors import SuiteError, UsageError
from bench.model.seam import Runtime
from bench.model.suite import Case, Suite
from bench.suite.combinations import MAX_SHOWN, Candidate, word
from bench.suite.matrix import AXES, read_backend
from bench.suite.reader import locate

# Of an exclude entry the values by axis; of a backend its name and the values of the options that it names.
Exclude: TypeAlias = dict[str, Collection[Any]]


def read_exclude(entry: Mapping[str, tuple[Any, ...]], registry: Mapping[str, Runtime]) -> Exclude:
    """An exclude entry in the form in which thousands of candidates are compared with it."""
    return {
        axis: [_backend_of(value, registry) for value in values] if axis == "backend" else frozenset(values)
        for axis, values in entry.items()
    }


def _backend_of(entry: Mapping[str, Any], registry: Mapping[str, Runtime]) -> tuple[str, dict[str, Any]]:
    every = read_backend(entry, registry).every
    return entry["name"], {option: every[option] for option in entry if option != "name"}


def exclusion(suite: Suite, exclude: Sequence[Exclude], candidate: Candidate) -> str:
    """``excluded at suites/x.yaml:20``, or nothing. An entry excludes a case that agrees with all that it names."""
    if candidate.from_include:
        return ""
    for index, entry in enumerate(exclude):
        if all(_agrees(candidate, axis, values) for axis, values in entry.items()):
            return f"excluded at {locate(suite, f'exclude.{index}')}"
    return ""


def check_exclude(suite: Suite, exclude: Sequence[Exclude], candidates: Sequence[Candidate]) -> None:
    """SuiteError for the first entry that agrees with no case of the matrix: most likely a value is mistyped.

    Checked before anything is selected or replaced, as an entry need not concern a part of the suite.
    """
    product = [candidate for candidate in candidates if not candidate.from_include]
    for index, entry in enumerate(exclude):
        if any(all(_agrees(each, axis, values) for axis, values in entry.items()) for each in product):
            continue
        agreeing: Sequence[Candidate] = product
        for axis, values in entry.items():
            before, agreeing = agreeing, [each for each in agreeing if _agrees(each, axis, values)]
            if not agreeing:
                present = dict.fromkeys(_axis(each, axis) for each in before)
                names = ", ".join(itertools.islice(present, MAX_SHOWN)) + (", ..." if len(present) > MAX_SHOWN else "")
                what = f"the exclude entry takes nothing away: no combination of the matrix agrees with its {axis}"
                fix = f"remove the entry, or correct it; there {axis} is: {names}"
                raise SuiteError(what, where=locate(suite, f"exclude.{index}"), fix=fix)


def _axis(candidate: Candidate, axis: str) -> str:
    """What the candidate has on an axis of an exclude entry, in words."""
    if axis == "backend":
        return candidate.entry.label
    if axis == "dynamic":
        return word(bool(candidate.case.dynamic))
    if axis in AXES:
        return word(getattr(candidate.case, axis))
    return word(candidate.case.symbols[axis]) if axis in candidate.case.symbols else "none"


def _agrees(candidate: Candidate, axis: str, values: Collection[Any]) -> bool:
    case = candidate.case
    if axis == "backend":
        return any(_is_backend(candidate, *value) for value in values)
    if axis == "dynamic":
        return bool(case.dynamic) in values
    return (case.symbols.get(axis) if axis not in AXES else getattr(case, axis)) in values


def _is_backend(candidate: Candidate, name: str, options: Mapping[str, Any]) -> bool:
    """Whether the backend is the one called ``name`` and agrees in the ``options``."""
    if name != candidate.case.backend:
        return False
    every = candidate.entry.every
    other = [option for option, value in options.items() if every[option] != value]
    if any(every[option] is not None for option in other):
        return False
    in_force = candidate.entry.in_force(candidate.case) if other else {}
    return all(in_force[option] == options[option] for option in other)


def is_simulated(runtime: Runtime) -> bool:
    """Whether it runs on simulated time, without a runtime."""
    return bool(getattr(runtime, "simulated", False))


def impossible(case: Case, registry: Mapping[str, Runtime], device: str) -> str:
    """Why the case can never run on the device, or nothing; a simulated backend rehearses everything."""
    runtime = registry[case.backend]
    if case.lanes == "processes" and case.streams == 1:
        return "with streams: 1 there is one lane, and one process: lanes: processes is for streams: 2 and more"
    if device == "cpu" and not is_simulated(runtime):
        if case.cuda_graph:
            return "cuda_graph needs a CUDA device"
        if case.l2 == "cold":
            return "l2: cold needs a CUDA device"
    try:
        return runtime.unsupported(case, device) or ""
    except Exception as error:
        what = f"the backend {case.backend!r} raised {type(error).__name__} in `unsupported`: {error}"
        raise UsageError(what, where=case.source, fix="leave it out, or correct it; --traceback shows where") from error
