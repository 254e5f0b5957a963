"""What options of several commands have in common: the parser, groups of options, and how their values are read."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from typing import NamedTuple, NoReturn, TypeAlias

from bench.model.folders import RESULTS
from bench.units import parse_fraction

STORE = Path(RESULTS)


class FailOn(NamedTuple):
    """When a comparison fails: a case is SLOWER by more than the fraction ``slower`` (None: not for that), has a sound
    result in A but not in B (``failed``), or too few processes for a verdict (``inconclusive``).
    """

    slower: float | None = None
    failed: bool = False
    inconclusive: bool = False


class Parser(argparse.ArgumentParser):
    """Prints an error as all errors are printed, without the usage of thirty options above it."""

    def _check_value(self, action: argparse.Action, value: object) -> None:
        """Name the nearest choice in place of them all, where there is one."""
        from bench.errors import did_you_mean

        try:
            super()._check_value(action, value)
        except argparse.ArgumentError as error:
            guess = did_you_mean(str(value), map(str, action.choices or ()))
            error.message = f"invalid choice: {value!r}.{guess}" if guess else error.message
            raise

    def error(self, message: str) -> NoReturn:
        """End with exit code 2."""
        self.exit(2, f"trtbench: {message}\n  fix: {self.prog} --help\n")


class Once(argparse.Action):
    """An option of which argparse would silently take the last."""

    def __call__(
        self, parser: argparse.ArgumentParser, arguments: argparse.Namespace, values: object, option: str | None = None
    ) -> None:
        """Keep the value, or refuse a second one."""
        if getattr(arguments, self.dest) is not None:
            parser.error(
                f"{option} is given twice; to choose among the backends of a suite: --select 'backend=A or backend=B'"
            )
        setattr(arguments, self.dest, values)


Commands: TypeAlias = "argparse._SubParsersAction[Parser]"


def common_options() -> Parser:
    """Of every command."""
    common = Parser(add_help=False)
    common.add_argument("--traceback", action="store_true", help="show where in the code an error came from")
    return common


def store_option() -> Parser:
    """The folder of runs."""
    store = Parser(add_help=False)
    store.add_argument(
        "--store", type=folder, default=STORE, metavar="DIR", help=f"the folder of runs (default: {STORE})"
    )
    return store


def profiles_options() -> Parser:
    """A file of profiles and its cases."""
    profiles = Parser(add_help=False)
    profiles.add_argument(
        "profiles",
        nargs="?",
        type=word,
        metavar="PROFILES",
        help="a file of `trtbench profile`, or its name (default: the latest)",
    )
    profiles.add_argument(
        "--case", type=word, metavar="CASE", help="a case by its label, a part of it (* is any text), or its id"
    )
    return profiles


def tables_options() -> Parser:
    """What the tables of a run show."""
    tables = Parser(add_help=False)
    tables.add_argument(
        "--baseline",
        type=word,
        metavar="BACKEND",
        help="the backend that speed is compared with, e.g. eager, eager@TOOLCHAIN, or eager/fp32 for all precisions "
        "(default: eager)",
    )
    tables.add_argument("--verbose", action="store_true", help="also what was left out, and logs of failures")
    tables.add_argument("--phases", action="store_true", help="also import, load, export, compile and first call")
    tables.add_argument("--stats", action="store_true", help="also minimum, standard deviation and percentiles")
    return tables


def selection_options() -> Parser:
    """A suite, and which of its cases."""
    selection = Parser(add_help=False)
    selection.add_argument(
        "suite", nargs="?", type=required_folder, metavar="SUITE", help="a suite file, e.g. suites/smoke.yaml"
    )
    selection.add_argument("--select", type=word, metavar="EXPR", help='e.g. "model=resnet50 and precision=fp16"')
    selection.add_argument("--device", choices=("auto", "cpu", "cuda"), help="default: the suite's")
    selection.add_argument(
        "--backend",
        type=word,
        action=Once,
        metavar="NAME",
        help="replace every other backend, e.g. by fake for a rehearsal; cases that have it keep their options",
    )
    return selection


def size_options() -> Parser:
    """How much is measured."""
    size = Parser(add_help=False)
    size.add_argument("--quick", action="store_true", help="one replicate, looser intervals")
    size.add_argument("--replicates", type=positive, metavar="N", help="fresh processes per case")
    size.add_argument("--yes", action="store_true", help="allow a plan of more than 10,000 cases")
    return size


def artifacts_options() -> Parser:
    """What is taken from caches, and the seed."""
    artifacts = Parser(add_help=False)
    artifacts.add_argument("--cold", action="store_true", help="make every artifact and compile cache anew")
    artifacts.add_argument(
        "--rebuild",
        action="store_true",
        help="make engines, packages and the C++ runner anew, with the caches of earlier builds",
    )
    artifacts.add_argument(
        "--cache",
        type=folder,
        metavar="DIR",
        help="the artifact cache (default: $TRTBENCH_CACHE or ~/.cache/trtbench)",
    )
    artifacts.add_argument("--seed", type=natural, help="of inputs and weights (default: 0)")
    return artifacts


def code_options() -> Parser:
    """Where generated code goes."""
    code = Parser(add_help=False)
    code.add_argument(
        "--keep-code",
        type=folder,
        metavar="DIR",
        help="keep there what compilers write: programs, kernels, the order of their calls; DIR/index.txt lists it",
    )
    return code


def add_progress(command: Parser, *kinds: str) -> None:
    """How progress is shown, by one of ``kinds``."""
    command.add_argument("--progress", choices=kinds, default="auto", help="how progress is shown")


def word(text: str) -> str:
    """A text that is not empty, of what may be left out."""
    return _word(text, "; leave it out to do without it")


def required_word(text: str) -> str:
    """A text that is not empty, of what a command needs."""
    return _word(text, "")


def _word(text: str, otherwise: str) -> str:
    if not text.strip():  # what an unset shell variable leaves: it would mean everything, or the working folder
        raise argparse.ArgumentTypeError(f"it is empty (an unset variable?){otherwise}")
    return text


def fail_on(text: str) -> FailOn:
    """``slower:2%,failed`` -> FailOn(slower=0.02, failed=True)."""
    kinds = [kind.strip() for kind in text.split(",")]
    thresholds = [slower(kind) for kind in kinds if kind.startswith("slower")]
    flags = {name: name in kinds for name in ("failed", "inconclusive")}
    for kind in kinds:
        if not kind.startswith("slower") and kind not in flags:
            what = f"{kind!r} is not slower, slower:2%, failed or inconclusive; several are joined by commas"
            raise argparse.ArgumentTypeError(what)
    return FailOn(slower=thresholds[-1] if thresholds else None, **flags)


def slower(text: str) -> float:
    """``slower:2%`` -> 0.02."""
    kind, _, fraction = text.partition(":")
    try:
        if kind == "slower" and (fraction or text == kind):
            return threshold(fraction or "0")
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    raise argparse.ArgumentTypeError(f"{text!r} is not slower or slower:2%")


def threshold(text: str) -> float:
    """A fraction below 1, ``2%`` or ``0.02``."""
    fraction = parse_fraction(text)
    if fraction < 1 or text.endswith("%"):
        return fraction
    raise ValueError(f"{text!r} is {100 * fraction:g} %: slower:{text}%, or slower:{100 * fraction:g}%")


def rate(text: str) -> float:
    """``50`` or ``50/s`` -> 50.0."""
    try:
        rate = float(text.removesuffix("/s"))
    except ValueError:
        rate = 0.0
    if not 0 < rate < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number of requests per second, e.g. 50")
    return rate


def folder(text: str) -> Path:
    """A path."""
    return Path(word(text))


def required_folder(text: str) -> Path:
    """A path of what a command needs."""
    return Path(required_word(text))


def natural(text: str) -> int:
    """An integer from 0 to 2^63 - 1."""
    if not text.isdigit() or int(text) >= 1 << 63:
        raise argparse.ArgumentTypeError(f"{text!r} is not an integer of 0 to 2^63 - 1")
    return int(text)


def workers(text: str) -> int | None:
    """A number of workers; None for ``auto``."""
    return None if text == "auto" else _number_or("auto", text)


def devices(text: str) -> int | str:
    """A number of devices, or ``all``."""
    return text if text == "all" else _number_or("all", text)


def capabilities(text: str) -> tuple[str, ...]:
    """``8.6,8.9`` -> ("8.6", "8.9")."""
    several = tuple(each.strip() for each in text.split(","))
    for each in several:
        if not re.fullmatch(r"[1-9]\d?\.\d", each):
            raise argparse.ArgumentTypeError(f"{each!r} is no compute capability, e.g. 8.9")
    return several


def _number_or(word: str, text: str) -> int:
    """An integer of 1 or more, where ``word`` is allowed too."""
    try:
        return positive(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is neither {word} nor an integer of 1 or more") from error


def positive(text: str) -> int:
    """An integer of 1 or more."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not an integer of 1 or more")
    return int(text)
