"""The first layer that is wrong, on the command line: `trtbench diverge`."""

from __future__ import annotations

import argparse

from bench.cli import output, typed
from bench.cli.options import (
    Commands,
    add_progress,
    artifacts_options,
    common_options,
    positive,
    selection_options,
)
from bench.errors import is_input


def add(commands: Commands) -> None:
    """Add the command `diverge`."""
    command = commands.add_parser(
        "diverge",
        parents=[selection_options(), artifacts_options(), common_options()],
        help="the first layer of a network whose output is not what eager computes, and why",
        epilog="exit codes: 0 all outputs keep the limits; 1 a network leaves them, or a case failed; 2 bad input.",
    )
    command.add_argument(
        "--on",
        choices=("oracle", "engine"),
        default="oracle",
        help="what runs the network: an interpreter on the CPU, or TensorRT (default: oracle)",
    )
    command.add_argument(
        "--at-once",
        type=positive,
        metavar="N",
        help="tensors that are outputs at a time (default: 1 of an engine, which more would change; all on the oracle)",
    )
    command.add_argument(
        "--limit",
        type=_error,
        metavar="REL_L2",
        help="the rel L2 that every tensor must keep (default: the suite's limits on accuracy)",
    )
    command.add_argument("--format", choices=("text", "json"), default="text")
    add_progress(command, "auto", "live", "plain")
    example = 'trtbench diverge suites/network_programs.yaml --select "model=resnet50 and precision=fp16 and batch=1"'
    command.set_defaults(example=example, quick=False, replicates=None, yes=True)


def _error(text: str) -> float:
    """``0.01``: a relative error above 0."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no relative error above 0, e.g. 0.01")
    return value


def diverge(arguments: argparse.Namespace) -> int:
    """Examine the selected cases, print what was found, and return the exit code."""
    from bench import api
    from bench.report import diverge as view

    if arguments.on == "oracle" and arguments.device is None:
        arguments.device = "cuda"  # a network is one of a GPU, which need not be here
    request = typed.request(arguments, plan_only=arguments.on == "oracle")
    with output.progress_view(arguments.progress, []) as on_event:
        results = api.diverge(
            request, on=arguments.on, at_once=arguments.at_once or 0, limit=arguments.limit, on_event=on_event
        )
    text = view.json(results) if arguments.format == "json" else view.render(results, **output.screen())
    output.say(text, end="")
    if any(result.failure and is_input(result.failure.kind) for result in results):
        return 2
    return int(any(result.failure or result.cause for result in results))
