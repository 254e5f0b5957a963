"""Why cases differ from their baselines: pairs that were both profiled, with their parts and causes as the terminal has
them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from bench.analysis import explain, explain_sides
from bench.analysis.rows import Row
from bench.analysis.waterfalls import BESIDE
from bench.errors import UsageError
from bench.report import escape, explain_groups, explain_tables, explain_words
from bench.report.html.placed import PlacedProfile
from bench.report.html.timelines import short_name

MOST_PAIRS, MOST_GROUPS, MOST_NAMES = 40, 10, 3
MOST_COMPARED = 8_000_000  # pairs of kernels of both sides


def explanations(
    chosen: Sequence[PlacedProfile], cases: Sequence[Mapping[str, Any]], rows: Sequence[Row], runs: Sequence[str]
) -> dict[str, Any]:
    """``pairs``, how many cases and their baselines were both profiled and can be compared, and ``explanations`` of why
    they differ: of MOST_PAIRS, the most different first, as far as their kernels are few enough to be compared in
    seconds.

    Each has ``case`` and ``base`` (places), ``ns`` and ``base_ns`` (of one inference), ``work`` and ``base_work``,
    ``gaps`` (what these are as long as: see explain), ``measured`` (boundary and the medians of both), ``by`` (what
    parts were aligned by), ``totals`` (cause, ns, number of parts), ``parts``, ``others`` (how many parts are not in
    it) and ``notes``. ``parts`` are those that differ alike, as one: ``name``, ``base_ns``, ``ns``, and their
    ``causes``, whose differences add up to theirs: ``kind`` in words, ``base_ns`` and ``ns`` of the kernels that belong
    to it, ``count`` of parts, ``text``, and the kernels of ``base`` and of ``case``.
    """
    profiled: dict[int, PlacedProfile] = {}
    for each in sorted(chosen, key=lambda each: each.kind):  # events before layers
        if each.condensed is not None:
            for at in each.places:
                profiled.setdefault(at, each)
    places = {(case["run"], case["label"]): at for at, case in enumerate(cases)}
    pairs = []
    for place, each in profiled.items():
        case = cases[place]
        base = places.get((case["run"], case["against"])) if case["against"] else None
        if place == each.place and base is not None and base != place and base in profiled:
            pairs.append((each, place, profiled[base], base))
    pairs.sort(key=lambda pair: -abs(1 - (cases[pair[1]]["speed"] or 1)))
    several: list[dict[str, Any]] = []
    compared = refused = 0
    for ours, place, theirs, base in pairs:
        measured = [
            {name: rows[at].times[name].value for name in BESIDE if name in rows[at].times} for at in (base, place)
        ]
        shared = [name for name in measured[0] if name in measured[1]]
        a, b = (
            msgspec.structs.replace(_side(each), measured={name: times[name] for name in shared})
            for each, times in zip((theirs, ours), measured, strict=True)
        )
        compared += len(a.units) * len(b.units)
        if several and (len(several) == MOST_PAIRS or compared > MOST_COMPARED):
            break
        try:
            whole = explain.explain(a, b, run=runs[cases[place]["run"]])
        except UsageError:  # they have nothing in common, as of a GPU and of a CPU
            refused += 1
        else:
            several.append(_explanation(whole, place, base))
    return {"pairs": len(pairs) - refused, "explanations": several}


def _explanation(whole: explain.Explanation, place: int, base: int) -> dict[str, Any]:
    groups = explain_groups.groups(whole)
    return {
        "case": place,
        "base": base,
        "ns": whole.b.window,
        "base_ns": whole.a.window,
        "work": whole.b.work,
        "base_work": whole.a.work,
        "gaps": whole.gaps if whole.a.idle or whole.b.idle else None,
        "measured": [[name, whole.a.measured[name], whole.b.measured[name]] for name in whole.a.measured],
        "by": whole.by,
        "totals": [[explain_tables.cause_name(whole, kind), ns, count] for kind, ns, count in whole.totals],
        "parts": [_group(whole, group) for group in groups[:MOST_GROUPS]],
        "others": sum(len(group.parts) for group in groups[MOST_GROUPS:]),
        "notes": [escape.line(note) for note in whole.notes],
    }


def _side(profiled: PlacedProfile) -> explain_sides.Side:
    assert profiled.condensed is not None
    return explain_sides.of_condensed(profiled.case.case, profiled.case.label, profiled.condensed)


def _group(whole: explain.Explanation, group: explain_groups.Group) -> dict[str, Any]:
    return {
        "name": escape.name(group.name),
        "base_ns": group.a,
        "ns": group.b,
        "causes": [_cause(whole, group, cause) for cause in group.causes],
    }


def _cause(whole: explain.Explanation, group: explain_groups.Group, cause: explain_groups.CauseSum) -> dict[str, Any]:
    kernels = dict(explain_words.kernels_of(whole, cause))
    return {
        "kind": explain_tables.cause_name(whole, cause.kind),
        "base_ns": cause.a,
        "ns": cause.b,
        "count": cause.parts,
        "text": escape.line(explain_words.sentence(cause, group)),
        "base": _short(kernels.get("A", ())),
        "case": _short(kernels.get("B", ())),
    }


def _short(several: Sequence[explain_words.KernelSum]) -> list[str]:
    texts = [f"{escape.name(short_name(kernel.name))}{kernel.figures}" for kernel in several[:MOST_NAMES]]
    return texts + ([f"{len(several) - MOST_NAMES} more"] if len(several) > MOST_NAMES else [])
