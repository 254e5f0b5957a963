"""Network programs on the command line: `trtbench codegen` and `trtbench ops`."""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.cli import output, typed
from bench.cli.options import (
    Commands,
    add_progress,
    artifacts_options,
    common_options,
    required_folder,
    selection_options,
)

if TYPE_CHECKING:
    from bench.errors import ProgramsInterrupted
    from bench.model.suite import LeftOut

_BACKEND = "fx2trt"


def add_codegen(commands: Commands) -> None:
    """Add the command `codegen`."""
    codegen = commands.add_parser(
        "codegen",
        parents=[selection_options(), artifacts_options(), common_options()],
        help="write the TensorRT network of a model as Python source, to read, edit and build",
        epilog="exit codes: 0 every program is written; 1 a case failed; 2 bad input, nothing written; "
        "130 interrupted (the programs written until then are whole).",
    )
    codegen.add_argument("--out", type=required_folder, required=True, metavar="DIR", help="the folder to write into")
    add_progress(codegen, "auto", "live", "plain")
    example = (
        'trtbench codegen suites/vision.yaml --select "model=resnet50 and precision=fp16 and batch=1" --out resnet50'
    )
    codegen.set_defaults(example=example, quick=False, replicates=None, yes=True)


def add_ops(commands: Commands) -> None:
    """Add the command `ops`."""
    ops = commands.add_parser("ops", parents=[common_options()], help="the ops that `codegen` and fx2trt can lower")
    ops.add_argument("--format", choices=("text", "markdown", "json"), default="text")
    ops.set_defaults(example="trtbench ops")


def codegen(arguments: argparse.Namespace) -> int:
    """Write the programs of the selected cases, print where they are, and return the exit code.

    The cases are those of ``fx2trt``, with their options; where the suite has none, all with fx2trt as their backend.
    """
    from bench import api
    from bench.errors import BenchError, ProgramsInterrupted, is_input
    from bench.report import escape, failures
    from bench.report.warnings import describe

    arguments.device = "cuda"  # a network is one of a GPU, which need not be here, and it is written on the CPU
    request = typed.request(arguments, plan_only=True)
    if arguments.backend is None and all(case.backend != _BACKEND for case in request.plan.cases):
        arguments.backend = _BACKEND
        request = typed.request(arguments, plan_only=True)
    _note_left_out(request.plan.left_out)
    try:
        with api.interruptible(), output.progress_view(arguments.progress, []) as on_event:
            results = api.codegen(request, arguments.out, on_event=on_event)
    except ProgramsInterrupted as error:
        return _interrupted(arguments, error)
    code = 0
    for result in results:
        failure = result.failure
        if failure is None:
            output.say(f"{result.folder}/program.py")
            for text, hint in map(describe, result.warnings):
                output.complain(f"trtbench: note: {escape.line(result.case.label)}: {escape.line(text)}\n  {hint}")
            continue
        output.complain(output.error(BenchError(failures.reason(failure), where=result.case.label, fix=failure.hint)))
        code = max(code, 2 if is_input(failure.kind) else 1)
    return code


def _interrupted(arguments: argparse.Namespace, error: ProgramsInterrupted) -> int:
    """Say on stderr which programs are written, and how to go on; the exit code."""
    from bench.report import escape

    output.complain(f"trtbench: {error}" + "".join(f"\n  {escape.line(folder)}" for folder in error.folders))
    if error.folders:  # which the same command would refuse
        fix = f"all of them, elsewhere: {typed.again(arguments, '--out OTHER', without='--out')}"
    else:
        fix = f"to go on: {typed.again(arguments)}"
    output.complain(escape.line(f"  fix: {fix}", sys.maxsize))  # to be pasted whole
    return 130


def _note_left_out(entries: Sequence[LeftOut]) -> None:
    """Say on stderr which programs are not written, the first with its reason; other backends have none anyway."""
    from bench.report import escape

    entries = [entry for entry in entries if re.search(rf"/{_BACKEND}\b", entry.label)]
    if entries:
        others = f", and {len(entries) - 1} more" if len(entries) > 1 else ""
        what = f"left out: {entries[0].label}{others}: {entries[0].reason}"
        output.complain(f"trtbench: note: {escape.line(what)}\n  trtbench list says why of each")


def ops(arguments: argparse.Namespace) -> int:
    """Print the table of ops."""
    from bench import api
    from bench.report import ops as view

    screen = output.screen() if arguments.format == "text" else {}
    output.say(getattr(view, arguments.format)(api.ops(), **screen), end="")
    return 0
