"""Notes on a table as a whole: what was not measured, why rows have no speed, what ran under unequal conditions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from bench import store
from bench.analysis import conditions
from bench.analysis.rows import PRIMARY, Row, baseline_label
from bench.analysis.speed import is_baseline, parts_of, size
from bench.model.run import Run
from bench.report import cells
from bench.report.note import Note

LONGEST_VALUE = 60
SHOWN_ROWS = 3
_NO_CONDITION = ("engine", "mode", "ir", "export_warnings")


class Reference(msgspec.Struct, frozen=True):
    """What the rows of a run's tables were made with: the ``baseline``, the cases (ids) of the run that are of it, for
    each case what must be equal for two times to be of the same work, and the command that goes on with the run.
    """

    baseline: str
    cases: frozenset[str]
    sizes: Mapping[str, tuple[object, ...]]
    continuation: str


def reference(run: Run, baseline: str = "") -> Reference:
    """That of ``run`` with ``baseline``, as for rows()."""
    label = baseline_label(run, baseline)
    cases = frozenset(case.id for case in run.header.cases if is_baseline(case, label))
    sizes = {case.id: size(case) for case in run.header.cases}
    return Reference(label, cases, sizes, store.continuation(Path(run.path), run.header))


def general(table: Sequence[Row], of: Reference) -> list[Note]:
    """The notes on ``table``, whose rows were made with ``of``; none has a mark."""
    measured = [row for row in table if row.processes]
    return [
        *_not_run(table, of),
        *_baselines(measured),
        *_no_speed(table, of),
        *_no_ratio(measured),
        *_read_at(measured, of),
        *_other_boundary(measured),
        *_fairness(measured),
    ]


def _not_run(table: Sequence[Row], of: Reference) -> list[Note]:
    waiting = [row for row in table if not row.processes and not row.failure]
    if not waiting:
        return []
    return [Note(kind="not run", text=f"{cells.count(len(waiting), 'case')} not measured yet", fix=of.continuation)]


def _baselines(measured: Sequence[Row]) -> list[Note]:
    """Speeds against another precision or toolchain than a row would think of mislead unless said."""
    precisions = {row.label: row.precision for row in measured}
    others: dict[str, list[Row]] = {}
    for row in measured:
        if row.speed and not row.speed.precision and precisions.get(row.speed.against) != row.precision:
            others.setdefault(row.speed.against, []).append(row)
    notes = [
        Note(kind="baseline", text=f"{names(rows)} against {against}: no baseline has their precision")
        for against, rows in others.items()
    ]
    places = {row.speed.toolchain: row.speed.backend for row in measured if row.speed}
    if len(places) > 1:
        place, backend = next(iter(places.items()))
        text = "each toolchain against the baseline of its own"
        notes.append(Note(kind="baseline", text=text, fix=f"one for all: --baseline {backend}@{place}"))
    return notes


def _no_speed(table: Sequence[Row], of: Reference) -> list[Note]:
    """Why rows that rank have no speed: the run lacks the baseline, it failed, or there is none of their sizes."""
    ranked = [row for row in table if row.ranked and row.processes]
    bases = [row for row in table if row.case in of.cases]
    reasons: dict[str, list[Row]] = {}
    for row in ranked:
        if not row.speed:
            reasons.setdefault(_why_no_speed(row, bases, of), []).append(row)
    there = dict.fromkeys(row.backend.partition("[")[0] for row in ranked)
    others = [backend for backend in there if backend != of.baseline]
    fix = f"--baseline with one of: {', '.join(others)}" if others else ""
    notes = []
    for reason, rows in reasons.items():
        who = "" if len(rows) == len(ranked) else f"{names(rows)}: "
        notes.append(Note(kind="baseline", text=f"{who}no speed, as {reason}", fix=fix))
    return notes


def _why_no_speed(row: Row, bases: Sequence[Row], of: Reference) -> str:
    """What is wrong with the case of the baseline that ``row`` would have been set against."""
    if not of.cases:
        return f"this run has no {of.baseline}"
    any_precision = bool(parts_of(of.baseline)[1])
    near = [base for base in bases if of.sizes[base.case] == of.sizes[row.case]]
    for precision in (row.precision, "fp32", *(base.precision for base in near if any_precision)):
        for base in near:
            if base.precision == precision and (fault := _fault(base)):
                return f"the baseline {base.backend} {fault}"
    return f"there is no accurate {of.baseline} of the same sizes and precision (or fp32) at {row.primary}"


def _fault(base: Row) -> str:
    """Why a case serves as no baseline; empty if it does."""
    if base.failure:
        message = base.failure.text.partition("\n")[0]
        return f"failed ({cells.failure(base.failure)}: {_short(message)})"
    if base.score and not base.score.ok:
        return "has other outputs in each call" if base.score.varies else "is inaccurate"
    if base.score and base.score.empty:
        return "has only empty outputs"
    if base.score and base.score.blind:
        return "has a reference that does not depend on the inputs"
    if not base.processes:
        return "was not measured yet"
    if base.primary and base.primary not in base.times:
        return f"has no time at {base.primary}"
    return "" if base.ranked else "has calls that are not alike"


def _no_ratio(measured: Sequence[Row]) -> list[Note]:
    lacking = [row for row in measured if row.speed and row.speed.ratio is None]
    if not lacking:
        return []
    text = f"{names(lacking)}: a time of 0, its own or the baseline's, has no ratio, so no speed"
    return [Note(kind="baseline", text=text)]


def _read_at(measured: Sequence[Row], of: Reference) -> list[Note]:
    """Where speeds are of another time than a reader would take them for, as the baseline lacks that one."""
    primary = next((row.speed.boundary for row in measured if row.speed), None)
    if primary is None:
        return []
    lacked = [b for b in PRIMARY[: PRIMARY.index(primary)] if any(b in row.times for row in measured)]
    if not lacked:
        return []
    text = f"speed, rank and speed of light are read from {primary}, as {of.baseline} has no {lacked[0]}"
    return [Note(kind="boundary", text=text)]


def _other_boundary(measured: Sequence[Row]) -> list[Note]:
    lacking = [row for row in measured if row.primary and row.primary not in row.times]
    if not lacking:
        return []
    text = f"{names(lacking)}: no time at {lacking[0].primary}, so neither speed nor rank"
    return [Note(kind="boundary", text=text)]


def _fairness(measured: Sequence[Row]) -> list[Note]:
    """Rows of equal precision and sizes that ran under unequal conditions; a key that a row does not tell is no
    difference. Reasons are told by the warnings that they belong to; what describes an engine is no condition, nor what
    the row's name says: which mode or frontend it is. Nor what ``bench.analysis.lint`` says of the whole run.
    """
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in measured:
        groups.setdefault((row.precision, str(row.symbols)), []).append(row)
    differing: dict[str, dict[str, list[Row]]] = {}
    for members in groups.values():
        by_key: dict[str, list[tuple[Row, str]]] = {}
        for row in members:
            for key, values in row.fairness.items():
                if _is_condition(key):
                    for name, parts in _parts(key, values):
                        by_key.setdefault(name, []).append((row, " or ".join(map(_plain, parts))))
        for key, told in by_key.items():
            if len({value for _, value in told}) > 1:
                for row, value in told:
                    differing.setdefault(key, {}).setdefault(value, []).append(row)
    return [Note(kind="unequal", text=f"{key}: {_values(values)}") for key, values in differing.items()]


def _is_condition(key: str) -> bool:
    return key not in _NO_CONDITION and key not in conditions.KEYS and not key.endswith("_reasons")


def _parts(key: str, values: Sequence[object]) -> Iterator[tuple[str, Sequence[object]]]:
    """A condition with its values in the processes of a row; the entries of mappings are conditions of their own, as
    ``calibration.samples``.
    """
    if not all(isinstance(value, Mapping) for value in values):
        yield key, values
        return
    mappings = [value for value in values if isinstance(value, Mapping)]
    for name in dict.fromkeys(name for value in mappings for name in value):
        different = {_plain(value[name]): value[name] for value in mappings if name in value}
        yield from _parts(f"{key}.{name}", list(different.values()))


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, list | tuple):
        return "+".join(map(_plain, value)) or "none"
    if value is None or value == "":
        return "none"
    return value if isinstance(value, str) else msgspec.json.encode(value, order="sorted").decode()


def _values(values: dict[str, list[Row]]) -> str:
    """``4 (onnxruntime), 2 (the others)``: the most frequent value last."""
    *odd, (usual, many) = sorted(values.items(), key=lambda item: len(item[1]))
    parts = [f"{_short(value)} ({names(rows)})" for value, rows in odd]
    who = "the others" if len({_name(row) for row in many}) > SHOWN_ROWS else names(many)
    return ", ".join([*parts, f"{_short(usual)} ({who})"])


def names(rows: Sequence[Row]) -> str:
    """Backends with their setting for short, each once: ``eager, inductor graph and 3 more``."""
    backends = list(dict.fromkeys(_name(row) for row in rows))
    if len(backends) <= SHOWN_ROWS:
        return ", ".join(backends)
    return f"{', '.join(backends[:SHOWN_ROWS])} and {len(backends) - SHOWN_ROWS} more"


def _name(row: Row) -> str:
    return f"{row.backend} {row.setting}".rstrip()


def _short(value: str) -> str:
    return value if len(value) <= LONGEST_VALUE else value[: LONGEST_VALUE - 1] + "…"
