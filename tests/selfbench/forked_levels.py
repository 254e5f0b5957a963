"""Whether forked workers measure what new processes do: levels and spread of process medians, one card at a time.

    python tests/selfbench/forked_levels.py NEW... -- FORKED...

The arguments are files of runs of the same suite. Medians are set against the mean of their card, as cards differ.
"""

from __future__ import annotations

import collections
import math
import statistics
import sys
from pathlib import Path

from scipy import stats

from bench import store

BOUNDARIES = ("gpu", "latency")


def logs(path: Path) -> dict[tuple[str, str], list[float]]:
    """The logarithms of the process medians of a run, by case with boundary, and card."""
    run = store.read(path)
    values: dict[tuple[str, str], list[float]] = collections.defaultdict(list)
    card = str(run.header.environments["default"].observed.get("card", ""))
    for record in run.records:
        for measurement in record.measurements:
            if measurement.boundary in BOUNDARIES:
                median = statistics.median(measurement.samples)
                values[f"{record.label} {measurement.boundary}", record.card or card].append(math.log(median))
    return values


def main() -> None:
    """Print a row for each case; exit code 2 without two sides."""
    if "--" not in sys.argv[1:]:
        sys.exit(__doc__)
    split = sys.argv.index("--")
    sides: list[dict[tuple[str, str], list[float]]] = [collections.defaultdict(list), collections.defaultdict(list)]
    for side, paths in zip(sides, (sys.argv[1:split], sys.argv[split + 1 :]), strict=True):
        for path in paths:
            for key, values in logs(Path(path)).items():
                side[key] += values
    for label in dict.fromkeys(label for label, _ in sides[0]):
        new: list[float] = []
        forked: list[float] = []
        for key in (key for key in sides[0] if key[0] == label):
            middle = statistics.fmean(sides[0][key] + sides[1][key])
            new += [value - middle for value in sides[0][key]]
            forked += [value - middle for value in sides[1][key]]
        difference = statistics.fmean(forked) - statistics.fmean(new)
        p_level = stats.ttest_ind(new, forked, equal_var=False).pvalue
        ratio = statistics.variance(forked) / statistics.variance(new)
        p_spread = stats.f.sf(ratio, len(forked) - 1, len(new) - 1)
        spreads = f"sd new {statistics.stdev(new):.2%} forked {statistics.stdev(forked):.2%}"
        print(f"{label}: n {len(new)} and {len(forked)}, forked / new {difference:+.2%} (p {p_level:.2f}), ", end="")
        print(f"{spreads} (p {p_spread:.2f})")


if __name__ == "__main__":
    main()
