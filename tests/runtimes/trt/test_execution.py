"""Engines run by lanes, on stand-ins for TensorRT 8.6, 10 and 11 and for the CUDA runtime."""

from __future__ import annotations

import contextlib
import gc
import json
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from bench.errors import BenchError, CaseError, OutOfMemory, Unsupported
from bench.model.suite import Case, Input
from bench.runtimes.trt.execution import EnginePrepared
from tests.backends.kit import Bench
from tests.runtimes.trt.names import VERSIONS
from tests.runtimes.trt.runtime_standin import REFUSED, Io, Model, World, built, model

ROWS = {"x": Input(shape=(4, 3))}


@pytest.fixture(params=VERSIONS)
def world(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(request.param)
    monkeypatch.setitem(sys.modules, "cuda.bindings", SimpleNamespace(runtime=made.cuda))  # type: ignore[arg-type]
    return made


def prepare(
    world: World,
    bench: Bench,
    of: Model | None = None,
    asked: dict[str, Input] = ROWS,
    *,
    graph: bool = False,
    **fields: Any,
) -> EnginePrepared:
    """An engine of ``of`` for a case with the inputs ``asked``; ``fields`` are of what its build left."""
    case = Case(model="net", factory="zoo.py:net", inputs=asked, backend="tensorrt", cuda_graph=graph)
    context = Bench(bench.root, device="cuda:0").context(case)
    return EnginePrepared(case, context, world.api, world.engine(of or model(world.version)), built(**fields))


def given_back(world: World) -> bool:
    """Whether no handle, memory or context is left."""
    gc.collect()
    return not world.cuda.live and not world.alive and not world.cuda.capturing


def test_a_call_computes_on_the_case_s_inputs(world: World, bench: Bench) -> None:
    prepared = prepare(world, bench)
    (lane,) = prepared.lanes(1)
    lane.call()
    x = prepared._context.inputs["x"]
    np.testing.assert_allclose(lane.read()["y"], 2 * x + 1, rtol=1e-6)
    assert lane.outputs()["y"].shape == (4, 3)
    prepared.close()
    assert given_back(world)


def test_inputs_are_cast_to_the_engine_s_types_and_read_back_as_float32(world: World, bench: Bench) -> None:
    wide = "INT32" if world.version.startswith("8") else "INT64"
    of = model(
        world.version,
        inputs={"x": Io((4, 3), "HALF"), "ids": Io((5,), wide)},
        outputs={"y": Io((4, 3), "HALF"), "n": Io((5,), wide)},
    )
    inputs = ROWS | {"ids": Input(shape=(5,), dtype="int64", range=(3, 90))}
    names = {"inputs": {"x": "x", "ids": "ids"}, "outputs": {"y": "y", "n": "n"}}
    prepared = prepare(world, bench, of, inputs, **names)
    (lane,) = prepared.lanes(1)
    lane.call()
    read, given = lane.read(), prepared._context.inputs
    assert {name: buffer.dtype for name, buffer in lane.inputs().items()} == {"x": "float16", "ids": wide.lower()}
    assert lane.inputs()["x"].nbytes == 24
    assert read["y"].dtype == np.float32
    np.testing.assert_allclose(read["y"], 2 * given["x"] + 1, rtol=1e-2, atol=1e-2)
    np.testing.assert_array_equal(read["n"], 2 * given["ids"] + 1)


def test_names_of_the_suite_are_those_of_the_lane_whatever_the_engine_calls_them(world: World, bench: Bench) -> None:
    of = model(world.version, inputs={"input.1": Io((4, 3))}, outputs={"1093": Io((4, 3))})
    (lane,) = prepare(world, bench, of, inputs={"x": "input.1"}, outputs={"logits": "1093"}).lanes(1)
    lane.call()
    assert list(lane.inputs()) == ["x"]
    assert list(lane.read()) == ["logits"]


def test_an_input_that_the_engine_does_not_have_is_there_to_be_copied(world: World, bench: Bench) -> None:
    inputs = ROWS | {"unused": Input(shape=(2,))}
    (lane,) = prepare(world, bench, asked=inputs).lanes(1)
    lane.call()
    assert lane.inputs()["unused"].nbytes == 8
    assert lane.inputs()["unused"].ptr in world.cuda.live


def test_poison_spoils_the_outputs_and_a_call_mends_them(world: World, bench: Bench) -> None:
    (lane,) = prepare(world, bench).lanes(1)
    lane.poison()
    assert np.isnan(lane.read()["y"]).all()
    lane.call()
    assert np.isfinite(lane.read()["y"]).all()


def test_lanes_have_a_context_a_stream_and_memory_each(world: World, bench: Bench) -> None:
    prepared = prepare(world, bench)
    first, second = prepared.lanes(2)
    assert prepared.lanes(2) == [first, second]
    assert world.steps.names().count("create_execution_context") == 2
    assert world.steps.names().count("set_optimization_profile_async") == (1 if world.version.startswith("8") else 0)
    assert first.stream != second.stream
    first.call()
    second.call()
    second.poison()
    assert np.isfinite(first.read()["y"]).all()
    assert np.isnan(second.read()["y"]).all()
    prepared.close()
    assert given_back(world)


def test_a_context_does_not_mark_its_layers_for_a_profiler_in_detail(world: World, bench: Bench) -> None:
    (lane,) = prepare(world, bench).lanes(1)
    assert lane.context.nvtx_verbosity == world.module.ProfilingVerbosity.LAYER_NAMES_ONLY


def test_a_shape_tensor_lies_on_the_host(world: World, bench: Bench) -> None:
    of = model(world.version, inputs={"x": Io((4, 3)), "size": Io((2,), "INT32", host=True)}, outputs={"y": Io((4, 3))})
    inputs = ROWS | {"size": Input(shape=(2,), dtype="int32", range=(1, 9))}
    (lane,) = prepare(world, bench, of, inputs, inputs={"x": "x", "size": "size"}).lanes(1)
    lane.call()
    assert lane.inputs()["size"].ptr not in world.cuda.live
    assert lane.inputs()["x"].ptr in world.cuda.live


# ------------------------------------------------------------------------------------------------------- cuda graphs


def test_a_graph_is_captured_after_one_plain_call_that_was_waited_for(world: World, bench: Bench) -> None:
    (lane,) = prepare(world, bench, graph=True).lanes(1)
    log = world.steps.names()
    assert log[log.index("cudaDeviceSynchronize") + 1 :] == [
        "execute_async_v3",
        "cudaStreamSynchronize",
        "cudaStreamBeginCapture",
        "execute_async_v3",
        "cudaStreamEndCapture",
        "cudaGraphInstantiate",
        "cudaGraphDestroy",
        "cudaGraphUpload",
        "cudaStreamSynchronize",
    ]
    assert "cudaStreamBeginCapture cudaStreamCaptureModeThreadLocal" in world.steps.log
    before = len(world.steps.log)
    lane.poison()
    lane.call()
    assert np.isfinite(lane.read()["y"]).all()
    assert "execute_async_v3" not in world.steps.names()[before:]


def test_a_graph_goes_before_its_context_and_the_stream_goes_last(world: World, bench: Bench) -> None:
    prepared = prepare(world, bench, graph=True)
    prepared.lanes(1)
    before = len(world.steps.log)
    prepared.close()
    ends = ["cudaStreamSynchronize", "cudaGraphExecDestroy", "context", "cudaFree", "cudaFree", "cudaStreamDestroy"]
    assert world.steps.names()[before:] == ends
    assert given_back(world)


@pytest.mark.parametrize("broken", [False, True])
def test_work_that_cannot_be_captured_is_unsupported_with_what_tensorrt_said(
    world: World, bench: Bench, broken: bool
) -> None:
    prepare(world, bench, graph=True).lanes(1)
    captured = world.steps.names().index("cudaStreamBeginCapture") + 1
    world.steps.log.clear()
    world.steps.fail_at = captured
    world.steps.fail_on = {"cudaStreamEndCapture"} if broken else set()
    with pytest.raises(Unsupported, match=r"cuda_graph: off") as caught:
        prepare(world, bench, graph=True).lanes(1)
    assert REFUSED in caught.value.what
    assert world.steps.names()[captured : captured + 2] == ["execute_async_v3", "cudaStreamEndCapture"]
    assert ("cudaGraphDestroy" in world.steps.names()[captured:]) != broken
    assert "cudaGraphInstantiate" not in world.steps.names()[captured:]


def test_a_capture_that_another_call_broke_is_unsupported(world: World, bench: Bench) -> None:
    world.steps.fail_on = {"cudaStreamEndCapture"}
    with pytest.raises(Unsupported, match="cudaErrorStreamCaptureInvalidated"):
        prepare(world, bench, graph=True).lanes(1)
    assert given_back(world)


def test_a_launch_that_fails_is_an_error(world: World, bench: Bench) -> None:
    (lane,) = prepare(world, bench, graph=True).lanes(1)
    world.steps.fail_on = {"cudaGraphLaunch"}
    with pytest.raises(RuntimeError, match="cudaGraphLaunch failed"):
        lane.call()


# ------------------------------------------------------------------------------------------------------------ refusals


@pytest.mark.parametrize("rows", [0, 9])
def test_a_shape_outside_the_profile_names_tensor_shape_and_range(world: World, bench: Bench, rows: int) -> None:
    with pytest.raises(CaseError) as caught:
        prepare(world, bench, asked={"x": Input(shape=(rows, 3))}).lanes(1)
    assert f"input 'x' has shape [{rows}, 3], the engine takes [1, 3] to [8, 3]" in caught.value.what
    assert "dynamic" in caught.value.fix
    assert given_back(world)


def test_a_shape_that_a_static_engine_does_not_have_is_told(world: World, bench: Bench) -> None:
    of = model(world.version, inputs={"x": Io((2, 3))}, outputs={"y": Io((2, 3))})
    with pytest.raises(CaseError, match=r"the engine takes \[2, 3\] only"):
        prepare(world, bench, of).lanes(1)


def test_an_enqueue_that_tensorrt_refuses_tells_its_log(world: World, bench: Bench) -> None:
    (lane,) = prepare(world, bench).lanes(1)
    world.steps.fail_on = {"execute_async_v3"}
    with pytest.raises(Unsupported, match="no kernel image is available"):
        lane.call()


def test_no_memory_for_a_context_is_out_of_memory(world: World, bench: Bench) -> None:
    world.steps.fail_on = {"create_execution_context"}
    world.complain("[executionContext.cpp] Error Code 2: OutOfMemory (Requested size was 1 bytes.)")
    with pytest.raises(OutOfMemory, match="an execution context"):
        prepare(world, bench).lanes(1)
    assert given_back(world)


REFUSALS = {
    "a size that depends on the data": (Io((-1, 3)), "depends on the data"),
    "a vectorised layout": (Io((4, 3), format="HWC8"), "not linear"),
    "a type without a name in memory": (Io((4, 3), "FP8"), "float8_e4m3fn"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_an_output_that_cannot_be_held_is_unsupported(world: World, bench: Bench, name: str) -> None:
    output, expected = REFUSALS[name]
    of = model(world.version, outputs={"y": output})
    with pytest.raises(Unsupported, match=expected):
        prepare(world, bench, of).lanes(1)
    assert given_back(world)


@pytest.mark.parametrize("graph", [False, True])
def test_whatever_step_fails_everything_is_given_back(world: World, bench: Bench, graph: bool) -> None:
    prepared = prepare(world, bench, graph=graph)
    prepared.lanes(2)
    steps = len([name for name in world.steps.names() if name != "context"])
    prepared.close()
    told = 0
    for index in range(steps):
        world.steps.log.clear()
        world.steps.fail_at = index
        prepared = prepare(world, bench, graph=graph)
        try:
            prepared.lanes(2)
        except (BenchError, RuntimeError):
            told += 1
        prepared.close()
        del prepared
        assert given_back(world), f"step {index} failed"
    assert told >= steps - 2  # all but infer_shapes, which tells nothing but names


# ------------------------------------------------------------------------------------------------------------ clean-up


@pytest.mark.parametrize("graph", [False, True])
def test_a_kernel_s_fault_is_told_and_not_that_nothing_can_be_given_back_after_it(
    world: World, bench: Bench, graph: bool
) -> None:
    fault = CaseError("CUDA_ERROR_ILLEGAL_ADDRESS in a CUDA call", fix="compute-sanitizer")

    def measured() -> None:
        with contextlib.closing(prepare(world, bench, graph=graph)) as prepared:
            prepared.lanes(2)
            world.cuda.faulted = True
            raise fault

    with pytest.raises(CaseError) as caught:
        measured()
    assert caught.value is fault
    assert given_back(world)
    assert "clean-up: cudaStreamDestroy failed: cudaErrorIllegalAddress" in fault.__notes__


def test_a_fault_that_only_the_end_sees_is_told_by_its_first_call(world: World, bench: Bench) -> None:
    prepared = prepare(world, bench, graph=True)
    prepared.lanes(2)
    world.cuda.faulted = True
    with pytest.raises(RuntimeError) as caught:
        prepared.close()
    assert str(caught.value) == "cudaStreamSynchronize failed: cudaErrorIllegalAddress"
    assert given_back(world)
    assert "clean-up: cudaFree failed: cudaErrorIllegalAddress" in caught.value.__notes__


def test_why_a_lane_cannot_be_made_is_told_whatever_its_clean_up_meets(world: World, bench: Bench) -> None:
    world.steps.fail_on = {"cudaFree", "cudaStreamDestroy"}
    with pytest.raises(CaseError, match="the engine takes"):
        prepare(world, bench, asked={"x": Input(shape=(9, 3))}).lanes(1)
    assert given_back(world)


def test_why_work_cannot_be_captured_is_told_whatever_the_clean_up_meets(world: World, bench: Bench) -> None:
    prepare(world, bench, graph=True).lanes(1)
    world.steps.fail_at = world.steps.names().index("cudaStreamBeginCapture") + 1
    world.steps.fail_on = {"cudaGraphDestroy", "cudaFree", "cudaStreamDestroy"}
    world.steps.log.clear()
    with pytest.raises(Unsupported, match=r"cuda_graph: off") as caught:
        prepare(world, bench, graph=True).lanes(1)
    assert REFUSED in caught.value.what


# ----------------------------------------------------------------------------------------------------------- reporting


def test_a_bare_call_is_the_runtime_s_own(world: World, bench: Bench) -> None:
    (plain,) = prepare(world, bench).lanes(1)
    (graph,) = prepare(world, bench, graph=True).lanes(1)
    world.steps.log.clear()
    plain.bare_call()()
    graph.bare_call()()
    assert world.steps.names() == ["execute_async_v3", "cudaGraphLaunch"]


def test_fairness_tells_what_a_comparison_needs_as_plain_data(world: World, bench: Bench) -> None:
    prepared = prepare(world, bench, graph=True)
    prepared.lanes(1)
    told = prepared.fairness()
    assert json.loads(json.dumps(told)) == told
    assert told["runtime"] == f"TensorRT {world.version}"
    assert told["graph_capture"] == "harness"
    assert told["tf32"] == {"matmul": False, "cudnn": False}
    assert told["timing_cache"] == "cold"
    wanted = {"8.6.1": {"fp16": 4}, "10.16.1": {"fp16": 1, "fp32": 1, "tf32": 1}, "11.4.0": {"fp16": 1}}
    assert told["engine"]["precisions"] == wanted[world.version]
    assert told["precisions"] == ", ".join(wanted[world.version])
    assert told["engine"]["aux_streams"] == 1
    assert told["engine"]["build_s"] == 2.5
    assert told["engine"]["device_memory_bytes"] == (4096 if world.version.startswith("8") else 8192)
