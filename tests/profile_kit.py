"""Builds profiles by hand: a few lines give ranges, host calls, kernels and copies on one time axis."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from bench.model.profile import Copy, CopyKind, HostCall, Kernel, Profile, Range, RangeKind, Tool

US = 1_000


class Timeline:
    """Events of a profile as they are told; all times are ns, ``now`` is where the host's next event starts.

    A host thread that launches kernels runs ahead of the GPU, whose streams run what is queued in order::

        timeline = Timeline()
        with timeline.range("iteration", "0"):
            with timeline.range("module", "layer1"):
                timeline.launch("gemm", 20 * US)
            timeline.copy("d2h", 4096, 3 * US)
            timeline.sync()
        profile = timeline.profile()
    """

    def __init__(self, *, call_ns: int = 4 * US, latency_ns: int = 3 * US, between_ns: int = 1 * US) -> None:
        self.now = 0
        self.thread = 1
        self.call_ns, self.latency_ns, self.between_ns = call_ns, latency_ns, between_ns
        self.ranges: list[Range] = []
        self.calls: list[HostCall] = []
        self.kernels: list[Kernel] = []
        self.copies: list[Copy] = []
        self._free: dict[int, int] = {}

    @contextmanager
    def range(self, kind: RangeKind, name: str) -> Iterator[None]:
        start = self.now
        yield
        self.ranges.append(Range(name=name, kind=kind, start=start, end=self.now, thread=self.thread))

    def python(self, ns: int) -> None:
        """The host does something that no tool sees."""
        self.now += ns

    def call(self, name: str, ns: int | None = None, stack: tuple[str, ...] = ()) -> int:
        """One host call; its index."""
        start, self.now = self.now, self.now + (self.call_ns if ns is None else ns)
        self.calls.append(HostCall(name=name, start=start, end=self.now, thread=self.thread, stack=stack))
        self.now += self.between_ns
        return len(self.calls) - 1

    def launch(self, name: str, ns: int, *, stream: int = 7, module: str = "", operator: str = "") -> None:
        """A kernel of ``ns``, launched by a call of its own."""
        call = self.call("cudaLaunchKernel")
        start, end = self._queue(self.calls[call].end, ns, stream)
        self.kernels.append(
            Kernel(name=name, start=start, end=end, stream=stream, call=call, module=module, operator=operator)
        )

    def graph(self, nodes: list[tuple[str, int]], *, gap_ns: int = 1 * US, stream: int = 7) -> None:
        """One launch of a graph of kernels (name, ns), one after another."""
        call = self.call("cudaGraphLaunch")
        for node, (name, ns) in enumerate(nodes):
            start, end = self._queue(self.calls[call].end, ns, stream)
            self._free[stream] = end + gap_ns
            self.kernels.append(Kernel(name=name, start=start, end=end, stream=stream, call=call, node=node))

    def copy(self, kind: CopyKind, size: int, ns: int, *, stream: int = 7, known: bool = True) -> None:
        """A copy of ``size`` bytes; not ``known``: the tool did not record the call that issued it."""
        if not known:
            self.now += self.call_ns + self.between_ns
        call = self.call("cudaMemsetAsync" if kind == "memset" else "cudaMemcpyAsync") if known else None
        start, end = self._queue(self.now - self.between_ns, ns, stream)
        self.copies.append(Copy(kind=kind, size=size, start=start, end=end, stream=stream, call=call))

    def sync(
        self, name: str = "cudaStreamSynchronize", *, return_ns: int = 2 * US, stack: tuple[str, ...] = ()
    ) -> None:
        """Wait for all streams; the call returns ``return_ns`` after the last work."""
        done = max([self.now, *self._free.values()]) + return_ns
        self.call(name, done - self.now, stack)
        self.now = done

    def profile(self, *, tool: Tool = "nsys", device: str = "cuda", unprofiled_ns: tuple[int, ...] = ()) -> Profile:
        return Profile(
            tool=tool,
            case="0123456789abcdef",
            label="model/eager/fp32",
            device=device,
            ranges=tuple(self.ranges),
            calls=tuple(self.calls),
            kernels=tuple(self.kernels),
            copies=tuple(self.copies),
            unprofiled_ns=unprofiled_ns,
        )

    def _queue(self, launched: int, ns: int, stream: int) -> tuple[int, int]:
        start = max(launched + self.latency_ns, self._free.get(stream, 0))
        self._free[stream] = start + ns
        return start, start + ns


def eager(iterations: int = 3, *, kernels: int = 4, kernel_ns: int = 20 * US, host_ns: int = 30 * US) -> Timeline:
    """Iterations of input copy, a kernel for each of some modules with Python in front of it, output copy, wait.

    With ``host_ns`` above ``kernel_ns`` the GPU waits for the host.
    """
    timeline = Timeline()
    for number in range(iterations):
        with timeline.range("iteration", str(number)):
            with timeline.range("phase", "h2d"):
                timeline.copy("h2d", 1 << 16, 5 * US)
            with timeline.range("phase", "call"):
                for index in range(kernels):
                    with timeline.range("module", f"layer{index}"), timeline.range("operator", "aten::linear"):
                        timeline.python(host_ns)
                        timeline.launch(f"gemm_{index}", kernel_ns)
            with timeline.range("phase", "d2h"):
                timeline.copy("d2h", 1 << 12, 4 * US)
            with timeline.range("phase", "wait"):
                timeline.sync()
        timeline.python(10 * US)
    return timeline


def replayed(iterations: int = 3, *, kernels: int = 4, kernel_ns: int = 20 * US) -> Timeline:
    """The kernels of ``eager`` as one graph."""
    timeline = Timeline()
    for number in range(iterations):
        with timeline.range("iteration", str(number)):
            with timeline.range("phase", "h2d"):
                timeline.copy("h2d", 1 << 16, 5 * US)
            with timeline.range("phase", "call"):
                timeline.graph([(f"gemm_{index}", kernel_ns) for index in range(kernels)])
            with timeline.range("phase", "d2h"):
                timeline.copy("d2h", 1 << 12, 4 * US)
            with timeline.range("phase", "wait"):
                timeline.sync()
        timeline.python(10 * US)
    return timeline


def on_cpu(iterations: int = 3) -> Timeline:
    """Iterations of two operators on the calling thread, one nested, Python around them, and one on another thread."""
    timeline = Timeline()
    for number in range(iterations):
        with timeline.range("iteration", str(number)), timeline.range("phase", "call"):
            timeline.python(10 * US)
            with timeline.range("module", "layer0"), timeline.range("operator", "aten::linear"):
                timeline.python(5 * US)
                with timeline.range("operator", "aten::addmm"):
                    timeline.python(40 * US)
            timeline.python(5 * US)
            timeline.thread = 2
            with timeline.range("operator", "aten::relu"):
                timeline.python(20 * US)
            timeline.thread = 1
            timeline.python(3 * US)
    return timeline
