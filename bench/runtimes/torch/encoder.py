"""A module, or a function, as JSON and arrays: exactly, or a UsageError that names the part and what to do."""

from __future__ import annotations

import enum
import functools
import inspect
import math
from collections import OrderedDict
from collections.abc import Iterator
from types import MemberDescriptorType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from bench import tensors
from bench.errors import UsageError
from bench.runtimes.torch import modules
from bench.runtimes.torch.origins import FACTORY, Origins

if TYPE_CHECKING:
    import torch

# Py_TPFLAGS_HEAPTYPE: the class is defined in Python.
_HEAP_TYPE = 1 << 9
_PLAIN = (str, bytes, bytearray, int, float, complex, list, tuple, dict, set, frozenset)
# The dtypes that arrays have, and the ones that the others travel as, bit by bit.
_CARRIERS = {"uint16": "int16", "uint32": "int32", "uint64": "int64"}
_DTYPES = {
    "bool", "uint8", "int8", "int16", "int32", "int64", "float16", "bfloat16", "float32", "float64", "complex32",
    "complex64", "complex128", *_CARRIERS,
}  # fmt: skip


class _Memory(NamedTuple):
    """Where a tensor lies: addresses of its first byte and of the one after its last."""

    number: int
    device: str
    start: int
    end: int
    where: str


class Encoder:
    """Values as JSON, with the tensors and the imports that they need.

    What can change has a number, by which it is referred to where it stands again: identity is kept.
    """

    def __init__(self) -> None:
        self.tensors: dict[str, tensors.Array] = {}
        self.origins = Origins()
        self.has_modules = False
        self._numbers: dict[int, int] = {}
        self._open: set[int] = set()
        self._keep: list[Any] = []  # an id is unique only while its object lives
        self._memory: list[_Memory] = []

    def encode(self, value: Any, where: str) -> Any:
        """``value`` as JSON; ``where`` is the path to it from the model, for messages."""
        if value is None or type(value) in (bool, str, int):
            return value
        if isinstance(value, enum.Enum):
            return self._enum(value, where)
        if (reference := self._numbers.get(id(value))) is not None:
            return {"same": reference}
        if id(value) in self._open:
            raise UsageError(f"{where} contains itself", fix=FACTORY)
        self._open.add(id(value))
        try:
            for encode in (self._scalar, self._collection, self._torch, self._by_name):
                if (plain := encode(value, where)) is not None:
                    return plain
            return self._instance(value, where)
        finally:
            self._open.discard(id(value))

    def check_memory(self) -> None:
        """UsageError if two tensors lie in the same memory: a change of one would no longer be one of the other."""
        last: _Memory | None = None
        for memory in sorted(self._memory, key=lambda each: (each.device, each.start)):
            if last is not None and memory.device == last.device and memory.start < last.end:
                first, second = sorted((last, memory), key=lambda each: each.number)
                what = f"{second.where} shares memory with {first.where} and is another tensor"
                fix = "assign the same tensor to both (b.weight = a.weight), a .clone(), or create the view in forward"
                raise UsageError(what, fix=fix)
            last = memory

    def _scalar(self, value: Any, where: str) -> dict[str, Any] | float | None:
        if type(value) is float:
            return value if math.isfinite(value) else {"float": repr(value)}
        if type(value) is complex:
            return {"complex": [repr(value.real), repr(value.imag)]}
        if type(value) is bytes:
            return {"bytes": value.hex()}
        if type(value) in (range, slice):
            kind = type(value).__name__
            return {kind: [self.encode(part, where) for part in (value.start, value.stop, value.step)]}
        return {"ellipsis": True} if value is ... else None

    def _enum(self, value: enum.Enum, where: str) -> dict[str, Any]:
        kind = type(value)
        content = {"enum": self.origins.name_of(kind, where)}
        if value.name in kind.__members__:
            return content | {"name": value.name}
        return content | {"value": self.encode(value.value, where)}  # a combination of flags

    def _collection(self, value: Any, where: str) -> dict[str, Any] | None:
        kind = type(value)
        if kind in (tuple, frozenset):
            return {kind.__name__: self._members(value, where)}
        if kind in (list, set):
            number = self._number(value)
            return {kind.__name__: self._members(value, where), "number": number}
        if kind in (dict, OrderedDict):
            number = self._number(value)
            pairs = [[self.encode(k, where), self.encode(v, _place(where, k))] for k, v in value.items()]
            return {"dict" if kind is dict else "ordered": pairs, "number": number}
        if kind.__bases__ == (tuple,) and hasattr(kind, "_fields") and not hasattr(value, "__dict__"):
            return {"named": self.origins.name_of(kind, where), "members": self._members(value, where)}
        return None

    def _members(self, value: Any, where: str) -> list[Any]:
        members = sorted(value, key=repr) if isinstance(value, set | frozenset) else value
        return [self.encode(member, f"{where}[{index}]") for index, member in enumerate(members)]

    def _torch(self, value: Any, where: str) -> dict[str, Any] | None:
        import torch

        if isinstance(value, torch.dtype | torch.memory_format | torch.layout):
            return {"torch": str(value).removeprefix("torch.")}
        if isinstance(value, torch.device):
            return {"device": str(value)}
        if type(value) is torch.Size:
            return {"size": list(value)}
        if type(value) in (torch.Tensor, torch.nn.Parameter):
            return self._tensor(value, where)
        if isinstance(value, torch.Tensor):
            raise self._refusal(where, f"a {type(value).__name__}")
        return None

    def _tensor(self, value: torch.Tensor, where: str) -> dict[str, Any]:
        import torch

        dtype = str(value.dtype).removeprefix("torch.")
        if value.layout is not torch.strided or value.is_quantized or value.is_meta or dtype not in _DTYPES:
            kind = str(value.layout).removeprefix("torch.") if value.layout is not torch.strided else dtype
            raise self._refusal(where, "a tensor without values" if value.is_meta else f"a {kind} tensor")
        if not _is_writable(value):
            raise self._refusal(where, "a tensor whose elements overlap in memory")
        number = self._number(value)
        data = value.detach().cpu().resolve_conj().resolve_neg().contiguous()
        if data.is_complex():
            data = torch.view_as_real(data)
        if data.dtype is torch.bfloat16:
            data = data.float()
        if dtype in _CARRIERS:
            data = data.view(getattr(torch, _CARRIERS[dtype]))
        name = str(number)
        self.tensors[name] = data.numpy().copy()
        if value.numel():
            extent = 1 + sum((size - 1) * step for size, step in zip(value.shape, value.stride(), strict=True))
            start, end = value.data_ptr(), value.data_ptr() + extent * value.element_size()
            self._memory.append(_Memory(number, str(value.device), start, end, where))
        kind = "parameter" if isinstance(value, torch.nn.Parameter) else "tensor"
        fields: dict[str, Any] = {kind: name, "dtype": dtype, "number": number, "requires_grad": value.requires_grad}
        # Those of a dimension of size 1 count too: a 1x1 convolution's weight is both contiguous and channels_last.
        if value.numel() and value.stride() != torch.empty(value.shape, device="meta").stride():
            fields["stride"] = list(value.stride())
        if vars(value):
            fields["attributes"] = {key: self.encode(member, f"{where}.{key}") for key, member in vars(value).items()}
        return fields

    def _by_name(self, value: Any, where: str) -> dict[str, Any] | None:
        """Classes, functions and modules, by the name that they are imported by."""
        if type(value) is functools.partial and not vars(value):
            return {"partial": [self.encode(part, where) for part in (value.func, value.args, value.keywords)]}
        if type(value) is ModuleType:
            self.origins.note(value)
            return {"package": value.__name__}
        if isinstance(value, MethodType):
            fix = "give the module itself, or a function that calls the method; or " + FACTORY
            raise UsageError(f"{where} is the method {value.__qualname__}, which belongs to an instance", fix=fix)
        if isinstance(value, type) or inspect.isroutine(value):
            owner = getattr(value, "__self__", None)
            if owner is not None and not isinstance(owner, ModuleType | type):
                raise self._refusal(where, f"the method {value.__qualname__}")
            return {"import": self.origins.name_of(value, where)}
        return None

    def _instance(self, value: Any, where: str) -> dict[str, Any]:
        """A module, or another object that its ``__dict__`` makes up."""
        import torch

        kind = type(value)
        if isinstance(value, _PLAIN):
            base = next(base for base in _PLAIN if isinstance(value, base))
            what = f"{where} is a {kind.__name__}, a subclass of {base.__name__}, which would become a plain one"
            raise UsageError(what, fix=f"assign a {base.__name__}, if that is the same to the model; or {FACTORY}")
        if module := isinstance(value, torch.nn.Module):
            modules.check(value, where)
            self.has_modules = True
        if not isinstance(getattr(value, "__dict__", None), dict) or _has_own_state(kind, module):
            raise self._refusal(where, f"a {kind.__name__}")
        if slots := sorted(set(_slots(kind))):
            raise self._refusal(where, f"a {kind.__name__} with __slots__ ({', '.join(slots)})")
        number, name = self._number(value), self.origins.name_of(kind, where)
        members = {key: member for key, member in vars(value).items() if key not in modules.derived(value)}
        state = {key: self.encode(member, f"{where}.{key}") for key, member in members.items()}
        return {"module" if module else "object": name, "number": number, "state": state}

    def _number(self, value: Any) -> int:
        self._keep.append(value)
        return self._numbers.setdefault(id(value), len(self._numbers))

    def _refusal(self, where: str, what: str) -> UsageError:
        return UsageError(f"{where} is {what}, which cannot go to another process as data", fix=FACTORY)


def _place(where: str, key: Any) -> str:
    """The path of a member of a mapping; those of a module as the user writes them, ``net.weight``."""
    owner, _, name = where.rpartition(".")
    if name in ("_buffers", "_parameters", "_modules") and isinstance(key, str):
        return f"{owner}.{key}"
    return f"{where}[{key!r}]"


def _is_writable(value: torch.Tensor) -> bool:
    """Whether each element has memory of its own, apart from those along expanded dimensions (stride 0)."""
    extent = 0
    for step, size in sorted(zip(value.stride(), value.shape, strict=True)):
        if step and size > 1:
            if step <= extent:
                return False
            extent += (size - 1) * step
    return True


def _has_own_state(kind: type, module: bool) -> bool:
    """Whether instances are more than their ``__dict__``: made in C, or with a way of their own to copy."""
    bases = [base for base in kind.__mro__ if base is not object]
    in_c = any(not base.__flags__ & _HEAP_TYPE for base in bases)
    return in_c or (
        not module and any(name in vars(base) for base in bases for name in ("__reduce__", "__reduce_ex__"))
    )


def _slots(kind: type) -> Iterator[str]:
    for base in kind.__mro__:
        for name, member in vars(base).items():
            if isinstance(member, MemberDescriptorType) and base is not object:
                yield name
