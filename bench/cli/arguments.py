"""Commands and their options. A command has no option that it would ignore."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import NamedTuple, NoReturn, TypeAlias

from bench import __version__
from bench.model.folders import RESULTS
from bench.units import parse_fraction

EPILOG = """exit codes: 0 every case has a result, or lacks a package or device (--strict counts that too);
1 a case failed or is inaccurate, or all of them lack a package or device; 2 bad input, nothing written;
130 interrupted (the run can be taken up again with --resume)."""
STORE = Path(RESULTS)


class FailOn(NamedTuple):
    """When a comparison fails: a case is SLOWER by more than the fraction ``slower`` (None: not for that), has a sound
    result in A but not in B (``failed``), or too few processes for a verdict (``inconclusive``).
    """

    slower: float | None = None
    failed: bool = False
    inconclusive: bool = False


class _Parser(argparse.ArgumentParser):
    """Prints an error as all errors are printed, without the usage of thirty options above it."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"trtbench: {message}\n  fix: {self.prog} --help\n")


class _Once(argparse.Action):
    """An option of which argparse would silently take the last."""

    def __call__(
        self, parser: argparse.ArgumentParser, arguments: argparse.Namespace, values: object, option: str | None = None
    ) -> None:
        if getattr(arguments, self.dest) is not None:
            parser.error(
                f"{option} is given twice; to choose among the backends of a suite: --select 'backend=A or backend=B'"
            )
        setattr(arguments, self.dest, values)


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The arguments of one command, which ``command`` names. SystemExit, as argparse does, if they are wrong."""
    parser = _Parser(
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


# ---------------------------------------------------------------------------------------------------------- commands

_Commands: TypeAlias = "argparse._SubParsersAction[_Parser]"


def _run(commands: _Commands) -> None:
    parents = [_selection(), _size(), _artifacts(), _tables(), _store(), _common()]
    run = commands.add_parser("run", parents=parents, help="measure a suite and store every result")
    run.add_argument(
        "--resume",
        type=_word,
        metavar="RUN",
        help="run what is missing of an earlier run, or with --select a part of it; --replicates raises its number",
    )
    run.add_argument(
        "--prestart",
        type=_workers,
        default=None,
        metavar="{auto,N}",
        help="N workers import, export and build at once while nothing is measured (default: auto, by the machine)",
    )
    run.add_argument(
        "--fork",
        action=argparse.BooleanOptionalAction,
        default=None,
        help="fork the workers that measure from processes that have imported their runtimes (default), or start each",
    )
    run.add_argument(
        "--devices",
        type=_devices,
        default=1,
        metavar="{1,all,N}",
        help="measure on N GPUs of one kind at once, cases that are compared on one (default: 1)",
    )
    run.add_argument("--dry-run", action="store_true", help="print the plan and stop")
    run.add_argument("--strict", action="store_true", help="exit code 1 also when a package or device is not there")
    _progress(run, "auto", "live", "plain", "json")
    run.set_defaults(example="trtbench run suites/smoke.yaml")


def _show(commands: _Commands) -> None:
    show = commands.add_parser("show", parents=[_tables(), _store(), _common()], help="print the tables of a run")
    show.add_argument(
        "runs", nargs="*", metavar="RUN", help="a run's id, its beginning, or its file (default: the latest)"
    )
    show.add_argument("--select", type=_word, metavar="EXPR", help='only some cases, e.g. "precision=fp16"')
    show.add_argument("--format", choices=("text", "json", "csv", "markdown"), default="text")
    show.add_argument("--time", action="store_true", help="where the wall time went, by case, in place of the results")
    show.add_argument(
        "--cold-start", action="store_true", help="what comes before the first answer, and when it pays back"
    )
    show.add_argument(
        "--waterfall", action="store_true", help="where the time of an inference goes, from the newest profiles"
    )
    show.add_argument(
        "--rate", type=_rate, metavar="N", help="with --cold-start: requests per second, for how long that takes"
    )
    show.add_argument("--fairness", action="store_true", help="whether compared cases ran under equal conditions")
    show.add_argument(
        "--as",
        choices=("trtexec", "trtexec11"),
        help="in the words of another tool: trtexec with copies (as it is up to version 10), or without (from 11 on)",
    )
    show.add_argument("--case", type=_word, metavar="CASE", help="with --as: one case by its id or label")


def _compare(commands: _Commands) -> None:
    compare = commands.add_parser(
        "compare",
        parents=[_store(), _common()],
        help="which cases of run B are faster or slower than in run A, and how sure that is",
        epilog="exit codes: 0 compared; 1 what --fail-on names is there; 2 bad input, or a case is REFUSED.",
    )
    compare.add_argument(
        "a", type=_word, metavar="A", help="a run's id, its beginning, or its file; A1,A2 pools several"
    )
    compare.add_argument("b", type=_word, metavar="B", nargs="?", help="likewise; may be left out with --axis")
    compare.add_argument(
        "--boundary",
        type=_word,
        metavar="NAME",
        help="whose times: gpu, latency, throughput, ... (default: gpu, else latency)",
    )
    compare.add_argument(
        "--across",
        type=_word,
        action="append",
        default=[],
        metavar="DIMENSION",
        help="compare although the environments differ in it: toolchain, device, driver, library:torch, ...",
    )
    compare.add_argument("--axis", choices=("backend", "toolchain", "precision", "cuda_graph"),
                         help="partners differ in it; of one run, its cases against each other")  # fmt: skip
    compare.add_argument("--baseline", type=_word, metavar="BACKEND", help="with one run and --axis backend: A")
    compare.add_argument(
        "--fail-on",
        type=_fail_on,
        metavar="slower[:2%][,failed][,inconclusive]",
        help="exit code 1 if a case is SLOWER (by more than that), has no result in B alone, or no verdict",
    )
    compare.add_argument("--select", type=_word, metavar="EXPR", help='only some cases of A, e.g. "precision=fp16"')
    compare.add_argument(
        "--calibration",
        type=_word,
        metavar="NAME",
        help="that of this machine by its name or file, or none (default: the newest of the same environment)",
    )
    compare.add_argument(
        "--confirm",
        type=Path,
        metavar="SUITE",
        help="with --fail-on: first measure those cases again in a duel, and fail only for what that calls SLOWER too",
    )
    compare.add_argument("--format", choices=("text", "json", "csv", "markdown", "github"), default="text")


def _calibrate(commands: _Commands) -> None:
    calibrate = commands.add_parser(
        "calibrate",
        parents=[_selection(), _artifacts(), _store(), _common()],
        help="how identical code differs on this machine, and how many processes find a difference",
        epilog="exit codes: 0 calibrated; 1 a case has no figures; 2 bad input; 130 interrupted.",
    )
    calibrate.add_argument(
        "--from", dest="sources", type=_word, metavar="RUN[,RUN]", help="also stored runs, each as a sitting"
    )
    calibrate.add_argument("--processes", type=_positive, metavar="N", help="of each case, in all (default: 28)")
    calibrate.add_argument("--sittings", type=_positive, metavar="N", help="runs one after the other (default: 2)")
    calibrate.add_argument(
        "--replicates", type=_positive, metavar="N", help="processes a side of later comparisons (default: the suite's)"
    )
    calibrate.add_argument("--format", choices=("text", "json", "markdown"), default="text")
    _progress(calibrate, "auto", "live", "plain")
    calibrate.set_defaults(example="trtbench calibrate suites/smoke.yaml", yes=True)


def _history(commands: _Commands) -> None:
    history = commands.add_parser(
        "history", parents=[_store(), _common()], help="one case over all runs: when it became faster or slower"
    )
    history.add_argument("case", type=_word, metavar="CASE", help="its label, or its id or the beginning of that")
    history.add_argument(
        "--boundary",
        type=_word,
        action="append",
        default=[],
        metavar="NAME",
        help="whose times: gpu, latency, throughput, ...; also several times (default: gpu, else latency)",
    )
    history.add_argument("--rehearsals", action="store_true", help="also runs of the backend fake")
    history.add_argument(
        "--calibration",
        type=_word,
        metavar="NAME",
        help="that of this device by its name or file, or none (default: the newest)",
    )
    history.add_argument("--format", choices=("text", "json", "csv", "markdown"), default="text")


def _report(commands: _Commands) -> None:
    report = commands.add_parser(
        "report", parents=[_store(), _common()], help="write one HTML file that shows runs: the dashboard"
    )
    report.add_argument("runs", nargs="*", metavar="RUN", help="a run's id, its beginning, or its file (default: all)")
    report.add_argument("--out", type=_folder, default=Path("report.html"), metavar="FILE", help="default: report.html")
    report.add_argument("--select", type=_word, metavar="EXPR", help='only some cases, e.g. "precision=fp16"')
    report.add_argument("--baseline", type=_word, metavar="BACKEND", help="as in show, for the runs that have it")
    report.add_argument("--title", type=_word, metavar="TEXT", help="of the page")
    report.add_argument("--open", action="store_true", help="show it in the browser")
    report.add_argument("--watch", action="store_true", help="write it again whenever a run goes on, until Ctrl-C")


def _duel(commands: _Commands) -> None:
    duel = commands.add_parser(
        "duel",
        parents=[_store(), _common()],
        help="which of two cases is faster, by pairs of processes that measure in turn until it is decided",
        epilog="exit codes: 0 ended; 1 a side failed or is inaccurate, or with --fail-on, a side is SLOWER; "
        "2 bad input; 130 interrupted.",
    )
    duel.add_argument("suite", type=Path, metavar="SUITE", help="a suite file, e.g. suites/smoke.yaml")
    duel.add_argument(
        "--select",
        type=_word,
        required=True,
        metavar="EXPR",
        help='the first side: parts of labels, "resnet18/eager", or an expression, "backend=eager and batch=1"',
    )
    duel.add_argument(
        "--against", type=_word, action="append", default=[], metavar="EXPR", help="the second side; may be repeated"
    )
    duel.add_argument(
        "--against-rev",
        type=_word,
        metavar="REVISION",
        help="in its place: the same cases with the code of another revision of their git repository",
    )
    duel.add_argument(
        "--boundary", type=_word, default="latency", metavar="NAME", help="whose times are compared (default: latency)"
    )
    duel.add_argument("--pairs", type=_positive, default=25, metavar="N", help="at most N pairs (default: 25)")
    duel.add_argument("--max-time", type=_word, metavar="TIME", help="begin no pair after that, e.g. 10min")
    duel.add_argument("--device", choices=("auto", "cpu", "cuda"), help="default: the suite's")
    duel.add_argument("--seed", type=_natural, default=0, help="of inputs, weights and the order (default: 0)")
    duel.add_argument("--cache", type=_folder, metavar="DIR", help="the artifact cache, as of run")
    duel.add_argument(
        "--fail-on", type=_slower, metavar="slower[:2%]", help="exit code 1 if a side is SLOWER (by more than that)"
    )
    duel.add_argument("--format", choices=("text", "json", "markdown"), default="text")
    _progress(duel, "auto", "live", "plain", "json")


def _runs(commands: _Commands) -> None:
    runs = commands.add_parser("runs", parents=[_store(), _common()], help="list the runs: name, date, device, state")
    runs.add_argument("--rehearsals", action="store_true", help="also those of the backend fake")
    runs.add_argument("--format", choices=("text", "json"), default="text")


def _list(commands: _Commands) -> None:
    parents = [_selection(), _size(), _common()]
    plan = commands.add_parser("list", parents=parents, help="print the plan: what runs, what is left out and why")
    plan.add_argument("--format", choices=("text", "json"), default="text")
    plan.set_defaults(example="trtbench list suites/smoke.yaml")


def _layers(commands: _Commands) -> None:
    parents = [_selection(), _artifacts(), _common()]
    layers = commands.add_parser("layers", parents=parents, help="what each layer of a few cases' engines is and costs")
    layers.add_argument("--format", choices=("text", "json"), default="text")
    _progress(layers, "auto", "live", "plain")
    select = "backend=tensorrt and batch=32 and toolchain=default"
    example = f'trtbench layers suites/native_resnet50.yaml --select "{select}"'
    # Layers have a limit of their own, far below the one that --yes lifts.
    layers.set_defaults(example=example, quick=False, replicates=None, yes=True)


def _profile(commands: _Commands) -> None:
    parents = [_selection(), _artifacts(), _store(), _common()]
    profile = commands.add_parser(
        "profile",
        parents=parents,
        help="where the time of an inference goes: each case under a profiler, in a pass of its own",
        epilog="exit codes: 0 all cases have a profile; 1 a case failed; 2 bad input; 130 interrupted.",
    )
    profile.add_argument(
        "--tool",
        choices=("nsys", "torch", "layers", "ncu"),
        default="torch",
        help="Nsight Systems, torch.profiler (on a CPU too), the layers of engines, or Nsight Compute (default: torch)",
    )
    profile.add_argument("--modules", action="store_true", help="name the modules that a call runs in Python")
    profile.add_argument(
        "--iterations", type=_positive, default=10, metavar="N", help="how many calls are recorded (default: 10)"
    )
    profile.add_argument("--kernel", type=_word, metavar="NAME", help="the kernel that ncu looks at")
    profile.add_argument("--raw", type=_folder, metavar="DIR", help="keep the tool's own reports there, for its viewer")
    profile.add_argument("--out", type=_folder, metavar="FILE", help="the file to write, in place of one in the store")
    profile.add_argument("--format", choices=("text", "json"), default="text")
    _progress(profile, "auto", "live", "plain")
    example = 'trtbench profile suites/smoke.yaml --select "backend=eager" --tool torch'
    profile.set_defaults(example=example, quick=False, replicates=None, yes=True)


def _kernels(commands: _Commands) -> None:
    kernels = commands.add_parser(
        "kernels",
        parents=[_profiles(), _store(), _common()],
        help="the kernels of a profile, on a CPU its operators, by the time that they take",
    )
    kernels.add_argument("--top", type=_positive, default=15, metavar="N", help="how many of each case (default: 15)")
    kernels.add_argument("--format", choices=("text", "json", "csv", "markdown"), default="text")


def _trace(commands: _Commands) -> None:
    trace = commands.add_parser(
        "trace",
        parents=[_profiles(), _store(), _common()],
        help="write the profile of a case as a trace for ui.perfetto.dev or chrome://tracing",
    )
    trace.add_argument(
        "--out", type=_folder, default=Path("trace.json"), metavar="FILE", help="the file (default: trace.json)"
    )


def _explain(commands: _Commands) -> None:
    explain = commands.add_parser(
        "explain",
        parents=[_store(), _common()],
        help="why case B takes longer than case A, by the parts of the model and their kernels",
        epilog="exit codes: 0 explained; 2 bad input, or cases of different models or sizes.",
    )
    explain.add_argument(
        "a",
        type=_word,
        metavar="A",
        help="a case of profiles: FILE:CASE, or CASE of the newest file, e.g. resnet50/eager/batch=1; FILE may also be "
        "what `trtbench layers --format json` printed",
    )
    explain.add_argument("b", type=_word, metavar="B", help="likewise; CASE alone is of A's file")
    explain.add_argument("--in", dest="file", type=_word, metavar="FILE", help="the profiles that CASE alone is of")
    explain.add_argument(
        "--across", choices=("model", "size"), action="append", default=[], help="although the cases differ in it"
    )
    explain.add_argument("--top", type=_positive, default=10, metavar="N", help="the N parts that differ most")
    explain.add_argument("--format", choices=("text", "json", "markdown"), default="text")


def _doctor(commands: _Commands) -> None:
    parents = [_store(), _common()]
    doctor = commands.add_parser("doctor", parents=parents, help="what this machine can run, and how to get the rest")
    doctor.add_argument(
        "file",
        nargs="?",
        type=Path,
        metavar="FILE",
        help="a suite or a toolchains.yaml whose toolchains are looked at too (default: suites/toolchains.yaml)",
    )


def _selftest(commands: _Commands) -> None:
    test = commands.add_parser(
        "selftest", parents=[_common()], help="check the GPU's clock against kernels of known length"
    )
    test.add_argument("--gpu", action="store_true", help="on the first visible GPU")
    test.add_argument("--processes", type=_positive, default=3, metavar="N", help="fresh processes (default: 3)")
    test.add_argument(
        "--holds", type=_positive, default=10, metavar="N", help="calls of each kind that is hard to hold (default: 10)"
    )
    _progress(test, "auto", "live", "plain", "json")


def _schema(commands: _Commands) -> None:
    schema = commands.add_parser("schema", parents=[_common()], help="the JSON Schema of suite files, for editors")
    schema.add_argument("--toolchains", action="store_true", help="that of a toolchains.yaml instead")


# ------------------------------------------------------------------------------------- options that commands share


def _common() -> _Parser:
    common = _Parser(add_help=False)
    common.add_argument("--traceback", action="store_true", help="show where in the code an error came from")
    return common


def _store() -> _Parser:
    store = _Parser(add_help=False)
    store.add_argument(
        "--store", type=_folder, default=STORE, metavar="DIR", help=f"the folder of runs (default: {STORE})"
    )
    return store


def _profiles() -> _Parser:
    profiles = _Parser(add_help=False)
    profiles.add_argument(
        "profiles",
        nargs="?",
        metavar="PROFILES",
        help="a file of `trtbench profile`, or its name (default: the latest)",
    )
    profiles.add_argument(
        "--case", type=_word, metavar="CASE", help="a case by its label, a part of it (* is any text), or its id"
    )
    return profiles


def _tables() -> _Parser:
    tables = _Parser(add_help=False)
    tables.add_argument(
        "--baseline",
        type=_word,
        metavar="BACKEND",
        help="the backend that speed is compared with, e.g. eager, eager@TOOLCHAIN, or eager/fp32 for all precisions "
        "(default: eager)",
    )
    tables.add_argument("--verbose", action="store_true", help="also what was left out, and logs of failures")
    tables.add_argument("--phases", action="store_true", help="also import, load, export, compile and first call")
    tables.add_argument("--stats", action="store_true", help="also minimum, standard deviation and percentiles")
    return tables


def _selection() -> _Parser:
    selection = _Parser(add_help=False)
    selection.add_argument("suite", nargs="?", type=Path, metavar="SUITE", help="a suite file, e.g. suites/smoke.yaml")
    selection.add_argument("--select", type=_word, metavar="EXPR", help='e.g. "model=resnet50 and precision=fp16"')
    selection.add_argument("--device", choices=("auto", "cpu", "cuda"), help="default: the suite's")
    selection.add_argument(
        "--backend",
        type=_word,
        action=_Once,
        metavar="NAME",
        help="replace every backend, e.g. by fake for a rehearsal",
    )
    return selection


def _size() -> _Parser:
    size = _Parser(add_help=False)
    size.add_argument("--quick", action="store_true", help="one replicate, looser intervals")
    size.add_argument("--replicates", type=_positive, metavar="N", help="fresh processes per case")
    size.add_argument("--yes", action="store_true", help="allow a plan of more than 10,000 cases")
    return size


def _artifacts() -> _Parser:
    artifacts = _Parser(add_help=False)
    artifacts.add_argument("--cold", action="store_true", help="make every artifact and compile cache anew")
    artifacts.add_argument(
        "--rebuild",
        action="store_true",
        help="make engines and packages anew, with the caches of earlier builds",
    )
    artifacts.add_argument(
        "--cache",
        type=_folder,
        metavar="DIR",
        help="the artifact cache (default: $TRTBENCH_CACHE or ~/.cache/trtbench)",
    )
    artifacts.add_argument("--seed", type=_natural, help="of inputs and weights (default: 0)")
    return artifacts


def _progress(command: _Parser, *kinds: str) -> None:
    command.add_argument("--progress", choices=kinds, default="auto", help="how progress is shown")


# ------------------------------------------------------------------------------------------------------------ values


def _word(text: str) -> str:
    if not text.strip():  # what an unset shell variable leaves: it would mean everything, or the working folder
        raise argparse.ArgumentTypeError("it is empty (an unset variable?); leave the option away to do without it")
    return text


def _fail_on(text: str) -> FailOn:
    """``slower:2%,failed`` -> FailOn(slower=0.02, failed=True)."""
    words = [word.strip() for word in text.split(",")]
    thresholds = [_slower(word) for word in words if word.startswith("slower")]
    flags = {name: name in words for name in ("failed", "inconclusive")}
    for word in words:
        if not word.startswith("slower") and word not in flags:
            what = f"{word!r} is not slower, slower:2%, failed or inconclusive; several are joined by commas"
            raise argparse.ArgumentTypeError(what)
    return FailOn(slower=thresholds[-1] if thresholds else None, **flags)


def _slower(text: str) -> float:
    """``slower:2%`` -> 0.02."""
    kind, _, threshold = text.partition(":")
    try:
        if kind == "slower" and (threshold or text == kind):
            return _threshold(threshold or "0")
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    raise argparse.ArgumentTypeError(f"{text!r} is not slower or slower:2%")


def _threshold(text: str) -> float:
    fraction = parse_fraction(text)
    if fraction < 1 or text.endswith("%"):
        return fraction
    raise ValueError(f"{text!r} is {100 * fraction:g} %: slower:{text}%, or slower:{100 * fraction:g}%")


def _rate(text: str) -> float:
    """``50`` or ``50/s`` -> 50.0."""
    try:
        rate = float(text.removesuffix("/s"))
    except ValueError:
        rate = 0.0
    if not 0 < rate < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of requests per second, e.g. 50")
    return rate


def _folder(text: str) -> Path:
    return Path(_word(text))


def _natural(text: str) -> int:
    if not text.isdigit() or int(text) >= 1 << 63:
        raise argparse.ArgumentTypeError(f"{text!r} is not an integer of 0 to 2^63 - 1")
    return int(text)


def _workers(text: str) -> int | None:
    return None if text == "auto" else _positive(text)


def _devices(text: str) -> int | str:
    return text if text == "all" else _positive(text)


def _positive(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not an integer of 1 or more")
    return int(text)


# Each adds one command, in the order of --help.
_COMMANDS = (
    _run, _show, _compare, _duel, _calibrate, _history, _report, _runs, _list, _layers, _profile, _kernels, _trace,
    _explain, _doctor, _selftest, _schema,
)  # fmt: skip
