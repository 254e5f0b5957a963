"""A PyTorch module as data: structure and plain attributes as JSON, tensors as safetensors; saved here, restored there.

Nothing is pickled. Restoring imports the classes and functions that the JSON file names, and creates instances without
calling constructors. A module that would not get the same classes, attributes and weights is rejected by ``save``; one
whose code is another program in the process that restores it, by ``restore``.
"""

from __future__ import annotations

import functools
import importlib
import json
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench import tensors
from bench.errors import UsageError
from bench.model.data import Data
from bench.runtimes.torch import modules, origins
from bench.runtimes.torch.encoder import Encoder

if TYPE_CHECKING:
    import torch

STRUCTURE, WEIGHTS = "model.json", "model.safetensors"
_VERSION = 2


class SavedModel(Data, frozen=True):
    """A model as data: ``structure`` is JSON, ``arrays`` are its tensors."""

    structure: str
    arrays: dict[str, tensors.Array]

    def write(self, folder: Path) -> None:
        """Write STRUCTURE and WEIGHTS into ``folder``."""
        folder.joinpath(STRUCTURE).write_text(self.structure)
        tensors.write(folder / WEIGHTS, self.arrays)


def save(model: Any, folder: Path) -> None:
    """``encode(model)``, written into ``folder``."""
    encode(model).write(folder)


def encode(model: Any) -> SavedModel:
    """``model`` (an nn.Module, a function of tensors, or a callable object without tensors) as data.

    Tensors are copied to the CPU, with their strides; those of dtypes that safetensors files from NumPy lack travel as
    others that hold the same values. UsageError names the part that cannot be saved, and what to do.
    """
    title = _title(model)
    modules.check_process()
    encoder = Encoder()
    try:
        root = encoder.encode(model, title)
        encoder.check_memory()
        _check_function(model, encoder, title)
        again = _Decoder(encoder.tensors).decode(root)
        if json.dumps(Encoder().encode(again, "")) != json.dumps(root):
            raise UsageError(f"{title} changes when it is saved and restored", fix=origins.FACTORY)
        fingerprints = encoder.origins.fingerprints()
    except RecursionError as error:
        raise UsageError(f"the attributes of {title} are nested too deep", fix=origins.FACTORY) from error
    content = {
        "version": _VERSION,
        "root": root,
        "paths": sorted(encoder.origins.paths),
        "sources": encoder.origins.sources,
        "names": list(encoder.origins.names),
        "fingerprints": fingerprints,
        "runtime": origins.runtime(),
    }
    return SavedModel(json.dumps(content, indent=1), encoder.tensors)


def restore(folder: Path) -> torch.nn.Module:
    """The module that ``save`` wrote; a function as a module that calls it.

    SuiteError if this process imports other code by its names; ImportError or AttributeError if there is none.
    """
    import torch

    content = json.loads(folder.joinpath(STRUCTURE).read_text(encoding="utf-8"))
    if content["version"] != _VERSION:
        raise UsageError(f"{folder} was written by another trtbench", fix="benchmark the model again")
    origins.check(content)
    model = _Decoder(tensors.read(folder / WEIGHTS)).decode(content["root"])
    return model if isinstance(model, torch.nn.Module) else _as_module(model)


def _title(model: Any) -> str:
    """The name of a model in messages. UsageError if it is none."""
    import torch

    if isinstance(model, type):
        raise UsageError(f"the model is the class {model.__name__}", fix=f"give an instance: {model.__name__}()")
    if isinstance(model, torch.export.ExportedProgram):
        fix = "give a function in a file that loads it, benchmark('net.py:make', ...), or the module that was exported"
        raise UsageError("the model is a program of torch.export", fix=fix)
    if not isinstance(model, torch.nn.Module) and not callable(model):
        fix = "give an nn.Module, a function of tensors, or a factory such as 'torchvision:resnet50'"
        raise UsageError(f"the model is {model!r:.60}, a {type(model).__name__}", fix=fix)
    return str(getattr(model, "__qualname__", "") or type(model).__name__)


def _check_function(model: Any, encoder: Encoder, title: str) -> None:
    """UsageError for a function, partial or callable object that holds weights: no runtime could move or cast them."""
    import torch

    if not isinstance(model, torch.nn.Module) and (encoder.tensors or encoder.has_modules):
        what = f"{title} is no nn.Module and holds tensors, which would keep their device and precision"
        raise UsageError(what, fix="make it an nn.Module that has them as parameters or buffers")


def _as_module(function: Any) -> torch.nn.Module:
    import torch

    class Function(torch.nn.Module):  # type: ignore[misc]
        """A function of tensors as a module."""

        def forward(self, *values: Any, **keywords: Any) -> Any:
            """The function's own result."""
            return function(*values, **keywords)

    return Function()


class _Decoder:
    """Values from JSON, the reverse of Encoder."""

    def __init__(self, arrays: dict[str, tensors.Array]) -> None:
        self._arrays = arrays
        self._by_number: dict[int, Any] = {}

    def decode(self, value: Any) -> Any:
        """The value that ``value`` is the JSON of."""
        if not isinstance(value, dict):
            return value
        if "state" in value:
            return self._instance(value)
        if "same" in value:
            return self._by_number[value["same"]]
        if "tensor" in value or "parameter" in value:
            return self._tensor(value)
        kind, content = next(iter(value.items()))
        if "number" in value:
            return self._collection(kind, content, value["number"])
        return self._plain(kind, content) if len(value) == 1 else self._by_name(kind, value)

    def _collection(self, kind: str, content: Any, number: int) -> Any:
        """A collection that may contain itself: known by its number before it is filled."""
        collection: Any = {"list": list, "set": set, "dict": dict, "ordered": OrderedDict}[kind]()
        self._by_number[number] = collection
        for member in content:
            if kind == "list":
                collection.append(self.decode(member))
            elif kind == "set":
                collection.add(self.decode(member))
            else:
                key = self.decode(member[0])
                collection[key] = self.decode(member[1])
        return collection

    def _plain(self, kind: str, content: Any) -> Any:
        import torch

        match kind:
            case "float":
                return float(content)
            case "complex":
                return complex(*map(float, content))
            case "bytes":
                return bytes.fromhex(content)
            case "ellipsis":
                return ...
            case "tuple" | "frozenset":
                return {"tuple": tuple, "frozenset": frozenset}[kind](map(self.decode, content))
            case "slice" | "range":
                return {"slice": slice, "range": range}[kind](*map(self.decode, content))
            case "torch":
                return getattr(torch, content)
            case "device":
                return torch.device(content)
            case "size":
                return torch.Size(content)
            case _:
                return self._by_name(kind, {kind: content})

    def _by_name(self, kind: str, value: dict[str, Any]) -> Any:
        content = value[kind]
        match kind:
            case "enum":
                members = origins.import_member(content)
                return members[value["name"]] if "name" in value else members(self.decode(value["value"]))
            case "named":
                return origins.import_member(content)._make(map(self.decode, value["members"]))
            case "partial":
                function, positional, keywords = map(self.decode, content)
                return functools.partial(function, *positional, **keywords)
            case "package":
                return importlib.import_module(content)
            case "import":
                return origins.import_member(content)
        raise ValueError(f"an unknown kind of value {kind!r}")

    def _tensor(self, value: dict[str, Any]) -> torch.Tensor:
        import torch

        dtype = getattr(torch, value["dtype"])
        data = torch.from_numpy(self._arrays[value.get("tensor") or value["parameter"]].copy())
        if dtype.is_complex:
            data = torch.view_as_complex(data)
        if value["dtype"].startswith("uint"):
            data = data.view(dtype)
        data = data.to(dtype) if data.numel() else torch.empty(data.shape, dtype=dtype)
        if "stride" in value:
            data = _with_strides(data, value["stride"])
        if "parameter" in value:
            data = torch.nn.Parameter(data, requires_grad=value["requires_grad"])
        else:
            data.requires_grad_(value["requires_grad"])
        self._by_number[value["number"]] = data
        for key, member in value.get("attributes", {}).items():
            setattr(data, key, self.decode(member))
        return data

    def _instance(self, value: dict[str, Any]) -> Any:
        import torch

        kind = origins.import_member(value.get("module") or value["object"])
        instance = object.__new__(kind)
        if "module" in value:
            torch.nn.Module.__init__(instance)  # what this torch keeps in every module
        self._by_number[value["number"]] = instance
        defaults = dict(vars(instance))
        state = {key: self.decode(member) for key, member in value["state"].items()}
        instance.__dict__.clear()  # for the order of the attributes
        instance.__dict__.update(state | {key: member for key, member in defaults.items() if key not in state})
        modules.derive(instance)
        return instance


def _with_strides(data: torch.Tensor, strides: list[int]) -> torch.Tensor:
    """A copy of ``data`` with ``strides``; what an expanded dimension (stride 0) has in common is stored once."""
    import torch

    extent = 1 + sum((size - 1) * step for size, step in zip(data.shape, strides, strict=True))
    memory = torch.zeros(extent, dtype=data.dtype)
    once = [1 if step == 0 else size for size, step in zip(data.shape, strides, strict=True)]
    memory.as_strided(once, strides).copy_(data[tuple(slice(0, size) for size in once)])
    return memory.as_strided(data.shape, strides)
