"""What rules for "is B slower than A" say of the same simulated processes: ours, robust variants, and those of peers.

    python -m tests.selfbench.verdict_rules [draws]

Each draw is two sides of some processes with 50 samples each. Logs of process levels have the standard deviation and
the shape that the column says, samples around them one of 0.5 % with a long tail. In the first columns both sides are
the same program, in the last ones the second is slower by 3 %. A number is the percentage of draws in which the rule
calls them different (where they are: in the right direction). Two tables of trtbench alone follow, of its false alarms
and of how often its 95 % interval has the true ratio, by the numbers of processes.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from scipy import stats as scipy_stats

from bench.analysis.verdict import verdict

DRAWS, SAMPLES, SEED = 2000, 50, 19
EFFECT = 0.03
# Medians of processes (draws, processes) and samples (draws, processes * samples) of one side, as logs.
Array = np.ndarray
# The sign of B - A where a rule calls them different, else 0; shape (draws,).
Rule = Callable[["Side", "Side"], Array]


class Side(NamedTuple):
    """The logs of one side."""

    medians: Array
    samples: Array


class Shape(NamedTuple):
    """How processes differ: a title, and levels of the shape (draws, processes)."""

    title: str
    levels: Callable[[np.random.Generator, tuple[int, int]], Array]
    effect: float = 0.0


def two_states(rng: np.random.Generator, shape: tuple[int, int]) -> Array:
    """Half of the processes are slower by 3.2 %, as 531 and 548 us, and all differ by 0.1 %."""
    return math.log(548 / 531) * (rng.random(shape) < 0.5) + 0.001 * rng.standard_normal(shape)


def drift(rng: np.random.Generator, shape: tuple[int, int]) -> Array:
    """Each run slows down by 3 % from its first process to its last, and processes differ by 0.9 %."""
    return 0.03 * np.linspace(0, 1, shape[1]) + 0.009 * rng.standard_normal(shape)


SHAPES = (
    Shape("sd 0.5 %", lambda rng, shape: 0.005 * rng.standard_normal(shape)),
    Shape("sd 0.9 %", lambda rng, shape: 0.009 * rng.standard_normal(shape)),
    Shape("sd 5 %", lambda rng, shape: 0.05 * rng.standard_normal(shape)),
    Shape("skewed, sd 2 %", lambda rng, shape: 0.02 * rng.exponential(size=shape)),
    Shape("two states", two_states),
    Shape("drift", drift),
    Shape("+3 %, sd 0.9 %", lambda rng, shape: 0.009 * rng.standard_normal(shape), EFFECT),
    Shape("+3 %, two states", two_states, EFFECT),
)


def draw(rng: np.random.Generator, shape: Shape, draws: int, processes: int, effect: float) -> Side:
    """One side of every draw."""
    levels = shape.levels(rng, (draws, processes)) + math.log1p(effect)
    of_samples = (draws, processes, SAMPLES)
    samples = levels[:, :, None] + 0.005 * rng.standard_normal(of_samples) + 0.002 * rng.exponential(size=of_samples)
    return Side(np.median(samples, axis=2), samples.reshape(draws, -1))


# -------------------------------------------------------------------------------------------------------- the rules


def ours(a: Side, b: Side) -> Array:
    """bench.analysis.verdict."""
    kinds = {"FASTER": -1, "SLOWER": 1}
    rows = zip(np.exp(a.medians).tolist(), np.exp(b.medians).tolist(), strict=True)
    return np.array([kinds.get(verdict(*row).kind, 0) for row in rows])


def called(different: Array, difference: Array) -> Array:
    """The sign of the difference where it is called one."""
    return np.sign(difference) * different


def welch(a: Side, b: Side) -> Array:
    """Welch's t on the medians at 1 %, and 1 % apart."""
    difference = b.medians.mean(1) - a.medians.mean(1)
    p = scipy_stats.ttest_ind(a.medians, b.medians, axis=1, equal_var=False).pvalue
    return called((p < 0.01) & (np.abs(np.expm1(difference)) >= 0.01), difference)


def trimmed(a: Side, b: Side) -> Array:
    """Yuen's t on means trimmed by a fifth at each end, at 1 %, and 1 % apart."""
    difference = scipy_stats.trim_mean(b.medians, 0.2, axis=1) - scipy_stats.trim_mean(a.medians, 0.2, axis=1)
    p = scipy_stats.ttest_ind(a.medians, b.medians, axis=1, equal_var=False, trim=0.2).pvalue
    return called((p < 0.01) & (np.abs(np.expm1(difference)) >= 0.01), difference)


def hodges_lehmann(a: Side, b: Side) -> Array:
    """The exact test of Mann and Whitney at 1 %, and 1 % apart by the median of all differences (Hodges, Lehmann)."""
    difference = np.median(b.medians[:, :, None] - a.medians[:, None, :], axis=(1, 2))
    p = scipy_stats.mannwhitneyu(a.medians, b.medians, axis=1, method="exact").pvalue
    return called((p <= 0.01) & (np.abs(np.expm1(difference)) >= 0.01), difference)


def bootstrap(a: Side, b: Side) -> Array:
    """The 99 % percentile interval of the bootstrapped difference of means excludes 0, and 1 % apart."""
    rng, n = np.random.default_rng(SEED), a.medians.shape[1]
    weights = [rng.multinomial(n, [1 / n] * n, size=1000).T / n for _ in range(2)]
    resampled = b.medians @ weights[1] - a.medians @ weights[0]
    low, high = np.quantile(resampled, [0.005, 0.995], axis=1)
    difference = b.medians.mean(1) - a.medians.mean(1)
    return called(((low > 0) | (high < 0)) & (np.abs(np.expm1(difference)) >= 0.01), difference)


def five_percent(a: Side, b: Side) -> Array:
    """The medians of all samples are 5 % or more apart: thresholds of many gates."""
    difference = np.median(b.samples, axis=1) - np.median(a.samples, axis=1)
    return called(np.abs(np.expm1(difference)) >= 0.05, difference)


def u_test(a: Side, b: Side, level: float = 0.05) -> Array:
    """Mann and Whitney's test on all samples, as compare.py of Google Benchmark does on repetitions, at 5 %."""
    p = scipy_stats.mannwhitneyu(a.samples, b.samples, axis=1, method="asymptotic").pvalue
    return called(p < level, np.median(b.samples, axis=1) - np.median(a.samples, axis=1))


def asv(a: Side, b: Side) -> Array:
    """``asv continuous``: that test at 0.002, and medians by a factor of 1.1 apart."""
    sign = u_test(a, b, 0.002)
    far = np.abs(np.median(b.samples, axis=1) - np.median(a.samples, axis=1)) >= math.log(1.1)
    return sign * far


def asv_without_factor(a: Side, b: Side) -> Array:
    """The test of asv alone, as with ``--factor 1``."""
    return u_test(a, b, 0.002)


def pyperf(a: Side, b: Side) -> Array:
    """``pyperf compare_to``: Student's t on all values at 5 %."""
    difference = b.samples.mean(1) - a.samples.mean(1)
    return called(scipy_stats.ttest_ind(np.exp(a.samples), np.exp(b.samples), axis=1).pvalue < 0.05, difference)


def hyperfine(a: Side, b: Side) -> Array:
    """Hyperfine has no rule; read as different where 1 lies outside of its ratio ± its standard deviation."""
    means, sds = zip(*((np.exp(s.samples).mean(1), np.exp(s.samples).std(1, ddof=1)) for s in (a, b)), strict=True)
    ratio = means[1] / means[0]
    error = ratio * np.hypot(sds[0] / means[0], sds[1] / means[1])
    return called(np.abs(ratio - 1) > error, ratio - 1)


RULES: tuple[tuple[str, Rule, tuple[int, ...]], ...] = (
    ("trtbench", ours, (3, 5, 7)),
    ("Welch's t alone, 1 %", welch, (3, 5, 7)),
    ("Yuen's trimmed t, 1 %", trimmed, (7,)),
    ("Hodges-Lehmann with the U test, 1 %", hodges_lehmann, (5, 7)),
    ("bootstrap of means, 99 %", bootstrap, (7,)),
    ("medians 5 % apart", five_percent, (1, 7)),
    ("asv: U test p < 0.002, factor 1.1", asv, (1, 7)),
    ("asv, factor 1", asv_without_factor, (1, 7)),
    ("Google Benchmark: U test p < 0.05", u_test, (1, 7)),
    ("pyperf: t test p < 0.05", pyperf, (1, 7)),
    ("hyperfine: ratio ± sd excludes 1", hyperfine, (1, 7)),
)


def rates(draws: int = DRAWS) -> dict[tuple[str, int], list[float]]:
    """By rule and number of processes the fraction called different, for each of SHAPES."""
    found: dict[tuple[str, int], list[float]] = {(name, n): [] for name, _, counts in RULES for n in counts}
    for shape in SHAPES:
        for n in sorted({n for _, _, counts in RULES for n in counts}):
            rng = np.random.default_rng(SEED)
            a, b = draw(rng, shape, draws, n, 0.0), draw(rng, shape, draws, n, shape.effect)
            for name, rule, counts in RULES:
                if n in counts:
                    signs = rule(a, b)
                    found[name, n].append(float((signs > 0).mean() if shape.effect else (signs != 0).mean()))
    return found


# Processes of the two sides.
NUMBERS = ((3, 3), (4, 4), (5, 5), (7, 7), (10, 10), (3, 7), (2, 14))


def promises(draws: int = DRAWS) -> tuple[dict[tuple[str, str], list[float]], dict[tuple[str, str], list[float]]]:
    """By the processes of both sides how often trtbench calls the same program different, and how often its 95 %
    interval has 1, for each of the SHAPES of one program.
    """
    alarms: dict[tuple[str, str], list[float]] = {}
    coverage: dict[tuple[str, str], list[float]] = {}
    for numbers in NUMBERS:
        key = "trtbench", " and ".join(map(str, numbers))
        for shape in (shape for shape in SHAPES if not shape.effect):
            rng = np.random.default_rng(SEED)
            a, b = (np.exp(shape.levels(rng, (draws, n))).tolist() for n in numbers)
            verdicts = [verdict(*pair) for pair in zip(a, b, strict=True)]
            alarms.setdefault(key, []).append(sum(v.kind in ("FASTER", "SLOWER") for v in verdicts) / draws)
            inside = sum(v.low <= 1 <= v.high for v in verdicts if v.low is not None and v.high is not None)
            coverage.setdefault(key, []).append(inside / draws)
    return alarms, coverage


def table(found: Mapping[tuple[str, int | str], list[float]]) -> str:
    """In Markdown, percentages."""
    columns = len(next(iter(found.values())))
    lines = ["| rule | processes | " + " | ".join(shape.title for shape in SHAPES[:columns]) + " |"]
    lines.append("|---|---:|" + "---:|" * columns)
    for (name, n), row in found.items():
        lines.append(f"| {name} | {n} | " + " | ".join(f"{100 * rate:.1f}" for rate in row) + " |")
    return "\n".join(lines)


if __name__ == "__main__":
    number = int(sys.argv[1]) if len(sys.argv) > 1 else DRAWS
    print("\n\n".join(map(table, (rates(number), *promises(number)))))
