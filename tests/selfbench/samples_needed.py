"""How many samples of a process each boundary needs: the stored runs as if their processes had taken fewer.

    python -m tests.selfbench.samples_needed [results]

Of each case with three processes or more in one run the sd of the logs of process medians is computed from all samples,
and again from the first n of each process. The variance of a mean over processes grows by the square of their ratio,
whatever the noise within a process is like: it lasts, so that samples taken in a row say less than as many independent
ones. ``rule`` is a replay of the stop rule with a suite's defaults. Of ``throughput`` the samples are calls spread
evenly over the window, so the first fraction of them stands for a shorter window, and their mean for the rate.
"""

from __future__ import annotations

import math
import sys
from collections import defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean, median, variance
from typing import NamedTuple

from bench import store
from bench.measure.clock import FakeClock
from bench.measure.stop import StopRule
from bench.model.run import Measurement
from bench.model.suite import DEFAULT_POLICY

COUNTS = (10, 20, 30, 50, 75, 100, 200)
FRACTIONS = (0.25, 0.5, 0.75)
BOUNDARIES = ("gpu", "enqueue", "latency", "gpu_unheld", "throughput")
LEAST_PROCESSES = 3

Samples = Sequence[int]


class Row(NamedTuple):
    """How the variance grows: its geometric mean over cases, weighted by degrees of freedom, and the usual case's."""

    boundary: str
    cases: int
    samples: str
    used: float
    growth: float
    usual: float


def cases(root: Path) -> dict[tuple[str, str], list[list[Measurement]]]:
    """By kind of device and boundary, for each case the measurements of its processes."""
    processes: dict[tuple[str, str, str, str], list[Measurement]] = defaultdict(list)
    for path in sorted(root.rglob("*.jsonl")):
        run = store.read(path)
        for record in run.records:
            if record.failure is None and record.toolchain in run.header.environments:
                kind = run.header.environments[record.toolchain].kind
                for measurement in record.measurements:
                    processes[kind, measurement.boundary, path.name, record.case].append(measurement)
    found: dict[tuple[str, str], list[list[Measurement]]] = defaultdict(list)
    for (kind, boundary, *_), measurements in processes.items():
        if len(measurements) >= LEAST_PROCESSES:
            found[kind, boundary].append(measurements)
    return found


def growth(case: list[Measurement], part: Callable[[Samples], Samples], centre: Callable[[Samples], float]) -> float:
    """The variance of logs over processes from ``part`` of their samples, over that from all."""
    all_samples = variance([math.log(centre(process.samples)) for process in case])
    return variance([math.log(centre(part(process.samples))) for process in case]) / all_samples


def replayed(samples: Samples) -> Samples:
    """What the stop rule would have taken of ``samples``, if they suffice."""
    clock = FakeClock()
    rule = StopRule(DEFAULT_POLICY, clock)
    for ns in samples:
        clock.advance(ns)
        rule.add(ns)
        if rule.reason:
            break
    return rule.samples


def row(boundary: str, of: list[list[Measurement]], samples: str, part: Callable[[Samples], Samples]) -> Row:
    centre: Callable[[Samples], float] = fmean if boundary == "throughput" else median
    growths = [growth(case, part, centre) for case in of]
    weights = [len(case) - 1 for case in of]
    mean = math.exp(sum(w * math.log(g) for w, g in zip(weights, growths, strict=True)) / sum(weights))
    used = median(len(part(process.samples)) for case in of for process in case)
    return Row(boundary, len(of), samples, used, mean, median(growths))


def rows(boundary: str, of: list[list[Measurement]]) -> list[Row]:
    """One row for each number of samples."""
    if boundary == "throughput":
        return [
            row(boundary, of, f"{part:.0%} of window", lambda s, part=part: s[: math.ceil(part * len(s))])
            for part in FRACTIONS
        ]
    first = [row(boundary, of, f"first {n}", lambda s, n=n: s[:n]) for n in COUNTS]
    return [*first, row(boundary, of, "rule", replayed)]


def main(root: Path) -> None:
    found = cases(root)
    for kind in sorted({kind for kind, _ in found}):
        print(f"{kind}: the variance of a mean over processes, as a multiple of that from all samples")
        print(f"{'boundary':<12}{'cases':>6}  {'samples':<14}{'used':>6}{'mean':>7}{'median':>8}")
        for boundary in BOUNDARIES:
            for r in rows(boundary, found[kind, boundary]) if (kind, boundary) in found else ():
                print(f"{r.boundary:<12}{r.cases:>6}  {r.samples:<14}{r.used:>6.0f}{r.growth:>7.2f}{r.usual:>8.2f}")
    if not found:
        print(f"no case of {root} has {LEAST_PROCESSES} processes")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "results"))
