"""Writes the network programs of cases into folders: source that a user reads, edits and builds engines from."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from bench.analysis import fairness
from bench.backends import base
from bench.errors import ProgramsInterrupted, UsageError
from bench.model.abilities import WritesPrograms
from bench.model.data import digest
from bench.model.program import NetworkProgram
from bench.model.run import Failure, Warning
from bench.model.seam import Stage
from bench.model.suite import Case
from bench.runner import functions, rounds, run
from bench.runner.dispatch import OnEvent
from bench.runner.request import Request
from bench.suite import plan
from bench.system import scratch

PROGRAM, _MANIFEST = "program.py", "manifest.json"
_PART = f".{PROGRAM}."
_WRITTEN = (PROGRAM, "weights.safetensors", _MANIFEST, "engine_*")  # a folder for each engine of several
_ELSEWHERE = "name another folder"
_MODULES = "eager"  # the backend whose packages are all that a program is written with


class _Program(NamedTuple):
    """A case, and the stage that makes its program."""

    case: Case
    stages: Sequence[Stage]


def write(request: Request, out: Path, on_event: OnEvent) -> Iterator[NetworkProgram]:
    """Write the program of each case into ``out``, or where there are several, into a folder of it for each.

    Cases of backends that write none are left out, unless all are. Cases that differ in how their engine is built have
    one program. It is written on the CPU, without the device.

    Raises:
        UsageError: no case is selected, a backend of the cases writes no program, or ``out`` has a program already
            or cannot be written.
        ProgramsInterrupted: a signal ended it.
    """
    plan.check_some(request.plan, fix="trtbench list says why of each")
    _check_folder(out)
    own = [case for case in request.plan.cases if isinstance(base.load(case.backend), WritesPrograms)]
    stages = _stages(own or request.plan.cases)
    folders = _folders([case for case, _ in stages.values()], out)
    for folder in folders.values():
        if (folder / PROGRAM).exists():
            raise _has_one(folder)
    functions.check(request.suite, [_plain(case) for case, _ in stages.values()], metrics=False)
    done = 0
    try:
        for several in _rounds(list(stages.values())):
            yield from _write_all(request, several, folders, rounds.count_from(on_event, done, len(stages)))
            done += len(several)
    except KeyboardInterrupt as error:  # none of these had a program at the beginning
        written = [str(folder) for folder in folders.values() if (folder / PROGRAM).exists()]
        raise ProgramsInterrupted(written, len(folders)) from error


def _write_all(
    request: Request, programs: Mapping[str, _Program], folders: Mapping[str, Path], on_event: OnEvent
) -> Iterator[NetworkProgram]:
    """Make programs, by the ids of the cases whose worker writes them, and copy each into the folder of its case."""
    cases = tuple(_plain(each.case) for each in programs.values())
    labels = {case.label: programs[case.id].case.label for case in cases}
    on_cpu = msgspec.structs.replace(
        request, plan=msgspec.structs.replace(request.plan, cases=cases), device="cpu", device_missing=""
    )
    tell = rounds.relabel(on_event, labels)
    for case, ready in run.make(on_cpu, tell, lambda case: list(programs[case.id].stages), measures=False):
        original, stages = programs[case.id]
        if isinstance(ready, Failure):
            yield NetworkProgram(case=original, failure=ready)
            continue
        folder = folders[original.id]
        try:
            _copy(Path(ready.folders[stages[-1].name]), folder)
        except OSError as error:
            raise UsageError(f"{folder} cannot be written: {error.strerror}", where="out", fix=_ELSEWHERE) from error
        yield NetworkProgram(case=original, folder=str(folder), warnings=_warnings(original, folder))


def _warnings(case: Case, folder: Path) -> tuple[Warning, ...]:
    """What a run of the case would warn of, from the facts beside its program."""
    manifest = msgspec.json.decode((folder / _MANIFEST).read_bytes())
    return fairness.warnings(manifest["facts"], case)


def _rounds(programs: Sequence[_Program]) -> list[dict[str, _Program]]:
    """The programs by the ids of the cases whose worker writes them: those that differ in options alone have one id,
    and are in rounds one after the other.
    """
    rounds: list[dict[str, _Program]] = []
    for each in programs:
        id_ = _plain(each.case).id
        free = next((several for several in rounds if id_ not in several), None)
        if free is None:
            rounds.append(free := {})
        free[id_] = each
    return rounds


def _plain(case: Case) -> Case:
    """The case whose worker writes the program of ``case``: without the device and its packages."""
    return msgspec.structs.replace(case, backend=_MODULES, options={}, toolchain="default", cuda_graph=False)


def _copy(made: Path, folder: Path) -> None:
    """Copy what belongs to a program, its engines' folders too: all of it, or nothing where an OSError or an interrupt
    is raised. A new folder is written beside its place and renamed once it is whole.

    UsageError if another process has written a program there meanwhile, which stays.
    """
    folder = folder.absolute()
    new = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with scratch.folder(folder if folder.exists() else folder.parent, _PART) as part:
            whole = part / "whole"  # with the permissions of a new folder, which a temporary one has not
            whole.mkdir()
            for path in (path for pattern in _WRITTEN for path in made.glob(pattern)):
                if path.is_dir():
                    shutil.copytree(path, whole / path.name, copy_function=shutil.copyfile)
                else:
                    shutil.copyfile(path, whole / path.name)
            if not folder.exists():
                with contextlib.suppress(OSError):  # another process has made the folder meanwhile
                    whole.rename(folder)
                    return
            with _alone_in(folder):
                if (folder / PROGRAM).exists():
                    raise _has_one(folder)
                _move(whole, folder)
    finally:
        for path in new:
            with contextlib.suppress(OSError):
                path.rmdir()  # which only an empty one lets


def _move(part: Path, folder: Path) -> None:
    """Move a whole program. Its source comes last: a folder that has one is complete."""
    for path in sorted(part.iterdir(), key=lambda path: path.name == PROGRAM):
        if path.is_dir():
            shutil.copytree(path, folder / path.name, copy_function=os.replace, dirs_exist_ok=True)
        else:
            path.replace(folder / path.name)


@contextlib.contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """No other process moves a program into ``folder`` in the block, where its file system has locks."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with contextlib.suppress(OSError):
            fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _has_one(folder: Path) -> UsageError:
    what = f"{folder} has a program already, which may have been edited"
    return UsageError(what, where="out", fix="name another folder, or remove that one")


def _check_folder(out: Path) -> None:
    """Refuse a path that is a file, or lies below one or where nothing can be written, before anything is lowered."""
    nearest = next(path for path in (out, *out.absolute().parents) if path.exists())
    if not nearest.is_dir():
        raise UsageError(f"{nearest} is a file, no folder", where="out", fix=_ELSEWHERE)
    try:
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        raise UsageError(f"{nearest} cannot be written: {error.strerror}", where="out", fix=_ELSEWHERE) from error


def _stages(cases: Sequence[Case]) -> dict[str, _Program]:
    """The first case of each program, with its stages, by the digest of the last one's key."""
    stages: dict[str, _Program] = {}
    for case in cases:
        backend = base.load(case.backend)
        if not isinstance(backend, WritesPrograms):
            able = [name for name in base.names() if isinstance(base.load(name), WritesPrograms)]
            raise UsageError(f"{case.backend} writes no network programs", fix=f"--backend {able[0]}")
        program = backend.program(case)
        stages.setdefault(digest(program[-1].key), _Program(case, program))
    return stages


def _folders(cases: Sequence[Case], out: Path) -> dict[str, Path]:
    """A folder of each case's program by the case's id: ``out`` itself for the only one."""
    if len(cases) == 1:
        return {cases[0].id: out}
    names = [_slugs(case) for case in cases]
    uses = Counter(name for several in names for name in dict.fromkeys(several))
    return {
        case.id: out / next((name for name in several if uses[name] == 1), several[-1])
        for case, several in zip(cases, names, strict=True)
    }


def _slugs(case: Case) -> list[str]:
    """Names for the folder of a case's program, the shortest first: ``resnet18-fp16-batch-8``, the label without its
    backend; with it, as of one model several programs differ in its options; the label. All but that have the range of
    a dynamic size in place of the size that is measured: the program takes all of them.
    """
    label = case.label.split("/")
    measured = {f"{name}={case.symbols[name]} of ": f"{name}=" for name in case.dynamic if name in case.symbols}
    parts = [
        next((new + part.removeprefix(old) for old, new in measured.items() if part.startswith(old)), part)
        for part in label
    ]
    short = [part for part in parts if not part.startswith(case.backend)]
    return [re.sub(r"[^\w.]+", "-", "-".join(each)).strip("-") for each in (short, parts, label)]
