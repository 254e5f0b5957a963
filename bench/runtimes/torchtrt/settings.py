"""The versions of torch_tensorrt: whether it is installed and compatible, its settings, and its errors."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import importlib.metadata
import inspect
import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import msgspec

from bench.errors import Unavailable, Unsupported
from bench.machine.environment import slugify
from bench.model import seam
from bench.model.data import Data
from bench.model.distributions import TENSORRT, TENSORRT_RTX, TORCH_TENSORRT, install
from bench.model.seam import Context, Missing
from bench.model.suite import Case, resolve_shapes
from bench.runtimes import packages
from bench.runtimes.torch import errors, precision
from bench.runtimes.trt import library
from bench.units import parse_size

if TYPE_CHECKING:
    import torch

Ir = Literal["dynamo", "torch_compile", "ts", "fx"]
# Where an option exists; those that are not here exist everywhere.
_EXISTS: dict[str, tuple[Ir, ...]] = {
    "optimization_level": ("dynamo", "torch_compile"),
    "require_full_compilation": ("dynamo", "ts"),
    "use_python_runtime": ("dynamo", "torch_compile"),
    "truncate_double": ("dynamo", "torch_compile", "ts"),
}
OLD_TOOLCHAIN = (
    "a toolchain of Python 3.11, made by pip install torch-tensorrt==2.2.0 torch==2.2.0 tensorrt==8.6.1 'numpy<2'"
)
BUILDER_LEVEL = 3  # TensorRT's default
_MAX_OPERATORS = 5


class Options(seam.Options, frozen=True, kw_only=True):
    """``ir`` is how torch_tensorrt reads the model; ``fx`` is the original fx2trt. ``null`` is the version's default.

    ``workspace`` is in bytes or ``2 GiB``. ``min_block_size`` is the least number of nodes that become an engine.
    ``use_python_runtime`` runs engines from Python. ``truncate_double`` makes float32 of float64, and in old
    versions and ``ts`` int32 of int64 too.
    """

    ir: Ir = "dynamo"
    workspace: Annotated[int, msgspec.Meta(gt=0)] | str | None = None
    optimization_level: Annotated[int, msgspec.Meta(ge=0, le=5)] | None = None
    min_block_size: Annotated[int, msgspec.Meta(ge=1)] | None = None
    require_full_compilation: bool = False
    use_python_runtime: bool = False
    truncate_double: bool = False

    def __post_init__(self) -> None:
        for name, irs in _EXISTS.items():
            if getattr(self, name) not in (None, False) and self.ir not in irs:
                raise ValueError(f"ir {self.ir} has no {name}; {', '.join(irs)} have it")
        if isinstance(self.workspace, str) and parse_size(self.workspace) <= 0:
            raise ValueError(f"workspace: {self.workspace!r} is no memory")

    @property
    def workspace_bytes(self) -> int | None:
        """``workspace`` as a number."""
        return parse_size(self.workspace) if isinstance(self.workspace, str) else self.workspace


class ModuleInfo(Data, frozen=True, kw_only=True):
    """The description of a compiled module: its output names in order, its entries of the fairness report, and the
    operators in it that are not torch's, which must be there when it is loaded.
    """

    names: tuple[str, ...]
    fairness: dict[str, Any] = msgspec.field(name="told")  # the key in stored build.json files
    operators: tuple[str, ...] = ()


# ------------------------------------------------------------------------------------------------------ what is there


def version(*distributions: str) -> tuple[int, ...]:
    """The first two numbers of the version of the first that is installed; empty if none is."""
    for name in distributions:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return tuple(int(number) for number in re.findall(r"\d+", importlib.metadata.version(name))[:2])
    return ()


def product() -> library.Product:
    """TensorRT-RTX if the distribution for it is installed, which torch_tensorrt goes by itself; else TensorRT."""
    return library.RTX if version("torch-tensorrt-rtx") else library.TENSORRT


def missing() -> Missing | None:
    """torch, torch_tensorrt, its TensorRT, or a torch_tensorrt built for another version of torch."""
    torch_version, own_version = version("torch"), version(*TORCH_TENSORRT)
    fitting = install("torch_tensorrt")
    if torch_version:
        name = TORCH_TENSORRT[product() is library.RTX]
        fitting = f"pip install '{name}=={torch_version[0]}.{torch_version[1]}.*'"
    commands = {"torch_tensorrt": fitting, product().module: fitting}  # it brings the TensorRT that it needs
    absent = packages.first_missing("torch", *commands, commands=commands)
    if absent is None and own_version and own_version != torch_version:
        numbers = [".".join(map(str, parts)) for parts in (own_version, torch_version)]
        return Missing(reason=f"torch_tensorrt {numbers[0]} cannot work beside torch {numbers[1]}", fix=fitting)
    return absent


@contextlib.contextmanager
def session(options: Options, context: Context) -> Iterator[library.Api]:
    """TensorRT and torch_tensorrt imported (phase ``import``) inside a session of torch.

    Unavailable if something is absent, does not fit together, or does not have the ``ir`` of the options.
    """
    absent = missing()
    if absent is not None:
        raise Unavailable(absent.reason, fix=absent.fix)
    if options.ir == "fx":
        _check_fx()
    with context.phase("import"):
        api = library.open_api(device=context.device, product=product())
        # TensorRT keeps the first logger that it is given. Not for ts: its builder, in C++, holds the lock that a
        # logger in Python waits for.
        first = options.ir != "ts" and library.create(api, "a runtime", lambda: api.module.Runtime(api.log.logger))
        _import()
    yield api
    del first


def _check_fx() -> None:
    own_version, tensorrt = version(*TORCH_TENSORRT), version(*TENSORRT, *TENSORRT_RTX)
    if own_version > (2, 2) or tensorrt >= (10,):
        what = ".".join(map(str, own_version)), ".".join(map(str, tensorrt))
        raise Unavailable(
            "ir fx is the original fx2trt, which builds engines by what TensorRT 10 removed: torch_tensorrt 2.2 with "
            f"TensorRT 8.6 is the last that runs it; here are {what[0]} and {what[1]}",
            fix=OLD_TOOLCHAIN,
        )


def _import() -> None:
    try:
        importlib.import_module("torch_tensorrt")
    except (ImportError, OSError, RuntimeError, AttributeError) as error:
        lines = str(error).strip().splitlines() or [type(error).__name__]
        fix = "in the version of torch, with the TensorRT it needs: pip install --force-reinstall torch-tensorrt"
        raise Unavailable(f"torch_tensorrt is installed but cannot be imported: {lines[0]}", fix=fix) from error


# ------------------------------------------------------------------------------------------------------ what is asked


def cache_file(api: library.Api, context: Context) -> Path:
    """The file of TensorRT's timing cache: one for each version and GPU, kept for build 0 of a run that is not cold."""
    import torch

    if context.shared is None or context.build:
        return context.scratch / "timing.cache"
    folder = context.shared / "torch_tensorrt"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{api.version}-{slugify(torch.cuda.get_device_name(context.device))}.cache"


def settings(case: Case, options: Options, available: Iterable[str], cache: Path) -> dict[str, Any]:
    """The compiler's settings, by the names of this version (``available``).

    Types are those of the converted model, enforced in the engine (strong typing) if the version can. TF32 is off
    unless the precision is tf32. Unsupported for an option that the version does not have.
    """
    available = frozenset(available)
    truncate = "truncate_double" if "truncate_double" in available else "truncate_long_and_double"
    choices = {
        "disable_tf32": case.precision != "tf32" or None,
        "workspace_size": options.workspace_bytes,
        "optimization_level": options.optimization_level,
        "min_block_size": options.min_block_size,
        "require_full_compilation": options.require_full_compilation or None,
        "use_python_runtime": options.use_python_runtime or None,
        truncate: options.truncate_double or None,
    }
    choices = {name: value for name, value in choices.items() if value is not None}
    if unknown := [name for name in choices if name not in available]:
        raise Unsupported(f"this torch_tensorrt has no setting {unknown[0]} for ir {options.ir}")
    defaults: dict[str, Any] = {
        "pass_through_build_failures": True,  # else torch.compile goes on without TensorRT
        "timing_cache_path": str(cache),
        "cache_built_engines": False,
        "reuse_cached_engines": False,
        # 2.2 only: its ExportedProgram of a compiled module cannot be called (the engine's node has no valid name).
        "output_format": "graph_module" if options.use_python_runtime else "torchscript",
    }
    if "use_explicit_typing" in available:
        defaults["use_explicit_typing"] = True
    else:
        defaults["enabled_precisions"] = {precision.dtype(case.precision)}
    return {name: value for name, value in defaults.items() if name in available} | choices


def settings_report(values: Mapping[str, Any], api: library.Api, cache: str) -> dict[str, Any]:
    """The settings that belong in the fairness report; ``cache`` is the timing cache's state, warm or cold."""
    return {
        "strongly_typed": bool(values.get("use_explicit_typing")) or api.major >= 11,
        "optimization_level": values.get("optimization_level", BUILDER_LEVEL),
        "timing_cache": cache if "timing_cache_path" in values else "off",
    }


def runtime_cache(api: library.Api) -> dict[str, str]:
    """For the fairness report of TensorRT-RTX: whether earlier processes have left kernels in torch_tensorrt's file for
    them, which it writes at the end of a process.
    """
    if api.product is not library.RTX:
        return {}
    defaults = importlib.import_module("torch_tensorrt.dynamo._defaults")
    return {"runtime_cache": "warm" if Path(defaults.RUNTIME_CACHE_PATH).is_file() else "cold"}


def setting_names(ir: Ir) -> frozenset[str]:
    """The settings that this version has for ``ir``; the compilers themselves ignore names they do not know."""
    import torch_tensorrt

    if ir != "torch_compile":
        compiler = torch_tensorrt.ts.compile if ir == "ts" else torch_tensorrt.dynamo.compile
        names = set(inspect.signature(compiler).parameters)
    else:
        names = {field.name for field in dataclasses.fields(torch_tensorrt.dynamo.CompilationSettings)}
        if "precision" in names:  # 2.2 stores it by this name
            names.add("enabled_precisions")
    # TensorRT-RTX times no kernels; the setting is there and ignored.
    return frozenset(names - {"timing_cache_path"} if product() is library.RTX else names)


def specs(case: Case, example: Mapping[str, torch.Tensor]) -> list[Any]:
    """The inputs as torch_tensorrt wants them: the tensors, or where sizes are dynamic their ranges."""
    import torch_tensorrt

    if not case.dynamic:
        return list(example.values())
    ranges = {}
    for end in ("min", "opt", "max"):
        sizes = case.symbols | {name: getattr(span, end) for name, span in case.dynamic.items()}
        ranges[end] = resolve_shapes(case.inputs, sizes)
    return [
        torch_tensorrt.Input(
            dtype=tensor.dtype, **{f"{end}_shape": inputs[name].shape for end, inputs in ranges.items()}
        )
        for name, tensor in example.items()
    ]


# ------------------------------------------------------------------------------------------------------------- errors


@contextlib.contextmanager
def refusals(api: library.Api, what: str) -> Iterator[None]:
    """Any error of the block that has no kind of its own is Unsupported (OutOfMemory, if TensorRT says so).

    The message has TensorRT's errors, and the operators without a converter if torch_tensorrt logs them.
    """
    with _listening(api) as operators:
        try:
            with errors.translate(what):
                yield
        except Unsupported as error:
            text = error.what + (f"; without a converter: {', '.join(operators)}" if operators else "")
            case_error = library.refusal(api, text) if api.log.errors() else Unsupported(text, fix=error.fix)
            raise case_error from error


@contextlib.contextmanager
def _listening(api: library.Api) -> Iterator[list[str]]:
    """What torch_tensorrt logs: TensorRT's errors go to ``api.log``, operators without a converter to the list."""
    operators: list[str] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            text = record.getMessage()
            if "Unsupported or Excluded Nodes" in text:
                operators[:] = list(dict.fromkeys(re.findall(r"^- (\S+)", text, re.MULTILINE)))[:_MAX_OPERATORS]
            elif record.levelno >= logging.ERROR:
                api.log.lines.append(library.Line("ERROR", text.strip()))

    # The first is not a child of the second: its name goes on without a dot.
    levels = {"torch_tensorrt [TensorRT Conversion Context]": None, "torch_tensorrt.dynamo.partitioning": logging.DEBUG}
    with contextlib.ExitStack() as stack:
        listener = Listener()
        for name, level in levels.items():
            logger = logging.getLogger(name)
            before, passes = logger.level, logger.propagate
            logger.addHandler(listener)
            stack.callback(logger.removeHandler, listener)
            if level is not None:
                stack.callback(logger.setLevel, before)
                stack.callback(setattr, logger, "propagate", passes)
                logger.setLevel(level)
                logger.propagate = False
        yield operators
