"""The self-test's table says what was off, by how much, and how many checks held."""

import bench
from bench.model.checkup import Reading
from bench.model.run import Environment
from bench.report import selftest


def test_a_reading_outside_its_limit_is_failed_and_counted() -> None:
    table = selftest.render(
        [
            Reading(name="floor", what="nothing", measured=1_200.0),
            Reading(name="spin", what="20 us", measured=20_100.0, expected=20_000.0, limit=1_000.0),
            Reading(name="spin", what="50 us", measured=52_000.0, expected=50_000.0, limit=1_000.0),
        ],
        Environment(kind="cuda", arch="sm_90", device="NVIDIA H100", slug="h100", driver="580.95"),
    )
    lines = table.splitlines()
    assert lines[0] == f"NVIDIA H100 (sm_90), driver 580.95, trtbench {bench.__version__}"
    assert lines[3].startswith("  ")
    assert lines[4].startswith("ok")
    assert lines[5].startswith("FAILED")
    assert "2.000 us" in lines[5]
    assert lines[-1] == "1 of 2 checks ok"
