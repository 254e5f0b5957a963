"""``executor: cpp`` of TensorRT: an engine run by the C++ program."""

from __future__ import annotations

import contextlib
import ctypes.util
import importlib.metadata
import importlib.util
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.errors import Unavailable
from bench.model.distributions import TENSORRT
from bench.model.seam import Context, Stage
from bench.model.suite import Case
from bench.runtimes.cpp import building
from bench.runtimes.cpp.lanes import CppPrepared, Model
from bench.runtimes.cpp.program import Runner
from bench.runtimes.torch.exports import warning_report
from bench.runtimes.trt import builder
from bench.runtimes.trt.options import Options

HEADER = "NvInfer.h"
_VARIABLE = "TENSORRT_INCLUDE"
_SYSTEM = ("/usr/include/x86_64-linux-gnu", "/usr/include/aarch64-linux-gnu", "/usr/include", "/opt/tensorrt/include")
_CUDA_HEADER = "cuda_runtime_api.h"
_MAJOR = re.compile(r"#define\s+(?:NV_TENSORRT_MAJOR|TRT_MAJOR_ENTERPRISE)\s+(\d+)")
# Options that no engine depends on.
RUNNING = ("executor", "tensorrt_include")


def is_deployed(case: Case) -> bool:
    """Whether the case is run by the C++ program."""
    return case.options.get("executor") == "cpp"


def runner_stage(case: Case, options: Options) -> Stage:
    """The program, the same for all engines of a toolchain."""
    include = options.tensorrt_include or os.environ.get(_VARIABLE, "")
    return building.stage(case, "tensorrt", "tensorrt", TENSORRT, include=include)


def produce_runner(options: Options, context: Context, out: Path) -> None:
    """Build the program against the TensorRT of this interpreter. Phases: configure, compile."""
    building.produce("tensorrt", _installation(options.tensorrt_include), context, out)


@contextlib.contextmanager
def prepare(case: Case, options: Options, context: Context) -> Iterator[CppPrepared]:
    """The engine in the C++ program. Phases: import (the program starts, with its libraries), deserialize."""
    folder = context.artifacts["build"]
    info = builder.read_info(folder)
    with contextlib.ExitStack() as stack:
        with context.phase("import"):
            runner = Runner(building.program_in(context.artifacts[building.STAGE], _version()))
            stack.callback(runner.close)
        model = Model(
            runtime="tensorrt",
            artifact=folder / builder.PLAN,
            outputs=tuple(info.outputs),
            plugins=(*_own_plugins(), *builder.libraries(options, context.suite_dir)),
            tensors={**info.inputs, **info.outputs},
            host_code=info.version_compatible,
        )
        with context.phase("deserialize"):
            prepared = CppPrepared(runner, model, case, context, _report(case, info, runner))
        stack.callback(prepared.close)
        yield prepared


def _report(case: Case, info: builder.BuildInfo, runner: Runner) -> dict[str, Any]:
    """The keys of the fairness report that do not need Python's TensorRT."""
    tf32 = case.precision == "tf32"
    return {
        "runtime": f"TensorRT {runner.facts.get('tensorrt', '')}",
        "tf32": {"matmul": tf32, "cudnn": tf32},
        "memory_format": "contiguous",
        **({"exporter": info.exporter, "opset": info.opset} if info.exporter else {}),
        **warning_report(info.export_warnings),
        "strongly_typed": info.strongly_typed,
        "optimization_level": info.optimization_level,
        "tactic_sources": ", ".join(info.tactic_sources),
        "timing_cache": info.timing_cache,
        **({"calibration": info.calibration} if info.calibration else {}),
        "engine": {"plan_bytes": info.plan_bytes, "build_s": round(info.build_ns / 1e9, 1)},
    }


def _version() -> str:
    """The version of the TensorRT package here."""
    for name in TENSORRT:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            return importlib.metadata.version(name)
    return ""


def _installation(include: str) -> building.Installation:
    """The library of this interpreter's TensorRT package, and headers of its major version. Unavailable without."""
    library = _library()
    version = _version()
    places = [place for place in (include, os.environ.get(_VARIABLE, "")) if place] or list(_SYSTEM)
    folder = next((Path(place) for place in places if (Path(place) / HEADER).is_file()), None)
    if folder is None:
        what = f"TensorRT's C++ headers are not here: no {HEADER} in {', '.join(places)}"
        fix = f"tensorrt_include: FOLDER in the suite, or {_VARIABLE}=FOLDER; {_HEADERS_FROM}"
        raise Unavailable(what, fix=fix)
    major = _MAJOR.search((folder / "NvInferVersion.h").read_text(errors="replace"))
    if major and version and major[1] != version.partition(".")[0]:
        what = f"the headers in {folder} are of TensorRT {major[1]}, and the package here is {version}"
        raise Unavailable(what, fix=f"headers of TensorRT {version.partition('.')[0]}: {_HEADERS_FROM}")
    definitions = {"TENSORRT_INCLUDE": str(folder), "TENSORRT_LIBRARY": str(library), "CUDA_INCLUDE": str(_cuda())}
    return building.Installation(definitions=definitions, version=version)


_HEADERS_FROM = "apt-get install libnvinfer-headers-dev, or include/ of github.com/NVIDIA/TensorRT at this version"


def _own_plugins() -> list[Path]:
    """The library of TensorRT's own plugins, where the package has it."""
    return sorted(_library().parent.glob("libnvinfer_plugin.so*"))[:1]


def _library() -> Path:
    """libnvinfer of the package, else of the system."""
    for name in ("tensorrt_libs", "tensorrt"):
        spec = importlib.util.find_spec(name)
        for place in (spec.submodule_search_locations or []) if spec else []:
            matches = sorted(Path(place).glob("libnvinfer.so*"))
            if matches:
                return matches[0]
    if name_of_system := ctypes.util.find_library("nvinfer"):
        return Path(name_of_system)
    raise Unavailable("libnvinfer.so is not here", fix="pip install tensorrt-cu12  (or tensorrt-cu13)")


def _cuda() -> Path:
    """The folder of CUDA's runtime headers, which those of TensorRT include."""
    homes = [os.environ[name] for name in ("CUDA_HOME", "CUDA_PATH") if os.environ.get(name)] or ["/usr/local/cuda"]
    places = [Path(home) / "include" for home in homes]
    spec = importlib.util.find_spec("nvidia")
    for place in (spec.submodule_search_locations or []) if spec else []:
        places += sorted(Path(place).glob("cu*/include"))
    for folder in (*places, Path("/usr/include")):
        if (folder / _CUDA_HEADER).is_file():
            return folder
    what = f"CUDA's headers are not here: no {_CUDA_HEADER} in {', '.join(map(str, places))}"
    raise Unavailable(what, fix="CUDA_HOME=FOLDER of a CUDA toolkit, or pip install nvidia-cuda-runtime")
