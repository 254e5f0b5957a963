"""Why cases differ from their baselines: pairs that were both profiled, with their parts and causes as the terminal has
them.
"""

from __future__ import annotations

import contextlib
import datetime
import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from bench.analysis import explain, explain_notes, measured, profile_sources
from bench.analysis.pool import Pool
from bench.analysis.rows import Row
from bench.errors import UsageError
from bench.model.folders import RESULTS
from bench.model.profile import CaseProfile, ProfileRun
from bench.model.run import Header, Run
from bench.report import escape, explain_groups, explain_tables, explain_words
from bench.report.html.placed import PlacedProfile
from bench.report.html.timelines import short_name

MOST_PAIRS, MOST_GROUPS, MOST_NAMES = 40, 10, 3
MOST_COMPARED = 8_000_000  # pairs of kernels of both sides


class TimedRun(NamedTuple):
    """A run of the page, its file as the page names it (empty if it has none), and what it measured of all its cases,
    by id, whether the page shows them or not.
    """

    header: Header
    path: str
    cases: Mapping[str, measured.OfCase]


class _File(NamedTuple):
    """A file of profiles, and its cases that have one, by id."""

    run: ProfileRun
    cases: Mapping[str, CaseProfile]


class _Pair(NamedTuple):
    """A case and its baseline, by their places, and the files of profiles that each is explained from."""

    place: int
    base: int
    ours: _File
    theirs: _File


def timed(runs: Sequence[Run], tables: Sequence[Sequence[Row]], pools: Sequence[Sequence[Pool]]) -> list[TimedRun]:
    """Each of ``runs`` with what it measured; ``tables`` are their rows() and ``pools`` their cases as gathered."""
    return [
        TimedRun(
            run.header,
            run.path,
            {row.case: measured.OfCase(row.times, pool.flaw) for row, pool in zip(table, of_run, strict=True)},
        )
        for run, table, of_run in zip(runs, tables, pools, strict=True)
    ]


def explanations(
    chosen: Sequence[PlacedProfile],
    cases: Sequence[Mapping[str, Any]],
    rows: Sequence[Row],
    runs: Sequence[TimedRun],
    files: Sequence[Sequence[ProfileRun]],
) -> dict[str, Any]:
    """``pairs``, how many cases and their baselines were both profiled and can be compared, and ``explanations`` of why
    they differ: of MOST_PAIRS, the largest speed-ups and slow-downs first, as far as their kernels are few enough to
    be compared in seconds. Each case is explained at its newest run. ``files`` are for each of ``runs`` the profiles
    beside it, newest first: those of a pair are the ones that `trtbench explain` takes of them, and so are the runs
    whose times stand beside them and tell the gaps: of each boundary the newest of ``runs`` that has it of both cases.

    Each has ``case`` and ``base`` (places), ``ns`` and ``base_ns`` (of one inference), ``work`` and ``base_work``,
    ``gaps`` (what these are as long as: see explain), ``measured`` (boundary, the medians of both, the run),
    ``otherwise`` (on a CPU in what the run's difference is not the profile's), ``by`` (what parts were aligned by),
    ``totals`` (cause, ns, number of parts), ``parts``, ``others`` (how many parts are not in it), ``notes``,
    ``profiles_created`` (when each file of them was, the baseline's first; one if it has both) and ``command`` (which
    explains them in a terminal, by the times of the same runs; empty where it cannot name them). ``parts`` are those
    that differ alike, as one: ``name``, ``base_ns``, ``ns``, and their ``causes``, whose differences add up to theirs:
    ``kind`` in words, ``base_ns`` and ``ns`` of the kernels that belong to it, ``count`` of parts, ``text``, and the
    kernels of ``base`` and of ``case``.
    """
    several: list[dict[str, Any]] = []
    compared = refused = 0
    pairs = [*_pairs(chosen, cases, rows, _with_cases(files))]
    paths = {run.header.run: run.path for run in runs}
    pairs.sort(key=lambda pair: -abs(math.log(cases[pair.place]["speed"] or 1)))
    newest_first = sorted(runs, key=lambda run: run.header.run, reverse=True)
    for pair in pairs:
        places = pair.base, pair.place
        a, b = (
            profile_sources.side(file.cases[rows[at].case])
            for file, at in zip((pair.theirs, pair.ours), places, strict=True)
        )
        compared += len(a.units) * len(b.units)
        if several and (len(several) == MOST_PAIRS or compared > MOST_COMPARED):
            break
        of_run = runs[cases[pair.place]["run"]]
        try:
            times = _measured(newest_first, of_run.header, a.case, b.case)
            whole = explain.explain(
                msgspec.structs.replace(a, measured=times.a, flaw=times.flaw_a),
                msgspec.structs.replace(b, measured=times.b, flaw=times.flaw_b),
                run=times.runs,
            )
        except UsageError:  # they have nothing in common, as of a GPU and of a CPU
            refused += 1
        else:
            several.append(_explanation(whole, pair.place, pair.base) | _source(whole, pair, paths, of_run.path))
    return {"pairs": len(pairs) - refused, "explanations": several}


def _measured(newest_first: Sequence[TimedRun], header: Header, a: str, b: str) -> measured.Measured:
    """The medians of two cases (ids) by the runs of the device that ``header`` is of."""
    environment = header.environments.get("default")
    if environment is None:
        return measured.NOTHING
    several = measured.Newest(environment, a, b)
    for run in newest_first:
        if several.missing and several.may_have(run.header):
            several.add(run.header.run, run.cases[a], run.cases[b])
    return several.measured


def _pairs(
    chosen: Sequence[PlacedProfile],
    cases: Sequence[Mapping[str, Any]],
    rows: Sequence[Row],
    files: Sequence[Sequence[_File]],
) -> Iterator[_Pair]:
    """The profiled cases at their newest runs that have a profiled baseline there."""
    places = {(case["run"], case["label"]): at for at, case in enumerate(cases)}
    for place in dict.fromkeys(each.place for each in chosen if each.condensed is not None):
        case = cases[place]
        base = places.get((case["run"], case["against"])) if case["against"] else None
        if base is None or base == place:
            continue
        pair = profile_sources.sources(files[case["run"]], _has_profile, rows[base].case, rows[place].case)
        if pair.a is not None and pair.b is not None:
            yield _Pair(place, base, ours=pair.b, theirs=pair.a)


def _with_cases(files: Sequence[Sequence[ProfileRun]]) -> list[list[_File]]:
    """The files of each run; one beside several runs is one object."""
    different = {id(file): file for beside in files for file in beside}
    by_id = {
        key: _File(file, {each.case: each for each in file.cases if each.condensed is not None})
        for key, file in different.items()
    }
    return [[by_id[id(file)] for file in beside] for beside in files]


def _has_profile(file: _File, case: str) -> bool:
    return case in file.cases


def _source(whole: explain.Explanation, pair: _Pair, paths: Mapping[str, str], beside: str) -> dict[str, Any]:
    """When the files of a pair were created, and the command; that is empty if a file has no such time, or lies in no
    folder of a store. ``paths`` are those of the page's runs by their ids, ``beside`` is that of the run which the
    files lie beside.
    """
    files = [pair.theirs.run] if pair.theirs is pair.ours else [pair.theirs.run, pair.ours.run]
    names = [whole.a.label, whole.b.label]
    root = _store_of(beside)
    command = ""
    with contextlib.suppress(ValueError):
        times = [_begins(each) for each in files]
        words = [*names, "--in", *times] if len(files) == 1 else map(":".join, zip(times, names, strict=True))
        # A page of some runs may lack the newest, and an older page does.
        runs = dict.fromkeys(whole.runs.values())
        options = [word for run in runs for word in ("--run", _named(run, paths[run], root))]
        of_kernels = whole.a.kind == whole.b.kind == "kernel"
        if not runs and of_kernels and whole.gaps in ("unprofiled", "profiled"):
            options += ["--gaps", whole.gaps]
        options += [] if root == Path(RESULTS) else ["--store", str(root)]
        command = escape.line(shlex.join(["trtbench", "explain", *words, *options])) if root else ""
    return {"profiles_created": [escape.name(each.created) for each in files], "command": command}


def _store_of(path: str) -> Path | None:
    """The store that the run at ``path``, and what lies beside it, is in; None if it lies less deep than such files."""
    parents = Path(path).parents
    return parents[2] if len(parents) > 2 else None


def _named(run: str, path: str, root: Path | None) -> str:
    """The run as a word of a command: its id where it lies in the store at ``root``, else its file."""
    return run if not path or (_store_of(path) == root and Path(path).stem == run) else path


def _begins(file: ProfileRun) -> str:
    """What the file's name begins with, after its prefix."""
    return f"{datetime.datetime.fromisoformat(file.created).astimezone(datetime.UTC):%Y%m%dT%H%M%SZ}"


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
        "measured": [
            [name, whole.a.measured[name], whole.b.measured[name], escape.name(whole.runs.get(name, ""))]
            for name in whole.a.measured
        ],
        "otherwise": explain_notes.measured_otherwise(whole.a, whole.b),
        "by": whole.by,
        "totals": [[explain_tables.cause_name(whole, kind), ns, count] for kind, ns, count in whole.totals],
        "parts": [_group(whole, group) for group in groups[:MOST_GROUPS]],
        "others": sum(len(group.parts) for group in groups[MOST_GROUPS:]),
        "notes": [escape.line(note) for note in (*_flaws(whole), *whole.notes)],
    }


def _flaws(whole: explain.Explanation) -> list[str]:
    return [
        f"{name} {side.flaw}, so that no ratio holds" for name, side in (("A", whole.a), ("B", whole.b)) if side.flaw
    ]


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
