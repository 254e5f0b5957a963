"""A network program, lowered from the model's FX graph, built and run as a native TensorRT engine."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from bench.backends.tensorrt import TensorRT
from bench.errors import Unavailable, Unsupported, UsageError
from bench.lowering import artifact, filling, marking, parts, quantized_file, quantized_reference, registry, values
from bench.model import seam
from bench.model.distributions import TENSORRT
from bench.model.divergence import On
from bench.model.lanes import Prepared
from bench.model.program import SupportedOp
from bench.model.seam import Context, Stage
from bench.model.suite import Case
from bench.runtimes import shapes
from bench.runtimes.quantization import QUANTIZATION, QuantizationOptions
from bench.runtimes.torch import factories, session
from bench.runtimes.trt import builder, library
from bench.runtimes.trt import options as trt_options
from bench.units import parse_size

# Options that are of the program, not of how ``tensorrt`` builds an engine.
_OWN = ("program", "fallback", "min_block_size", "deconvolutions")
_MIN_BLOCK_SIZE = 5
_EXAMINED = (artifact.PLACEMENT_STAGE, artifact.ACCURACY_STAGE)
# The kinds of stages that PyTorch makes.
_BY_TORCH = ("program", "values", "calibration", "onnx", seam.QUANTIZED_REFERENCE, *_EXAMINED)


class Options(QuantizationOptions, frozen=True, kw_only=True):
    """How an engine is built; ``null`` is TensorRT's own default.

    ``program`` is a network program beside the suite that takes the place of the one that is written for the case, e.g.
    one that was edited. With ``fallback: torch`` operators that have no converter stay in PyTorch, and engines of fewer
    than ``min_block_size`` ops with them (default 5); without, they are refused. With ``deconvolutions: dense``
    transposed convolutions in groups that run in an engine get a single group, and zeros in their kernels. Those of
    ``QuantizationOptions`` are of precision int8 alone, the others those of ``tensorrt``. With ``calibrator`` the
    program is that of float32, and TensorRT 8 chooses the scales.
    """

    program: str = ""
    fallback: Literal["none", "torch"] = "none"
    min_block_size: Annotated[int, msgspec.Meta(ge=1)] | None = None
    deconvolutions: trt_options.Deconvolutions = "grouped"
    workspace: Annotated[int, msgspec.Meta(gt=0)] | str | None = None
    optimization_level: Annotated[int, msgspec.Meta(ge=0, le=5)] | None = None
    tactic_sources: list[str] | None = None
    timing_cache: bool = True
    tactic_heuristic: bool = False
    max_aux_streams: Annotated[int, msgspec.Meta(ge=0)] | None = None
    hardware_compatible: Literal["none", "ampere_plus", "same_compute_capability"] = "none"
    strongly_typed: bool | None = None
    calibrator: Literal["entropy", "minmax"] | None = None
    calibration_cache: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        trt_options.check_calibrator(self, self.calibrator, self.calibration_cache)
        try:
            size = parse_size(self.workspace) if isinstance(self.workspace, str) else self.workspace
        except ValueError as error:
            raise ValueError(f"workspace: {error}") from error
        if size == 0:
            raise ValueError("workspace: 0 bytes are no workspace")
        if self.program and not self.program.endswith(".py"):
            raise ValueError(f"program: {self.program!r} is no FILE.py")
        if self.program and self.fallback != "none":
            raise ValueError(
                f"program: {self.program} cannot be used with fallback: torch, where trtbench divides the model and "
                "writes a program for each part: remove one of the two options"
            )
        trt_options.check_deconvolutions(self.deconvolutions, self.program)
        if self.min_block_size is not None and self.fallback == "none":
            raise ValueError("min_block_size: needs fallback: torch")

    def in_force(self, precision: str) -> dict[str, Any]:
        """With the size of the smallest block of a model in parts."""
        return super().in_force(precision) | {"min_block_size": self.block_size}

    @property
    def block_size(self) -> int | None:
        """The fewest ops of an engine; None where the model is one engine."""
        return None if self.fallback == "none" else self.min_block_size or _MIN_BLOCK_SIZE

    def engine(self) -> trt_options.Options:
        """The same as options of ``tensorrt``: how Q/DQ are made is that of the program, unless TensorRT calibrates."""
        own = _OWN if self.calibrator else (*_OWN, *QUANTIZATION)
        fields = {name: getattr(self, name) for name in self.__struct_fields__ if name not in own}
        return trt_options.Options(**fields)


class Fx2trt(TensorRT):
    """Models are lowered where torch is; engines are built and run with TensorRT, numpy and cuda-bindings."""

    options = Options  # type: ignore[assignment]

    def unsupported(self, case: Case, device: str) -> str | None:
        """A CPU device, programs that are no module, and precisions that no model is converted to."""
        if (reason := _not_calibrated(case) or artifact.unsupported(artifact.program_case(case))) is not None:
            return reason
        if device == "cpu":
            return "TensorRT needs a CUDA device (trtbench codegen writes the program without one)"
        return None

    def program(self, case: Case) -> Sequence[Stage]:
        """The network program of the case, at int8 after its calibration."""
        return artifact.stages(artifact.program_case(case), msgspec.convert(case.options, Options).block_size)

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
        """The reference, the program (unless it is the user's), at int8 the quantized reference, and the engine."""
        options = msgspec.convert(case.options, Options)
        in_bytes = msgspec.structs.replace(options, workspace=options.engine().workspace_bytes)
        source = [] if options.program else artifact.stages(artifact.program_case(case), options.block_size)
        files = (*artifact.files_of(options.program), *trt_options.calibration_files(options.engine()))
        build = Stage(
            name="build",
            kind="engine",
            producer="fx2trt",
            key={
                "model": shapes.model_key(case),
                "precision": case.precision,
                "options": msgspec.to_builtins(in_bytes),
            },
            needs=() if options.program else (artifact.STAGE,),
            libraries=TENSORRT,
            files=files,
            per_device=True,
            per_build=True,
            times_kernels_on=("cuda",),
            toolchain=case.toolchain,
        )
        return [shapes.reference_stage(case), *source, *quantized_reference.stages(case), build]

    def layers(self, case: Case) -> Stage:
        """The pass that times every layer, at the case's own sizes."""
        return msgspec.structs.replace(super().layers(case), producer="fx2trt")

    def values(self, case: Case) -> Stage:
        """The program, and every tensor of its graph in float32. UsageError at int8 and fp8, which round them, and for
        a program in parts, which is no single network.
        """
        quantized_file.refuse_values(case)
        if case.options.get("fallback") == "torch":
            what = "diverge examines one network of the whole model, and fallback: torch divides the model into parts"
            fix = "fallback: none, if all operators have a converter (trtbench ops lists those); or --backend tensorrt"
            raise UsageError(what, where=case.label, fix=fix)
        return artifact.values_stage(case)

    def marked_stage(self, case: Case, marks: Sequence[str], on: On) -> Stage:
        """The oracle's values, or those of an engine that has the marks as outputs."""
        options = msgspec.convert(case.options, Options)
        if on == "oracle":
            return artifact.oracle_stage(case, marks, options.program)
        build = self.stages(case)[-1]
        key = build.key | {"marks": list(marks), "symbols": case.symbols}
        needs = ("reference", "values")
        return msgspec.structs.replace(build, name=artifact.MARKED, kind="marked", key=key, needs=needs)

    def imports(self, case: Case, stage: Stage | None = None) -> tuple[str, ...]:
        """TensorRT's bindings; to write the program torch and the library of the case's factory."""
        if stage is not None and stage.kind == "marked" and stage.key.get("on") == "oracle":
            return ("torch",)
        if stage is not None and stage.kind in _BY_TORCH:
            return ("torch", *factories.library_of(case))
        if stage is None and case.options.get("fallback") == "torch":
            return ("torch", *super().imports(case, stage))
        return super().imports(case, stage)

    def layer_count(self, stage: Stage, folder: Path) -> int | None:
        """The layers of the networks that the engines were built from, before the builder fuses them."""
        if stage.kind == "engine" and not (folder / builder.PLAN).is_file():
            return parts.layer_count(folder)
        return super().layer_count(stage, folder)

    def produce(self, stage: Stage, case: Case, context: Context, out: Path) -> None:
        """The program, the engine, or the times of its layers."""
        if stage.kind in _BY_TORCH:
            _produce_by_torch(stage, case, context, out)
            return
        if stage.kind == "marked" and stage.key.get("on") == "oracle":  # whatever backend the case is given to
            source = _source(stage.key["program"], context)
            marking.by_oracle(case, context, source, stage.key["marks"], out)
            return
        options = msgspec.convert(case.options, Options)
        if stage.kind == "marked":
            source = _source(options.program, context)
            marking.by_engine(case, context, source, stage.key["marks"], out, options.engine())
        elif stage.kind == "engine" and options.block_size is not None:
            parts.build(case, options.engine(), context, out)
        elif stage.kind == "layers" and options.block_size is not None:
            what = "the layers of a model in parts are in several engines, which are not timed one by one"
            raise Unsupported(what, fix="fallback: none, or trtbench profile")
        elif stage.kind == "engine":
            folder = context.artifacts.get(artifact.STAGE) or (context.suite_dir / options.program).parent
            of_program = artifact.program_case(case)
            builder.build(
                case,
                options.engine(),
                context,
                out,
                fill=lambda api, network: filling.fill(api, network, of_program, folder, options.program),
            )
        elif stage.kind == "layers":
            super().produce(stage, self._as_engine(case), context, out)
        else:
            raise UsageError(f"fx2trt makes no {stage.name}")

    @contextlib.contextmanager
    def prepare(  # type: ignore[override]
        self, case: Case, options: Options, context: Context
    ) -> Iterator[Prepared]:
        """Phases: import, deserialize."""
        if options.block_size is None:
            with super().prepare(case, options.engine(), context) as prepared:
                yield prepared
            return
        if no_torch := session.missing():
            raise Unavailable(f"{no_torch.reason}, and fallback: torch runs in it", fix=no_torch.fix)
        folder = context.artifacts["build"]
        with session.torch_session(case, context), session.own_warnings_filtered():
            with context.phase("import"):
                api = library.open_api((), context.device)
            with context.phase("deserialize"):
                module = parts.load_module(context.artifacts[artifact.STAGE])
                engines = parts.open_engines(api, module, folder)
                report = parts.report(case, api, folder)
            with contextlib.closing(parts.PartsPrepared(case, context, module, engines, report)) as in_parts:
                yield in_parts

    def _as_engine(self, case: Case) -> Case:
        """The case with the options of its engine alone."""
        options = msgspec.convert(case.options, Options).engine()
        return msgspec.structs.replace(case, options=msgspec.to_builtins(options))


def _produce_by_torch(stage: Stage, case: Case, context: Context, out: Path) -> None:
    """What is made of the lowered graph without TensorRT, also for other backends: a stage of the kinds _BY_TORCH."""
    match stage.kind:
        case "program":
            # The program of a case that TensorRT calibrates is at another precision than the case.
            of_program = msgspec.structs.replace(case, precision=stage.key["precision"])
            artifact.produce(of_program, context, out, stage.key)
        case "calibration":
            artifact.calibrate(case, context, out, stage.key)
        case "onnx":
            quantized_file.export(case, context, out, stage.key)
        case "values":
            values.produce(case, context, out, stage.key)
        case artifact.PLACEMENT_STAGE | artifact.ACCURACY_STAGE:
            artifact.examine(case, context, out, stage.key)
        case seam.QUANTIZED_REFERENCE:
            quantized_reference.produce(case, context, out, stage.key)
        case _:
            raise ValueError(f"PyTorch makes no stage of the kind {stage.kind!r}")


def _not_calibrated(case: Case) -> str | None:
    """Why TensorRT's calibrator cannot choose the scales of a case; None if it may, or none is asked for."""
    if not (calibrator := case.options.get("calibrator")):
        return None
    if case.precision != "int8" or case.dynamic or case.options.get("fallback") == "torch":
        return f"calibrator: {calibrator} needs precision: int8, fixed sizes and fallback: none"
    return None


def _source(program: str, context: Context) -> marking.Source:
    """The program of the user's, or the one that was written with the values of its tensors."""
    if program:
        return marking.Source((context.suite_dir / program).parent, program)
    return marking.Source(context.artifacts["values"])


BACKEND = Fx2trt()
