"""The conditions of a measurement that a comparison needs to be equal, read from fairness reports; pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

Kind = Literal[
    "tf32",
    "memory_format",
    "graphs",
    "inputs_copied",
    "inputs",
    "outputs",
    "autocast",
    "inference_mode",
    "onednn",
    "threads",
    "autotune",
    "kernel_cache",
    "optimization_level",
    "graphs_skipped",
    "graph_breaks",
    "recompiles",
    "uncompiled",
    "fallback",
    "higher_precision",
    "graph_program",
]
# Whatever is computed takes part in all of these; what only the host does is hidden where the stream is held.
ALL = frozenset({"gpu", "gpu_unheld", "latency", "throughput"})
HOST = frozenset({"gpu_unheld", "enqueue", "latency", "throughput"})
# Bits of the types that layers compute in; those that count or index (int32, bool) are left out.
_BITS = {"fp32": 32, "tf32": 19, "fp16": 16, "bf16": 16, "int8": 8, "fp8": 8}
# What a reader meets in a report of a type that it was not written for.
_ODD = (AttributeError, LookupError, TypeError, ValueError)
CAPTURED, _NOT_CAPTURED = "captured", "not captured"
_COPIED, _IN_PLACE = "copied in each call", "read in place"
_ANEW, _EARLIER = "timed for this build", "taken from earlier timings"
_COMPILED, _LOADED = "compiled by this process", "compiled by an earlier process"
_LEVEL = "optimization_level"
_THREAD_FLAGS = ("OMP_", "MKL_", "KMP_", "GOMP_", "OPENBLAS_")


class Subject(NamedTuple):
    """A case that was measured: ``name`` is its backend with options and setting, ``backend`` without, ``group`` is
    equal for those that are compared. ``facts`` has the values of its processes for each key of their fairness reports.
    """

    case: str
    name: str
    backend: str
    precision: str
    group: object
    facts: Mapping[str, tuple[Any, ...]]
    boundaries: frozenset[str]
    on_gpu: bool
    flags: Mapping[str, str]


class Condition(NamedTuple):
    """What must be equal: ``read`` gives the values of a case as texts, none where it does not apply or is not told.

    An ``axis`` is what a suite measures a backend with and without: it is unequal if one backend lacks a value that
    another one has. Else each case counts by itself. ``touches`` are the boundaries that it can show in.
    """

    kind: Kind
    key: str
    read: Callable[[Subject], tuple[str, ...]]
    option: str = ""
    axis: bool = False
    touches: frozenset[str] = ALL


class Fact(NamedTuple):
    """What happens to one case: ``read`` gives its figures, numbers and tuples of texts, none if it did not happen."""

    kind: Kind
    key: str
    read: Callable[[Subject], dict[str, Any]]
    option: str = ""
    touches: frozenset[str] = ALL


def values(condition: Condition, subject: Subject) -> tuple[str, ...]:
    """What ``condition`` reads of a case, each once; none of a report that another version or program has written."""
    try:
        return tuple(dict.fromkeys(condition.read(subject)))
    except _ODD:
        return ()


def figures(fact: Fact, subject: Subject) -> dict[str, Any]:
    """What ``fact`` reads of a case, likewise."""
    try:
        return fact.read(subject)
    except _ODD:
        return {}


# -------------------------------------------------------------------------------------------------------- conditions


def _tf32(subject: Subject) -> tuple[str, ...]:
    """Only where something is computed in 32 bits."""
    if subject.precision not in ("fp32", "tf32"):
        return ()
    texts = []
    for switches in subject.facts.get("tf32", ()):
        on = [name for name, value in switches.items() if value]
        texts.append("off" if not on else "on" if len(on) == len(switches) else f"on for {' and '.join(on)} alone")
    return tuple(texts)


def _memory_format(subject: Subject) -> tuple[str, ...]:
    """Of PyTorch's programs: engines choose the layouts inside, whatever that of their inputs is."""
    if "runtime" in subject.facts or "provider" in subject.facts:
        return ()
    return _texts(subject, "memory_format")


def _graphs(subject: Subject) -> tuple[str, ...]:
    if not subject.on_gpu:
        return ()
    captors = subject.facts.get("graph_capture", ())
    return tuple(dict.fromkeys(_NOT_CAPTURED if captor == "none" else CAPTURED for captor in captors))


def _graph_inputs(subject: Subject) -> tuple[str, ...]:
    """Of cases that replay a graph, and of those whose inputs are bound or not."""
    if subject.facts.get("graph_inputs") and _graphs(subject) == (CAPTURED,):
        return (_COPIED,)
    if False in subject.facts.get("io_binding", ()):
        return (_COPIED,)
    return (_IN_PLACE,) if _graphs(subject) == (CAPTURED,) else ()


def _dtypes(key: str) -> Callable[[Subject], tuple[str, ...]]:
    def read(subject: Subject) -> tuple[str, ...]:
        return tuple(", ".join(sorted(dtypes)) for dtypes in subject.facts.get(key, ()) if dtypes)

    return read


def _threads(subject: Subject) -> tuple[str, ...]:
    return () if subject.on_gpu else _texts(subject, "threads")


def _thread_flags(subject: Subject) -> tuple[str, ...]:
    """The variables that pools of threads read, of cases on a CPU; they differ between toolchains alone."""
    if subject.on_gpu:
        return ()
    flags = [f"{name}={value}" for name, value in sorted(subject.flags.items()) if name.startswith(_THREAD_FLAGS)]
    return (", ".join(flags) or "none set",)


def _on_cpu(key: str) -> Callable[[Subject], tuple[str, ...]]:
    return lambda subject: () if subject.on_gpu else _texts(subject, key)


def _timing_cache(subject: Subject) -> tuple[str, ...]:
    """Of TensorRT's tactics; without a cache they are timed as with one that has nothing yet."""
    return tuple(dict.fromkeys(_EARLIER if value == "warm" else _ANEW for value in _texts(subject, "timing_cache")))


def _autotune_cache(subject: Subject) -> tuple[str, ...]:
    """Of Inductor's kernels, in the modes that time them."""
    return tuple(_EARLIER if value == "warm" else _ANEW for value in _texts(subject, "autotune_cache"))


def _cudnn(subject: Subject) -> tuple[str, ...]:
    """Whether the algorithms of convolutions are timed: PyTorch's switch, or the search of ONNX Runtime's provider."""
    timed = [search == "exhaustive" for search in subject.facts.get("cudnn_search", ())]
    return tuple("on" if each else "off" for each in (*subject.facts.get("cudnn_benchmark", ()), *timed))


def _runtime_cache(subject: Subject) -> tuple[str, ...]:
    """Of TensorRT-RTX's kernels, which are compiled on the GPU; without a cache each process compiles its own."""
    return tuple(dict.fromkeys(_LOADED if value == "warm" else _COMPILED for value in _texts(subject, "runtime_cache")))


def _plain(key: str) -> Callable[[Subject], tuple[str, ...]]:
    return lambda subject: _texts(subject, key)


def _texts(subject: Subject, key: str) -> tuple[str, ...]:
    values = subject.facts.get(key, ())
    return tuple(("on" if value else "off") if isinstance(value, bool) else str(value) for value in values)


CONDITIONS = (
    Condition("tf32", "tf32", _tf32),
    Condition("memory_format", "memory_format", _memory_format, "memory_format: channels_last", axis=True),
    Condition("graphs", "graph_capture", _graphs, "cuda_graph: on", axis=True, touches=HOST),
    Condition("inputs_copied", "graph_inputs", _graph_inputs, "mode: default and cuda_graph: on"),
    Condition("inputs", "input_dtypes", _dtypes("input_dtypes")),
    Condition("outputs", "output_dtypes", _dtypes("output_dtypes")),
    Condition("autocast", "autocast", _plain("autocast"), "autocast: false", axis=True),
    Condition("inference_mode", "inference_mode", _plain("inference_mode")),
    Condition("onednn", "onednn_allowed", _on_cpu("onednn_allowed")),
    Condition("threads", "threads", _threads, "threads", axis=True),
    Condition("threads", "flags", _thread_flags),
    Condition("autotune", "cudnn_benchmark", _cudnn, "cudnn_search: heuristic", axis=True),
    Condition("autotune", "autotune_cache", _autotune_cache),
    Condition("autotune", "timing_cache", _timing_cache),
    Condition("kernel_cache", "runtime_cache", _runtime_cache),
    Condition("optimization_level", _LEVEL, _plain(_LEVEL), "optimization_level: 3", axis=True),
    Condition(
        "optimization_level", "graph_optimization", _plain("graph_optimization"), "graph_optimization: all", axis=True
    ),
)


# ------------------------------------------------------------------------------------------------------------- facts


def _counted(key: str, name: str, reasons: str = "") -> Callable[[Subject], dict[str, Any]]:
    def read(subject: Subject) -> dict[str, Any]:
        most = _most(subject, key)
        if not most:
            return {}
        texts = tuple(dict.fromkeys(str(text) for several in subject.facts.get(reasons, ()) for text in several))
        return {name: most} | ({"reasons": texts} if texts else {})

    return read


def _most(subject: Subject, key: str) -> int:
    return max((value for value in subject.facts.get(key, ()) if isinstance(value, int)), default=0)


def _fallback(subject: Subject) -> dict[str, Any]:
    """Nodes that another runtime than the case's runs, and the parts that they break it into."""
    nodes, parts = _most(subject, "fallback_nodes"), _most(subject, "partitions")
    if not nodes and parts < 2:
        return {}
    operators = tuple(dict.fromkeys(name for names in subject.facts.get("fallback_ops", ()) for name in names))
    return {"nodes": nodes} | ({"partitions": parts} if parts else {}) | ({"operators": operators} if operators else {})


def _higher_precision(subject: Subject) -> dict[str, Any]:
    """Layers that compute in more bits than the precision has, and of how many: those of a built engine that compute in
    a floating-point type or int8, so without reformats, constants, and what the inspector reports no type of.
    ``layers`` and ``of`` are of the engine with most, ``counts`` has both numbers of each engine that differs, as text.
    """
    if subject.precision == "tf32":
        return {}
    most = _BITS[subject.precision]
    numbers, precisions = dict[tuple[int, int], None](), dict[str, None]()
    for engine in subject.facts.get("engine", ()):
        counts = {name: int(count) for name, count in engine.get("precisions", {}).items() if name in _BITS}
        wider = {name: count for name, count in counts.items() if _BITS[name] > most}
        if wider:
            numbers[sum(wider.values()), sum(counts.values())] = None
            precisions |= dict.fromkeys(wider)
    if not numbers:
        return {}
    layers, of = max(numbers)
    return {
        "layers": layers,
        "of": of,
        "precisions": tuple(precisions),
        "counts": tuple(f"{some} of {all_}" for some, all_ in numbers),
    }


FACTS = (
    Fact("graphs_skipped", "graphs_skipped", _counted("graphs_skipped", "skipped", "skip_reasons"), touches=HOST),
    Fact("graph_breaks", "graph_breaks", _counted("graph_breaks", "breaks", "break_reasons"), "fullgraph: true"),
    Fact("recompiles", "recompiles", _counted("recompiles", "recompiles", "recompile_reasons"), "dynamic"),
    Fact("uncompiled", "frames_skipped", _counted("frames_skipped", "functions"), "fullgraph: true"),
    Fact("fallback", "fallback_nodes", _fallback),
    Fact("higher_precision", "engine", _higher_precision, "strongly_typed: true"),
)
# What is told here, and by no other note on unequal conditions. Code caches change what is spent before the first call.
KEYS = frozenset(
    {
        *(each.key for each in (*CONDITIONS, *FACTS)),
        "code_cache",
        "cudnn_search",
        "fallback_ops",
        "io_binding",
        "partitions",
        "precisions",
        "recompile_limit",
    }
)
