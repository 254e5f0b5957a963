"""Fixtures of several files of tests of the parent."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.runner.dispatch_kit import Parent
from tests.runner.template_kit import LOOK, Runner


@pytest.fixture
def parent(tmp_path: Path) -> Parent:
    return Parent(tmp_path)


@pytest.fixture(scope="module")
def shared_runner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runner]:
    runner = Runner(tmp_path_factory.mktemp("templates"))
    yield runner
    runner.templates.close()


@pytest.fixture
def runner(shared_runner: Runner) -> Runner:
    shared_runner.notes.clear()
    shared_runner.imports.clear()
    shared_runner.look_at(LOOK)
    return shared_runner
