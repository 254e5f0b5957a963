"""Commands and their options. A command has no option that it would ignore."""

from __future__ import annotations

import argparse
import sys

from bench import __version__
from bench.cli import accuracy, diverge, placement, program
from bench.cli import comparing_arguments as comparing
from bench.cli import profiling_arguments as profiling
from bench.cli.options import (
    Commands,
    Parser,
    add_progress,
    artifacts_options,
    capabilities,
    code_options,
    common_options,
    devices,
    folder,
    positive,
    rate,
    selection_options,
    size_options,
    store_option,
    tables_options,
    word,
    workers,
)

EPILOG = """exit codes: 0 every case has a result, or lacks a package or device (--strict counts that too);
1 a case failed, is inaccurate or has only empty outputs, or all of them lack a package or device; 2 bad input,
nothing written; 130 interrupted (the run can be taken up again with --resume)."""


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The arguments of one command, which ``command`` names. SystemExit, as argparse does, if they are wrong."""
    parser = Parser(
        prog="trtbench",
        description="One model, one suite file, every PyTorch and TensorRT inference runtime, one clock.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"trtbench {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True, dest="command")
    for add in _COMMANDS:
        add(commands)
    words = sys.argv[1:] if argv is None else argv
    arguments, unknown = parser.parse_known_args(words)
    arguments.words = tuple(words)  # as they were typed
    if unknown:  # the error is the command's, whose --help has the options
        commands.choices[arguments.command].error(f"unrecognized arguments: {' '.join(unknown)}")
    arguments.baseline = getattr(arguments, "baseline", None) or ""  # argparse would check a default of "" as a word
    return arguments


def _run(commands: Commands) -> None:
    parents = [
        selection_options(),
        size_options(),
        artifacts_options(),
        code_options(),
        tables_options(),
        store_option(),
        common_options(),
    ]
    run = commands.add_parser("run", parents=parents, help="measure a suite and store every result")
    run.add_argument(
        "--resume",
        type=word,
        metavar="RUN",
        help="run what is missing of an earlier run, or with --select a part of it; --replicates raises its number",
    )
    run.add_argument(
        "--prestart",
        type=workers,
        default=None,
        metavar="{auto,N}",
        help="N workers import, export and build at once while nothing is measured (default: auto, by the machine); "
        "with 1 workers that measure are not forked, unless --fork is given",
    )
    run.add_argument(
        "--fork",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="fork the workers that measure from processes that have imported their runtimes (the default, "
        "except with --cold, --prestart 1, or where the machine has room for one worker)",
    )
    run.add_argument(
        "--devices",
        type=devices,
        default=1,
        metavar="{1,all,N}",
        help="measure on N GPUs of one kind at once, cases that are compared on one (default: 1)",
    )
    run.add_argument("--dry-run", action="store_true", help="print the plan and stop")
    run.add_argument("--strict", action="store_true", help="exit code 1 also when a package or device is not there")
    add_progress(run, "auto", "live", "plain", "json")
    run.set_defaults(example="trtbench run suites/smoke.yaml")


def _build(commands: Commands) -> None:
    build = commands.add_parser(
        "build",
        parents=[selection_options(), artifacts_options(), code_options(), common_options()],
        help="make exports, engines and packages, and measure nothing: does a model still convert?",
        epilog="exit codes: 0 all is built, or lacks a package or device (--strict counts that too); 1 a case failed, "
        "or all of them lack a package or device; 2 bad input; 130 interrupted (what was made is in the cache, but "
        "for --cold).",
    )
    build.add_argument(
        "--compute-capability",
        type=capabilities,
        metavar="8.9[,...]",
        help="of the GPUs to build for, which need not be here; for backends that can",
    )
    build.add_argument("--strict", action="store_true", help="exit code 1 also when a package or device is not there")
    build.add_argument("--verbose", action="store_true", help="also the logs of failures, and what was left out")
    build.add_argument("--format", choices=("text", "json", "markdown"), default="text")
    add_progress(build, "auto", "live", "plain")
    # What is built says by itself how much it is.
    build.set_defaults(example="trtbench build suites/smoke.yaml", quick=False, replicates=None, yes=True)


def _show(commands: Commands) -> None:
    show = commands.add_parser(
        "show",
        parents=[tables_options(), store_option(), common_options()],
        help="print the tables of a run",
    )
    show.add_argument(
        "runs",
        nargs="*",
        type=word,
        metavar="RUN",
        help="a run's id, its beginning or last part, or its file (default: the latest)",
    )
    show.add_argument("--select", type=word, metavar="EXPR", help='only some cases, e.g. "precision=fp16"')
    show.add_argument("--format", choices=("text", "json", "csv", "markdown"), default="text")
    show.add_argument("--time", action="store_true", help="where the wall time went, by case, in place of the results")
    show.add_argument(
        "--cold-start", action="store_true", help="what comes before the first answer, and when it pays back"
    )
    show.add_argument(
        "--waterfall", action="store_true", help="where the time of an inference goes, from the newest profiles"
    )
    show.add_argument(
        "--host-cost", action="store_true", help="what Python costs: the Python and the C++ runner of each artifact"
    )
    show.add_argument(
        "--rate", type=rate, metavar="N", help="with --cold-start: requests per second, for how long that takes"
    )
    show.add_argument("--fairness", action="store_true", help="whether compared cases ran under equal conditions")
    show.add_argument(
        "--as",
        choices=("trtexec", "trtexec11"),
        help="in the words of another tool: trtexec with copies (as it is up to version 10), or without (from 11 on)",
    )
    show.add_argument("--case", type=word, metavar="CASE", help="with --as: one case by its id or label")


def _runs(commands: Commands) -> None:
    runs = commands.add_parser(
        "runs",
        parents=[store_option(), common_options()],
        help="list the runs: name, date, device, state",
    )
    runs.add_argument("--rehearsals", action="store_true", help="also those of the backend fake")
    runs.add_argument("--format", choices=("text", "json"), default="text")


def _list(commands: Commands) -> None:
    parents = [selection_options(), size_options(), common_options()]
    plan = commands.add_parser("list", parents=parents, help="print the plan: what runs, what is left out and why")
    plan.add_argument("--format", choices=("text", "json"), default="text")
    plan.set_defaults(example="trtbench list suites/smoke.yaml")


def _doctor(commands: Commands) -> None:
    parents = [store_option(), common_options()]
    doctor = commands.add_parser("doctor", parents=parents, help="what this machine can run, and how to get the rest")
    doctor.add_argument(
        "file",
        nargs="?",
        type=folder,
        metavar="FILE",
        help="a suite or a toolchains.yaml whose toolchains are looked at too (default: suites/toolchains.yaml)",
    )


def _selftest(commands: Commands) -> None:
    test = commands.add_parser(
        "selftest", parents=[common_options()], help="check the GPU's clock against kernels of known length"
    )
    test.add_argument("--gpu", action="store_true", help="on the first visible GPU")
    test.add_argument("--processes", type=positive, default=3, metavar="N", help="fresh processes (default: 3)")
    test.add_argument(
        "--holds",
        type=positive,
        default=10,
        metavar="N",
        help="calls of each kind that is hard to hold (default: 10)",
    )
    add_progress(test, "auto", "live", "plain", "json")


def _schema(commands: Commands) -> None:
    schema = commands.add_parser(
        "schema", parents=[common_options()], help="the JSON Schema of suite files, for editors"
    )
    schema.add_argument("--toolchains", action="store_true", help="that of a toolchains.yaml instead")


# Each adds one command, in the order of --help.
_COMMANDS = (
    _run, _build, _show, comparing.compare, comparing.duel, comparing.calibrate, comparing.history, comparing.report,
    _runs, _list, profiling.layers, profiling.profile, profiling.kernels, profiling.trace, profiling.explain,
    program.add_codegen, program.add_ops, diverge.add, accuracy.add, placement.add, _doctor,
    _selftest, _schema,
)  # fmt: skip
