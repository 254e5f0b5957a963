"""Cases of fx2trt with the models beside the tests of lowering, and the programs that it writes of them."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from bench.backends import base
from bench.model.suite import Case, Input
from tests.backends.kit import Bench

HERE = Path(__file__).parents[1] / "lowering"
FX: Any = base.load("fx2trt")
IMAGES = {"x": Input(shape=("batch", 3, 8, 8))}
needs_rtx = pytest.mark.skipif(importlib.util.find_spec("tensorrt_rtx") is None, reason="pip install tensorrt-rtx-cu13")


def bench_of_lowering(root: Path) -> Bench:
    """Makes cases of the models beside the tests of lowering, and artifacts in ``root``."""
    return Bench(root=root, suite_dir=HERE)


def case(bench: Bench, factory: str = "zoo.py:net", **fields: Any) -> Case:
    """A case of fx2trt, at batch 2 unless ``fields`` has other sizes."""
    return bench.case("fx2trt", factory, IMAGES, **({"symbols": {"batch": 2}} | fields))


def program(bench: Bench, of: Case) -> Path:
    """The folder of the case's program."""
    out = bench.folder()
    FX.produce(FX.program(of)[-1], of, bench.context(of), out)
    return out
