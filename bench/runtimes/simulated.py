"""The profile of a GPU that is not there: what the fake backend shows to whatever reads profiles."""

from __future__ import annotations

from bench.model import ranges
from bench.model.profile import Copy, CopyKind, HostCall, Kernel, Profile, Range, RangeKind
from bench.model.suite import Case

# Of one iteration, in thousandths of its time: when the host issues a kernel, when that runs, its module and operator.
_KERNELS = (
    (100, 150, 250, "encoder.0", "aten::linear", "gemm"),
    (180, 250, 450, "encoder.1", "aten::conv2d", "conv"),
    (260, 450, 550, "encoder.1", "aten::relu", "relu"),
    (600, 640, 840, "head", "aten::softmax", "softmax"),  # the GPU has nothing to do from 550 on
)
_H2D, _D2H = (20, 50, 100), (860, 870, 920)
_PARTS = ((ranges.H2D, 0, 60), (ranges.CALL, 60, 650), (ranges.D2H, 650, 700), (ranges.WAIT, 700, 990))
_WAIT = (710, 960)
_ISSUING = 20
_STREAM = 7
# Between two iterations, in thousandths of one.
_PAUSE = 50
# Of a call on a held stream the gap between two kernels, and what events see beside its kernels; in thousandths too.
_GAP, _EVENTS = 5, 4
_STACK = ("zoo.py:12 forward", "zoo.py:30 __call__")


def profile(case: Case, iterations: int, ns: int) -> Profile:
    """``iterations`` of about ``ns`` each: every third is one per cent shorter, and the one after it longer. As many
    calls on a held stream, with the times that events would give.
    """
    begin = 0
    ranges_: list[Range] = []
    calls: list[HostCall] = []
    kernels: list[Kernel] = []
    copies: list[Copy] = []
    for number in range(iterations):
        window = ns * (99, 101, 100)[number % 3] // 100
        one = _Iteration(begin, window, len(calls), graph=case.cuda_graph, precision=case.precision)
        ranges_ += one.ranges(number)
        kernels += one.kernels()
        copies += one.copies(sum(_sizes(case)))
        calls += one.calls()
        begin += window + ns * _PAUSE // 1000
    end = begin
    for number in range(iterations):
        call = _held_kernels(end, ns, case.precision)
        last = call[-1].end + ns * _PAUSE // 1000
        ranges_.append(Range(name=f"{ranges.HELD} {number}", kind="phase", start=end, end=last, thread=1))
        kernels += call
        end = last + 1
    whole: tuple[tuple[RangeKind, str], ...] = (("case", case.label), ("phase", "profile"))
    around = [
        Range(name=name, kind=kind, start=0, end=until, thread=1)
        for (kind, name), until in zip(whole, (end, begin), strict=True)
    ]
    gpu_ns = sum(last - first for _, first, last, *_ in _KERNELS) + (len(_KERNELS) - 1) * _GAP + _EVENTS
    return Profile(
        tool="torch",
        tool_version="simulated",
        case=case.id,
        label=case.label,
        ranges=(*around, *ranges_),
        calls=tuple(calls),
        kernels=tuple(kernels),
        copies=tuple(copies),
        gpu_ns=(ns * gpu_ns // 1000,) * iterations,
        recorded_gpu_ns=(ns * gpu_ns // 1000,) * iterations,
    )


def _held_kernels(begin: int, ns: int, precision: str) -> list[Kernel]:
    """The kernels of a call on a held stream, one right after the other."""
    kernels, now = [], begin + ns * _PAUSE // 1000
    for _, first, last, _, _, kind in _KERNELS:
        end = now + ns * (last - first) // 1000
        kernels.append(Kernel(name=f"simulated_{kind}_{precision}", start=now, end=end, stream=_STREAM))
        now = end + ns * _GAP // 1000
    return kernels


def _sizes(case: Case) -> list[int]:
    """The elements of each input times 4."""
    sizes = []
    for spec in case.resolved.values():
        count = 4
        for size in spec.shape:
            count *= int(size)
        sizes.append(count)
    return sizes


class _Iteration:
    """One inference that begins at ``begin`` and takes ``window`` ns; ``first`` is the place of its first call."""

    def __init__(self, begin: int, window: int, first: int, *, graph: bool, precision: str) -> None:
        self._begin = begin
        self._window = window
        self._first = first
        self._graph = graph
        self._precision = precision

    def _at(self, thousandths: int) -> int:
        return self._begin + self._window * thousandths // 1000

    def ranges(self, number: int) -> list[Range]:
        """The iteration, its parts, and modules and operators where no graph is replayed."""
        spans: list[tuple[RangeKind, str, int, int]] = [("iteration", str(number), 0, 1000)]
        spans += [("phase", *part) for part in _PARTS]
        if not self._graph:
            for issued, _, _, module, operator, _ in _KERNELS:
                spans.append(("module", module, issued - 30, issued + 30))
                spans.append(("operator", operator, issued - 10, issued + 25))
        return [
            Range(name=name, kind=kind, start=self._at(start), end=self._at(end), thread=1)
            for kind, name, start, end in spans
        ]

    def calls(self) -> list[HostCall]:
        """The copy in, the launches (one of the graph), the copy out, and the wait."""
        spans = [("cudaMemcpyAsync", _H2D[0], _H2D[0] + _ISSUING)]
        if self._graph:
            spans.append(("cudaGraphLaunch", _KERNELS[0][0], _KERNELS[0][0] + _ISSUING))
        else:
            spans += [("cudaLaunchKernel", kernel[0], kernel[0] + _ISSUING) for kernel in _KERNELS]
        spans += [("cudaMemcpyAsync", _D2H[0] - 200, _D2H[0] - 200 + _ISSUING), ("cudaStreamSynchronize", *_WAIT)]
        return [
            HostCall(
                name=name,
                start=self._at(start),
                end=self._at(end),
                thread=1,
                stack=_STACK if name == "cudaStreamSynchronize" else (),
            )
            for name, start, end in spans
        ]

    def kernels(self) -> list[Kernel]:
        """One for each entry of the table."""
        return [
            Kernel(
                name=f"simulated_{kind}_{self._precision}",
                start=self._at(start),
                end=self._at(end),
                stream=_STREAM,
                call=self._first + 1 + (0 if self._graph else place),
                node=place if self._graph else None,
                module="" if self._graph else module,
                operator="" if self._graph else operator,
            )
            for place, (_, start, end, module, operator, kind) in enumerate(_KERNELS)
        ]

    def copies(self, size: int) -> list[Copy]:
        """Inputs to the device, outputs of equal size back."""
        last = self._first + 1 + (1 if self._graph else len(_KERNELS))
        kinds: tuple[tuple[CopyKind, tuple[int, int, int], int], ...] = (
            ("h2d", _H2D, self._first),
            ("d2h", _D2H, last),
        )
        return [
            Copy(kind=kind, size=size, start=self._at(start), end=self._at(end), stream=_STREAM, call=call)
            for kind, (_, start, end), call in kinds
        ]
