"""Where Q/DQ stand, on the command line: `trtbench lint-qdq`."""

from __future__ import annotations

import argparse
from pathlib import Path

from bench.cli import output, typed
from bench.cli.options import Commands, add_progress, artifacts_options, common_options, selection_options
from bench.errors import UsageError, is_input

_FILE = ".onnx"
_SUITES = (".yaml", ".yml")


def add(commands: Commands) -> None:
    """Add the command `lint-qdq`."""
    command = commands.add_parser(
        "lint-qdq",
        parents=[selection_options(), artifacts_options(), common_options()],
        help="where quantize and dequantize layers keep TensorRT from a fusion, in int8 cases or an ONNX file",
        epilog="SUITE may be an ONNX file. exit codes: 0 the findings are listed; 1 a case failed, or with --fail "
        "there is a finding; 2 bad input.",
    )
    command.add_argument("--fail", action="store_true", help="exit code 1 if there is a finding")
    command.add_argument("--format", choices=("text", "json"), default="text")
    add_progress(command, "auto", "live", "plain")
    example = 'trtbench lint-qdq suites/int8_centernet.yaml --select "precision=int8 and batch=1"'
    command.set_defaults(example=example, quick=False, replicates=None, yes=True)


def lint_qdq(arguments: argparse.Namespace) -> int:
    """Look at the selected cases or the file, print the findings, and return the exit code."""
    from bench import api
    from bench.report import placement as view

    if arguments.suite is not None and arguments.suite.suffix == _FILE:
        if arguments.select or arguments.backend:
            raise UsageError("an ONNX file has no cases", where="--select, --backend", fix="leave them out")
        results = [api.lint_qdq_file(arguments.suite)]
    else:
        _refuse_other_files(arguments.suite)
        if arguments.device is None:
            arguments.device = "cuda"  # a network is one of a GPU, which need not be here
        request = typed.request(arguments, plan_only=True)
        with output.progress_view(arguments.progress, []) as on_event:
            results = api.lint_qdq(request, on_event=on_event)
    text = view.json(results) if arguments.format == "json" else view.render(results, **output.screen())
    output.say(text, end="")
    failures = [result.failure for result in results if result.failure is not None]
    if any(is_input(failure.kind) for failure in failures):
        return 2
    return int(bool(failures) or (arguments.fail and any(result.findings for result in results)))


def _refuse_other_files(path: Path | None) -> None:
    """UsageError for a file that is neither a suite nor an ONNX file by its name."""
    if path is not None and path.is_file() and path.suffix not in _SUITES:
        what = f"a suite ({_SUITES[0]}) or an ONNX file ({_FILE}) is expected"
        raise UsageError(what, where=str(path), fix="trtbench lint-qdq suites/int8_centernet.yaml, or model.onnx")
