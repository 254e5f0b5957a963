"""Models that exist already: callables by import path, programs of torch.export and TorchScript, bound arguments."""

from __future__ import annotations

import contextlib
import importlib
import inspect
import sys
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import (
    BenchError,
    SuiteError,
    Unavailable,
    Unsupported,
    did_you_mean,
)
from bench.model.distributions import install, is_known
from bench.model.factory import LIBRARIES, NAMES, module_of, program_of
from bench.model.suite import Case
from bench.runtimes.torch import errors
from bench.system import modules, signals, userfile

if TYPE_CHECKING:
    import torch

_SEARCHED = "install its package, or PYTHONPATH=FOLDER trtbench run ... with the folder that it lies in"


def maker(case: Case, suite_dir: Path) -> Callable[[], Any] | None:
    """What makes the model of an import path or a program; None for a factory of another kind.

    An import path is imported when it is called, which is under the seed: a module may draw weights.
    """
    program = program_of(case.factory)
    if program is not None:
        path = suite_dir / case.factory
        if not path.is_file():
            raise _wrong(case, f"the model's file {case.factory!r} is not there", f"create {path}")
        if program == "onnx":
            raise Unsupported(
                f"{case.factory} is an {NAMES[program]}, of which PyTorch makes no module",
                fix="backend: onnxruntime or tensorrt",
            )
        return lambda: _exported(case, path) if program == "export" else _scripted(case, path)
    return (lambda: _imported(case, suite_dir)(**case.args)) if module_of(case.factory) else None


# --------------------------------------------------------------------------------------------------------- import paths


def _imported(case: Case, suite_dir: Path) -> Callable[..., Any]:
    """The callable of an import path.

    Unavailable if its package is not here, or lacks one that it needs; SuiteError if the path is wrong or names what
    is no Python; ModelError if importing it raises.
    """
    import torch

    path, _, name = case.factory.partition(":")
    try:
        with _random_state_restored():
            value: Any = importlib.import_module(path)
    except ModuleNotFoundError as error:
        raise _not_here(case, path, error.name or "", suite_dir) from error
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt) and signals.raises_interrupts():
            raise
        line = userfile.innermost_line(error, suite_dir) or _line_in(path.partition(".")[0], error)
        raise errors.of_import(case, path, error, line) from error
    for part in name.split("."):
        if not hasattr(value, part):
            owner = getattr(value, "__name__", path)
            raise _wrong(case, f"{owner} has no {part!r}.{did_you_mean(part, dir(value))}")
        value = getattr(value, part)
    if isinstance(value, torch.nn.Module):
        what = f"{case.factory} is a module that was made at import, whose weights no seed decides"
        raise _wrong(case, what, "name its class, or a function that returns it")
    if not callable(value):
        raise _wrong(case, f"{case.factory} is a {type(value).__name__}, which cannot be called")
    function: Callable[..., Any] = value
    check_arguments(case, function)
    return function


def _line_in(package: str, error: BaseException) -> str:
    """The file and line of ``package`` that an exception comes from; empty if none is."""
    for path, line in userfile.places(error):
        if package in path.with_suffix("").parts:
            return f"{path}:{line}"
    return ""


def check_arguments(case: Case, function: Callable[..., Any]) -> None:
    """SuiteError if ``function`` does not take the ``args`` of a case, where it says which it takes."""
    try:
        signature = inspect.signature(function, follow_wrapped=False)  # a wrapper may add what it wraps needs
    except (TypeError, ValueError):  # of a compiled function: its call tells
        return
    try:
        signature.bind(**case.args)
    except TypeError as error:
        raise wrong_arguments(case, error) from error


def wrong_arguments(case: Case, error: BaseException) -> SuiteError:
    """The error for ``args`` that the factory of a case refused by ``error``."""
    return _wrong(case, f"{case.factory}: {error}", f"correct `args` of the model {case.model!r}")


@contextlib.contextmanager
def _random_state_restored() -> Iterator[None]:
    """The generators as they were before the block: a module that draws numbers does so in its first import only, and
    what is built after that must not depend on whether it was the first.
    """
    import random

    import numpy as np
    import torch

    states = random.getstate(), np.random.get_state(), torch.random.get_rng_state()
    try:
        yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])
        torch.random.set_rng_state(states[2])


def _not_here(case: Case, path: str, absent: str, suite_dir: Path) -> BenchError:
    """Why ``path`` cannot be imported: ``absent`` is the module that is not there."""
    top = path.partition(".")[0]
    if absent and path != absent and not path.startswith(f"{absent}."):
        # Only of packages that are known: one of a stranger may have the name of a module.
        fix = install(absent) if is_known(absent) else f"install what has {absent.partition('.')[0]!r}"
        return Unavailable(f"{path} needs the module {absent!r}, which is not here", fix=fix)
    if modules.find(top) is not None:
        return _wrong(case, f"there is no module {absent or path!r} in the package {top!r}")
    if "." not in path and (suite_dir / f"{path}.py").is_file():
        name = case.factory.partition(":")[2]
        return _wrong(case, f"{path!r} is no module, but a file beside the suite", f"factory: {path}.py:{name}")
    fix = install(top) if top in LIBRARIES else _SEARCHED
    return Unavailable(f"no module {top!r} can be imported by {sys.executable}.{did_you_mean(top, LIBRARIES)}", fix=fix)


# ------------------------------------------------------------------------------------------------------------- programs


def _members(case: Case, path: Path) -> list[str]:
    """The names in an archive without the folder that has its name; empty for a file that is no archive."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            root = f"{names[0].partition('/')[0]}/" if names else ""
            return [name.removeprefix(root) for name in names]
    except zipfile.BadZipFile:
        return []
    except OSError as error:
        raise _wrong(case, f"{case.factory} cannot be read: {error.strerror or error}") from error


def _scripted(case: Case, path: Path) -> torch.nn.Module:
    """The program of ``torch.jit.save``. Nothing is unpickled: a file of ``torch.save`` is a SuiteError."""
    import torch

    members = _members(case, path)
    if "constants.pkl" not in members or not any(name.startswith("code/") for name in members):
        what = f"{case.factory} is no {NAMES['torchscript']}"
        if "data.pkl" in members:
            fix = "a function that builds the model and loads it: factory: zoo.py:model, args: {checkpoint: FILE}"
            raise _wrong(case, f"{what}, but a checkpoint of torch.save", fix)
        fix = "rename it to .pt2" if _is_exported(members) else "torch.jit.save(torch.jit.script(model), FILE)"
        raise _wrong(case, what, fix)
    with torch.device("cpu"), _loading(case):
        program: torch.nn.Module = torch.jit.load(str(path), map_location="cpu")
    return program


def _is_exported(members: list[str]) -> bool:
    """Whether an archive has a program of torch.export: the format of today, and that before torch 2.8."""
    return any(name.startswith("models/") for name in members) or "serialized_exported_program.json" in members


def _exported(case: Case, path: Path) -> torch.nn.Module:
    """The program of ``torch.export.save`` as a module that takes the names of its arguments."""
    import torch

    members = _members(case, path)
    if not _is_exported(members):
        what = f"{case.factory} is no {NAMES['export']}"
        if any("aotinductor" in name for name in members):
            raise _wrong(case, f"{what}, but a package of AOTInductor", "torch.export.save(program, FILE) before that")
        fix = "rename it to .pt" if "constants.pkl" in members else "torch.export.save(torch.export.export(...), FILE)"
        raise _wrong(case, what, fix)
    with torch.device("cpu"), _loading(case):
        program = torch.export.load(str(path))
        return as_module(case, program)


def _loading(case: Case) -> contextlib.AbstractContextManager[None]:
    import torch

    return errors.translate(f"torch {torch.__version__} cannot load {case.factory}")


def as_module(case: Case, program: Any) -> torch.nn.Module:
    """A module over an exported program: its arguments by name, with the constants that it was exported with."""
    import torch

    call = program.module_call_graph[0].signature
    positional, keywords = _children(call.in_spec)
    specs = [spec.arg for spec in program.graph_signature.input_specs if spec.kind.name == "USER_INPUT"]
    children = [*_children(positional), *_children(keywords)]
    if any(child.num_leaves != 1 for child in children) or len(children) != len(specs):
        what = f"{case.factory} takes containers of tensors, and inputs are tensors by name"
        raise Unsupported(what, fix="export a module whose arguments are tensors")
    plain = [spec.name for spec in specs]
    names = list(getattr(call, "forward_arg_names", None) or plain)
    # A forward(*args) has one name for several.
    names = names if len(names) == len(specs) else plain
    count = len(_children(positional))
    names[count:] = list(keywords.context)
    constants = {
        name: spec.value for name, spec in zip(names, specs, strict=True) if type(spec).__name__ == "ConstantArgument"
    }
    _check_names(case, [name for name in names if name not in constants], constants)

    class Exported(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.program = program.module()

        def train(self, mode: bool = True) -> Exported:
            self.training = mode  # the program was exported in one mode, and refuses to change it
            return self

        def forward(self, **values: Any) -> Any:
            every = {**constants, **values}
            ordered = [every[name] for name in names]
            keyed = dict(zip(names[count:], ordered[count:], strict=True))
            if torch.jit.is_tracing():
                with warnings.catch_warnings():
                    # Of its guards on sizes: there is no other Python left in an exported program.
                    warnings.simplefilter("ignore", torch.jit.TracerWarning)
                    return self.program(*ordered[:count], **keyed)
            return self.program(*ordered[:count], **keyed)

    return Exported()


def _children(spec: Any) -> list[Any]:
    """The parts of a TreeSpec, whose attribute became a method."""
    children = getattr(spec, "children", None)
    return list(children() if callable(children) else spec.children_specs)


def _check_names(case: Case, names: list[str], constants: Mapping[str, Any]) -> None:
    """SuiteError unless the case's inputs are the program's, and its arguments those that it was exported with."""
    if set(names) != set(case.inputs):
        what = (
            f"{case.factory} takes the inputs {', '.join(names) or 'none'}, and the suite has {', '.join(case.inputs)}"
        )
        raise _wrong(case, what, "name them as in the program")
    for name, value in case.arguments.items():
        if name not in constants:
            raise _wrong(case, f"{case.factory} has no argument {name!r}.{did_you_mean(name, constants)}")
        if constants[name] != value:
            what = f"{case.factory} was exported with {name}={constants[name]!r}, and the suite has {value!r}"
            raise _wrong(case, what, "remove it, or export the program with that value")


# ------------------------------------------------------------------------------------------------------------ arguments


def bind(model: torch.nn.Module, case: Case) -> torch.nn.Module:
    """``model`` with the case's arguments that are no tensors; itself if there are none."""
    if not case.arguments:
        return model
    import torch

    arguments = dict(case.arguments)

    class Bound(torch.nn.Module):  # type: ignore[misc]
        passes_inputs_on = True

        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, **inputs: Any) -> Any:
            return self.model(**inputs, **arguments)

    bound = Bound()
    bound.training = model.training
    return bound


def _wrong(case: Case, what: str, fix: str = "") -> SuiteError:
    return SuiteError(what, where=case.source, fix=fix or f"correct the model {case.model!r}")
