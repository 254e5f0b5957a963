"""Keeps the code that compilers write for the cases of a plan, in a folder that the user names; measures nothing."""

from __future__ import annotations

import datetime
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

import msgspec

import bench
from bench.backends import base
from bench.errors import StoreError
from bench.model.abilities import WritesCode
from bench.model.code import ABOUT, FILES, CaseCode, Code, CodeFile, CodeIndex
from bench.model.events import Started
from bench.model.run import Failure
from bench.model.seam import Stage
from bench.model.suite import Case
from bench.runner.dispatch import OnEvent
from bench.runner.request import Request
from bench.runner.run import new_session
from bench.runner.session import Session
from bench.runner.stages import Ready
from bench.runtimes.cpp import building
from bench.system.signals import stoppable

_NONE = "{backend} compiles no code that can be kept: inductor and aoti do"
_RUNNER_NOTE = f"the C++ program that runs the case, in {building.STAGE}/: sh {building.COMMANDS} there builds it again"
_RUNNER_KINDS = {
    ".cpp": "C++ runner: source",
    ".h": "C++ runner: source",
    ".sh": "C++ runner: the commands that built it",
}
_REFERENCE = "reference"


def keep(request: Request, folder: Path, on_event: OnEvent) -> CodeIndex:
    """The code of each case of ``request`` in a folder of its own below ``folder``, which exists. What is not in the
    cache is made. A case whose code cannot be had says why.

    KeyboardInterrupt after a signal; StoreError if ``folder`` cannot be written.
    """
    settings = msgspec.structs.replace(request.settings, prestart=1, cold=False, rebuild=False)
    request = msgspec.structs.replace(request, settings=settings)
    cases: list[CaseCode] = []
    with (
        new_session(request, on_event, device="cpu" if request.device_missing else None) as session,
        stoppable() as ignore_signals,
    ):
        session.open()
        for number, case in enumerate(request.plan.cases):
            on_event(Started(label=case.label, done=number, total=len(request.plan.cases)))
            cases.append(_of_case(session, case, folder, request.device_missing))
        ignore_signals()
    return CodeIndex(
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        version=bench.__version__,
        suite=request.suite.name,
        cases=tuple(cases),
    )


def folder_of(case: Case) -> str:
    """A name for the folder of ``case``: its label in letters that every file system takes, and the start of its id."""
    return f"{re.sub(r'[^A-Za-z0-9._=+-]+', '-', case.label).strip('-.')[:120]}-{case.id[:8]}"


def _of_case(session: Session, case: Case, folder: Path, device_missing: str) -> CaseCode:
    backend = base.load(case.backend)
    alone = CaseCode(case=case.id, label=case.label)
    stages = backend.stages(case)
    stage = backend.code(case) if isinstance(backend, WritesCode) else None
    runner = next((each for each in stages if each.name == building.STAGE), None)
    wanted = [each for each in (stage, runner) if each is not None]
    if not wanted:
        return msgspec.structs.replace(alone, why=_NONE.format(backend=case.backend))
    if device_missing and any(each.per_device for each in wanted):
        return msgspec.structs.replace(alone, why=device_missing)
    needed = _needed(stages, stage) if stage else [each for each in stages if each.name == _REFERENCE]
    end = session.artifacts(case, [*needed, *([runner] if runner else [])])
    if isinstance(end, Failure):
        return msgspec.structs.replace(alone, why=f"{end.kind}: {end.message}")
    assert isinstance(end, Ready)  # what is made alone is not postponed
    own, code = folder / folder_of(case), Code()
    try:
        shutil.rmtree(own, ignore_errors=True)
        if stage is not None:
            payload = Path(end.folders[stage.name])
            code = msgspec.json.decode((payload / ABOUT).read_bytes(), type=Code)
            shutil.copytree(payload / FILES, own)
        if runner is not None:
            building.copy_sources(Path(end.folders[runner.name]), own / building.STAGE)
            code = _with_runner(code, own)
    except OSError as error:
        raise StoreError(f"the code of {case.label} cannot be written: {error.strerror}", where=str(own)) from error
    return msgspec.structs.replace(alone, folder=own.name, code=code)


def _with_runner(code: Code, own: Path) -> Code:
    """``code`` with the files of the C++ program, which lie in ``own`` already."""
    files = [
        CodeFile(
            path=str(path.relative_to(own)),
            what=_RUNNER_KINDS.get(path.suffix, "C++ runner: how CMake builds it"),
            bytes=path.stat().st_size,
        )
        for path in sorted((own / building.STAGE).rglob("*"))
        if path.is_file()
    ]
    return msgspec.structs.replace(code, files=(*code.files, *files), notes=(*code.notes, _RUNNER_NOTE))


def _needed(stages: Sequence[Stage], last: Stage) -> list[Stage]:
    """``last`` after those of ``stages`` that it needs, directly or not, and the reference, which has the inputs."""
    names = {_REFERENCE, *last.needs}
    for stage in reversed(stages):
        if stage.name in names:
            names |= set(stage.needs)
    return [*(stage for stage in stages if stage.name in names), last]
