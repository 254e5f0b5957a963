"""The self-test's table says what was off, by how much, and how many checks held."""

from bench.report import selftest
from bench.seam import Reading


def test_a_reading_outside_its_limit_is_failed_and_counted() -> None:
    table = selftest.render(
        [
            Reading(name="floor", what="nothing", measured=1_200.0),
            Reading(name="spin", what="20 us", measured=20_100.0, expected=20_000.0, limit=1_000.0),
            Reading(name="spin", what="50 us", measured=52_000.0, expected=50_000.0, limit=1_000.0),
        ]
    )
    lines = table.splitlines()
    assert lines[1].startswith("  ")
    assert lines[2].startswith("ok")
    assert lines[3].startswith("FAILED")
    assert "2.000 us" in lines[3]
    assert lines[-1] == "1 of 2 checks ok"
