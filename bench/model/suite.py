"""What is asked for: suites, models, policies, cases and plans. Times are nanoseconds, sizes bytes, ratios floats."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from bench.model.data import Data, digest

Precision = Literal["fp32", "tf32", "fp16", "bf16", "int8", "fp8"]
PRECISIONS: tuple[Precision, ...] = ("fp32", "tf32", "fp16", "bf16", "int8", "fp8")
# What the lanes of a case are: threads of one process, or processes.
Lanes = Literal["threads", "processes"]
LANES: tuple[Lanes, ...] = ("threads", "processes")

Boundary = Literal["gpu", "gpu_unheld", "enqueue", "latency", "h2d", "compute", "d2h", "throughput"]
# The definitions are part of the fingerprint: change a text only when the meaning changes.
BOUNDARIES: dict[Boundary, str] = {
    "gpu": "event to event around one call on a held stream, buffers resident, one call in flight, no pause before",
    "gpu_unheld": "event to event around one call on a stream that is not held",
    "enqueue": "host time to issue one call",
    "latency": "one request in flight, host clock: on a GPU from before H2D to after D2H, on a CPU around the call",
    "h2d": "event to event around the copy of the inputs to the device, part of latency",
    "compute": "event to event around the call, part of latency",
    "d2h": "event to event around the copy of the outputs to the host, part of latency",
    "throughput": "closed loop over all lanes: inferences (calls x batch) over last end minus first start",
}
# What separates the parts of a case's label; options of a backend may have slashes.
BETWEEN_PARTS = re.compile(r"/(?![^\[]*\])")
# What a suite may ask for; the others come along as parts.
ASKABLE: tuple[Boundary, ...] = ("gpu", "gpu_unheld", "enqueue", "latency", "throughput")


class Input(Data, frozen=True, kw_only=True):
    """One input tensor: ``shape`` of sizes and symbols, ``range`` is [low, high) for integers.

    With a ``file`` beside the suite (``.safetensors``, ``.npz``, ``.npy``) the values are those of its ``array``, by
    default the one of the input's name.
    """

    shape: tuple[int | str, ...]
    dtype: str = "float32"
    range: tuple[int, int] | None = None
    file: str = ""
    array: str = ""


class Limit(Data, frozen=True, kw_only=True):
    """The least and the maximum of one number of a metric; ``None`` is not checked."""

    min: float | None = None
    max: float | None = None


class Model(Data, frozen=True, kw_only=True):
    """A model as the suite names it.

    ``factory`` is one of the kinds of ``bench.model.factory``; ``args`` are its keyword arguments, ``config`` makes the
    configuration object of a transformers model. ``arguments`` are what ``forward`` takes besides tensors.
    ``metric`` is a user's function ``zoo.py:name(outputs, reference) -> dict[str, float]``, ``limits`` those of its
    numbers.
    """

    factory: str
    inputs: dict[str, Input]
    args: dict[str, Any] = {}
    config: dict[str, Any] = {}
    arguments: dict[str, Any] = {}
    symbols: dict[str, int] = {}
    metric: str = ""
    limits: dict[str, Limit] = {}


class Range(Data, frozen=True, kw_only=True):
    """The range of a dynamic symbol; ``at`` lists the points that are measured."""

    min: int
    opt: int
    max: int
    at: tuple[int, ...] = ()


class Threshold(Data, frozen=True, kw_only=True):
    """Limits an output must keep against the fp32 reference; ``None`` is not checked.

    ``quantized_cosine`` is one against the quantized reference, where a case has one.

    ``cosine`` and ``sqnr`` (dB) are lower limits, ``max_abs`` and ``rel_l2`` upper ones, as is ``slice_rel_l2``: the
    ``rel_l2`` of each slice and group of small values that is judged by itself. ``metric`` has those of the model's own
    metric, by the names of its numbers.
    """

    cosine: float | None = None
    sqnr: float | None = None
    max_abs: float | None = None
    rel_l2: float | None = None
    slice_rel_l2: float | None = None
    quantized_cosine: float | None = None
    metric: dict[str, Limit] = {}


# The limits of ``Threshold`` on each output.
OUTPUT_LIMITS = ("cosine", "sqnr", "max_abs", "rel_l2", "slice_rel_l2")

# A cosine does not see a wrong scale. Beside it stands the rel_l2 of an output of the reference's norm at that angle,
# sqrt(2 (1 - cosine)), rounded up; float32 keeps to less. A part is small where a little error is large: its limit says
# that most of it is wrong, and for float32, whose errors lie three orders below, that two digits are.
DEFAULT_THRESHOLDS: dict[str, Threshold] = {
    "fp32": Threshold(cosine=0.99999, rel_l2=1e-3, slice_rel_l2=0.02),
    "tf32": Threshold(cosine=0.9999, rel_l2=1e-2, slice_rel_l2=0.1),
    "fp16": Threshold(cosine=0.999, rel_l2=0.05, slice_rel_l2=0.3),
    "bf16": Threshold(cosine=0.99, rel_l2=0.15, slice_rel_l2=0.5),
    "int8": Threshold(cosine=0.98, rel_l2=0.2, slice_rel_l2=0.8),
    "fp8": Threshold(cosine=0.98, rel_l2=0.2, slice_rel_l2=0.8),
}


class Policy(Data, frozen=True, kw_only=True):
    """How to measure; not part of a case's identity.

    ``boundaries`` empty means the device's defaults (CPU: latency, throughput; GPU: gpu, enqueue, latency,
    throughput). ``target_ci`` is the half-width of the 95 % interval of the median, as a fraction of it. Replicate r
    measures build r modulo ``builds``. ``interleave``: cases that differ in the backend alone are measured by processes
    that are there at once and take turns. ``energy_ns`` is how long a saturated loop runs for energy (0: not at all).
    ``quick``: it was made with ``--quick``, which set its part of the numbers here.

    The defaults here are those of a stored run that lacks a field, and never change; those of a suite are in
    ``DEFAULT_POLICY``.
    """

    boundaries: tuple[Boundary, ...] = ()
    target_ci: float = 0.005
    min_samples: int = 50
    max_samples: int = 256
    max_time_ns: int = 15_000_000_000
    warmup_calls: int = 10
    warmup_ns: int = 200_000_000
    warmup_limit_ns: int = 10_000_000_000
    throughput_ns: int = 1_000_000_000
    replicates: int = 3
    builds: int = 1
    energy_ns: int = 0
    timeout_ns: int = 1_200_000_000_000
    interleave: bool = False
    quick: bool = False


# The policy of a suite that says nothing else. What these numbers of samples rest on: docs/measuring.md.
DEFAULT_POLICY = Policy(min_samples=10, max_samples=100, warmup_calls=3)


class Case(Data, frozen=True, kw_only=True, dict=True):
    """One combination to measure. ``inputs`` keep the suite's symbols, ``resolved`` has sizes in their place.

    ``options`` are the backend's, without those that equal their default. ``symbols`` maps each symbol of the
    input shapes to the size measured; ``dynamic`` holds the ranges of those the backend must keep dynamic.
    ``streams`` is the number of lanes in ``throughput``, which are ``lanes`` of one process, or a process each.
    ``arguments`` are those of ``forward`` that are no tensors. ``source`` is ``suites/x.yaml:14`` and no part of the
    identity.
    """

    model: str
    factory: str
    inputs: dict[str, Input]
    backend: str
    args: dict[str, Any] = {}
    config: dict[str, Any] = {}
    symbols: dict[str, int] = {}
    options: dict[str, Any] = {}
    precision: Precision = "fp32"
    cuda_graph: bool = False
    streams: int = 1
    lanes: Lanes = "threads"
    l2: Literal["warm", "cold"] = "warm"
    transfers: bool = True
    toolchain: str = "default"
    dynamic: dict[str, Range] = {}
    metric: str = ""
    arguments: dict[str, Any] = {}
    source: str = ""

    @functools.cached_property
    def id(self) -> str:
        """The first 12 hex digits of the SHA-256 of the fields, less the source and those with default values."""
        # By value: msgspec omits a default only if it is the very same object, which a string read from JSON is not.
        others = {name for name, default in _defaults() if getattr(self, name) != default}
        required = ("model", "factory", "inputs", "backend")
        return digest({name: getattr(self, name) for name in (*required, *others)})[:12]

    @property
    def factory_key(self) -> str:
        """The same for cases whose factory is called with the same, whatever their sizes, precision and backend."""
        return digest([self.factory, self.args, self.config])

    @property
    def resolved(self) -> dict[str, Input]:
        """The inputs with the sizes of this case: every shape a tuple of ints."""
        return resolve_shapes(self.inputs, self.symbols)

    @property
    def batch(self) -> int:
        """Inferences in one call: the symbol ``batch``, 1 without one."""
        return self.symbols.get("batch", 1)

    @property
    def streams_per_process(self) -> int:
        """How many of the streams one process has."""
        return self.streams if self.lanes == "threads" else 1

    @functools.cached_property
    def label(self) -> str:
        """``resnet50/tensorrt[optimization_level=4]/fp16/batch=32/graph``."""
        parts = [self.model, named(self.backend, self.options), self.precision]
        for name, size in self.symbols.items():
            span = self.dynamic.get(name)
            parts.append(f"{name}={size}" + (f" of {span.min}..{span.max}" if span else ""))
        return "/".join(parts + self.settings)

    @property
    def settings(self) -> list[str]:
        """What the label says after the sizes: ``graph``, ``streams=2``, ``lanes=processes``, ``l2=cold``,
        ``no-transfers``, ``@name``.
        """
        texts = ["graph"] if self.cuda_graph else []
        if self.streams != 1:
            texts.append(f"streams={self.streams}")
        if self.lanes != "threads":
            texts.append(f"lanes={self.lanes}")
        if self.l2 != "warm":
            texts.append(f"l2={self.l2}")
        if not self.transfers:
            texts.append("no-transfers")
        if self.toolchain != "default":
            texts.append(f"@{self.toolchain}")
        return texts


@functools.cache
def _defaults() -> tuple[tuple[str, Any], ...]:
    """The optional fields of a case that its id is of, with what they are by default."""
    default = Case(model="", factory="", inputs={}, backend="")
    required = ("model", "factory", "inputs", "backend", "source")
    return tuple((name, getattr(default, name)) for name in Case.__struct_fields__ if name not in required)


class LeftOut(Data, frozen=True, kw_only=True):
    """A combination that the plan does not contain, and why."""

    label: str
    reason: str


class Plan(Data, frozen=True, kw_only=True):
    """The cases of a run in the order in which they are measured, and what was left out.

    ``options_lost`` has the cases, by id, that have the defaults of a backend in the place of others, although the
    suite sets options for them: the names of these options.
    """

    cases: tuple[Case, ...]
    left_out: tuple[LeftOut, ...] = ()
    options_lost: dict[str, tuple[str, ...]] = {}


# The toolchain of the second side where a duel compares a case of the running interpreter with itself; of another
# toolchain's case it is ``NAME-again``.
AGAIN = "again"


class Toolchain(Data, frozen=True, kw_only=True):
    """An interpreter and environment variables that a stage runs in; an empty ``python`` is the running one."""

    python: str = ""
    env: dict[str, str] = {}


class Suite(Data, frozen=True, kw_only=True):
    """A suite file as read: ``matrix`` keeps the axes in order, ``lines`` maps a dotted key to its line; ``text`` is
    that of the file.
    """

    schema: int
    name: str
    path: str
    models: dict[str, Model]
    matrix: dict[str, tuple[Any, ...]]
    include: tuple[dict[str, Any], ...] = ()
    exclude: tuple[dict[str, Any], ...] = ()
    dynamic: dict[str, Range] = {}
    measure: Policy = DEFAULT_POLICY
    accuracy: dict[str, Threshold] = {}
    toolchains: dict[str, Toolchain] = {}
    device: Literal["auto", "cpu", "cuda"] = "auto"
    baseline: str = ""
    lines: dict[str, int] = {}
    text: str = ""


def resolve_shapes(inputs: Mapping[str, Input], sizes: Mapping[str, int | str]) -> dict[str, Input]:
    """``inputs`` with the value of each symbol in its place. KeyError for a symbol without one."""
    return {
        name: msgspec.structs.replace(
            spec, shape=tuple(sizes[size] if isinstance(size, str) else size for size in spec.shape)
        )
        for name, spec in inputs.items()
    }


def named(name: str, options: Mapping[str, Any]) -> str:
    """``inductor[mode=max-autotune]``: a backend with its options as tables and labels show it; lists as ``a+b``."""
    settings = ",".join(f"{key}={_text_of(value)}" for key, value in options.items())
    return f"{name}[{settings}]" if settings else name


def _text_of(value: Any) -> str:
    if isinstance(value, bool):
        return "on" if value else "off"
    return "+".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
