"""The base of the backends that run a PyTorch module: a subclass defines ``load``."""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from bench.errors import UsageError
from bench.model import seam
from bench.model.lanes import Prepared
from bench.model.seam import Context, Missing, Stage
from bench.model.suite import Case
from bench.runtimes import shapes
from bench.runtimes.torch import caches, deployed, factories, session, weights
from bench.runtimes.torch.lane import TorchPrepared

AnyOptions = TypeVar("AnyOptions", bound=seam.Options)


class TorchBackend(ABC, Generic[AnyOptions]):
    """A backend (``bench.model.seam.Backend``) whose cases are PyTorch modules with these ``options``.

    A subclass must define ``load``, and may override the rest. ``compiles`` states that measuring or building needs a
    compiler. ``distributions`` are the Python distributions, besides torch, whose versions can change what it measures.
    A subclass outside this package sets ``name`` to that of its entry point.
    """

    options: type[AnyOptions]
    distributions: tuple[str, ...] = ()
    simulated = False
    compiles = False

    @property
    def name(self) -> str:
        """The backend's name, which is that of its file."""
        return type(self).__module__.rpartition(".")[2]

    def missing(self, device: str = "cpu") -> Missing | None:
        """torch; for a backend that compiles also a C++ compiler, or Triton on CUDA."""
        return session.missing(compiler_for=device if self.compiles else "")

    def unsupported(self, case: Case, device: str) -> str | None:
        """Combinations that no PyTorch backend supports."""
        return session.unsupported(case, device)

    def stages(self, case: Case) -> Sequence[Stage]:
        """The reference, and in another toolchain than the default one its weights."""
        return weights.first_stages(case)

    def preload(self, case: Case, suite_dir: Path) -> None:
        """Import torch and the library of the case's factory."""
        session.preload(case, suite_dir)

    def imports(self, case: Case, stage: Stage | None = None) -> tuple[str, ...]:
        """torch and the library of the case's factory."""
        return ("torch", *factories.library_of(case))

    def produce(self, stage: Stage, case: Case, context: Context, out: Path) -> None:
        """Makes nothing: the first stages are produced by eager. UsageError for any stage."""
        raise UsageError(f"{self.name} makes no {stage.name}")

    @contextlib.contextmanager
    def prepare(self, case: Case, options: AnyOptions, context: Context) -> Iterator[Prepared]:
        """The result of ``load``, closed at the end. Phases: import, and those of ``load``."""
        with contextlib.ExitStack() as stack:
            stack.enter_context(session.torch_session(case, context))
            stack.enter_context(session.own_warnings_filtered())
            yield stack.enter_context(contextlib.closing(self.load(case, options, context, stack)))

    @abstractmethod
    def load(self, case: Case, options: AnyOptions, context: Context, stack: contextlib.ExitStack) -> TorchPrepared:
        """The model, loaded or compiled, each step in a phase; what is entered on ``stack`` lasts as long as it."""

    def build_stage(self, case: Case, kind: str, *libraries: str) -> Stage:
        """The stage ``build`` that this backend makes, for one kind of device, of the model with the case's options.

        ``libraries`` are the distributions besides those of the model that can change what is built. It is taken to
        time kernels on a GPU: engines are built so, and so are packages, whose kernels are chosen when they are made.
        """
        return Stage(
            name="build",
            kind=kind,
            producer=self.name,
            key={
                "model": shapes.model_key(case),
                "precision": case.precision,
                "options": deployed.without_executor(case.options),
            },
            needs=tuple(stage.name for stage in weights.first_stages(case)[1:]),
            libraries=shapes.libraries(case, *libraries),
            per_device=True,
            per_build=True,
            times_kernels_on=("cpu", "cuda") if caches.environment_autotunes() else ("cuda",),
            toolchain=case.toolchain,
        )
