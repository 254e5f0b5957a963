"""The profilers that a worker switches on: torch.profiler in its own process, or one that it runs under (nsys, ncu).

Each is entered for the calls that it records, and names ranges on the timeline by ``bench.model.ranges``.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import msgspec

from bench.errors import Unavailable, Unsupported
from bench.measure.nvtx import DOMAIN
from bench.model import ranges
from bench.model.abilities import SimulatesProfiles
from bench.model.distributions import install
from bench.model.profile import RangeKind, Tool
from bench.model.suite import Case

# What the profilers of this module leave in a job's folder.
TRACE, STACKS, SIMULATED = "trace.json", "stacks.json", "profile.json"
# What a runtime wrote down of its nodes, and when each iteration began by the same clock, in ns since 1970.
NODES, STARTS = "nodes.json", "starts.json"


class Profiler(Protocol):
    """One profiler, seen from the process that it looks at."""

    version: str

    def early(self) -> None:
        """Load what has to be there before a CUDA graph is captured; once is enough."""
        ...

    def range_(self, kind: RangeKind, name: str) -> AbstractContextManager[Any]:
        """A range on this thread's timeline for the block."""
        ...

    def on(self, out: Path) -> AbstractContextManager[None]:
        """Record what the block does; files go to the folder ``out``."""
        ...

    def stacks(self, out: Path) -> AbstractContextManager[None] | None:
        """Record the Python frames of what the block calls; None where it cannot, or nothing waits for a GPU."""
        ...


def profiler(tool: Tool, device: str, backend: object, case: Case) -> Profiler:
    """The profiler of a tool; of a simulated ``backend`` always its own. Unavailable if this interpreter lacks what it
    needs, Unsupported if the backend simulates calls but no profiles.
    """
    if getattr(backend, "simulated", False):
        if not isinstance(backend, SimulatesProfiles):
            raise Unsupported(f"the simulated backend {case.backend!r} has no profiles")
        return SimulatedProfiler(backend, case)
    if tool == "torch":
        if importlib.util.find_spec("torch") is None:
            fix = "--tool nsys, or a toolchain that has torch"
            raise Unavailable("torch.profiler needs torch, which this interpreter does not have", fix=fix)
        return TorchProfiler(on_gpu=device != "cpu")
    return OuterProfiler(on_gpu=device != "cpu")


class TorchProfiler:
    """torch.profiler: operators, calls of the CUDA runtime and, on a GPU, kernels and copies."""

    def __init__(self, *, on_gpu: bool) -> None:
        # Inductor's loops on a CPU are seen only if they are compiled so; the variable is read when it is imported.
        os.environ.setdefault("TORCHINDUCTOR_CPP_ENABLE_KERNEL_PROFILE", "0" if on_gpu else "1")
        import torch

        self.version = f"torch {torch.__version__}"
        self._on_gpu = on_gpu
        self._loaded = False

    def early(self) -> None:
        """Record nothing once: libcupti must be loaded before a graph is captured, or its kernels are not seen. From
        then on it stays attached to the process.
        """
        if self._on_gpu and not self._loaded:
            with self._profile():
                pass
            self._loaded = True

    def range_(self, kind: RangeKind, name: str) -> AbstractContextManager[Any]:
        """record_function."""
        from torch.profiler import record_function

        range_: AbstractContextManager[Any] = record_function(ranges.text(kind, name))
        return range_

    @contextlib.contextmanager
    def on(self, out: Path) -> Iterator[None]:
        """Write the Chrome trace of the block."""
        with self._profile() as profile:
            yield
        profile.export_chrome_trace(str(out / TRACE))

    def stacks(self, out: Path) -> AbstractContextManager[None] | None:
        """A second trace with frames: recording them slows Python down, so the times of the first have none."""
        return self._with_stacks(out) if self._on_gpu else None

    @contextlib.contextmanager
    def _with_stacks(self, out: Path) -> Iterator[None]:
        with self._profile(with_stack=True) as profile:
            yield
        profile.export_chrome_trace(str(out / STACKS))

    def _profile(self, *, with_stack: bool = False) -> Any:
        from torch.profiler import ProfilerActivity, profile

        activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if self._on_gpu else [])]
        return profile(activities=activities, with_stack=with_stack)


class OuterProfiler:
    """A profiler that this process was started under: NVTX ranges, and the calls that begin and end its recording."""

    version = ""

    def __init__(self, *, on_gpu: bool) -> None:
        self._on_gpu = on_gpu
        self._nvtx: Any = None
        self._torch_nvtx: Any = None
        if importlib.util.find_spec("nvtx") is not None:
            import nvtx

            self._nvtx = nvtx
        elif importlib.util.find_spec("torch") is not None:
            import torch.cuda.nvtx

            self._torch_nvtx = torch.cuda.nvtx
        else:
            what = "ranges on the profiler's timeline need the package 'nvtx' in this interpreter"
            raise Unavailable(what, fix=install("nvtx"))

    def early(self) -> None:
        """It was there before this process."""

    def range_(self, kind: RangeKind, name: str) -> AbstractContextManager[Any]:
        """NVTX: in the domain trtbench by the package nvtx, else in the default one by torch."""
        if self._nvtx is not None:
            text = ranges.in_domain(kind, name)
            annotation: AbstractContextManager[Any] = self._nvtx.annotate(text, domain=DOMAIN)
            return annotation
        pushed: AbstractContextManager[Any] = self._torch_nvtx.range(ranges.text(kind, name))
        return pushed

    @contextlib.contextmanager
    def on(self, out: Path) -> Iterator[None]:
        """cudaProfilerStart and cudaProfilerStop; torch's, which loads the runtime that profilers look for."""
        if not self._on_gpu:
            yield
            return
        start, stop = _profiler_calls()
        start()
        try:
            yield
        finally:
            stop()

    def stacks(self, out: Path) -> AbstractContextManager[None] | None:
        """None: the profiler is another process."""
        return None


class SimulatedProfiler:
    """Sees of a simulated case what its backend says: the file ``profile.json``, with the iterations that were made."""

    version = "simulated"

    def __init__(self, backend: SimulatesProfiles, case: Case) -> None:
        self._backend = backend
        self._case = case
        self._iterations = 0

    def early(self) -> None:
        """Nothing to load."""

    def range_(self, kind: RangeKind, name: str) -> AbstractContextManager[Any]:
        """Counts the iterations."""
        self._iterations += kind == "iteration"
        return contextlib.nullcontext()

    @contextlib.contextmanager
    def on(self, out: Path) -> Iterator[None]:
        """Write the simulated profile after the block."""
        self._iterations = 0
        yield
        profile = self._backend.profile(self._case, self._iterations)
        (out / SIMULATED).write_bytes(msgspec.json.encode(profile))

    def stacks(self, out: Path) -> AbstractContextManager[None] | None:
        """None: there is no Python to look at."""
        return None


def _profiler_calls() -> tuple[Any, Any]:
    """Begin and end recording: through torch's CUDA runtime where torch is loaded, else through the driver."""
    torch = sys.modules.get("torch")
    if torch is not None:
        runtime = torch.cuda.cudart()
        return runtime.cudaProfilerStart, runtime.cudaProfilerStop
    from bench.measure.cuda import CudaDriver

    driver = CudaDriver()
    return lambda: driver.check(driver.api.cuProfilerStart()), lambda: driver.check(driver.api.cuProfilerStop())
