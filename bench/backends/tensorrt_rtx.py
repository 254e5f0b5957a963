"""TensorRT for RTX: engines for GeForce and RTX GPUs, built with or without a GPU, whose kernels are compiled on it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from bench.backends.tensorrt import file_stages
from bench.errors import UsageError
from bench.lowering import artifact, filling, quantized_file, quantized_reference
from bench.model.distributions import TENSORRT_RTX
from bench.model.lanes import Prepared
from bench.model.seam import Context, Missing, Stage
from bench.model.suite import Case
from bench.runtimes import packages, shapes
from bench.runtimes.cpp import building
from bench.runtimes.torch import weights
from bench.runtimes.trt import builder, deployed, execution, layers, library, rtx
from bench.runtimes.trt.options import RtxOptions, no_route

# Options that no engine depends on.
_RUNNING = ("runtime_cache", "kernel_specialization", "cuda_graph_strategy", *deployed.RUNNING)


class TensorRTRtx(quantized_file.QuantizesGraphs):
    """Models are exported where torch is; engines are built with TensorRT-RTX alone, and run with cuda-bindings."""

    options = RtxOptions
    simulated = False
    distributions = TENSORRT_RTX

    def missing(self, device: str = "cpu") -> Missing | None:
        """tensorrt_rtx; on a GPU also cuda-bindings."""
        return packages.first_missing("tensorrt_rtx", *(("cuda", "cuda.bindings") if device != "cpu" else ()))

    def unsupported(self, case: Case, device: str) -> str | None:
        """A CPU device, graphs by two at once, and precisions that no network can be made of."""
        if device == "cpu":
            return "TensorRT-RTX runs on a CUDA device"
        if refusal := deployed.unsupported(case):
            return refusal
        if case.cuda_graph and case.options.get("cuda_graph_strategy") == "whole_graph_capture":
            return "cuda_graph: on and cuda_graph_strategy: whole_graph_capture both capture CUDA graphs"
        if case.options.get("route") == "fx2trt":
            return artifact.unsupported(case)
        return no_route(case) or quantized_file.no_file(case)

    def stages(self, case: Case) -> Sequence[Stage]:
        """The reference, the ONNX file (for a function the weights, on the other route the network program unless it is
        the user's), at int8 the quantized reference, and the engine; with ``executor: cpp`` also what runs it.
        """
        options = msgspec.convert(case.options, RtxOptions)
        files: tuple[str, ...] = ()
        if options.route == "fx2trt":
            source = [] if options.program else artifact.stages(case)
            files = artifact.files_of(options.program)
        elif options.network:
            source, files = [weights.weights_stage(case)], (options.network.partition(":")[0],)
        else:
            source = file_stages(case, options)
        in_bytes = msgspec.structs.replace(options, workspace=options.workspace_bytes)
        settings = {name: value for name, value in msgspec.to_builtins(in_bytes).items() if name not in _RUNNING}
        build = Stage(
            name="build",
            kind="engine",
            producer="tensorrt_rtx",
            key={"model": shapes.model_key(case), "precision": case.precision, "options": settings},
            needs=tuple(stage.name for stage in source[-1:]),
            libraries=TENSORRT_RTX,
            files=files,
            per_device=options.compute_capabilities == "current",
            toolchain=case.toolchain,
        )
        stages = [shapes.reference_stage(case), *source, *quantized_reference.stages(case), build]
        return [*stages, deployed.runner_stage(case, options, library.RTX)] if options.executor == "cpp" else stages

    def layers(self, case: Case) -> Stage:
        """The pass that times every layer, at the case's own sizes."""
        return Stage(
            name="layers",
            kind="layers",
            producer="tensorrt_rtx",
            key={"symbols": case.symbols, "kernel_specialization": case.options.get("kernel_specialization")},
            needs=("build",),
            libraries=TENSORRT_RTX,
            per_device=True,
            toolchain=case.toolchain,
        )

    def layer_count(self, stage: Stage, folder: Path) -> int | None:
        """The layers of the network that an engine was built from, before the builder fuses them."""
        return builder.read_info(folder).layers if stage.kind == "engine" else None

    def for_capabilities(self, case: Case, capabilities: Sequence[str]) -> Case:
        """The case with an engine for these GPUs; one that the builder does not know is refused as it is built."""
        options = case.options | {"compute_capabilities": [float(each) for each in capabilities]}
        return msgspec.structs.replace(case, options=options)

    def preload(self, case: Case, suite_dir: Path) -> None:
        """Import the bindings and load their libraries; nothing where a C++ program runs the engine."""
        if not deployed.is_deployed(case):
            library.preload(library.RTX)

    def imports(self, case: Case, stage: Stage | None = None) -> tuple[str, ...]:
        """The bindings, which load their libraries; nothing for the C++ program."""
        without = stage.name == building.STAGE if stage else deployed.is_deployed(case)
        return () if without else ("tensorrt_rtx",)

    def produce(self, stage: Stage, case: Case, context: Context, out: Path) -> None:
        """The engine, the times of its layers, or what runs it."""
        options = msgspec.convert(case.options, RtxOptions)
        if stage.name == building.STAGE:
            deployed.produce_runner(options, context, out, library.RTX)
        elif stage.kind == "engine":
            fill = _program(case, options, context) if options.route == "fx2trt" else None
            builder.build(case, options, context, out, library.RTX, fill=fill)
        elif stage.kind == "layers":
            plain = msgspec.structs.replace(options, cuda_graph_strategy=None)  # layers in a graph cannot be told apart
            with (
                _open_engine(context) as (api, engine, info, digest),
                rtx.open_settings(api, engine, digest, plain, context) as settings,
            ):
                layers.take(case, stage, context, api, engine, info, out, settings)
        else:
            raise UsageError(f"tensorrt_rtx makes no {stage.name}")

    @contextlib.contextmanager
    def prepare(self, case: Case, options: RtxOptions, context: Context) -> Iterator[Prepared]:
        """Phases: import, deserialize, compile.

        Kernels are compiled for the GPU when a context is made and in its first call, so one call is made here, as
        phase ``compile``; those of an earlier process are loaded in it.
        """
        if options.executor == "cpp":
            with deployed.prepare_rtx(case, options, context) as in_program:
                yield in_program
            return
        with contextlib.ExitStack() as stack:
            api, engine, info, digest = stack.enter_context(_open_engine(context))
            with context.phase("compile"), rtx.open_settings(api, engine, digest, options, context) as settings:
                prepared = execution.EnginePrepared(case, context, api, engine, info, settings)
                stack.enter_context(contextlib.closing(prepared))
                (lane,) = prepared.lanes(1)
                lane.call()
                lane.wait()
            del engine
            yield prepared


def _program(case: Case, options: RtxOptions, context: Context) -> builder.Fill:
    """What fills the network by the case's program, or by the user's."""
    folder = context.artifacts.get(artifact.STAGE) or (context.suite_dir / options.program).parent
    return lambda api, network: filling.fill(api, network, case, folder, options.program)


@contextlib.contextmanager
def _open_engine(context: Context) -> Iterator[tuple[library.Api, Any, builder.BuildInfo, str]]:
    """TensorRT-RTX and the case's engine, with the digest of its plan."""
    with context.phase("import"):
        api = library.open_api((), context.device, library.RTX)
    with context.phase("deserialize"):
        plan, info = builder.read(context.artifacts["build"])
        engine = library.deserialize(api, plan)
        digest = rtx.digest_of(plan)
        del plan
    yield api, engine, info, digest


BACKEND = TensorRTRtx()
