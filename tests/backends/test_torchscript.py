"""TorchScript: tracing and scripting."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from bench.backends import base
from bench.errors import Unsupported
from tests.backends.kit import Bench

pytest.importorskip("torch")
pytestmark = pytest.mark.torch


@pytest.mark.parametrize(
    "options",
    [{"method": "script"}, {"freeze": False}, {"optimize_for_inference": True}, {"method": "script", "freeze": False}],
)
def test_every_way_to_make_a_program_gives_the_reference(bench: Bench, options: dict[str, Any]) -> None:
    case = bench.case("torchscript", options=options)
    wanted = bench.reference(case)  # first, as making it has phases too
    with bench.prepared(case) as prepared:
        (lane,) = prepared.lanes(1)
        for _ in range(3):  # profiled, compiled, steady
            lane.call()
        found, told = lane.read(), prepared.fairness()
    assert list(found) == list(wanted)
    assert all(np.allclose(found[name], wanted[name], atol=1e-5) for name in wanted)
    assert {key: told[key] for key in options} == options
    assert bench.phases == ["import", "load", "export", "compile"]


def test_what_cannot_be_scripted_is_unsupported(bench: Bench) -> None:
    with pytest.raises(Unsupported, match=r"torch\.jit\.script cannot take this model"):
        bench.run(bench.case("torchscript", "zoo.py:branches", options={"method": "script"}))


def test_a_scripted_autocast_is_left_out(bench: Bench) -> None:
    case = bench.case("torchscript", precision="bf16", options={"method": "script", "autocast": True})
    assert "method: trace" in (base.load("torchscript").unsupported(case, "cpu") or "")
