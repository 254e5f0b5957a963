"""The commands: call, print, exit code; nothing is measured or decided here."""

from __future__ import annotations

import argparse
import contextlib
import errno
import io
import os
import shlex
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from bench.arguments import STORE, parse

if TYPE_CHECKING:
    from bench.environment import Device
    from bench.model import Plan, Policy, Run, Suite

# What a stream that cannot take any more says: no room, no quota, a file too large, a device that fails.
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # an ASCII terminal has no ±
    arguments = parse(argv)
    from bench.errors import BenchError

    try:
        return _COMMANDS[arguments.command](arguments)
    except BenchError as error:
        if arguments.traceback:
            raise
        print(f"trtbench: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        if arguments.traceback:
            raise
        print("trtbench: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader of our output has left, e.g. `head`
        _silence(sys.stdout)
        return 0
    except _Unwritten as error:
        if arguments.traceback:
            raise
        _silence(sys.stdout)
        print(f"trtbench: {error}\n  fix: send it elsewhere, or make room", file=sys.stderr)
        return 2  # as for any other argument that cannot be: the output is all that was asked for


class _Unwritten(OSError):
    """What a stream of ours refused to take."""

    def __str__(self) -> str:
        return f"the output cannot be written: {self.strerror}"


def _say(text: str, end: str = "\n") -> None:
    """Print to stdout, now, so that a failure can still be told. _Unwritten if that cannot take any more."""
    with _refusing():
        print(text, end=end, flush=True)


@contextlib.contextmanager
def _refusing() -> Iterator[None]:
    """OSErrors of writing to a stream become _Unwritten, to be told from those of files."""
    try:
        yield
    except OSError as error:
        if error.errno not in _FULL:
            raise
        raise _Unwritten(error.errno, error.strerror) from error


@contextlib.contextmanager
def _unread(stream: TextIO, lost: list[OSError]) -> Iterator[None]:
    """The block writes to ``stream``; if nobody reads that any more it ends in silence, and what follows counts.

    What a full disk does not take is in ``lost``.
    """
    try:
        with _refusing():
            yield
            stream.flush()
    except BrokenPipeError:
        _silence(stream)
    except _Unwritten as error:
        _silence(stream)
        lost.append(error)


def _silence(stream: TextIO) -> None:
    """Nothing more is written to ``stream``, not what it has buffered either."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _run(arguments: argparse.Namespace) -> int:
    from bench import artifacts, plan, runner, sittings, store
    from bench.backends import base
    from bench.report import rows

    cache = str(arguments.cache or artifacts.default_root())
    settings = runner.Settings(
        store=str(arguments.store),
        cache=cache,
        cold=arguments.cold,
        rebuild=arguments.rebuild,
        prestart=arguments.prestart,
        seed=arguments.seed or 0,
    )
    lost: list[OSError] = []
    if arguments.resume:
        _refuse_beside_resume(arguments)
        path = _run_file(arguments, arguments.resume, "run", "--resume")
        cases, wanted = sittings.resumable(path).header.cases, None
        rows.check_baseline(cases, arguments.baseline)
        if arguments.select:
            wanted = plan.selected(cases, base.registry(), arguments.select)
        with _progress(arguments.progress, lost) as tell:
            finished = runner.resume(path, settings, tell, wanted)
    else:
        suite, planned, policy, device = _planned(arguments, look=arguments.dry_run)
        if arguments.dry_run:
            return _print_plan(planned, policy)
        plan.check_some(planned)
        with _progress(arguments.progress, lost) as tell:
            finished = runner.run(suite, planned, policy, device, settings, tell)
    run = store.read(Path(finished.path))
    if arguments.progress != "json":
        with _unread(sys.stdout, lost):
            _print_tables(run, arguments)
    with _unread(sys.stderr, []):
        if lost:
            shown = _typed(arguments, "show", finished.path)
            print(f"trtbench: {lost[0]}; the run is stored\n  fix: {shown}", file=sys.stderr)
        if finished.interrupted:
            print(f"interrupted; go on with: {store.resume_command(Path(finished.path))}", file=sys.stderr)
        elif _lacks_all(run):
            what = "nothing was measured: every case lacks a package or a device"
            print(f"trtbench: {what}\n  fix: trtbench doctor says what to install", file=sys.stderr)
    return 130 if finished.interrupted else max(_verdict(run, arguments.strict), bool(lost))


_FIXED = ("suite", "backend", "device", "quick", "replicates", "yes", "seed", "cold", "dry_run")


def _refuse_beside_resume(arguments: argparse.Namespace) -> None:
    """UsageError for what the run has been planned with already."""
    from bench.errors import UsageError

    for name in _FIXED:
        value = getattr(arguments, name)
        if value is not None and value is not False:
            word = "SUITE" if name == "suite" else f"--{name.replace('_', '-')}"
            fix = _typed(arguments, "run", "--resume", arguments.resume)
            if name == "dry_run":
                fix = f"{_typed(arguments, 'show', arguments.resume)}, which says what is missing of it"
            raise UsageError(f"--resume takes the run as it was planned, without {word}", fix=fix)


def _typed(arguments: argparse.Namespace, *words: str) -> str:
    """The command of ``words`` as it is typed where this one was: with its --store, unless a word is the run's file."""
    own = ["--store", str(arguments.store)]
    if arguments.store == STORE or any(os.path.isfile(word) for word in words):
        own = []
    return shlex.join(["trtbench", *words, *own])


def _run_file(arguments: argparse.Namespace, name: str | None, *words: str) -> Path:
    """The file of the run ``name``. UsageError for a --store that would not be looked into, as ``name`` is a file."""
    from bench import store
    from bench.errors import UsageError

    if name and os.path.isfile(name) and arguments.store != STORE:
        fix = shlex.join(["trtbench", *words, name])
        raise UsageError(f"{name} is a file, so --store {arguments.store} would change nothing", fix=fix)
    return store.resolve(arguments.store, name)


def _list(arguments: argparse.Namespace) -> int:
    _, plan, policy, _ = _planned(arguments, look=True)
    return _print_plan(plan, policy)


def _show(arguments: argparse.Namespace) -> int:
    from bench import store
    from bench.errors import UsageError

    form = getattr(arguments, "as") or arguments.format
    named = [arguments.run] if arguments.run else []
    if arguments.case is not None and form != "trtexec":
        fix = _typed(arguments, "show", *named, "--as", "trtexec", "--case", arguments.case)
        raise UsageError("--case chooses the case that --as shows; tables show all", fix=fix)
    tables = {"--verbose": arguments.verbose, "--phases": arguments.phases}
    of_text = {"--baseline": arguments.baseline, "--format": arguments.format != "text"} if form == "trtexec" else {}
    if ignored := [flag for flag, given in (tables | of_text).items() if given and form != "text"]:
        fix = _typed(arguments, "show", *named, *(["--as", form] if form == "trtexec" else ["--format", form]))
        raise UsageError(f"{' and '.join(ignored)} would change nothing of {form}", fix=fix)
    run = store.read(_run_file(arguments, arguments.run, "show"))
    if run.damage:
        print(f"trtbench: {run.damage}", file=sys.stderr)
    if getattr(arguments, "as") == "trtexec":
        from bench.report import trtexec

        _say(trtexec.render(run, arguments.case))
    elif arguments.format == "text":
        _print_tables(run, arguments)
    else:
        from bench.report import export

        _say(getattr(export, arguments.format)(run, arguments.baseline), end="")
    return 0


def _layers(arguments: argparse.Namespace) -> int:
    from bench import artifacts, dissect, runner
    from bench.model import Failure
    from bench.report import cells
    from bench.report import layers as view

    cache = str(arguments.cache or artifacts.default_root())
    settings = runner.Settings(
        store="", cache=cache, cold=arguments.cold, rebuild=arguments.rebuild, seed=arguments.seed or 0
    )
    suite, plan, policy, device = _planned(arguments)
    with _progress(arguments.progress, []) as tell:
        found = list(dissect.layers(suite, plan, policy, device, settings, tell))
    failed = [(case, failure) for case, failure in found if isinstance(failure, Failure)]
    told = [(case, layers) for case, layers in found if not isinstance(layers, Failure)]
    if arguments.format == "json":
        _say(view.json(told), end="")
    else:
        _say("\n".join(view.render(case, layers, **_screen()) for case, layers in told), end="")
    for case, failure in failed:
        fix = f"\n  fix: {failure.hint}" if failure.hint else ""
        print(f"trtbench: {case.label}: {cells.failure(failure)}: {cells.message(failure)}{fix}", file=sys.stderr)
    return 1 if failed else 0


def _doctor(arguments: argparse.Namespace) -> int:
    from bench import artifacts, doctor, suite
    from bench.backends import base
    from bench.report import doctor as view

    usual = Path("suites", suite.TOOLCHAINS)
    file = arguments.file or (usual if usual.is_file() else None)
    named = suite.toolchains_of(file, base.registry()) if file else {}
    checks = doctor.examine(artifacts.default_root(), arguments.store)
    checks += doctor.examine_toolchains(named, file.parent) if file else []
    _say(view.render(checks, **_screen()))
    return 0


def _selftest(arguments: argparse.Namespace) -> int:
    from bench import selftest
    from bench.errors import UsageError
    from bench.report import selftest as view

    if not arguments.gpu:
        raise UsageError("the self-test is of the GPU's clock", fix="trtbench selftest --gpu")
    with _progress(arguments.progress, []) as tell:
        here, found = selftest.run(arguments.processes, arguments.holds, tell)
    _say(view.render(found, here))
    return 0 if all(reading.ok for reading in found) else 1


def _schema(arguments: argparse.Namespace) -> int:
    import json

    from bench import suite
    from bench.backends import base

    schema = suite.toolchains_schema() if arguments.toolchains else suite.json_schema(base.registry())
    _say(json.dumps(schema, indent=2))
    return 0


def _planned(arguments: argparse.Namespace, *, look: bool = False) -> tuple[Suite, Plan, Policy, Device]:
    """The suite, its plan, the policy after the command line's changes, and the device's name.

    Who only wants to ``look`` at the plan needs no device.
    """
    import msgspec

    from bench import plan, suite
    from bench.backends import base
    from bench.errors import UsageError
    from bench.report import rows

    if arguments.suite is None:
        raise UsageError("no suite is named", fix=arguments.example)
    if arguments.suite.suffix == ".jsonl":
        run = shlex.quote(str(arguments.suite))
        fix = f"trtbench show {run}, or to go on with it: trtbench run --resume {run}"
        raise UsageError("a run, where a suite is expected", where=str(arguments.suite), fix=fix)
    registry = base.registry()
    if arguments.backend:
        base.load(arguments.backend)
    read = suite.load(arguments.suite, registry)
    if baseline := arguments.baseline or arguments.backend:
        read = msgspec.structs.replace(read, baseline=baseline)
    name = arguments.device or read.device
    simulated = bool(arguments.backend) and registry[arguments.backend].simulated
    device = "cuda:0" if simulated else _address(arguments, name, look)
    planned = plan.plan(
        read, registry, device=device, select=arguments.select or "", backend_override=arguments.backend or ""
    )
    rows.check_baseline(planned.cases, arguments.baseline)
    policy = read.measure
    if arguments.quick:
        policy = msgspec.structs.replace(
            policy, replicates=1, target_ci=0.02, max_time_ns=min(policy.max_time_ns, 10**9)
        )
    if arguments.replicates:
        policy = msgspec.structs.replace(policy, replicates=arguments.replicates)
    plan.check_size(planned, policy.replicates, yes=arguments.yes)
    return read, planned, policy, name


def _address(arguments: argparse.Namespace, name: Device, look: bool) -> str:
    """The device ``name`` as backends are given it. UsageError if it is not here, or a note to who wants to look."""
    from bench import environment
    from bench.errors import UsageError

    try:
        return environment.describe(name).address
    except UsageError as error:
        if not look:
            # Layers are those of engines, which a CPU does not have.
            other = "; or --device cpu" if arguments.command == "run" else ""
            raise UsageError(error.what, where=error.where, fix=f"{error.fix}{other}") from error
        what = "the plan is that of a CUDA device: only a run tells whether it has the memory and each precision"
        print(f"trtbench: note: {error.what}\n  {what}", file=sys.stderr)
        return "cuda:0"


def _print_plan(plan: Plan, policy: Policy) -> int:
    from bench.report import plan as view

    _say(view.render(plan, replicates=policy.replicates, verbose=True, **_screen()))
    return 0


def _print_tables(run: Run, arguments: argparse.Namespace) -> None:
    from bench.report import text

    _say(text.render(run, baseline=arguments.baseline, verbose=arguments.verbose, phases=arguments.phases, **_screen()))


def _screen() -> dict[str, Any]:
    """The width of the terminal and whether it shows colours (NO_COLOR, dumb terminals and pipes do not)."""
    import shutil

    color = sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
    return {"width": shutil.get_terminal_size((120, 40)).columns, "color": color}


def _progress(kind: str, lost: list[OSError]) -> Any:
    """Tells progress as ``kind`` asks; what stdout has no room for is in ``lost``."""
    from bench.report import progress

    if kind == "auto":
        kind = "live" if sys.stderr.isatty() and os.environ.get("TERM") != "dumb" else "plain"
    if kind == "live":
        from rich.console import Console

        return progress.Live(Console(stderr=True))
    if kind == "json":
        return progress.Unread(progress.Json(sys.stdout), lambda: _unread(sys.stdout, lost))
    return progress.Unread(progress.Plain(sys.stderr), lambda: _unread(sys.stderr, []))


def _verdict(run: Run, strict: bool) -> int:
    """1 if any record failed or is inaccurate; a missing package counts under --strict, or where all cases lack one.

    Of a case that was measured again after a lost GPU the last record counts.
    """
    if _lacks_all(run):
        return 1
    for record in {(record.case, record.replicate): record for record in run.records}.values():
        if record.failure is not None and (strict or record.failure.kind != "Unavailable"):
            return 1
        if record.accuracy is not None and not record.accuracy.ok:
            return 1
    return 0


def _lacks_all(run: Run) -> bool:
    """Whether the run was tried and has no result, for want of packages or devices alone."""
    return bool(run.records) and all(r.failure is not None and r.failure.kind == "Unavailable" for r in run.records)


_COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "run": _run,
    "show": _show,
    "list": _list,
    "layers": _layers,
    "doctor": _doctor,
    "selftest": _selftest,
    "schema": _schema,
}


if __name__ == "__main__":
    sys.exit(main())
