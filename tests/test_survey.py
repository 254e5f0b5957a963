"""What is found out before a run: the machine's rates are kept, unless others computed on it meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import jobs
from bench.environment import describe
from bench.survey import Survey


class Asked:
    """Answers with rates that rise from one time to the next."""

    def __init__(self) -> None:
        self.times = 0

    def __call__(self, job: jobs.JobType, label: str) -> jobs.ReplyType:
        assert isinstance(job, jobs.Ceilings)
        self.times += 1
        return jobs.Rates(ceilings={"fp32": 1e9 * self.times})


def survey(cache: Path, asked: Asked, load: float, device: str = "cpu") -> Survey:
    return Survey(cache, cache, "s.yaml", device, describe("fake"), asked, lambda: (load, 0.0, 0.0))


def test_rates_are_measured_once_and_kept(tmp_path: Path) -> None:
    asked = Asked()
    found = [survey(tmp_path, asked, 0.0).ceilings() for _ in range(2)]
    assert found == [{"fp32": 1e9}] * 2
    assert asked.times == 1


@pytest.mark.parametrize(("device", "times"), [("cpu", 3), ("cuda:0", 1)])
def test_rates_of_a_busy_cpu_are_for_one_run_only(tmp_path: Path, device: str, times: int) -> None:
    asked = Asked()
    for load in (1e6, 1e6, 0.0, 1e6):
        survey(tmp_path, asked, load, device).ceilings()
    assert asked.times == times
