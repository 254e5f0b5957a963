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
from bench.errors import UsageError, is_input

if TYPE_CHECKING:
    from bench import api
    from bench.model.run import Failure
    from bench.model.sensitivity import QuantizationCost
    from bench.model.tensor_ranges import CaseRanges


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
    if arguments.ranges and (given := [name for name in ("target", "metric", "rank") if getattr(arguments, name)]):
        what = "--ranges shows what the calibration observed, and compares no outputs"
        raise UsageError(what, where=f"--{given[0]}", fix="leave one of them out")
    request = typed.request(arguments, plan_only=True)
    with output.progress_view(arguments.progress, []) as on_event:
        if arguments.ranges:
            observed = ranges(request, on_event)
        else:
            results = examine(arguments, request, on_event)
    return report_ranges(arguments, observed) if arguments.ranges else report(arguments, results)


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
    command.add_argument(
        "--ranges",
        action="store_true",
        help="show the range and a histogram of each tensor that the calibration observed, and compare no outputs",
    )
    command.add_argument("--rank", action="store_true", help="measure with one layer quantized at a time")
    command.add_argument(
        "--compare-on", type=positive, default=32, metavar="N", help="samples to compare outputs on (default: 32)"
    )
    command.add_argument(
        "--top", type=natural, default=10, metavar="N", help="layers or tensors of a list (default: 10; 0: all)"
    )


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


def ranges(request: api.Request, on_event: api.OnEvent) -> list[CaseRanges]:
    """What the calibrations of a request observed."""
    from bench import api

    return api.calibration_ranges(request, on_event=on_event)


def report_ranges(arguments: argparse.Namespace, results: Sequence[CaseRanges]) -> int:
    """Print the ranges, and return the exit code: 1 too where a tensor has no scale."""
    from bench.report import ranges as view

    text = (
        view.json(results)
        if arguments.format == "json"
        else view.render(results, most=arguments.top, **output.screen())
    )
    output.say(text, end="")
    without = any(not tensor.has_scale for each in results if each.ranges for tensor in each.ranges.tensors)
    return _exit_code([each.failure for each in results if each.failure is not None]) or int(without)


def report(arguments: argparse.Namespace, results: Sequence[QuantizationCost]) -> int:
    """Print what was found, and return the exit code."""
    from bench.report import sensitivity as view

    text = view.json(results) if arguments.format == "json" else view.render_all(results, most=arguments.top)
    output.say(text, end="")
    unmet = any(result.accuracy.unmet for result in results if result.accuracy is not None)
    return 2 if unmet else _exit_code([result.failure for result in results if result.failure is not None])


def _exit_code(failures: Sequence[Failure]) -> int:
    return 2 if any(is_input(failure.kind) for failure in failures) else int(bool(failures))
