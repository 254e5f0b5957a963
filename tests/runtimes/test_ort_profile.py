"""What ONNX Runtime's profiler wrote becomes ranges of nodes on the clock of the day."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.runtimes import ort_profile
from bench.runtimes.onnx_nodes import Node, Nodes

NODES = Nodes([Node("node_conv", "Conv", ("x",), ("c",), "conv"), Node("node_relu", "Relu", ("c",), ("r",), "act")])
EVENTS = [
    {"cat": "Session", "name": "model_run", "ts": 100, "dur": 60, "tid": 5, "ph": "X", "args": {}},
    {"cat": "Node", "name": "node_conv_fence_before", "ts": 101, "dur": 1, "tid": 5, "args": {"op_name": "Conv"}},
    {"cat": "Node", "name": "Reorder_kernel_time", "ts": 150, "dur": 4, "tid": 5, "args": {"op_name": "ReorderOutput"}},
    {
        "cat": "Node",
        "name": "r_nchwc_kernel_time",
        "ts": 105,
        "dur": 40,
        "tid": 5,
        "args": {"op_name": "Conv", "provider": "CPUExecutionProvider", "input_type_shape": [{"float": [1, 3]}]},
    },
]


def test_nodes_are_ranges_around_their_operators_in_the_order_in_which_they_ran(tmp_path: Path) -> None:
    (tmp_path / "nodes.json").write_text(json.dumps(EVENTS))
    ran = ort_profile.read(tmp_path / "nodes.json", 1_000_000_000, NODES)
    assert [(each.kind, each.name, each.start, each.end, each.thread) for each in ran] == [
        ("layer", "/conv/Conv + /act/Relu", 1_000_105_000, 1_000_145_000, 5),
        ("operator", "Conv+Relu", 1_000_105_000, 1_000_145_000, 5),
        ("operator", "ReorderOutput", 1_000_150_000, 1_000_154_000, 5),
    ]


@pytest.mark.parametrize("content", ["", json.dumps(EVENTS)[:-40], '{"traceEvents": []}'])
def test_a_file_that_is_empty_cut_off_or_of_another_tool_is_a_value_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "nodes.json").write_text(content)
    with pytest.raises(ValueError):  # noqa: PT011  # whatever msgspec says of it
        ort_profile.read(tmp_path / "nodes.json", 0, NODES)
