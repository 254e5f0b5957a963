"""TensorRT or TensorRT-RTX, opened: its module, its log, its errors, and the engines of its plans."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib
import itertools
import re
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from bench.errors import OUT_OF_MEMORY, CaseError, OutOfMemory, Unavailable, Unsupported
from bench.model.distributions import install
from bench.runtimes import memory

_DRIVER = "to see the GPU and whether its driver is new enough for this TensorRT's CUDA: nvidia-smi"


class Product(NamedTuple):
    """TensorRT, or TensorRT-RTX: its ``module`` in Python, the ``library`` that has its version, the ``first`` version
    that works here, and whether it builds engines on a machine without a GPU.
    """

    name: str
    module: str
    library: str
    first: tuple[int, int]
    needs_gpu: bool = True


TENSORRT = Product("TensorRT", "tensorrt", "libnvinfer", (8, 6))
RTX = Product("TensorRT-RTX", "tensorrt_rtx", "libtensorrt_rtx", (1, 6), needs_gpu=False)
_RTX_API = 11  # the major version of TensorRT whose names and typing TensorRT-RTX 1 has
_MAX_LINES = 500  # lines of the log
_AGAIN = "--cold, or delete the engine from the cache, to build it again"
_DAMAGED = "the plan ({nbytes:,} bytes) is damaged or cut short"
_PLUGIN = "the plan needs a plugin that is not loaded"
_NO_SUCH_GPU = "{version} does not run on this GPU"
_OTHER_GPUS = "the plan was made for GPUs of other compute capabilities"
# What to do, by the meaning; by default to build again.
_FIXES = {
    _PLUGIN: "name the library that has it: plugins: [libplugin.so]",
    _NO_SUCH_GPU: "a GPU of a compute capability that is named here, or another backend",
    _OTHER_GPUS: "compute_capabilities: current, or a list with that of this GPU",
}
# What the log says of a plan that is refused, what that means, and the error that it is.
_PLAN_ERRORS: tuple[tuple[str, str, type[CaseError]], ...] = (
    (r"version tag|not compatible with this version", "the plan was not made by {version}", Unsupported),
    (r"incompatible device", "the plan was made for another GPU", Unsupported),
    (r"does not support this compute capability", _NO_SUCH_GPU, Unsupported),
    (r"cannot run on this GPU", _OTHER_GPUS, Unsupported),
    (r"cudaError (35|100)\b|Error reading CUDA GPU properties", "{version} finds no usable GPU", Unavailable),
    (r"plugin", _PLUGIN, Unsupported),
    (r"magic ?tag|serialization|empty memory|not found in plan|in readHeader", _DAMAGED, CaseError),
)
# What TensorRT-RTX adds to its messages, of other causes, where there is no driver, and once in every process.
NOISE = re.compile(r"checkMacros\.cpp::catchCudaError|^Thread context has not been set")


class Line(NamedTuple):
    """One message of TensorRT; ``severity`` is WARNING, ERROR or INTERNAL_ERROR."""

    severity: str
    text: str


class Log:
    """TensorRT's messages at WARNING and above in this process; ``logger`` is the object to pass to TensorRT."""

    def __init__(self, trt: Any) -> None:
        self.lines: deque[Line] = deque(maxlen=_MAX_LINES)
        self._reader: Callable[[str], None] | None = None
        log, lines = self, self.lines

        class Logger(trt.ILogger):  # type: ignore[misc]
            def __init__(self) -> None:
                trt.ILogger.__init__(self)

            def log(self, severity: Any, text: str) -> None:  # called from TensorRT's threads
                if severity.name in ("WARNING", "ERROR", "INTERNAL_ERROR"):
                    lines.append(Line(severity.name, text.strip()))
                elif log._reader is not None:
                    log._reader(text)

        self.logger = Logger()

    @contextlib.contextmanager
    def read_by(self, reader: Callable[[str], None] | None) -> Iterator[None]:
        """Call ``reader`` with the text of each message below WARNING that comes in the block."""
        self._reader = reader
        try:
            yield
        finally:
            self._reader = None

    def newest(self) -> Line | None:
        """The last message, for ``since``; None where there is none."""
        return self.lines[-1] if self.lines else None

    def since(self, mark: Line | None) -> list[Line]:
        """The messages after ``mark``, oldest first: all that are kept if it is None, or no longer among these."""
        return list(itertools.takewhile(lambda line: line is not mark, reversed(tuple(self.lines))))[::-1]

    def errors(self) -> list[str]:
        """The messages above WARNING, oldest first, each once, less those that follow any other without a driver."""
        texts = dict.fromkeys(line.text for line in tuple(self.lines) if line.severity != "WARNING")
        return [text for text in texts if not NOISE.search(text)]

    def warnings(self) -> list[str]:
        """The messages of severity WARNING, oldest first, each once."""
        return list(dict.fromkeys(line.text for line in tuple(self.lines) if line.severity == "WARNING"))


class Api(msgspec.Struct, frozen=True, eq=False):
    """TensorRT, opened. ``version`` is that of the bindings, ``library`` of its library (empty if unknown)."""

    module: Any
    version: str
    library: str
    log: Log
    product: Product = TENSORRT

    @property
    def major(self) -> int:
        """8, 10 or 11: the version of TensorRT whose API this has."""
        return _RTX_API if self.product is RTX else numbers(self.version)[0]

    @property
    def name(self) -> str:
        """``TensorRT 8.6.1``, with the library's version where it is another."""
        return full_name(self.product, self.version, self.library)


def full_name(product: Product, version: str, library: str) -> str:
    """``TensorRT 8.6.1 (libnvinfer 8.6.0)`` for a package of ``version``; without what is in brackets where both are
    the same, or that of the ``library`` is not known.
    """
    same = not library or numbers(library) == numbers(version)
    return f"{product.name} {version}" + ("" if same else f" ({product.library} {library})")


# --------------------------------------------------------------------------------------------------------- opening it


def open_api(plugins: Sequence[Path] = (), device: str = "cuda:0", product: Product = TENSORRT) -> Api:
    """``product`` on ``device``, with its own plugins registered and the libraries of ``plugins`` loaded.

    Raises:
        Unavailable: no package, no libraries, libraries of another version, a version that is too old, no usable GPU
            where one is needed, or a plugin library that cannot be loaded.
    """
    trt = _import(product)
    version = str(trt.__version__)
    if numbers(version)[:2] < product.first:
        first = ".".join(map(str, product.first))
        what = f"{product.name} {version} is too old: {first} is the first that works"
        raise Unavailable(what, fix=install(product.module))
    library = _library_version(product, numbers(version)[0])
    if library and numbers(library)[:2] != numbers(version)[:2]:
        raise Unavailable(
            f"{product.name}'s bindings are version {version}, the {product.library} that was found is {library}",
            fix=f"install libraries of version {version}, or take the others off LD_LIBRARY_PATH",
        )
    if device != "cpu" or product.needs_gpu:
        _set_device(device, product)
    api = Api(trt, version, library, _log_of(trt), product)
    if not trt.init_libnvinfer_plugins(api.log.logger, ""):
        raise refusal(api, f"{product.name}'s own plugins cannot be registered")
    for path in plugins:
        _load_plugin(api, path)
    return api


def _set_device(device: str, product: Product) -> None:
    """Before anything of TensorRT: without a driver, 8.6 ends the process in place of raising."""
    try:
        memory.cuda("cudaSetDevice", int(device.partition(":")[2] or 0))
    except RuntimeError as error:
        raise Unavailable(f"{product.name} needs an NVIDIA GPU: {error}", fix=_DRIVER) from error


def preload(product: Product = TENSORRT) -> None:
    """Import TensorRT, with the errors of ``open_api``; no GPU is touched."""
    _import(product)


def _import(product: Product) -> Any:
    command = install(product.module)
    try:
        return importlib.import_module(product.module)
    except ModuleNotFoundError as error:
        raise Unavailable(f"the package {error.name!r} is not installed", fix=command) from error
    except (ImportError, OSError) as error:
        text = str(error)
        if "cannot open shared object file" in text:
            what = f"{product.name}'s bindings are installed, its libraries are not found"
            fix = "install the libraries of the same version, or add their folder to the toolchain's LD_LIBRARY_PATH"
        elif "undefined symbol" in text:
            what = f"{product.name}'s bindings and libraries are of different versions"
            package = command.split()[-1]  # of "pip install PACKAGE"
            fix = f"install both in the same version: pip install --force-reinstall {package}==VERSION"
        else:
            what, fix = f"{product.name} is installed but cannot be imported", command
        raise Unavailable(f"{what}: {text}", fix=fix) from error


def _library_version(product: Product, major: int) -> str:
    """The version of the loaded library; empty if it is not found under its standard name."""
    try:
        return version_text(int(ctypes.CDLL(f"{product.library}.so.{major}").getInferLibVersion()))
    except (OSError, AttributeError):
        return ""


def version_text(number: int) -> str:
    """``8.6.0`` for what ``getInferLibVersion`` returns: 8600, but 101601 of version 10.16.1."""
    base = 1000 if number < 10_000 else 10_000
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


def numbers(version: str) -> tuple[int, ...]:
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
    error = refusal(api, f"{api.product.name} cannot load this plan")
    if isinstance(error, OutOfMemory):
        return error
    for pattern, cause, kind in _PLAN_ERRORS:
        if re.search(pattern, error.what, re.IGNORECASE):
            fix = _DRIVER if kind is Unavailable else _FIXES.get(cause, _AGAIN)
            return kind(f"{cause.format(version=api.name, nbytes=nbytes)}: {error.what}", fix=fix)
    return error
