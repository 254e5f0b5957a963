"""A network program, lowered from the model's FX graph, built and run as a native TensorRT engine."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Literal

import msgspec

from bench.backends.tensorrt import TensorRT
from bench.errors import UsageError
from bench.lowering import artifact, registry
from bench.model import seam
from bench.model.distributions import TENSORRT
from bench.model.factory import program_of
from bench.model.program import SupportedOp
from bench.model.seam import Context, Stage
from bench.model.suite import Case
from bench.runtimes import shapes
from bench.runtimes.torch import factories
from bench.runtimes.trt import builder, execution
from bench.runtimes.trt import options as trt_options
from bench.units import parse_size


class Options(seam.Options, frozen=True, kw_only=True):
    """How an engine is built; ``null`` is TensorRT's own default.

    ``program`` is a network program beside the suite that takes the place of the one that is written for the case, e.g.
    one that was edited. The others are those of ``tensorrt``.
    """

    program: str = ""
    workspace: Annotated[int, msgspec.Meta(gt=0)] | str | None = None
    optimization_level: Annotated[int, msgspec.Meta(ge=0, le=5)] | None = None
    tactic_sources: list[str] | None = None
    timing_cache: bool = True
    max_aux_streams: Annotated[int, msgspec.Meta(ge=0)] | None = None
    hardware_compatible: Literal["none", "ampere_plus", "same_compute_capability"] = "none"
    strongly_typed: bool | None = None

    def __post_init__(self) -> None:
        try:
            size = parse_size(self.workspace) if isinstance(self.workspace, str) else self.workspace
        except ValueError as error:
            raise ValueError(f"workspace: {error}") from error
        if size == 0:
            raise ValueError("workspace: 0 bytes are no workspace")
        if self.program and not self.program.endswith(".py"):
            raise ValueError(f"program: {self.program!r} is no FILE.py")

    def engine(self) -> trt_options.Options:
        """The same as options of ``tensorrt``."""
        fields = {name: getattr(self, name) for name in self.__struct_fields__ if name != "program"}
        return trt_options.Options(**fields)


class Fx2trt(TensorRT):
    """Models are lowered where torch is; engines are built and run with TensorRT, numpy and cuda-bindings."""

    options = Options  # type: ignore[assignment]

    def unsupported(self, case: Case, device: str) -> str | None:
        """A CPU device, programs that are no module, and precisions that no model is converted to."""
        if device == "cpu":
            return "TensorRT needs a CUDA device (trtbench codegen writes the program without one)"
        if kind := program_of(case.factory):
            return f"{case.factory} is a program of {kind}, of which torch.export makes no graph"
        if case.precision in ("bf16", "int8", "fp8"):
            return f"network programs have no {case.precision} yet"
        return None

    def program(self, case: Case) -> Stage:
        """The network program of the case."""
        return artifact.stage(case)

    def ops(self) -> Sequence[SupportedOp]:
        """The ops that have a converter."""
        operators: dict[str, list[str]] = {}
        for aten, (name, _) in registry.aten_names().items():
            operators.setdefault(name, []).append(aten)
        return [
            SupportedOp(
                name=op.name,
                signature=op.signature,
                operators=tuple(operators[op.name]),
                layers=op.layers,
                about=op.about,
            )
            for op in registry.ops().values()
        ]

    def stages(self, case: Case) -> Sequence[Stage]:
        """The reference, the program (unless it is the user's), and the engine."""
        options = msgspec.convert(case.options, Options)
        in_bytes = msgspec.structs.replace(options, workspace=options.engine().workspace_bytes)
        source = [] if options.program else [artifact.stage(case)]
        files = (options.program, str(Path(options.program).with_name(artifact.WEIGHTS))) if options.program else ()
        build = Stage(
            name="build",
            kind="engine",
            producer="fx2trt",
            key={
                "model": shapes.model_key(case),
                "precision": case.precision,
                "options": msgspec.to_builtins(in_bytes),
            },
            needs=tuple(stage.name for stage in source),
            libraries=TENSORRT,
            files=files,
            per_device=True,
            per_build=True,
            times_kernels_on=("cuda",),
            toolchain=case.toolchain,
        )
        return [shapes.reference_stage(case), *source, build]

    def layers(self, case: Case) -> Stage:
        """The pass that times every layer, at the case's own sizes."""
        return msgspec.structs.replace(super().layers(case), producer="fx2trt")

    def imports(self, case: Case, stage: Stage | None = None) -> tuple[str, ...]:
        """TensorRT's bindings; to write the program torch and the library of the case's factory."""
        if stage is not None and stage.kind == "program":
            return ("torch", *factories.library_of(case))
        return super().imports(case, stage)

    def produce(self, stage: Stage, case: Case, context: Context, out: Path) -> None:
        """The program, the engine, or the times of its layers."""
        if stage.kind == "program":
            artifact.produce(case, context, out)
            return
        options = msgspec.convert(case.options, Options)
        if stage.kind == "engine":
            folder = context.artifacts.get(artifact.STAGE) or (context.suite_dir / options.program).parent
            builder.build(
                case,
                options.engine(),
                context,
                out,
                fill=lambda api, network: artifact.fill(api, network, case, folder, options.program),
            )
        elif stage.kind == "layers":
            super().produce(stage, self._as_engine(case), context, out)
        else:
            raise UsageError(f"fx2trt makes no {stage.name}")

    @contextlib.contextmanager
    def prepare(  # type: ignore[override]
        self, case: Case, options: Options, context: Context
    ) -> Iterator[execution.EnginePrepared]:
        """Phases: import, deserialize."""
        with super().prepare(case, options.engine(), context) as prepared:
            yield prepared

    def _as_engine(self, case: Case) -> Case:
        """The case with the options of its engine alone."""
        options = msgspec.convert(case.options, Options).engine()
        return msgspec.structs.replace(case, options=msgspec.to_builtins(options))


BACKEND = Fx2trt()
