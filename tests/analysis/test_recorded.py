"""The waterfall and the attribution of what nsys and torch.profiler recorded on GPUs (tests/golden/nsys, kineto)."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.analysis import attribution, waterfall
from bench.model.profile import Profile
from bench.profiling import kineto, nsys_reader

RECORDED = Path(__file__).parents[1] / "golden"
TOOLS = pytest.mark.parametrize("tool", ["nsys", "torch"])


def recorded(tool: str, name: str) -> Profile:
    if tool == "torch":
        return kineto.read(RECORDED / "kineto" / f"{name}.json")
    path = RECORDED / "nsys" / f"{name}.sqlite"
    return nsys_reader.read(path, case="c0ffee", label=f"convnet/{name}/fp16/batch=1")


@TOOLS
@pytest.mark.parametrize("name", ["eager", "graph", "inductor"])
def test_the_parts_explain_a_window_and_all_kernels_belong_to_one(tool: str, name: str) -> None:
    profile = attribution.attribute(recorded(tool, name))
    several = waterfall.parts(profile)
    assert len(several) == 3
    for parts in several:
        assert parts.unexplained <= 0.05 * parts.window
        assert parts.kernels == parts.busy <= parts.span
    assert attribution.share(profile).share == 1.0
    typical = several[waterfall.typical(several)]
    # Of this small network the host is behind; a graph runs without gaps.
    assert typical.launch > typical.kernels
    assert (typical.span == typical.held) == (name == "graph")
    assert typical.held < 1.5 * typical.kernels


@TOOLS
def test_nodes_of_the_graph_have_the_modules_of_the_eager_kernels(tool: str) -> None:
    eager = attribution.attribute(recorded(tool, "eager"))
    graph = attribution.attribute(recorded(tool, "graph"), eager)
    assert all(kernel.node is not None for kernel in graph.kernels)
    modules = [kernel.module for kernel in eager.kernels][: len(eager.kernels) // 3]
    assert [kernel.module for kernel in graph.kernels] == modules * 3
    assert {"stem", "layers.0.conv", "layers.1.relu", "fc"} <= set(modules)


def test_both_tools_see_the_same_time_of_a_graph() -> None:
    nsys, torch = (waterfall.parts(recorded(tool, "graph")) for tool in ("nsys", "torch"))
    ours, theirs = (each[waterfall.typical(each)].span for each in (nsys, torch))
    assert abs(ours - theirs) <= 0.02 * theirs
