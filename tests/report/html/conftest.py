"""One browser for all tests of pages, and pages of made-up and of committed runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import bench
from bench.model.run import Run
from bench.report.html import page
from tests.report.conftest import example
from tests.report.html.browser import View, started
from tests.report.html.kit import page_of, renamed

RESULTS = Path(bench.__file__).parents[1] / "results"
COMMITTED = (
    "sm_90/nvidia-h100-80gb-hbm3/20261126T184119Z-vision-a44327b.jsonl",
    "sm_90/nvidia-h100-80gb-hbm3/20261128T052852Z-clock-46490c1.jsonl",
    "sm_90/nvidia-h100-80gb-hbm3/20261123T160138Z-engines-509e15b.jsonl",
    "cpu-x86_64/amd-epyc/20261124T014303Z-smoke-b7675c9.jsonl",
)


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    with started() as browser:
        yield browser


@pytest.fixture
def view(browser: Any, tmp_path: Path) -> Iterator[Callable[..., View]]:
    """Opens a page of runs; what it complained of by the end is an error, and so is a request for anything else."""
    views: list[View] = []

    def open_page(*runs: Run, screen: dict[str, Any] | None = None, **options: Any) -> View:
        file = tmp_path / f"page-{len(views)}.html"
        file.write_text(page.render(page_of(*runs, **options)), encoding="utf-8")
        views.append(View(browser, file, **(screen or {})))
        return views[-1]

    yield open_page
    for each in views:
        each.context.close()
        assert each.complaints == []
        assert {url.partition("#")[0] for url in each.requests} <= {each.file.as_uri()}


@pytest.fixture(scope="session")
def committed() -> list[Run]:
    return [bench.read(RESULTS / name, packed=True) for name in COMMITTED]


@pytest.fixture
def runs() -> list[Run]:
    """Two runs of one plan, of 3 processes and of 1."""
    return [example(3), renamed(example(1), "20261122T101500Z-smoke-1a2b3c4")]
