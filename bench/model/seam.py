"""The protocols and data that backends, clocks and the worker share, so that they need not import each other.

Those of a prepared model and its lanes are in ``bench.model.lanes``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, runtime_checkable

import msgspec

from bench.model.data import Data
from bench.model.lanes import Prepared
from bench.model.suite import Case

if TYPE_CHECKING:
    from bench.model.divergence import On
    from bench.model.placement import Placement
    from bench.model.profile import Profile
    from bench.model.program import SupportedOp
    from bench.model.provenance import Provenance
    from bench.model.sensitivity import Question


# The stages whose artifacts outputs are compared with. They are no part of what a case takes to be ready.
REFERENCE, QUANTIZED_REFERENCE = "reference", "quantized_reference"
REFERENCES = (REFERENCE, QUANTIZED_REFERENCE)


class Missing(Data, frozen=True, kw_only=True):
    """Why a backend cannot run here, and the command that makes it run."""

    reason: str
    fix: str


class Check(Data, frozen=True, kw_only=True):
    """One line of the doctor's report: what was checked, its state, and the command that fixes it."""

    group: str
    name: str
    state: Literal["ready", "missing", "broken"]
    detail: str = ""
    fix: str = ""


class Reading(Data, frozen=True, kw_only=True):
    """One line of the self-test: a value in nanoseconds (or as ``what`` says), and if known, expected +- limit."""

    name: str
    what: str
    measured: float
    expected: float | None = None
    limit: float | None = None

    @property
    def ok(self) -> bool:
        """Whether the measured value is within ``limit`` of the expected one; true if none is expected."""
        return self.expected is None or abs(self.measured - self.expected) <= (self.limit or 0.0)


class Stage(Data, frozen=True, kw_only=True):
    """An artifact that a case needs, made once by ``producer`` (a backend's name) and shared by its ``key``.

    ``key`` holds every part of the case that can change the payload; the runner adds library versions (``libraries``),
    the model's source, the contents of ``files`` (paths beside the suite), the device where ``per_device``, and which
    of several independent builds this is where ``per_build``. What is not ``per_device`` can be made without a GPU: it
    is then made with the device ``cpu``. ``needs`` names stages of this case made before.
    ``times_kernels_on`` are the kinds of device (``cpu``, ``cuda``) on which making it times kernels to choose among
    them: there it is made alone. What is not ``of_model`` is the same for all models, and for all seeds.
    ``limit`` names the one limit of ``Threshold`` that is checked with it: without that limit in the suite a case for
    which it cannot be made is measured, with a warning of the kind ``absence``. No other stage may need such a one.
    """

    name: str
    kind: str
    producer: str
    key: dict[str, Any]
    needs: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    per_device: bool = False
    per_build: bool = False
    times_kernels_on: tuple[str, ...] = ()
    toolchain: str = "default"
    of_model: bool = True
    limit: str = ""
    absence: str = ""


class Clock(Protocol):
    """Where time comes from."""

    name: str

    def now(self) -> int:
        """Nanoseconds since an arbitrary start, never decreasing."""
        ...


class Context(msgspec.Struct, kw_only=True, frozen=True):
    """What the worker hands to a backend besides the case.

    ``inputs`` are the seeded host arrays at the suite's dtypes; ``artifacts`` maps stage names to folders;
    ``phase`` times a step and shows it in NVTX and in the progress, ``tell`` reports progress within a long step;
    ``tell_layers`` what layers of a build have taken, ns, and which is being timed from now on (empty: none), for the
    record of one that fails; ``scratch`` is empty and deleted afterwards, ``shared`` is for a backend's own caches and
    outlives the run (not when ``cold``). ``build`` counts independent builds of one model: only build 0 may use caches
    of an earlier build. ``profiled``: runtimes that can (``RecordsNodes``) write down which nodes they run, which takes
    time.
    """

    device: str
    inputs: dict[str, Any]
    artifacts: dict[str, Path]
    scratch: Path
    suite_dir: Path
    clock: Any
    phase: Callable[[str], AbstractContextManager[None]]
    cold: bool = False
    seed: int = 0
    replicate: int = 0
    build: int = 0
    shared: Path | None = None
    profiled: bool = False
    tell: Callable[[str], None] = lambda text: None
    tell_layers: Callable[[Mapping[str, int], str], None] = lambda layers, current: None


class KernelSources(Protocol):
    """What was compiled since it was made."""

    def provenance(self) -> Provenance:
        """From which modules and operators its kernels were made."""
        ...


@runtime_checkable
class TracesKernels(Protocol):
    """A backend whose compiled programs can be traced back to the modules of the model."""

    def provenance(self) -> AbstractContextManager[KernelSources]:
        """Observes what is compiled in the block, without another program or other caches."""
        ...


@runtime_checkable
class SimulatesProfiles(Protocol):
    """A simulated backend that simulates profiles too."""

    def profile(self, case: Case, iterations: int) -> Profile:
        """What a profiler would see of a case, the same each time."""
        ...


@runtime_checkable
class TimesLayers(Protocol):
    """A backend whose engines report their layers."""

    def layers(self, case: Case) -> Stage:
        """The stage, after those of ``stages``, that times every layer in a pass of its own."""
        ...


@runtime_checkable
class BuildsForCapabilities(Protocol):
    """A backend whose options name the compute capabilities of the GPUs that it builds for."""

    def for_capabilities(self, case: Case, capabilities: Sequence[str]) -> Case:
        """``case`` with the options by which it is built for GPUs of each of ``capabilities`` (``8.9``). UsageError for
        one that the backend does not know, unless only its builder can tell, which then refuses it.
        """
        ...


@runtime_checkable
class CountsLayers(Protocol):
    """A backend whose artifacts tell how many layers they have."""

    def layer_count(self, stage: Stage, folder: Path) -> int | None:
        """The number of layers of the artifact of ``stage`` in ``folder``; None for a stage that has none. Read without
        the runtime.
        """
        ...


@runtime_checkable
class WritesPrograms(Protocol):
    """A backend that writes programs: source that builds a case's network."""

    def program(self, case: Case) -> Sequence[Stage]:
        """The stages of which the last one's payload is the program of ``case``; they need no others and no device."""
        ...

    def ops(self) -> Sequence[SupportedOp]:
        """What programs can be written of."""
        ...


@runtime_checkable
class MarksTensors(Protocol):
    """A backend whose networks can be run with some of their tensors as further outputs."""

    def values(self, case: Case) -> Stage:
        """The stage, after the reference, with every tensor of the case's graph as it should be: ``GRAPH`` and
        ``VALUES`` of ``bench.model.divergence``. It needs no device.
        """
        ...

    def marked_stage(self, case: Case, marks: Sequence[str], on: On) -> Stage:
        """The stage, after that, with the model's outputs and the tensors ``marks`` as the network computes them on
        ``on``: ``RUN`` and ``VALUES``. On ``oracle`` it needs no device.
        """
        ...


@runtime_checkable
class QuantizesModels(Protocol):
    """A backend that quantizes models: its networks can be looked at without a device."""

    def placement(self, case: Case) -> Sequence[Stage]:
        """The calibration, which has ``SUMMARY`` of ``bench.model.tensor_ranges``, and the stages after it, of which
        the last has ``PLACEMENT`` of ``bench.model.placement``: the quantize and dequantize layers of the case's
        network, and findings. None for a case that something else quantizes.
        """
        ...

    def placement_of_file(self, path: Path) -> Placement:
        """The same of an ONNX file. UsageError if it is none, Unavailable without the package onnx."""
        ...

    def accuracy(self, case: Case, question: Question) -> Sequence[Stage]:
        """The stages of which the last has ``ACCURACY`` of ``bench.model.sensitivity``: what quantizing costs. None as
        of ``placement``.
        """
        ...


@runtime_checkable
class WritesCode(Protocol):
    """A backend whose compiler writes programs and kernels that can be kept."""

    def code(self, case: Case) -> Stage | None:
        """The stage, after those of ``stages`` that it needs, whose payload is this code: a ``bench.model.code.Code``
        in ``ABOUT``, its files in ``FILES``. None for a case without any.
        """
        ...


@runtime_checkable
class PreloadsImports(Protocol):
    """A backend whose workers can be started before their turn."""

    def preload(self, case: Case, suite_dir: Path) -> None:
        """Import what ``prepare`` and ``produce`` import first, and start no device."""
        ...


@runtime_checkable
class CompilesAhead(Protocol):
    """A backend that compiles in ``prepare`` into caches of its runtime, which another process can fill before."""

    def compile_stage(self, case: Case) -> Stage | None:
        """The stage, after those of ``stages``, that fills these caches and times no kernel; None where it would. Its
        artifact says only that this was done.
        """
        ...


@runtime_checkable
class ListsImports(Protocol):
    """A backend whose workers can be forked from a process that has imported what they need."""

    def imports(self, case: Case, stage: Stage | None = None) -> tuple[str, ...]:
        """The modules of libraries that measuring ``case``, or making ``stage`` of it, imports, in their order: those
        that most cases need first. Importing them starts no device and no thread. No module of a user's, which may
        change libraries.
        """
        ...


@runtime_checkable
class BuildsModels(Protocol):
    """A backend whose workers can be forked from a process that has built the model that they measure."""

    def model_key(self, case: Case) -> str:
        """The same text for cases whose ``prepare`` begins with the same model, and no others, for one seed."""
        ...

    def build_model(self, case: Case, context: Context) -> None:
        """Build the model of ``case`` on the CPU, and keep it for the ``prepare`` of a process that is forked from this
        one. Starts no device and no thread; raises what ``prepare`` would.
        """
        ...


class Runtime(Protocol):
    """The part of a backend that the planner uses, without importing a runtime library."""

    @property
    def options(self) -> type[msgspec.Struct]:
        """The struct that a suite's options of this backend must fit."""
        ...

    def missing(self, device: str = "cpu") -> Missing | None:
        """None if the backend could run here on ``device``; checked without importing its runtime."""
        ...

    def unsupported(self, case: Case, device: str) -> str | None:
        """Why the combination can never work (the plan leaves it out and says so), or None."""
        ...


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Base of every backend's options: validated when the suite is read, defaults are left out of the case."""


class Backend(Protocol):
    """One runtime. A module ``bench/backends/NAME.py`` offers an instance as ``BACKEND``; its file name is its name.
    Another distribution offers one by an entry point of the group ``trtbench.backends``.

    A backend may have an attribute ``distributions``, a tuple of the names of Python distributions (``("example",)``)
    whose versions can change what it measures: they are part of the fingerprint. By default there are none.

    ``simulated`` backends get a FakeClock and touch no device. Importing the module must not import the runtime.
    """

    @property
    def options(self) -> type[Options]:
        """The struct that a suite's options of this backend must fit."""
        ...

    @property
    def simulated(self) -> bool:
        """Whether time is simulated and no device is touched."""
        ...

    def missing(self, device: str = "cpu") -> Missing | None:
        """None if it could run here on ``device`` ('cpu' or 'cuda:0'); checked without importing its runtime."""
        ...

    def unsupported(self, case: Case, device: str) -> str | None:
        """Why this combination can never work on ``device`` ('cpu' or 'cuda:0'), or None."""
        ...

    def stages(self, case: Case) -> Sequence[Stage]:
        """The artifacts the case needs, in the order in which they are made; the first is the reference."""
        ...

    def produce(self, stage: Stage, case: Case, context: Context, out: Path) -> None:
        """Make one artifact in the empty folder ``out``."""
        ...

    def prepare(self, case: Case, options: Any, context: Context) -> AbstractContextManager[Prepared]:
        """Load or build the model, without a warm-up; leaving the context releases everything."""
        ...
