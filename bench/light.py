"""Speed of light: the arithmetic and bytes that a case cannot avoid, and the rates at which a machine does them."""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import math
import statistics
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bench.backends import _torch
from bench.errors import BenchError, CaseError, SuiteError
from bench.model import Case, Measurement, Work
from bench.seam import Context
from bench.units import NS_PER_S

if TYPE_CHECKING:
    import torch

ITEMSIZE = {"fp32": 4, "tf32": 4, "fp16": 2, "bf16": 2, "int8": 1, "fp8": 1}
_DTYPES = {"fp32": "float32", "tf32": "float32", "fp16": "float16", "bf16": "bfloat16"}


def count(case: Case, context: Context) -> Work:
    """FLOPs of one call by torch.utils.flop_counter on meta tensors, where attention is counted on any machine, and
    bytes = parameters and buffers + inputs + outputs, each once, floats at the case's precision.

    A model that cannot be built or run without memory is built and run once on the CPU instead.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    size = ITEMSIZE[case.precision]
    for device in ("meta", "cpu"):
        try:
            with torch.device(device):
                model = _torch.build_model(case, context, device=device)
            inputs = {
                name: torch.empty([int(n) for n in spec.shape], dtype=getattr(torch, spec.dtype), device=device).zero_()
                for name, spec in case.resolved.items()
            }
            # On a CPU attention is counted only where it is written as two matrix products.
            attention = contextlib.nullcontext() if device == "meta" else _attention_as_products()
            with FlopCounterMode(display=False) as counter, torch.no_grad(), attention:
                outputs = _torch.flatten_outputs(model(**inputs))
        except BenchError:
            raise
        except TypeError as error:
            _check_names(model, case, error)
            if device == "cpu":
                raise CaseError(f"the model cannot be run on zeros: {error}") from error
            continue
        except Exception as error:  # on meta tensors an operator or a .item(); on zeros anything that a model may do
            if device == "cpu":
                raise CaseError(f"the model cannot be run on zeros: {error}") from error
            continue
        break
    weights = [*model.parameters(), *model.buffers()]
    moved = sum(_bytes(t, size) for t in (*weights, *inputs.values(), *outputs.values()))
    return Work(flops=counter.get_total_flops(), bytes=moved, parameters=sum(p.numel() for p in model.parameters()))


def _check_names(model: torch.nn.Module, case: Case, raised: TypeError) -> None:
    """SuiteError if a call ``raised`` because ``forward`` has no parameters of the inputs' names, or wants more.

    Asked only then: hooks and wrappers may take what the signature does not show.
    """
    try:
        inspect.signature(model.forward).bind(**case.inputs)
    except TypeError:
        fix = f"correct `inputs` of the model {case.model!r}"
        raise SuiteError(f"the model does not take these inputs: {raised}", where=case.source, fix=fix) from raised


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


def achieved(work: Work, precision: str, ceilings: Mapping[str, float], measurements: tuple[Measurement, ...]) -> Work:
    """``work`` with the fraction of the roofline that each boundary reached (Williams, Waterman, Patterson 2009):
    max(flops / rate, bytes / bandwidth) over the median time of a call, or over the time per call in ``throughput``.
    """
    rate, bandwidth = ceilings.get(precision), ceilings.get("copy")
    if not rate or not bandwidth:
        return work
    compute, memory = work.flops / rate * NS_PER_S, work.bytes / bandwidth * NS_PER_S
    light = max(compute, memory)
    fraction: dict[str, float] = {}
    for m in measurements:
        took = m.window_ns / m.calls if m.calls else statistics.median(m.samples) if m.samples else 0
        if m.boundary in ("gpu", "gpu_unheld", "compute", "latency", "throughput") and took > 0:
            fraction[m.boundary] = light / took
    return Work(
        flops=work.flops,
        bytes=work.bytes,
        parameters=work.parameters,
        bound="compute" if compute >= memory else "memory",
        fraction=fraction,
    )


def ceilings(device: str) -> dict[str, float]:
    """The best rates seen on ``device``: FLOP/s of a square matrix product per precision, bytes/s of a copy.

    Random data, because zeros can run faster. A product of n x n matrices counts 2 n^3; a copy counts bytes read plus
    bytes written. tf32 is measured on a GPU only. On a CPU, where products and convolutions come from different
    libraries, the rate is that of the faster one.
    """
    import torch

    rates: dict[str, float] = {}
    for precision, name in _DTYPES.items():
        if precision == "tf32" and device == "cpu":
            continue
        with contextlib.suppress(RuntimeError), _torch.tf32(precision == "tf32"):
            rates[precision] = _product_rate(torch, getattr(torch, name), device)
            if device == "cpu":
                rates[precision] = max(rates[precision], _convolution_rate(torch, getattr(torch, name)))
    source = torch.randn(1 << (28 if device != "cpu" else 25), device=device)
    target = torch.empty_like(source)
    rates["copy"] = 2 * source.nbytes / _best(lambda: target.copy_(source), device)
    return rates


def _product_rate(torch: Any, dtype: torch.dtype, device: str) -> float:
    """FLOP/s of the largest product that still takes a bounded time: the size doubles until one takes 50 ms."""
    size, rate = 256, 0.0
    while size <= (8192 if device != "cpu" else 2048):
        a = torch.randn(size, size, device=device).to(dtype)
        b = torch.randn(size, size, device=device).to(dtype)
        seconds = _best(lambda a=a, b=b: a @ b, device)
        rate = max(rate, 2 * size**3 / seconds)
        if seconds > 0.05:
            break
        size *= 2
    return rate


def _convolution_rate(torch: Any, dtype: torch.dtype) -> float:
    """FLOP/s of a 3 x 3 convolution of 256 to 256 channels at 56 x 56, batch 2, counted directly (9 multiply-adds)."""
    batch, channels, side = 2, 256, 56
    x = torch.randn(batch, channels, side, side).to(dtype)
    layer = torch.nn.Conv2d(channels, channels, 3, padding=1).to(dtype)
    with torch.inference_mode():
        return float(2 * 9 * batch * (channels * side) ** 2 / _best(lambda: layer(x), "cpu"))


def _best(call: Any, device: str, repeats: int = 5) -> float:
    """Seconds of the fastest of ``repeats`` calls after one that warms up; the device is waited for."""
    import torch

    wait = torch.cuda.synchronize if device != "cpu" else (lambda: None)
    best = math.inf
    for index in range(repeats + 1):
        wait()
        start = time.perf_counter_ns()
        call()
        wait()
        if index:
            best = min(best, (time.perf_counter_ns() - start) / NS_PER_S)
    return best


def _bytes(tensor: torch.Tensor, size: int) -> int:
    return int(tensor.numel() * (size if tensor.is_floating_point() else tensor.element_size()))
