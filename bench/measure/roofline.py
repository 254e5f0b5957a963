"""Speed of light: the arithmetic and bytes that a case cannot avoid, and the rates at which a machine does them."""

from __future__ import annotations

import contextlib
import functools
import importlib.util
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError, CaseError
from bench.measure.weight_reads import weight_reads
from bench.model.run import Work
from bench.model.seam import Context
from bench.model.suite import Case
from bench.runtimes.torch import calls, errors, factories
from bench.runtimes.torch.outputs import flatten_outputs
from bench.runtimes.torch.precision import tf32
from bench.units import NS_PER_S

if TYPE_CHECKING:
    import torch

ITEMSIZE = {"fp32": 4, "tf32": 4, "fp16": 2, "bf16": 2, "int8": 1, "fp8": 1}
_DTYPES = {"fp32": "float32", "tf32": "float32", "fp16": "float16", "bf16": "bfloat16"}
# Rounds in which the rates are read: while others compute, a reading of a second may be several times too low.
_ROUNDS = 5
# A kernel that reads less than this fraction of the best of its precision is not read again, e.g. one without
# instructions of its own.
_BEHIND = 0.1
# In a round each size of a kernel is called at least this often, and for this many seconds.
_CALLS, _WINDOW = 3, 0.02
# Seconds of a call from which its kernel is not made larger.
_LONG = 0.05

Kernel = tuple[tuple[str, ...], Callable[[], float]]


def count(case: Case, context: Context) -> Work:
    """FLOPs of one call by torch.utils.flop_counter on meta tensors, where attention is counted on any machine, and
    bytes = what operators read of parameters and buffers (weight_reads) + inputs + outputs, each once, floats at the
    case's precision.

    A model that cannot be built or run without memory is built and run once on the CPU instead.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    size = ITEMSIZE[case.precision]
    for device in ("meta", "cpu"):
        try:
            with torch.device(device):
                model = factories.build_model(case, context, device=device)
            inputs = {
                name: torch.empty([int(n) for n in spec.shape], dtype=getattr(torch, spec.dtype), device=device).zero_()
                for name, spec in case.resolved.items()
            }
            # On a CPU attention is counted only where it is written as two matrix products.
            attention = contextlib.nullcontext() if device == "meta" else _attention_as_products()
            names_checked = calls.names_checked(model, case, where=case.source)
            weights = weight_reads([*model.parameters(), *model.buffers()], lambda tensor: _itemsize(tensor, size))
            with (
                weights as bytes_read, FlopCounterMode(display=False) as counter, torch.no_grad(), attention,
                names_checked,
            ):  # fmt: skip
                outputs = flatten_outputs(model(**inputs, **case.arguments))
        except BenchError:
            raise
        except Exception as error:  # on meta tensors an operator or a .item(); on zeros anything that a model may do
            if device == "cpu":
                raise CaseError(f"the model cannot be run on zeros: {errors.brief(error)}") from error
            continue
        break
    traffic = bytes_read() + sum(t.numel() * _itemsize(t, size) for t in (*inputs.values(), *outputs.values()))
    return Work(flops=counter.get_total_flops(), bytes=traffic, parameters=sum(p.numel() for p in model.parameters()))


def _attention_as_products() -> contextlib.AbstractContextManager[Any]:
    """scaled_dot_product_attention as two matrix products for the block."""
    import torch

    if importlib.util.find_spec("torch.nn.attention") is None:  # before torch 2.3
        older: contextlib.AbstractContextManager[Any] = torch.backends.cuda.sdp_kernel(
            enable_flash=False, enable_math=True, enable_mem_efficient=False
        )
        return older
    from torch.nn.attention import SDPBackend, sdpa_kernel

    newer: contextlib.AbstractContextManager[Any] = sdpa_kernel(SDPBackend.MATH)
    return newer


def ceilings(device: str, precisions: Sequence[str] = tuple(_DTYPES)) -> dict[str, float]:
    """The best rates of ``device``: FLOP/s of a square matrix product for each of ``precisions``, bytes/s of a copy.

    Random data, because zeros can run faster. A product of n x n matrices counts 2 n^3; a copy counts bytes read plus
    bytes written. tf32 is measured on a GPU only. On a CPU, where products and convolutions come from different
    libraries, the rate is that of the faster one. That of fp32 counts for the narrower precisions too, whose values it
    can compute with: runtimes do so where a machine has no instructions for them.
    """
    kernels: list[Kernel] = []
    precisions = [precision for precision in _DTYPES if precision in precisions]
    if device == "cpu":
        precisions = [precision for precision in precisions if precision != "tf32"]
    # That of fp32 serves the others.
    for precision in dict.fromkeys(("fp32", *precisions) if precisions else ()):
        serves = (*dict.fromkeys(("fp32", *precisions)),) if precision == "fp32" else (precision,)
        kernels.append((serves, functools.partial(_product_rate, precision, device)))
        if device == "cpu":
            kernels.append((serves, functools.partial(_convolution_rate, precision)))
    kernels.append((("copy",), functools.partial(_copy_rate, device)))
    return fastest(kernels)


def fastest(kernels: Sequence[Kernel]) -> dict[str, float]:
    """The best rate by name: ``kernels`` are the names that each counts for and how to read it, 0 where there is none.

    They are read in turn, in rounds, because what disturbs a reading lasts longer than it: the next one of the same
    kernel should come later.
    """
    rates: dict[str, float] = {}
    for _ in range(_ROUNDS):
        read = [(names, kernel, kernel()) for names, kernel in kernels]
        for names, _, rate in read:
            rates |= {name: max(rates.get(name, 0.0), rate) for name in names if rate}
        kernels = [
            (names, kernel)
            for names, kernel, rate in read
            if rate and any(rate >= _BEHIND * rates[name] for name in names)
        ]
    return rates


def _product_rate(precision: str, device: str) -> float:
    """FLOP/s of the best square matrix product; 0 where torch has none."""
    import torch

    dtype = getattr(torch, _DTYPES[precision])

    def product(size: int) -> tuple[int, Callable[[], Any]]:
        a = torch.randn(size, size, device=device).to(dtype)
        b = torch.randn(size, size, device=device).to(dtype)
        return 2 * size**3, lambda: a @ b

    with tf32(precision == "tf32"):
        return _growing(product, (256, 512, 1024, 2048, *((4096, 8192) if device != "cpu" else ())), device)


def _convolution_rate(precision: str) -> float:
    """FLOP/s on a CPU of the best 3 x 3 convolution of 256 to 256 channels, batch 2, counted directly (9
    multiply-adds); 0 where torch has none.
    """
    import torch

    dtype = getattr(torch, _DTYPES[precision])
    batch, channels = 2, 256

    def convolution(side: int) -> tuple[int, Callable[[], Any]]:
        x = torch.randn(batch, channels, side, side).to(dtype)
        layer = torch.nn.Conv2d(channels, channels, 3, padding=1).to(dtype)
        return 2 * 9 * batch * (channels * side) ** 2, lambda: layer(x)

    with torch.inference_mode():
        return _growing(convolution, (14, 28, 56), "cpu")


def _growing(kernel: Callable[[int], tuple[int, Callable[[], Any]]], sizes: Sequence[int], device: str) -> float:
    """The best FLOP/s of a kernel, its FLOPs and its call by size, up to the first size that takes long."""
    rate = 0.0
    with contextlib.suppress(RuntimeError):  # no such kernel, or no room for it
        for size in sizes:
            flops, call = kernel(size)
            seconds = _best(call, device)
            rate = max(rate, flops / seconds)
            if seconds > _LONG:
                break
    return rate


def _copy_rate(device: str) -> float:
    """Bytes/s, read plus written, of a copy larger than any cache."""
    import torch

    source = torch.randn(1 << (28 if device != "cpu" else 25), device=device)
    target = torch.empty_like(source)
    return float(2 * source.nbytes / _best(lambda: target.copy_(source), device))


def _best(call: Callable[[], Any], device: str) -> float:
    """Seconds of the fastest of several calls after a warm-up call, each with the wait for the device."""
    import torch

    wait = torch.cuda.synchronize if device != "cpu" else (lambda: None)
    call()
    seconds: list[float] = []
    while len(seconds) < _CALLS or sum(seconds) < _WINDOW:
        wait()
        start = time.perf_counter_ns()
        call()
        wait()
        seconds.append((time.perf_counter_ns() - start) / NS_PER_S)
    return min(seconds)


def _itemsize(tensor: torch.Tensor, size: int) -> int:
    return size if tensor.is_floating_point() else tensor.element_size()
