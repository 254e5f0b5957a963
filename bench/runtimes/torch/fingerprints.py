"""Digests of the parts of a program as they are in memory: code, constants of classes, globals that functions use."""

from __future__ import annotations

import enum
import functools
import hashlib
import inspect
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any

# What a class statement or a metaclass writes beside the members of the body.
_NO_MEMBERS = {
    "__abstractmethods__", "__annotate__", "__annotate_func__", "__annotations__", "__annotations_cache__",
    "__conditional_annotations__", "__dict__", "__doc__", "__firstlineno__", "__module__", "__orig_bases__",
    "__parameters__", "__qualname__", "__static_attributes__", "__weakref__", "_abc_impl",
}  # fmt: skip
# Of torch.nn.Module, the base of all: what runs in each call.
_CALLS = {"__call__", "_call_impl", "_wrapped_call_impl", "__getattr__", "__setattr__"}
_PLAIN = (type(None), bool, int, float, complex, str, bytes, type(Ellipsis), range, slice)
_MAX_DEPTH = 20


class Fingerprints:
    """The digests of classes and functions, and of what they use.

    ``is_own`` says whether a module is the user's: of installed code only functions count, as libraries keep caches in
    their classes. ``parts`` are the digests by name, ``modules`` the user's modules that were used, ``functions`` the
    name, module and code of each of the user's functions.
    """

    def __init__(self, is_own: Callable[[ModuleType], bool]) -> None:
        self.parts: dict[str, str] = {}
        self.modules: set[str] = set()
        self.functions: list[tuple[str, str, str]] = []
        self._is_own = is_own
        self._visited: set[Any] = set()
        self._digests: dict[int, str] = {}
        self._keep: list[Any] = []  # an id is unique only while its object lives

    def add(self, value: Any, name: str) -> None:
        """Add a class or function, known by ``name``."""
        if isinstance(value, type):
            self._add_class(value)
        else:
            self._set(name, value)

    def _set(self, name: str, value: Any) -> None:
        digest = self._digest(value, name, 0)
        if digest is not None:
            self.parts[name] = digest

    def _own(self, module: str | None) -> bool:
        loaded = sys.modules.get(module or "")
        if module == "__main__" or (loaded is not None and self._is_own(loaded)):
            self.modules |= {module} - {"__main__"} if module else set()
            return True
        return False

    def _add_class(self, kind: type) -> None:
        import torch

        for base in kind.__mro__:
            if base in self._visited or base is object:
                continue
            self._visited.add(base)
            own = self._own(base.__module__)
            if not own and base.__module__.partition(".")[0] in sys.stdlib_module_names:
                continue
            name = f"{base.__module__}:{base.__qualname__}"
            if issubclass(base, enum.Enum):
                self._set(name, {key: member.value for key, member in base.__members__.items()})
                own = False  # the members again, and tables of them
            for key, member in list(vars(base).items()):
                listed = key in _CALLS if base is torch.nn.Module else own or _is_code(member)
                if listed and key not in _NO_MEMBERS:
                    self._set(f"{name}.{key}", member)

    def _digest(self, value: Any, name: str, depth: int) -> str | None:
        """The digest of a value, None if it is of a kind that cannot be compared."""
        if depth > _MAX_DEPTH:
            return None
        if isinstance(value, enum.Enum):
            return f"{type(value).__module__}:{type(value).__qualname__}.{value.name}"
        if type(value) in _PLAIN:
            return f"{type(value).__name__} {value!r}"
        if isinstance(value, type):
            if self._own(value.__module__):
                self._add_class(value)
            return f"class {value.__module__}:{value.__qualname__}"
        if isinstance(value, ModuleType):
            return f"module {value.__name__}"
        if isinstance(value, FunctionType):
            return self._function(value, name, depth)
        if type(value) in (list, tuple, dict, set, frozenset, OrderedDict):
            return self._collection(value, name, depth)
        if (inner := _inner_functions(value)) is not None:
            return self._join(type(value).__name__, inner, name, depth)
        if isinstance(value, BuiltinFunctionType):
            return f"builtin {value.__module__}.{value.__qualname__}"
        return self._array(value) or self._object(value, name, depth)

    def _join(self, head: str, values: Any, name: str, depth: int) -> str:
        return _hash(head, *(self._digest(value, name, depth + 1) or "?" for value in values))

    def _collection(self, value: Any, name: str, depth: int) -> str:
        kind = type(value).__name__
        if isinstance(value, dict):
            return self._join(kind, [part for pair in value.items() for part in pair], name, depth)
        if isinstance(value, set | frozenset):
            return _hash(kind, *sorted(self._digest(member, name, depth + 1) or "?" for member in value))
        return self._join(kind, value, name, depth)

    def _function(self, value: FunctionType, name: str, depth: int) -> str:
        if id(value) in self._digests:
            return self._digests[id(value)]
        module = str(value.__globals__.get("__name__"))
        digest = self._digests[id(value)] = code_digest(value.__code__)
        self._keep.append(value)
        if self._own(module):
            of_file = value.__code__.co_filename == value.__globals__.get("__file__")
            if of_file or module == "__main__":
                self.functions.append((name, module, digest))
            self._add_globals(value.__code__, value.__globals__, module)
        cells = [cell.cell_contents for cell in value.__closure__ or () if _is_filled(cell)]
        parts = [value.__defaults__, value.__kwdefaults__, *cells]
        if self._own(module):
            parts.append({key: member for key, member in vars(value).items() if key != "__wrapped__"})
        self._digests[id(value)] = self._join(digest, parts, name, depth)
        return self._digests[id(value)]

    def _add_globals(self, code: CodeType, variables: dict[str, Any], module: str) -> None:
        names = list(_names(code))
        for name in names:
            if name not in variables or (module, name) in self._visited:
                continue
            self._visited.add((module, name))
            value = variables[name]
            if isinstance(value, ModuleType):
                self._add_module(value, names)
            else:
                self._set(f"{module}:{name}", value)

    def _add_module(self, module: ModuleType, names: list[str]) -> None:
        """What code that has ``names`` may use of a module; of an installed one the functions, e.g. ``F.relu``."""
        own = self._own(module.__name__)
        for name in names:
            if (module.__name__, name) in self._visited or not hasattr(module, name):
                continue
            self._visited.add((module.__name__, name))
            value = getattr(module, name)
            if isinstance(value, ModuleType):
                self._add_module(value, names)
            elif own or isinstance(value, FunctionType | BuiltinFunctionType):
                self._set(f"{module.__name__}:{name}", value)

    def _array(self, value: Any) -> str | None:
        import numpy as np
        import torch

        if isinstance(value, torch.dtype | torch.device | torch.Size | torch.layout | torch.memory_format):
            return str(value)
        if isinstance(value, torch.Tensor):
            if type(value) not in (torch.Tensor, torch.nn.Parameter) or value.layout is not torch.strided:
                return None
            if value.is_meta or value.is_quantized:
                return None
            data = value.detach().cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
            data = data.view(torch.uint8).numpy().tobytes() if data.numel() else b""
            return _hash("tensor", str(value.dtype), str(tuple(value.shape)), hashlib.sha256(data).hexdigest())
        if isinstance(value, np.ndarray | np.generic) and not value.dtype.hasobject:
            return _hash("array", str(value.dtype), str(value.shape), hashlib.sha256(value.tobytes()).hexdigest())
        return None

    def _object(self, value: Any, name: str, depth: int) -> str | None:
        """An instance of a user's class, or a module, by its class and attributes."""
        import torch

        kind = type(value)
        is_own = self._own(kind.__module__) and isinstance(getattr(value, "__dict__", None), dict)
        if not is_own and not isinstance(value, torch.nn.Module):
            return None
        self._add_class(kind)
        if id(value) in self._visited:
            return f"object {kind.__module__}:{kind.__qualname__}"
        self._visited.add(id(value))
        self._keep.append(value)
        return self._join(f"object {kind.__module__}:{kind.__qualname__}", [vars(value)], name, depth)


def code_digest(code: CodeType) -> str:
    """The digest of what a code object does: not of its lines, nor of its file."""
    constants = []
    for value in code.co_consts:
        if isinstance(value, CodeType):
            constants.append(code_digest(value))
        else:
            constants.append(repr(sorted(value, key=repr)) if isinstance(value, frozenset) else repr(value))
    names = (code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars)
    counts = (code.co_argcount, code.co_posonlyargcount, code.co_kwonlyargcount, code.co_flags)
    return _hash(code.co_code.hex(), code.co_exceptiontable.hex(), repr(names), repr(counts), *constants)


def codes_of(source: bytes, path: Path) -> set[str]:
    """The digests of all code in a Python file; empty if it cannot be compiled."""
    try:
        code = compile(source, str(path), "exec", dont_inherit=True)
    except (SyntaxError, ValueError):
        return set()
    return {code_digest(each) for each in _nested(code)}


def _nested(code: CodeType) -> Iterator[CodeType]:
    yield code
    for value in code.co_consts:
        if isinstance(value, CodeType):
            yield from _nested(value)


def _names(code: CodeType) -> Iterator[str]:
    yield from dict.fromkeys(name for each in _nested(code) for name in each.co_names)


def _is_code(value: Any) -> bool:
    return isinstance(value, FunctionType) or _inner_functions(value) is not None


def _inner_functions(value: Any) -> list[Any] | None:
    """The functions that a descriptor or a wrapper calls, with the arguments of a partial; None for other values."""
    if isinstance(value, staticmethod | classmethod | MethodType):
        return [value.__func__]
    if isinstance(value, property):
        return [value.fget, value.fset, value.fdel]
    if isinstance(value, functools.partial):
        return [value.func, value.args, value.keywords]
    if isinstance(value, functools.cached_property):
        return [value.func]
    if isinstance(value, functools._lru_cache_wrapper):
        return [inspect.unwrap(value)]
    return None


def _is_filled(cell: Any) -> bool:
    try:
        cell.cell_contents  # noqa: B018
    except ValueError:
        return False
    return True


def _hash(*parts: str) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode("utf-8", "surrogatepass") + b"\0")
    return digest.hexdigest()[:16]
