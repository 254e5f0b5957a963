"""Cases of torch_tensorrt, and the stand-in of its last version that has fx. Needs torch."""

from __future__ import annotations

from typing import Any

import pytest

from bench.model.suite import Case
from tests.backends.kit import Bench
from tests.runtimes.torchtrt import standin


def old(monkeypatch: pytest.MonkeyPatch) -> standin.StandIn:
    """The stand-in of torch 2.2's, the last that has fx."""
    found = standin.StandIn(monkeypatch, "2.2").install("8.6.1")
    found.versions(torch="2.2.0", torch_tensorrt="2.2.0", tensorrt="8.6.1")
    return found


def of(bench: Bench, ir: str, **fields: Any) -> Case:
    options = fields.pop("options", {}) | ({} if ir == "dynamo" else {"ir": ir})
    return bench.case("torch_tensorrt", options=options, **fields)
