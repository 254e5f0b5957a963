"""AOTInductor: a module exported by torch.export and compiled ahead of time to a ``.pt2`` package."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import logging
import os
import zipfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec

from bench.errors import Unavailable
from bench.model.factory import program_of
from bench.model.lanes import Prepared
from bench.model.seam import Context, Missing, Stage
from bench.model.suite import Case
from bench.runtimes import shapes
from bench.runtimes.cpp.lanes import Model
from bench.runtimes.cpp.program import Executor
from bench.runtimes.torch import caches, code, custom_ops, deployed, errors, exports, models
from bench.runtimes.torch.backend import TorchBackend
from bench.runtimes.torch.exports import ExportWarning
from bench.runtimes.torch.lane import TorchPrepared
from bench.runtimes.torch.options import TorchOptions
from bench.runtimes.torch.outputs import positional
from bench.runtimes.torch.session import own_warnings_filtered, torch_session

_PACKAGE = "model.pt2"
_FIRST_TORCH = (2, 6)
_AUTOTUNES = ("max_autotune", "max_autotune_gemm", "max_autotune_pointwise")
_STANDARD = (b"libstdc++.so", b"libc++.so")


class Options(TorchOptions, frozen=True, kw_only=True):
    """``executor: cpp`` has a C++ program load and run the package."""

    executor: Executor = "python"


class Outputs(msgspec.Struct, frozen=True):
    """The output names in order (the package returns a plain tuple), the state of its compiler's caches, what the
    exporter warned of, and the operators that are not torch's, which must be there when the package is loaded.
    """

    names: tuple[str, ...]
    caches: dict[str, str] = {}
    warnings: tuple[ExportWarning, ...] = ()
    operators: tuple[str, ...] = ()


class Aoti(TorchBackend[Options]):
    """torch._inductor.aoti_compile_and_package, which torch has since 2.6."""

    options = Options
    compiles = True

    def missing(self, device: str = "cpu") -> Missing | None:
        """torch 2.6 or later, a C++ compiler, or Triton for CUDA."""
        missing = super().missing(device)
        try:
            version = importlib.metadata.version("torch")
        except importlib.metadata.PackageNotFoundError:  # a tree of sources says no version; importing it tells more
            return missing
        if missing is None and tuple(int(part) for part in version.split("+")[0].split(".")[:2]) < _FIRST_TORCH:
            return Missing(reason=f"torch {version} has no aoti_compile_and_package", fix="pip install 'torch>=2.6'")
        return missing

    def unsupported(self, case: Case, device: str) -> str | None:
        """As every PyTorch backend; also TorchScript programs."""
        if program_of(case.factory) == "torchscript":
            return f"{case.factory} is a TorchScript program, which torch.export does not take"
        return deployed.unsupported(case) or super().unsupported(case, device)

    def stages(self, case: Case) -> Sequence[Stage]:
        """The reference (and its weights), and the package: its kernels are compiled for one kind of device; with
        ``executor: cpp`` also what runs it.
        """
        stages = [*super().stages(case), self.build_stage(case, "pt2", "triton")]
        return [*stages, deployed.runner_stage(case)] if deployed.is_deployed(case) else stages

    def preload(self, case: Case, suite_dir: Path) -> None:
        """Import torch, the factory's library and the package loader."""
        if deployed.is_deployed(case):
            return
        super().preload(case, suite_dir)
        importlib.import_module("torch._inductor.package")

    def imports(self, case: Case, stage: Stage | None = None) -> tuple[str, ...]:
        """torch and the package loader; to build one also the library of the case's factory, and Inductor."""
        if stage is None:
            return () if deployed.is_deployed(case) else ("torch", "torch._inductor.package")
        return (*super().imports(case, stage), "torch._inductor.compile_fx", "torch._inductor.package")

    def code(self, case: Case) -> Stage:
        """What lies in the package beside the weights."""
        build = self.build_stage(case, "code")
        return msgspec.structs.replace(build, name="code", key={}, needs=("build",), per_build=False)

    def produce(self, stage: Stage, case: Case, context: Context, out: Path) -> None:
        """Export and compile; Unavailable if the package cannot be loaded. Phases: import, load, export, compile."""
        if stage.kind == "code":
            code.of_package(context.artifacts["build"] / _PACKAGE, out)
            return
        options = msgspec.convert(case.options, Options)
        with torch_session(case, context), caches.fresh_caches(context), own_warnings_filtered():
            import torch

            with context.phase("load"):
                model, example = models.load_with_example(case, options, context)
                module, names = positional(model, example)
            dims = shapes.dynamic_dims(case)
            # The one parameter of the module is *values, so its dynamic shapes are one tuple.
            exported = exports.export_model(module, example, case, context, None if dims is None else (dims,))
            with context.phase("compile"), torch.no_grad(), errors.translate("AOTInductor cannot compile this model"):
                caches.reset_counters()
                torch._inductor.aoti_compile_and_package(exported.program, package_path=str(out / _PACKAGE))
                cache_report = caches.report(autotunes=_autotunes())
            _check_linked(out / _PACKAGE)
            (out / "outputs.json").write_bytes(
                msgspec.json.encode(Outputs(names, cache_report, exported.warnings, exported.operators))
            )

    @contextlib.contextmanager
    def prepare(self, case: Case, options: Options, context: Context) -> Iterator[Prepared]:
        """As of every PyTorch backend, or in the C++ program."""
        if options.executor == "python":
            with super().prepare(case, options, context) as prepared:
                yield prepared
            return
        folder = context.artifacts["build"]
        outputs = msgspec.json.decode((folder / "outputs.json").read_bytes(), type=Outputs)
        deployed.refuse_operators(outputs.operators)
        channels_last = options.memory_format == "channels_last"
        model = Model(runtime="aoti", artifact=folder / _PACKAGE, outputs=outputs.names, channels_last=channels_last)
        more = outputs.caches | exports.warning_report(outputs.warnings)
        with deployed.prepare(case, options, context, model, more) as in_program:
            yield in_program

    def load(self, case: Case, options: Options, context: Context, stack: ExitStack) -> TorchPrepared:
        """Phase: load."""
        folder = context.artifacts["build"]
        outputs = msgspec.json.decode((folder / "outputs.json").read_bytes(), type=Outputs)
        with context.phase("load"):
            custom_ops.define(outputs.operators, case, context)
            package = _load(folder / _PACKAGE, case, context.device)
        return TorchPrepared(
            case,
            options,
            context,
            lambda inputs: package(*inputs.values()),
            names=outputs.names,
            more=lambda: outputs.caches | exports.warning_report(outputs.warnings),
        )


def _autotunes() -> bool:
    """Whether the environment has Inductor choose kernels by timing them (TORCHINDUCTOR_MAX_AUTOTUNE and similar)."""
    import torch._inductor.config as config

    return any(getattr(config, name, False) for name in _AUTOTUNES)


def _load(path: Path, case: Case, device: str) -> Any:
    """On a CPU one runner for each thread. On CUDA one without locks: with them, every call but the first would wait on
    the host until the call before it has ended, and a CUDA graph could not be captured.
    """
    from torch._inductor.package import load_package

    with _undetected_extensions():
        if device == "cpu":
            runners = case.streams_per_process
            return load_package(str(path), "model", num_runners=runners) if runners > 1 else load_package(str(path))
        return load_package(str(path), "model", run_single_threaded=True)


@contextlib.contextmanager
def _undetected_extensions() -> Iterator[None]:
    """The CPU counts as one without vector extensions for the block, which compiles nothing.

    torch's loader compares them with those that a package was compiled for, and warns where they differ. It finds them
    out by up to eleven test programs, each loaded in a Python of its own, which imports torch in 2.11: seconds in every
    process. A package made here is for the CPU that is here, so nothing is lost.
    """
    config = importlib.import_module("torch._inductor.config")
    extensions = importlib.import_module("torch._inductor.cpu_vec_isa").valid_vec_isa_list
    if extensions.cache_info().currsize or not hasattr(config.cpp, "vec_isa_ok"):
        yield
        return
    logger = logging.getLogger("torch.export.pt2_archive._package")
    logger.addFilter(_is_no_mismatch)
    try:
        with config.patch({"cpp.vec_isa_ok": False}):
            yield
    finally:
        logger.removeFilter(_is_no_mismatch)
        extensions.cache_clear()


def _is_no_mismatch(record: logging.LogRecord) -> bool:
    """Whether a line of the loader's log is not about vector extensions."""
    return "AOTI_CPU_ISA" not in record.getMessage()


def _check_linked(package: Path) -> None:
    """Unavailable if the compiler linked a C++ standard library statically into the package.

    Two standard libraries in one process break when the package is loaded: SIGSEGV, or a failed call without a reason.
    """
    with zipfile.ZipFile(package) as archive:
        for name in archive.namelist():
            if name.endswith(".so") and not any(library in archive.read(name) for library in _STANDARD):
                compiler = "the C++ compiler of $CXX" if "CXX" in os.environ else "the C++ compiler"
                raise Unavailable(
                    f"{compiler} links its standard library statically, and torch cannot load such a package",
                    fix="CXX=/usr/bin/g++ trtbench run ..., or another compiler that links libstdc++.so",
                )


BACKEND = Aoti()
