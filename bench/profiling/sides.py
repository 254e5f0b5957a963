"""The two cases that an explanation names, in files of profiles, or of layers as `trtbench layers` prints them."""

from __future__ import annotations

import itertools
import os
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from bench.analysis import explain_notes, profile_sources, siblings
from bench.analysis.explain_sides import Side
from bench.errors import StoreError, UsageError, did_you_mean
from bench.model.folders import RESULTS
from bench.model.profile import CaseProfile, CondensedProfile, Layers, Profile
from bench.model.run import Environment
from bench.model.suite import BETWEEN_PARTS
from bench.profiling import measured
from bench.store import documents, files, profiles

_LEAST_DIGITS = 4
_LISTED = 8
_SEARCHED = 20  # files of profiles that are read to say where a case is
_LARGEST_FILE = 1 << 28  # bytes


class _Engine(Layers, frozen=True, kw_only=True):
    """The layers of one case, as `trtbench layers --format json` prints them."""

    case: str
    label: str


class _Printed(msgspec.Struct):
    """All of that."""

    schema: int
    cases: list[_Engine]


class Pair(NamedTuple):
    """Two sides. ``runs`` are those that ``measured`` of both is from, by boundary; empty without one. ``source`` says
    why they are not of the newest profiles, empty where they are or a file was named.
    """

    a: Side
    b: Side
    runs: Mapping[str, str] = {}
    source: str = ""


class _Word(NamedTuple):
    """A side as it was typed: the whole word, the case's name in it, and the file, where it names one."""

    text: str
    name: str
    path: Path | None


class _File(NamedTuple):
    """The cases of a file, and the machine that they were profiled on, if it says so."""

    path: Path
    cases: list[CaseProfile]
    environment: Environment | None = None


def find(a: str, b: str, store: Path, file: str = "", runs: Sequence[str] = ()) -> Pair:
    """The sides that ``a`` and ``b`` name: FILE:CASE, FILE of a single case, or CASE of ``file`` (by default A's file,
    else the newest in ``store`` that have both cases, or the newest of all if none have), with what the newest of
    ``runs`` measured of both, by default the newest beside the profiles or in ``store``, if they are of one model of
    device.

    A CASE is a label, an id or the beginning of one, or a part of a label that no other case has. StoreError for a file
    that cannot be read; UsageError if no case or several fit, if it failed, if both are one, or if one of ``runs`` has
    not measured both.
    """
    paths = [files.resolve(store, name) for name in runs]
    path_a, name_a = _split(a, store)
    path_b, name_b = _split(b, store)
    first, source = path_a or profiles.resolve(store, file or None), ""
    if path_a is None and not file:
        first, source = _complete(first, [name_a] if path_b else [name_a, name_b], store)
    of_a = _read(first)
    second = path_b or first
    wanted = [_Word(a, name_a, path_a), _Word(b, name_b, path_b)]
    _refuse_elsewhere(of_a.cases, wanted, first, store)
    case_a = _choose(of_a.cases, name_a, first)
    side_a = _side(case_a, first)
    of_b = of_a if second == first else _read(second)
    case_b = _choose(of_b.cases, name_b, second)
    side_b = _side(case_b, second)
    if case_a.case == case_b.case and first.resolve() == second.resolve():
        others = ", ".join([case.label for case in of_a.cases if case.case != case_a.case][:_LISTED])
        fix = f"name another: {others}" if others else "name a case of another file: FILE:CASE"
        raise UsageError(f"A and B are one and the same case, {case_a.label}", where=str(first), fix=fix)
    # Printed layers do not name their device: a run that has both cases is of the other side's.
    one, other = of_a.environment or of_b.environment, of_b.environment or of_a.environment
    if one is None or other is None or (one.arch, one.slug) != (other.arch, other.slug):
        if paths:
            what = "no device is recorded that both cases were profiled on, so --run cannot apply"
            raise UsageError(what, where="--run", fix="leave --run out")
        return Pair(side_a, side_b, source=source)
    folders = {folder.absolute() for folder in (first.parent, second.parent, store / one.arch / one.slug)}
    of = case_a.case, case_b.case
    times = measured.of_runs(paths, one, *of) if paths else measured.newest(folders, one, *of)
    return Pair(
        msgspec.structs.replace(side_a, measured=times.a, flaw=times.flaw_a),
        msgspec.structs.replace(side_b, measured=times.b, flaw=times.flaw_b),
        times.runs,
        source,
    )


def _complete(newest: Path, texts: Sequence[str], store: Path) -> tuple[Path, str]:
    """The newest profiles that have both of these cases, as the dashboard takes them, and a sentence where they are not
    the ``newest``; those where none have.
    """
    lack = ""
    try:
        whole = _read(newest)
    except StoreError as error:
        lack = f"cannot be read ({error.what})"
    else:
        if not all(_fitting(whole.cases, text) for text in texts):
            lack = "have not all of these cases"
        elif failed := [each for text in texts if (each := _failed(whole.cases, text))]:
            lack = f"have no profile of {failed[0].label}, which failed"
    if not lack:
        return newest, ""
    others = [path for path in profiles.files(store)[:_SEARCHED] if path != newest]
    older = profile_sources.sources(_readable(others), _names_profile, texts[0], texts[-1]).both
    if older is None:
        return newest, ""
    # By their ids the cases may have a newer profile in a file where their names fit several.
    ids = [_fitting(older.cases, text)[0].case for text in texts]
    beside = [path for path in others if path.parent == older.path.parent]
    path = (profile_sources.sources(_readable(beside), _has_profile, ids[0], ids[-1]).both or older).path
    return path, f"profiles are those of {path.stem}, as the newest, {newest.stem}, {lack}"


def _readable(paths: Iterable[Path]) -> Iterator[_File]:
    """The files that can be read, each when its turn comes."""
    for path in paths:
        try:
            yield _read(path)
        except StoreError:
            continue  # cut off as well, or for a hint alone


def _has_profile(file: _File, case: str) -> bool:
    """Whether a file has a profile of the case with this id."""
    return any(each.case == case and each.condensed is not None for each in file.cases)


def _names_profile(file: _File, text: str) -> bool:
    """Whether a text names several cases of a file, or one that has a profile."""
    return bool(_fitting(file.cases, text)) and not _failed(file.cases, text)


def _failed(cases: Sequence[CaseProfile], text: str) -> CaseProfile | None:
    """The case that a text names, if it has no profile; None where it names several."""
    several = _fitting(cases, text)
    return several[0] if len(several) == 1 and several[0].condensed is None else None


def _read(path: Path) -> _File:
    """The cases of a file. StoreError if it has neither profiles nor layers."""
    if path.suffix == ".jsonl":
        raise StoreError(
            "a run, which has no profiles", where=str(path), fix="profile its cases: trtbench profile SUITE"
        )
    try:
        with path.open("rb") as file:
            printed = msgspec.json.decode(file.read(_LARGEST_FILE), type=_Printed)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OSError):
        whole = siblings.with_names(profiles.read(path))  # whose errors are about profiles, the usual kind
        return _File(path, list(whole.cases), whole.environments.get("default"))
    cases = [
        CaseProfile(
            case=engine.case,
            label=engine.label,
            condensed=CondensedProfile(
                profile=Profile(tool="layers", case=engine.case, label=engine.label, layers=engine)
            ),
        )
        for engine in printed.cases
    ]
    return _File(path, cases)


def _split(text: str, store: Path) -> tuple[Path | None, str]:
    """``FILE:CASE`` -> its file and ``CASE``; options in labels have colons too. Without a file None."""
    if os.path.isfile(text):
        return Path(text), ""
    stems = [path.stem for path in profiles.files(store)]
    at = -1
    while (at := text.find(":", at + 1)) >= 0:
        name = text[:at]
        if os.path.isfile(name) or any(documents.fits(name, stem, profiles.KIND) for stem in stems if name):
            return profiles.resolve(store, name), text[at + 1 :]
    if any(text == stem for stem in stems):
        return profiles.resolve(store, text), ""
    if text.partition(":")[0].endswith(".json"):
        raise StoreError("there is no such file", where=text.partition(":")[0], fix="name another, or leave it out")
    return None, text


def _refuse_elsewhere(cases: Sequence[CaseProfile], words: Sequence[_Word], path: Path, store: Path) -> None:
    """UsageError, with the command to type, if a case that is to be of this file is in another one, or in none."""
    of_file = [words[0], *(word for word in words[1:] if word.path is None)]
    lacking = [word.name for word in of_file if word.name and not _fitting(cases, word.name)]
    if not lacking:
        return
    command = ["trtbench", "explain"]
    options = [] if store == Path(RESULTS) else ["--store", str(store)]
    names = [word.name for word in words]
    if not any(word.path for word in words) and (other := _elsewhere(names, path, store)):
        fix = shlex.join([*command, *names, "--in", other, *options])
        raise UsageError(f"no case {lacking[0]!r}; {other} has both", where=str(path), fix=fix)
    homes = {name: _elsewhere([name], path, store) for name in lacking}
    if nowhere := [name for name, home in homes.items() if not home]:
        _choose(cases, nowhere[0], path)
    here = path.stem if path in profiles.files(store) else str(path)
    of_home = {home: _read(profiles.resolve(store, home)).cases for home in set(homes.values())}
    files, several = [], []
    for word in words:
        home = homes.get(word.name, "") if word in of_file else ""
        files.append(f"{home or here}:" if home or not word.path else "")
        own = cases if word in of_file or word.path is None else _read(word.path).cases
        several.append(_fitting(of_home[home] if home else own, word.name))
    names, labels = _alike([word.name for word in words], several)
    options += [part for name in explain_notes.across(labels[0], labels[-1]) for part in ("--across", name)]
    command += [file + name if file else word.text for file, name, word in zip(files, names, words, strict=True)]
    what = f"no case {lacking[0]!r}, which {homes[lacking[0]]} has"
    for word, file, fitting in zip(words, files, several, strict=True):
        if file and len(fitting) > 1:
            what += f"; {word.name!r} fits {len(fitting)} cases of {file[:-1]}, of which the command names one"
    raise UsageError(what, where=str(path), fix=shlex.join([*command, *options]))


def _alike(names: Sequence[str], several: Sequence[Sequence[CaseProfile]]) -> tuple[list[str], list[str]]:
    """The names, but labels in place of those that fit several cases: of all choices the one whose labels have most
    parts in common, e.g. one precision and one batch size; and all labels.
    """
    choices: list[list[tuple[str, str]]] = []  # what is printed, and the label that it stands for
    for name, fitting in zip(names, several, strict=True):
        labels = [each.label for each in fitting if each.condensed is not None] if len(fitting) > 1 else []
        one = (name, fitting[0].label if fitting else name)
        choices.append([(label, label) for label in labels] or [one])
    best = max(
        itertools.product(*choices),
        key=lambda words: len(set.intersection(*(set(BETWEEN_PARTS.split(label)) for _, label in words))),
    )
    return [word for word, _ in best], [label for _, label in best]


def _choose(cases: Sequence[CaseProfile], text: str, path: Path) -> CaseProfile:
    """The case that ``text`` names."""
    labels = [case.label for case in cases]
    listed = ", ".join(labels[:_LISTED]) + (f" and {len(labels) - _LISTED} more" if len(labels) > _LISTED else "")
    if not text:
        if len(cases) == 1:
            return cases[0]
        what = f"it has {len(cases)} cases: {listed}" if cases else "it has no cases"
        raise UsageError(what, where=str(path), fix=f"name one: {path}:{labels[0]}" if cases else "name another file")
    fitting = _fitting(cases, text)
    if len(fitting) == 1:
        return fitting[0]
    if fitting:
        several = ", ".join(case.label for case in fitting[:_LISTED])
        raise UsageError(
            f"{text!r} fits {len(fitting)} cases: {several}", where=str(path), fix="a whole label, or an id"
        )
    what = f"no case {text!r}.{did_you_mean(text, labels)}"
    raise UsageError(what, where=str(path), fix=f"it has {listed}" if labels else "name another file")


def _fitting(cases: Sequence[CaseProfile], text: str) -> list[CaseProfile]:
    """The cases that a text names: by the whole label or id, else the beginning of an id, parts, or a piece of one."""
    fitting = [case for case in cases if text in (case.label, case.case)]
    if not fitting and len(text) >= _LEAST_DIGITS:
        fitting = [case for case in cases if case.case.startswith(text)]
    if not fitting:
        parts = set(BETWEEN_PARTS.split(text))
        fitting = [case for case in cases if parts <= set(BETWEEN_PARTS.split(case.label))]
    return fitting or [case for case in cases if text in case.label]


def _elsewhere(texts: Sequence[str], path: Path, store: Path) -> str:
    """The name of the newest other profiles in the store of such cases; empty if there are none."""
    others = (other for other in profiles.files(store)[:_SEARCHED] if other.name != path.name)
    file = profile_sources.sources(_readable(others), _names_profile, texts[0], texts[-1]).both
    return file.path.stem if file else ""


def _side(case: CaseProfile, path: Path) -> Side:
    if case.condensed is None:
        what = f"{case.label} could not be profiled" + (f": {case.failure.message}" if case.failure else "")
        raise UsageError(what, where=str(path), fix="profile it again: trtbench profile SUITE")
    return profile_sources.side(case)
