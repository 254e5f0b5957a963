"""Whether torch is installed and what it can run, and the state of torch during one case."""

from __future__ import annotations

import contextlib
import gc
import importlib.util
import os
import shutil
import warnings
from collections.abc import Iterator
from pathlib import Path

from bench.errors import Unavailable
from bench.model.distributions import install
from bench.model.factory import program_of
from bench.model.seam import Context, Missing
from bench.model.suite import Case
from bench.runtimes import packages
from bench.runtimes.torch import errors, factories
from bench.runtimes.torch.precision import tf32

# Warnings of torch's own calls to what it deprecates, of TF32 being off, which the precision asked for, and of names
# that its exporter need not know, as inputs are given in order.
_OWN_WARNINGS = (
    r"`torch\.jit\.\w+` is deprecated",
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",
    r"You are using the legacy TorchScript-based ONNX export",
    r"TensorFloat32 tensor cores for float32 matrix multiplication available but not enabled",
    r"The feature will be removed\. Please remove usage of this function",
    # of a size of several inputs: its name is used of the first, and all have it
    r"# The axis name: (\w+) will not be used, since it shares the same shape constraints with another axis: \1\.",
    r"no signature found for <torch\.ScriptMethod",
)


def missing(*, compiler_for: str = "") -> Missing | None:
    """The requirement that is missing: torch, or to compile for a device a C++ compiler and on CUDA Triton."""
    no_torch = packages.first_missing("torch")
    if no_torch or not compiler_for:
        return no_torch
    if not any(shutil.which(name) for name in (os.environ.get("CXX", ""), "g++", "clang++") if name):
        what = "there is no C++ compiler, and torch compiles C++ for every graph"
        return Missing(reason=what, fix="apt-get install g++")
    if compiler_for != "cpu" and importlib.util.find_spec("triton") is None:
        return Missing(reason="Inductor needs Triton to compile for CUDA", fix=install("triton"))
    return None


def unsupported(case: Case, device: str, *, quantizes: bool = False) -> str | None:
    """Why no PyTorch backend can run the case on ``device``, or None; ``quantizes`` for one that converts to fp8."""
    if program_of(case.factory) == "onnx":
        return f"{case.factory} is an ONNX file, of which PyTorch makes no module"
    if case.precision == "int8":
        return "PyTorch converts no model to int8 by itself; a quantized factory would be another model"
    if case.precision == "fp8" and not quantizes:
        return "of PyTorch's backends eager and inductor run fp8"
    if device == "cpu" and case.precision == "tf32":
        return "TF32 is a CUDA format"
    if device == "cpu" and case.cuda_graph:
        return "cuda_graph needs a CUDA device"
    if case.options.get("autocast") and case.precision not in ("fp16", "bf16"):
        return "autocast needs precision fp16 or bf16"
    return None


def preload(case: Case, suite_dir: Path) -> None:
    """Import torch and the library that the model comes from."""
    import torch  # noqa: F401

    factories.preload(case, suite_dir)


@contextlib.contextmanager
def torch_session(case: Case, context: Context) -> Iterator[None]:
    """torch imported, its device checked, TF32 as the precision says, errors translated; frees memory at the end.

    Nothing is recorded for gradients: weights may ask for them, and tracers that run the model would keep every layer's
    output.
    """
    with context.phase("import"):
        absent = missing()
        if absent is not None:
            raise Unavailable(absent.reason, fix=absent.fix)
        try:
            import torch
        except (ImportError, OSError) as error:  # a library that torch was built for is not found, or another is
            what = f"torch is installed but cannot be imported: {errors.brief(error)}"
            raise Unavailable(what, fix="reinstall torch, or correct LD_LIBRARY_PATH and PYTHONPATH") from error
    if context.device != "cpu" and not torch.cuda.is_available():
        raise _no_device()
    try:
        with tf32(case.precision == "tf32"), torch.no_grad(), errors.translate():
            yield
    finally:
        gc.collect()
        if context.device != "cpu":
            with contextlib.suppress(RuntimeError):  # after an illegal access every call fails, and hides the first one
                torch.cuda.empty_cache()


def _no_device() -> Unavailable:
    """Why torch can use no CUDA device: initialising CUDA raises the reason that ``is_available`` hides."""
    import torch

    why = "no reason given"
    try:
        torch.cuda.init()
    except (RuntimeError, AssertionError) as error:
        why = errors.brief(error)
    fix = "nvidia-smi shows the driver's state and the GPUs, CUDA_VISIBLE_DEVICES chooses among them"
    if torch.version.cuda is None:
        fix = "install a CUDA build of torch: pytorch.org/get-started"
    elif "too old" in why:
        fix = f"a newer NVIDIA driver, or a torch for an older CUDA than {torch.version.cuda}: pytorch.org/get-started"
    return Unavailable(f"torch {torch.__version__} can use no CUDA device: {why}", fix=fix)


@contextlib.contextmanager
def own_warnings_filtered() -> Iterator[None]:
    """Hide torch's warnings about its own code, by message; all other warnings pass."""
    with warnings.catch_warnings():
        for message in _OWN_WARNINGS:
            warnings.filterwarnings("ignore", message=message)
        yield
