"""AOTInductor: packages that are built once and loaded."""

from __future__ import annotations

import importlib.metadata

import numpy as np
import pytest

from bench.backends import base
from bench.errors import Unsupported
from bench.model import Case, Input, Range
from tests.backends.kit import Bench

pytest.importorskip("torch")
pytestmark = pytest.mark.torch
AOTI = base.load("aoti")


@pytest.fixture(autouse=True)
def compiler() -> None:
    lacks = AOTI.missing()
    if lacks is not None:
        pytest.skip(f"{lacks.reason}; {lacks.fix}")


def point(bench: Bench, batch: int) -> Case:
    return bench.case(
        "aoti",
        inputs={"x": Input(shape=("batch", 3, 16, 16))},
        symbols={"batch": batch},
        dynamic={"batch": Range(min=1, opt=4, max=8)},
    )


def test_one_package_serves_all_points_of_a_dynamic_case(bench: Bench) -> None:
    assert AOTI.stages(point(bench, 1))[1] == AOTI.stages(point(bench, 8))[1]
    for batch in (1, 8):
        case = point(bench, batch)
        found, wanted = bench.run(case), bench.reference(case)
        assert all(np.allclose(found[name], wanted[name], atol=1e-5) for name in wanted)


def test_a_package_belongs_to_its_device_precision_and_options(bench: Bench) -> None:
    build = AOTI.stages(bench.case("aoti"))[1]
    assert (build.kind, build.per_device) == ("pt2", True)
    assert build != AOTI.stages(bench.case("aoti", precision="fp16"))[1]
    assert build != AOTI.stages(bench.case("aoti", options={"memory_format": "channels_last"}))[1]


def test_a_model_that_branches_on_values_is_unsupported(bench: Bench) -> None:
    with pytest.raises(Unsupported):
        bench.run(bench.case("aoti", "zoo.py:branches"))


def test_a_torch_without_packages_is_missing_with_the_version_that_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.metadata, "version", lambda name: "2.2.0+cu121")
    lacks = AOTI.missing()
    assert lacks is not None
    assert "torch>=2.6" in lacks.fix
