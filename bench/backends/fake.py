"""A backend without a runtime: runs any suite on simulated time, and can fail in every way that a case can."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np

from bench import tensors
from bench.backends import base
from bench.errors import OutOfMemory, Unavailable, Unsupported
from bench.model import seam
from bench.model.data import digest
from bench.model.lanes import Buffer
from bench.model.profile import FILE, Layer, Layers, Profile, Tensor
from bench.model.seam import Context, Missing, Stage
from bench.model.suite import Case
from bench.runtimes import simulated
from bench.units import parse_time

Way = Literal[
    "",
    "unavailable",
    "unsupported",
    "memory",
    "raise",
    "exit",
    "segfault",
    "hang",
    "print",
    "fork",
    "nan",
    "wrong",
    "empty",
    "import",
    "preload",
]


_FACTOR = "factor.json"


class Options(seam.Options, frozen=True, kw_only=True):
    """``time`` is the simulated duration of a call. ``noise``, ``drift`` and ``tactics`` are the standard deviations of
    its logarithm between calls, processes and builds (``tactics: 0``: nothing is built). ``fail`` is how the first call
    fails; ``import`` fails before it, ``preload`` only when the worker is started ahead of its turn, and with ``empty``
    no output has an element, nor has the reference. ``fail_build`` is
    how making the build fails, ``fail_profile`` how the case fails under a profiler only.
    """

    time: str = "1 ms"
    noise: float = 0.01
    drift: float = 0.005
    tactics: float = 0.0
    fail: Way = ""
    fail_build: Way = ""
    fail_profile: Way = ""

    def __post_init__(self) -> None:
        if parse_time(self.time) <= 0:
            raise ValueError("`time` must be above zero")


class FakeLane:
    """A lane that computes y = tanh(x) of each input and advances the simulated clock."""

    stream: int | None = None

    def __init__(self, options: Options, context: Context, rng: np.random.Generator, scale: float) -> None:
        self._options = options
        self._clock = context.clock
        self._rng = rng
        self._first_call = True
        self._ns = parse_time(options.time) * scale
        self._inputs = {name: array.copy() for name, array in context.inputs.items()}
        self._outputs = _zeros(self._inputs, empty=options.fail == "empty")

    def call(self) -> None:
        """Advance the clock by one lognormal draw and write the outputs, or fail in the way that ``fail`` names."""
        if self._first_call:
            self._first_call = False
            _fail(self._options.fail)
        self._clock.advance(round(self._ns * float(np.exp(self._rng.normal(0.0, self._options.noise)))))
        for array, out in zip(self._inputs.values(), self._outputs.values(), strict=True):
            if self._options.fail == "empty":
                continue
            np.tanh(array, out=out, casting="unsafe")
            if self._options.fail == "nan":
                out[...] = np.nan
            elif self._options.fail == "wrong":
                out *= -1

    def inputs(self) -> Mapping[str, Buffer]:
        """The resident input arrays."""
        return {name: _buffer(array) for name, array in self._inputs.items()}

    def outputs(self) -> Mapping[str, Buffer]:
        """The resident output arrays."""
        return {name: _buffer(array) for name, array in self._outputs.items()}

    def poison(self) -> None:
        """Fill the outputs with NaN."""
        for array in self._outputs.values():
            array.fill(np.nan)

    def read(self) -> dict[str, tensors.Array]:
        """Copies of the outputs."""
        return {name: array.copy() for name, array in self._outputs.items()}


class FakePrepared:
    """Any number of independent lanes; there is no model behind them."""

    max_lanes: int | None = None
    captures_graphs = False

    def __init__(self, case: Case, options: Options, context: Context) -> None:
        self._options = options
        self._context = context
        self._rng = np.random.default_rng([int(case.id, 16), context.replicate])
        self._scale = float(np.exp(self._rng.normal(0.0, options.drift)))
        if options.tactics:
            self._scale *= float(msgspec.json.decode((context.artifacts["build"] / _FACTOR).read_bytes()))
        self._lanes: list[FakeLane] = []

    def lanes(self, count: int) -> Sequence[FakeLane]:
        """The first ``count`` lanes, each with a random stream of its own."""
        more = self._rng.spawn(max(0, count - len(self._lanes)))
        self._lanes += [FakeLane(self._options, self._context, rng, self._scale) for rng in more]
        return self._lanes[:count]

    def fairness(self) -> dict[str, Any]:
        """States only that time is simulated."""
        return {"simulated": True}


class Fake:
    """Needs nothing, supports everything."""

    options = Options
    simulated = True

    def missing(self, device: str = "cpu") -> Missing | None:
        """Never missing."""
        return None

    def unsupported(self, case: Case, device: str) -> str | None:
        """Nothing is unsupported, so that a rehearsal covers the whole plan."""
        return None

    def stages(self, case: Case) -> Sequence[Stage]:
        """A reference of its own kind, as there is no model; where builds differ, one build."""
        key = {"inputs": digest({name: spec.shape for name, spec in case.resolved.items()})}
        if case.options.get("fail") == "empty":
            key["outputs"] = "empty"
        reference = Stage(name="reference", kind="fake-reference", producer="fake", key=key)
        if not case.options.get("tactics"):
            return [reference]
        build_key = {"case": case.id, "layers": 2 * len(case.inputs)}
        return [
            reference,
            Stage(
                name="build",
                kind="fake-build",
                producer="fake",
                key=build_key,
                per_device=True,
                per_build=True,
                toolchain=case.toolchain,
            ),
        ]

    def layers(self, case: Case) -> Stage:
        """A copy and a tanh of each input, which take a tenth and nine tenths of a call."""
        key = {"options": case.options, "inputs": digest({name: spec.shape for name, spec in case.resolved.items()})}
        return Stage(name="layers", kind="fake-layers", producer="fake", key=key, toolchain=case.toolchain)

    def layer_count(self, stage: Stage, folder: Path) -> int | None:
        """Two for each input of a build's case, as ``layers`` has."""
        return stage.key["layers"] if stage.kind == "fake-build" else None

    def profile(self, case: Case, iterations: int) -> Profile:
        """A GPU that copies, runs four kernels, and waits for the host once; or fails as ``fail_profile`` says."""
        options = msgspec.convert(case.options, Options)
        _fail(options.fail_profile)
        return simulated.profile(case, iterations, parse_time(options.time))

    def imports(self, case: Case, stage: Stage | None = None) -> tuple[str, ...]:
        """Nothing: its workers are forked from one that has imported this package alone."""
        return ()

    def preload(self, case: Case, suite_dir: Path) -> None:
        """Nothing to import, but it may fail."""
        _import(base.options_of(self, case), ahead=True)

    def produce(self, stage: Stage, case: Case, context: Context, out: Path) -> None:
        """Write the artifact: the correct outputs (tanh of each input), a build's factor on call times, or layers."""
        if stage.name == "layers":
            options = msgspec.convert(case.options, Options)
            _fail(options.fail)
            (out / FILE).write_bytes(msgspec.json.encode(_layers(case, parse_time(options.time))))
            return
        if stage.name == "build":
            _fail(msgspec.convert(case.options, Options).fail_build)
            rng = np.random.default_rng([int(case.id, 16), context.build, len(stage.name)])
            factor = float(np.exp(rng.normal(0.0, case.options["tactics"])))
            (out / _FACTOR).write_bytes(msgspec.json.encode(factor))
            return
        if "outputs" in stage.key:
            answer = _zeros(context.inputs, empty=True)
        else:
            answer = {f"{name}.tanh": np.tanh(array).astype(np.float32) for name, array in context.inputs.items()}
        tensors.write(out / "outputs.safetensors", answer)

    @contextlib.contextmanager
    def prepare(self, case: Case, options: Options, context: Context) -> Iterator[FakePrepared]:
        """Ready at once."""
        _import(options)
        with context.phase("load"):
            prepared = FakePrepared(case, options, context)
        yield prepared


def _zeros(inputs: Mapping[str, tensors.Array], *, empty: bool) -> dict[str, tensors.Array]:
    """Outputs for ``inputs``: of equal shapes, or ``empty``."""
    shapes = {name: (0, *array.shape[1:]) if empty else array.shape for name, array in inputs.items()}
    return {f"{name}.tanh": np.zeros(shape, np.float32) for name, shape in shapes.items()}


def _buffer(array: tensors.Array) -> Buffer:
    return Buffer(ptr=array.ctypes.data, nbytes=array.nbytes, shape=array.shape, dtype=array.dtype.name)


def _layers(case: Case, ns: int) -> Layers:
    """Layers of a call that takes ``ns``, with equal times in each of three calls."""
    layers = []
    for name, spec in case.resolved.items():
        shape, part = tuple(int(size) for size in spec.shape), ns // len(case.inputs)
        source = Tensor(name=name, shape=shape, dtype=spec.dtype, format="Row major linear")
        copy = msgspec.structs.replace(source, name=f"{name}.copy", format="Channel major")
        result = msgspec.structs.replace(source, name=f"{name}.tanh")
        for kind, ends, share in (("Reformat", (source, copy), 1), ("Tanh", (copy, result), 9)):
            layers.append(
                Layer(
                    name=f"{kind.lower()} of {name}",
                    kind=kind,
                    precision=case.precision,
                    tactic="simulated",
                    inputs=ends[:1],
                    outputs=ends[1:],
                    reformat=kind == "Reformat",
                    ns=(part * share // 10,) * 3,
                )
            )
    return Layers(runtime="simulated", layers=tuple(layers), calls=3)


def _import(options: seam.Options, *, ahead: bool = False) -> None:
    assert isinstance(options, Options)
    if ahead and options.fail == "preload":
        raise RuntimeError("the fake package cannot be imported ahead of its turn")
    if options.fail == "import":
        raise Unavailable("the fake package is installed but cannot be imported", fix="pip install --upgrade fake")


def _fail(way: Way) -> None:
    """End this call, or this process, as ``way`` says; the lane itself produces ``nan``, ``wrong`` and ``empty``."""
    if way == "unavailable":
        raise Unavailable("the fake package is not installed", fix="pip install fake")
    if way == "unsupported":
        raise Unsupported("the fake runtime has no such operator")
    if way == "memory":
        raise OutOfMemory("the fake device has no memory left")
    if way == "raise":
        raise ValueError("the fake model raised an error")
    if way == "exit":
        os._exit(3)
    if way == "segfault":
        os.kill(os.getpid(), signal.SIGSEGV)
    if way == "hang":
        signal.pause()
    if way == "print":
        sys.stdout.write("x" * (1 << 20) + "\n")
    if way == "fork" and os.fork() == 0:
        signal.pause()


BACKEND = Fake()
