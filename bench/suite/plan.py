"""Which cases a suite asks for, in which order, and why a combination is left out: pure, nothing is probed or run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from bench.errors import SuiteError, UsageError, did_you_mean
from bench.model.seam import Runtime
from bench.model.suite import Case, LeftOut, Plan, Suite
from bench.suite.case_filter import select_candidates
from bench.suite.combinations import Candidate, candidates, include_axes, product_axes
from bench.suite.left_out import check_exclude, exclusion, impossible, is_simulated, read_exclude
from bench.suite.reader import locate

MAX_CASES = 10_000
MAX_COMBINATIONS = 100_000
MAX_PROCESSES = 1_000_000


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
    axes = tuple(product_axes(suite, registry)) + tuple(include_axes(suite, registry))
    total = sum(part.count for part in axes)
    if total > MAX_COMBINATIONS:
        what = f"the matrix has {total:,} combinations; the limit is {MAX_COMBINATIONS:,}"
        raise UsageError(what, where=locate(suite, "matrix"), fix="shorten an axis, or split the suite")
    every = [candidate for part in axes for candidate in candidates(suite, part)]
    exclude = [read_exclude(entry, registry) for entry in suite.exclude]
    check_exclude(suite, exclude, every)
    selected = select_candidates(suite, registry, every, select) if select.strip() else every
    pairs, lost = [(each, each.case) for each in selected], {}
    if backend_override:
        pairs = _override(selected, backend_override, registry)
        if not is_simulated(registry[backend_override]):
            lost = _options_lost(pairs, [each for each in every if each.case.backend == backend_override])
    cases: dict[str, Case] = {}
    left_out: dict[str, LeftOut] = {}
    for candidate, case in pairs:
        reason = exclusion(suite, exclude, candidate) or impossible(case, registry, device)
        if reason:
            left_out.setdefault(case.id, LeftOut(label=case.label, reason=reason))
        else:
            cases.setdefault(case.id, case)
    if {is_simulated(registry[case.backend]) for case in cases.values()} == {True, False}:
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


def _override(
    selected: Sequence[Candidate], backend: str, registry: Mapping[str, Runtime]
) -> list[tuple[Candidate, Case]]:
    """The candidates of ``backend`` with their cases; of others that differ from all of these in more than the backend,
    with the same case by its default options.
    """
    own = {_group(each.case) for each in selected if each.case.backend == backend}
    result = []
    for each in selected:
        if each.case.backend != backend and _group(each.case) in own:
            continue
        options = each.case.options if each.case.backend == backend else {}
        place = "default" if is_simulated(registry[backend]) else each.case.toolchain
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
