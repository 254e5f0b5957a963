"""The one module that knows how TensorRT 8.6, 10 and 11 differ: opening it, its log, flags, types and settings."""

from __future__ import annotations

import ctypes
import functools
import importlib
import re
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from bench.errors import OUT_OF_MEMORY, CaseError, OutOfMemory, Unavailable, Unsupported
from bench.model.distributions import install
from bench.runtimes import memory

_INSTALL = install("tensorrt")
_DRIVER = "nvidia-smi, to see the GPU and whether its driver is new enough for this TensorRT's CUDA"
_FIRST = (8, 6)
# TensorRT's type -> the name that numpy, or ml_dtypes where numpy has none, gives it.
_DTYPES = {
    "FLOAT": "float32", "HALF": "float16", "BF16": "bfloat16", "INT64": "int64", "INT32": "int32", "INT8": "int8",
    "UINT8": "uint8", "BOOL": "bool", "FP8": "float8_e4m3fn", "INT4": "int4", "FP4": "float4_e2m1fn",
    "E8M0": "float8_e8m0fnu",
}  # fmt: skip
_MEMBERS = {name: member for member, name in _DTYPES.items()}
_MAX_LINES = 500  # lines of the log
_AGAIN = "--cold, or delete the engine from the cache, to build it again"
_DAMAGED = "the plan ({nbytes:,} bytes) is damaged or cut short"
_PLUGIN = "the plan needs a plugin that is not loaded"
_PLUGIN_FIX = "name the library that has it: plugins: [libplugin.so]"
# What the log says of a plan that is refused, what that means, and the error that it is.
_PLAN_ERRORS: tuple[tuple[str, str, type[CaseError]], ...] = (
    (r"version tag|not compatible with this version", "the plan was not made by {version}", Unsupported),
    (r"incompatible device", "the plan was made for another GPU", Unsupported),
    (r"plugin", _PLUGIN, Unsupported),
    (r"magic ?tag|serialization|empty memory|not found in plan", _DAMAGED, CaseError),
)
_NODE_NUMBER = re.compile(r"While parsing node number (\d+) \[(\S+)")
_NODE_NAME = re.compile(r'^name: "([^"]+)"', re.MULTILINE)


class Line(NamedTuple):
    """One message of TensorRT; ``severity`` is WARNING, ERROR or INTERNAL_ERROR."""

    severity: str
    text: str


class Log:
    """TensorRT's messages at WARNING and above in this process; ``logger`` is the object to pass to TensorRT."""

    def __init__(self, trt: Any) -> None:
        self.lines: deque[Line] = deque(maxlen=_MAX_LINES)
        lines = self.lines

        class Logger(trt.ILogger):  # type: ignore[misc]
            def __init__(self) -> None:
                trt.ILogger.__init__(self)

            def log(self, severity: Any, text: str) -> None:  # called from TensorRT's threads
                if severity.name in ("WARNING", "ERROR", "INTERNAL_ERROR"):
                    lines.append(Line(severity.name, text.strip()))

        self.logger = Logger()

    def errors(self) -> list[str]:
        """The messages above WARNING, oldest first, each once."""
        return list(dict.fromkeys(line.text for line in tuple(self.lines) if line.severity != "WARNING"))

    def warnings(self) -> list[str]:
        """The messages of severity WARNING, oldest first, each once."""
        return list(dict.fromkeys(line.text for line in tuple(self.lines) if line.severity == "WARNING"))


class Api(msgspec.Struct, frozen=True, eq=False):
    """TensorRT, opened. ``version`` is that of the bindings, ``library`` of libnvinfer (empty if unknown)."""

    module: Any
    version: str
    library: str
    log: Log

    @property
    def major(self) -> int:
        """8, 10 or 11."""
        return _numbers(self.version)[0]

    @property
    def name(self) -> str:
        """``TensorRT 8.6.1``, with the library's version where it is another."""
        same = not self.library or _numbers(self.library) == _numbers(self.version)
        return f"TensorRT {self.version}" + ("" if same else f" (libnvinfer {self.library})")


# --------------------------------------------------------------------------------------------------------- opening it


def open_api(plugins: Sequence[Path] = (), device: str = "cuda:0") -> Api:
    """TensorRT on ``device``, with its own plugins registered and the libraries of ``plugins`` loaded.

    Raises:
        Unavailable: no package, no libraries, libraries of another version, a version below 8.6, no usable GPU, or a
            plugin library that cannot be loaded.
    """
    trt = _import()
    version = str(trt.__version__)
    if _numbers(version)[:2] < _FIRST:
        raise Unavailable(f"TensorRT {version} is too old: 8.6 is the first that works", fix=_INSTALL)
    library = _library_version(_numbers(version)[0])
    if library and _numbers(library)[:2] != _numbers(version)[:2]:
        raise Unavailable(
            f"TensorRT's bindings are version {version}, the libnvinfer that was found is {library}",
            fix=f"install libraries of version {version}, or take the others off LD_LIBRARY_PATH",
        )
    # Before anything of TensorRT: without a driver, 8.6 ends the process in place of raising.
    try:
        memory.cuda("cudaSetDevice", int(device.partition(":")[2] or 0))
    except RuntimeError as error:
        raise Unavailable(f"TensorRT needs an NVIDIA GPU: {error}", fix=_DRIVER) from error
    api = Api(trt, version, library, _log_of(trt))
    if not trt.init_libnvinfer_plugins(api.log.logger, ""):
        raise refusal(api, "TensorRT's own plugins cannot be registered")
    for path in plugins:
        _load_plugin(api, path)
    return api


def preload() -> None:
    """Import TensorRT, with the errors of ``open_api``; no GPU is touched."""
    _import()


def _import() -> Any:
    try:
        return importlib.import_module("tensorrt")
    except ModuleNotFoundError as error:
        raise Unavailable(f"the package {error.name!r} is not installed", fix=_INSTALL) from error
    except (ImportError, OSError) as error:
        text = str(error)
        if "cannot open shared object file" in text:
            what = "TensorRT's bindings are installed, its libraries are not found"
            fix = "install the libraries of the same version, or add their folder to the toolchain's LD_LIBRARY_PATH"
        elif "undefined symbol" in text:
            what = "TensorRT's bindings and libraries are of different versions"
            fix = "install both in the same version: pip install --force-reinstall tensorrt-cu12==VERSION"
        else:
            what, fix = "TensorRT is installed but cannot be imported", _INSTALL
        raise Unavailable(f"{what}: {text}", fix=fix) from error


def _library_version(major: int) -> str:
    """The version of the loaded libnvinfer; empty if it is not found under its standard name."""
    try:
        number = int(ctypes.CDLL(f"libnvinfer.so.{major}").getInferLibVersion())
    except (OSError, AttributeError):
        return ""
    base = 1000 if number < 10_000 else 10_000  # 8600, but 101601
    return f"{number // base}.{number % base // 100}.{number % 100}"


@functools.cache
def _log_of(trt: Any) -> Log:
    """TensorRT keeps the first logger of a process for all that follows."""
    return Log(trt)


def _load_plugin(api: Api, path: Path) -> None:
    """A library registers its plugins when it is loaded, or exports a list that the registry reads."""
    try:
        library = ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
    except OSError as error:
        fix = "correct the path, relative to the suite, or install what the library needs (ldd shows it)"
        raise Unavailable(f"the plugin library {path.name} cannot be loaded: {error}", fix=fix) from error
    registry = api.module.get_plugin_registry()
    if not any(hasattr(library, name) for name in ("getPluginCreators", "getCreators")):
        return
    if registry.load_library(str(path)) is None and "already registered" not in " ".join(api.log.errors()):
        raise refusal(api, f"TensorRT cannot register the plugins of {path.name}")


def _numbers(version: str) -> tuple[int, ...]:
    """``11.4.0.106`` -> (11, 4, 0)."""
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])


# ------------------------------------------------------------------------------------------------------------- errors


def refusal(api: Api, what: str) -> CaseError:
    """The error for something that TensorRT did not do, with the last lines of its log, which alone has the reason."""
    messages = (api.log.errors() or api.log.warnings())[-5:]
    text = f"{what}: {' | '.join(messages)}" if messages else f"{what}, and its log does not say why"
    if any(OUT_OF_MEMORY.search(line) for line in messages):
        return OutOfMemory(text, fix="a smaller batch, a smaller workspace, or a device with more memory")
    return Unsupported(text)


def create(api: Api, what: str, make: Callable[[], Any]) -> Any:
    """The object that ``make`` returns; an error if it is None, which is how TensorRT reports a failure.

    A constructor raises TypeError instead if there is no GPU, or the driver is too old.
    """
    try:
        result = make()
    except TypeError as error:
        if "nullptr" not in str(error):
            raise
        cause = refusal(api, f"TensorRT could not make {what}")
        if isinstance(cause, OutOfMemory):
            raise cause from error
        raise Unavailable(cause.what, fix=_DRIVER) from error
    if result is None:
        raise refusal(api, f"TensorRT could not make {what}")
    return result


def deserialize(api: Api, plan: bytes, *, host_code: bool = False) -> Any:
    """The engine of a plan. ``host_code`` allows the code that a version-compatible plan brings along.

    Raises:
        CaseError: the plan is damaged.
        Unsupported: it was made by another version, for another GPU, or needs a plugin that is not loaded.
        OutOfMemory: its weights do not fit.
    """
    runtime = create(api, "a runtime", lambda: api.module.Runtime(api.log.logger))
    if host_code:
        runtime.engine_host_code_allowed = True
    engine = runtime.deserialize_cuda_engine(plan)
    if engine is None:
        raise _plan_error(api, len(plan))
    return engine


def _plan_error(api: Api, nbytes: int) -> CaseError:
    """Why a plan was refused, which only the log tells."""
    error = refusal(api, "TensorRT cannot load this plan")
    if isinstance(error, OutOfMemory):
        return error
    for pattern, cause, kind in _PLAN_ERRORS:
        if re.search(pattern, error.what, re.IGNORECASE):
            fix = _PLUGIN_FIX if cause == _PLUGIN else _AGAIN
            return kind(f"{cause.format(version=api.name, nbytes=nbytes)}: {error.what}", fix=fix)
    return error


# --------------------------------------------------------------------------------------------------- shapes and types


def dims(shape: Any) -> tuple[int, ...]:
    """A TensorRT shape as a tuple, -1 for a dynamic size. Unsupported if the rank is not known."""
    try:
        return tuple(int(size) for size in shape)
    except (TypeError, ValueError) as error:  # None, or a rank of -1
        raise Unsupported("TensorRT does not know the rank of a tensor here") from error


def dtype_name(dtype: Any) -> str:
    """``DataType.HALF`` -> ``float16``: the name that ``seam.Buffer`` uses; fp8 is ``float8_e4m3fn``."""
    return _DTYPES[dtype.name]


def dtype(api: Api, name: str) -> Any:
    """``float16`` -> ``DataType.HALF``. Unsupported if this version has no such type."""
    member = getattr(api.module.DataType, _MEMBERS.get(name, ""), None)
    if member is None:
        raise Unsupported(f"{api.name} has no type {name}")
    return member


def names_in(enum: Any, mask: int) -> list[str]:
    """The names of an enum's members whose bits are set, e.g. of ``TacticSource``."""
    return sorted(name for name, member in enum.__members__.items() if mask >> int(member) & 1)


def device_memory(engine: Any) -> int:
    """Bytes of device memory that one execution context needs besides weights, inputs and outputs."""
    if hasattr(engine, "device_memory_size_v2"):
        return int(engine.device_memory_size_v2)
    return int(engine.device_memory_size)


# ------------------------------------------------------------------------------------------------- building by version


def strongly_typed(api: Api, choice: bool | None) -> bool:
    """Whether types are those of the network alone: since 10 unless ``choice`` is False, always since 11."""
    flag = getattr(api.module.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    if choice and flag is None:
        raise Unsupported(f"{api.name} has no strongly typed networks; 10.0 is the first", fix="strongly_typed: false")
    if choice is False and api.major >= 11:
        raise Unsupported(f"{api.name} has strongly typed networks only", fix="leave strongly_typed out")
    return flag is not None if choice is None else choice


def new_network(api: Api, builder: Any, strong: bool) -> Any:
    """An empty network of explicit batch."""
    flags = api.module.NetworkDefinitionCreationFlag
    names = ["EXPLICIT_BATCH"] * (api.major < 10) + ["STRONGLY_TYPED"] * strong
    mask = sum(1 << int(getattr(flags, name)) for name in names)
    return create(api, "a network", lambda: builder.create_network(mask))


def precision_flags(api: Api, precision: str, strong: bool) -> list[str]:
    """The builder flags that permit ``precision``; a typed network needs none.

    Unsupported if this version lacks the type. TF32 is on by default everywhere: see ``set_flags``.
    """
    flag = {"fp16": "FP16", "bf16": "BF16", "int8": "INT8", "fp8": "FP8"}.get(precision)
    if flag is None:
        return []
    if api.major < 10 and precision in ("bf16", "fp8"):  # 8.6 has the name FP8 and nothing behind it
        raise Unsupported(f"{api.name} has no {precision}; TensorRT 10.0 is the first that has it")
    return [] if strong else [flag]


def set_flags(api: Api, config: Any, names: Iterable[str], *, tf32: bool) -> list[str]:
    """Set the builder flags called ``names``, TF32 on or off; the names of all that are set, read back."""
    flags = api.module.BuilderFlag
    for name in names:
        if not hasattr(flags, name):
            raise Unsupported(f"{api.name} has no builder flag {name}")
        config.set_flag(getattr(flags, name))
    if tf32:
        config.set_flag(flags.TF32)
    else:
        config.clear_flag(flags.TF32)
    return sorted(name for name, flag in flags.__members__.items() if config.get_flag(flag))


def set_property(api: Api, config: Any, name: str, value: Any) -> None:
    """Set a property of the builder's configuration and read it back: TensorRT ignores an invalid value silently."""
    setattr(config, name, value)
    if getattr(config, name) != value:
        raise refusal(api, f"TensorRT does not take {name} = {value}")


def set_workspace(api: Api, config: Any, nbytes: int) -> None:
    """Limit the scratch memory that kernels may use, in bytes."""
    pool = api.module.MemoryPoolType.WORKSPACE
    config.set_memory_pool_limit(pool, nbytes)
    if config.get_memory_pool_limit(pool) != nbytes:
        raise refusal(api, f"TensorRT does not take a workspace of {nbytes:,} bytes")


def set_tactic_sources(api: Api, config: Any, names: Sequence[str]) -> None:
    """Choose kernels from the libraries called ``names`` only. Unsupported for a name that this version lacks."""
    present = api.module.TacticSource.__members__
    if unknown := [name for name in names if name not in present]:
        raise Unsupported(f"{api.name} has no tactic source {unknown[0]!r}; it has {', '.join(sorted(present))}")
    if not config.set_tactic_sources(sum(1 << int(present[name]) for name in names)):
        raise refusal(api, f"TensorRT does not take the tactic sources {', '.join(names)}")


def set_hardware_compatibility(api: Api, config: Any, level: str) -> None:
    """``ampere_plus`` or ``same_compute_capability``: a plan for more GPUs than this one."""
    levels = api.module.HardwareCompatibilityLevel
    if not hasattr(levels, level.upper()):
        raise Unsupported(f"{api.name} has no hardware compatibility level {level}; TensorRT 10.9 has it")
    set_property(api, config, "hardware_compatibility_level", getattr(levels, level.upper()))


def share_profiles(api: Api, config: Any) -> None:
    """Let several contexts use one optimization profile: a preview feature in 8.6 and 10, the rule in 11."""
    feature = getattr(api.module.PreviewFeature, "PROFILE_SHARING_0806", None)
    if feature is not None:
        config.set_preview_feature(feature, True)


def progress(api: Api, config: Any, tell: Callable[[str], None]) -> None:
    """Have the builder report the progress of its phases through ``tell``; 8.6 cannot."""
    if not hasattr(api.module, "IProgressMonitor"):
        return
    base: Any = api.module.IProgressMonitor

    class Monitor(base):  # type: ignore[misc]
        def __init__(self) -> None:
            base.__init__(self)
            self._steps: dict[str, int] = {}

        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
            self._steps[phase] = max(steps, 1)

        def step_complete(self, phase: str, step: int) -> bool:
            steps = self._steps.get(phase, 1)
            if (step + 1) * 100 // steps > step * 100 // steps:  # at most once for each percent
                tell(f"{phase} {step + 1}/{steps}")
            return True  # False ends the build

        def phase_finish(self, phase: str) -> None:
            self._steps.pop(phase, None)

    config.progress_monitor = Monitor()


# ----------------------------------------------------------------------------------------------------------- the parser


def new_parser(api: Api, network: Any) -> Any:
    """An ONNX parser; it must live until the build has ended, as it owns the weights."""
    parser = create(api, "an ONNX parser", lambda: api.module.OnnxParser(network, api.log.logger))
    # Since 10 instance normalisation is a layer and no plugin by default. A parser of 8.6.0 lacks the call, which
    # bindings of 8.6.1 make all the same, and that ends the process.
    if api.major < 10 and _numbers(api.library or api.version) == _numbers(api.version):
        parser.set_flag(api.module.OnnxParserFlag.NATIVE_INSTANCENORM)
    return parser


def parser_errors(api: Api, parser: Any) -> list[str]:
    """Each error of the parser: the node's operator and name, where in the model it comes from, and what is wrong.

    A parser of 8.6 has only the node's number; its log has the rest.
    """
    nodes = _logged_nodes(api.log.errors())
    messages = []
    for index in range(parser.num_errors):
        error = parser.get_error(index)
        operator, name = nodes.get(error.node(), ("", ""))
        stack: list[str] = []
        if hasattr(error, "node_operator"):  # since 10
            operator, name, stack = error.node_operator(), error.node_name(), error.local_function_stack()
        place = " ".join(part for part in (operator, name, f"(node {error.node()})") if part)
        place += f" in {' > '.join(stack)}" if stack else ""
        messages.append(f"{place}: {error.desc().strip()}")
    return messages


def _logged_nodes(lines: Iterable[str]) -> dict[int, tuple[str, str]]:
    """Operator and name of each node that the parser's log prints: a line with its number, then the node as text."""
    nodes: dict[int, tuple[str, str]] = {}
    number = -1
    for line in lines:
        if start := _NODE_NUMBER.search(line):
            number = int(start[1])
            nodes[number] = (start[2], "")
        elif number >= 0 and (name := _NODE_NAME.search(line)):
            nodes[number] = (nodes[number][0], name[1])
            number = -1
    return nodes
