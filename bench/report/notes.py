"""What a reader must know below a table: failures, inaccurate cases, warnings, unequal conditions, missing evidence."""

from __future__ import annotations

import itertools
import string
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence, Set
from typing import TypeAlias

from bench.analysis.distinct import key_of_warning
from bench.analysis.flaws import CHANGING
from bench.analysis.rows import Row
from bench.model.distributions import TENSORRT, TENSORRT_BINDINGS
from bench.model.run import Environment, Run, Warning
from bench.report import cells, warnings
from bench.report.note import Note, printable_note
from bench.report.table_notes import LONGEST_VALUE, SHOWN_ROWS, Reference, general, names

# What notes that are shown as one have in common.
Key: TypeAlias = tuple[str, ...]


def collect(
    table: Sequence[Row],
    of: Reference,
    verbose: bool = False,
    without: Set[Key] = frozenset(),
    *,
    named: bool = False,
) -> list[Note]:
    """The notes of one table: numbered ones (failures, accuracy, warnings) first, then general ones.

    ``of`` is what its rows were made with; ``without`` are the notes that shared_notes() has; ``named`` says that
    names() of the rows stand before each numbered note, so that its text need not repeat them.
    """
    numbered = _numbered(table, verbose, lambda key: key not in without, map(str, itertools.count(1)), named)
    return numbered + [printable_note(note) for note in general(table, of)]


def shared_notes(tables: Iterable[Sequence[Row]]) -> tuple[frozenset[Key], list[Note]]:
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
    return results | {warnings.key(warning) for row in table for warning in _warnings_of(row)}


def repeated_notes(general: Iterable[Sequence[Note]]) -> list[Note]:
    """The notes without a mark that stand word by word below several tables, each once."""
    times = Counter((note.kind, note.text, note.fix) for notes in general for note in notes if not note.mark)
    return [Note(kind=kind, text=text, fix=fix) for (kind, text, fix), count in times.items() if count > 1]


def _numbered(
    table: Sequence[Row], verbose: bool, wanted: Callable[[Key], bool], marks: Iterable[str], named: bool = False
) -> list[Note]:
    """The notes on failures, accuracy and warnings whose key is ``wanted``, with their ``marks`` in turn."""
    titles = _Titles([row for row in table if row.processes or row.failure], named)
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


def marks(notes: Iterable[Note]) -> dict[str, str]:
    """By case (id) the numbers of the notes that concern it: ``1 3``."""
    numbers: dict[str, list[str]] = {}
    for note in notes:
        for case in note.about if note.mark else ():
            numbers.setdefault(case, []).append(note.mark)
    return {case: " ".join(of_case) for case, of_case in numbers.items()}


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
        text = row.failure.text
        if row.processes:
            text = f"{row.failed} of its {cells.count(row.records, 'process')} failed: {text}"
        notes.append((cells.failure(row.failure), text, row.failure.hint))
    if row.score and not row.score.ok:
        kind = "Varies" if row.score.varies else "Inaccurate"
        hint = next((warnings.describe(each).hint for each in row.warnings if _repeats_accuracy(each, row)), "")
        notes.append((kind, f"{row.score.why or 'outputs differ from the reference'}; not ranked", hint))
    return notes


def _warnings_of(row: Row) -> list[Warning]:
    """Those that are worth a note of their own."""
    return [warning for warning in row.warnings if not _repeats_accuracy(warning, row)]


def _repeats_accuracy(warning: Warning, row: Row) -> bool:
    """Whether the note on the accuracy of ``row`` says what the warning does: that calls are not alike."""
    return row.score is not None and row.score.varies and warning.kind in CHANGING


def _warnings(table: Sequence[Row], titles: _Titles, verbose: bool, wanted: Callable[[Key], bool]) -> _Numbered:
    """The notes on warnings. Those of one kind that differ only in numbers become one, with the span of each number;
    each stands alone if ``verbose``.
    """
    groups: dict[tuple[object, ...], list[tuple[Warning, Row]]] = {}
    for row in table:
        for number, warning in enumerate(_warnings_of(row)):
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
    if titles.are_named([row for _, row in members]):
        return ""
    if len(others) <= SHOWN_ROWS:
        likewise = ", ".join(dict.fromkeys(titles.of(row) for row in others if row.case != first.case))
        if likewise and len(likewise) <= LONGEST_VALUE:
            return f" (likewise {likewise})"
    return f" (and {variants - 1} like it)"


class _Titles:
    """What tells a row from the others of a table, or of all of them: ``eager fp16 batch=8 graph``. ``named`` as for
    collect().
    """

    def __init__(self, table: Sequence[Row], named: bool) -> None:
        self._named = named
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

    def are_named(self, members: Sequence[Row]) -> bool:
        """Whether names() of ``members`` stand before their note, each by itself and all of them."""
        cases = {row.case for row in members}
        return self._named and len(cases) <= SHOWN_ROWS and len({names([row]) for row in members}) == len(cases)


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
