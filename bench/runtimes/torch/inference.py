"""What a factory returned, as a module ready for inference: sizes of lazy layers, eval mode, no key-value caches."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from bench import tensors
from bench.model.suite import Case
from bench.runtimes.torch import programs

if TYPE_CHECKING:
    import torch


def to_module(made: Any, case: Case) -> Any:
    """A program of ``torch.export``, or its module, as a module that takes inputs by name; anything else as it is."""
    import torch

    exported = getattr(getattr(torch, "export", None), "ExportedProgram", None)
    if exported is not None and isinstance(made, exported):
        return programs.as_module(case, made)
    if isinstance(made, torch.fx.GraphModule) and getattr(made, "_in_spec", None) is not None:
        return _by_name(made)
    return made


def _by_name(program: torch.fx.GraphModule) -> torch.nn.Module:
    """A module around one of torch.export, which takes its inputs only as it was exported with them: by position or
    by name.
    """
    import torch

    spec: Any = program._in_spec
    names = list(inspect.signature(program.forward).parameters)
    by_keyword = spec.child(1) if hasattr(spec, "child") else spec.children_specs[1]
    count = len(names) - by_keyword.num_children

    class Exported(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.program = program

        def train(self, mode: bool = True) -> Exported:
            self.training = mode  # the program was exported in one mode, and refuses to change it
            return self

        def forward(self, **inputs: torch.Tensor) -> Any:
            if set(inputs) != set(names):
                raise TypeError(f"the exported program takes {', '.join(names)}, and the suite has {', '.join(inputs)}")
            by_position = [inputs[name] for name in names[:count]]
            return self.program(*by_position, **{name: inputs[name] for name in names[count:]})

    return eval_wrapper(Exported())


def to_inference(model: torch.nn.Module, case: Case, seed: int, device: str) -> torch.nn.Module:
    """``model`` in eval mode on ``device``, with the layers initialised that take their sizes from the first input.

    A module of torch.export has no modes: it is what it was exported as. ``use_cache`` of every configuration of
    transformers in it is switched off, so that a call returns the same whatever the calls before.
    """
    _evaluate(model)
    for module in model.modules():
        _switch_caches_off(getattr(module, "config", None), set())
        _switch_caches_off(getattr(module, "generation_config", None), set())
    if any(_is_lazy(parameter) for parameter in (*model.parameters(), *model.buffers())):
        _initialise(model, case, seed, device)
    return model.to(device) or model


def _evaluate(module: torch.nn.Module) -> None:
    """Eval mode for ``module``: a part of torch.export refuses to be switched, the others are switched without it."""
    try:
        module.eval()  # a user's own `train` may return nothing
    except NotImplementedError:
        module.training = False
        for child in module.children():
            _evaluate(child)


def eval_wrapper(module: torch.nn.Module) -> torch.nn.Module:
    """``module``, which wraps one that is ready, in eval mode itself; ``eval`` would ask the wrapped one again."""
    module.training = False
    return module


def _is_lazy(parameter: torch.Tensor) -> bool:
    from torch.nn.parameter import is_lazy

    return bool(is_lazy(parameter))


def _initialise(model: torch.nn.Module, case: Case, seed: int, device: str) -> None:
    """One call on seeded inputs of the case. RuntimeError on ``meta``, where no layer can draw its weights."""
    import torch

    if device == "meta":
        raise RuntimeError("lazy layers have no sizes without inputs")
    kinds = [p.dtype for p in model.parameters() if p.dtype.is_floating_point]
    inputs = {}
    for name, array in tensors.seeded_inputs(case.resolved, seed).items():
        tensor = torch.from_numpy(array)
        narrow = tensor.dtype == torch.float32 and kinds and kinds[0].itemsize < 4
        inputs[name] = tensor.to(kinds[0]) if narrow else tensor
    with torch.no_grad():
        model(**inputs, **case.arguments)


def _switch_caches_off(config: Any, visited: set[int]) -> None:
    """``use_cache`` of a configuration and of those inside it, as models of several parts have them."""
    if not hasattr(config, "__dict__") or isinstance(config, type) or id(config) in visited:
        return
    visited.add(id(config))
    values = vars(config)
    if values.get("use_cache") is True:
        config.use_cache = False
    for value in list(values.values()):
        if type(value).__name__.endswith("Config"):
            _switch_caches_off(value, visited)
