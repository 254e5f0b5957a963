"""``executor: cpp`` of TensorRT and TensorRT-RTX: an engine run by the C++ program."""

from __future__ import annotations

import contextlib
import ctypes.util
import importlib.metadata
import importlib.util
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from bench.errors import Unavailable
from bench.model.distributions import TENSORRT, TENSORRT_RTX, install
from bench.model.seam import Context, Stage
from bench.model.suite import Case
from bench.runtimes.cpp import building
from bench.runtimes.cpp.lanes import CppPrepared, Model
from bench.runtimes.cpp.program import Runner
from bench.runtimes.torch.exports import warning_report
from bench.runtimes.trt import builder, library
from bench.runtimes.trt.options import Options, RtxOptions

HEADER = "NvInfer.h"
_VERSIONS = "NvInferVersion.h"
_SYSTEM = ("/usr/include/x86_64-linux-gnu", "/usr/include/aarch64-linux-gnu", "/usr/include")
# What NvInfer.h includes, and what that includes: packages of Python have the two in different distributions.
_CUDA_HEADERS = ("cuda_runtime_api.h", "crt/host_defines.h")
_MAJOR = re.compile(r"#define\s+(?:NV_TENSORRT_MAJOR|TRT_MAJOR_ENTERPRISE)\s+(\d+)")
_MAJOR_RTX = re.compile(r"#define\s+TRT_MAJOR_RTX\s+(\d+)")
# Options that no engine depends on.
RUNNING = ("executor", "tensorrt_include")


class _Kit(NamedTuple):
    """What the program is built against for one of the two.

    The ``runtime`` that it then has, the ``distributions`` that tell the version, the modules whose ``folders`` have
    the library, the ``variable`` that names the headers' folder, the folders of the ``system`` that may have them, the
    macro of their ``major`` version, and where they come from.
    """

    runtime: building.Runtime
    distributions: tuple[str, ...]
    folders: tuple[str, ...]
    variable: str
    system: tuple[str, ...]
    major: re.Pattern[str]
    headers_from: str


_KITS = {
    library.TENSORRT: _Kit(
        "tensorrt",
        TENSORRT,
        ("tensorrt_libs", "tensorrt"),
        "TENSORRT_INCLUDE",
        (*_SYSTEM, "/opt/tensorrt/include"),
        _MAJOR,
        "apt-get install libnvinfer-headers-dev, or include/ of github.com/NVIDIA/TensorRT at this version",
    ),
    library.RTX: _Kit(
        "tensorrt_rtx",
        TENSORRT_RTX,
        ("tensorrt_rtx_libs", "tensorrt_rtx"),
        "TENSORRT_RTX_INCLUDE",
        ("/opt/tensorrt_rtx/include",),
        _MAJOR_RTX,
        "include/ of the archive of TensorRT-RTX: developer.nvidia.com/tensorrt-rtx (no package of Python has them)",
    ),
}


def is_deployed(case: Case) -> bool:
    """Whether the case is run by the C++ program."""
    return case.options.get("executor") == "cpp"


def unsupported(case: Case) -> str | None:
    """What the C++ program does not do, or None."""
    return building.unsupported(case) if is_deployed(case) else None


def runner_stage(case: Case, options: Options | RtxOptions, product: library.Product = library.TENSORRT) -> Stage:
    """The program, the same for all engines of a toolchain."""
    kit = _KITS[product]
    include = options.tensorrt_include or os.environ.get(kit.variable, "")
    return building.stage(case, kit.runtime, product.module, kit.distributions, include=include)


def produce_runner(
    options: Options | RtxOptions, context: Context, out: Path, product: library.Product = library.TENSORRT
) -> None:
    """Build the program against the library of this interpreter's package. Phases: configure, compile."""
    building.produce(_KITS[product].runtime, _installation(options.tensorrt_include, product), context, out)


@contextlib.contextmanager
def prepare(case: Case, options: Options, context: Context) -> Iterator[CppPrepared]:
    """The engine in the C++ program. Phases: import (the program starts, with its libraries), deserialize."""
    info = builder.read_info(context.artifacts["build"])
    plugins = (*_own_plugins(), *builder.libraries(options, context.suite_dir))
    model = _model(context, info, library.TENSORRT, plugins=plugins, host_code=info.version_compatible)
    with _opened(case, context, model, library.TENSORRT, {"timing_cache": info.timing_cache}) as prepared:
        yield prepared


@contextlib.contextmanager
def prepare_rtx(case: Case, options: RtxOptions, context: Context) -> Iterator[CppPrepared]:
    """The same of TensorRT-RTX. Phases: import, deserialize, and compile: kernels are, in the first call."""
    info = builder.read_info(context.artifacts["build"])
    names = ("kernel_specialization", "cuda_graph_strategy")
    strategies = {name: value for name in names if (value := getattr(options, name)) is not None}
    more = {
        "runtime_cache": "off",
        "kernel_specialization": options.kernel_specialization or "lazy",
        "cuda_graph_strategy": options.cuda_graph_strategy or "disabled",
        "compute_capabilities": ", ".join(info.compute_capabilities) or "default",
    }
    if options.cuda_graph_strategy == "whole_graph_capture":
        more["graph_capture"] = "backend"
    model = _model(context, info, library.RTX, strategies=strategies)
    with _opened(case, context, model, library.RTX, more) as prepared:
        with context.phase("compile"):
            (lane,) = prepared.lanes(1)
            lane.call()
            lane.read()
        yield prepared


def _model(context: Context, info: builder.BuildInfo, product: library.Product, **more: Any) -> Model:
    """What the program loads of an engine."""
    return Model(
        runtime=_KITS[product].runtime,
        artifact=context.artifacts["build"] / builder.PLAN,
        outputs=tuple(info.outputs),
        tensors={**info.inputs, **info.outputs},
        **more,
    )


@contextlib.contextmanager
def _opened(
    case: Case, context: Context, model: Model, product: library.Product, more: dict[str, Any]
) -> Iterator[CppPrepared]:
    """The program, started, with the model loaded."""
    info = builder.read_info(context.artifacts["build"])
    with contextlib.ExitStack() as stack:
        with context.phase("import"):
            runner = Runner(building.program_in(context.artifacts[building.STAGE], _version(product)))
            stack.callback(runner.close)
        with context.phase("deserialize"):
            prepared = CppPrepared(runner, model, case, context, _report(case, info, runner, product) | more)
        stack.callback(prepared.close)
        yield prepared


def _report(case: Case, info: builder.BuildInfo, runner: Runner, product: library.Product) -> dict[str, Any]:
    """The keys of the fairness report that do not need the bindings in Python."""
    tf32 = case.precision == "tf32"
    return {
        "runtime": library.full_name(product, _version(product), library.version_text(int(runner.facts["library"]))),
        "tf32": {"matmul": tf32, "cudnn": tf32},
        "memory_format": "contiguous",
        **({"exporter": info.exporter, "opset": info.opset} if info.exporter else {}),
        **warning_report(info.export_warnings),
        "strongly_typed": info.strongly_typed,
        "optimization_level": info.optimization_level,
        "tactic_sources": ", ".join(info.tactic_sources),
        **({"calibration": info.calibration} if info.calibration else {}),
        **({"deconvolutions": info.deconvolutions} if info.deconvolutions else {}),
        "engine": {
            "plan_bytes": info.plan_bytes,
            "build_s": round(info.build_ns / 1e9, 1),
            **({"grouped_deconvolutions": counts} if (counts := info.grouped_deconvolutions) else {}),
        },
    }


def _version(product: library.Product) -> str:
    """The version of the package here."""
    for name in _KITS[product].distributions:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return importlib.metadata.version(name)
    return ""


def _installation(include: str, product: library.Product) -> building.Installation:
    """The library of this interpreter's package, and headers of its major version. Unavailable without."""
    kit, name = _KITS[product], product.name
    library_file, version = _library(product), _version(product)
    places = [place for place in (include, os.environ.get(kit.variable, "")) if place] or list(kit.system)
    folder = next((Path(place) for place in places if (Path(place) / HEADER).is_file()), None)
    if folder is None:
        what = f"{name}'s C++ headers are not here: no {HEADER} in {', '.join(places)}"
        fix = f"tensorrt_include: FOLDER in the suite, or {kit.variable}=FOLDER; {kit.headers_from}"
        raise Unavailable(what, fix=fix)
    versions = folder / _VERSIONS
    text = versions.read_text(errors="replace") if versions.is_file() else ""
    major, other = kit.major.search(text), (_MAJOR if kit.major is _MAJOR_RTX else _MAJOR_RTX).search(text)
    if other and not major:
        another = next(each.name for each in _KITS if each is not product)
        raise Unavailable(f"the headers in {folder} are of {another}, not of {name}", fix=kit.headers_from)
    if major and version and major[1] != version.partition(".")[0]:
        what = f"the headers in {folder} are of {name} {major[1]}, and the package here is {version}"
        raise Unavailable(what, fix=f"headers of {name} {version.partition('.')[0]}: {kit.headers_from}")
    definitions = {"TENSORRT_INCLUDE": str(folder), "TENSORRT_LIBRARY": str(library_file), "CUDA_INCLUDE": _cuda()}
    return building.Installation(definitions=definitions, version=version)


def _own_plugins() -> list[Path]:
    """The library of TensorRT's own plugins, where the package has it."""
    return sorted(_library(library.TENSORRT).parent.glob("libnvinfer_plugin.so*"))[:1]


def _library(product: library.Product) -> Path:
    """libnvinfer or libtensorrt_rtx of the package, else of the system."""
    for name in _KITS[product].folders:
        spec = importlib.util.find_spec(name)
        for place in (spec.submodule_search_locations or []) if spec else []:
            matches = sorted(Path(place).glob(f"{product.library}.so*"))
            if matches:
                return matches[0]
    if name_of_system := ctypes.util.find_library(product.library.removeprefix("lib")):
        return Path(name_of_system)
    raise Unavailable(f"{product.library}.so is not here", fix=install(product.module))


def _cuda() -> str:
    """The folder of CUDA's runtime headers, which those of TensorRT include; two, as CMake lists them, where a package
    has a part of them.
    """
    homes = [os.environ[name] for name in ("CUDA_HOME", "CUDA_PATH") if os.environ.get(name)] or ["/usr/local/cuda"]
    places = [[Path(home) / "include"] for home in homes]
    spec = importlib.util.find_spec("nvidia")
    for place in (spec.submodule_search_locations or []) if spec else []:
        places.append(sorted(Path(place).glob("cu*/include")))
    for folders in (*places, [Path("/usr/include")]):
        owners = [next((each for each in folders if (each / name).is_file()), None) for name in _CUDA_HEADERS]
        if None not in owners:
            return ";".join(dict.fromkeys(map(str, owners)))
    searched = ", ".join(str(folder) for folders in places for folder in folders)
    what = f"CUDA's headers are not here: no {' and '.join(_CUDA_HEADERS)} in {searched}"
    fix = "CUDA_HOME=FOLDER of a CUDA toolkit, or pip install nvidia-cuda-runtime nvidia-cuda-crt"
    raise Unavailable(what, fix=fix)
