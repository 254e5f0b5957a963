"""The table of rules: what is quoted in the documentation is what the script prints."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.selfbench.verdict_rules import SHAPES, promises, rates, table

PAGE = Path(__file__).parents[2] / "docs" / "statistics.md"


def quoted(row: tuple[str, int | str]) -> list[list[float]]:
    """The numbers of each row of the page that begins so."""
    start = f"| {row[0]} | {row[1]} |"
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith(start)]
    return [[float(cell) for cell in line[len(start) :].strip("| ").split("|")] for line in lines]


@pytest.mark.long
def test_the_page_has_what_the_rules_do() -> None:
    found = rates(1000)
    for row, fractions in found.items():
        (numbers,) = quoted(row)
        assert numbers == pytest.approx([100 * fraction for fraction in fractions], abs=5), row
    plain = [n for n, shape in enumerate(SHAPES) if not shape.effect]
    for n in (3, 5, 7):
        assert max(found["trtbench", n][index] for index in plain) <= 0.0194  # 1 % and three standard errors


@pytest.mark.long
def test_the_page_has_what_the_verdict_promises() -> None:
    alarms, coverage = promises(1000)
    for row in alarms:
        of_alarms, of_coverage = quoted(row)
        assert of_alarms == pytest.approx([100 * fraction for fraction in alarms[row]], abs=1)
        assert of_coverage == pytest.approx([100 * fraction for fraction in coverage[row]], abs=3)


def test_a_table_has_a_row_for_each_rule() -> None:
    lines = table({("trtbench", 7): [0.5] * len(SHAPES)}).splitlines()
    assert lines[2] == "| trtbench | 7 |" + " 50.0 |" * len(SHAPES)
    assert {line.count("|") for line in lines} == {3 + len(SHAPES)}
