"""What every PyTorch backend shares: options, precision, inputs and outputs by name, keys of artifacts, and errors."""

from __future__ import annotations

import contextlib
import gc
import importlib.util
import os
import re
import shutil
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from bench import tensors
from bench.errors import BenchError, CaseError, OutOfMemory, Unavailable, Unsupported
from bench.model import seam
from bench.model.seam import Context, Missing
from bench.model.suite import Case, Precision
from bench.runtimes import packages
from bench.runtimes.torch import weights
from bench.runtimes.torch.factories import build_model as build_model
from bench.runtimes.torch.factories import preload as preload_factory

if TYPE_CHECKING:
    import torch

# Warnings of torch's own calls to what it deprecates, and of TF32 being off, which the precision asked for.
_OWN_WARNINGS = (
    r"`torch\.jit\.\w+` is deprecated",
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",
    r"You are using the legacy TorchScript-based ONNX export",
    r"TensorFloat32 tensor cores for float32 matrix multiplication available but not enabled",
    r"The feature will be removed\. Please remove usage of this function",
)
_NO_KERNEL = re.compile(
    r"not implemented for '|Low precision dtypes not supported|Could not run '\S+' with arguments from the|"
    r"Unsupported dtype|not supported for (Half|BFloat16)"
)
_NO_COMPILER = re.compile(r"No working C\+\+ compiler|Cannot find a working triton installation", re.IGNORECASE)


class TorchOptions(seam.Options, frozen=True, kw_only=True):
    """Options of every PyTorch backend.

    ``memory_format`` is that of the model and of 4-D inputs. ``autocast`` keeps float32 weights and lets torch choose
    each operator's precision, in place of converting the weights.
    """

    memory_format: Literal["contiguous", "channels_last"] = "contiguous"
    autocast: bool = False


# ------------------------------------------------------------------------------------------------- what can be run


def missing(*, compiler_for: str = "") -> Missing | None:
    """What a PyTorch backend lacks here: torch, or to compile for a device a C++ compiler and on CUDA Triton."""
    found = packages.first_missing(("torch", "pip install torch"))
    if found or not compiler_for:
        return found
    if not any(shutil.which(name) for name in (os.environ.get("CXX", ""), "g++", "clang++") if name):
        what = "there is no C++ compiler, and torch compiles C++ for every graph"
        return Missing(reason=what, fix="apt-get install g++")
    if compiler_for != "cpu" and importlib.util.find_spec("triton") is None:
        return Missing(reason="Inductor needs Triton to compile for CUDA", fix="pip install triton")
    return None


def unsupported(case: Case, device: str) -> str | None:
    """Why no PyTorch backend can run the case on ``device``, or None."""
    if case.precision in ("int8", "fp8"):
        return f"PyTorch converts no model to {case.precision} by itself; a quantised factory would be another model"
    if device == "cpu" and case.precision == "tf32":
        return "TF32 is a CUDA format"
    if device == "cpu" and case.cuda_graph:
        return "cuda_graph needs a CUDA device"
    if case.options.get("autocast") and case.precision not in ("fp16", "bf16"):
        return "autocast needs precision fp16 or bf16"
    return None


def dtype(precision: Precision) -> torch.dtype:
    """The torch dtype of weights, inputs and outputs at ``precision``."""
    import torch

    return {"fp32": torch.float32, "tf32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[precision]


@contextlib.contextmanager
def tf32(on: bool) -> Iterator[None]:
    """TF32 on or off in cuBLAS and cuDNN for the block.

    Uses the older of torch's two APIs, which torch 2.2 to 2.13 have; reading it after the newer one was written raises.
    """
    import torch

    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = torch.get_float32_matmul_precision(), matmul.allow_tf32, cudnn.allow_tf32
    set_tf32(on)
    try:
        yield
    finally:
        _set_older(*before)


def set_tf32(on: bool) -> None:
    """TF32 on or off, whatever was set before and by which API: a user's file may set any of them when it is imported.

    ``torch.set_float32_matmul_precision("medium")`` is undone too, which makes a CPU multiply float32 as bfloat16.
    """
    import torch

    # What the newer API wrote (torch 2.9 and later) would stay in force over the older one.
    mkldnn = torch.backends.mkldnn
    operators = [getattr(mkldnn, name, None) for name in ("conv", "rnn")]
    for place in (torch.backends, torch.backends.cudnn, mkldnn, *operators):
        if getattr(place, "fp32_precision", "none") != "none":
            place.fp32_precision = "none"
    _set_older("high" if on else "highest", on, on)


def _set_older(precision: str, matmul: bool, cudnn: bool) -> None:
    import torch

    torch.set_float32_matmul_precision(precision)
    torch.backends.cuda.matmul.allow_tf32 = matmul
    torch.backends.cudnn.allow_tf32 = cudnn


def preload(case: Case, suite_dir: Path) -> None:
    """Import torch and the library that the model comes from."""
    import torch  # noqa: F401

    preload_factory(case, suite_dir)


@contextlib.contextmanager
def session(case: Case, context: Context) -> Iterator[None]:
    """torch imported and its device there, TF32 as the precision says, errors mapped; memory given back at the end.

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
            what = f"torch is installed but cannot be imported: {_brief(error)}"
            raise Unavailable(what, fix="reinstall torch, or correct LD_LIBRARY_PATH and PYTHONPATH") from error
    if context.device != "cpu" and not torch.cuda.is_available():
        raise _no_device()
    try:
        with tf32(case.precision == "tf32"), torch.no_grad(), errors():
            yield
    finally:
        gc.collect()
        if context.device != "cpu":
            with contextlib.suppress(RuntimeError):  # after an illegal access every call fails, and hides the first one
                torch.cuda.empty_cache()


def _no_device() -> Unavailable:
    """Why torch can use no CUDA device: starting CUDA says what ``is_available`` keeps to itself."""
    import torch

    why = "no reason given"
    try:
        torch.cuda.init()
    except (RuntimeError, AssertionError) as error:
        why = _brief(error)
    fix = "nvidia-smi shows the driver's state and the GPUs, CUDA_VISIBLE_DEVICES chooses among them"
    if torch.version.cuda is None:
        fix = "install a CUDA build of torch: pytorch.org/get-started"
    elif "too old" in why:
        fix = f"a newer NVIDIA driver, or a torch for an older CUDA than {torch.version.cuda}: pytorch.org/get-started"
    return Unavailable(f"torch {torch.__version__} can use no CUDA device: {why}", fix=fix)


@contextlib.contextmanager
def own_warnings_filtered() -> Iterator[None]:
    """Hide what torch warns of in its own code, by message; all other warnings pass."""
    with warnings.catch_warnings():
        for message in _OWN_WARNINGS:
            warnings.filterwarnings("ignore", message=message)
        yield


# ---------------------------------------------------------------------------------------------------------- errors


@contextlib.contextmanager
def errors(refusal: str = "") -> Iterator[None]:
    """Turn what torch raises into the error tree.

    Out of memory, a missing kernel, compiler or operator are told by type and message. With ``refusal`` ("torch.export
    cannot take this model") any other exception of the block is Unsupported; without, it passes.
    """
    try:
        yield
    except (BenchError, MemoryError):
        raise
    except Exception as error:
        found = _mapped(error)
        if found is None and refusal:
            found = Unsupported(f"{refusal}: {_brief(error)}")
        if found is None:
            raise
        raise found from error


def _mapped(error: Exception) -> CaseError | None:
    # By name: the exception classes moved between torch versions, and some modules are slow to import.
    names = {cls.__name__ for cls in type(error).__mro__}
    text = str(error)
    if "OutOfMemoryError" in names or "out of memory" in text or "can't allocate memory" in text:
        return OutOfMemory(_brief(error), fix="a smaller batch, a narrower precision, or a device with more memory")
    if _NO_COMPILER.search(text) or names & {"InvalidCxxCompiler", "TritonMissing"}:
        return Unavailable(_brief(error), fix="apt-get install g++, and for CUDA: pip install triton")
    if _NO_KERNEL.search(text) or names & {"TorchDynamoException", "OnnxExporterError", "UnsupportedOperatorException"}:
        return Unsupported(_brief(error))
    return None


def _brief(error: BaseException) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    return " ".join(lines[:3])[:500]


# ------------------------------------------------------------------------------------------------ models and tensors


def load_model(case: Case, options: TorchOptions, context: Context, device: str) -> torch.nn.Module:
    """The case's model as it is measured: precision, memory format and autocast applied, on ``device``.

    Its weights are those of the weights artifact, if the case has one. TF32 is as the precision says, whatever the
    factory's file has set.
    """
    import torch

    model = build_model(case, context, device="cpu")
    set_tf32(case.precision == "tf32")
    if weights.STAGE in context.artifacts:
        weights.load_weights(model, context.artifacts[weights.STAGE])
    if options.memory_format == "channels_last":
        model = model.to(memory_format=torch.channels_last)
    if not options.autocast:
        return model.to(device=device, dtype=dtype(case.precision))
    return _autocast(model.to(device), torch.device(device).type, dtype(case.precision))


def _autocast(model: torch.nn.Module, device_type: str, to: torch.dtype) -> torch.nn.Module:
    import torch

    class Autocast(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, **inputs: Any) -> Any:
            # Without the cache of cast weights: it serves training only, and tracing fails with it.
            with torch.autocast(device_type, dtype=to, cache_enabled=False):
                return self.model(**inputs)

    return Autocast().eval()


def to_tensors(
    arrays: Mapping[str, tensors.Array], case: Case, memory_format: str, device: str
) -> dict[str, torch.Tensor]:
    """New tensors on ``device`` with the arrays' values: floats at the case's precision, all others as they are."""
    import torch

    made = {}
    for name, array in arrays.items():
        tensor = torch.from_numpy(array.copy())
        if tensor.is_floating_point():
            tensor = tensor.to(dtype(case.precision))
        if memory_format == "channels_last" and tensor.dim() == 4:
            tensor = tensor.contiguous(memory_format=torch.channels_last)
        made[name] = tensor.to(device)
    return made


def held_by(module: torch.nn.Module) -> list[torch.Tensor]:
    """The tensors that a module keeps: parameters, buffers, and those in plain attributes of it and of all modules in
    it, e.g. a grid that is made in the first call and returned by every one.
    """
    import torch

    found: list[torch.Tensor] = [*module.parameters(), *module.buffers()]
    looked: list[Any] = [vars(each) for each in module.modules()]
    seen: set[int] = set()
    while looked:
        value = looked.pop()
        if isinstance(value, torch.Tensor):
            found.append(value)
        elif isinstance(value, dict | list | tuple) and id(value) not in seen:
            seen.add(id(value))
            looked += value.values() if isinstance(value, dict) else value
    return found


def flatten_outputs(out: Any) -> dict[str, torch.Tensor]:
    """What a model returned, as named tensors in order.

    A tensor is ``output``; a dict, a named tuple or a transformers ModelOutput keeps its keys, a tuple or list counts
    from ``0``; nested names are joined by dots (``hidden_states.0``); None is skipped. Unsupported for anything else.
    """
    import torch

    if isinstance(out, torch.Tensor):
        return {"output": out}
    found: dict[str, torch.Tensor] = {}
    _flatten_into(found, out, "")
    if not found:
        raise Unsupported(f"the model returned a {type(out).__name__} without a tensor")
    return found


def _flatten_into(found: dict[str, torch.Tensor], out: Any, prefix: str) -> None:
    import torch

    if isinstance(out, torch.Tensor):
        found[prefix] = out
        return
    if out is None:
        return
    if hasattr(out, "_asdict"):
        out = out._asdict()
    if isinstance(out, tuple | list):
        out = {str(index): value for index, value in enumerate(out)}
    if not isinstance(out, Mapping):
        raise Unsupported(
            f"the model returned a {type(out).__name__} as {prefix or 'its output'}; only tensors can be compared",
            fix="let the factory wrap the model so that it returns tensors",
        )
    for key, value in out.items():
        _flatten_into(found, value, f"{prefix}.{key}" if prefix else str(key))


def positional(model: torch.nn.Module, inputs: Mapping[str, torch.Tensor]) -> tuple[torch.nn.Module, tuple[str, ...]]:
    """A module that takes ``inputs``' tensors in order and returns a flat tuple, and the names of what it returns.

    For tracing and exporting, which lose names and container types; the names come from one call.
    """
    import torch

    names = tuple(inputs)
    with torch.no_grad():
        outputs = tuple(flatten_outputs(model(**inputs)))

    class Positional(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *values: Any) -> Any:
            return tuple(flatten_outputs(self.model(**dict(zip(names, values, strict=True)))).values())

    return Positional().eval(), outputs


# --------------------------------------------------------------------------------------------------------- fairness


def fairness(case: Case, options: TorchOptions, device: str, graph_capture: str) -> dict[str, Any]:
    """What a reader must know to compare a PyTorch case with another; the same keys for every PyTorch backend."""
    import torch

    told: dict[str, Any] = {
        "tf32": {
            "matmul": bool(torch.backends.cuda.matmul.allow_tf32),
            "cudnn": bool(torch.backends.cudnn.allow_tf32),
        },
        "memory_format": options.memory_format,
        "autocast": options.autocast,
        "inference_mode": True,
        "threads": torch.get_num_threads(),
        "interop_threads": torch.get_num_interop_threads(),
        "onednn": bool(torch.backends.mkldnn.is_available()),
        "graph_capture": graph_capture,
    }
    if device != "cpu":
        told["cudnn_benchmark"] = bool(torch.backends.cudnn.benchmark)
    return told
