"""Which dimensions of a case stay dynamic, example inputs to trace with, and the keys of what is made from a model."""

from __future__ import annotations

from typing import Any

import msgspec

from bench import tensors
from bench.model import Case, Context, Stage


def dynamic_axes(case: Case) -> dict[str, dict[int, str]]:
    """The dimensions of each input that must stay dynamic: input name -> dimension -> symbol.

    A case has sizes in place of symbols, so a dimension belongs to the dynamic symbol whose size it has;
    ``ambiguous_axes`` refuses the cases where that would be a guess.
    """
    sizes = {case.symbols[symbol]: symbol for symbol in case.dynamic}
    return {
        name: {axis: sizes[size] for axis, size in enumerate(spec.shape) if size in sizes}
        for name, spec in case.inputs.items()
    }


def ambiguous_axes(case: Case) -> str | None:
    """Why it cannot be told which dimensions are dynamic, or None."""
    sizes = [case.symbols[symbol] for symbol in case.dynamic]
    clash = len(set(sizes)) < len(sizes)
    for name, spec in case.inputs.items():
        twice = [size for size in sizes if list(spec.shape).count(size) > 1]
        if clash or twice:
            return f"at this size it cannot be told which dimensions of {name!r} are dynamic; measure at another size"
    return None


def example_arrays(case: Case, context: Context) -> dict[str, tensors.Array]:
    """Inputs to trace or compile with: the case's own, or where sizes are dynamic, seeded ones at ``opt``.

    Not at size 1, which torch.export and torch.compile take for a constant, unless the range has no other.
    """
    if not case.dynamic:
        return context.inputs
    sizes = {name: min(max(span.opt, 2), span.max) for name, span in case.dynamic.items()}
    axes = dynamic_axes(case)
    specs = {
        name: msgspec.structs.replace(
            spec, shape=tuple(sizes[axes[name][i]] if i in axes[name] else n for i, n in enumerate(spec.shape))
        )
        for name, spec in case.inputs.items()
    }
    return tensors.seeded_inputs(specs, context.seed)


def dynamic_dims(case: Case) -> tuple[dict[int, Any] | None, ...] | None:
    """``dynamic_axes`` as torch.export wants them for positional inputs (torch.export.Dim); None if all are fixed."""
    if not case.dynamic:
        return None
    import torch

    dims = {name: torch.export.Dim(name, min=span.min, max=span.max) for name, span in case.dynamic.items()}
    return tuple({axis: dims[symbol] for axis, symbol in of.items()} or None for of in dynamic_axes(case).values())


def model_key(case: Case) -> dict[str, Any]:
    """What of a case makes its model and input shapes; dynamic dimensions are named, so that all points share it."""
    axes = dynamic_axes(case)
    inputs = {}
    for name, spec in case.inputs.items():
        inputs[name] = msgspec.to_builtins(spec)
        inputs[name]["shape"] = [axes[name].get(i, size) for i, size in enumerate(spec.shape)]
    ranges = msgspec.to_builtins(case.dynamic)
    return {"factory": case.factory, "args": case.args, "config": case.config, "inputs": inputs, "dynamic": ranges}


def libraries(case: Case, *more: str) -> tuple[str, ...]:
    """The distributions that can change the model's weights or graph."""
    library = case.factory.partition(":")[0]
    own = () if library.endswith(".py") else (library,)
    return ("torch", *(own or ("torchvision", "timm", "transformers")), *more)


def reference_stage(case: Case) -> Stage:
    """The fp32 outputs of eager, which all backends are compared with."""
    fixed = msgspec.structs.replace(case, dynamic={})
    return Stage(name="reference", kind="reference", producer="eager", key=model_key(fixed), libraries=libraries(case))
