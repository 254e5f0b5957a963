"""What a reader must know below a table: failures, inaccurate cases, warnings, unequal conditions, missing evidence."""

from __future__ import annotations

import shlex
import string
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence, Set
from pathlib import Path
from typing import TypeAlias

import msgspec

from bench import store
from bench.analysis.rows import PRIMARY, Row, baseline_label, replicated
from bench.analysis.speed import is_baseline
from bench.model.distributions import TENSORRT, TENSORRT_BINDINGS
from bench.model.run import Environment, Failure, Run, Warning
from bench.report import cells, escape, warnings

LONGEST_VALUE = 60
SHOWN_ROWS = 3
# What notes that are shown as one have in common.
Key: TypeAlias = tuple[str, ...]
_NO_CONDITION = ("engine", "mode", "ir", "export_warnings")


class Note(msgspec.Struct, frozen=True, kw_only=True):
    """``mark`` is the number that rows carry in their notes column, empty for what concerns the whole table.

    ``about`` are the cases (ids) it concerns, ``fix`` is what to try or type, ``log`` a failure's last output.
    """

    kind: str
    text: str
    fix: str = ""
    log: str = ""
    mark: str = ""
    about: tuple[str, ...] = ()


def collect(
    table: Sequence[Row], run: Run, baseline: str = "", verbose: bool = False, without: Set[Key] = frozenset()
) -> list[Note]:
    """The notes of one table of ``run``: numbered ones (failures, accuracy, warnings) first, then general ones.

    ``baseline`` is what the rows were made with; ``without`` are the notes that shared() has.
    """
    numbered = _numbered(table, verbose, lambda key: key not in without, [str(n) for n in range(1, len(table) * 99)])
    return numbered + [_shown(note) for note in _general(table, run, baseline)]


def shared(tables: Iterable[Sequence[Row]]) -> tuple[frozenset[Key], list[Note]]:
    """The notes that several of the ``tables`` have, each once with a letter for its mark, and what collect() is to
    leave out for them.
    """
    tables = list(tables)
    times = Counter(key for table in tables for key in _keys(table))
    keys = frozenset(key for key, count in times.items() if count > 1)
    if not keys:
        return keys, []
    letters = [*string.ascii_uppercase, *(f"{a}{b}" for a in string.ascii_uppercase for b in string.ascii_uppercase)]
    return keys, _numbered([row for table in tables for row in table], False, lambda key: key in keys, letters)


def _keys(table: Sequence[Row]) -> set[Key]:
    """What the notes of a table have in common with like ones of another."""
    results = {(kind, warnings.mask_numbers(text), hint) for row in table for kind, text, hint in _results_of(row)}
    return results | {warnings.key(warning) for row in table for warning in row.warnings}


def repeated(general: Iterable[Sequence[Note]]) -> list[Note]:
    """The notes without a mark that stand word by word below several tables, each once."""
    times = Counter((note.kind, note.text, note.fix) for notes in general for note in notes if not note.mark)
    return [Note(kind=kind, text=text, fix=fix) for (kind, text, fix), count in times.items() if count > 1]


def _numbered(table: Sequence[Row], verbose: bool, wanted: Callable[[Key], bool], marks: Sequence[str]) -> list[Note]:
    """The notes on failures, accuracy and warnings whose key is ``wanted``, with their ``marks`` in turn."""
    visible = [row for row in table if row.processes or row.failure]
    merged: dict[tuple[str, str, str], list[Row]] = {}
    logs: dict[tuple[str, str, str], str] = {}
    for source in (_results, _warnings):
        for note, members in source(table, visible, verbose, wanted):
            merged.setdefault(note, []).extend(members)
            failure = members[0].failure
            if failure and note[0] == cells.failure(failure):
                logs.setdefault(note, failure.log)
    numbered = []
    in_order = sorted(merged.items(), key=lambda note: table.index(note[1][0]))  # of the rows; stable within a row
    for mark, ((kind, text, fix), members) in zip(marks, in_order, strict=False):
        ids = tuple(dict.fromkeys(row.case for row in members))
        log = logs.get((kind, text, fix), "")
        numbered.append(Note(kind=kind, text=text, fix=fix, log=log, mark=mark, about=ids))
    return [_shown(note) for note in numbered]


def _shown(note: Note) -> Note:
    """The note with texts that a terminal or page can show; logs were cut by the worker."""
    return msgspec.structs.replace(
        note,
        kind=escape.name(note.kind),
        text=escape.lines(note.text),
        fix=escape.lines(note.fix),
        log=escape.lines(note.log, 1 << 20),
    )


def marks(notes: Sequence[Note], row: Row) -> str:
    """The numbers of the notes that concern ``row``: ``1 3``."""
    return " ".join(note.mark for note in notes if note.mark and row.case in note.about)


def of_run(run: Run) -> list[Note]:
    """What concerns the whole run: damage, an early end, a GPU that was not watched, records that no case claims."""
    notes = []
    if run.damage:
        notes.append(Note(kind="damaged", text=run.damage))
    resume = store.resume_command(Path(run.path))
    if run.footer is None:
        notes.append(Note(kind="unfinished", text="the run has no end: it is still going on or was killed", fix=resume))
    elif run.footer.status == "interrupted":
        notes.append(Note(kind="interrupted", text="the run ended before all of its plan was measured", fix=resume))
    failed = {case for (case, _), failure in _last(run).items() if _fails(failure) and _settles(failure)}
    if untried := _untried(run, failed):
        text = (
            f"{cells.count(untried, 'process')} of cases that failed: a case is not tried again once one "
            "of its processes has failed, nor does --resume"
        )
        notes.append(
            Note(kind="not tried", text=text, fix=f"a new run: trtbench run {shlex.quote(run.header.suite_path)}")
        )
    if reasons := dict.fromkeys(r.telemetry.gpu_reason for r in run.records if r.telemetry.gpu_reason):
        text = f"nothing watched the GPU's clocks, power, memory and other users: {'; '.join(reasons)}"
        notes.append(Note(kind="unwatched", text=text, fix="trtbench doctor"))
    cases = {case.id for case in run.header.cases}
    if strangers := sum(record.case not in cases for record in run.records):
        notes.append(
            Note(kind="strangers", text=f"{cells.count(strangers, 'record')} of cases outside the plan are not shown")
        )
    return [_shown(note) for note in notes]


def counts(run: Run) -> str:
    """How much of the plan is done, and how it ended: ``8 of 8 measured``, ``96 of 96 done: 80 measured, 16
    unavailable``, ``1 of 3 done: 1 failed; 2 not tried``.
    """
    totals = _count(run)
    untried = totals.pop("not tried", 0)
    total = f"{totals.total()} of {len(run.header.cases) * run.header.policy.replicates}"
    if set(totals) <= {"measured"}:
        return f"{total} measured"
    summary = ", ".join(f"{totals[how]} {how}" for how in ("measured", "unavailable", "failed") if totals[how])
    return f"{total} done: {summary}" + (f"; {untried} not tried" if untried else "")


def _count(run: Run) -> Counter[str]:
    """The processes of the plan by how they ended; ``not tried`` are the others of the cases that did not succeed."""
    last = _last(run)
    counts: Counter[str] = Counter()
    for failure in last.values():
        counts["failed" if _fails(failure) else "unavailable" if failure else "measured"] += 1
    settled = {case for (case, _), failure in last.items() if _settles(failure)}
    if untried := _untried(run, settled):
        counts["not tried"] = untried
    return counts


def _last(run: Run) -> dict[tuple[str, int], Failure | None]:
    """How each process of the plan ended the last time that it was tried."""
    cases = {case.id for case in run.header.cases}
    return {(record.case, record.replicate): record.failure for record in run.records if record.case in cases}


def _fails(failure: Failure | None) -> bool:
    return failure is not None and failure.kind != "Unavailable"


def _settles(failure: Failure | None) -> bool:
    """Whether a case that ended like this is not tried again."""
    return failure is not None and failure.kind != "DeviceLost"


def _untried(run: Run, cases: Set[str]) -> int:
    """The processes of ``cases`` that have no record."""
    last = _last(run)
    return sum((case, n) not in last for case in cases for n in range(run.header.policy.replicates))


def evidence(table: Sequence[Row]) -> list[str]:
    """What the intervals leave out where figures rest on one process or on different cards, and what cells.ALONE and
    cells.ACROSS say; a line each, none if there is nothing to say.
    """
    lines, left_out = [], "spread between processes is not in the interval"
    if not replicated(table):
        lines += [f"1 process: {left_out}s"] if any(row.processes for row in table) else []
    elif alone := sum(map(_alone, table)):
        who = f"one process, or in a ratio one on a side ({cells.count(alone, 'case')})"
        lines.append(f"{cells.ALONE} {who}: {left_out}")
    if across := sum(bool(row.speed and row.speed.across_devices) for row in table):
        who = f"no card or machine is known to have run both sides ({cells.count(across, 'case')})"
        lines.append(f"{cells.ACROSS} {who}: how two of them differ is not in the interval")
    return lines


def _alone(row: Row) -> bool:
    """Whether a time of ``row``, or a side of its speed, has one process. The row may have more of them: those that
    could not hold the stream have no ``gpu``.
    """
    return any(figure.processes == 1 for figure in row.times.values()) or (row.speed is not None and row.speed.within)


# Kind, text and hint of a note, and the rows that it concerns.
_Numbered: TypeAlias = Iterator[tuple[tuple[str, str, str], list[Row]]]


def _results(table: Sequence[Row], visible: Sequence[Row], verbose: bool, wanted: Callable[[Key], bool]) -> _Numbered:
    """The notes on failures and inaccurate outputs. Those that differ only in numbers become one, the first; each
    stands alone if ``verbose``.
    """
    groups: dict[tuple[str, str, str], list[tuple[str, Row]]] = {}
    for row in table:
        for kind, text, hint in _results_of(row):
            if not wanted((kind, warnings.mask_numbers(text), hint)):
                continue
            key = (kind, text if verbose else warnings.mask_numbers(text), hint)
            groups.setdefault(key, []).append((text, row))
    for (kind, _, hint), members in groups.items():
        yield (kind, members[0][0] + _likewise(members, visible), hint), [row for _, row in members]


def _results_of(row: Row) -> list[tuple[str, str, str]]:
    """Kind, text and hint of a row's failure and of its accuracy, where they are worth a note."""
    notes = []
    if row.failure:
        text = cells.message(row.failure)
        if row.processes:
            text = f"{row.failed} of its processes failed: {text}"
        notes.append((cells.failure(row.failure), text, row.failure.hint))
    if row.score and not row.score.ok:
        kind = "Varies" if row.score.varies else "Inaccurate"
        notes.append((kind, f"{row.score.why or 'outputs differ from the reference'}; not ranked", ""))
    return notes


def _warnings(table: Sequence[Row], visible: Sequence[Row], verbose: bool, wanted: Callable[[Key], bool]) -> _Numbered:
    """The notes on warnings. Those of one kind that differ only in numbers become one, with the span of each number;
    each stands alone if ``verbose``.
    """
    groups: dict[tuple[object, ...], list[tuple[Warning, Row]]] = {}
    for row in table:
        for number, warning in enumerate(row.warnings):
            if not wanted(warnings.key(warning)):
                continue
            key = (row.case, number) if verbose else warnings.key(warning)
            groups.setdefault(key, []).append((warning, row))
    for members in groups.values():
        text, hint = warnings.describe(warnings.merge([warning for warning, _ in members]))
        yield (members[0][0].kind, text + _likewise(members, visible), hint), [row for _, row in members]


def _likewise(members: Sequence[tuple[object, Row]], visible: Sequence[Row]) -> str:
    """Which other rows have a note like the first, or if that is long, how many such notes there are."""
    said, first = members[0]
    variants: list[object] = []
    for other, _ in members:
        if other not in variants:
            variants.append(other)
    if len(variants) == 1:
        return ""
    others = [row for other, row in members if other != said]
    names = ", ".join(dict.fromkeys(_which(row, visible) for row in others if row.case != first.case))
    short = names and len(others) <= SHOWN_ROWS and len(names) <= LONGEST_VALUE
    return f" (likewise {names})" if short else f" (and {len(variants) - 1} like it)"


def _which(row: Row, table: Sequence[Row]) -> str:
    """What tells ``row`` from the others of its table, or of all of them: ``eager fp16 batch=8 graph``."""
    model = [row.model] if len({other.model for other in table}) > 1 else []
    precision = [row.precision] if len({other.precision for other in table}) > 1 else []
    sizes = [
        f"{name}={size}" for name, size in row.symbols.items() if len({other.symbols.get(name) for other in table}) > 1
    ]
    return " ".join(filter(None, [*model, row.backend, *precision, *sizes, row.setting]))


# -------------------------------------------------------------------------------------------- of the table as a whole


def _general(table: Sequence[Row], run: Run, baseline: str) -> list[Note]:
    measured = [row for row in table if row.processes]
    return [
        *_not_run(table, run),
        *_baselines(measured),
        *_no_speed(measured, run, baseline),
        *_no_interval(measured),
        *_read_at(measured, run, baseline),
        *_other_boundary(measured),
        *_fairness(measured),
    ]


def _not_run(table: Sequence[Row], run: Run) -> list[Note]:
    waiting = [row for row in table if not row.processes and not row.failure]
    if not waiting:
        return []
    resume = store.resume_command(Path(run.path))
    return [Note(kind="not run", text=f"{cells.count(len(waiting), 'case')} not measured yet", fix=resume)]


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


def _no_speed(measured: Sequence[Row], run: Run, baseline: str) -> list[Note]:
    """Why rows that rank have no speed: the run lacks the baseline, or a sound one of their sizes."""
    lacking = [row for row in measured if row.ranked and not row.speed]
    if not lacking:
        return []
    name = baseline_label(run, baseline)
    there = dict.fromkeys(row.backend.partition("[")[0] for row in measured if row.ranked)
    others = [backend for backend in there if backend != name]
    if any(is_baseline(case, name) for case in run.header.cases):
        text = f"no accurate {name} of the same sizes and precision (or fp32) at {lacking[0].primary}"
    else:
        text = f"this run has no {name}"
    fix = f"--baseline with one of: {', '.join(others)}" if others else ""
    return [Note(kind="baseline", text=f"{names(lacking)}: {text}, so no speed", fix=fix)]


def _no_interval(measured: Sequence[Row]) -> list[Note]:
    lacking = [row for row in measured if row.speed and row.speed.ratio is None]
    if not lacking:
        return []
    text = f"{names(lacking)}: an interval needs 6 samples on each side, so no speed"
    return [Note(kind="baseline", text=text)]


def _read_at(measured: Sequence[Row], run: Run, baseline: str) -> list[Note]:
    """Where speeds are of another time than a reader would take them for, as the baseline lacks that one."""
    primary = next((row.speed.boundary for row in measured if row.speed), None)
    if primary is None:
        return []
    lacked = [b for b in PRIMARY[: PRIMARY.index(primary)] if any(b in row.times for row in measured)]
    if not lacked:
        return []
    text = (
        f"speed, rank and speed of light are read from {primary}, as {baseline_label(run, baseline)} has no {lacked[0]}"
    )
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
    the row's name says: which mode or frontend it is.
    """
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in measured:
        groups.setdefault((row.precision, str(row.symbols)), []).append(row)
    differing: dict[str, dict[str, list[Row]]] = {}
    for members in groups.values():
        for key in dict.fromkeys(key for row in members for key in row.fairness if _is_condition(key)):
            told = [(row, " or ".join(map(_plain, row.fairness[key]))) for row in members if key in row.fairness]
            if len({value for _, value in told}) > 1:
                for row, value in told:
                    differing.setdefault(key, {}).setdefault(value, []).append(row)
    return [Note(kind="unequal", text=f"{key}: {_values(values)}") for key, values in differing.items()]


def _is_condition(key: str) -> bool:
    return key not in _NO_CONDITION and not key.endswith("_reasons")


def _plain(value: object) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
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


def machine(run: Run) -> str:
    """``Intel Xeon (cpu-x86_64), torch 2.13.0, onnxruntime 1.20``: the default environment in one line."""
    here = run.header.environments.get("default") or next(iter(run.header.environments.values()), None)
    if here is None:
        return "unknown machine"
    return ", ".join([describe_device(here), *_libraries(here)])


def describe_device(here: Environment) -> str:
    """``NVIDIA H100 80GB HBM3 (sm_90), driver 580.95``."""
    return f"{here.device} ({here.arch})" + (f", driver {here.driver}" if here.driver else "")


def toolchains(run: Run) -> list[str]:
    """``@torch22: Python 3.11.2, torch 2.2.0, tensorrt 8.6.1``: what the toolchains hold, less the default one."""
    return [
        ", ".join([f"@{name}: Python {environment.python}", *_libraries(environment)])
        for name, environment in run.header.environments.items()
        if name != "default"
    ]


def _libraries(here: Environment) -> list[str]:
    """The runtimes and their versions; TensorRT by the first of its distributions."""
    tensorrt = next((name for name in (*TENSORRT, *TENSORRT_BINDINGS) if name in here.libraries), "")
    libraries = {"torch": "torch", tensorrt: "tensorrt"}
    libraries |= {name: name for name in ("torch-tensorrt", "onnxruntime", "onnxruntime-gpu")}
    return [f"{text} {here.libraries[name]}" for name, text in libraries.items() if name in here.libraries]
