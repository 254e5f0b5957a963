"""Writes the network programs of cases into folders: source that a user reads, edits and builds engines from."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from bench.backends import base
from bench.errors import UsageError
from bench.model.data import digest
from bench.model.events import Event, Started
from bench.model.program import Written
from bench.model.run import Failure
from bench.model.seam import Generating, Stage
from bench.model.suite import Case
from bench.runner import run
from bench.runner.dispatch import OnEvent
from bench.runner.request import Request
from bench.suite import plan

PROGRAM = "program.py"
_WRITTEN = (PROGRAM, "weights.safetensors", "manifest.json", "engine_*")  # a folder for each engine of several
_ELSEWHERE = "another --out DIR"
_MODULES = "eager"  # the backend whose packages are all that a program is written with


def write(request: Request, out: Path, on_event: OnEvent) -> Iterator[Written]:
    """Write the program of each case into ``out``, or where there are several, into a folder of it for each.

    Cases of backends that write none are left out, unless all are. Cases that differ in how their engine is built have
    one program. It is written on the CPU, without the device.

    Raises:
        UsageError: no case is selected, a backend of the cases writes no program, or ``out`` has a program already
            or cannot be written.
    """
    plan.check_some(request.plan)
    _check_folder(out)
    own = [case for case in request.plan.cases if isinstance(base.load(case.backend), Generating)]
    stages = _stages(own or request.plan.cases)
    folders = {case.id: out for case, _ in stages.values()} if len(stages) == 1 else _folders(out, stages)
    for folder in folders.values():
        if (folder / PROGRAM).exists():
            what = f"{folder} has a program already, which may have been edited"
            raise UsageError(what, fix="another --out DIR, or remove that folder")
    for wave in _waves(list(stages.values())):
        yield from _write(request, wave, folders, on_event)


def _write(
    request: Request, wave: Mapping[str, tuple[Case, Sequence[Stage]]], folders: Mapping[str, Path], on_event: OnEvent
) -> Iterator[Written]:
    """Write programs, by the ids of the cases that stand for them where they are written."""
    cases = tuple(_on_cpu(case) for case, _ in wave.values())
    on_cpu = msgspec.structs.replace(
        request, plan=msgspec.structs.replace(request.plan, cases=cases), device="cpu", device_missing=""
    )
    labels = {case.label: wave[case.id][0].label for case in cases}

    def tell(event: Event) -> None:
        """Pass an event on under the case's own label."""
        if isinstance(event, Started):
            event = msgspec.structs.replace(event, label=labels[event.label])
        on_event(event)

    for case, ready in run.make(on_cpu, tell, lambda case: list(wave[case.id][1])):
        original, stages = wave[case.id]
        if isinstance(ready, Failure):
            yield Written(case=original, failure=ready)
            continue
        folder = folders[original.id]
        try:
            _copy(Path(ready.folders[stages[-1].name]), folder)
        except OSError as error:
            raise UsageError(f"{folder} cannot be written: {error.strerror}", where="--out", fix=_ELSEWHERE) from error
        yield Written(case=original, folder=str(folder))


def _on_cpu(case: Case) -> Case:
    """The case that a program is written as."""
    return msgspec.structs.replace(case, backend=_MODULES, options={}, toolchain="default", cuda_graph=False)


def _waves(programs: Sequence[tuple[Case, Sequence[Stage]]]) -> list[dict[str, tuple[Case, Sequence[Stage]]]]:
    """The programs in groups of which each is written as a case of its own: those of one model that differ in options
    are one case where they are written.
    """
    waves: list[dict[str, tuple[Case, Sequence[Stage]]]] = []
    for case, stages in programs:
        key = _on_cpu(case).id
        wave = next((each for each in waves if key not in each), None)
        if wave is None:
            waves.append(wave := {})
        wave[key] = (case, stages)
    return waves


def _copy(made: Path, folder: Path) -> None:
    """Copy what belongs to a program, its engines' folders too."""
    folder.mkdir(parents=True, exist_ok=True)
    for path in (path for pattern in _WRITTEN for path in made.glob(pattern)):
        if path.is_dir():
            shutil.copytree(path, folder / path.name, copy_function=shutil.copyfile, dirs_exist_ok=True)
        else:
            shutil.copyfile(path, folder / path.name)


def _check_folder(out: Path) -> None:
    """Refuse a path that is a file, or lies below one, before anything is lowered."""
    nearest = next(path for path in (out, *out.absolute().parents) if path.exists())
    if not nearest.is_dir():
        raise UsageError(f"{nearest} is a file, no folder", where="--out", fix=_ELSEWHERE)


def _stages(cases: Sequence[Case]) -> dict[str, tuple[Case, Sequence[Stage]]]:
    """The first case of each program, with its stages, by the digest of the last one's key."""
    stages: dict[str, tuple[Case, Sequence[Stage]]] = {}
    for case in cases:
        backend = base.load(case.backend)
        if not isinstance(backend, Generating):
            able = [name for name in base.names() if isinstance(base.load(name), Generating)]
            raise UsageError(f"{case.backend} writes no network programs", fix=f"--backend {able[0]}")
        program = backend.program(case)
        stages.setdefault(digest(program[-1].key), (case, program))
    return stages


def _folders(out: Path, stages: Mapping[str, tuple[Case, Sequence[Stage]]]) -> dict[str, Path]:
    """A folder for each program by its case's id: with the backend's options in its name where it needs them."""
    cases = [case for case, _ in stages.values()]
    counts = Counter(_slug(case) for case in cases)
    return {case.id: out / _slug(case, with_options=counts[_slug(case)] > 1) for case in cases}


def _slug(case: Case, *, with_options: bool = False) -> str:
    """``resnet18-fp16-batch-8``: the label without its backend."""
    parts = [part for part in case.label.split("/") if with_options or not part.startswith(case.backend)]
    return re.sub(r"[^\w.]+", "-", "-".join(parts)).strip("-")
