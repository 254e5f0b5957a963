"""The weights and constants of torch.export's program: by their placeholders, and as attributes of a module."""

from __future__ import annotations

import keyword
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from bench.errors import Unsupported

if TYPE_CHECKING:
    import torch


def check_numbers(name: str, value: torch.Tensor) -> None:
    """Unsupported if the weight ``name`` is NaN anywhere."""
    if value.is_floating_point() and bool(value.isnan().any()):
        raise Unsupported(f"the weight {name!r} has values that are no numbers (NaN)", fix="check the checkpoint")


def sources(program: Any) -> dict[str, tuple[str, Any]]:
    """The weights and constants by the names of their placeholders: their names in the model, and tensors."""
    signature = program.graph_signature
    sources = {}
    for placeholder, name in (signature.inputs_to_parameters | signature.inputs_to_buffers).items():
        value = program.state_dict[name] if name in program.state_dict else program.constants[name]
        sources[placeholder] = (name, value)
    for placeholder, name in signature.inputs_to_lifted_tensor_constants.items():
        sources[placeholder] = (name, program.constants[name])
    return sources


def attribute(name: str, others: Collection[str]) -> str:
    """The name of a weight in a graph: its own, but with an underscore behind a part that is a keyword of Python
    (``heads.class_.weight``), which torch.fx would write into the code of a graph as it is; with more of them until no
    module has it beside ``others``.
    """
    parts = name.split(".")
    if not any(map(keyword.iskeyword, parts)):
        return name
    for count in range(1, len(others) + 2):
        new = ".".join(part + "_" * count * keyword.iskeyword(part) for part in parts)
        if not any(_collide(new, other) for other in others):
            break
    return new


def _collide(name: str, other: str) -> bool:
    """Whether a module cannot have both weights: they have one name, or one is where the other needs a module."""
    return name == other or name.startswith(f"{other}.") or other.startswith(f"{name}.")


def holder(state: Mapping[str, torch.Tensor]) -> torch.nn.Module:
    """A module that has the tensors under their dotted names."""
    import torch

    root = torch.nn.Module()
    for name, value in state.items():
        *parents, last = name.split(".")
        module = root
        for part in parents:
            if not hasattr(module, part):
                module.add_module(part, torch.nn.Module())
            module = getattr(module, part)
        module.register_buffer(last, value)
    return root
