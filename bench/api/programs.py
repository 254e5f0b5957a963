"""Network programs: the source that builds a model's TensorRT network, and the ops that it can be written of."""

from __future__ import annotations

import os
from pathlib import Path
from typing import get_args

import msgspec

from bench.api.results import OnEvent, check_choice, ignore
from bench.api.suites import default_cache
from bench.model.divergence import Divergence, On
from bench.model.placement import Placement
from bench.model.program import NetworkProgram, SupportedOp
from bench.model.sensitivity import QuantizationCost, Question
from bench.model.tensor_ranges import CaseRanges
from bench.runner.request import Request


def codegen(request: Request, out: str | os.PathLike[str], *, on_event: OnEvent | None = None) -> list[NetworkProgram]:
    """Write the network program of each case of a request into the folder ``out``: ``program.py`` and its weights.

    Where the cases have several programs, each has a folder of ``out``. The device of the plan need not be here (see
    ``plan_only`` of ``request``).

    Raises:
        UsageError: a backend of the cases writes no programs, or a program lies in ``out`` already.
        StoreError: the cache cannot be written.
        ProgramsInterrupted: Ctrl-C, or a signal as it, ended it; ``folders`` have the programs written until then.
    """
    from bench.runner import codegen

    return list(codegen.write(_with_cache(request), Path(out), on_event or ignore))


def _with_cache(request: Request) -> Request:
    """The request with a cache that can be written: a plan may have none."""
    from bench.store import artifacts

    if not request.settings.cache:
        settings = msgspec.structs.replace(request.settings, cache=str(default_cache(True)))
        request = msgspec.structs.replace(request, settings=settings)
    artifacts.check_writable(Path(request.settings.cache))
    return request


def diverge(
    request: Request,
    *,
    on: On = "oracle",
    at_once: int = 0,
    limit: float | None = None,
    on_event: OnEvent | None = None,
) -> list[Divergence]:
    """The first layer of each case's network whose output leaves the limits against eager, and what that comes from.

    Args:
        request: at most 8 cases of ``fx2trt``, or of ``tensorrt`` without ``network``; others are left out.
        on: ``"oracle"``, an interpreter on the CPU, which needs PyTorch and no device, or ``"engine"``.
        at_once: how many tensors are outputs at a time; 0: one of an engine, all on the oracle.
        limit: the rel L2 that every tensor must keep, in place of the suite's limits on accuracy.
        on_event: as in ``run``.

    Raises:
        UsageError: no or too many cases, or a backend whose networks cannot be looked into.
        SuiteError: a file or a function that the suite names is not there, before the device is waited for.
        StoreError: the cache cannot be written.
    """
    from bench.checkup import diverge

    check_choice("on", on, get_args(On))
    return list(diverge.diverge(_with_cache(request), on, at_once, limit, on_event or ignore))


def lint_qdq(request: Request, *, on_event: OnEvent | None = None) -> list[Placement]:
    """Where the quantize and dequantize layers (Q/DQ) of each int8 case keep TensorRT from a fusion.

    Cases of other precisions and of backends that place no Q/DQ are left out. The device need not be here.

    Raises:
        UsageError: no case is left.
        StoreError: the cache cannot be written.
    """
    from bench.checkup import quantized

    return list(quantized.lint(_with_cache(request), on_event or ignore))


def lint_qdq_file(path: str | os.PathLike[str]) -> Placement:
    """The same of an ONNX file with QuantizeLinear and DequantizeLinear.

    Raises:
        UsageError: it is no ONNX file.
        Unavailable: the package onnx is not installed.
    """
    from bench.checkup import quantized

    return quantized.lint_file(Path(path))


def calibration_ranges(request: Request, *, on_event: OnEvent | None = None) -> list[CaseRanges]:
    """What the calibration of each int8 case observed: ranges of its tensors, histograms, and tensors without a scale.

    A case is calibrated on the CPU, unless its calibration is in the cache. Cases of other precisions are left out.

    Raises:
        UsageError: no case is left.
        StoreError: the cache cannot be written.
    """
    from bench.checkup import quantized

    return list(quantized.ranges(_with_cache(request), on_event or ignore))


def quantization_cost(
    request: Request,
    *,
    target: str = "",
    metric: str = "",
    samples: int = 32,
    rank: bool = False,
    on_event: OnEvent | None = None,
) -> list[QuantizationCost]:
    """What quantizing costs each int8 case in accuracy, and which layers to leave in floating point to keep a limit.

    Computed by PyTorch on the CPU, which the device of the plan need not be beside. Cases of other precisions are left
    out.

    Args:
        request: the cases; each is calibrated first.
        target: e.g. ``"top1 >= -0.5 %"`` (half a point less than fp32), ``"cosine >= 0.999"``; empty: no search.
        metric: the user's ``file.py:function`` beside the suite, of outputs and reference by name, in place of
            ``top1``, ``cosine`` and ``sqnr``.
        samples: inputs to compare on, drawn apart from those of the calibration, or the user's calibration data.
        rank: also measure with one layer quantized at a time.
        on_event: as in ``run``.

    Raises:
        UsageError: no case is left, or ``target`` is none.
        StoreError: the cache cannot be written.
    """
    from bench.checkup import quantized

    question = Question(target=target, metric=metric, samples=samples, rank=rank)
    return list(quantized.accuracy(_with_cache(request), question, on_event or ignore))


def ops() -> list[SupportedOp]:
    """The ops that network programs can be written of, by name. No runtime is imported."""
    from bench.backends import base
    from bench.model.abilities import WritesPrograms

    backends = [backend for backend in base.registry().values() if isinstance(backend, WritesPrograms)]
    return sorted({op.name: op for backend in backends for op in backend.ops()}.values(), key=lambda op: op.name)
