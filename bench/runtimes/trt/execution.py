"""Runs a TensorRT engine: lanes that are execution contexts with a stream, fixed memory and perhaps a CUDA graph."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bench.errors import CaseError, OutOfMemory, Unsupported
from bench.model.lanes import Buffer
from bench.model.seam import Context
from bench.model.suite import Case
from bench.runtimes import memory
from bench.runtimes.torch.exports import warning_report
from bench.runtimes.trt import inspector, library, rtx, versions
from bench.runtimes.trt.builder import BuildInfo
from bench.system.cleanup import Cleanup
from bench.tensors import Array

_SHOWN_ERRORS = 3
_NO_CAPTURE = "TensorRT's work cannot be captured in a CUDA graph (cuda_graph: off runs it without)"


class EngineLane:
    """One execution context over the engine, everything bound in advance: a call is one call of TensorRT or of CUDA."""

    def __init__(
        self,
        api: library.Api,
        engine: Any,
        info: BuildInfo,
        context: Context,
        *,
        graph: bool,
        settings: rtx.Settings | None = None,
    ) -> None:
        self._api = api
        self._device = context.device
        self._blocks: list[memory.Block] = []
        self._inputs: dict[str, Buffer] = {}
        self._outputs: dict[str, Buffer] = {}
        self._on: dict[str, str] = {}  # where each output lies: shapes are computed on the host
        with Cleanup() as cleanup:
            self.stream: int | None = memory.new_stream()
            cleanup.callback(memory.cuda, "cudaStreamDestroy", self.stream)
            cleanup.callback(self._free)
            self.context = _new_context(api, engine, self.stream, settings)
            cleanup.callback(self._let_go)
            self._bind_inputs(engine, info, context.inputs)
            self._bind_outputs(engine, info)
            memory.cuda("cudaDeviceSynchronize")  # the inputs were copied on another stream
            self._issue: Callable[[], object] = functools.partial(self.context.execute_async_v3, self.stream)
            self._success: object = True
            if graph:
                self._replay(self._capture(cleanup))
            cleanup.callback(self.wait)
            self._cleanup = cleanup.pop_all()

    def call(self) -> None:
        """Issue one inference."""
        if (status := self._issue()) != self._success:
            raise self._error(status)

    def bare_call(self) -> Callable[[], object]:
        """``execute_async_v3``, or ``cudaGraphLaunch`` of the captured graph, with its arguments bound."""
        return self._issue

    def inputs(self) -> Mapping[str, Buffer]:
        """The resident inputs, at the engine's types."""
        return self._inputs

    def outputs(self) -> Mapping[str, Buffer]:
        """The resident outputs."""
        return self._outputs

    def poison(self) -> None:
        """Fill the outputs with NaN, or 0x7F bytes."""
        self.wait()
        for name, buffer in self._outputs.items():
            memory.poison(buffer, self._on[name])

    def read(self) -> dict[str, Array]:
        """Wait, and copy the outputs to the host."""
        self.wait()
        return {name: memory.read(buffer, self._on[name]) for name, buffer in self._outputs.items()}

    def wait(self) -> None:
        """Wait for the latest call."""
        memory.cuda("cudaStreamSynchronize", self.stream)

    def close(self) -> None:
        """Release the graph, the context, the memory and the stream, in this order."""
        self._cleanup.close()

    # ------------------------------------------------------------------------------------------------------- binding

    def _bind_inputs(self, engine: Any, info: BuildInfo, arrays: Mapping[str, Array]) -> None:
        """Bind the inputs that the engine has; one that the exporter dropped has memory and is copied all the same."""
        for name, array in arrays.items():
            tensor = info.inputs.get(name)
            if tensor is None:
                self._allocate(array.shape, str(array.dtype), self._device, self._inputs, name)
                self._blocks[-1].write(memory.encode(array, str(array.dtype)))
                continue
            dtype, where = self._kind(engine, tensor, name)
            if not self.context.set_input_shape(tensor, array.shape):
                raise _outside(self._api, engine, tensor, name, array.shape)
            buffer = self._allocate(array.shape, dtype, where, self._inputs, name)
            self._blocks[-1].write(memory.encode(array, dtype))
            self._set_address(tensor, buffer)
        if unset := self.context.infer_shapes():
            raise library.refusal(self._api, f"TensorRT lacks the shapes of {', '.join(unset)}")

    def _bind_outputs(self, engine: Any, info: BuildInfo) -> None:
        for name, tensor in info.outputs.items():
            shape = versions.dims(self.context.get_tensor_shape(tensor))
            if -1 in shape:
                raise Unsupported(f"the size of output {name!r} depends on the data: {list(shape)}")
            dtype, self._on[name] = self._kind(engine, tensor, name)
            self._set_address(tensor, self._allocate(shape, dtype, self._on[name], self._outputs, name))

    def _kind(self, engine: Any, tensor: str, name: str) -> tuple[str, str]:
        """The type of an input or output, and the device on which it must lie; Unsupported if it cannot be filled.

        ``tensor`` is its name in the engine, ``name`` that in the suite.
        """
        trt = self._api.module
        if engine.get_tensor_format(tensor) != trt.TensorFormat.LINEAR:
            raise Unsupported(f"{name!r} must lie in memory as {engine.get_tensor_format_desc(tensor)}, not linear")
        dtype = versions.dtype_name(engine.get_tensor_dtype(tensor))
        if dtype.startswith(("float8", "float4", "int4")):
            raise Unsupported(f"{name!r} has type {dtype}, which inputs and outputs here cannot have")
        return dtype, "cpu" if engine.get_tensor_location(tensor) == trt.TensorLocation.HOST else self._device

    def _allocate(
        self, shape: tuple[int, ...], dtype: str, where: str, buffers: dict[str, Buffer], name: str
    ) -> Buffer:
        block, buffer = memory.allocate(shape, dtype, where)
        self._blocks.append(block)
        buffers[name] = buffer
        return buffer

    def _set_address(self, tensor: str, buffer: Buffer) -> None:
        if not self.context.set_tensor_address(tensor, buffer.ptr):
            raise library.refusal(self._api, f"TensorRT does not take the memory of {tensor!r}")

    # --------------------------------------------------------------------------------------------------------- graph

    def _capture(self, owner: Cleanup) -> Any:
        """An executable graph of one call, which ``owner`` destroys. Unsupported if it cannot be captured.

        TensorRT prepares itself for new shapes in the first call, which therefore must be a plain one.
        """
        self.call()
        self.wait()
        local = memory.runtime_api().cudaStreamCaptureMode.cudaStreamCaptureModeThreadLocal
        with Cleanup() as cleanup:
            memory.cuda("cudaStreamBeginCapture", self.stream, local)
            try:
                try:
                    self.call()
                finally:  # what was begun must be ended, and gives a graph even if the call did nothing
                    graph = memory.cuda("cudaStreamEndCapture", self.stream)
                    cleanup.callback(memory.cuda, "cudaGraphDestroy", graph)
            except OutOfMemory:
                raise
            except (CaseError, RuntimeError) as error:
                # Ending a broken capture raises too, and hides why it broke.
                cause = error.__context__ if isinstance(error.__context__, CaseError) else error
                case_error = cause if isinstance(cause, CaseError) else library.refusal(self._api, str(cause))
                raise Unsupported(f"{_NO_CAPTURE}: {case_error.what}") from error
            executable = memory.cuda("cudaGraphInstantiate", graph, 0)
            owner.callback(memory.cuda, "cudaGraphExecDestroy", executable)
        return executable

    def _replay(self, executable: Any) -> None:
        """Upload the graph and launch it in every call from now on."""
        memory.cuda("cudaGraphUpload", executable, self.stream)
        self.wait()
        cuda = memory.runtime_api()
        # Handles as CUDA's own types: integers would be converted in every call.
        self._issue = functools.partial(cuda.cudaGraphLaunch, executable, cuda.cudaStream_t(self.stream))
        self._success = (cuda.cudaError_t.cudaSuccess,)

    # ----------------------------------------------------------------------------------------------------------- end

    def _error(self, status: Any) -> Exception:
        if status is False:
            return library.refusal(self._api, "TensorRT did not run the engine")
        return RuntimeError(f"cudaGraphLaunch failed: {status[0].name}")

    def _let_go(self) -> None:
        self.context = None
        self._issue = _raise_closed

    def _free(self) -> None:
        with Cleanup() as cleanup:
            while self._blocks:
                cleanup.callback(self._blocks.pop().free)


class EnginePrepared:
    """One engine, with any number of lanes over it."""

    max_lanes: int | None = None

    def __init__(
        self,
        case: Case,
        context: Context,
        api: library.Api,
        engine: Any,
        info: BuildInfo,
        settings: rtx.Settings | None = None,
    ) -> None:
        self.captures_graphs = settings is not None and settings.captures_graphs
        self._settings = settings
        self._case = case
        self._context = context
        self._api = api
        self._engine: Any = engine
        self._info = info
        self._lanes: list[EngineLane] = []

    def lanes(self, count: int) -> Sequence[EngineLane]:
        """The first ``count`` lanes, created on first use; their graphs are captured here."""
        while len(self._lanes) < count:
            graph = self._case.cuda_graph
            lane = EngineLane(self._api, self._engine, self._info, self._context, graph=graph, settings=self._settings)
            self._lanes.append(lane)
        return self._lanes[:count]

    def fairness(self) -> dict[str, Any]:
        """Settings that must agree for a fair comparison; under ``engine`` figures that describe this engine."""
        on = self._case.precision == "tf32"
        context = self._lanes[0].context if self._lanes else None
        layers = inspector.parse_layers(inspector.read_report(self._api, self._engine, context)) if context else []
        return {
            "runtime": self._api.name,
            "tf32": {"matmul": on, "cudnn": on},
            "memory_format": "contiguous",
            "graph_capture": "harness" if self._case.cuda_graph else "backend" if self.captures_graphs else "none",
            **self._runtime_settings(),
            **({"exporter": self._info.exporter, "opset": self._info.opset} if self._info.exporter else {}),
            **warning_report(self._info.export_warnings),
            "strongly_typed": self._info.strongly_typed,
            "optimization_level": self._info.optimization_level,
            "tactic_sources": ", ".join(self._info.tactic_sources),
            **({"timing_cache": self._info.timing_cache} if self._settings is None else {}),
            "precisions": ", ".join(sorted(inspector.precisions(layers))),
            **({"calibration": self._info.calibration} if self._info.calibration else {}),
            **({"deconvolutions": self._info.deconvolutions} if self._info.deconvolutions else {}),
            "engine": {
                "precisions": inspector.precisions(layers),
                "plan_bytes": self._info.plan_bytes,
                "device_memory_bytes": versions.device_memory(self._engine),
                "layers": int(self._engine.num_layers),
                "reformats": sum(layer.reformat for layer in layers),
                "aux_streams": int(self._engine.num_aux_streams),
                "build_s": round(self._info.build_ns / 1e9, 1),
                **({"grouped_deconvolutions": counts} if (counts := self._info.grouped_deconvolutions) else {}),
                **({"slowest_layers_s": slowest} if (slowest := _seconds(self._info.slowest_layers)) else {}),
                "warnings": len(self._info.warnings),
                **({"errors": errors[-_SHOWN_ERRORS:]} if (errors := self._api.log.errors()) else {}),
            },
        }

    def _runtime_settings(self) -> dict[str, Any]:
        """What TensorRT-RTX was told for running, and the GPUs that its engine is for."""
        if self._settings is None:
            return {}
        return {
            "runtime_cache": self._settings.cache,
            "kernel_specialization": self._settings.kernel_specialization,
            "cuda_graph_strategy": self._settings.cuda_graph_strategy,
            "compute_capabilities": ", ".join(self._info.compute_capabilities) or "default",
        }

    def close(self) -> None:
        """Release the lanes, then the engine."""
        lanes, self._lanes = self._lanes, []
        with Cleanup() as cleanup:
            cleanup.callback(self._let_go)
            for lane in lanes:
                cleanup.callback(lane.close)

    def _let_go(self) -> None:
        self._engine = self._settings = None


def _new_context(api: library.Api, engine: Any, stream: int, settings: rtx.Settings | None) -> Any:
    """An execution context with its profile set: 8.6 sets one for the first context only."""
    make: Callable[..., Any] = engine.create_execution_context
    context = library.create(
        api, "an execution context", functools.partial(make, settings.config) if settings else make
    )
    if context.active_optimization_profile != 0:
        try:
            success = context.set_optimization_profile_async(0, stream)
        except RuntimeError as error:
            raise library.refusal(api, "a further lane cannot use the engine's optimization profile") from error
        if not success:
            raise library.refusal(api, "a further lane cannot use the engine's optimization profile")
        memory.cuda("cudaStreamSynchronize", stream)
    # Detailed ranges, which the inspector's details bring along, would cost time in every call.
    context.nvtx_verbosity = api.module.ProfilingVerbosity.LAYER_NAMES_ONLY
    return context


def _outside(api: library.Api, engine: Any, tensor: str, name: str, shape: tuple[int, ...]) -> CaseError:
    """Why TensorRT did not take the shape of an input: it is not in the range that the engine was built for."""
    least, _, most = (versions.dims(bound) for bound in engine.get_tensor_profile_shape(tensor, 0))
    within = len(shape) == len(least) and all(a <= n <= b for a, n, b in zip(least, shape, most, strict=True))
    if within:
        return library.refusal(api, f"TensorRT does not take the shape {list(shape)} of {name!r}")
    span = f"{list(least)} to {list(most)}" if least != most else f"{list(least)} only"
    fix = "give the symbol a range that holds it: `dynamic: {NAME: {min: ..., opt: ..., max: ...}}` in the suite"
    return CaseError(f"input {name!r} has shape {list(shape)}, the engine takes {span}", fix=fix)


def _raise_closed() -> object:
    raise CaseError("the engine is closed")


def _seconds(times: dict[str, int]) -> dict[str, float]:
    """Times of the builder, given in ns, that are a tenth of a second at least."""
    return {name: round(ns / 1e9, 1) for name, ns in times.items() if ns >= 1e8}
