"""Plans of many cases take work in proportion to their number."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from bench import api
from bench.report import plan as view
from bench.runner import sources
from tests.counting import assert_linear

SUITE = """
schema: 1
models:
  net: {factory: "zoo.py:net", inputs: {x: {shape: [batch, 3]}}}
matrix:
  batch: BATCHES
  backend: [fake, {name: fake, time: 2ms}]
  exclude: [{backend: {name: fake, time: 2ms}, batch: BATCHES_LEFT_OUT}]
"""


def suite(folder: Path, size: int) -> Path:
    path = folder / f"large{size}.yaml"
    batches, left_out = list(range(1, size + 1)), list(range(1, size + 1, 4))
    path.write_text(SUITE.replace("BATCHES_LEFT_OUT", str(left_out)).replace("BATCHES", str(batches)))
    return path


@pytest.mark.parametrize("select", ["", "batch>=2 and backend~fake*"])
def test_twice_the_cases_take_twice_the_work_to_plan_and_list(tmp_path: Path, select: str) -> None:
    (tmp_path / "zoo.py").write_text("import os")

    def work(size: int) -> Callable[[], object]:
        read = api.load(suite(tmp_path, size))

        def plan() -> None:
            request = api.request(read, plan_only=True, select=select, cache=tmp_path)
            assert len(request.plan.cases) > size
            view.render(request.plan, replicates=3, verbose=True)
            view.json(request.plan, replicates=3, estimate=api.estimate(request))

        return plan

    assert_linear(work, 64)


def test_files_that_many_cases_name_are_looked_for_once(tmp_path: Path) -> None:
    (tmp_path / "zoo.py").write_text("import helper")
    (tmp_path / "helper.py").write_text("")
    cases = api.request(suite(tmp_path, 16), plan_only=True, cache=tmp_path).plan.cases
    alone = {name: digest for case in cases for name, digest in sources.of_case(case, tmp_path).items()}
    assert sources.of_all(cases, tmp_path) == alone
    assert set(alone) == {"zoo.py", "helper.py"}
    assert_linear(lambda size: lambda: sources.of_all(cases * size, tmp_path), 4)
