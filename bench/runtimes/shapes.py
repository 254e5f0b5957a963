"""Which dimensions of a case stay dynamic, example inputs for tracing, and the keys of artifacts made from a model."""

from __future__ import annotations

from typing import Any

import msgspec

from bench import tensors
from bench.model.factory import LIBRARIES, program_of
from bench.model.seam import Context, Stage
from bench.model.suite import Case, resolve_shapes

# Raise it when what a reference has, or how it is computed, changes.
_REFERENCE = 2


def dynamic_axes(case: Case) -> dict[str, dict[int, str]]:
    """The dimensions of each input that must stay dynamic: input name -> dimension -> symbol."""
    return {
        name: {axis: size for axis, size in enumerate(spec.shape) if isinstance(size, str) and size in case.dynamic}
        for name, spec in case.inputs.items()
    }


def example_arrays(case: Case, context: Context) -> dict[str, tensors.Array]:
    """Inputs to trace or compile with: the case's own, or where sizes are dynamic, seeded ones at ``opt``.

    Not at size 1, which torch.export and torch.compile take for a constant, unless the range has no other.
    """
    if not case.dynamic:
        return context.inputs
    sizes = case.symbols | example_sizes(case)
    return tensors.case_inputs(case, context.seed, context.suite_dir, sizes, repeat=True)


def example_sizes(case: Case) -> dict[str, int]:
    """The sizes of the dynamic symbols in ``example_arrays``."""
    return {name: min(max(span.opt, 2), span.max) for name, span in case.dynamic.items()}


def dynamic_dims(case: Case) -> tuple[dict[int, Any] | None, ...] | None:
    """``dynamic_axes`` as torch.export wants them for positional inputs (torch.export.Dim); None if all are fixed."""
    if not case.dynamic:
        return None
    import torch

    dims = {name: torch.export.Dim(name, min=span.min, max=span.max) for name, span in case.dynamic.items()}
    return tuple({axis: dims[symbol] for axis, symbol in of.items()} or None for of in dynamic_axes(case).values())


def profile(case: Case) -> dict[str, tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]]:
    """The least, the usual and the largest shape of each input that has dynamic sizes."""
    points = [case.symbols | {n: getattr(span, at) for n, span in case.dynamic.items()} for at in ("min", "opt", "max")]
    ranges = {}
    for name in (name for name, axes in dynamic_axes(case).items() if axes):
        low, usual, high = (tuple(int(n) for n in resolve_shapes(case.inputs, of)[name].shape) for of in points)
        ranges[name] = (low, usual, high)
    return ranges


def model_key(case: Case) -> dict[str, Any]:
    """The parts of a case that determine its model and shapes. Dynamic sizes are names, so all points share it."""
    fixed = {name: size for name, size in case.symbols.items() if name not in case.dynamic}
    inputs = msgspec.json.decode(
        msgspec.json.encode(resolve_shapes(case.inputs, fixed | {name: name for name in case.dynamic}))
    )
    ranges = msgspec.to_builtins(case.dynamic)
    key = {"factory": case.factory, "args": case.args, "config": case.config, "inputs": inputs, "dynamic": ranges}
    return key | ({"arguments": case.arguments} if case.arguments else {})


def libraries(case: Case, *more: str) -> tuple[str, ...]:
    """The distributions that can change the model's weights or graph."""
    if program_of(case.factory) == "onnx":  # what it computes does not depend on torch
        return more
    library = case.factory.partition(":")[0].partition(".")[0]
    return ("torch", *((library,) if library in LIBRARIES else LIBRARIES), *more)


def reference_stage(case: Case) -> Stage:
    """The fp32 outputs of eager, which all backends are compared with; of an ONNX file those of ONNX Runtime's CPU."""
    key = model_key(msgspec.structs.replace(case, dynamic={})) | {"reference": _REFERENCE}
    if program_of(case.factory) == "onnx":
        of_runtime = ("onnxruntime", "onnxruntime-gpu")
        return Stage(name="reference", kind="reference", producer="onnxruntime", key=key, libraries=of_runtime)
    return Stage(name="reference", kind="reference", producer="eager", key=key, libraries=libraries(case))
