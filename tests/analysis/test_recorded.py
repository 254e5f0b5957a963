"""The waterfall and the attribution of what nsys recorded on an H100 (tests/golden/nsys/README.md)."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.analysis import attribution, waterfall
from bench.model.profile import Profile
from bench.profiling import nsys_reader

RECORDED = Path(__file__).parents[1] / "golden" / "nsys"


def recorded(name: str) -> Profile:
    return nsys_reader.read(RECORDED / f"{name}.sqlite", case="c0ffee", label=f"convnet/{name}/fp16/batch=1")


@pytest.mark.parametrize("name", ["eager", "graph", "inductor"])
def test_the_parts_explain_a_window_and_all_kernels_belong_to_one(name: str) -> None:
    profile = attribution.attribute(recorded(name))
    several = waterfall.parts(profile)
    assert len(several) == 3
    for parts in several:
        assert parts.unexplained <= 0.05 * parts.window
        assert parts.kernels == parts.busy <= parts.span
    assert attribution.share(profile).share == 1.0
    typical = several[waterfall.typical(several)]
    # Of this small network the host is behind; a graph runs without gaps.
    assert typical.launch > typical.kernels
    assert (typical.span < 1.1 * typical.kernels) == (name == "graph")


def test_nodes_of_the_graph_have_the_modules_of_the_eager_kernels() -> None:
    eager = attribution.attribute(recorded("eager"))
    graph = attribution.attribute(recorded("graph"), eager)
    assert all(kernel.node is not None for kernel in graph.kernels)
    modules = [kernel.module for kernel in eager.kernels][: len(eager.kernels) // 3]
    assert [kernel.module for kernel in graph.kernels] == modules * 3
    assert {"stem", "layers.0.conv", "layers.1.relu", "fc"} <= set(modules)
