"""The model of a case as it is measured, its input tensors, and the tensors that a module owns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from bench import tensors
from bench.model.seam import Context
from bench.model.suite import Case
from bench.runtimes import shapes
from bench.runtimes.torch import factories, fp8, inference, precision, programs, weights
from bench.runtimes.torch.options import TorchOptions

if TYPE_CHECKING:
    import torch


def load_model(case: Case, options: TorchOptions, context: Context, device: str) -> torch.nn.Module:
    """The case's model as it is measured: precision, memory format and autocast applied, on ``device``.

    Errors as of ``load_original``.
    """
    return to_measured(load_original(case, context), case, options, device)


def load_original(case: Case, context: Context) -> torch.nn.Module:
    """The case's model on the CPU with the types that its factory gave it.

    Its weights are those of the weights artifact, if the case has one; else CaseError if they are not those of the
    reference.
    """
    model = factories.build_model(case, context, device="cpu")
    if weights.STAGE in context.artifacts:
        weights.load_weights(model, context.artifacts[weights.STAGE])
    elif "reference" in context.artifacts:
        weights.check_fingerprint(model, context.artifacts["reference"])
    return model


def load_fp8(
    case: Case, options: TorchOptions, context: Context, scales: fp8.Scales
) -> tuple[torch.nn.Module, dict[str, Any]]:
    """As ``load_model`` on the case's device, of a case at fp8; and what of it is at fp8, for the fairness report.

    Errors as of ``load_original`` and ``fp8.convert``.
    """
    model = programs.bind(load_original(case, context), case)
    replacements, report = fp8.convert(model, scales, context.device)
    model = to_measured(model, msgspec.structs.replace(case, arguments={}), options, context.device)
    return fp8.replace(model, replacements), report


def to_measured(model: torch.nn.Module, case: Case, options: TorchOptions, device: str) -> torch.nn.Module:
    """``model`` as the case asks for it, on ``device``. TF32 is as the precision says, whatever the factory's file has
    set.
    """
    import torch

    precision.set_tf32(case.precision == "tf32")
    model = programs.bind(model, case)
    if options.memory_format == "channels_last":
        model = model.to(memory_format=torch.channels_last)
    dtype = precision.dtype(case.precision)
    if not options.autocast:
        return precision.convert(model, dtype, device)
    return _autocast(precision.convert(model, torch.float32, device), torch.device(device).type, dtype)


def _autocast(model: torch.nn.Module, device_type: str, to: torch.dtype) -> torch.nn.Module:
    import torch

    class Autocast(torch.nn.Module):  # type: ignore[misc]
        passes_inputs_on = True

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, **inputs: Any) -> Any:
            # Without the cache of cast weights: it serves training only, and tracing fails with it.
            with torch.autocast(device_type, dtype=to, cache_enabled=False):
                return self.model(**inputs)

    return inference.eval_wrapper(Autocast())


def to_tensors(
    arrays: Mapping[str, tensors.Array], case: Case, memory_format: str, device: str
) -> dict[str, torch.Tensor]:
    """New tensors on ``device`` with the arrays' values, at the case's precision as ``precision.convert`` does it."""
    import torch

    result = {}
    for name, array in arrays.items():
        tensor = torch.from_numpy(array.copy())
        tensor = precision.convert_tensor(tensor, precision.dtype(case.precision))
        if memory_format == "channels_last" and tensor.dim() == 4:
            tensor = tensor.contiguous(memory_format=torch.channels_last)
        result[name] = tensor.to(device)
    return result


def load_with_example(
    case: Case, options: TorchOptions, context: Context
) -> tuple[torch.nn.Module, dict[str, torch.Tensor]]:
    """The model on the case's device, and inputs there to trace or compile it with."""
    model = load_model(case, options, context, context.device)
    arrays = shapes.example_arrays(case, context)
    return model, to_tensors(arrays, case, options.memory_format, context.device)


def module_tensors(module: torch.nn.Module) -> list[torch.Tensor]:
    """The tensors that a module owns: parameters, buffers, and those in plain attributes of it and of its submodules,
    e.g. a grid that the first call creates and every call returns.
    """
    import torch

    result: list[torch.Tensor] = [*module.parameters(), *module.buffers()]
    pending: list[Any] = [vars(each) for each in module.modules()]
    ids: set[int] = set()
    while pending:
        value = pending.pop()
        if isinstance(value, torch.Tensor):
            result.append(value)
        elif isinstance(value, dict | list | tuple) and id(value) not in ids:
            ids.add(id(value))
            pending += value.values() if isinstance(value, dict) else value
    return result
