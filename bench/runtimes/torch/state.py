"""What a PyTorch program holds between its calls, and what of it a call has changed.

Held is what can be reached from the modules: parameters, buffers, and in plain attributes, closures, class attributes
and globals of the model's own file tensors, arrays, numbers, and the sizes of collections and of functools' caches.
"""

from __future__ import annotations

import collections
import contextlib
import ctypes
import functools
import logging
import sys
import types
import weakref
import zlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

if TYPE_CHECKING:
    import torch

# Collections are followed until this many values are visited.
_MOST_VALUES = 20_000
# Float tensors up to this size are copied, to tell a change from rounding errors; up to so many bytes of all.
_COPIED, _MOST_COPIED = 1 << 20, 64 << 20
# Larger tensors on a device are summed there by rows of this many bytes: a change within a row that keeps its sum shows
# only in smaller ones.
_ROW = 4096
# A tensor computed anew differs by rounding where a kernel adds in any order: by at most so much of its largest value.
_ROUNDING = {8: 1e-12, 4: 1e-5, 2: 0.03}
_OPAQUE = {"torch", "numpy", "builtins", *sys.stdlib_module_names} - {"types"}
# Libraries put their own class in place of Logger, for every logger of the process.
_NO_STATE = (type, types.ModuleType, logging.Logger)

Snapshot = Mapping[str, "StateEntry"]


class StateEntry(msgspec.Struct, frozen=True):
    """A tensor's shape, a number or a size as ``text``, a tensor's checksum, and the values of a small float one."""

    text: str
    checksum: int = 0
    values: Any = None


def snapshot(program: Any) -> Snapshot:
    """What ``program``, a module or any object, holds now, by name; waits for the device."""
    import torch

    holdings: dict[str, StateEntry] = {}
    copied = 0
    with torch.no_grad():
        for name, value in _reachable(program):
            if isinstance(value, torch.Tensor):
                holdings[name] = holding = _tensor(value, room=copied < _MOST_COPIED)
                copied += holding.values.numel() * holding.values.element_size() if holding.values is not None else 0
            elif isinstance(value, np.ndarray):
                holdings[name] = StateEntry(str(value.shape), zlib.crc32(value.tobytes()))
            elif isinstance(value, functools._lru_cache_wrapper):
                holdings[name] = StateEntry(f"{value.cache_info().currsize} items")
            elif isinstance(value, int | float | None):
                holdings[name] = StateEntry(str(value))
            else:
                holdings[name] = StateEntry(f"{len(value)} items")
    return holdings


def changes(before: Snapshot, after: Snapshot) -> list[str]:
    """The names of what differs, sorted, with both shapes, sizes or numbers where these differ: ``step``, ``keys:
    (2, 1, 8) -> (2, 2, 8)``. Of a collection whose size differs, its members are not named.
    """
    names = {name for name in {*before, *after} if _differ(before.get(name), after.get(name))}
    tops = [name for name in sorted(names) if not any(name.startswith(f"{other}.") for other in names)]
    return [_describe(name, before.get(name), after.get(name)) for name in tops]


def _describe(name: str, before: StateEntry | None, after: StateEntry | None) -> str:
    texts = [holding.text if holding else "nothing" for holding in (before, after)]
    return name if texts[0] == texts[1] else f"{name}: {texts[0]} -> {texts[1]}"


def _differ(before: StateEntry | None, after: StateEntry | None) -> bool:
    if before is None or after is None or before.text != after.text:
        return True
    if before.checksum == after.checksum:
        return False
    if before.values is None or after.values is None or before.values.dtype != after.values.dtype:
        return True
    error = (before.values.double() - after.values.double()).abs().nan_to_num(float("inf")).max()
    scale = before.values.double().abs().max()
    return bool(error > _ROUNDING[before.values.element_size()] * scale)


# ------------------------------------------------------------------------------------------------------------ reaching


def _reachable(program: Any) -> Iterator[tuple[str, Any]]:
    """Tensors, arrays, numbers, collections and caches, each object once, under the first name that leads to it."""
    import torch

    pending: collections.deque[tuple[str, Any]] = collections.deque([("", program)])
    seen: set[int] = set()
    held = []  # what is made on the way stays, so that no other object gets its id
    while pending and len(seen) < _MOST_VALUES:
        name, value = pending.popleft()
        if type(value) in weakref.ProxyTypes:  # which raise at any touch once their object is gone
            continue
        if isinstance(value, int | float | None):
            yield name, value
            continue
        if id(value) in seen:
            continue
        seen.add(id(value))
        held.append(value)
        if isinstance(value, torch.Tensor | np.ndarray):
            yield name, value
        elif isinstance(value, functools._lru_cache_wrapper):
            yield name, value
            pending.append((name, value.__wrapped__))
        elif isinstance(value, dict | list | tuple | set | frozenset | collections.deque):
            if name:
                yield name, value
            pending.extend(_named(name, _items(value)))
        else:
            pending.extend(_named(name, _members(value)))


def _named(prefix: str, members: Iterator[tuple[str, Any]]) -> Iterator[tuple[str, Any]]:
    return ((f"{prefix}.{key}" if prefix and key else prefix or key, value) for key, value in members)


def _items(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        # A copy, as another thread may change it; what keys a mapping is mostly a text, a number or a tensor's id.
        return (
            (str(key) if isinstance(key, str | int) else str(n), v) for n, (key, v) in enumerate([*dict.items(value)])
        )
    return ((str(n), each) for n, each in enumerate([*value]))


def _members(value: Any) -> Iterator[tuple[str, Any]]:
    """What an object leads to: attributes, closures, and where they are collections or the file's own, globals."""
    import torch

    if isinstance(value, torch.nn.Module):
        yield from _of_module(value)
    elif isinstance(value, functools.partial):
        yield from [("", value.func), ("", value.args), ("", value.keywords)]
    elif isinstance(value, types.MethodType):
        yield from [("", value.__self__), ("", value.__func__)]
    elif isinstance(value, types.FunctionType):
        yield from _of_function(value)
    elif not isinstance(value, _NO_STATE) and _package(type(value)) not in _OPAQUE:
        yield from getattr(value, "__dict__", {}).items()
        for cls in type(value).__mro__:
            slots = vars(cls).get("__slots__", ())
            for slot in (slots,) if isinstance(slots, str) else slots:
                if not slot.startswith("__") and hasattr(value, slot):
                    yield slot, getattr(value, slot)
        yield from _of_class(type(value))


def _of_module(module: torch.nn.Module) -> Iterator[tuple[str, Any]]:
    import torch

    yield from module.named_parameters(recurse=False)
    yield from module.named_buffers(recurse=False)
    yield from module.named_children()
    own = {"_parameters", "_buffers", "_modules", "_non_persistent_buffers_set"}
    attributes = {} if isinstance(module, torch.jit.ScriptModule | torch.fx.GraphModule) else vars(module)
    yield from ((name, value) for name, value in attributes.items() if name not in own)
    yield from _of_class(type(module))


def _of_class(cls: type) -> Iterator[tuple[str, Any]]:
    """Data in the attributes of the class and of its bases, and what its methods reach."""
    for base in cls.__mro__:
        if _package(base) in _OPAQUE:
            continue
        for name, value in [*vars(base).items()]:
            if isinstance(value, types.FunctionType):
                yield "", value
            elif not name.startswith("__") and _is_data(value):
                yield name, value


def _of_function(function: types.FunctionType) -> Iterator[tuple[str, Any]]:
    code, own = function.__code__, function.__globals__.get("__name__")
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        with contextlib.suppress(ValueError):  # not assigned yet
            yield name, cell.cell_contents
    if _package(function) in _OPAQUE:
        return
    for name in code.co_names:
        value = function.__globals__.get(name)
        if value is not None and (_is_data(value) or own in (type(value).__module__, getattr(value, "__module__", ""))):
            yield name, value


def _is_data(value: Any) -> bool:
    import torch

    kinds = (torch.Tensor, np.ndarray, int, float, dict, list, set, collections.deque, functools._lru_cache_wrapper)
    return isinstance(value, kinds)


def _package(value: Any) -> str:
    return str(getattr(value, "__module__", "") or "").partition(".")[0]


# ----------------------------------------------------------------------------------------------------------- checksums


def _tensor(tensor: torch.Tensor, *, room: bool) -> StateEntry:
    import torch

    text = str(tuple(tensor.shape))
    try:
        tensor = tensor.detach()
        if tensor.layout != torch.strided:
            tensor = tensor.to_dense()
        dense = 1 + sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True))
        if tensor.is_conj() or tensor.is_neg() or dense != tensor.numel():
            tensor = tensor.clone(memory_format=torch.contiguous_format).resolve_conj().resolve_neg()
        checksum = _checksum(tensor)
        if room and tensor.is_floating_point() and 0 < tensor.numel() * tensor.element_size() <= _COPIED:
            return StateEntry(text, checksum, tensor.to("cpu", copy=True))
        return StateEntry(text, checksum)
    except (RuntimeError, TypeError, AttributeError, KeyError):
        # Quantised, fake and meta tensors have no bytes to read: their shape is compared. What failed on the device
        # itself fails again in the calls that follow, which are not guarded.
        return StateEntry(text)


def _checksum(tensor: torch.Tensor) -> int:
    """Of the bytes of a tensor that fills its memory."""
    import torch

    size = tensor.numel() * tensor.element_size()
    if not size:
        return 0
    if tensor.device.type == "cpu":
        return zlib.crc32((ctypes.c_char * size).from_address(tensor.data_ptr()))
    flat = torch.as_strided(tensor, (tensor.numel(),), (1,)).view(torch.uint8)
    if size <= _COPIED:
        return zlib.crc32(flat.cpu().numpy())
    rows = size // _ROW * _ROW
    sums = flat[:rows].view(torch.int32).view(-1, _ROW // 4).sum(1, dtype=torch.int64)
    return zlib.crc32(flat[rows:].cpu().numpy(), zlib.crc32(sums.cpu().numpy()))
