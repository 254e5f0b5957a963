"""Modules that are more than their attributes: compiled, traced, wrapped, with hooks; and what to give instead."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from bench.errors import UsageError
from bench.runtimes.torch.origins import FACTORY

if TYPE_CHECKING:
    import torch

_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks", "_state_dict_hooks")
_GLOBAL_HOOKS = {
    "_global_forward_hooks": "register_module_forward_hook",
    "_global_forward_pre_hooks": "register_module_forward_pre_hook",
    "_global_backward_hooks": "register_module_full_backward_hook",
    "_global_backward_pre_hooks": "register_module_full_backward_pre_hook",
}
_WRAPPERS = ("DataParallel", "DistributedDataParallel", "FullyShardedDataParallel")
# Hooks that torch's own functions add to a module, by the class of the hook, and what takes them away.
_REMOVERS = {
    "WeightNorm": "torch.nn.utils.remove_weight_norm(module)",
    "SpectralNorm": "torch.nn.utils.remove_spectral_norm(module)",
}


def check(value: torch.nn.Module, where: str) -> None:
    """UsageError if this module, apart from its children, does not compute what its class and attributes say."""
    for what, fix in _obstacles(value):
        raise UsageError(f"{where} {what}", fix=fix)


def check_process() -> None:
    """UsageError if torch is set in this process so that modules compute something else than in a worker."""
    import torch
    from torch.nn.modules import module

    for name, function in _GLOBAL_HOOKS.items():
        if getattr(module, name, None):
            raise UsageError(
                f"torch.nn.modules.module.{function} was called: every module has the hook", fix="remove it"
            )
    if torch.get_default_dtype() is not torch.float32:
        fix = "torch.set_default_dtype(torch.float32), and call it in the model's file if the model needs another"
        raise UsageError(f"torch's default dtype is {torch.get_default_dtype()}, which workers do not have", fix=fix)
    if hasattr(torch, "get_default_device") and torch.get_default_device().type != "cpu":
        fix = "torch.set_default_device('cpu')"
        raise UsageError(f"torch's default device is {torch.get_default_device()}, which workers do not have", fix=fix)
    if _is_autocast_on():
        fix = 'leave the block of torch.autocast, and pass backends=[{"name": "eager", "autocast": True}]'
        raise UsageError("autocast is on in this thread, which workers do not have", fix=fix)


def _is_autocast_on() -> bool:
    import torch

    try:
        return any(torch.is_autocast_enabled(kind) for kind in ("cpu", "cuda"))
    except TypeError:  # torch before 2.4 has a function for each kind of device
        return bool(torch.is_autocast_enabled() or torch.is_autocast_cpu_enabled())


def derived(value: Any) -> tuple[str, ...]:
    """The attributes that ``derive`` makes anew."""
    import torch

    return ("_flat_weights", "_flat_weight_refs") if isinstance(value, torch.nn.RNNBase) else ()


def derive(value: Any) -> None:
    """Make the attributes of a restored module that follow from the others."""
    if derived(value):
        value._init_flat_weights()


def _obstacles(value: Any) -> Iterator[tuple[str, str]]:
    """What is wrong with a module, and what to do; the first one counts."""
    import torch

    kind = type(value).__name__
    if isinstance(value, torch.jit.ScriptModule):
        yield "is a ScriptModule", "give the module that it was scripted or traced from"
    if kind == "OptimizedModule":
        yield "was compiled by torch.compile", 'give the module itself; backends=["inductor"] compiles it'
    if getattr(value, "_compiled_call_impl", None) is not None:
        yield "was compiled in place by module.compile()", 'give one that is not; backends=["inductor"] compiles it'
    if isinstance(value, torch.fx.GraphModule):
        make = "a function in a file that traces or loads it: benchmark('net.py:make', ...)"
        yield "is a GraphModule (of torch.fx or torch.export), whose class is made here", f"give a factory, {make}"
    if kind in _WRAPPERS:
        yield f"is a {kind}, which spreads a module over devices", "give the module in it, model.module"
    if torch.nn.utils.parametrize.is_parametrized(value):
        names = list(value.parametrizations)
        calls = ", ".join(f"torch.nn.utils.parametrize.remove_parametrizations(module, {name!r})" for name in names)
        yield f"is parametrized ({', '.join(names)})", calls
    if any(torch.nn.parameter.is_lazy(tensor) for tensor in (*value._parameters.values(), *value._buffers.values())):
        yield "has lazy parameters without values", "call the model once with the inputs, then benchmark it"
    yield from _hooks(value)


def _hooks(value: Any) -> Iterator[tuple[str, str]]:
    for name in _HOOKS:
        for hook in dict(getattr(value, name, None) or {}).values():
            kind = type(hook).__name__
            remover = _REMOVERS.get(kind, "")
            if type(hook).__module__ == "torch.nn.utils.prune":
                remover = f"torch.nn.utils.prune.remove(module, {hook._tensor_name!r})"
            title = f"{name.strip('_')}: {getattr(hook, '__qualname__', kind)}"
            yield f"has hooks ({title})", remover or "remove them (the handle's remove()); or " + FACTORY
