"""The options of commands that profile, and explain what profiles say."""

from __future__ import annotations

import argparse
from pathlib import Path

from bench.cli.options import (
    Commands,
    add_progress,
    artifacts_options,
    common_options,
    folder,
    positive,
    profiles_options,
    required_word,
    selection_options,
    store_option,
    word,
)


def layers(commands: Commands) -> None:
    """Add the command `layers`."""
    parents = [selection_options(), artifacts_options(), common_options()]
    layers = commands.add_parser("layers", parents=parents, help="what each layer of a few cases' engines is and costs")
    layers.add_argument("--format", choices=("text", "json"), default="text")
    add_progress(layers, "auto", "live", "plain")
    select = "backend=tensorrt and batch=32 and toolchain=default"
    example = f'trtbench layers suites/native_resnet50.yaml --select "{select}"'
    # Layers have a limit of their own, far below the one that --yes lifts.
    layers.set_defaults(example=example, quick=False, replicates=None, yes=True)


def profile(commands: Commands) -> None:
    """Add the command `profile`."""
    parents = [
        selection_options(),
        artifacts_options(),
        store_option(),
        common_options(),
    ]
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
        "--iterations", type=positive, default=10, metavar="N", help="how many calls are recorded (default: 10)"
    )
    profile.add_argument("--kernel", type=word, metavar="NAME", help="the kernel that ncu looks at")
    profile.add_argument("--raw", type=folder, metavar="DIR", help="keep the tool's own reports there, for its viewer")
    profile.add_argument("--out", type=folder, metavar="FILE", help="the file to write, in place of one in the store")
    profile.add_argument("--format", choices=("text", "json"), default="text")
    add_progress(profile, "auto", "live", "plain")
    example = 'trtbench profile suites/smoke.yaml --select "backend=eager" --tool torch'
    profile.set_defaults(example=example, quick=False, replicates=None, yes=True)


def kernels(commands: Commands) -> None:
    """Add the command `kernels`."""
    kernels = commands.add_parser(
        "kernels",
        parents=[profiles_options(), store_option(), common_options()],
        help="the kernels of a profile, on a CPU its operators, by the time that they take",
    )
    kernels.add_argument("--top", type=positive, default=15, metavar="N", help="how many of each case (default: 15)")
    kernels.add_argument("--format", choices=("text", "json", "csv", "markdown"), default="text")


def trace(commands: Commands) -> None:
    """Add the command `trace`."""
    trace = commands.add_parser(
        "trace",
        parents=[profiles_options(), store_option(), common_options()],
        help="write the profile of a case as a trace for ui.perfetto.dev or chrome://tracing",
    )
    trace.add_argument(
        "--out", type=folder, default=Path("trace.json"), metavar="FILE", help="the file (default: trace.json)"
    )


_EXPLAIN = """\
A and B are cases of profiles, which `trtbench profile` makes. To explain why Inductor is faster or slower than eager:

  trtbench profile suites/vision.yaml --select "model=resnet50 and precision=fp16" --modules
  trtbench explain resnet50/eager resnet50/inductor

An inference is taken apart into its work (the kernels that a GPU runs; the layers of an engine; the operators of a CPU)
and gaps (the GPU is idle while the host prepares and launches the next work). Where a run has measured both cases, its
times are shown beside the profile's. docs/explain.md says how to read it."""


def explain(commands: Commands) -> None:
    """Add the command `explain`."""
    explain = commands.add_parser(
        "explain",
        parents=[store_option(), common_options()],
        help="why case B takes longer than case A, by the parts of the model and their kernels",
        description=_EXPLAIN,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog="exit codes: 0 explained; 2 bad input, or cases of different models or sizes.",
    )
    explain.add_argument(
        "a",
        type=required_word,
        metavar="A",
        help="CASE of the newest profiles in the store that have both, or FILE:CASE. CASE is a label, a part of one "
        "that no other case has, or an id; FILE has profiles, or what `trtbench layers --format json` printed",
    )
    explain.add_argument("b", type=required_word, metavar="B", help="likewise; CASE alone is of A's file")
    explain.add_argument(
        "--in",
        dest="file",
        type=word,
        metavar="FILE",
        help="the profiles that A is of, by path, name, or its beginning or last part",
    )
    explain.add_argument(
        "--run",
        dest="runs",
        type=word,
        metavar="RUN",
        action="append",
        default=[],
        help="take measured times from this run, by path, name, or its beginning or last part, in place of the newest "
        "that have both cases; several times for several runs",
    )
    explain.add_argument(
        "--across",
        choices=("model", "size"),
        action="append",
        default=[],
        help="explain cases of two models, or of two sizes, which are refused otherwise",
    )
    explain.add_argument(
        "--gaps",
        choices=("auto", "gpu", "measured", "unprofiled", "profiled"),
        default="auto",
        help="how long gaps are, as a profiler slows the host and makes them longer. measured: what latency of a run "
        "leaves beside the work; gpu: what its gpu leaves, to which layers of an engine are shortened; unprofiled: "
        "what the time before the profiler started leaves; profiled: as it saw them, not of an engine beside kernels; "
        "auto (default): gpu for an engine's layers, else the first of measured, unprofiled and profiled that both "
        "cases have",
    )
    explain.add_argument(
        "--top", type=positive, default=0, metavar="N", help="the N rows that differ most (default: 3; 10 if verbose)"
    )
    explain.add_argument(
        "--verbose", action="store_true", help="the sentences of all causes, whole names of kernels, and all notes"
    )
    explain.add_argument(
        "--format", choices=("text", "json", "markdown"), default="text", help="json has all parts (default: text)"
    )
