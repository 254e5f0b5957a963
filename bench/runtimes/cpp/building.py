"""How the C++ program is built: by the user's compiler through CMake, once for its versions, as an artifact."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import importlib.util
import os
import re
import select
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import msgspec

from bench.errors import CaseError, Unavailable
from bench.model.distributions import install
from bench.model.seam import Context, Stage
from bench.model.suite import Case
from bench.runtimes.cpp.program import Runner
from bench.units import NS_PER_S

STAGE = "runner"
PROGRAM = "trtbench-runner"
# The commands that built it, beside the program: a script to run where the sources are.
COMMANDS = "build.sh"
SOURCES = Path(__file__).parent
Runtime = Literal["torch", "tensorrt", "tensorrt_rtx", "empty"]
# Variables that change what CMake and the compilers make.
_FLAGS = ("CXXFLAGS", "LDFLAGS", "CMAKE_GENERATOR", "CMAKE_BUILD_TYPE", "CMAKE_PREFIX_PATH", "CMAKE_TOOLCHAIN_FILE")
_COMPILERS = ("c++", "g++", "clang++")
_STANDARD = (b"libstdc++.so", b"libc++.so")
_JOBS = 2
_BEAT_S = 5
_PART = 65536
_STEPS = re.compile(rb"^\[(\d+)/(\d+)\] ", re.MULTILINE)  # as Ninja prints them
_ABSENT_HEADER = re.compile(r"fatal error: '?([^\s:']+)'?(?::| file) .*(?:No such file|not found)")
_OTHER_ABI = re.compile(r"undefined reference to `?[^\n]*(?:__cxx11|basic_string|std::)")
_ERROR = re.compile(r"^.*\berror:? .*$|^CMake Error.*(?:\n.*){0,3}", re.MULTILINE)
_SHOWN = 300


class Installation(msgspec.Struct, frozen=True, kw_only=True):
    """What the program is built against: the definitions of CMake, and the version of the library."""

    definitions: dict[str, str]
    version: str = ""


class _Info(msgspec.Struct, frozen=True):
    """What is written beside the program: the version of the library that it was built against."""

    version: str


def unsupported(case: Case) -> str | None:
    """What the program does not do of a case that it is to run, or None."""
    if case.lanes == "processes":
        return "the lanes of executor: cpp are threads of one program; lanes: threads, or executor: python"
    if case.cuda_graph:
        return "executor: cpp captures no CUDA graphs; cuda_graph: off, or executor: python"
    return None


def stage(case: Case, runtime: Runtime, producer: str, libraries: tuple[str, ...], **key: Any) -> Stage:
    """The stage that builds the program, the same for all models of one runtime and toolchain."""
    key |= {
        "payload": [PROGRAM, COMMANDS],
        "runtime": runtime,
        "sources": _sources(),
        "compiler": _compiler(os.environ.get("CXX", "")),
    }
    key["flags"] = {name: os.environ[name] for name in _FLAGS if name in os.environ}
    return Stage(
        name=STAGE,
        kind=STAGE,
        producer=producer,
        key=key,
        libraries=libraries,
        per_device=True,
        toolchain=case.toolchain,
        of_model=False,
    )


def produce(runtime: Runtime, installed: Installation, context: Context, out: Path) -> None:
    """Configure, compile, and start the program once. Phases: configure, compile.

    Unavailable where CMake, a compiler, headers or libraries are missing, or do not fit together; CaseError for another
    error of the build. What CMake and the compiler print goes to the log.
    """
    cmake = shutil.which("cmake")
    if cmake is None:
        raise Unavailable("there is no CMake, which builds the C++ runner", fix="apt-get install cmake")
    compiler = os.environ.get("CXX", "")
    if not _compiler(compiler):
        what = f"the C++ compiler of $CXX, {compiler}, cannot be run" if compiler else "there is no C++ compiler"
        raise Unavailable(what, fix="apt-get install g++, or CXX=/usr/bin/g++ trtbench run ...")
    folder = context.scratch / "build"
    ninja = ["-G", "Ninja"] if shutil.which("ninja") and "CMAKE_GENERATOR" not in os.environ else []
    definitions = [f"-D{name}={value}" for name, value in installed.definitions.items()]
    with context.phase("configure"):
        _run(
            [cmake, "-S", str(SOURCES), "-B", str(folder), *ninja, f"-DRUNTIME={runtime}", *definitions],
            runtime,
            context,
        )
    with context.phase("compile"):
        _run([cmake, "--build", str(folder), "--target", PROGRAM, "--parallel", str(_JOBS)], runtime, context)
    program = folder / PROGRAM
    if not any(library in program.read_bytes() for library in _STANDARD):
        named = "the C++ compiler of $CXX" if compiler else "the C++ compiler"
        what = f"{named} links its standard library statically, and torch and TensorRT bring another into the program"
        raise Unavailable(what, fix="CXX=/usr/bin/g++ trtbench run ..., or another compiler that links libstdc++.so")
    Runner(program).close()  # libraries of another ABI show here, once, and not in every case
    shutil.copy2(program, out / PROGRAM)
    (out / COMMANDS).write_text(_script([*ninja, f"-DRUNTIME={runtime}", *definitions]))
    (out / "info.json").write_bytes(msgspec.json.encode(_Info(installed.version)))


def _script(arguments: list[str]) -> str:
    """The commands of a build, with the variables that changed it."""
    names = [name for name in ("CXX", *_FLAGS) if name in os.environ]
    lines = ["#!/bin/sh -e", *(f"export {name}={shlex.quote(os.environ[name])}" for name in names)]
    lines.append(shlex.join(["cmake", "-S", ".", "-B", "build", *arguments]))
    lines.append(shlex.join(["cmake", "--build", "build", "--target", PROGRAM, "--parallel", str(_JOBS)]))
    return "\n".join(lines) + "\n"


def copy_sources(artifact: Path, folder: Path) -> None:
    """The program's sources, and the script that built the ``artifact`` from them, into ``folder``, which is new."""
    shutil.copytree(SOURCES / "src", folder / "src")
    shutil.copyfile(SOURCES / "CMakeLists.txt", folder / "CMakeLists.txt")
    shutil.copyfile(artifact / COMMANDS, folder / COMMANDS)


def program_in(folder: Path, version: str) -> Path:
    """The program of an artifact. Unavailable unless it was built against ``version`` of its library."""
    built = msgspec.json.decode((folder / "info.json").read_bytes(), type=_Info).version
    if built != version:
        what = f"the C++ runner was built against version {built} of its library, and {version} is here"
        raise Unavailable(what, fix="--rebuild builds it again")
    return folder / PROGRAM


def torch_installation() -> Installation:
    """The torch package of this interpreter, which is not imported. Unavailable without it, or its headers."""
    spec = importlib.util.find_spec("torch")
    if spec is None or not spec.submodule_search_locations:
        raise Unavailable("the package 'torch' is not installed", fix=install("torch"))
    folder = Path(spec.submodule_search_locations[0])
    if not (folder / "include/ATen/core/Tensor.h").is_file():
        what = f"the torch package in {folder} has no C++ headers"
        raise Unavailable(what, fix="reinstall torch from its wheel: pip install --force-reinstall torch")
    version = importlib.metadata.version("torch")
    definitions = {"TORCH_FOLDER": str(folder), "TORCH_VERSION": version, "TORCH_CXX11_ABI": _torch_abi(folder)}
    return Installation(definitions=definitions, version=version)


def _torch_abi(folder: Path) -> str:
    """The value of _GLIBCXX_USE_CXX11_ABI that torch was compiled with, which its CMake files name; since 2.7 it is 1
    everywhere, and not named.
    """
    config = folder / "share/cmake/Torch/TorchConfig.cmake"
    match = re.search(r"_GLIBCXX_USE_CXX11_ABI=([01])", config.read_text()) if config.is_file() else None
    return match[1] if match else "1"


def _run(command: list[str], runtime: str, context: Context) -> None:
    """Run a step of the build, and tell how far it is and for how long, at least every _BEAT_S seconds. If it fails,
    its output goes to the log, and the error that it shows becomes the case's.
    """
    start, printed = context.clock.now(), bytearray()
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as process:
        assert process.stdout is not None
        pipe = process.stdout.fileno()
        while True:
            if select.select([pipe], [], [], _BEAT_S)[0]:
                part = os.read(pipe, _PART)
                if not part:
                    break
                printed += part
            context.tell(_progress(printed, context.clock.now() - start))
    output = printed.decode(errors="replace")
    if not process.returncode:
        return
    sys.stderr.write(f"$ {shlex.join(command)}\n{output}\n")
    raise _problem(output, runtime)


def _progress(printed: bytes | bytearray, ns: int) -> str:
    """``3 of 9 steps, 42 s``: what the build has printed last of its steps, where it counts them, and since when."""
    steps = _STEPS.findall(printed)
    far = f"{int(steps[-1][0])} of {int(steps[-1][1])} steps, " if steps else ""
    return f"{far}{ns // NS_PER_S} s"


def _problem(output: str, runtime: str) -> CaseError:
    """What is wrong in the output of a build that failed."""
    if header := _ABSENT_HEADER.search(output):
        what = f"the C++ runner cannot be built: the header {header[1]} is not here"
        return Unavailable(what, fix=_HEADERS.get(runtime, "apt-get install g++ libstdc++-dev"))
    if _OTHER_ABI.search(output):
        what = "the C++ runner cannot be linked: the compiler's standard library is not the one of the libraries' ABI"
        return Unavailable(what, fix="CXX=/usr/bin/g++ trtbench run ..., and no _GLIBCXX_USE_CXX11_ABI in CXXFLAGS")
    error = _ERROR.search(output)
    text = " ".join((error[0] if error else output.strip()[-_SHOWN:]).split())[:_SHOWN]
    return CaseError(f"the C++ runner cannot be built: {text}", fix="the log has the compiler's output")


_HEADERS: Mapping[str, str] = {
    "torch": "a torch package with headers, and a compiler with a C++20 library: apt-get install g++",
    "tensorrt": "the option tensorrt_include, or TENSORRT_INCLUDE=FOLDER, with the folder of NvInfer.h; "
    "CUDA_HOME=FOLDER for cuda_runtime_api.h",
    "tensorrt_rtx": "the option tensorrt_include, or TENSORRT_RTX_INCLUDE=FOLDER, with the folder of TensorRT-RTX's "
    "NvInfer.h; CUDA_HOME=FOLDER for cuda_runtime_api.h",
}


@functools.cache
def _sources() -> str:
    """The digest of everything that CMake reads."""
    digest = hashlib.sha256()
    for path in sorted((SOURCES / "CMakeLists.txt", *(SOURCES / "src").iterdir())):
        digest.update(path.name.encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()


@functools.cache
def _compiler(command: str) -> str:
    """The first line of what the compiler says of its version; empty where there is none."""
    words = shlex.split(command) if command else [next(filter(shutil.which, _COMPILERS), "")]
    if not words or not words[0]:
        return ""
    try:
        done = subprocess.run([*words, "--version"], stdin=subprocess.DEVNULL, capture_output=True, timeout=20)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    lines = done.stdout.decode(errors="replace").splitlines()
    return lines[0] if lines and not done.returncode else ""
