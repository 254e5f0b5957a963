"""A suite made from a model object and its inputs: so that a notebook can benchmark without a YAML file."""

from __future__ import annotations

import contextlib
import hashlib
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.backends import base
from bench.errors import UsageError
from bench.model.suite import Suite
from bench.runtimes.torch import saved
from bench.suite import reader
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


def write_suite(
    cache: Path,
    model: Any,
    inputs: Any,
    *,
    backends: Sequence[str | Mapping[str, Any]],
    precisions: Sequence[str],
    name: str,
    measure: Mapping[str, Any],
) -> Suite:
    """The suite that measures ``model`` with ``inputs``, in a folder of ``cache`` named by the digest of its content.

    UsageError if the model cannot be saved, or if the inputs do not fit it.
    """
    import yaml

    title = re.sub(r"[^a-z0-9]+", "_", (name or _title(model)).lower()).strip("_") or "model"
    with _writable(cache / "models"), scratch.folder(cache / "models") as temporary:
        folder = temporary / "suite"
        folder.mkdir()
        if isinstance(model, str):
            factory: dict[str, Any] = {"factory": model}
            _copy_source(model, folder)
        else:
            saved.save(model, folder)
            (folder / "model.py").write_text(_FACTORY_FILE, encoding="utf-8")
            arguments = {"structure": saved.STRUCTURE, "weights": saved.WEIGHTS}
            factory = {"factory": "model.py:model", "args": arguments}
        specs, batch = _specs(_by_name(model, inputs))
        text = yaml.safe_dump(
            {
                "schema": 1,
                "name": title,
                "models": {title: {**factory, "inputs": specs}},
                "matrix": {
                    "model": [title],
                    "backend": [entry if isinstance(entry, str) else dict(entry) for entry in backends],
                    "precision": list(precisions),
                    **({_BATCH: [batch]} if batch else {}),
                },
                "measure": dict(measure),
            },
            sort_keys=False,
        )
        (folder / "suite.yaml").write_text(text, encoding="utf-8")
        target = cache / "models" / f"{title}-{_digest(folder)}"
        if not target.exists():
            with contextlib.suppress(FileExistsError):  # another process was faster
                folder.rename(target)
    return reader.load(target / "suite.yaml", base.registry())


@contextlib.contextmanager
def _writable(folder: Path) -> Any:
    """The folder, created if necessary. UsageError if it cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        what = f"the artifact cache cannot be written: {error.strerror or error}"
        raise UsageError(what, where=str(folder), fix="cache=..., or TRTBENCH_CACHE=DIR") from error


def _copy_source(factory: str, folder: Path) -> None:
    """Copy the file of a ``FILE.py:function`` factory beside the suite."""
    file = factory.partition(":")[0]
    if not file.endswith(".py"):
        return
    path = Path(file)
    if not path.is_file():
        raise UsageError(f"the factory's file {file!r} is not there", fix="a path from the working folder, net.py:make")
    if path.name != file:
        raise UsageError(f"the factory's file {file!r} is in another folder", fix=f"start Python in {path.parent}")
    shutil.copy(path, folder / path.name)


def _title(model: Any) -> str:
    if isinstance(model, str):
        return model.rpartition(":")[2]
    return str(getattr(model, "__name__", "") or type(model).__name__)


def _by_name(model: Any, inputs: Any) -> dict[str, Any]:
    """The inputs by the names of ``forward``'s parameters."""
    if isinstance(inputs, Mapping):
        return dict(inputs)
    several = list(inputs) if isinstance(inputs, tuple | list) else [inputs]
    if isinstance(model, str):
        raise UsageError("inputs of a factory need names", fix='inputs={"x": ...}, by the parameters of forward')
    names = saved.forward_names(model)
    if len(several) > len(names):
        what = f"{len(several)} inputs for {len(names)} parameters ({', '.join(names)})"
        raise UsageError(what, fix='inputs={"name": ...}')
    return dict(zip(names, several, strict=False))


def _specs(inputs: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
    """The inputs as a suite describes them, and the size of the dimension that is called ``batch`` (0: none is)."""
    import numpy as np

    shapes = {name: tuple(int(size) for size in np.shape(value)) for name, value in inputs.items()}
    firsts = {shape[0] if shape else None for shape in shapes.values()}
    batch = firsts.pop() if len(firsts) == 1 else None
    specs: dict[str, Any] = {}
    for name, value in inputs.items():
        dtype = str(getattr(value, "dtype", "")).removeprefix("torch.")
        if not dtype:
            raise UsageError(f"the input {name!r} is a {type(value).__name__}", fix="give a tensor or an array")
        sizes: list[Any] = list(shapes[name])
        if batch:
            sizes[0] = _BATCH
        specs[name] = {"shape": sizes, "dtype": dtype}
        if dtype.startswith(("int", "uint")) and 0 not in shapes[name]:
            specs[name]["range"] = [int(value.min()), int(value.max()) + 1]
    return specs, batch or 0


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for path in sorted(folder.iterdir()):
        digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()[:12]
