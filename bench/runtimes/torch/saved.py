"""A PyTorch module as data: structure and plain attributes as JSON, tensors as safetensors; saved here, restored there.

Nothing is pickled. Restoring imports the classes and functions that the JSON file names, and creates instances without
calling constructors. A module that would not get the same classes, attributes and weights is rejected by ``save``.
"""

from __future__ import annotations

import enum
import functools
import hashlib
import importlib
import inspect
import json
import math
import sys
import sysconfig
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from bench import tensors
from bench.errors import UsageError

if TYPE_CHECKING:
    import torch

STRUCTURE, WEIGHTS = "model.json", "model.safetensors"
_VERSION = 1
# Py_TPFLAGS_HEAPTYPE: the class is defined in Python.
_HEAP_TYPE = 1 << 9
_FACTORY = "give a factory in its place, a function in a file: benchmark('net.py:make', ...)"
_HOOKS = ("_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks", "_state_dict_hooks")


def save(model: Any, folder: Path) -> None:
    """Write ``model`` (an nn.Module, or a function of tensors) into ``folder`` as STRUCTURE and WEIGHTS.

    Tensors are copied to the CPU; bfloat16 and complex ones are stored as float32 and real pairs, and are restored
    exactly. UsageError names the part that cannot be saved, and what to do.
    """
    encoder = _Encoder()
    root = encoder.encode(model, type(model).__name__)
    again = _Decoder(encoder.tensors).decode(root)
    check = _Encoder()
    if json.dumps(check.encode(again, "")) != json.dumps(root):
        raise UsageError(f"{type(model).__name__} changes when it is saved and restored", fix=_FACTORY)
    content = {"version": _VERSION, "root": root, "paths": sorted(encoder.paths), "sources": encoder.sources}
    folder.joinpath(STRUCTURE).write_text(json.dumps(content, indent=1), encoding="utf-8")
    tensors.write(folder / WEIGHTS, encoder.tensors)


def restore(folder: Path) -> torch.nn.Module:
    """The module that ``save`` wrote; a function as a module that calls it.

    ImportError or AttributeError if what it names cannot be imported here.
    """
    import torch

    content = json.loads(folder.joinpath(STRUCTURE).read_text(encoding="utf-8"))
    for path in content["paths"]:
        if path not in sys.path:
            sys.path.append(path)
    model = _Decoder(tensors.read(folder / WEIGHTS)).decode(content["root"])
    return model if isinstance(model, torch.nn.Module) else _as_module(model)


def _as_module(function: Any) -> torch.nn.Module:
    import torch

    class Function(torch.nn.Module):  # type: ignore[misc]
        """A function of tensors as a module."""

        def forward(self, *values: Any, **keywords: Any) -> Any:
            """The function's own result."""
            return function(*values, **keywords)

    return Function()


def forward_names(model: Any) -> list[str]:
    """The names of the positional parameters of ``forward``, or of a function, in order."""
    function = model if inspect.isroutine(model) else model.forward
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    return [name for name, parameter in inspect.signature(function).parameters.items() if parameter.kind in kinds]


class _Encoder:
    """Values as JSON, with the tensors, search paths and source files that they need."""

    def __init__(self) -> None:
        self.tensors: dict[str, tensors.Array] = {}
        self.paths: set[str] = set()
        self.sources: dict[str, str] = {}
        self._numbers: dict[int, int] = {}
        self._keep: list[Any] = []  # an id is unique only while its object lives

    def encode(self, value: Any, where: str) -> Any:
        """``value`` as JSON; ``where`` is the path to it from the model, for messages."""
        if value is None or isinstance(value, bool | str) or type(value) is int:
            return value
        if type(value) is float:
            return value if math.isfinite(value) else {"float": repr(value)}
        if type(value) is list:
            return [self.encode(member, f"{where}[{index}]") for index, member in enumerate(value)]
        plain = self._collection(value, where) or self._torch(value, where) or self._by_name(value, where)
        return plain if plain is not None else self._instance(value, where)

    def _collection(self, value: Any, where: str) -> dict[str, Any] | None:
        if type(value) in (tuple, set, frozenset):
            members = list(value) if isinstance(value, tuple) else sorted(value, key=repr)
            kind = type(value).__name__
            return {kind: [self.encode(member, f"{where}[{index}]") for index, member in enumerate(members)]}
        if type(value) in (dict, OrderedDict):
            pairs = [[self.encode(k, where), self.encode(v, f"{where}[{k!r}]")] for k, v in value.items()]
            return {"dict" if type(value) is dict else "ordered": pairs}
        if isinstance(value, slice):
            return {"slice": [self.encode(part, where) for part in (value.start, value.stop, value.step)]}
        return None

    def _torch(self, value: Any, where: str) -> dict[str, Any] | None:
        import torch

        if isinstance(value, torch.dtype | torch.memory_format | torch.layout):
            return {"torch": str(value).removeprefix("torch.")}
        if isinstance(value, torch.device):
            return {"device": "cpu"}  # the weights are there; a runtime moves them
        if isinstance(value, torch.Size):
            return {"size": list(value)}
        if type(value) in (torch.Tensor, torch.nn.Parameter):
            return self._reference(value) or self._tensor(value, where)
        if isinstance(value, torch.Tensor):
            raise self._refusal(where, f"a {type(value).__name__}")
        return None

    def _tensor(self, value: torch.Tensor, where: str) -> dict[str, Any]:
        import torch

        if value.layout is not torch.strided or value.is_quantized or value.is_meta:
            raise self._refusal(where, f"a {value.layout} tensor" if not value.is_meta else "a tensor without values")
        number = self._number(value)
        data = value.detach().cpu()
        if data.is_complex():
            data = torch.view_as_real(data.resolve_conj())
        if data.dtype is torch.bfloat16:
            data = data.float()
        name = str(number)
        self.tensors[name] = data.contiguous().numpy().copy()
        kind = "parameter" if isinstance(value, torch.nn.Parameter) else "tensor"
        fields = {kind: name, "dtype": str(value.dtype).removeprefix("torch."), "number": number}
        return fields | {"requires_grad": value.requires_grad}

    def _by_name(self, value: Any, where: str) -> dict[str, Any] | None:
        """Classes, functions, modules and members of enumerations, by the name that they are imported by."""
        if isinstance(value, enum.Enum):
            return {"enum": self._import(type(value), where), "name": value.name}
        if isinstance(value, functools.partial):
            parts = [self.encode(part, where) for part in (value.func, value.args, value.keywords)]
            return {"partial": parts}
        if isinstance(value, ModuleType):
            return {"package": value.__name__}
        if isinstance(value, type) or inspect.isroutine(value):
            owner = getattr(value, "__self__", None)
            if owner is not None and not isinstance(owner, ModuleType):
                raise self._refusal(where, f"the method {value.__qualname__}")
            return {"import": self._import(value, where)}
        return None

    def _instance(self, value: Any, where: str) -> dict[str, Any]:
        """A module, or another object that its ``__dict__`` makes up."""
        import torch

        if reference := self._reference(value):
            return reference
        kind = type(value)
        module = isinstance(value, torch.nn.Module)
        if module:
            self._check_module(value, where)
        elif not isinstance(getattr(value, "__dict__", None), dict) or _has_own_state(kind):
            raise self._refusal(where, f"a {kind.__name__}")
        number, name = self._number(value), self._import(kind, where)
        state = {key: self.encode(member, f"{where}.{key}") for key, member in vars(value).items()}
        return {"module" if module else "object": name, "number": number, "state": state}

    def _check_module(self, value: torch.nn.Module, where: str) -> None:
        import torch

        if isinstance(value, torch.jit.ScriptModule):
            raise UsageError(f"{where} is a ScriptModule", fix="give the module that it was scripted or traced from")
        if type(value).__name__ == "OptimizedModule":
            fix = 'give the module itself; backends=["inductor"] compiles it'
            raise UsageError(f"{where} was compiled by torch.compile", fix=fix)
        for name in _HOOKS:
            if getattr(value, name, None):
                raise UsageError(f"{where} has hooks ({name.strip('_')})", fix=f"remove them, or {_FACTORY}")

    def _import(self, value: Any, where: str) -> str:
        """``module:name`` that imports ``value``; for code that is not installed, records its folder and source."""
        module, name = getattr(value, "__module__", None) or "", getattr(value, "__qualname__", "")
        if module == "__main__" or "<locals>" in name or "<lambda>" in name:
            what = "__main__, which workers do not run" if module == "__main__" else "a function"
            fix = "move it into a file, e.g. net.py, and import it from there"
            raise UsageError(f"{name or value!r} ({where}) is defined in {what}", fix=fix)
        try:
            if _member(module, name) is not value:
                raise AttributeError(name)
        except (ImportError, AttributeError, ValueError) as error:
            raise self._refusal(where, f"{module}.{name}, which cannot be imported by that name") from error
        self._note_source(sys.modules[module])
        return f"{module}:{name}"

    def _note_source(self, module: ModuleType) -> None:
        file = getattr(module, "__file__", None)
        if file is None or module.__name__ in self.sources:
            return
        path = Path(file).resolve()
        if any(path.is_relative_to(folder) for folder in _package_folders()):
            return
        depth = module.__name__.count(".") + (path.name == "__init__.py")
        self.paths.add(str(path.parents[depth]))
        self.sources[module.__name__] = hashlib.sha256(path.read_bytes()).hexdigest()

    def _number(self, value: Any) -> int:
        self._keep.append(value)
        return self._numbers.setdefault(id(value), len(self._numbers))

    def _reference(self, value: Any) -> dict[str, Any] | None:
        number = self._numbers.get(id(value))
        return None if number is None else {"same": number}

    def _refusal(self, where: str, what: str) -> UsageError:
        return UsageError(f"{where} is {what}, which cannot go to another process as data", fix=_FACTORY)


class _Decoder:
    """Values from JSON, the reverse of _Encoder."""

    def __init__(self, arrays: dict[str, tensors.Array]) -> None:
        self._arrays = arrays
        self._by_number: dict[int, Any] = {}

    def decode(self, value: Any) -> Any:
        """The value that ``value`` is the JSON of."""
        if isinstance(value, list):
            return [self.decode(member) for member in value]
        if not isinstance(value, dict):
            return value
        if "state" in value:
            return self._instance(value)
        if "same" in value:
            return self._by_number[value["same"]]
        if "tensor" in value or "parameter" in value:
            return self._tensor(value)
        kind, content = next(iter(value.items()))
        return self._plain(kind, content, value)

    def _plain(self, kind: str, content: Any, value: dict[str, Any]) -> Any:
        import torch

        match kind:
            case "float":
                return float(content)
            case "tuple" | "set" | "frozenset":
                return {"tuple": tuple, "set": set, "frozenset": frozenset}[kind](map(self.decode, content))
            case "dict" | "ordered":
                pairs = ((self.decode(key), self.decode(member)) for key, member in content)
                return dict(pairs) if kind == "dict" else OrderedDict(pairs)
            case "slice":
                return slice(*map(self.decode, content))
            case "torch":
                return getattr(torch, content)
            case "device":
                return torch.device(content)
            case "size":
                return torch.Size(content)
            case "enum":
                return _import_member(content)[value["name"]]
            case "partial":
                function, positional, keywords = map(self.decode, content)
                return functools.partial(function, *positional, **keywords)
            case "package":
                return importlib.import_module(content)
            case "import":
                return _import_member(content)
        raise ValueError(f"an unknown kind of value {kind!r}")

    def _tensor(self, value: dict[str, Any]) -> torch.Tensor:
        import torch

        dtype = getattr(torch, value["dtype"])
        data = torch.from_numpy(self._arrays[value.get("tensor") or value["parameter"]].copy())
        if dtype.is_complex:
            data = torch.view_as_complex(data)
        data = data.to(dtype)
        if "parameter" in value:
            data = torch.nn.Parameter(data, requires_grad=value["requires_grad"])
        else:
            data.requires_grad_(value["requires_grad"])
        self._by_number[value["number"]] = data
        return data

    def _instance(self, value: dict[str, Any]) -> Any:
        import torch

        kind = _import_member(value.get("module") or value["object"])
        instance = kind.__new__(kind)
        if "module" in value:
            torch.nn.Module.__init__(instance)  # what this torch keeps in every module
        self._by_number[value["number"]] = instance
        instance.__dict__.update({key: self.decode(member) for key, member in value["state"].items()})
        return instance


def _import_member(name: str) -> Any:
    module, _, member = name.partition(":")
    return _member(module, member)


def _member(module: str, name: str) -> Any:
    return functools.reduce(getattr, name.split("."), importlib.import_module(module))


def _has_own_state(kind: type) -> bool:
    """Whether instances are more than their ``__dict__``: made in C, with slots, or with a way of their own to copy."""
    bases = [base for base in kind.__mro__ if base is not object]
    in_c = any(not base.__flags__ & _HEAP_TYPE for base in bases)
    slots = any(vars(base).get("__slots__") for base in bases)
    return in_c or slots or any(name in vars(base) for base in bases for name in ("__reduce__", "__reduce_ex__"))


def _package_folders() -> Iterator[Path]:
    """The folders of packages and of the standard library."""
    for name in ("stdlib", "platstdlib", "purelib", "platlib"):
        yield Path(sysconfig.get_path(name)).resolve()
