"""What the words of a command line mean: its request and its runs, and the command to type instead."""

from __future__ import annotations

import argparse
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.cli import output
from bench.cli.options import STORE

if TYPE_CHECKING:
    from bench.api import Request

# What a command of a plan may have: its name here, and in a request.
_OPTIONS = {"select": "select", "backend": "backend", "device": "device", "baseline": "baseline", "quick": "quick",
            "replicates": "replicates", "yes": "allow_large", "cache": "cache", "cold": "cold", "rebuild": "rebuild",
            "seed": "seed"}  # fmt: skip


def command(arguments: argparse.Namespace, *words: str) -> str:
    """The command of ``words``, with the --store of this one unless a word is the run's file."""
    store_option = ["--store", str(arguments.store)]
    if arguments.store == STORE or any(os.path.isfile(word) for word in words):
        store_option = []
    return shlex.join(["trtbench", *words, *store_option])


def in_store(arguments: argparse.Namespace, *words: str) -> str:
    """The command of ``words`` with the --store of this one, also where a word is a file: for what is to be stored."""
    return shlex.join(["trtbench", *words, *(["--store", str(arguments.store)] if arguments.store != STORE else [])])


def check_file(out: Path, name: str) -> None:
    """UsageError for an --out that is a folder (the fix is the file ``name`` in it), or that lies in none."""
    from bench.errors import UsageError

    if out.is_dir():
        raise UsageError(f"{out} is a folder", where="--out", fix=f"--out {out / name}")
    if not out.absolute().parent.is_dir():
        raise UsageError(f"there is no folder {out.parent}", where="--out", fix=f"mkdir -p {out.parent}")


def run_file(arguments: argparse.Namespace, name: str | None, *words: str) -> Path:
    """The file of the run ``name``. UsageError for a --store that would not be looked into, as ``name`` is a file."""
    from bench import api
    from bench.errors import UsageError

    if name and os.path.isfile(name) and arguments.store != STORE:
        fix = shlex.join(["trtbench", *words, name])
        raise UsageError(f"{name} is a file, so --store {arguments.store} would change nothing", fix=fix)
    return api.find(name, store=arguments.store)


def again(arguments: argparse.Namespace, more: str = "", without: str = "") -> str:
    """The command as it was typed, the options ``more`` at its end, and not the option ``without`` with its value."""
    words = list(arguments.words)
    while without in words:
        at = words.index(without)
        del words[at : at + 2]
    words = [word for word in words if not (without and word.startswith(f"{without}="))]
    return " ".join(["trtbench", shlex.join(words), *([more] if more else [])])


def names_of(side: str) -> list[str]:
    """The runs of ``A1,A2``; a file whose name has a comma is one."""
    return [side] if os.path.isfile(side) else side.split(",")


def request(arguments: argparse.Namespace, **options: Any) -> Request:
    """The request of a command line; a note on stderr if its device is not here and only a run needs it."""
    from bench import api
    from bench.errors import DeviceUnavailable, UsageError
    from bench.report import escape

    if arguments.suite is None:
        raise UsageError("no suite is named", fix=arguments.example)
    values = {name: getattr(arguments, option, None) for option, name in _OPTIONS.items()}
    options |= {name: value for name, value in values.items() if value is not None}
    try:
        request = api.request(arguments.suite, **options)
    except DeviceUnavailable as error:
        # Layers are those of engines, which a CPU does not have.
        alternative = "; or --device cpu" if arguments.command == "run" else ""
        raise UsageError(error.what, where=error.where, fix=f"{error.fix}{alternative}") from error
    planned = arguments.command == "list" or getattr(arguments, "dry_run", False)
    if planned:
        api.check_boundaries(request)
    if arguments.backend and arguments.backend != "fake":
        _tell_of_dropped_options(request, arguments.backend)
    needs_none = arguments.command in ("codegen", "quantize", "lint-qdq") or (
        arguments.command == "diverge" and arguments.on == "oracle"
    )
    if request.device_missing and not needs_none:
        what = "the plan is that of a CUDA device: only a run tells whether it has the memory and each precision"
        if arguments.command == "build":
            what = "what can be made without it is built"
        output.complain(f"trtbench: note: {escape.line(request.device_missing)}\n  {what}")
    # A run on a real backend says so by itself, and in its rows.
    for name, place in request.files_missing.items() if planned or arguments.backend == "fake" else ():
        what = f"{place}: there is no file {name!r} in the suite's folder"
        output.complain(f"trtbench: note: {escape.line(what)}\n  a run needs it")
    return request


def _tell_of_dropped_options(request: Request, backend: str) -> None:
    """A note on stderr if cases have the defaults of ``backend`` where the suite sets options for them."""
    suite, lost = request.suite, request.plan.options_lost
    if not lost:
        return
    names = ", ".join(dict.fromkeys(name for several in lost.values() for name in several))
    entries = [entry for part in (suite.matrix, *suite.include) for entry in part.get("backend", ())]
    if any(entry["name"] == backend for entry in entries):
        count = f"{len(lost)} of {len(request.plan.cases)}"
        what = f"cases that stand for others of the suite ({count}) have the defaults of {backend}, without {names}"
    else:
        what = f"the suite has no {backend}: its cases have the defaults of that, without {names}"
    fix = f"to set options, add {{name: {backend}, ...}} to the backends of {suite.path}"
    output.complain(f"trtbench: note: {what}\n  {fix}")
