"""The commands: call, print, exit code; nothing is measured or decided here."""

from __future__ import annotations

import argparse
import io
import os
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from bench.cli import output
from bench.cli.arguments import STORE, parse

if TYPE_CHECKING:
    from bench.machine.environment import Device
    from bench.model.run import Run
    from bench.model.suite import Plan, Policy, Suite


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
        output.silence(sys.stdout)
        return 0
    except output.Unwritten as error:
        if arguments.traceback:
            raise
        output.silence(sys.stdout)
        print(f"trtbench: {error}\n  fix: send it elsewhere, or make room", file=sys.stderr)
        return 2  # as for any other argument that cannot be: the output is all that was asked for


def _run(arguments: argparse.Namespace) -> int:
    from bench import store
    from bench.analysis import rows
    from bench.backends import base
    from bench.runner.resume import resumable, resume
    from bench.runner.run import run
    from bench.runner.session import Settings
    from bench.store import artifacts
    from bench.suite import plan

    cache = str(arguments.cache or artifacts.default_root())
    settings = Settings(
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
        cases, wanted = resumable(path).header.cases, None
        rows.check_baseline(cases, arguments.baseline)
        if arguments.select:
            wanted = plan.select_cases(cases, base.registry(), arguments.select)
        with output.progress_view(arguments.progress, lost) as tell:
            finished = resume(path, settings, tell, wanted)
    else:
        suite, planned, policy, device = _planned(arguments, look=arguments.dry_run)
        if arguments.dry_run:
            return _print_plan(planned, policy)
        plan.check_some(planned)
        with output.progress_view(arguments.progress, lost) as tell:
            finished = run(suite, planned, policy, device, settings, tell)
    done = store.read(Path(finished.path))
    if arguments.progress != "json":
        with output.unread(sys.stdout, lost):
            _print_tables(done, arguments)
    with output.unread(sys.stderr, []):
        if lost:
            shown = _typed(arguments, "show", finished.path)
            print(f"trtbench: {lost[0]}; the run is stored\n  fix: {shown}", file=sys.stderr)
        if finished.interrupted:
            print(f"interrupted; go on with: {store.resume_command(Path(finished.path))}", file=sys.stderr)
        elif _lacks_all(done):
            what = "nothing was measured: every case lacks a package or a device"
            print(f"trtbench: {what}\n  fix: trtbench doctor says what to install", file=sys.stderr)
    return 130 if finished.interrupted else max(_verdict(done, arguments.strict), bool(lost))


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

        output.say(trtexec.render(run, arguments.case))
    elif arguments.format == "text":
        _print_tables(run, arguments)
    else:
        from bench.report import export

        output.say(getattr(export, arguments.format)(run, arguments.baseline), end="")
    return 0


def _layers(arguments: argparse.Namespace) -> int:
    from bench.model.run import Failure
    from bench.profiling import layers as profiled
    from bench.report import cells
    from bench.report import layers as view
    from bench.runner.session import Settings
    from bench.store import artifacts

    cache = str(arguments.cache or artifacts.default_root())
    settings = Settings(store="", cache=cache, cold=arguments.cold, rebuild=arguments.rebuild, seed=arguments.seed or 0)
    suite, plan, policy, device = _planned(arguments)
    with output.progress_view(arguments.progress, []) as tell:
        found = list(profiled.layers(suite, plan, policy, device, settings, tell))
    failed = [(case, failure) for case, failure in found if isinstance(failure, Failure)]
    told = [(case, layers) for case, layers in found if not isinstance(layers, Failure)]
    if arguments.format == "json":
        output.say(view.json(told), end="")
    else:
        output.say("\n".join(view.render(case, layers, **output.screen()) for case, layers in told), end="")
    for case, failure in failed:
        fix = f"\n  fix: {failure.hint}" if failure.hint else ""
        print(f"trtbench: {case.label}: {cells.failure(failure)}: {cells.message(failure)}{fix}", file=sys.stderr)
    return 1 if failed else 0


def _doctor(arguments: argparse.Namespace) -> int:
    from bench.backends import base
    from bench.checkup import doctor
    from bench.report import doctor as view
    from bench.store import artifacts
    from bench.suite import reader

    usual = Path("suites", reader.TOOLCHAINS)
    file = arguments.file or (usual if usual.is_file() else None)
    named = reader.toolchains_of(file, base.registry()) if file else {}
    checks = doctor.examine(artifacts.default_root(), arguments.store)
    checks += doctor.examine_toolchains(named, file.parent) if file else []
    output.say(view.render(checks, **output.screen()))
    return 0


def _selftest(arguments: argparse.Namespace) -> int:
    from bench.checkup import selftest
    from bench.errors import UsageError
    from bench.report import selftest as view

    if not arguments.gpu:
        raise UsageError("the self-test is of the GPU's clock", fix="trtbench selftest --gpu")
    with output.progress_view(arguments.progress, []) as tell:
        here, found = selftest.run(arguments.processes, arguments.holds, tell)
    output.say(view.render(found, here))
    return 0 if all(reading.ok for reading in found) else 1


def _schema(arguments: argparse.Namespace) -> int:
    import json

    from bench.backends import base
    from bench.suite import reader

    schema = reader.toolchains_schema() if arguments.toolchains else reader.json_schema(base.registry())
    output.say(json.dumps(schema, indent=2))
    return 0


def _planned(arguments: argparse.Namespace, *, look: bool = False) -> tuple[Suite, Plan, Policy, Device]:
    """The suite, its plan, the policy after the command line's changes, and the device's name.

    Who only wants to ``look`` at the plan needs no device.
    """
    import msgspec

    from bench.analysis import rows
    from bench.backends import base
    from bench.errors import UsageError
    from bench.suite import plan, reader

    if arguments.suite is None:
        raise UsageError("no suite is named", fix=arguments.example)
    if arguments.suite.suffix == ".jsonl":
        run = shlex.quote(str(arguments.suite))
        fix = f"trtbench show {run}, or to go on with it: trtbench run --resume {run}"
        raise UsageError("a run, where a suite is expected", where=str(arguments.suite), fix=fix)
    registry = base.registry()
    if arguments.backend:
        base.load(arguments.backend)
    read = reader.load(arguments.suite, registry)
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
    from bench.errors import UsageError
    from bench.machine import environment

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

    output.say(view.render(plan, replicates=policy.replicates, verbose=True, **output.screen()))
    return 0


def _print_tables(run: Run, arguments: argparse.Namespace) -> None:
    from bench.report import text

    output.say(
        text.render(
            run, baseline=arguments.baseline, verbose=arguments.verbose, phases=arguments.phases, **output.screen()
        )
    )


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
