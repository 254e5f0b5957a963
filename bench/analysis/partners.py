"""Which cases of two sides are partners in a comparison: equal ones, or those that differ along one axis alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import msgspec

from bench.analysis.rows import baseline_label
from bench.analysis.sides import Member, members
from bench.analysis.speed import check_baseline, parts_of
from bench.errors import UsageError, did_you_mean
from bench.model.data import digest
from bench.model.run import Run
from bench.model.suite import Case, named

# What a pair may differ in, and the fields of a case that this stands for.
AXES: dict[str, tuple[str, ...]] = {
    "backend": ("backend", "options", "toolchain"),
    "toolchain": ("toolchain",),
    "precision": ("precision",),
    "cuda_graph": ("cuda_graph",),
}


class Partners(NamedTuple):
    """The ``pairs`` of partners, and the labels of the cases of each side that have none."""

    pairs: list[tuple[Member, Member]]
    only_a: list[str]
    only_b: list[str]


def partners(a: Sequence[Run], b: Sequence[Run], axis: str, baseline: str) -> Partners:
    """Those of the runs ``a`` in the runs ``b``, or without ``b`` in ``a`` itself, as compare() says.

    UsageError for an unknown axis or baseline, for several candidates as a partner, or if nothing has a partner.
    """
    _check(axis, bool(b))
    if baseline:
        check_baseline((case for run in a for case in run.header.cases), baseline)
    sides = members(a), members(b) if b else {}
    pairing = _across_runs(*sides, axis) if b else _within(sides[0], axis, baseline or baseline_label(a[0]))
    if not pairing.pairs:
        what = "the two sides have no case in common" if b else f"no two cases differ in {axis} alone"
        other = _requests_differ(*sides)
        raise UsageError(what + other, where=_names(a, b), fix=_nothing_in_common(bool(b), other))
    return pairing


def of_axis(first: Case, second: Case, axis: str) -> tuple[str, ...]:
    """The dimension that the axis names, where the toolchains of two cases are part of it."""
    return ("toolchain",) if first.toolchain != second.toolchain and "toolchain" in AXES.get(axis, ()) else ()


def _check(axis: str, several: bool) -> None:
    if axis and axis not in AXES:
        what = f"unknown axis {axis!r}.{did_you_mean(axis, AXES)}"
        raise UsageError(what, where="axis", fix=f"known: {', '.join(AXES)}")
    if not axis and not several:
        raise UsageError("one run is compared with nothing", fix="name a second run, or an axis: --axis backend")


def _names(a: Sequence[Run], b: Sequence[Run]) -> str:
    return " and ".join(",".join(run.header.run for run in side) for side in (a, b) if side)


def _requests_differ(a: dict[str, Member], b: dict[str, Member]) -> str:
    """In which fields the first cases differ that have one label and two ids; empty if there are none."""
    cases = {member.pool.case.label: member.pool.case for member in a.values()}
    pairs = [(cases[m.pool.case.label], m.pool.case) for m in b.values() if m.pool.case.label in cases]
    if not pairs:
        return ""
    first, second = (msgspec.to_builtins(case) for case in pairs[0])
    fields = [name for name in {**first, **second} if first.get(name) != second.get(name) and name != "source"]
    return f"; {len(pairs)} have the same label, and ask for other {' and '.join(fields)}"


def _nothing_in_common(several: bool, differ: str = "") -> str:
    if differ:
        return "measure both with one suite and one version of trtbench"
    if several:
        return "name two runs of one suite, or what they differ in: --axis backend"
    return "name a second run, or another axis"


def identity(case: Case, axis: str) -> str:
    """The same for cases that differ in the axis alone."""
    if not axis:
        return case.id
    fields = msgspec.to_builtins(case)
    return digest({name: value for name, value in fields.items() if name not in ("source", *AXES[axis])})


def _grouped(side: dict[str, Member], axis: str) -> dict[str, list[Member]]:
    groups: dict[str, list[Member]] = {}
    for member in side.values():
        groups.setdefault(identity(member.pool.case, axis), []).append(member)
    return groups


def _across_runs(a: dict[str, Member], b: dict[str, Member], axis: str) -> Partners:
    first, second = _grouped(a, axis), _grouped(b, axis)
    common = [key for key in first if key in second]
    for key in common:
        for several in (first[key], second[key]):
            if len(several) > 1:
                labels = " and ".join(member.pool.case.label for member in several[:2])
                fix = f"compare runs with one of them each, or one run alone: --axis {axis}"
                raise UsageError(f"{labels} would have the same partner", where=f"axis {axis}", fix=fix)
    return Partners(
        [(first[key][0], second[key][0]) for key in common],
        [member.pool.case.label for key, members in first.items() if key not in second for member in members],
        [member.pool.case.label for key, members in second.items() if key not in first for member in members],
    )


def _within(side: dict[str, Member], axis: str, baseline: str) -> Partners:
    """Each case of one side with the baseline of those that differ from it in the axis alone, by default the first.

    A precision that the baseline names decides nothing, as the cases of each comparison have one.
    """
    backend, _, toolchain = parts_of(baseline)
    pairs, alone = [], []
    for group in _grouped(side, axis).values():
        cases = [member.pool.case for member in group]
        there = [n for n, case in enumerate(cases) if toolchain in ("", f"@{case.toolchain}")]
        exact = [n for n in there if named(cases[n].backend, cases[n].options) == backend]
        plain = [n for n in there if cases[n].backend == backend]
        base = (exact or plain or [0])[0] if axis == "backend" else 0
        alone += [case.label for case in cases] if len(cases) == 1 else []
        pairs += [(group[base], member) for n, member in enumerate(group) if n != base]
    return Partners(pairs, alone, [])
