"""Prints what a duel of at most 25 pairs decides, by the spread of pairs and the true difference, of 20,000 draws.

PYTHONPATH=. python3 tests/selfbench/duel_rule.py
"""

from __future__ import annotations

from tests.analysis.test_sequential import Outcome, normal, skewed, two_states

SPREADS = (0.01, 0.02, 0.04, 0.05, 0.07)
DIFFERENCES = (0.0, 0.02, 0.03, 0.05, 0.10)


def main() -> None:
    """Two tables in Markdown."""
    print(
        "| spread of pairs | "
        + " | ".join(f"{difference:+.0%}" if difference else "none" for difference in DIFFERENCES)
        + " |"
    )
    print("|---:" * (len(DIFFERENCES) + 1) + "|")
    for sd in SPREADS:
        cells = []
        for difference in DIFFERENCES:
            outcome = Outcome(1 + difference, sd, 25)
            kind = outcome.share("SLOWER") if difference else outcome.share("SAME")
            cells.append(f"{kind:.1%}, {outcome.pairs:.1f}")
        print(f"| {sd:.0%} | " + " | ".join(cells) + " |")
    print()
    print("| pairs at most | normal | skewed | two states | interval misses |")
    print("|---:|---:|---:|---:|---:|")
    for most in (3, 5, 10, 25, 50, 100):
        alarms = [Outcome(1.0, 0.06, most, draw) for draw in (normal, skewed, two_states)]
        print(
            f"| {most} | " + " | ".join(f"{each.alarms:.2%}" for each in alarms) + f" | {1 - alarms[0].covered:.1%} |"
        )


if __name__ == "__main__":
    main()
