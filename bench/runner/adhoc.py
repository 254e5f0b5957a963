"""A suite made from a model object and its inputs: so that a notebook can benchmark without a YAML file."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
from collections.abc import Callable, Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.backends import base
from bench.errors import SuiteError, UsageError, did_you_mean
from bench.model.data import Data
from bench.model.factory import program_of
from bench.model.suite import PRECISIONS, Suite
from bench.runtimes.torch import calls, saved
from bench.suite import models, reader, yaml_marks
from bench.system import scratch

_FACTORY_FILE = '''\
"""Restores the model that lies beside this file."""

from pathlib import Path

from bench.runtimes.torch import saved


def model(structure, weights):
    """The module of ``structure`` (JSON) with its ``weights`` (safetensors)."""
    return saved.restore(Path(__file__).parent)
'''
_BATCH = "batch"
_SUITE = "suite.yaml"


class Draft(Data, frozen=True, kw_only=True):
    """A suite that is not written yet: its text, and the model's data (None for a factory)."""

    title: str
    text: str
    model: saved.SavedModel | None

    def check(self, use: Callable[[Suite], object]) -> None:
        """Call ``use`` with the suite. UsageError that names the argument for what is a SuiteError of a file."""
        with scratch.folder() as folder:
            path = folder / _SUITE
            path.write_text(self.text)
            try:
                use(reader.load(path, base.registry()))
            except SuiteError as error:
                raise self._about_argument(error, path) from error

    def write(self, cache: Path) -> Suite:
        """The suite, in a folder of ``cache`` named by its digest. UsageError if that cannot be written."""
        with _writable(cache / "models"), scratch.folder(cache / "models") as temporary:
            folder = temporary / "suite"
            folder.mkdir()
            if self.model is not None:
                self.model.write(folder)
                (folder / "model.py").write_text(_FACTORY_FILE)
            (folder / _SUITE).write_text(self.text)
            target = cache / "models" / f"{self.title}-{_digest(folder)}"
            if not target.exists():
                with contextlib.suppress(FileExistsError):  # another process was faster
                    folder.rename(target)
        return reader.load(target / _SUITE, base.registry())

    def _about_argument(self, error: SuiteError, path: Path) -> UsageError:
        """The error about the argument of ``benchmark`` that the suite's line was made from."""
        model = f"models.{self.title}"
        arguments = {
            "matrix.backend": "backends", "matrix.precision": "precision", "measure": "measure",
            f"{model}.inputs": "inputs", f"{model}.factory": "model", model: "name",
        }  # fmt: skip
        what = error.what
        for key, argument in arguments.items():
            what = re.sub(rf"\b{re.escape(key)}\b", argument, what)
        place, _, line = error.where.rpartition(":")
        keys = [
            key for key, at in yaml_marks.read(path).document.lines.items() if str(at) == line and place == str(path)
        ]
        prefix = next((key for key in arguments if any(each.startswith(key) for each in keys)), "")
        return UsageError(what, where=arguments.get(prefix, ""), fix=error.fix)


def draft(
    model: Any,
    inputs: Any,
    *,
    backends: Any,
    precision: Any = None,
    name: str = "",
    measure: Any = None,
) -> Draft:
    """The suite that measures ``model`` with ``inputs``; nothing is written. Arguments as of ``bench.benchmark``.

    UsageError if the model cannot be saved, or if the inputs do not fit it.
    """
    import yaml

    if not isinstance(name, str):
        raise UsageError(f"name is a {type(name).__name__}", fix='name="net"')
    entries = _plain_backends(backends)
    data = None if isinstance(model, str) else saved.encode(model)
    named = calls.inputs_by_name(model, inputs)
    precisions = _precisions(model, precision)
    specs, batch = _specs(named, entries)
    title = re.sub(r"[^a-z0-9]+", "_", (name or _title(model)).lower()).strip("_") or "model"
    arguments = {"structure": saved.STRUCTURE, "weights": saved.WEIGHTS}
    factory = {"factory": _factory(model)} if data is None else {"factory": "model.py:model", "args": arguments}
    content = {
        "schema": 1,
        "name": title,
        "models": {title: {**factory, "inputs": specs}},
        "matrix": {
            "model": [title],
            "backend": entries,
            "precision": precisions,
            **({_BATCH: [batch]} if batch else {}),
        },
        "measure": _plain({"replicates": 1} if measure in (None, {}) else measure, "measure", Mapping),
    }
    return Draft(title=title, text=yaml.safe_dump(content, sort_keys=False), model=data)


def check_options(options: Mapping[str, Any], known: Collection[str]) -> None:
    """UsageError for an option that ``benchmark`` does not have; ``known`` are its parameters."""
    for name in options:
        if name not in known:
            raise UsageError(
                f"benchmark has no argument {name!r}.{did_you_mean(name, known)}", fix="help(bench.benchmark)"
            )


@contextlib.contextmanager
def _writable(folder: Path) -> Iterator[None]:
    """The folder, created if necessary. UsageError if it cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        what = f"the artifact cache cannot be written: {error.strerror or error}"
        raise UsageError(what, where=str(folder), fix="cache=..., or TRTBENCH_CACHE=DIR") from error


def _plain_backends(backends: Any) -> list[Any]:
    """The backends as a list of names and mappings; one alone is a list of one."""
    several = [backends] if isinstance(backends, str | Mapping) else backends
    if not isinstance(several, list | tuple):
        what = f"backends is a {type(backends).__name__}"
        raise UsageError(what, where="backends", fix='backends=["eager", {"name": "inductor", "mode": "max-autotune"}]')
    return [_plain(entry, f"backends[{index}]", str | Mapping) for index, entry in enumerate(several)]


def _precisions(model: Any, precision: Any) -> list[str]:
    """The precisions asked for, by default that of the weights."""
    if precision is None:
        return [calls.precision_of(model)]
    several = precision if isinstance(precision, list | tuple) else [precision]
    for each in several:
        if type(each) is not str:
            what = f"{each!r} is a {type(each).__name__}, and a precision is a text"
            raise UsageError(what, where="precision", fix=f"known: {', '.join(PRECISIONS)}")
    return list(several)


def _plain(value: Any, argument: str, kind: Any = object) -> Any:
    """``value`` as a suite file holds it. UsageError if it is not of ``kind``, or no plain data."""
    if isinstance(value, Mapping) and isinstance(value, kind):
        for key in value:
            if type(key) is not str:
                raise UsageError(f"the key {key!r} of {argument} is a {type(key).__name__}", fix="give texts as keys")
        return {key: _plain(member, f"{argument}[{key!r}]") for key, member in value.items()}
    if type(value) in (list, tuple) and isinstance(value, kind):
        return [_plain(member, f"{argument}[{index}]") for index, member in enumerate(value)]
    if isinstance(value, kind) and (value is None or type(value) in (str, bool, int, float)):
        return value
    wanted = {Mapping: "a mapping", str | Mapping: "a name or a mapping"}.get(kind, "a text, a number or a collection")
    what = f"{argument} is {value!r:.60}, a {type(value).__name__}, and must be {wanted}"
    raise UsageError(what, where=argument.partition("[")[0])


def _factory(model: str) -> str:
    """The factory as a suite in another folder names it: a file of the user's by its absolute path."""
    file, _, function = model.partition(":")
    if not (file.endswith(".py") or program_of(model)):
        return model
    path = Path(os.path.abspath(Path(file).expanduser()))
    if not path.is_file():
        raise UsageError(f"the factory's file {file!r} is not there", fix="a path from the working folder, net.py:make")
    if not file.endswith(".py"):
        return str(path)
    if not function:
        raise UsageError(f"{model!r} names no function", where="model", fix=f"{file}:make")
    return f"{path}:{function}"


def _title(model: Any) -> str:
    if isinstance(model, str):
        return model.rpartition(":")[2]
    function = getattr(model, "func", model)  # of a partial
    return str(getattr(function, "__name__", "") or type(model).__name__)


def _specs(inputs: Mapping[str, Any], backends: list[Any]) -> tuple[dict[str, Any], int]:
    """The inputs as a suite describes them, and the size of the dimension that is called ``batch`` (0: none is)."""
    for name, value in inputs.items():
        _check_input(name, value, backends)
    shapes = {name: tuple(int(size) for size in value.shape) for name, value in inputs.items()}
    firsts = {shape[0] if shape else None for shape in shapes.values()}
    batch = firsts.pop() if len(firsts) == 1 else None
    specs: dict[str, Any] = {}
    for name, value in inputs.items():
        dtype = str(value.dtype).removeprefix("torch.")
        sizes: list[Any] = list(shapes[name])
        if batch:
            sizes[0] = _BATCH
        specs[name] = {"shape": sizes, "dtype": dtype}
        if dtype.startswith(("int", "uint")):
            specs[name]["range"] = _range(name, value)
    return specs, batch or 0


def _range(name: str, value: Any) -> list[int]:
    low, high = int(value.min()), int(value.max()) + 1
    if high >= 2**63:
        raise UsageError(
            f"the input {name!r} has {high - 1}, the largest integer", where="inputs", fix="give a smaller one"
        )
    return [low, high]


def _check_input(name: str, value: Any, backends: list[Any]) -> None:
    """UsageError for what is no tensor or array, has no values, or lies in memory as measured inputs do not."""
    import numpy as np
    import torch

    is_tensor = isinstance(value, torch.Tensor)
    if not is_tensor and not isinstance(value, np.ndarray | np.generic):
        what = f"the input {name!r} is a {type(value).__name__}"
        raise UsageError(what, where="inputs", fix="give a tensor or an array, e.g. torch.tensor(...)")
    if is_tensor and (value.is_meta or value.is_quantized or value.is_nested or value.layout is not torch.strided):
        kind = "meta" if value.is_meta else "quantized" if value.is_quantized else str(value.layout)
        what = f"the input {name!r} is a {kind.removeprefix('torch.')} tensor, and inputs are dense ones with values"
        raise UsageError(what, where="inputs", fix=f"{name}.to_dense(), or torch.zeros of its shape")
    dtype = str(value.dtype).removeprefix("torch.")
    if dtype not in models.DTYPES:
        what = f"the input {name!r} is {dtype}"
        raise UsageError(what, where="inputs", fix=f"one of {', '.join(models.DTYPES)}")
    if 0 in value.shape:
        what = f"the input {name!r} has no elements, shape {tuple(value.shape)}"
        raise UsageError(what, where="inputs", fix="give sizes of at least 1")
    _check_layout(name, value, backends)


def _check_layout(name: str, value: Any, backends: list[Any]) -> None:
    """UsageError for an input that is not contiguous, unless channels_last is what the backends are asked for."""
    import torch

    is_tensor = isinstance(value, torch.Tensor)
    if value.is_contiguous() if is_tensor else value.flags.c_contiguous:
        return
    if is_tensor and value.is_contiguous(memory_format=torch.channels_last):
        for entry in backends:
            backend, options = (entry, {}) if isinstance(entry, str) else (entry.get("name"), entry)
            known = getattr(base.load(str(backend)).options, "__struct_fields__", ())
            if "memory_format" in known and options.get("memory_format") != "channels_last":
                what = f"the input {name!r} is channels_last, and {backend} would get it contiguous"
                fix = f'backends=[{{"name": "{backend}", "memory_format": "channels_last"}}], or {name}.contiguous()'
                raise UsageError(what, where="inputs", fix=fix)
        return
    what = f"the input {name!r} is not contiguous, and measured inputs are"
    raise UsageError(what, where="inputs", fix=f"give {name}.contiguous(), and make the view in forward")


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        digest.update(str(path.relative_to(folder)).encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:12]
