"""The model of a case as it is measured, its input tensors, and the tensors that a module owns."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from bench import tensors
from bench.errors import CaseError
from bench.model.seam import WEIGHTS, Context
from bench.model.suite import Case
from bench.runtimes import shapes
from bench.runtimes.torch import factories, fp8, inference, prebuilt, precision, programs, weights
from bench.runtimes.torch.options import TorchOptions

if TYPE_CHECKING:
    import torch

# Of more bytes a CPU's caches hold a part that is always another, and so many pages lie alike in all processes.
_CACHED_BYTES = 64 << 20


def load_model(case: Case, options: TorchOptions, context: Context, device: str) -> torch.nn.Module:
    """The case's model as it is measured: precision, memory format and autocast applied, on ``device``.

    Errors as of ``load_original``.
    """
    return to_measured(load_original(case, context), case, options, device)


def load_original(case: Case, context: Context) -> torch.nn.Module:
    """The case's model on the CPU with the types that its factory gave it.

    Its weights are those of the weights artifact, if the case has one; else CaseError if they are not those of the
    reference. It is not built where a process before the fork of this one has done it.
    """
    model = prebuilt.take(case, context)
    if model is not None:
        if context.device == "cpu" and (_may_be_cached(model) or _memory_nodes() > 1):
            to_own_memory(model)
        with contextlib.suppress(CaseError):  # one thread may draw other last digits than several: by it is no verdict
            return _checked(model, context)
    return _checked(factories.build_model(case, context, device="cpu"), context)


def _checked(model: torch.nn.Module, context: Context) -> torch.nn.Module:
    """``model`` with the weights of the weights artifact; without one, CaseError unless they are the reference's."""
    if WEIGHTS in context.artifacts:
        weights.load_weights(model, context.artifacts[WEIGHTS])
    elif "reference" in context.artifacts:
        weights.check_fingerprint(model, context.artifacts["reference"])
    return model


def _may_be_cached(model: torch.nn.Module) -> bool:
    """Whether it can matter to the caches of a CPU in which pages the tensors of ``model`` lie."""
    tensors = {id(each): each for each in module_tensors(model)}.values()
    return bool(sum(tensor.numel() * tensor.element_size() for tensor in tensors) <= _CACHED_BYTES)


def _memory_nodes() -> int:
    """How many parts of its memory this host reaches with different speed."""
    return len(list(Path("/sys/devices/system/node").glob("node[0-9]*")))


def to_own_memory(model: torch.nn.Module) -> None:
    """Move the tensors of a model on the CPU, in place, to memory that this process has by itself. Views stay views.

    Processes that were forked from one share its pages, and with them how these lie in caches and on sockets: what they
    measure on a CPU would be no independent evidence. Its time is not far from that of drawing weights.
    """
    import torch

    memory: dict[tuple[int, int], Any] = {}
    for tensor in {id(each): each for each in module_tensors(model)}.values():
        if type(tensor) not in (torch.Tensor, torch.nn.Parameter) or tensor.layout is not torch.strided:
            continue
        if tensor.device.type != "cpu" or tensor.is_quantized or tensor.is_conj() or tensor.is_neg():
            continue
        storage = tensor.untyped_storage()
        if not storage.nbytes():
            continue
        key = storage.data_ptr(), storage.nbytes()
        if key not in memory:
            memory[key] = storage.clone()
        place = tensor.storage_offset(), tensor.shape, tensor.stride()
        tensor.data = torch.empty(0, dtype=tensor.dtype).set_(memory[key], *place)


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
