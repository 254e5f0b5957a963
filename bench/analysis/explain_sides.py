"""One side of an explanation: the units that a profile or the layers of an engine consist of, and the gaps between."""

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence

import msgspec

from bench.analysis import explain_names, operators, waterfall
from bench.analysis.operators import Family
from bench.model.data import Data
from bench.model.profile import CondensedProfile, Copy, Kernel, Layer, Layers, Profile, Range

# Operators of CPU profiles that only call others: their own time is the host's.
_WRAPPER = re.compile(
    r"Torch-Compiled Region|CompiledFxGraph|CompiledFunction|TorchDynamo|AOTDispatcher|Pregraph|ProfilerStep|graph_call"
)
# Those whose own time is that of kernels which a compiler generated, where it is not this short, ns.
_COMPILED = re.compile(r"CompiledFxGraph|CompiledFunction|^forward$|^TensorExpr")
_LEAST_GENERATED = 5_000
GENERATED = "generated code"
_GAPS = {
    "launch": "the GPU is idle while the host issues",
    "wait": "the GPU is idle while the host waits or does something else",
    "tail": "after the last work on the GPU",
    "unexplained": "not explained by events of the profile",
}


class Unit(Data, frozen=True, kw_only=True):
    """One kernel, copy, layer of an engine or operator on a CPU, in the order in which they run; ``ns`` of one
    inference.

    ``names`` are the modules or nodes that it computes; ``span``: all between the first and the last of them.
    ``operators`` are the types of what is in it, as far as the tool tells. ``tactic`` is the kernel of a layer.
    ``transfer`` is ``h2d`` or ``d2h`` for a copy between host and device.
    """

    name: str
    ns: int
    family: Family = "other"
    names: tuple[explain_names.Name, ...] = ()
    span: bool = False
    operators: tuple[str, ...] = ()
    precision: str = ""
    tactic: str = ""
    graph: bool = False
    transfer: str = ""


class Gap(Data, frozen=True, kw_only=True):
    """Time of one inference in which no unit ran, ``ns``; ``meaning`` says it in words."""

    name: str
    ns: int
    meaning: str = ""


class Side(Data, frozen=True, kw_only=True):
    """One case with all that its profile says of one inference: ``window`` = units + gaps + remainder, ns.

    ``kind`` is what the units are: ``kernel``, ``layer`` or ``operator``. ``unprofiled`` is the median of the same
    inferences without the profiler, 0 where it is not known. ``measured`` has the medians of a run of the same case, ns
    by boundary; empty where there is none. ``flaw`` says why that run cannot judge the case, a predicate as ``has only
    empty outputs in RUN``; empty where it can. ``spread`` says that the windows of the profile lie far apart; empty
    where they do not.
    """

    case: str
    label: str
    tool: str
    kind: str
    window: int
    units: tuple[Unit, ...]
    gaps: tuple[Gap, ...] = ()
    unprofiled: int = 0
    notes: tuple[str, ...] = ()
    measured: dict[str, float] = {}
    flaw: str = ""
    spread: str = ""

    @property
    def work(self) -> int:
        """The sum of all units but copies between host and device: what the boundary ``gpu`` has, without its gaps."""
        return sum(unit.ns for unit in self.units if not unit.transfer)

    @property
    def idle(self) -> int:
        """The sum of all gaps."""
        return sum(gap.ns for gap in self.gaps)

    @property
    def busy(self) -> int:
        """The sum of all units."""
        return sum(unit.ns for unit in self.units)

    @property
    def remainder(self) -> int:
        """What of the window neither a unit nor a gap has; negative where units ran at the same time."""
        return self.window - self.busy - self.idle


def without_profiler(side: Side, whole: float) -> Side:
    """The side as if no profiler had run: its gaps, in proportion, so that the whole takes ``whole`` ns. Kernels and
    copies are left as they are, as a profiler slows the host. Where these alone take longer there are no gaps.
    """
    if not side.idle:
        return side
    busy = side.window - side.idle
    left = max(whole - busy, 0)
    gaps = tuple(msgspec.structs.replace(gap, ns=round(gap.ns * left / side.idle)) for gap in side.gaps)
    return msgspec.structs.replace(side, gaps=gaps, window=busy + sum(gap.ns for gap in gaps))


def as_measured(side: Side, gpu: float) -> Side:
    """The side as the boundary ``gpu`` of a run has it, ns: kernels as they are, without copies from and to the host,
    and one gap with what is left of that time; layers shortened by the same time each, as TensorRT's profiler takes
    time at each of them. Where they take less than that, or kernels more, the remainder has the rest.
    """
    if side.kind == "layer":
        return msgspec.structs.replace(side, units=_shorten(side.units, round(gpu)), gaps=(), window=round(gpu))
    units = tuple(unit for unit in side.units if not unit.transfer)
    left = max(round(gpu) - side.work, 0)
    gaps = (Gap(name="between kernels", ns=left, meaning="the GPU is idle between kernels, all launched before"),)
    return msgspec.structs.replace(side, units=units, gaps=gaps if left else (), window=round(gpu))


def _shorten(units: Sequence[Unit], whole: int) -> tuple[Unit, ...]:
    """The units, each less the same time but none below 0, so that they sum to ``whole``; as they are if they already
    take no longer.
    """
    times = sorted(unit.ns for unit in units)
    excess, cut = sum(times) - whole, 0.0
    if excess <= 0:
        return tuple(units)
    for place, ns in enumerate(times):
        cut = excess / (len(times) - place)
        if ns >= cut:
            break
        excess -= ns
    several = [msgspec.structs.replace(unit, ns=max(round(unit.ns - cut), 0)) for unit in units]
    longest = max(range(len(several)), key=lambda place: several[place].ns)
    rest = whole - sum(unit.ns for unit in several)  # of rounding
    several[longest] = msgspec.structs.replace(several[longest], ns=several[longest].ns + rest)
    return tuple(several)


def of_layers(case: str, label: str, engine: Layers) -> Side:
    """The side of an engine: its layers that take time. The window is the median of whole calls."""
    timed = [layer for layer in engine.layers if any(layer.ns)]
    calls = {len(layer.ns) for layer in timed}
    medians = [round(statistics.median(layer.ns)) for layer in timed]
    whole = sum(medians)
    if len(calls) == 1:
        whole = round(statistics.median(map(sum, zip(*(layer.ns for layer in timed), strict=True))))
    units = tuple(_of_layer(layer, ns) for layer, ns in zip(timed, medians, strict=True))
    return Side(case=case, label=label, tool=engine.runtime, kind="layer", window=whole, units=units)


def of_condensed(case: str, label: str, condensed: CondensedProfile) -> Side:
    """The side of a profile: kernels and copies of a GPU, the layers of an engine, or the operators of a CPU."""
    profile = condensed.profile
    if profile.layers is not None and not profile.kernels:
        return of_layers(case, label, profile.layers)
    version = profile.tool_version
    on_gpu = bool(profile.kernels or profile.copies)
    gaps = [
        Gap(name=name, ns=round(statistics.median(getattr(parts, name) for parts in condensed.parts)), meaning=meaning)
        for name, meaning in _GAPS.items()
        if condensed.parts and on_gpu
    ]
    return Side(
        case=case,
        label=label,
        tool=version if version.startswith(profile.tool) else f"{profile.tool} {version}".strip(),
        kind="kernel" if on_gpu else "operator",
        window=_window(condensed),
        units=tuple(_of_gpu(condensed) if on_gpu else _of_ranges(profile)),
        gaps=tuple(gaps),
        unprofiled=round(statistics.median(profile.unprofiled_ns or (0,))),
        notes=profile.notes,
        spread=waterfall.spread([parts.window for parts in condensed.parts]),
    )


def _of_gpu(condensed: CondensedProfile) -> list[Unit]:
    """Kernels and copies by their start."""
    profile = condensed.profile
    durations = condensed.kernel_ns
    if len(durations) != len(profile.kernels):
        durations = tuple(kernel.end - kernel.start for kernel in profile.kernels)
    events = [(kernel.start, _of_kernel(kernel, ns)) for kernel, ns in zip(profile.kernels, durations, strict=True)]
    events += [(copy.start, _of_copy(copy)) for copy in profile.copies]
    return [unit for _, unit in sorted(events, key=lambda event: event[0])]


def _window(condensed: CondensedProfile) -> int:
    """The median of all iterations; on a CPU, where operators are those of one iteration, that one's."""
    profile = condensed.profile
    if condensed.parts and (profile.kernels or profile.copies):
        return round(statistics.median(parts.window for parts in condensed.parts))
    spans = [(each.start, each.end) for each in profile.ranges if each.kind == "iteration"]
    if not spans:
        spans = [(each.start, each.end) for each in profile.ranges]
        spans += [(kernel.start, kernel.end) for kernel in profile.kernels]
        spans += [(copy.start, copy.end) for copy in profile.copies]
    return max(end for _, end in spans) - min(start for start, _ in spans) if spans else 0


def _of_layer(layer: Layer, ns: int) -> Unit:
    read = explain_names.parse(layer.name)
    # The metadata of a layer lists every node, its name only the first and the last of a large one.
    origin = [name for text in layer.origin if (name := explain_names.one(text))]
    # A name has them in the order in which they compute.
    whole = bool(origin) and set(origin) != set(read.names)
    names, span = (tuple(dict.fromkeys(origin)), False) if whole else (read.names, read.span)
    reformat = layer.reformat or read.reformat
    listed = tuple(name.operator for name in names if name.operator) or read.operators
    return Unit(
        name=layer.name,
        ns=ns,
        family="reformat" if reformat else _family_of_layer(layer, listed),
        names=names,
        span=span,
        operators=("Reformat",) if reformat else listed,
        precision=layer.precision,
        tactic=layer.tactic,
    )


# A layer whose type says nothing of its work is named by its most expensive operator.
_HEAVIEST: tuple[Family, ...] = ("attention", "conv", "gemm", "softmax", "norm", "pool", "reduce", "index")


def _family_of_layer(layer: Layer, listed: Sequence[str]) -> Family:
    own = operators.family(layer.kind) if layer.kind else "other"
    if own in operators.ANCHORS or own == "pool":
        return own
    families = {operators.family(operator) for operator in listed}
    if layer.kind in ("Myelin", "kgen", "") or own in ("other", "pointwise"):
        for each in _HEAVIEST:
            if each in families:
                return each
        if own in ("other", "pointwise"):
            return operators.family(layer.name) if own == "other" and not families else "pointwise"
    return own


def _of_kernel(kernel: Kernel, ns: int) -> Unit:
    read = explain_names.parse(kernel.module)
    told = tuple(filter(None, (each.strip() for each in kernel.operator.split("+"))))
    listed = told or operators.operators(kernel.name) or tuple(each.operator for each in read.names if each.operator)
    family = operators.family(kernel.name)
    if family in ("other", "pointwise") and len(told) == 1:
        # The name of the kernel may say less than its operator; but a convolution has pointwise kernels, for its bias.
        around = operators.family(told[0])
        family = around if around != "other" and (family == "other" or around not in operators.ANCHORS) else family
    return Unit(
        name=kernel.name,
        ns=ns,
        family="reformat" if read.reformat else family,
        names=read.names,
        span=read.span,
        operators=listed,
        precision=operators.precision(kernel.name) if family in operators.ANCHORS else "",
        tactic=kernel.name,
        graph=kernel.node is not None,
    )


def _of_copy(copy: Copy) -> Unit:
    names = explain_names.parse(copy.module).names
    return Unit(
        name=f"{'memset' if copy.kind == 'memset' else f'copy {copy.kind}'}, {copy.size:,} bytes",
        ns=copy.end - copy.start,
        family="copy",
        names=names,
        graph=copy.node is not None,
        transfer=copy.kind if copy.kind in ("h2d", "d2h") else "",
    )


def _of_ranges(profile: Profile) -> list[Unit]:
    """The outermost operators of an iteration's thread. Of what only calls others, as compiled code does, these; what
    compiled code does between them is a unit too, as its generated kernels have no range.
    """
    iteration = next((each for each in profile.ranges if each.kind == "iteration"), None)
    thread = iteration.thread if iteration else next((each.thread for each in profile.ranges), 0)
    spans = [each for each in profile.ranges if each.thread == thread and each.kind in ("module", "operator", "layer")]
    units: list[Unit] = []
    open_modules: list[Range] = []
    compiled: list[Range] = []
    covered = 0
    spans.sort(key=lambda each: (each.start, -each.end))
    for at, each in enumerate(spans):
        while compiled and compiled[-1].end <= each.start:
            units += _generated(compiled, covered, compiled[-1].end)
            covered = max(covered, compiled.pop().end)
        open_modules = [module for module in open_modules if each.start < module.end]
        if each.kind in ("module", "layer"):
            open_modules.append(each)
        elif each.start >= covered:
            inner = _inside(spans, at)
            if _WRAPPER.search(each.name) or ("::" not in each.name and inner):
                compiled.append(each)
                covered = each.start
                continue
            units += _generated(compiled, covered, each.start)
            units.append(_of_operator(each, inner, open_modules[-1].name if open_modules else ""))
            covered = each.end
    while compiled:
        units += _generated(compiled, covered, compiled[-1].end)
        covered = max(covered, compiled.pop().end)
    return units


def _generated(compiled: Sequence[Range], start: int, end: int) -> list[Unit]:
    """What compiled code does by itself from ``start`` to ``end``, if that takes long enough to be work."""
    if not compiled or not _COMPILED.search(compiled[-1].name) or end - start < _LEAST_GENERATED:
        return []
    return [Unit(name=GENERATED, ns=end - start, family="pointwise", operators=(GENERATED,))]


def _inside(spans: Sequence[Range], at: int) -> list[Range]:
    """The operators within the range at a place, in order."""
    inner = []
    for each in spans[at + 1 :]:
        if each.start >= spans[at].end:
            break
        inner += [each] if each.kind == "operator" else []
    return inner


def _of_operator(operator: Range, inner: Sequence[Range], module: str) -> Unit:
    """An operator; its ``tactic`` is the innermost that takes most of its time: ``aten::mkldnn_convolution``."""
    deepest = operator
    for each in inner:
        if 2 * (each.end - each.start) > deepest.end - deepest.start and each.end <= deepest.end:
            deepest = each
    return Unit(
        name=operator.name,
        ns=operator.end - operator.start,
        family=operators.family(operator.name),
        names=explain_names.parse(module).names,
        operators=operators.operators(operator.name) or tuple(operator.name.split("+")),
        tactic=deepest.name,
    )
