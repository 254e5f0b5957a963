"""Do profiles explain what a run measured? Unexplained time, attributed kernels and `gpu` against the profile, by case.

    PYTHONPATH=. python3 tests/selfbench/waterfall_gpu.py --out DIR [--toolchain PYTHON] [--select EXPR] [--dry]
    PYTHONPATH=. python3 tests/selfbench/waterfall_gpu.py --run RUN --store DIR

The first runs the suite beside this file, profiles its cases with the tool torch (those of TensorRT, whose interpreter
need not have torch, with nsys alone) and then all of them with nsys, and prints a line per case and tool; DIR keeps the
store. The second reads a run and the newest profiles of its cases. The exit code is 1 if a case misses a limit.
``--dry`` rehearses the commands with simulated cases.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import bench

UNEXPLAINED, ATTRIBUTED = 0.05, 0.99
# Of `gpu` against the profile: the larger of a fraction and ns.
CLOSE, CLOSE_NS = 0.02, 5_000
# As runs have it: no path of this machine gets into results.
SUITE = os.path.relpath(Path(__file__).resolve().with_suffix(".yaml"))


def trtbench(*words: object) -> None:
    """One command, whose failed cases are rows."""
    command = [sys.executable, "-m", "bench", *map(str, words), "--progress", "plain"]
    print("$", " ".join(command[2:]), flush=True)
    began = time.monotonic()
    done = subprocess.run(command, check=False)
    print(f"  took {time.monotonic() - began:.0f} s, exit code {done.returncode}", flush=True)


def take(folder: Path, select: str, *, dry: bool) -> int:
    """Run, profile by both tools, and judge each; the number of cases that miss a limit."""
    store = folder / "results"
    common = [SUITE, "--cache", folder / "cache", "--store", store, *(["--backend", "fake"] if dry else [])]
    chosen = ["--select", select] if select else []
    trtbench("run", *common, *chosen)
    run = str(max(store.rglob("*.jsonl")))  # the newest; a rehearsal is read by its file alone
    misses = 0
    for tool in ("torch",) if dry else ("torch", "nsys"):
        own = f"not backend=tensorrt{f' and ({select})' if select else ''}" if tool == "torch" and not dry else ""
        words = ["--select", own] if own else chosen
        trtbench("profile", *common, *words, "--tool", tool, "--modules")
        misses += judge(run, store)
    return misses


def judge(run: str | None, store: str | os.PathLike[str]) -> int:
    """A line for each case of a run; the number of those that miss a limit."""
    several = bench.waterfalls(bench.read(run, store=store, packed=True), store=store)
    titles = " ".join(f"{title:>9}" for title in ("busy us", "held us", "gpu us"))
    print(f"{'case':60} {'tool':6} {'other':>7} {'named':>7} {'ratio':>6} {titles} {'off':>7}")
    misses = 0
    for each in several.cases:
        if each.parts is None:
            print(f"{each.label:60} {each.failure.kind if each.failure else 'no profile'}")
            continue
        other = each.parts.unexplained / each.parts.window if each.parts.window else 0.0
        named, gpu, held = each.attributed or 0.0, each.times.get("gpu"), each.held_ns or 0.0
        close = gpu is None or abs(held - gpu) <= max(CLOSE * gpu, CLOSE_NS)
        wrong = [
            name
            for name, bad in {
                "other": other > UNEXPLAINED,
                "named": each.device == "cuda" and named < ATTRIBUTED,
                "gpu": not close,
            }.items()
            if bad
        ]
        misses += bool(wrong)
        off = f"{held / gpu - 1:+7.1%}" if gpu else f"{'-':>7}"
        figures = f"{(each.busy_ns or 0) / 1e3:9.1f} {held / 1e3:9.1f} {(gpu or 0) / 1e3:9.1f} {off}"
        ratio = f"{each.ratio:6.2f}" if each.ratio else f"{'-':>6}"
        print(f"{each.label:60} {each.tool:6} {other:7.1%} {named:7.1%} {ratio} {figures} {' '.join(wrong)}")
    return misses


def main(words: Sequence[str] | None = None) -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="run and profile the suite, and keep everything there")
    parser.add_argument("--toolchain", help="the interpreter of TensorRT 8.6 (default: $TORCH22_PYTHON)")
    parser.add_argument("--select", default="", help="cases of the suite")
    parser.add_argument("--dry", action="store_true", help="simulated cases")
    parser.add_argument("--run", help="a run that is there")
    parser.add_argument("--store", default="results")
    options = parser.parse_args(words)
    if options.toolchain:
        os.environ["TORCH22_PYTHON"] = options.toolchain
    if options.out:
        options.out.mkdir(parents=True, exist_ok=True)
        return int(take(options.out, options.select, dry=options.dry) > 0)
    return int(judge(options.run, options.store) > 0)


if __name__ == "__main__":
    raise SystemExit(main())
