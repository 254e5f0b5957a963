"""One bench for all tests of the backends, with compiler caches of its own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.backends.kit import Bench


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Shared, as compiling takes seconds; what torch compiles is cached beside it, not in the user's cache."""
    root: Path = tmp_path_factory.mktemp("backends")
    name = "TORCHINDUCTOR_CACHE_DIR"
    before = os.environ.get(name)
    os.environ[name] = str(root / "inductor")
    yield Bench(root)
    if before is None:
        del os.environ[name]
    else:
        os.environ[name] = before
