"""Fixtures of several files of tests of backends."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.backends.kit import Bench
from tests.backends.network_kit import HERE

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


@pytest.fixture
def suite_of(tmp_path: Path) -> Callable[..., Path]:
    """A suite of one model of the zoo, beside a copy of its file."""

    def write(factory: str = "zoo.py:net", precision: Any = "fp32", backend: str = "fx2trt") -> Path:
        path = tmp_path / "suite.yaml"
        (tmp_path / "zoo.py").write_text((HERE / "zoo.py").read_text())
        shape = "[batch, 3, 8, 8]"
        path.write_text(
            "schema: 1\nname: nets\nmodels:\n"
            f"  net: {{factory: '{factory}', inputs: {{x: {{shape: {shape}}}}}, symbols: {{batch: 2}}}}\n"
            f"matrix: {{backend: [{backend}], precision: {precision}, batch: [2]}}\n".replace("'", '"')
        )
        return path

    return write
