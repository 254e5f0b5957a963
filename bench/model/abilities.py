"""What a backend may do beyond ``bench.model.seam.Backend``: protocols that the harness asks for by isinstance."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from bench.model.seam import Context, Stage
from bench.model.suite import Case

if TYPE_CHECKING:
    from bench.model.divergence import On
    from bench.model.placement import Placement
    from bench.model.profile import Profile
    from bench.model.program import SupportedOp
    from bench.model.provenance import Provenance
    from bench.model.sensitivity import Question


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
