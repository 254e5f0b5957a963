"""The command line: parse, call, print, exit code; nothing is measured or decided here."""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import shlex
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from bench import __version__

if TYPE_CHECKING:
    from bench.environment import Device
    from bench.model import Plan, Policy, Run, Suite

EPILOG = """exit codes: 0 all cases have a result; 1 a case failed or is inaccurate; 2 bad input, nothing written;
130 interrupted (the run can be taken up again with --resume)."""


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # an ASCII terminal has no ±
    arguments = _parser().parse_args(argv)
    from bench.errors import BenchError

    try:
        return int(arguments.command(arguments))
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


@contextlib.contextmanager
def _unread(stream: TextIO) -> Iterator[None]:
    """The block writes to ``stream``; if nobody reads that any more it ends in silence, and what follows counts."""
    try:
        yield
        stream.flush()
    except BrokenPipeError:
        _silence(stream)


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
    if arguments.resume:
        _refuse_beside_resume(arguments)
        path = store.resolve(arguments.store, arguments.resume)
        cases, wanted = sittings.resumable(path).header.cases, None
        rows.check_baseline(cases, arguments.baseline)
        if arguments.select:
            wanted = plan.selected(cases, base.registry(), arguments.select)
        with _progress(arguments.progress) as tell:
            finished = runner.resume(path, settings, tell, wanted)
    else:
        suite, planned, policy, device = _planned(arguments)
        if arguments.dry_run:
            return _print_plan(planned, policy)
        with _progress(arguments.progress) as tell:
            finished = runner.run(suite, planned, policy, device, settings, tell)
    run = store.read(Path(finished.path))
    if arguments.progress != "json":
        with _unread(sys.stdout):
            _print_tables(run, arguments)
    if finished.interrupted:
        with _unread(sys.stderr):
            print(f"interrupted; go on with: trtbench run --resume {run.header.run}", file=sys.stderr)
        return 130
    return _verdict(run, arguments.strict)


_FIXED = ("suite", "backend", "device", "quick", "replicates", "seed", "cold", "dry_run")


def _refuse_beside_resume(arguments: argparse.Namespace) -> None:
    """UsageError for what the run has been planned with already."""
    from bench.errors import UsageError

    for name in _FIXED:
        value = getattr(arguments, name)
        if value is not None and value is not False:
            word = "SUITE" if name == "suite" else f"--{name.replace('_', '-')}"
            fix = f"trtbench show {arguments.resume} says what is missing of it" if name == "dry_run" else ""
            raise UsageError(
                f"--resume takes the run as it was planned, without {word}", fix=fix or "trtbench run --resume RUN"
            )


def _list(arguments: argparse.Namespace) -> int:
    _, plan, policy, _ = _planned(arguments)
    return _print_plan(plan, policy)


def _show(arguments: argparse.Namespace) -> int:
    from bench import store
    from bench.errors import UsageError

    if arguments.case is not None and not getattr(arguments, "as"):
        fix = f"trtbench show --as trtexec --case {shlex.quote(arguments.case)}"
        raise UsageError("--case chooses the case that --as shows; tables show all", fix=fix)
    run = store.read(store.resolve(arguments.store, arguments.run))
    if run.damage:
        print(f"trtbench: {run.damage}", file=sys.stderr)
    if getattr(arguments, "as") == "trtexec":
        from bench.report import trtexec

        print(trtexec.render(run, arguments.case))
    elif arguments.format == "text":
        _print_tables(run, arguments)
    else:
        from bench.report import export

        print(getattr(export, arguments.format)(run, arguments.baseline), end="")
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
    with _progress(arguments.progress) as tell:
        found = list(dissect.layers(suite, plan, policy, device, settings, tell))
    failed = [(case, failure) for case, failure in found if isinstance(failure, Failure)]
    told = [(case, layers) for case, layers in found if not isinstance(layers, Failure)]
    if arguments.format == "json":
        print(view.json(told), end="")
    else:
        print("\n".join(view.render(case, layers, **_screen()) for case, layers in told), end="")
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
    print(view.render(checks, **_screen()))
    return 0


def _selftest(arguments: argparse.Namespace) -> int:
    from bench import selftest
    from bench.errors import UsageError
    from bench.report import selftest as view

    if not arguments.gpu:
        raise UsageError("the self-test is of the GPU's clock", fix="trtbench selftest --gpu")
    with _progress(arguments.progress) as tell:
        found = selftest.run(arguments.processes, arguments.holds, tell)
    print(view.render(found))
    return 0 if all(reading.ok for reading in found) else 1


def _schema(arguments: argparse.Namespace) -> int:
    import json

    from bench import suite
    from bench.backends import base

    schema = suite.toolchains_schema() if arguments.toolchains else suite.json_schema(base.registry())
    print(json.dumps(schema, indent=2))
    return 0


def _planned(arguments: argparse.Namespace) -> tuple[Suite, Plan, Policy, Device]:
    """The suite, its plan, the policy after the command line's changes, and the device's name."""
    import msgspec

    from bench import environment, plan, suite
    from bench.backends import base
    from bench.errors import UsageError
    from bench.report import rows

    if arguments.suite is None:
        raise UsageError("no suite is named", fix="trtbench run suites/smoke.yaml")
    registry = base.registry()
    if arguments.backend:
        base.load(arguments.backend)
    read = suite.load(arguments.suite, registry)
    if baseline := arguments.baseline or arguments.backend:
        read = msgspec.structs.replace(read, baseline=baseline)
    name = arguments.device or read.device
    simulated = bool(arguments.backend) and registry[arguments.backend].simulated
    device = "cuda:0" if simulated else environment.describe(name).address
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


def _print_plan(plan: Plan, policy: Policy) -> int:
    from bench.report import plan as view

    print(view.render(plan, replicates=policy.replicates, verbose=True, **_screen()))
    return 0


def _print_tables(run: Run, arguments: argparse.Namespace) -> None:
    from bench.report import text

    print(
        text.render(run, baseline=arguments.baseline, verbose=arguments.verbose, phases=arguments.phases, **_screen())
    )


def _screen() -> dict[str, Any]:
    """The width of the terminal and whether it shows colours (NO_COLOR, dumb terminals and pipes do not)."""
    import shutil

    color = sys.stdout.isatty() and "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb"
    return {"width": shutil.get_terminal_size((120, 40)).columns, "color": color}


def _progress(kind: str) -> Any:
    from bench.report import progress

    if kind == "auto":
        kind = "live" if sys.stderr.isatty() and os.environ.get("TERM") != "dumb" else "plain"
    if kind == "live":
        from rich.console import Console

        return progress.Live(Console(stderr=True))
    stream = sys.stdout if kind == "json" else sys.stderr
    return progress.Unread(progress.Json(stream) if kind == "json" else progress.Plain(stream), lambda: _unread(stream))


def _verdict(run: Run, strict: bool) -> int:
    """1 if any record failed or is inaccurate; a missing package counts only under --strict.

    Of a case that was measured again after a lost GPU the last record counts.
    """
    for record in {(record.case, record.replicate): record for record in run.records}.values():
        if record.failure is not None and (strict or record.failure.kind != "Unavailable"):
            return 1
        if record.accuracy is not None and not record.accuracy.ok:
            return 1
    return 0


def _natural(text: str) -> int:
    if not text.isdigit() or int(text) >= 1 << 63:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 0 to 2^63 - 1")
    return int(text)


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of 1 or more")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="trtbench",
        description="One model, one suite file, every PyTorch and TensorRT inference runtime, one clock.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"trtbench {__version__}")
    common = argparse.ArgumentParser(add_help=False)
    common.add_argument("--traceback", action="store_true", help="show where in the code an error came from")
    common.add_argument(
        "--store", type=Path, default=Path("results"), metavar="DIR", help="the folder of runs (default: results)"
    )
    tables = argparse.ArgumentParser(add_help=False)
    tables.add_argument(
        "--baseline",
        default="",
        metavar="BACKEND",
        help="the row that speed is told against, e.g. eager or eager@TOOLCHAIN (default: eager)",
    )
    tables.add_argument("--verbose", action="store_true", help="also what was left out, and logs of failures")
    tables.add_argument("--phases", action="store_true", help="also import, load, export, compile and first call")
    chosen = argparse.ArgumentParser(add_help=False)
    chosen.add_argument("suite", nargs="?", type=Path, metavar="SUITE", help="a suite file, e.g. suites/smoke.yaml")
    chosen.add_argument("--select", metavar="EXPR", help='e.g. "model=resnet50 and precision=fp16"')
    chosen.add_argument("--device", choices=("auto", "cpu", "cuda"), help="default: the suite's")
    chosen.add_argument("--backend", metavar="NAME", help="replace every backend, e.g. by fake for a rehearsal")
    chosen.add_argument("--quick", action="store_true", help="one replicate, looser intervals")
    chosen.add_argument("--replicates", type=_positive, metavar="N", help="fresh processes per case")
    chosen.add_argument("--yes", action="store_true", help="allow a plan of more than 10,000 cases")
    making = argparse.ArgumentParser(add_help=False)
    making.add_argument("--cold", action="store_true", help="make every artifact and compile cache anew")
    making.add_argument(
        "--rebuild",
        action="store_true",
        help="make engines and packages anew, with the caches of earlier builds",
    )
    making.add_argument(
        "--cache", type=Path, metavar="DIR", help="the artifact cache (default: $TRTBENCH_CACHE or ~/.cache/trtbench)"
    )
    making.add_argument("--seed", type=_natural, help="of inputs and weights (default: 0)")

    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    run = commands.add_parser(
        "run", parents=[chosen, making, tables, common], help="measure a suite and store every result"
    )
    run.add_argument(
        "--resume", metavar="RUN", help="run what is missing of an earlier run, or with --select a part of it"
    )
    run.add_argument(
        "--prestart",
        type=_positive,
        default=1,
        metavar="N",
        help="start N workers at once, and measure one by one when all have imported their runtimes (default: 1)",
    )
    run.add_argument("--dry-run", action="store_true", help="print the plan and stop")
    run.add_argument("--strict", action="store_true", help="exit code 1 also when a package or device is not there")
    run.add_argument(
        "--progress", choices=("auto", "live", "plain", "json"), default="auto", help="how progress is told"
    )
    run.set_defaults(command=_run)
    show = commands.add_parser("show", parents=[tables, common], help="print the tables of a run")
    show.add_argument(
        "run", nargs="?", metavar="RUN", help="a run's id, its beginning, or its file (default: the latest)"
    )
    show.add_argument("--format", choices=("text", "json", "csv", "markdown"), default="text")
    show.add_argument("--as", choices=("trtexec",), help="in the words of another tool")
    show.add_argument("--case", metavar="CASE", help="with --as: one case by its id or label")
    show.set_defaults(command=_show)
    plan = commands.add_parser(
        "list", parents=[chosen, tables, common], help="print the plan: what runs, what is left out and why"
    )
    plan.set_defaults(command=_list)
    layers = commands.add_parser(
        "layers", parents=[chosen, making, common], help="what each layer of a few cases' engines is and costs"
    )
    layers.add_argument("--format", choices=("text", "json"), default="text")
    layers.add_argument("--progress", choices=("auto", "live", "plain"), default="auto", help="how progress is told")
    layers.set_defaults(command=_layers, baseline="")
    doctor = commands.add_parser("doctor", parents=[common], help="what this machine can run, and how to get the rest")
    doctor.add_argument(
        "file",
        nargs="?",
        type=Path,
        metavar="FILE",
        help="a suite or a toolchains.yaml whose toolchains are looked at too (default: suites/toolchains.yaml)",
    )
    doctor.set_defaults(command=_doctor)
    test = commands.add_parser(
        "selftest", parents=[common], help="check the GPU's clock against kernels of known length"
    )
    test.add_argument("--gpu", action="store_true", help="on the first visible GPU")
    test.add_argument("--processes", type=_positive, default=3, metavar="N", help="fresh processes (default: 3)")
    test.add_argument(
        "--holds", type=_positive, default=10, metavar="N", help="calls of each kind that is hard to hold (default: 10)"
    )
    test.add_argument(
        "--progress", choices=("auto", "live", "plain", "json"), default="auto", help="how progress is told"
    )
    test.set_defaults(command=_selftest)
    schema = commands.add_parser("schema", parents=[common], help="the JSON Schema of suite files, for editors")
    schema.add_argument("--toolchains", action="store_true", help="that of a toolchains.yaml instead")
    schema.set_defaults(command=_schema)
    return parser


if __name__ == "__main__":
    sys.exit(main())
