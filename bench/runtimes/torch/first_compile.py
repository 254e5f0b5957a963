"""Importing this module does what torch.compile does in its first call of a process whatever the model: imports, the
digests of torch's and Triton's own files, and on a build for CPUs the look for vector extensions. That takes longer
than a small model from a warm cache. No device is started.
"""

from __future__ import annotations

import contextlib
import importlib

# Code generators of all devices, exporters, C++ extensions: by name, as none is of torch's public interface. Those that
# a version of torch, or a build without CUDA, does not have are left out.
_MODULES = (
    "torch._inductor.compile_fx",
    "torch._dynamo.backends.inductor",
    "torch._dynamo.repro.after_dynamo",
    "torch._functorch._aot_autograd.subclass_codegen",
    "torch._inductor.codecache",
    "torch._inductor.codegen.cpp_wrapper_gpu",
    "torch._inductor.codegen.triton",
    "torch._inductor.compiler_bisector",
    "torch._inductor.runtime.static_cuda_launcher",
    "torch._inductor.runtime.static_triton_launcher",
    "torch._inductor.runtime.triton_heuristics",
    "torch.distributed.tensor.experimental._attention",
    "torch.export._trace",
    "torch.export._unlift",
    "torch.fx.experimental.validator",
    "triton.compiler",
    "triton.language",
)


def _import() -> None:
    for name in _MODULES:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)


def _call(module: str, name: str) -> None:
    """Call a function that keeps its result; one that this version of torch does not have is left out."""
    with contextlib.suppress(ImportError):
        function = getattr(importlib.import_module(module), name, None)
        if function is not None:
            function()


_import()
_call("torch._inductor.codegen.common", "init_backend_registration")  # imports the generators of all devices
_call("torch._inductor.codecache", "torch_key")
_call("triton.runtime.cache", "triton_key")
if importlib.import_module("torch").version.cuda is None:  # else it looks for a device, which initialises the driver
    importlib.import_module("torch.utils.cpp_extension")
    _call("torch._inductor.cpu_vec_isa", "pick_vec_isa")
