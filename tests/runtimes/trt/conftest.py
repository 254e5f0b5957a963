"""Fixtures of the tests of TensorRT."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.runtimes.trt.builder_world import World


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    return World(tmp_path, monkeypatch)
