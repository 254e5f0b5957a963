"""What a profiler saw of a case: ranges, host calls, kernels and copies on one time axis; the layers of an engine."""

from __future__ import annotations

from typing import Any, Literal

from bench.model.data import Data
from bench.model.run import Environment, Failure

FILE = "layers.json"


class Tensor(Data, frozen=True, kw_only=True):
    """One input or output of a layer. ``format`` is the runtime's text, e.g. ``Row major linear FP16 format``."""

    name: str
    shape: tuple[int, ...] = ()
    dtype: str = ""
    format: str = ""


class Layer(Data, frozen=True, kw_only=True):
    """One layer of an engine, in the order in which it runs.

    ``ns`` holds one time for each profiled call, empty where the runtime gave none. ``kind`` is the runtime's layer
    type, ``tactic`` the kernel it chose, ``origin`` the nodes of the model that became this layer. ``reformat`` marks
    layers that only change a tensor's type or memory layout.
    """

    name: str
    kind: str = ""
    precision: str = ""
    tactic: str = ""
    inputs: tuple[Tensor, ...] = ()
    outputs: tuple[Tensor, ...] = ()
    origin: tuple[str, ...] = ()
    reformat: bool = False
    ns: tuple[int, ...] = ()


class Layers(Data, frozen=True, kw_only=True):
    """All layers of one engine. ``runtime`` is e.g. ``TensorRT 8.6.1``; ``inspector`` is its own report, unchanged."""

    runtime: str
    layers: tuple[Layer, ...]
    calls: int = 0
    inspector: Any = None


RangeKind = Literal["case", "phase", "iteration", "module", "operator", "layer", "other"]
CopyKind = Literal["h2d", "d2h", "d2d", "memset", "other"]
Tool = Literal["nsys", "torch", "layers", "ncu"]


class Range(Data, frozen=True, kw_only=True):
    """A named span on the timeline of host thread ``thread``; ``start`` and ``end`` in ns on the profile's axis.

    ``name`` of a ``module`` is its path in the model (``layer1.0.conv1``), of a ``layer`` the runtime's name, of an
    ``operator`` that of the framework (``aten::conv2d``). Ranges of a thread nest.
    """

    name: str
    kind: RangeKind
    start: int
    end: int
    thread: int = 0


class HostCall(Data, frozen=True, kw_only=True):
    """One call of the CUDA runtime or driver API: ``cudaLaunchKernel``, ``cudaGraphLaunch``, ``cudaStreamSynchronize``.

    ``start`` and ``end`` in ns on the profile's axis. ``stack`` has the Python frames that led to it, the innermost
    first, each ``file:line function``, where the tool recorded them.
    """

    name: str
    start: int
    end: int
    thread: int = 0
    stack: tuple[str, ...] = ()


class Kernel(Data, frozen=True, kw_only=True):
    """One kernel on the GPU; ``start`` and ``end`` in ns on the profile's axis.

    ``call`` is the index in ``Profile.calls`` of the call that launched it, or the graph that it is in, None if that
    was not captured. ``node`` is its graph node, None outside of graphs. ``module`` and ``operator`` name what it
    computes, empty where nothing tells; several (a fused kernel) are separated by ``+``.
    """

    name: str
    start: int
    end: int
    stream: int = 0
    call: int | None = None
    node: int | None = None
    module: str = ""
    operator: str = ""


class Copy(Data, frozen=True, kw_only=True):
    """One copy or memset on the GPU, ``size`` in bytes; other fields as of ``Kernel``."""

    kind: CopyKind
    size: int
    start: int
    end: int
    stream: int = 0
    call: int | None = None
    node: int | None = None
    module: str = ""


class KernelFigures(Data, frozen=True, kw_only=True):
    """What Nsight Compute counted of one launch of a kernel, which it replays several times with cold caches.

    ``ns`` is its duration, ``grid`` and ``block`` its sizes in blocks and threads, ``waves`` how often its grid fills
    the GPU. ``sm``, ``memory`` (its busiest level) and ``dram`` are fractions of what that unit can do; ``occupancy``
    is that of the warps which fit on an SM, on average, ``occupancy_limit`` what registers and shared memory allow.
    None where this version does not tell.
    """

    name: str
    ns: int | None = None
    grid: tuple[int, ...] = ()
    block: tuple[int, ...] = ()
    waves: float | None = None
    sm: float | None = None
    memory: float | None = None
    dram: float | None = None
    occupancy: float | None = None
    occupancy_limit: float | None = None
    registers: int | None = None


class Profile(Data, frozen=True, kw_only=True):
    """What ``tool`` saw of one case while it ran some iterations, in a pass of its own.

    All times are integer ns from an arbitrary zero that host and GPU share. An iteration is a range of that kind: from
    before one inference is issued to after its last output is there. ``unprofiled_ns`` are the same inferences in the
    same process before the profiler started, for the ratio. ``device`` is ``cuda`` or ``cpu``. On a CPU kernels and
    copies are empty: operators are ranges. ``figures`` are those of the kernel that ``ncu`` looked at. ``notes`` say
    what the tool could not tell.

    ``gpu_ns`` are samples of the boundary ``gpu`` in the same process before the profiler started (after it ended, of a
    runtime that writes down its nodes); ``recorded_gpu_ns`` those of the calls on a held stream that the profiler
    recorded. Both are by CUDA events, and empty where no stream can be held.
    """

    schema: int = 1
    tool: Tool
    tool_version: str = ""
    case: str
    label: str
    device: str = "cuda"
    ranges: tuple[Range, ...] = ()
    calls: tuple[HostCall, ...] = ()
    kernels: tuple[Kernel, ...] = ()
    copies: tuple[Copy, ...] = ()
    layers: Layers | None = None
    figures: tuple[KernelFigures, ...] = ()
    unprofiled_ns: tuple[int, ...] = ()
    gpu_ns: tuple[int, ...] = ()
    recorded_gpu_ns: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()


class Parts(Data, frozen=True, kw_only=True):
    """Where the time of one inference went, ns: the waterfall of ``bench.analysis.waterfall``.

    ``window`` is the time from issuing it to its last output. On a GPU it is the sum of ``kernels`` (at least one
    runs), ``copies`` (one and no kernel), ``launch`` (the GPU is idle until its next work is given to it and starts),
    ``wait`` (so idle while the host is in a call that waits for the GPU), ``tail`` (after the last work on the GPU) and
    ``unexplained``. On a CPU it is the sum of ``operators`` (the calling thread is in one), ``threads`` (only others
    are), ``python`` (the calling thread is in none) and ``unexplained``. Each is computed from events, none as the
    remainder of the others.

    Not in that sum: ``dispatch``, the part of ``launch`` in which the work had been given already; ``busy``, kernels,
    copies within the GPU and memsets, at least one of which runs; ``span``, from the first of these to the last; and
    ``held``, the span if the host had launched all before, as on a held stream: late launches leave only the usual gap.
    """

    window: int
    kernels: int = 0
    copies: int = 0
    launch: int = 0
    wait: int = 0
    tail: int = 0
    unexplained: int = 0
    operators: int = 0
    threads: int = 0
    python: int = 0
    dispatch: int = 0
    busy: int = 0
    span: int = 0
    held: int = 0


class Attribution(Data, frozen=True, kw_only=True):
    """Sums of kernel durations, ns: all, and of those launched in an iteration, in a module or layer, in an operator.

    Where the launching call is not known, a kernel that starts in an iteration counts as launched there: an iteration
    ends after its last output.
    """

    total_ns: int = 0
    iteration_ns: int = 0
    module_ns: int = 0
    operator_ns: int = 0

    @property
    def share(self) -> float | None:
        """Attributed to iterations, as a fraction of all; None without kernels."""
        return self.iteration_ns / self.total_ns if self.total_ns else None


class HeldCall(Data, frozen=True, kw_only=True):
    """One call on a held stream as the tool saw it, ns: ``span`` from the start of its first kernel or copy to the end
    of the last one, ``busy`` the part of that in which at least one of them ran.
    """

    span: int
    busy: int


class CondensedProfile(Data, frozen=True, kw_only=True):
    """A profile small enough to keep: the events of its typical iteration, and what all iterations say.

    ``profile`` holds the events of the iteration whose window is the median (of an even number the lower of the middle
    two), from zero on. ``parts`` has one element for each iteration. ``kernel_ns`` are the medians over iterations of
    each kernel of ``profile``, in its order; empty where iterations ran different kernels. ``attribution`` is of all
    kernels of the iterations' capture. ``held`` are the calls that were recorded on a held stream, which are no
    iterations: those of ``profile.recorded_gpu_ns``.
    """

    profile: Profile
    parts: tuple[Parts, ...] = ()
    kernel_ns: tuple[int, ...] = ()
    attribution: Attribution | None = None
    held: tuple[HeldCall, ...] = ()


class CaseProfile(Data, frozen=True, kw_only=True):
    """One case of a profile file: what the tool saw, or why there is nothing."""

    case: str
    label: str
    condensed: CondensedProfile | None = None
    failure: Failure | None = None


class ProfileRun(Data, frozen=True, kw_only=True):
    """A file of profiles: of which suite, when, on what machine. ``environments`` as of ``bench.model.run.Header``."""

    schema: int = 1
    created: str
    version: str
    tool: Tool
    suite: str = ""
    commit: str = ""
    environments: dict[str, Environment] = {}
    cases: tuple[CaseProfile, ...] = ()
