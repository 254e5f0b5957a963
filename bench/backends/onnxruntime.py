"""ONNX Runtime: the model exported to ONNX, run by an execution provider on bound memory, without torch."""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from bench import tensors
from bench.errors import LESS_MEMORY, OUT_OF_MEMORY, BenchError, CaseError, OutOfMemory, Unavailable, Unsupported
from bench.lowering import quantized_file, quantized_reference
from bench.model.distributions import ONNXRUNTIME_RTX
from bench.model.factory import program_of
from bench.model.profile import Range
from bench.model.seam import Context, Missing, Stage
from bench.model.suite import Case
from bench.runtimes import (
    deconvolutions,
    memory,
    onnx,
    onnx_manifest,
    onnx_nodes,
    ort_plugin,
    ort_profile,
    ort_providers,
    packages,
    shapes,
)
from bench.runtimes.ort_lane import OrtLane
from bench.runtimes.ort_providers import GPU_BUILD
from bench.runtimes.quantization import QuantizationOptions
from bench.runtimes.torch import exports, factories
from bench.system.cleanup import Cleanup

_LEVELS = {
    "all": "ORT_ENABLE_ALL",
    "extended": "ORT_ENABLE_EXTENDED",
    "basic": "ORT_ENABLE_BASIC",
    "disabled": "ORT_DISABLE_ALL",
}
_NO_BFLOAT16 = "precision: fp32 or fp16; eager, inductor and aoti run bf16"
_RECORD_PLACEMENT = "session.record_ep_graph_assignment_info"


class Options(QuantizationOptions, frozen=True, kw_only=True):
    """``provider: auto`` is the one of the case's device. ``opset: null`` is the exporter's own default.

    ``threads: 0`` is one thread per physical core, or OMP_NUM_THREADS, as torch does. ``cudnn_search`` is how the CUDA
    provider chooses cuDNN's algorithm of a convolution: ``exhaustive``, its own default, times all of them. Those of
    ``QuantizationOptions`` are of precision int8 alone.
    """

    provider: ort_providers.Provider = "auto"
    exporter: onnx.Exporter = "dynamo"
    opset: Annotated[int, msgspec.Meta(ge=7)] | None = None
    graph_optimization: Literal["all", "extended", "basic", "disabled"] = "all"
    threads: Annotated[int, msgspec.Meta(ge=0)] = 0
    cudnn_search: Literal["exhaustive", "heuristic", "default"] = "exhaustive"


class OnnxRuntime(quantized_file.QuantizesGraphs):
    """Models are exported in a toolchain with torch, and run with numpy and onnxruntime (cuda-bindings on a GPU)."""

    options = Options
    simulated = False
    distributions = ("onnxruntime", "onnxruntime-gpu", *ONNXRUNTIME_RTX)

    def missing(self, device: str = "cpu") -> Missing | None:
        """onnxruntime (for CUDA a build with that provider, or TensorRT-RTX's); beside torch also onnx and onnxscript,
        for the export.
        """
        export = ("onnx", "onnxscript") if importlib.util.find_spec("torch") is not None else ()
        missing = packages.first_missing("onnxruntime", *export)
        if missing is None and device != "cpu" and not ort_providers.has_cuda() and not ort_plugin.is_installed():
            return Missing(reason=ort_providers.NO_PROVIDER.format("CUDAExecutionProvider"), fix=GPU_BUILD)
        return missing

    def unsupported(self, case: Case, device: str) -> str | None:
        """A precision that the exporter cannot write, and a provider or option that does not fit the device."""
        provider = case.options.get("provider", "auto")
        if reason := quantized_file.no_file(case):
            return reason
        if device == "cpu" and provider in ("cuda", "tensorrt", "tensorrt_rtx"):
            return f"provider {provider} needs a CUDA device"
        if provider == "tensorrt_rtx" and (reason := ort_plugin.unsupported(case)):
            return reason
        if device != "cpu" and provider == "cpu":
            return "provider cpu runs on the CPU, the suite on a CUDA device"
        if device == "cpu" and case.precision == "tf32":
            return "TF32 is a CUDA format"
        if device == "cpu" and case.cuda_graph:
            return "cuda_graph needs a CUDA device"
        if device == "cpu" and "cudnn_search" in case.options:
            return "cudnn_search is of the CUDA provider"
        return None

    def stages(self, case: Case) -> Sequence[Stage]:
        """The reference and the ONNX file; at int8 also the quantized reference."""
        exporter, opset = case.options.get("exporter", "dynamo"), case.options.get("opset")
        if quantized_file.is_quantized(case):
            file = quantized_file.stages(case, opset)
            return [shapes.reference_stage(case), *file, *quantized_reference.stages(case)]
        return [shapes.reference_stage(case), onnx.stage(case, exporter, opset)]

    def imports(self, case: Case, stage: Stage | None = None) -> tuple[str, ...]:
        """What exporting needs: torch, the library of the case's factory, and the exporter's own. Not ONNX Runtime,
        which starts a thread and takes a tenth of a second.
        """
        if stage is None or stage.kind == "reference" or program_of(case.factory) == "onnx":
            return ()
        if stage.producer == "fx2trt":
            return ("torch", *factories.library_of(case))
        exporter = "onnx" if stage.key.get("exporter") == "legacy" else "onnxscript"
        return ("torch", *factories.library_of(case), exporter)

    def produce(self, stage: Stage, case: Case, context: Context, out: Path) -> None:
        """Export to ONNX, for this backend or another: the stage's key holds the exporter and opset.

        Of a model that is an ONNX file also the reference: the file as it is, on the CPU, no graph optimized.
        """
        if stage.kind == "reference":
            self._refer(case, context, out)
        else:
            exporter, opset = stage.key.get("exporter", "dynamo"), stage.key.get("opset")
            dense = deconvolutions.are_dense(stage.key)
            onnx.export(case, context, out, exporter, opset, dense_deconvolutions=dense)

    def _refer(self, case: Case, context: Context, out: Path) -> None:
        folder = context.scratch / "file"
        folder.mkdir()
        plain = msgspec.structs.replace(case, precision="fp32", options={}, cuda_graph=False, dynamic={})
        onnx.take_file(plain, context, folder, any_precision=True)
        on_cpu = msgspec.structs.replace(context, device="cpu", artifacts={"export": folder})
        with self.prepare(plain, Options(provider="cpu", graph_optimization="disabled"), on_cpu) as prepared:
            with context.phase("run"):
                lane = prepared.lanes(1)[0]
                lane.call()
            tensors.write(out / "outputs.safetensors", lane.read())

    @contextlib.contextmanager
    def prepare(self, case: Case, options: Options, context: Context) -> Iterator[OrtPrepared]:
        """Phases: import, load (the provider optimises the graph there)."""
        provider = options.provider
        if provider == "auto":
            provider = "cpu" if context.device == "cpu" else "cuda"
        if provider == "tensorrt" and case.precision == "fp32":
            os.environ["NVIDIA_TF32_OVERRIDE"] = "0"  # the provider has no option of its own
        with context.phase("import"):
            import onnxruntime
        if provider == "tensorrt_rtx":
            ort_plugin.devices(context)
        elif ort_providers.NAMES[provider] not in onnxruntime.get_available_providers():
            raise Unavailable(ort_providers.NO_PROVIDER.format(ort_providers.NAMES[provider]), fix=GPU_BUILD)
        if provider in ("cuda", "tensorrt") and hasattr(onnxruntime, "preload_dlls"):
            onnxruntime.preload_dlls()
        with _errors(context.artifacts["export"]):
            with context.phase("load"):
                prepared = OrtPrepared(case, options, context, provider)
            with contextlib.closing(prepared):
                yield prepared


class OrtPrepared:
    """One session on a CPU. On CUDA a session works on one stream, so each further lane loads another."""

    max_lanes: int | None = None

    def __init__(self, case: Case, options: Options, context: Context, provider: str) -> None:
        self.captures_graphs = case.cuda_graph
        self._case = case
        self._options = options
        self._context = context
        self._provider = provider
        self._folder = context.artifacts["export"]
        self._manifest = onnx_manifest.read_manifest(self._folder)
        self._threads = options.threads or default_threads()
        self._lanes: list[OrtLane] = []
        self._kernels = {"runtime_cache": ort_plugin.cache_state(context)} if provider == "tensorrt_rtx" else {}
        self._stream = None if provider == "cpu" else self._new_stream()
        self._session: Any = self._load(self._stream)
        self._placement = {} if provider == "cpu" else ort_providers.placement(self._session, options.cudnn_search)

    def lanes(self, count: int) -> Sequence[OrtLane]:
        """The first ``count`` lanes. OutOfMemory where there is no room for one."""
        while len(self._lanes) < count:
            with _errors(self._folder), Cleanup() as cleanup:
                session, stream = self._session, self._stream
                if stream is not None and self._lanes:
                    stream = self._new_stream()
                    cleanup.callback(memory.cuda, "cudaStreamDestroy", stream)
                    session = self._load(stream)
                lane = OrtLane(session, self._manifest, self._context.inputs, self._context.device, stream)
                self._lanes.append(lane)
                cleanup.pop_all()
        return self._lanes[:count]

    def fairness(self) -> dict[str, Any]:
        """The provider that runs, its threads and precision switches, and how the file was made."""
        on = self._case.precision == "tf32"
        return {
            "provider": self._provider,
            "tf32": {"matmul": on, "cudnn": on},
            "memory_format": "contiguous",
            "threads": self._threads,
            "graph_capture": "backend" if self.captures_graphs else "none",
            "graph_optimization": self._options.graph_optimization,
            "exporter": self._manifest.exporter,
            "opset": self._manifest.opset,
            "io_binding": True,
            **({"calibration": about} if (about := self._manifest.quantization) else {}),
            **self._placement,
            **self._kernels,
            **exports.warning_report(self._manifest.warnings),
        }

    def nodes(self) -> Sequence[Range]:
        """What the first session's profiler wrote of the calls so far; nothing where the context asked for none."""
        if not self._context.profiled:
            return ()
        start = self._session.get_profiling_start_time_ns()
        written = Path(self._session.end_profiling())
        try:
            wrapper = "" if self._manifest.own_names else onnx_manifest.WRAPPER
            return ort_profile.read(written, start, onnx_nodes.read(self._folder / onnx_manifest.MODEL, wrapper))
        finally:
            written.unlink(missing_ok=True)

    def close(self) -> None:
        """Release lanes and sessions."""
        lanes, self._lanes = self._lanes, []
        with Cleanup() as cleanup:
            cleanup.callback(self._let_go)
            if not lanes and self._stream is not None:
                cleanup.callback(memory.cuda, "cudaStreamDestroy", self._stream)
            for lane in reversed(lanes):
                cleanup.callback(lane.close)

    def _let_go(self) -> None:
        self._session = None

    def _new_stream(self) -> int:
        memory.cuda("cudaSetDevice", int(self._context.device.partition(":")[2] or 0))
        return memory.new_stream()

    def _load(self, stream: int | None) -> Any:
        import onnxruntime

        settings = onnxruntime.SessionOptions()
        settings.graph_optimization_level = getattr(
            onnxruntime.GraphOptimizationLevel, _LEVELS[self._options.graph_optimization]
        )
        settings.intra_op_num_threads = self._threads
        settings.add_session_config_entry(_RECORD_PLACEMENT, "1")
        if self._context.profiled and not self._lanes:
            settings.enable_profiling = True
            settings.profile_file_prefix = str(self._context.scratch / "nodes")
        providers = None
        if self._provider == "tensorrt_rtx":
            devices = ort_plugin.devices(self._context)
            settings.add_provider_for_devices(devices, ort_plugin.options(self._case, self._context, stream))
        else:
            device, search = self._context.device, self._options.cudnn_search
            providers = ort_providers.options(self._case, device, self._provider, stream, search)
        session = onnxruntime.InferenceSession(str(self._folder / onnx_manifest.MODEL), settings, providers=providers)
        running = session.get_providers()[0]
        if running != ort_providers.NAMES[self._provider]:
            what = f"onnxruntime fell back to {running}: {ort_providers.NAMES[self._provider]} could not be loaded"
            raise Unavailable(what, fix="install the CUDA, cuDNN and TensorRT versions that this onnxruntime-gpu names")
        return session


@contextlib.contextmanager
def _errors(folder: Path) -> Iterator[None]:
    """ONNX Runtime's exceptions as the error tree; they have no common base, and they are recognised by name."""
    try:
        yield
    except (BenchError, MemoryError):
        raise
    except Exception as error:
        text = " ".join(str(error).replace(f"{folder}{os.sep}", "").split())[:500]
        case_error: CaseError | None = None
        if OUT_OF_MEMORY.search(text):
            case_error = OutOfMemory(text, fix=LESS_MEMORY)
        elif type(error).__name__ in ("NotImplemented", "InvalidGraph", "EPFail", "ModelRequiresCompilation"):
            fix = _NO_BFLOAT16 if "bfloat16" in text.lower() else ort_providers.NO_KERNEL
            case_error = Unsupported(f"ONNX Runtime cannot run this file: {text}", fix=fix)
        if case_error is None:
            raise
        raise case_error from error


def default_threads() -> int:
    """OMP_NUM_THREADS, else the physical cores that this process may use: torch's own default."""
    setting = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]
    if setting.isdigit() and int(setting) > 0:
        return int(setting)
    cpus = os.sched_getaffinity(0)
    cores = set()
    for cpu in cpus:
        try:
            cores.add(Path(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list").read_text())
        except OSError:
            return len(cpus)
    return len(cores)


BACKEND = OnnxRuntime()
