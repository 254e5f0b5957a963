"""The options of commands that compare: `compare`, `duel`, `calibrate`, `history`, `report`."""

from __future__ import annotations

from pathlib import Path

from bench.cli.options import (
    Commands,
    add_progress,
    artifacts_options,
    common_options,
    fail_on,
    folder,
    natural,
    positive,
    required_folder,
    required_word,
    selection_options,
    slower,
    store_option,
    word,
)


def compare(commands: Commands) -> None:
    """Add the command `compare`."""
    compare = commands.add_parser(
        "compare",
        parents=[store_option(), common_options()],
        help="which cases of run B are faster or slower than in run A, and how sure that is",
        epilog="exit codes: 0 compared; 1 what --fail-on names is there; 2 bad input, or a case is REFUSED.",
    )
    compare.add_argument(
        "a",
        type=required_word,
        metavar="A",
        help="a run's id, its beginning or last part, or its file; A1,A2 pools several",
    )
    compare.add_argument("b", type=word, metavar="B", nargs="?", help="likewise; may be left out with --axis")
    compare.add_argument(
        "--boundary",
        type=word,
        metavar="NAME",
        help="whose times: gpu, latency, throughput, ... (default: gpu, else latency)",
    )
    compare.add_argument(
        "--across",
        type=word,
        action="append",
        default=[],
        metavar="DIMENSION",
        help="compare although the environments differ in it: toolchain, device, driver, library:torch, ...",
    )
    compare.add_argument("--axis", choices=("backend", "toolchain", "precision", "cuda_graph"),
                         help="partners differ in it; of one run, its cases against each other")  # fmt: skip
    compare.add_argument("--baseline", type=word, metavar="BACKEND", help="with one run and --axis backend: A")
    compare.add_argument(
        "--fail-on",
        type=fail_on,
        metavar="slower[:2%][,failed][,inconclusive]",
        help="exit code 1 if a case is SLOWER (by more than that), has no result in B alone, or no verdict",
    )
    compare.add_argument("--select", type=word, metavar="EXPR", help='only some cases of A, e.g. "precision=fp16"')
    compare.add_argument(
        "--calibration",
        type=word,
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


def calibrate(commands: Commands) -> None:
    """Add the command `calibrate`."""
    calibrate = commands.add_parser(
        "calibrate",
        parents=[
            selection_options(),
            artifacts_options(),
            store_option(),
            common_options(),
        ],
        help="how identical code differs on this machine, and how many processes find a difference",
        epilog="exit codes: 0 calibrated; 1 a case has no figures; 2 bad input; 130 interrupted.",
    )
    calibrate.add_argument(
        "--from", dest="sources", type=word, metavar="RUN[,RUN]", help="also stored runs, each as a sitting"
    )
    calibrate.add_argument("--processes", type=positive, metavar="N", help="of each case, in all (default: 28)")
    calibrate.add_argument("--sittings", type=positive, metavar="N", help="runs one after the other (default: 2)")
    calibrate.add_argument(
        "--replicates",
        type=positive,
        metavar="N",
        help="processes a side of later comparisons (default: the suite's)",
    )
    calibrate.add_argument("--format", choices=("text", "json", "markdown"), default="text")
    add_progress(calibrate, "auto", "live", "plain")
    calibrate.set_defaults(example="trtbench calibrate suites/smoke.yaml", yes=True)


def history(commands: Commands) -> None:
    """Add the command `history`."""
    history = commands.add_parser(
        "history",
        parents=[store_option(), common_options()],
        help="one case over all runs: when it became faster or slower",
    )
    history.add_argument(
        "case", type=required_word, metavar="CASE", help="its label, or its id or the beginning of that"
    )
    history.add_argument(
        "--boundary",
        type=word,
        action="append",
        default=[],
        metavar="NAME",
        help="whose times: gpu, latency, throughput, ...; also several times (default: gpu, else latency)",
    )
    history.add_argument("--rehearsals", action="store_true", help="also runs of the backend fake")
    history.add_argument(
        "--calibration",
        type=word,
        metavar="NAME",
        help="that of this device by its name or file, or none (default: the newest)",
    )
    history.add_argument("--format", choices=("text", "json", "csv", "markdown"), default="text")


def duel(commands: Commands) -> None:
    """Add the command `duel`."""
    duel = commands.add_parser(
        "duel",
        parents=[store_option(), common_options()],
        help="which of two cases is faster, by pairs of processes that measure in turn until it is decided",
        epilog="exit codes: 0 ended; 1 a side failed or is inaccurate, or with --fail-on, a side is SLOWER; "
        "2 bad input; 130 interrupted.",
    )
    duel.add_argument("suite", type=required_folder, metavar="SUITE", help="a suite file, e.g. suites/smoke.yaml")
    duel.add_argument(
        "--select",
        type=word,
        required=True,
        metavar="EXPR",
        help='the first side: parts of labels, "resnet18/eager", or an expression, "backend=eager and batch=1"',
    )
    duel.add_argument(
        "--against",
        type=word,
        action="append",
        default=[],
        metavar="EXPR",
        help="the second side; may be repeated",
    )
    duel.add_argument(
        "--against-rev",
        type=word,
        metavar="REVISION",
        help="in its place: the same cases with the code of another revision of their git repository",
    )
    duel.add_argument(
        "--boundary",
        type=word,
        default="latency",
        metavar="NAME",
        help="whose times are compared (default: latency)",
    )
    duel.add_argument("--pairs", type=positive, default=25, metavar="N", help="at most N pairs (default: 25)")
    duel.add_argument("--max-time", type=word, metavar="TIME", help="begin no pair after that, e.g. 10min")
    duel.add_argument("--device", choices=("auto", "cpu", "cuda"), help="default: the suite's")
    duel.add_argument("--seed", type=natural, default=0, help="of inputs, weights and the order (default: 0)")
    duel.add_argument("--cache", type=folder, metavar="DIR", help="the artifact cache, as of run")
    duel.add_argument(
        "--fail-on",
        type=slower,
        metavar="slower[:2%]",
        help="exit code 1 if a side is SLOWER (by more than that)",
    )
    duel.add_argument("--format", choices=("text", "json", "markdown"), default="text")
    add_progress(duel, "auto", "live", "plain", "json")


def report(commands: Commands) -> None:
    """Add the command `report`."""
    report = commands.add_parser(
        "report",
        parents=[store_option(), common_options()],
        help="write one HTML file that shows runs: the dashboard",
    )
    report.add_argument(
        "runs",
        nargs="*",
        type=word,
        metavar="RUN",
        help="a run's id, its beginning or last part, or its file (default: all)",
    )
    report.add_argument("--out", type=folder, default=Path("report.html"), metavar="FILE", help="default: report.html")
    report.add_argument("--select", type=word, metavar="EXPR", help='only some cases, e.g. "precision=fp16"')
    report.add_argument("--baseline", type=word, metavar="BACKEND", help="as in show, for the runs that have it")
    report.add_argument("--title", type=word, metavar="TEXT", help="of the page")
    report.add_argument("--open", action="store_true", help="show it in the browser")
    report.add_argument("--watch", action="store_true", help="write it again whenever a run goes on, until Ctrl-C")
