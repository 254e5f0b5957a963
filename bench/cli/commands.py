"""The commands: each calls the API, prints, and returns an exit code; nothing is measured or decided here."""

from __future__ import annotations

import argparse
import errno
import gc
import io
import sys
import traceback
from collections.abc import Callable

from bench.cli import (
    accuracy,
    build,
    comparing,
    diverge,
    duel,
    output,
    placement,
    profile,
    program,
    report,
    run,
    show,
    typed,
    waterfall,
)
from bench.cli.arguments import parse


def main(argv: list[str] | None = None, *, on_start: Callable[[], object] = lambda: None) -> int:
    """Run one command; returns the exit code. ``on_start`` is called when what most commands need is imported."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # an ASCII terminal has no ±
    arguments = parse(argv)
    from bench.errors import BenchError
    from bench.report import escape

    if arguments.command in (
        "run",
        "build",
        "calibrate",
        "list",
        "layers",
        "profile",
        "duel",
        "codegen",
        "diverge",
        "lint-qdq",
    ):
        from bench import api

        api.import_runner()
    collects = gc.isenabled()
    try:
        on_start()
        if arguments.command in ("show", "compare", "report") and not getattr(arguments, "watch", False):
            gc.disable()  # what they read stays, and each search for garbage would look at all of it
        return _COMMANDS[arguments.command](arguments)
    except (BenchError, KeyboardInterrupt, OSError, UnicodeError, MemoryError) as error:
        if isinstance(error, BrokenPipeError):  # the reader of our output has left, e.g. `head`
            output.silence(sys.stdout)
            return 0
        if arguments.traceback:
            traceback.print_exception(error)
        if isinstance(error, KeyboardInterrupt):
            output.complain("trtbench: interrupted")
            return 130
        if isinstance(error, output.OutputError):
            output.silence(sys.stdout)
        if isinstance(error, BenchError):
            output.complain(output.error(error))
        else:
            output.complain(f"trtbench: {escape.lines(_sentence(error))}")
        return 2  # an output that cannot be written too: it is all that was asked for
    finally:
        if collects:
            gc.enable()


def _sentence(error: BaseException) -> str:
    """What ended the command, and what to try."""
    if isinstance(error, output.OutputError):
        return f"{error}\n  fix: send it elsewhere, or make room"
    if isinstance(error, UnicodeError):
        fix = "use names that are UTF-8, in a locale of UTF-8: LC_ALL=C.UTF-8"
        return f"a name or a text cannot be written in this locale: {error}\n  fix: {fix}"
    if isinstance(error, MemoryError):
        return "the host's memory ran out\n  fix: end other programs, or split the suite"
    assert isinstance(error, OSError)
    place = f"{error.filename}: " if error.filename else ""
    reasons = {
        errno.EMFILE: "let it open more files: ulimit -n 1024",
        errno.ENFILE: "end programs that hold many files open",
        errno.EROFS: "make it writable, or choose another place: TMPDIR=DIR, --cache DIR, --store DIR",
        errno.EACCES: "make it readable and writable for you, or choose another place: --cache DIR, --store DIR",
        errno.ENOSPC: "free some disk space, or choose another place: TMPDIR=DIR, --cache DIR, --store DIR",
        errno.EDQUOT: "raise the quota, or choose another place: TMPDIR=DIR, --cache DIR, --store DIR",
        errno.EAGAIN: "end other processes, or raise their number: ulimit -u",
    }
    fix = reasons.get(error.errno or 0, "--traceback shows what was tried")
    return f"{place}{error.strerror or error}\n  fix: {fix}"


def _list(arguments: argparse.Namespace) -> int:
    from bench import api
    from bench.report import plan as view

    request = typed.request(arguments, plan_only=True)
    if arguments.format == "text":
        return run.print_plan(request)
    replicates = request.policy.replicates
    output.say(view.json(request.plan, replicates=replicates, estimate=api.estimate(request)), end="")
    return 0


def _runs(arguments: argparse.Namespace) -> int:
    from bench import api
    from bench.errors import StoreError
    from bench.report import runs as view

    summaries = api.runs(store=arguments.store, rehearsals=arguments.rehearsals)
    if arguments.format == "json":
        output.say(view.json(summaries), end="")
        return 0
    if not summaries:
        if not arguments.rehearsals and api.runs(store=arguments.store, rehearsals=True):
            raise StoreError(
                f"all runs in {arguments.store} are rehearsals", fix=typed.again(arguments, "--rehearsals")
            )
        raise StoreError(
            f"there are no runs in {arguments.store}", fix="trtbench run suites/smoke.yaml, or --store DIR"
        )
    output.say(view.render(summaries, **output.screen()), end="")
    return 0


def _layers(arguments: argparse.Namespace) -> int:
    from bench import api
    from bench.errors import BenchError
    from bench.model.run import Failure
    from bench.report import layers as view
    from bench.report.failures import reason

    request = typed.request(arguments)
    with output.progress_view(arguments.progress, []) as on_event:
        results = api.layers(request, on_event=on_event)
    failures = [(case, result) for case, result in results if isinstance(result, Failure)]
    tables = [(case, result) for case, result in results if not isinstance(result, Failure)]
    if arguments.format == "json":
        output.say(view.json(tables), end="")
    else:
        output.say("\n".join(view.render(case, layers, **output.screen()) for case, layers in tables), end="")
    for case, failure in failures:
        output.complain(output.error(BenchError(reason(failure), where=case.label, fix=failure.hint)))
    return 1 if failures else 0


def _doctor(arguments: argparse.Namespace) -> int:
    from bench import api
    from bench.report import doctor as view

    output.say(view.render(api.doctor(arguments.file, store=arguments.store), **output.screen()))
    return 0


def _selftest(arguments: argparse.Namespace) -> int:
    from bench import api
    from bench.errors import UsageError
    from bench.report import selftest as view

    if not arguments.gpu:
        raise UsageError("the self-test is of the GPU's clock", fix="trtbench selftest --gpu")
    with output.progress_view(arguments.progress, []) as on_event:
        device, readings = api.selftest(processes=arguments.processes, holds=arguments.holds, on_event=on_event)
    output.say(view.render(readings, device))
    return 0 if all(reading.ok for reading in readings) else 1


def _schema(arguments: argparse.Namespace) -> int:
    import json

    from bench import api

    output.say(json.dumps(api.schema(toolchains=arguments.toolchains), indent=2))
    return 0


_COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "run": run.run,
    "build": build.build,
    "show": show.show,
    "compare": comparing.compare,
    "calibrate": comparing.calibrate,
    "history": comparing.history,
    "report": report.main,
    "duel": duel.duel,
    "runs": _runs,
    "list": _list,
    "layers": _layers,
    "codegen": program.codegen,
    "ops": program.ops,
    "diverge": diverge.diverge,
    "quantize": accuracy.quantize,
    "lint-qdq": placement.lint_qdq,
    "profile": profile.profile,
    "kernels": waterfall.kernels,
    "trace": waterfall.trace,
    "explain": comparing.explain,
    "doctor": _doctor,
    "selftest": _selftest,
    "schema": _schema,
}
