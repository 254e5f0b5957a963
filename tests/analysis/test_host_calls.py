"""What a call of CUDA does is told by its name, whatever version and default stream it is of."""

from __future__ import annotations

import pytest

from bench.analysis import host_calls


@pytest.mark.parametrize(
    ("name", "waits", "issues"),
    [
        ("cudaLaunchKernel", False, True),
        ("cudaLaunchKernelExC_v11060", False, True),
        ("cuLaunchKernelEx", False, True),
        ("cudaGraphLaunch_v10000_ptsz", False, True),
        ("cudaMemcpyAsync_v3020", False, True),
        ("cudaMemcpy_v3020", True, True),
        ("cuMemcpyDtoH_v2", True, True),
        ("cuMemcpyHtoDAsync_v2", False, True),
        ("cudaMemsetAsync", False, True),
        ("cudaStreamSynchronize_v3020", True, False),
        ("cuCtxSynchronize", True, False),
        ("cudaEventSynchronize", True, False),
        ("cudaFree", True, False),
        ("cudaFreeAsync", False, False),
        ("cudaStreamWaitEvent", False, False),
        ("cudaEventRecord", False, False),
        ("cudaMalloc", False, False),
    ],
)
def test_whether_a_call_waits_or_issues(name: str, waits: bool, issues: bool) -> None:
    assert (host_calls.waits(name), host_calls.issues(name)) == (waits, issues)
