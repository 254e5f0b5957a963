"""What a reader must know below a table: failures, inaccurate cases, warnings, unequal conditions, missing evidence."""

from __future__ import annotations

import itertools
import string
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence, Set
from pathlib import Path
from typing import TypeAlias

import msgspec

from bench import store
from bench.analysis import conditions
from bench.analysis.distinct import key_of_warning
from bench.analysis.rows import PRIMARY, Row, baseline_label, has_replicates
from bench.analysis.speed import is_baseline
from bench.model.distributions import TENSORRT, TENSORRT_BINDINGS
from bench.model.run import Environment, Run, Warning
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


class Reference(msgspec.Struct, frozen=True):
    """What the rows of a run's tables were made with: the ``baseline``, whether a case of the run is of it, and the
    command that resumes the run.
    """

    baseline: str
    exists: bool
    resume: str


def reference(run: Run, baseline: str = "") -> Reference:
    """That of ``run`` with ``baseline``, as for rows()."""
    label = baseline_label(run, baseline)
    exists = any(is_baseline(case, label) for case in run.header.cases)
    return Reference(label, exists, store.resume_command(Path(run.path)))


def collect(table: Sequence[Row], of: Reference, verbose: bool = False, without: Set[Key] = frozenset()) -> list[Note]:
    """The notes of one table: numbered ones (failures, accuracy, warnings) first, then general ones.

    ``of`` is what its rows were made with; ``without`` are the notes that shared() has.
    """
    numbered = _numbered(table, verbose, lambda key: key not in without, map(str, itertools.count(1)))
    return numbered + [printable_note(note) for note in _general(table, of)]


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


def _numbered(table: Sequence[Row], verbose: bool, wanted: Callable[[Key], bool], marks: Iterable[str]) -> list[Note]:
    """The notes on failures, accuracy and warnings whose key is ``wanted``, with their ``marks`` in turn."""
    titles = _Titles([row for row in table if row.processes or row.failure])
    merged: dict[tuple[str, str, str], list[Row]] = {}
    logs: dict[tuple[str, str, str], str] = {}
    for source in (_results, _warnings):
        for note, members in source(table, titles, verbose, wanted):
            merged.setdefault(note, []).extend(members)
            failure = members[0].failure
            if failure and note[0] == cells.failure(failure):
                logs.setdefault(note, failure.log)
    numbered = []
    places = {row.case: place for place, row in enumerate(table)}
    in_order = sorted(merged.items(), key=lambda note: places[note[1][0].case])  # of the rows; stable within a row
    for mark, ((kind, text, fix), members) in zip(marks, in_order, strict=False):
        ids = tuple(dict.fromkeys(row.case for row in members))
        log = logs.get((kind, text, fix), "")
        numbered.append(Note(kind=kind, text=text, fix=fix, log=log, mark=mark, about=ids))
    return [printable_note(note) for note in numbered]


def printable_note(note: Note) -> Note:
    """The note with texts that a terminal or page can show; logs were cut by the worker."""
    return msgspec.structs.replace(
        note,
        kind=escape.name(note.kind),
        text=escape.lines(note.text),
        fix=escape.lines(note.fix),
        log=escape.lines(note.log, 1 << 20),
    )


def marks(notes: Iterable[Note]) -> dict[str, str]:
    """By case (id) the numbers of the notes that concern it: ``1 3``."""
    numbers: dict[str, list[str]] = {}
    for note in notes:
        for case in note.about if note.mark else ():
            numbers.setdefault(case, []).append(note.mark)
    return {case: " ".join(of_case) for case, of_case in numbers.items()}


def evidence(table: Sequence[Row]) -> list[str]:
    """What the intervals leave out where figures rest on one process or on different cards, and what cells.ALONE and
    cells.ACROSS say; a line each, none if there is nothing to say.
    """
    lines, left_out = [], "spread between processes is not in the interval"
    if not has_replicates(table):
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


def _results(table: Sequence[Row], titles: _Titles, verbose: bool, wanted: Callable[[Key], bool]) -> _Numbered:
    """The notes on failures and inaccurate outputs. Those that differ only in numbers become one, the first; each
    stands alone if ``verbose``.
    """
    groups: dict[tuple[str, str, str], list[tuple[str, Row]]] = {}
    for row in table:
        for kind, text, hint in _results_of(row):
            masked = (kind, warnings.mask_numbers(text), hint)
            if wanted(masked):
                groups.setdefault((kind, text, hint) if verbose else masked, []).append((text, row))
    for (kind, _, hint), members in groups.items():
        yield (kind, members[0][0] + _likewise(members, titles), hint), [row for _, row in members]


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


def _warnings(table: Sequence[Row], titles: _Titles, verbose: bool, wanted: Callable[[Key], bool]) -> _Numbered:
    """The notes on warnings. Those of one kind that differ only in numbers become one, with the span of each number;
    each stands alone if ``verbose``.
    """
    groups: dict[tuple[object, ...], list[tuple[Warning, Row]]] = {}
    for row in table:
        for number, warning in enumerate(row.warnings):
            common = warnings.key(warning)
            if wanted(common):
                groups.setdefault((row.case, number) if verbose else common, []).append((warning, row))
    for members in groups.values():
        text, hint = warnings.describe(warnings.merge([warning for warning, _ in members]))
        variants = [(key_of_warning(warning), row) for warning, row in members]
        yield (members[0][0].kind, text + _likewise(variants, titles), hint), [row for _, row in members]


def _likewise(members: Sequence[tuple[Hashable, Row]], titles: _Titles) -> str:
    """Which other rows have a note like the first, or if that is long, how many such notes there are."""
    said, first = members[0]
    variants = len({other for other, _ in members})
    if variants == 1:
        return ""
    others = [row for other, row in members if other != said]
    if len(others) <= SHOWN_ROWS:
        names = ", ".join(dict.fromkeys(titles.of(row) for row in others if row.case != first.case))
        if names and len(names) <= LONGEST_VALUE:
            return f" (likewise {names})"
    return f" (and {variants - 1} like it)"


class _Titles:
    """What tells a row from the others of a table, or of all of them: ``eager fp16 batch=8 graph``."""

    def __init__(self, table: Sequence[Row]) -> None:
        self._several_models = len({row.model for row in table}) > 1
        self._several_precisions = len({row.precision for row in table}) > 1
        sizes: dict[str, list[int]] = {}
        for row in table:
            for name, size in row.symbols.items():
                sizes.setdefault(name, []).append(size)
        self._telling = {name for name, of in sizes.items() if len(of) < len(table) or len(set(of)) > 1}

    def of(self, row: Row) -> str:
        """The title of one row."""
        model = [row.model] if self._several_models else []
        precision = [row.precision] if self._several_precisions else []
        sizes = [f"{name}={size}" for name, size in row.symbols.items() if name in self._telling]
        return " ".join(filter(None, [*model, row.backend, *precision, *sizes, row.setting]))


# -------------------------------------------------------------------------------------------- of the table as a whole


def _general(table: Sequence[Row], of: Reference) -> list[Note]:
    measured = [row for row in table if row.processes]
    return [
        *_not_run(table, of),
        *_baselines(measured),
        *_no_speed(measured, of),
        *_no_interval(measured),
        *_read_at(measured, of),
        *_other_boundary(measured),
        *_fairness(measured),
    ]


def _not_run(table: Sequence[Row], of: Reference) -> list[Note]:
    waiting = [row for row in table if not row.processes and not row.failure]
    if not waiting:
        return []
    return [Note(kind="not run", text=f"{cells.count(len(waiting), 'case')} not measured yet", fix=of.resume)]


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


def _no_speed(measured: Sequence[Row], of: Reference) -> list[Note]:
    """Why rows that rank have no speed: the run lacks the baseline, or a sound one of their sizes."""
    lacking = [row for row in measured if row.ranked and not row.speed]
    if not lacking:
        return []
    name = of.baseline
    there = dict.fromkeys(row.backend.partition("[")[0] for row in measured if row.ranked)
    others = [backend for backend in there if backend != name]
    if of.exists:
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
