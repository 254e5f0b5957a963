"""Fixtures of several files of tests of backends."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.backends.kit import Bench

if TYPE_CHECKING:
    from tests.runtimes.torchtrt.standin import StandIn


@pytest.fixture
def own(bench: Bench, tmp_path: Path) -> Bench:
    """A bench with builds of its own, as stand-ins differ from test to test; references are shared."""
    return Bench(tmp_path, references_in=bench.artifacts_in)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    """The stand-in of a torch_tensorrt as new as torch."""
    from tests.runtimes.torchtrt import standin

    return standin.StandIn(monkeypatch).install()
