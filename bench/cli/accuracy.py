"""What quantizing costs, on the command line: `trtbench quantize`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bench.cli import output, typed
from bench.cli.options import (
    Commands,
    Parser,
    add_progress,
    artifacts_options,
    common_options,
    natural,
    positive,
    selection_options,
    word,
)
from bench.errors import is_input

if TYPE_CHECKING:
    from bench import api
    from bench.model.sensitivity import QuantizationCost


def add(commands: Commands) -> None:
    """Add the command `quantize`."""
    command = commands.add_parser(
        "quantize",
        parents=[selection_options(), artifacts_options(), common_options()],
        help="calibrate int8 cases, and say what quantizing costs them in accuracy and which layers cost most",
        epilog="exit codes: 0 every case was examined, and its target is met; 1 a case failed; 2 bad input, or no "
        "assignment meets the target.",
    )
    add_options(command)
    command.add_argument("--format", choices=("text", "json"), default="text")
    add_progress(command, "auto", "live", "plain")
    example = 'trtbench quantize suites/int8_centernet.yaml --select "precision=int8" --target "cosine >= 0.999"'
    command.set_defaults(example=example, quick=False, replicates=None, yes=True)


def quantize(arguments: argparse.Namespace) -> int:
    """Examine the selected cases, and return the exit code."""
    if arguments.device is None:
        arguments.device = "cuda"  # a network is one of a GPU, which need not be here
    request = typed.request(arguments, plan_only=True)
    with output.progress_view(arguments.progress, []) as on_event:
        results = examine(arguments, request, on_event)
    return report(arguments, results)


def add_options(command: Parser) -> None:
    """Add the options that say what to examine."""
    command.add_argument(
        "--target",
        type=word,
        metavar="LIMIT",
        help="find the layers to leave in floating point so that e.g. 'top1 >= -0.5 %%' holds (a change against fp32), "
        "or 'cosine >= 0.999'",
    )
    command.add_argument(
        "--metric",
        type=word,
        metavar="FILE.py:FUNCTION",
        help="your metric of outputs and reference, beside the suite, in place of top1, cosine and sqnr",
    )
    command.add_argument("--rank", action="store_true", help="measure with one layer quantized at a time")
    command.add_argument(
        "--compare-on", type=positive, default=32, metavar="N", help="samples to compare outputs on (default: 32)"
    )
    command.add_argument("--top", type=natural, default=10, metavar="N", help="layers of a list (default: 10; 0: all)")


def examine(arguments: argparse.Namespace, request: api.Request, on_event: api.OnEvent) -> list[QuantizationCost]:
    """What quantizing costs the cases of a request."""
    from bench import api

    return api.quantization_cost(
        request,
        target=arguments.target or "",
        metric=arguments.metric or "",
        samples=arguments.compare_on,
        rank=arguments.rank,
        on_event=on_event,
    )


def report(arguments: argparse.Namespace, results: Sequence[QuantizationCost]) -> int:
    """Print what was found, and return the exit code."""
    from bench.report import sensitivity as view

    text = view.json(results) if arguments.format == "json" else view.render_all(results, most=arguments.top)
    output.say(text, end="")
    failures = [result.failure for result in results if result.failure is not None]
    if any(is_input(failure.kind) for failure in failures):
        return 2
    return int(bool(failures))
