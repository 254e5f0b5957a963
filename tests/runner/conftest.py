"""Fixtures of several files of tests of the parent."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.runner.dispatch_kit import Parent


@pytest.fixture
def parent(tmp_path: Path) -> Parent:
    return Parent(tmp_path)
