"""Named outputs of models with any return type, and wrapper modules for tracers and exporters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.errors import Unsupported
from bench.runtimes.torch import inference

if TYPE_CHECKING:
    import torch


def flatten_outputs(out: Any) -> dict[str, torch.Tensor]:
    """What a model returned, as named tensors in order.

    A tensor is ``output``; a dict, a named tuple or a transformers ModelOutput keeps its keys, a tuple or list counts
    from ``0``; nested names are joined by dots (``hidden_states.0``); None is skipped. Unsupported for anything else,
    and for two tensors of one name.
    """
    import torch

    if isinstance(out, torch.Tensor):
        return {"output": out}
    outputs: dict[str, torch.Tensor] = {}
    _flatten_into(outputs, out, "")
    if not outputs:
        returned = "None" if out is None else f"a {type(out).__name__} without a tensor"
        raise Unsupported(f"the model returned {returned}", fix="return the outputs in its forward")
    return outputs


def _flatten_into(outputs: dict[str, torch.Tensor], out: Any, prefix: str) -> None:
    import torch

    if isinstance(out, torch.Tensor):
        if prefix in outputs:
            raise Unsupported(
                f"two outputs of the model have the name {prefix!r} once nested names are joined by dots, so that one "
                "would not be compared",
                fix="rename one of the keys that the model returns",
            )
        outputs[prefix] = out
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
        _flatten_into(outputs, value, f"{prefix}.{key}" if prefix else str(key))


def positional(model: torch.nn.Module, inputs: Mapping[str, torch.Tensor]) -> tuple[torch.nn.Module, tuple[str, ...]]:
    """A module that takes ``inputs``' tensors in order and returns a flat tuple, and the names of what it returns.

    For tracing and exporting, which lose names and container types; the names come from one call.
    """
    import torch

    with torch.no_grad():
        outputs = tuple(flatten_outputs(model(**inputs)))
    return _flat(model, tuple(inputs), lambda names: None), outputs


def positional_unrun(model: torch.nn.Module, inputs: Sequence[str]) -> tuple[torch.nn.Module, list[str]]:
    """The same without a call, which on a CPU can take longer than an export: the list of names is empty until the
    module is called or traced.
    """
    outputs: list[str] = []

    def write_down(names: Sequence[str]) -> None:
        outputs[:] = names

    return _flat(model, tuple(inputs), write_down), outputs


def _flat(model: torch.nn.Module, names: Sequence[str], on_call: Callable[[Sequence[str]], None]) -> torch.nn.Module:
    import torch

    class Positional(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, *values: Any) -> Any:
            outputs = flatten_outputs(self.model(**dict(zip(names, values, strict=True))))
            on_call(tuple(outputs))
            return tuple(outputs.values())

    return inference.eval_wrapper(Positional())
