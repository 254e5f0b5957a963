"""Traces of torch.profiler become profiles: of a GPU by events written by hand, of a CPU by what torch writes here."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench.analysis import attribution, host_calls, waterfall
from bench.errors import CaseError
from bench.model.profile import Profile, Range
from bench.profiling import kineto

BASE = 5030135573133.0  # us, as large as clocks make them


def event(cat: str, name: str, start: float, dur: float, **args: Any) -> dict[str, Any]:
    thread = args.pop("tid", 7 if cat in ("kernel", "gpu_memcpy", "gpu_memset") else 1)
    return {"ph": "X", "cat": cat, "name": name, "pid": 0, "tid": thread, "ts": BASE + start, "dur": dur, "args": args}


def written(path: Path, events: list[dict[str, Any]]) -> Path:
    path.write_text(json.dumps({"schemaVersion": 1, "traceEvents": events}))
    return path


ITERATION = event("user_annotation", "trtbench iteration 0", 0, 100)
EVENTS = [
    ITERATION,
    event("user_annotation", "trtbench phase h2d", 1, 9),
    event("user_annotation", "trtbench module layer1.0.conv1", 20, 30),
    event("user_annotation", "mine", 21, 2),
    event("cpu_op", "Torch-Compiled Region: 0/0", 20.5, 25),
    event("cpu_op", "aten::conv2d", 21, 20),
    event("cuda_runtime", "cudaLaunchKernel", 30, 5, correlation=11),
    event("cuda_driver", "cuLaunchKernel", 40, 4, correlation=12),
    event("cuda_runtime", "cudaGraphLaunch", 50, 5, correlation=13),
    event("cuda_runtime", "cudaStreamSynchronize", 60, 35, correlation=14),
    event("kernel", "conv_kernel", 36, 10.25, correlation=11, stream=7),
    event("kernel", "triton_poi_fused_0", 47, 5, correlation=12, stream=7),
    event("kernel", "node_a", 60, 5, correlation=13, stream=7),
    event("kernel", "node_b", 66, 5, correlation=13, stream=7),
    event("kernel", "stray", 72, 1, correlation=99, stream=8),
    event("gpu_memcpy", "Memcpy HtoD (Pinned -> Device)", 10, 4, correlation=8, stream=7, bytes=4096),
    event("gpu_memcpy", "Memcpy DtoH (Device -> Pinned)", 80, 4, correlation=9, stream=7, bytes=64),
    event("gpu_memset", "Memset (Device)", 15, 1, correlation=10, stream=7, bytes=16),
    event("gpu_user_annotation", "trtbench iteration 0", 10, 74),
    {"ph": "M", "name": "process_name", "pid": 0, "tid": 0, "ts": BASE, "args": {"name": "python"}},
    {"ph": "s", "id": 11, "pid": 0, "tid": 1, "ts": BASE + 30, "cat": "ac2g", "name": "ac2g"},
    {"ph": "X", "cat": "Trace", "name": "PyTorch Profiler (0)", "pid": "Spans", "tid": "x", "ts": BASE - 50, "dur": 1},
]


def test_events_of_a_gpu(tmp_path: Path) -> None:
    profile = kineto.read(written(tmp_path / "trace.json", EVENTS), case="c", label="l")
    assert (profile.tool, profile.device, profile.case, profile.label) == ("torch", "cuda", "c", "l")
    assert [(each.kind, each.name, each.start, each.end) for each in profile.ranges] == [
        ("iteration", "0", 0, 100_000),
        ("phase", "h2d", 1_000, 10_000),
        ("module", "layer1.0.conv1", 20_000, 50_000),
        ("other", "Torch-Compiled Region: 0/0", 20_500, 45_500),
        ("operator", "aten::conv2d", 21_000, 41_000),
        ("other", "mine", 21_000, 23_000),
    ]
    assert [call.name for call in profile.calls] == [
        "cudaLaunchKernel",
        "cuLaunchKernel",
        "cudaGraphLaunch",
        "cudaStreamSynchronize",
    ]
    launched = [(each.name, each.call, each.node, each.stream) for each in profile.kernels]
    assert launched == [
        ("conv_kernel", 0, None, 7),
        ("triton_poi_fused_0", 1, None, 7),
        ("node_a", 2, 1, 7),
        ("node_b", 2, 2, 7),
        ("stray", None, None, 8),
    ]
    assert (profile.kernels[0].start, profile.kernels[0].end) == (36_000, 46_250)
    assert [(copy.kind, copy.size) for copy in profile.copies] == [("h2d", 4096), ("memset", 16), ("d2h", 64)]


def test_the_number_of_a_node_is_what_kineto_tells_where_it_does(tmp_path: Path) -> None:
    launch = event("cuda_runtime", "cudaGraphLaunch", 50, 5, correlation=13)
    kernel = event("kernel", "k", 60, 5, correlation=13, stream=7, **{"graph node id": 4711})
    profile = kineto.read(written(tmp_path / "t.json", [ITERATION, launch, kernel]))
    assert profile.kernels[0].node == 4711


def nodes(path: Path, *spans: tuple[str, float, float]) -> Path:
    """Nodes of a runtime by their start and end, us after BASE, on a thread of another name."""
    several = [
        Range(name=name, kind=kind, start=round((BASE + start) * 1000), end=round((BASE + end) * 1000), thread=99)
        for name, start, end in spans
        for kind in ("layer", "operator")
    ]
    path.write_bytes(msgspec.json.encode(several))
    return path


def test_nodes_of_a_runtime_are_ranges_around_what_it_launched(tmp_path: Path) -> None:
    launched = [each for each in EVENTS if each.get("cat") in ("cuda_runtime", "cuda_driver", "kernel")]
    trace = written(tmp_path / "trace.json", [ITERATION, *launched])
    ran = nodes(
        tmp_path / "nodes.json", ("warm", -50, -40), ("/a/Conv", 29, 36), ("/b/Relu", 39, 45), ("late", 99, 101)
    )
    profile = attribution.attribute(kineto.read(trace, nodes=ran))
    assert {each.name for each in profile.ranges if each.kind == "layer"} == {"/a/Conv", "/b/Relu"}
    assert {each.thread for each in profile.ranges} == {1}
    named = {kernel.name: (kernel.module, kernel.operator) for kernel in profile.kernels}
    assert named["conv_kernel"] == ("/a/Conv", "/a/Conv")
    assert named["triton_poi_fused_0"] == ("/b/Relu", "/b/Relu")
    assert named["node_a"] == ("", "")


def test_nodes_outside_of_all_iterations_are_left_out_and_said_so(tmp_path: Path) -> None:
    trace = written(tmp_path / "trace.json", EVENTS)
    profile = kineto.read(trace, nodes=nodes(tmp_path / "nodes.json", ("/a/Conv", 5000, 5010)))
    assert profile.ranges == kineto.read(trace).ranges
    assert "by another clock" in profile.notes[0]


def frame(name: str, start: float, dur: float, own: int, parent: int | None) -> dict[str, Any]:
    return event("python_function", name, start, dur, **{"Python id": own, "Python parent id": parent})


def test_stacks_are_those_of_the_same_calls_of_another_trace(tmp_path: Path) -> None:
    copies = [event("cuda_runtime", "cudaStreamSynchronize", start, 3) for start in (40, 70)]
    plain = written(tmp_path / "trace.json", [ITERATION, *copies])
    frames = [
        frame("bench/measure/profiled.py(99): issue", 0, 95, 1, None),
        frame("zoo.py(12): forward", 10, 80, 2, 1),
        frame("<built-in method item of Tensor object>", 38, 20, 3, 2),
        frame("zoo.py(30): check", 60, 20, 4, 2),
        frame("zoo.py(31): other", 60, 2, 5, 4),
    ]
    launch = event("cuda_runtime", "cudaLaunchKernel", 30, 3)
    stacks = written(tmp_path / "stacks.json", [ITERATION, launch, *copies, *frames])
    assert [bool(call.stack) for call in kineto.read(stacks).calls] == [False, True, True]
    first, second = kineto.read(plain, stacks=stacks).calls
    assert first.stack == ("zoo.py:12 forward", "bench/measure/profiled.py:99 issue")
    assert second.stack == ("zoo.py:30 check", "zoo.py:12 forward", "bench/measure/profiled.py:99 issue")
    assert [call.stack for call in kineto.read(plain, stacks=tmp_path / "none").calls] == [(), ()]


GOLDEN = Path(__file__).parents[1] / "golden" / "kineto"
RECORDED = {"eager": 24, "graph": 24, "inductor": 12}  # kernels of an iteration


@pytest.mark.parametrize("name", RECORDED)
def test_a_trace_recorded_on_a_gpu_is_explained(name: str) -> None:
    profile = attribution.attribute(kineto.read(GOLDEN / f"{name}.json"))
    assert profile.device == "cuda"
    assert len(profile.kernels) == 3 * RECORDED[name]
    assert [copy.kind for copy in profile.copies] == ["h2d", "d2h"] * 3
    # Each kernel and copy follows the call that gave it to the GPU.
    for event_ in (*profile.kernels, *profile.copies):
        assert event_.call is not None
        assert profile.calls[event_.call].start < event_.start < event_.end
    launches = {host_calls.plain(profile.calls[kernel.call].name) for kernel in profile.kernels if kernel.call}
    assert all("Launch" in launch or "Memset" in launch for launch in launches)
    assert (launches == {"cudaGraphLaunch"}) == (name == "graph")
    assert all((kernel.node is not None) == (name == "graph") for kernel in profile.kernels)
    share = attribution.share(profile)
    assert share.iteration_ns == share.total_ns > 0
    if name != "graph":  # whose launch is one operator
        assert share.operator_ns == share.total_ns
    for parts in waterfall.parts(profile):
        assert parts.unexplained <= 0.05 * parts.window
        assert parts.kernels + parts.copies + parts.launch + parts.wait + parts.tail + parts.unexplained == parts.window


def test_a_recorded_kernel_has_its_module_and_operator() -> None:
    profile = attribution.attribute(kineto.read(GOLDEN / "eager.json"))
    first = profile.kernels[0]
    assert (first.module, first.operator) == ("stem", "aten::cudnn_convolution")
    assert {kernel.module for kernel in profile.kernels} >= {"stem", "layers.0.conv", "layers.1.bn", "fc"}


WHOLE = json.dumps({"schemaVersion": 1, "traceEvents": EVENTS})


@pytest.mark.parametrize(
    ("content", "what"),
    [
        ("", "the trace is empty"),
        ("\n", "the trace is empty"),
        (WHOLE[: len(WHOLE) // 2], "cut off, or no JSON"),
        ('{"traceEvents": [{"args": {"a": ' + "[" * 100_000, "cut off, or no JSON"),
        ("[1, 2]", "no trace of torch.profiler"),
        ('{"a": 1}', "it lacks traceEvents or schemaVersion"),
        (
            '{"traceEvents": [{"ph": "X", "name": "x", "ts": 1, "dur": 2}]}',
            "it lacks traceEvents or",
        ),
        ('{"schemaVersion": 1, "traceEvents": 5}', "no trace of torch.profiler"),
        (json.dumps({"schemaVersion": 1, "traceEvents": EVENTS[1:]}), "no iterations of trtbench's"),
    ],
)
def test_what_is_no_trace_of_ours_is_refused(tmp_path: Path, content: str, what: str) -> None:
    path = tmp_path / "trace.json"
    path.write_text(content)
    with pytest.raises(CaseError, match=what) as caught:
        kineto.read(path)
    assert caught.value.where == "trace.json"
    assert "trtbench profile" in caught.value.fix


def test_a_trace_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CaseError, match="no trace: No such file"):
        kineto.read(tmp_path / "trace.json")


@pytest.mark.torch
def test_a_trace_that_torch_writes_is_read(tmp_path: Path) -> None:
    torch = pytest.importorskip("torch")
    from bench.measure.profilers import TRACE, TorchProfiler

    model, x = torch.nn.Linear(4, 4), torch.ones(2, 4)
    profiler = TorchProfiler(on_gpu=False)
    with profiler.on(tmp_path), profiler.range_("case", "a label"):
        for number in range(2):
            with profiler.range_("iteration", str(number)), profiler.range_("module", "fc"):
                model(x)
    profile = kineto.read(tmp_path / TRACE)
    assert profile.device == "cpu"
    assert [each.name for each in profile.ranges if each.kind == "iteration"] == ["0", "1"]
    assert [each.name for each in profile.ranges if each.kind == "case"] == ["a label"]
    inside = operators_inside(profile, "fc")
    assert inside.count("aten::linear") == 2
    assert all(parts.operators > 0 for parts in waterfall.parts(profile))


def operators_inside(profile: Profile, module: str) -> list[str]:
    around = [each for each in profile.ranges if (each.kind, each.name) == ("module", module)]
    return [
        each.name
        for each in profile.ranges
        if each.kind == "operator" and any(own.start <= each.start and each.end <= own.end for own in around)
    ]
