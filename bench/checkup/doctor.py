"""Checks the machine, its libraries and each backend, with the command that fixes what is missing or broken."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec

from bench import store
from bench.backends import base
from bench.errors import StoreError, UsageError
from bench.machine import environment
from bench.model.checkup import Check
from bench.model.distributions import PACKAGES, install
from bench.model.run import Environment
from bench.model.seam import Missing
from bench.model.suite import Case, Toolchain
from bench.runner import toolchains
from bench.runtimes import ort_plugin
from bench.system import scratch
from bench.units import format_size

# Imported for real, each in a process of its own: an installed package may still be broken.
IMPORTS = (
    "torch",
    "torchvision",
    "transformers",
    "timm",
    "onnxruntime",
    "onnxscript",
    "tensorrt",
    "tensorrt_rtx",
    "nvtx",
)
# Those that only some have: looked at where they are.
EXTENSIONS = ("torch_tensorrt", ort_plugin.MODULE)
IMPORT_LIMIT_S = 120

State = Literal["ready", "missing", "broken"]


def examine(cache: Path | None, results: Path) -> list[Check]:
    """All checks, in the order in which they are shown: machine, folders, libraries, backends."""
    return [*_machine(), *_folders(cache, results), *_libraries(), *_backends(environment.describe("auto"))]


def _machine() -> list[Check]:
    cpu = environment.describe("cpu")
    cores = cpu.limits.get("cores", "?")
    checks = [
        Check(
            group="machine", name="cpu", state="ready", detail=f"{cpu.device}, {cores} cores, {format_size(cpu.memory)}"
        ),
        Check(group="machine", name="python", state="ready", detail=f"{cpu.python} ({sys.executable})"),
    ]
    try:
        gpu = environment.describe("cuda")
        detail = f"{gpu.device} ({gpu.arch}), {format_size(gpu.memory)}, driver {gpu.driver}"
        checks.append(Check(group="machine", name="gpu", state="ready", detail=detail))
    except UsageError as error:
        checks.append(Check(group="machine", name="gpu", state="missing", detail=error.what, fix=error.fix))
    compiler = next(
        (path for name in (os.environ.get("CXX", ""), "g++", "clang++") if (path := shutil.which(name))), ""
    )
    fix = "" if compiler else "apt-get install g++"
    detail = compiler or "torch.compile and AOTInductor need one"
    state: State = "ready" if compiler else "missing"
    checks.append(Check(group="machine", name="C++ compiler", state=state, detail=detail, fix=fix))
    return checks


def _folders(cache: Path | None, results: Path) -> list[Check]:
    checks = []
    for name, path in (("results", results), ("cache", cache)):
        if path is None:
            detail = "this user has no home folder"
            checks.append(Check(group="folders", name=name, state="broken", detail=detail, fix="TRTBENCH_CACHE=DIR"))
            continue
        nearest = next(p for p in (path, *path.resolve().parents) if p.exists())
        try:  # the mode permits root to write to /proc, and writing still fails
            store.check_writable(path)
            writable = True
        except StoreError:
            writable = False
        free = shutil.disk_usage(nearest).free
        detail = f"{path}, {format_size(free)} free" if writable else f"{path} cannot be written"
        option = "--store DIR" if name == "results" else "TRTBENCH_CACHE=DIR"
        state: State = "ready" if writable else "broken"
        checks.append(Check(group="folders", name=name, state=state, detail=detail, fix="" if writable else option))
    return checks


def _libraries() -> list[Check]:
    present = [name for name in IMPORTS + EXTENSIONS if importlib.util.find_spec(name) is not None]
    command = "import importlib, sys; importlib.import_module(sys.argv[1])"
    running = {
        name: subprocess.Popen(
            [sys.executable, "-P", "-c", command, name],  # -P: not from the working folder
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in present
    }
    checks = []
    for name in (*IMPORTS, *(name for name in EXTENSIONS if name in running)):
        fix = install(name)
        if name not in running:
            checks.append(Check(group="libraries", name=name, state="missing", detail="not installed", fix=fix))
            continue
        try:
            _, stderr = running[name].communicate(timeout=IMPORT_LIMIT_S)
        except subprocess.TimeoutExpired:
            running[name].kill()
            stderr = f"the import took more than {IMPORT_LIMIT_S} s"
        if running[name].returncode == 0:
            checks.append(Check(group="libraries", name=name, state="ready", detail=_version(name)))
        else:
            last = (stderr.strip().splitlines() or ["the import failed"])[-1]
            checks.append(Check(group="libraries", name=name, state="broken", detail=last, fix=fix))
    return checks


def _backends(machine: Environment) -> list[Check]:
    backends = base.registry()
    checks = [_backend("backends", name, base.missing(name, machine.address), machine) for name in backends]
    checks = [
        msgspec.structs.replace(check, state="broken")
        if isinstance(backends[check.name], base.BrokenBackend)
        else check
        for check in checks
    ]
    for source, why in base.hidden_entry_points().items():
        fix = f"a version of it with another name, or: pip uninstall {source}"
        checks.append(Check(group="backends", name=source, state="broken", detail=why, fix=fix))
    return checks


def _backend(group: str, name: str, missing: Missing | None, machine: Environment) -> Check:
    """What is installed for a backend, and without a GPU what it can do here."""
    if missing is not None:
        return Check(group=group, name=name, state="missing", detail=missing.reason, fix=missing.fix)
    backend, case = base.load(name), Case(model="net", factory="zoo.py:net", inputs={}, backend=name)
    reason = backend.unsupported(case, "cpu") if machine.kind == "cpu" else None
    if reason is None:
        return Check(group=group, name=name, state="ready")
    if any(stage.name == "build" and not stage.per_device for stage in backend.stages(case)):
        lacking = base.missing(name, "cuda")
        more = f", and {lacking.reason}" if lacking else ""
        return Check(group=group, name=name, state="ready", detail=f"to build, not to run here: {reason}{more}")
    return Check(group=group, name=name, state="missing", detail=reason, fix="a machine with a GPU")


def examine_toolchains(by_name: Mapping[str, Toolchain], folder: Path) -> list[Check]:
    """The libraries of each toolchain of a file in ``folder`` and the backends that it can run; one group each."""
    machine = environment.describe("auto")
    checks = []
    with scratch.folder() as folder_of_link:
        link = toolchains.package_link(folder_of_link)
        for name, toolchain in by_name.items():
            checks += _toolchain(name, toolchain, folder.resolve(), machine, link)
    return checks


def _toolchain(name: str, toolchain: Toolchain, folder: Path, machine: Environment, link: Path) -> list[Check]:
    group = f"toolchain {name}"
    try:
        interpreter = toolchains.probe(name, toolchain, folder, machine, link, "")
    except UsageError as error:
        return [Check(group=group, name="python", state="broken", detail=error.what, fix=error.fix)]
    if not toolchain.python:  # it is the one that runs, and `python` on PATH may be another
        interpreter = msgspec.structs.replace(interpreter, python_text=interpreter.command[0])
    versions = interpreter.environment.libraries
    libraries = ", ".join(f"{library} {version}" for library, version in versions.items())
    lacking = {backend: toolchains.missing(interpreter, backend) for backend in interpreter.backends}
    python = f"{interpreter.environment.python} ({interpreter.command[0]})"
    return [
        Check(group=group, name="python", state="ready", detail=python),
        Check(group=group, name="libraries", state="ready", detail=libraries),
        *(_backend(group, backend, missing, machine) for backend, missing in lacking.items()),
    ]


def _version(name: str) -> str:
    for distribution in PACKAGES.get(name, (name,)):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            version = importlib.metadata.version(distribution)
            return version if distribution in (name, name.replace("_", "-")) else f"{version} ({distribution})"
    return "installed"
