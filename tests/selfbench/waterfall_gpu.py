"""Do profiles explain what a run measured? Unexplained time, attributed kernels and `gpu` against the profile, by case.

`PYTHONPATH=. python3 tests/selfbench/waterfall_gpu.py RUN --store DIR` reads a run and the newest profiles of its cases
and prints a line per case; it exits with 1 if one misses a limit.
"""

from __future__ import annotations

import argparse

import bench

UNEXPLAINED, ATTRIBUTED = 0.05, 0.99
# Of `gpu` against the profile: the larger of a fraction and ns.
CLOSE, CLOSE_NS = 0.02, 5_000


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run")
    parser.add_argument("--store", default="results")
    words = parser.parse_args()
    several = bench.waterfalls(bench.read(words.run, store=words.store, packed=True), store=words.store)
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
    return int(misses > 0)


if __name__ == "__main__":
    raise SystemExit(main())
