"""Do profiles explain what is measured? Unexplained time, attributed kernels and `gpu` against the profile, by case.

    PYTHONPATH=. python3 tests/selfbench/waterfall_gpu.py --out DIR [--toolchain PYTHON] [--select EXPR] [--dry]
        [--tool torch|nsys ...] [--replicates N]
    PYTHONPATH=. python3 tests/selfbench/waterfall_gpu.py --run RUN --store DIR

The first runs the suite beside this file, profiles its cases with the tool torch (those of TensorRT, whose interpreter
need not have torch, with nsys alone) and then all of them with nsys, and prints a line per case and tool; DIR keeps the
store. The second reads a run and the newest profiles of its cases. The exit code is 1 if a case misses a limit.
``--dry`` rehearses the commands with simulated cases. ``--replicates 0`` profiles without a run. A line ends with the
limits that are missed: ``other`` and ``named`` of the profile, ``clock`` of the last difference in the last table, and
``held`` where there is nothing to compare although a stream can be held.

The last table has, in us, medians of one call:

    run        `gpu` of the run: other processes, as many as replicates
    process    `gpu` of the profiled process, before its profiler started
    recorded   calls on a held stream while the profiler recorded, by the same events
    profile    these calls as the profiler saw them, from the first kernel's start to the last one's end
    busy       of that, the time in which a kernel or a copy ran

and by how much the profile is off: from ``process``, which is what recording does to the GPU, and from ``recorded``,
the events around the same calls, which tells of the clock alone and has a limit, max(2 %, 5 us).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import bench
from bench.analysis.held_calls import is_close
from bench.analysis.waterfalls import RunWaterfalls, Waterfall, of_profiles

UNEXPLAINED, ATTRIBUTED = 0.05, 0.99
# As runs have it: no path of this machine gets into results.
SUITE = os.path.relpath(Path(__file__).resolve().with_suffix(".yaml"))


class Judged(NamedTuple):
    """A case under a tool, and the limits that it misses."""

    case: Waterfall
    wrong: tuple[str, ...]


def trtbench(*words: object) -> None:
    """One command, whose failed cases are rows."""
    command = [sys.executable, "-m", "bench", *map(str, words), "--progress", "plain"]
    print("$", " ".join(command[2:]), flush=True)
    began = time.monotonic()
    done = subprocess.run(command, check=False)
    print(f"  took {time.monotonic() - began:.0f} s, exit code {done.returncode}", flush=True)


def take(folder: Path, select: str, tools: Sequence[str], replicates: int | None, *, dry: bool) -> list[Judged]:
    """Run, profile by each tool, and judge."""
    store = folder / "results"
    common = [SUITE, "--cache", folder / "cache", "--store", store, *(["--backend", "fake"] if dry else [])]
    chosen = ["--select", select] if select else []
    if replicates != 0:
        trtbench("run", *common, *chosen, *([] if replicates is None else ["--replicates", replicates]))
    judged = []
    for tool in ("torch",) if dry else tools:
        own = f"not backend=tensorrt{f' and ({select})' if select else ''}" if tool == "torch" and not dry else ""
        words = ["--select", own] if own else chosen
        trtbench("profile", *common, *words, "--tool", tool, "--modules")
        judged += judge(read(store if replicates == 0 else newest_run(store), store))
    return judged


def newest_run(store: Path) -> str:
    """Its file, as a rehearsal is read by that alone."""
    return str(max(store.rglob("*.jsonl")))


def read(run: str | os.PathLike[str] | None, store: str | os.PathLike[str]) -> Sequence[Waterfall]:
    """The waterfalls of a run's cases; of a store's newest profiles where ``run`` is the store."""
    if run == store:
        return of_profiles(bench.read_profiles(store=store))
    several: RunWaterfalls = bench.waterfalls(bench.read(run, store=store, packed=True), store=store)  # type: ignore[arg-type]
    return several.cases


def judge(several: Sequence[Waterfall]) -> list[Judged]:
    """A line for each case, and what is wrong with it."""
    print(f"{'case':60} {'tool':6} {'other':>7} {'named':>7} {'ratio':>6}")
    judged = []
    for each in several:
        if each.parts is None:
            print(f"{each.label:60} {each.failure.kind if each.failure else 'no profile'}")
            if each.failure:
                judged.append(Judged(each, ("failed",)))
            continue
        other = each.parts.unexplained / each.parts.window if each.parts.window else 0.0
        named, own = each.attributed or 0.0, each.own
        misses = {
            "other": other > UNEXPLAINED,
            "named": each.device == "cuda" and named < ATTRIBUTED,
            "clock": own.span is not None and own.recorded_gpu is not None and not is_close(own.span, own.recorded_gpu),
            "held": own.span is None and (own.gpu is not None or "gpu" in each.times),
        }
        wrong = tuple(name for name, is_missed in misses.items() if is_missed)
        ratio = f"{each.ratio:6.2f}" if each.ratio else f"{'-':>6}"
        print(f"{each.label:60} {each.tool:6} {other:7.1%} {named:7.1%} {ratio} {' '.join(wrong)}")
        judged.append(Judged(each, wrong))
    return judged


def compare(judged: Sequence[Judged]) -> None:
    """The table of `gpu` and profiles."""
    titles = " ".join(f"{title:>9}" for title in ("run", "process", "recorded", "profile", "busy"))
    width = max((len(each.case.label) for each in judged), default=0)
    print(f"\n{'medians, us':{width}} {'tool':5} {titles}  {'profile - process':>18}  {'profile - recorded':>18}")
    for each, _ in judged:
        own = each.own
        times = (each.times.get("gpu"), own.gpu, own.recorded_gpu, own.span, own.busy)
        figures = " ".join(f"{'-' if ns is None else f'{ns / 1e3:.1f}':>9}" for ns in times)
        differences = f"{off(own.span, own.gpu):>18}  {off(own.span, own.recorded_gpu):>18}"
        print(f"{each.label:{width}} {each.tool:5} {figures}  {differences}")


def off(profile: float | None, gpu: float | None) -> str:
    """``+2.4 us  +0.5%``."""
    return f"{(profile - gpu) / 1e3:+.1f} us {profile / gpu - 1:+6.1%}" if profile is not None and gpu else "-"


def main(words: Sequence[str] | None = None) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="run and profile the suite, and keep everything there")
    parser.add_argument("--toolchain", help="the interpreter of TensorRT 8.6 (default: $TORCH22_PYTHON)")
    parser.add_argument("--select", default="", help="cases of the suite")
    parser.add_argument("--tool", action="append", choices=("torch", "nsys"), help="this tool alone (default: both)")
    parser.add_argument("--replicates", type=int, help="processes of the run (default: the suite's), 0: no run")
    parser.add_argument("--dry", action="store_true", help="simulated cases")
    parser.add_argument("--run", help="a run that is there")
    parser.add_argument("--store", default="results")
    options = parser.parse_args(words)
    if options.toolchain:
        os.environ["TORCH22_PYTHON"] = options.toolchain
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        tools = options.tool or ("torch", "nsys")
        judged = take(options.out, options.select, tools, options.replicates, dry=options.dry)
    else:
        judged = judge(read(options.run, options.store))
    compare(judged)
    return int(any(each.wrong for each in judged))


if __name__ == "__main__":
    raise SystemExit(main())
