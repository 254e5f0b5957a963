"""The real Nsight Systems and Nsight Compute around a worker on a real GPU: it replies, and its kernels are known."""

from __future__ import annotations

import contextlib
import os
import sys
from pathlib import Path

import pytest

from bench.errors import CaseError
from bench.model.profile import Profile
from bench.profiling.ncu import Ncu
from bench.profiling.nsys_profile import Nsys
from bench.system import process
from bench.units import NS_PER_S

pytestmark = pytest.mark.gpu

LABEL = "net/eager/fp16/batch=8"
ITERATIONS, LAYERS = 3, 4
# As a worker does: job on stdin, ranges within the capture, one reply on its own pipe, no exit handlers.
WORKER = f"""
import os, sys
import nvtx, torch
job = sys.stdin.buffer.readline()
net = torch.nn.Sequential(*[torch.nn.Linear(256, 256) for _ in range({LAYERS})]).half().cuda()
x = torch.randn(8, 256).half().cuda()
def ranged(text):
    return nvtx.annotate(text, domain="trtbench")
def call():
    y = x
    for number, layer in enumerate(net):
        with ranged(f"module {{number}}"):
            y = layer(y)
    return y
with torch.inference_mode():
    call()
    if sys.argv[1] == "graph":
        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):
            call()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=stream):
            call()
        call = graph.replay
    torch.cuda.synchronize()
    torch.cuda.cudart().cudaProfilerStart()
    with ranged({LABEL!r}):
        for number in range({ITERATIONS}):
            with ranged(f"iteration {{number}}"):
                call()
                torch.cuda.synchronize()
    torch.cuda.cudart().cudaProfilerStop()
os.write(int(sys.argv[-1]), b"replied to " + job)
os._exit(0)
"""


def profile(tool: Nsys | Ncu, folder: Path, mode: str = "eager") -> Profile:
    pytest.importorskip("nvtx")
    pytest.importorskip("torch")
    if missing := tool.missing():
        pytest.skip(missing.reason)
    replies: list[bytes] = []
    command = [*tool.prefix(folder), sys.executable, "-c", WORKER, mode]
    with contextlib.closing(process.Child(command, os.environ)) as child:
        outcome = child.finish(b"the job\n", 300 * NS_PER_S, replies.append)
    assert (outcome.code, replies) == (0, [b"replied to the job"]), outcome.log
    return tool.read(folder, "c0ffee", LABEL, outcome.log)


@pytest.mark.parametrize("mode", ["eager", "graph"])
def test_a_worker_replies_under_nsys_and_each_of_its_kernels_is_known(tmp_path: Path, mode: str) -> None:
    seen = profile(Nsys(), tmp_path, mode)
    assert sum(span.kind == "iteration" for span in seen.ranges) == ITERATIONS
    assert len(seen.kernels) >= ITERATIONS * LAYERS
    assert len(seen.kernels) % ITERATIONS == 0
    launches = {seen.calls[kernel.call].name for kernel in seen.kernels if kernel.call is not None}
    assert all(kernel.call is not None for kernel in seen.kernels)
    if mode == "graph":
        assert launches == {"cudaGraphLaunch"}
        assert len({kernel.node for kernel in seen.kernels}) == len(seen.kernels) // ITERATIONS
    else:
        assert {kernel.module for kernel in seen.kernels} == {str(number) for number in range(LAYERS)}
    assert seen.notes == ()


def test_ncu_counts_the_first_launch_of_a_named_kernel(tmp_path: Path) -> None:
    names = profile(Nsys(), tmp_path).kernels
    try:
        (figures,) = profile(Ncu(names[0].name), tmp_path).figures
    except CaseError as error:
        if "ERR_NVGPUCTRPERM" not in error.what:
            raise
        pytest.skip(error.what)
    assert figures.ns is not None
    assert figures.ns > 0
    for share in (figures.sm, figures.memory, figures.dram, figures.occupancy, figures.occupancy_limit):
        assert share is not None
        assert 0 <= share <= 1.05
    assert figures.registers is not None
    assert figures.grid
    assert figures.block
