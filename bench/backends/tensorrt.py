"""Native TensorRT: an engine built from an ONNX file or a network function, in a toolchain that needs no torch."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from bench.errors import UsageError
from bench.lowering import marking, quantized_file, quantized_reference
from bench.model.distributions import TENSORRT
from bench.model.divergence import On
from bench.model.lanes import Prepared
from bench.model.seam import Context, Missing, Stage
from bench.model.suite import Case
from bench.runtimes import onnx, onnx_values, packages, shapes
from bench.runtimes.cpp import building
from bench.runtimes.torch import weights
from bench.runtimes.trt import builder, deployed, execution, layers, library
from bench.runtimes.trt.options import EngineOptions, Options, calibration_files, no_route


class TensorRT(quantized_file.QuantizesGraphs):
    """Models are exported where torch is; engines are built and run with TensorRT, numpy and cuda-bindings."""

    options = Options
    simulated = False
    distributions = TENSORRT

    def missing(self, device: str = "cpu") -> Missing | None:
        """tensorrt, or cuda-bindings."""
        return packages.first_missing("tensorrt", "cuda", "cuda.bindings")

    def unsupported(self, case: Case, device: str) -> str | None:
        """A CPU device, fp8 without a network function, and int8 without a file that can be written with Q/DQ."""
        if device == "cpu":
            return "TensorRT needs a CUDA device"
        if refusal := deployed.unsupported(case):
            return refusal
        return no_route(case) or quantized_file.no_file(case)

    def stages(self, case: Case) -> Sequence[Stage]:
        """The reference, the ONNX file (or for a function the weights), at int8 the quantized reference, and the
        engine; with ``executor: cpp`` also what runs it.
        """
        options = msgspec.convert(case.options, Options)
        source = [weights.weights_stage(case)] if options.network else file_stages(case, options)
        function = options.network.partition(":")[0]
        in_bytes = msgspec.to_builtins(msgspec.structs.replace(options, workspace=options.workspace_bytes))
        settings = {name: value for name, value in in_bytes.items() if name not in deployed.RUNNING}
        build = Stage(
            name="build",
            kind="engine",
            producer="tensorrt",
            key={
                "model": shapes.model_key(case),
                "precision": case.precision,
                "options": settings,
                # Earlier engines of TensorRT 8 may have float32 outputs, without a layer for them or by an identity.
                **({"outputs": "cast"} if case.precision == "fp16" else {}),
            },
            needs=(source[-1].name,),
            libraries=TENSORRT,
            files=(*([function] if function else []), *options.plugins, *calibration_files(options)),
            per_device=True,
            per_build=True,
            times_kernels_on=("cuda",),
            toolchain=case.toolchain,
        )
        stages = [shapes.reference_stage(case), *source, *quantized_reference.stages(case), build]
        return [*stages, deployed.runner_stage(case, options)] if options.executor == "cpp" else stages

    def layers(self, case: Case) -> Stage:
        """The pass that times every layer, at the case's own sizes."""
        return Stage(
            name="layers",
            kind="layers",
            producer="tensorrt",
            key={"symbols": case.symbols},
            needs=("build",),
            libraries=TENSORRT,
            per_device=True,
            toolchain=case.toolchain,
        )

    def values(self, case: Case) -> Stage:
        """The ONNX file, and every tensor of it as exported in float32. UsageError for a function of the suite's, and
        at int8, which rounds every tensor.
        """
        options = msgspec.convert(case.options, Options)
        if options.network:
            what = f"{options.network} writes a network of its own, whose tensors have no counterpart in the model"
            raise UsageError(what, where=case.label, fix="a case without network: FILE.py:function")
        quantized_file.refuse_values(case)
        dense = options.dense_deconvolutions
        return onnx_values.stage(case, options.exporter, options.opset, dense_deconvolutions=dense)

    def marked_stage(self, case: Case, marks: Sequence[str], on: On) -> Stage:
        """The values of ONNX Runtime's CPU in place of the oracle, or those of an engine with the marks as outputs."""
        if on == "oracle":
            return onnx_values.marked_stage(marks)
        build = next(stage for stage in TensorRT.stages(self, case) if stage.name == "build")
        key = build.key | {"marks": list(marks), "symbols": case.symbols}
        needs = ("reference", "values")
        return msgspec.structs.replace(build, name="marked", kind="marked", key=key, needs=needs)

    def layer_count(self, stage: Stage, folder: Path) -> int | None:
        """The layers of the network that an engine was built from, before the builder fuses them."""
        return builder.read_info(folder).layers if stage.kind == "engine" else None

    def preload(self, case: Case, suite_dir: Path) -> None:
        """Import TensorRT's bindings and load their libraries; nothing where a C++ program runs the engine."""
        if not deployed.is_deployed(case):
            library.preload()

    def imports(self, case: Case, stage: Stage | None = None) -> tuple[str, ...]:
        """TensorRT's bindings, which load their libraries; where no engine is made torch."""
        if stage is not None and (stage.kind == "values" or stage.key.get("on") == "oracle"):
            return ("torch",)
        without = stage.name == building.STAGE if stage else deployed.is_deployed(case)
        return () if without else ("tensorrt",)

    def produce(self, stage: Stage, case: Case, context: Context, out: Path) -> None:
        """The engine, the times of its layers, or tensors within and what they should be."""
        if stage.kind == "values":
            onnx_values.produce(case, context, out, stage.key)
            return
        if stage.kind == "marked" and stage.key.get("on") == "oracle":  # whatever backend the case is given to
            onnx_values.run_marked(context, stage.key["marks"], out)
            return
        options = msgspec.convert(case.options, Options)
        if stage.name == building.STAGE:
            deployed.produce_runner(options, context, out)
            return
        if stage.kind == "marked":
            marking.of_file(case, context, stage.key["marks"], out, options)
        elif stage.kind == "engine":
            builder.build(case, options, context, out)
        elif stage.kind == "layers":
            with _open_engine(options, context) as (api, engine, info):
                layers.take(case, stage, context, api, engine, info, out)
        else:
            raise UsageError(f"tensorrt makes no {stage.name}")

    @contextlib.contextmanager
    def prepare(self, case: Case, options: Options, context: Context) -> Iterator[Prepared]:
        """Phases: import, deserialize."""
        if options.executor == "cpp":
            with deployed.prepare(case, options, context) as in_program:
                yield in_program
            return
        with (
            _open_engine(options, context) as (api, engine, info),
            contextlib.closing(execution.EnginePrepared(case, context, api, engine, info)) as prepared,
        ):
            yield prepared


def file_stages(case: Case, options: EngineOptions) -> list[Stage]:
    """The ONNX file that an engine is built from; at int8 one with Q/DQ after its calibration."""
    if quantized_file.is_quantized(case):
        return quantized_file.stages(case, options.opset)
    return [onnx.stage(case, options.exporter, options.opset, dense_deconvolutions=options.dense_deconvolutions)]


@contextlib.contextmanager
def _open_engine(options: Options, context: Context) -> Iterator[tuple[library.Api, Any, builder.BuildInfo]]:
    """TensorRT and the case's engine."""
    with context.phase("import"):
        api = library.open_api(builder.libraries(options, context.suite_dir), context.device)
    with context.phase("deserialize"):
        plan, info = builder.read(context.artifacts["build"])
        engine = library.deserialize(api, plan, host_code=info.version_compatible)
        del plan
    yield api, engine, info


BACKEND = TensorRT()
