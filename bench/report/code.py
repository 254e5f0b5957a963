"""The index of generated code that is kept: index.json for programs, index.txt to read, and each case's calls."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import msgspec

from bench.errors import StoreError, UsageError
from bench.model.code import Call, CaseCode, CodeIndex
from bench.report import cells, escape
from bench.units import format_size

JSON, TEXT, CALLS = "index.json", "index.txt", "calls.txt"
JSON_SCHEMA = 1


def check(folder: Path) -> None:
    """Make ``folder`` where it is not there. UsageError if it cannot hold an index, or has files that are no such."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(
            f"{folder} is a file, and generated code needs a folder", where="--keep-code", fix="another name"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        names = {path.name for path in folder.iterdir()}
    except OSError as error:
        what = f"the folder cannot be used: {error.strerror}"
        raise UsageError(what, where=f"--keep-code {folder}", fix="a folder that you can write") from error
    if names and JSON not in names:
        what = f"{folder} has files, and no {JSON} of an earlier --keep-code"
        raise UsageError(what, where="--keep-code", fix=f"--keep-code {folder / 'code'}")


def write(index: CodeIndex, folder: Path) -> None:
    """The index beside the folders of its cases, and in each of these ``calls.txt``. StoreError if that fails."""
    try:
        for case in index.cases:
            if _has_program(case):
                (folder / case.folder / CALLS).write_text(calls(case))
        document = {"schema": JSON_SCHEMA, **msgspec.to_builtins(index)}
        (folder / JSON).write_bytes(msgspec.json.format(msgspec.json.encode(document)) + b"\n")
        (folder / TEXT).write_text(render(index))
    except OSError as error:
        raise StoreError(f"the index cannot be written: {error.strerror}", where=str(folder)) from error


def render(index: CodeIndex) -> str:
    """What ``index.txt`` says: each case with its folder, notes, files and the number of its calls."""
    lines = [f"Generated code of the suite {escape.line(index.suite)}, {index.created}, trtbench {index.version}.", ""]
    lines += [f"Each folder has the files of one case; {CALLS} is the order in which its program calls kernels and",
              f"operators. {JSON} has the same for programs.", ""]  # fmt: skip
    for case in index.cases:
        lines += [escape.line(case.label), *(f"  {escape.line(line)}" for line in _about(case)), ""]
    return "\n".join(lines)


def calls(case: CaseCode) -> str:
    """One line per call, numbered from 1; equal neighbours are one line."""
    lines, number = [], 1
    for call, several in groupby(case.code.calls):
        times = len(list(several))
        lines.append(f"{number:5}  {call.kind:8}  {call.name}" + (f"  x{times}" if times > 1 else ""))
        number += times
    return "".join(f"{line}\n" for line in lines or ["no call was recognised in the program"])


def summary(index: CodeIndex, folder: Path) -> str:
    """One line for the terminal."""
    with_code = [case for case in index.cases if case.folder]
    text = f"{folder / TEXT}: the code of {cells.count(len(with_code), 'case')} of {len(index.cases)}"
    return text if with_code else f"{text}; it says why of each"


def _about(case: CaseCode) -> list[str]:
    if not case.folder:
        return [f"no code: {case.why}"]
    width = max(len(file.path) for file in case.code.files)
    return [
        f"{case.folder}/",
        *case.code.notes,
        *([f"{CALLS}: {_number(case.code.calls)}"] if _has_program(case) else []),
        *(f"{file.path:{width}}  {format_size(file.bytes):>9}  {file.what}" for file in case.code.files),
    ]


def _has_program(case: CaseCode) -> bool:
    """Whether a compiler wrote a program, whose calls are listed."""
    return any(file.what.startswith("the compiled program") for file in case.code.files)


def _number(several: tuple[Call, ...]) -> str:
    kernels = sum(call.kind == "kernel" for call in several)
    return f"{cells.count(kernels, 'call')} of kernels, {cells.count(len(several) - kernels, 'call')} of operators"
