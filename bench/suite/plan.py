"""Which cases a suite asks for, in which order, and why a combination is left out: pure, nothing is probed or run."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec

from bench.errors import SelectionError, SuiteError, UsageError, did_you_mean
from bench.model.seam import Runtime
from bench.model.suite import LANES, PRECISIONS, Case, LeftOut, Model, Plan, Range, Suite
from bench.suite import selection
from bench.suite.matrix import AXES, DEFAULTS, BackendEntry, read_backend, symbols_of
from bench.suite.reader import locate

MAX_CASES = 10_000
MAX_COMBINATIONS = 100_000
MAX_PROCESSES = 1_000_000
MAX_SHOWN = 20  # values of a key that an error names


class Choice(msgspec.Struct, frozen=True):
    """A backend of the matrix or of an include entry, and where it is named."""

    entry: BackendEntry
    source: str


class Candidate(msgspec.Struct, frozen=True):
    """A case before it is known whether it stays; those ``from_include`` stand above ``exclude``."""

    case: Case
    entry: BackendEntry
    from_include: bool


class _Axes(msgspec.Struct, frozen=True):
    """The values of every axis for one model; ``source`` locates backends that include entries take over."""

    model: str
    symbols: dict[str, tuple[int, ...]]
    settings: dict[str, tuple[Any, ...]]
    backends: tuple[Choice, ...]
    from_include: bool = False

    @property
    def count(self) -> int:
        return math.prod(len(values) for values in (*self.symbols.values(), *self.settings.values(), self.backends))


def plan(
    suite: Suite, registry: Mapping[str, Runtime], *, device: str, select: str = "", backend_override: str = ""
) -> Plan:
    """The product of the axes, less ``exclude``, plus ``include``, limited to what ``select`` matches.

    Cases that differ only in the backend stand together, in the order of the suite. A combination that is excluded,
    or that its backend can never run on ``device`` (``cpu`` or ``cuda:0``), is in ``left_out``; one that is not
    selected is in neither. ``backend_override`` takes the place of all backends, after the selection: where the suite
    has cases of it they are those, with their options, else one with its defaults. A simulated one also runs in this
    interpreter, as a rehearsal needs no toolchain.

    Raises:
        UsageError: more than ``MAX_COMBINATIONS``, or no such backend.
        SuiteError: an ``exclude`` entry removes nothing from the suite as it is written; or the remaining cases have
            simulated and real backends.
        SelectionError: ``select`` is wrong or matches nothing.
    """
    if backend_override and backend_override not in registry:
        what = f"unknown backend {backend_override!r}.{did_you_mean(backend_override, registry)}"
        raise UsageError(what, fix=f"known: {', '.join(registry)}")
    axes = tuple(_product_axes(suite, registry)) + tuple(_include_axes(suite, registry))
    total = sum(part.count for part in axes)
    if total > MAX_COMBINATIONS:
        what = f"the matrix has {total:,} combinations; the limit is {MAX_COMBINATIONS:,}"
        raise UsageError(what, where=locate(suite, "matrix"), fix="shorten an axis, or split the suite")
    candidates = [candidate for part in axes for candidate in _candidates(suite, part)]
    exclude = [_exclude(entry, registry) for entry in suite.exclude]
    _check_exclude(suite, exclude, candidates)
    selected = _select_candidates(suite, registry, candidates, select) if select.strip() else candidates
    pairs, lost = [(each, each.case) for each in selected], {}
    if backend_override:
        pairs = _override(selected, backend_override, registry)
        if not _is_simulated(registry[backend_override]):
            lost = _options_lost(pairs, [each for each in candidates if each.case.backend == backend_override])
    cases: dict[str, Case] = {}
    left_out: dict[str, LeftOut] = {}
    for candidate, case in pairs:
        reason = _exclusion(suite, exclude, candidate) or _impossible(case, registry, device)
        if reason:
            left_out.setdefault(case.id, LeftOut(label=case.label, reason=reason))
        else:
            cases.setdefault(case.id, case)
    if {_is_simulated(registry[case.backend]) for case in cases.values()} == {True, False}:
        what, fix = "simulated and real backends cannot share a run", '--backend fake, or --select "backend != fake"'
        raise SuiteError(what, where=locate(suite, "matrix.backend"), fix=fix)
    return Plan(
        cases=_in_order(cases),
        # An include entry may bring back what was excluded.
        left_out=tuple(entry for key, entry in left_out.items() if key not in cases),
        options_lost={key: names for key, names in lost.items() if key in cases},
    )


def check_size(plan_: Plan, replicates: int, yes: bool) -> None:
    """UsageError if the plan has more than ``MAX_CASES`` cases, or 10 times as many processes, without ``yes``; or more
    than ``MAX_PROCESSES`` processes.
    """
    processes = len(plan_.cases) * replicates
    if processes > MAX_PROCESSES:
        what = f"the plan has {processes:,} processes, more than {MAX_PROCESSES:,}, the limit"
        raise UsageError(what, fix="fewer --replicates, or narrow it with --select")
    if processes > 10 * MAX_CASES and not yes:
        what = f"the plan has {processes:,} processes, more than {10 * MAX_CASES:,}"
        raise UsageError(what, fix="fewer --replicates, or add --yes to run them all")
    if len(plan_.cases) > MAX_CASES and not yes:
        what = f"the plan has {len(plan_.cases):,} cases, more than {MAX_CASES:,}"
        raise UsageError(what, fix="narrow it with --select, or add --yes to run them all")


def check_some(plan_: Plan, fix: str = "the same command with --dry-run says why of each") -> None:
    """UsageError, with ``fix``, if the plan has no case because every combination is left out."""
    if not plan_.cases:
        reasons = list(dict.fromkeys(entry.reason for entry in plan_.left_out))
        others = len(reasons) - 1
        more = f"; and {others} more reason{'s' * (others > 1)}" if others else ""
        what = f"there is nothing to run, every combination is left out: {reasons[0]}{more}"
        raise UsageError(what, fix=fix)


# ------------------------------------------------------------------------------------------------------ the product


def _product_axes(suite: Suite, registry: Mapping[str, Runtime]) -> Iterator[_Axes]:
    backends = _choices(suite, registry, suite.matrix["backend"], "matrix.backend")
    settings = {axis: suite.matrix.get(axis, (default,)) for axis, default in DEFAULTS.items()}
    for name in suite.matrix["model"]:
        yield _Axes(name, _sizes(suite, suite.models[name], {}), settings, backends)


def _include_axes(suite: Suite, registry: Mapping[str, Runtime]) -> Iterator[_Axes]:
    """Include entries: an axis that an entry does not name has the first value of the matrix."""
    for index, entry in enumerate(suite.include):
        key = f"include.{index}.backend"
        backends = _choices(suite, registry, entry.get("backend", suite.matrix["backend"][:1]), key)
        settings = {axis: entry.get(axis, suite.matrix.get(axis, (default,))[:1]) for axis, default in DEFAULTS.items()}
        for name in entry.get("model", suite.matrix["model"][:1]):
            sizes = _sizes(suite, suite.models[name], entry, first=True)
            yield _Axes(name, sizes, settings, backends, from_include=True)


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


def _candidates(suite: Suite, axes: _Axes) -> Iterator[Candidate]:
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


def _override(
    candidates: Sequence[Candidate], backend: str, registry: Mapping[str, Runtime]
) -> list[tuple[Candidate, Case]]:
    """The candidates of ``backend`` with their cases; of others that differ from all of these in more than the backend,
    with the same case by its default options.
    """
    own = {_group(each.case) for each in candidates if each.case.backend == backend}
    result = []
    for each in candidates:
        if each.case.backend != backend and _group(each.case) in own:
            continue
        options = each.case.options if each.case.backend == backend else {}
        place = "default" if _is_simulated(registry[backend]) else each.case.toolchain
        case = msgspec.structs.replace(each.case, backend=backend, options=options, toolchain=place)
        result.append((each, case))
    return result


def _options_lost(pairs: Sequence[tuple[Candidate, Case]], own: Sequence[Candidate]) -> dict[str, tuple[str, ...]]:
    """Of the cases that have the defaults of another backend, by id: the options of the candidates that they stand for,
    and of those of the backend's ``own`` that were not selected.
    """
    replaced = [each for each, case in pairs if each.case.backend != case.backend]
    options: dict[str, dict[str, None]] = {}
    for each in (*replaced, *own):
        options.setdefault(_group(each.case), {}).update(dict.fromkeys(each.case.options))
    groups = {case.id: _group(each.case) for each, case in pairs if each.case.backend != case.backend}
    return {key: tuple(options[group]) for key, group in groups.items() if options[group]}


def _group(case: Case) -> str:
    """What cases have in common that differ only in the backend."""
    return msgspec.structs.replace(case, backend="", options={}).label


def _in_order(cases: Mapping[str, Case]) -> tuple[Case, ...]:
    """Cases of a model together, and in it those that differ only in the backend; else as they came."""
    models: dict[str, int] = {}
    groups: dict[str, int] = {}
    ranks: dict[str, tuple[int, int]] = {}
    for key, case in cases.items():
        group = groups.setdefault(_group(case), len(groups))
        ranks[key] = (models.setdefault(case.model, len(models)), group)
    return tuple(cases[key] for key in sorted(cases, key=ranks.__getitem__))


# ------------------------------------------------------------------------------------------------- what is left out


# Of an exclude entry the values by axis; of a backend its name and the values of the options that it names.
_Exclude: TypeAlias = dict[str, Collection[Any]]


def _exclude(entry: Mapping[str, tuple[Any, ...]], registry: Mapping[str, Runtime]) -> _Exclude:
    """An exclude entry in the form in which thousands of candidates are compared with it."""
    return {
        axis: [_backend_of(value, registry) for value in values] if axis == "backend" else frozenset(values)
        for axis, values in entry.items()
    }


def _backend_of(entry: Mapping[str, Any], registry: Mapping[str, Runtime]) -> tuple[str, dict[str, Any]]:
    every = read_backend(entry, registry).every
    return entry["name"], {option: every[option] for option in entry if option != "name"}


def _exclusion(suite: Suite, exclude: Sequence[_Exclude], candidate: Candidate) -> str:
    """``excluded at suites/x.yaml:20``, or nothing. An entry excludes a case that agrees with all that it names."""
    if candidate.from_include:
        return ""
    for index, entry in enumerate(exclude):
        if all(_agrees(candidate, axis, values) for axis, values in entry.items()):
            return f"excluded at {locate(suite, f'exclude.{index}')}"
    return ""


def _check_exclude(suite: Suite, exclude: Sequence[_Exclude], candidates: Sequence[Candidate]) -> None:
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
        return _word(bool(candidate.case.dynamic))
    if axis in AXES:
        return _word(getattr(candidate.case, axis))
    return _word(candidate.case.symbols[axis]) if axis in candidate.case.symbols else "none"


def _agrees(candidate: Candidate, axis: str, values: Collection[Any]) -> bool:
    case = candidate.case
    if axis == "backend":
        return any(_is_backend(candidate, *value) for value in values)
    if axis == "dynamic":
        return bool(case.dynamic) in values
    return (case.symbols.get(axis) if axis not in AXES else getattr(case, axis)) in values


def _is_backend(candidate: Candidate, name: str, options: Mapping[str, Any]) -> bool:
    """Whether the backend is the one called ``name`` and agrees in the ``options``."""
    every = candidate.entry.every
    return name == candidate.case.backend and all(every[option] == value for option, value in options.items())


def _is_simulated(runtime: Runtime) -> bool:
    return bool(getattr(runtime, "simulated", False))


def _impossible(case: Case, registry: Mapping[str, Runtime], device: str) -> str:
    """Why the case can never run on the device, or nothing; a simulated backend rehearses everything."""
    runtime = registry[case.backend]
    if case.lanes == "processes" and case.streams == 1:
        return "with streams: 1 there is one lane, and one process: lanes: processes is for streams: 2 and more"
    if device == "cpu" and not _is_simulated(runtime):
        if case.cuda_graph:
            return "cuda_graph needs a CUDA device"
        if case.l2 == "cold":
            return "l2: cold needs a CUDA device"
    try:
        return runtime.unsupported(case, device) or ""
    except Exception as error:
        what = f"the backend {case.backend!r} raised {type(error).__name__} in `unsupported`: {error}"
        raise UsageError(what, where=case.source, fix="leave it out, or correct it; --traceback shows where") from error


# -------------------------------------------------------------------------------------------------------- selection


def select_cases(cases: Sequence[Case], registry: Mapping[str, Runtime], select: str) -> tuple[Case, ...]:
    """The cases of a stored run that ``select`` matches, in their order. SelectionError as of ``plan``."""
    entries = [read_backend({"name": case.backend, **case.options}, registry) for case in cases]
    symbols = [symbol for case in cases for symbol in case.symbols]
    mask = _match_each("the run", cases, entries, [case.model for case in cases], symbols, registry, select)
    return tuple(itertools.compress(cases, mask))


def _select_candidates(
    suite: Suite, registry: Mapping[str, Runtime], candidates: list[Candidate], select: str
) -> list[Candidate]:
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
    options = [each.every for each in entries]
    mask = [selection.matches(expression, *pair) for pair in zip(cases, options, strict=True)]
    if any(mask):
        return mask
    lines = []
    for key in selection.keys_of(expression):
        values = [selection.values_of(key, *pair) for pair in zip(cases, options, strict=True)]
        names = list(dict.fromkeys(_word(value[0]) for value in values if value))
        text = ", ".join(names[:MAX_SHOWN]) + (", ..." if len(names) > MAX_SHOWN else "")
        lines.append(f"{key}: {text or 'no case has it'}")
    raise SelectionError("no case matches", where=f"--select {select}", fix=f"{of} has " + "; ".join(lines))


def _word(value: Any) -> str:
    return {True: "on", False: "off"}[value] if isinstance(value, bool) else str(value)
