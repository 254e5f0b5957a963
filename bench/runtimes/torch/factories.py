"""Builds the PyTorch module that a suite's factory names, with the same random weights in every process."""

from __future__ import annotations

import contextlib
import hashlib
import importlib
import inspect
import re
import sys
import urllib.error
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from bench.errors import (
    MORE_MEMORY,
    BenchError,
    CaseError,
    ModelError,
    OutOfMemory,
    SuiteError,
    Unavailable,
    class_and_text,
    did_you_mean,
    text_of,
)
from bench.model.distributions import install, is_known
from bench.model.factory import LIBRARIES, step_of
from bench.model.seam import Context
from bench.model.suite import Case
from bench.runtimes.torch import errors, inference, programs, seeding
from bench.system import signals, userfile

if TYPE_CHECKING:
    import torch

_FIXES = {
    "torchvision": install("torchvision"),
    "transformers": "pip install --upgrade transformers",
    "timm": "pip install --upgrade timm",
}


def build_model(case: Case, context: Context, *, device: str) -> torch.nn.Module:
    """The module of ``case.factory`` in eval mode on ``device``, with the dtypes that the factory gave it.

    ``requires_grad`` stays as the factory leaves it, though nothing here takes gradients: compilers look at it. A
    product with a frozen weight and an input that is not contiguous becomes ``bmm`` where it else is ``mm``
    (should_fold in PyTorch's LinearAlgebra.cpp): another program than the user's.

    Weights are drawn on the CPU after seeding torch, NumPy and ``random`` with ``context.seed``, so that every process
    has the same ones whatever its device; ``meta`` makes none. Lazy layers are initialised by a call, ``use_cache`` of
    transformers' configurations is off, and a ``torch.export`` program is its module.

    Raises:
        Unavailable: a package is absent, or there but broken on import.
        SuiteError: the factory does not exist, does not take the arguments of the suite, or its file is no Python.
        ModelError: the factory, or the import of its file, raises, or it returns no module.
        OutOfMemory: the factory, or its file, finds no memory.
        Exception: on ``meta`` whatever the factory raises: it may need values, which meta tensors do not have.
    """
    import torch

    context.tell(step_of(case.model))
    try:
        with seeding.seeded(context.seed), _as_script(case, context.suite_dir):
            make = _maker(case, context.suite_dir)
            torch.manual_seed(context.seed)  # whatever a file drew when it was imported, or was imported before
            model = inference.to_module(make(), case)
            if isinstance(model, torch.nn.Module):
                model = inference.to_inference(model, case, context.seed, device)
    except BenchError:
        raise
    except ModuleNotFoundError as error:
        raise _absent(error, context.suite_dir) from error
    except (ImportError, urllib.error.URLError) as error:
        if isinstance(error, ImportError) and userfile.hidden_sibling(error.name or "", context.suite_dir):
            raise _raises(case, error, context.suite_dir) from error
        text = text_of(error)
        raise Unavailable(f"{case.factory} cannot be built here: {text}", fix=_fix_in(text)) from error
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt) and signals.raises_interrupts():
            raise
        if _refuses_arguments(error, case):
            raise programs.wrong_arguments(case, error) from error
        if device == "meta" and isinstance(error, Exception):
            raise
        raise _raises(case, error, context.suite_dir) from error
    finally:
        context.tell("")
    if not isinstance(model, torch.nn.Module):
        raise _no_module(case, model)
    return model


def preload(case: Case, suite_dir: Path) -> None:
    """Import the library of ``case.factory``. A file or a package of the user's is not: importing may do anything.

    Raises what ``build_model`` would.
    """
    if case.factory.partition(":")[0] in LIBRARIES:
        _maker(case, suite_dir)


def library_of(case: Case) -> tuple[str, ...]:
    """The module that takes most of the time of importing the library of ``case.factory``; none for a user's own."""
    modules = {"torchvision": "torchvision", "timm": "timm", "transformers": "transformers.modeling_utils"}
    kind, colon, _ = case.factory.partition(":")
    return (modules[kind],) if colon and kind in modules else ()


def import_source(case: Case, context: Context) -> None:
    """Import the file or library of ``case.factory``, e.g. for the operators that it defines; nothing is built.

    Raises what ``build_model`` would.
    """
    _maker(case, context.suite_dir)


def _maker(case: Case, suite_dir: Path) -> Callable[[], Any]:
    kind, colon, name = case.factory.partition(":")
    if colon and kind.endswith(".py"):
        function = _from_file(case, suite_dir / kind, name)
        programs.check_arguments(case, function)
        return lambda: function(**case.args)
    make = programs.maker(case, suite_dir)
    if make is not None:
        return make
    makers: dict[str, Callable[[Case, str], Callable[[], Any]]] = {
        "torchvision": _torchvision, "timm": _timm, "transformers": _transformers,
    }  # fmt: skip
    if not colon or kind not in makers:
        raise _wrong(
            case,
            f"the factory {case.factory!r} is none of torchvision:, timm:, transformers:, FILE.py:, an import path",
            fix="factory: torchvision:resnet50",
        )
    return makers[kind](case, name)


def _torchvision(case: Case, name: str) -> Callable[[], Any]:
    models = _library("torchvision").models
    names = models.list_models()
    if name.lower() not in names:
        raise _unknown(case, "torchvision", name, names)
    return lambda: models.get_model(name, **case.args)


def _timm(case: Case, name: str) -> Callable[[], Any]:
    timm = _library("timm")
    if not timm.is_model(name.partition(".")[0]):
        raise _unknown(case, "timm", name, timm.list_models())
    return lambda: timm.create_model(name, **case.args)


def _transformers(case: Case, name: str) -> Callable[[], Any]:
    """``name(config_class(**config), **args)``: random weights, nothing is downloaded."""
    library = _library("transformers")
    settings = dict(case.config)
    config_name = settings.pop("transformers", None)
    if config_name is None:
        raise _wrong(
            case, f"{case.factory} needs the class of its configuration", fix="config: {transformers: ...Config}"
        )
    classes = []
    for class_name in (config_name, name):
        try:
            classes.append(getattr(library, class_name))
        except AttributeError as error:
            raise _unknown(case, "transformers", class_name, dir(library)) from error
        except (ImportError, RuntimeError) as error:  # transformers wraps what its lazy imports raise
            raise Unavailable(
                f"transformers.{class_name} cannot be imported: {error}", fix=_fix_in(str(error))
            ) from error
    config, model = classes

    def make() -> Any:
        _check_config(case, config, settings)
        return model(config(**settings), **case.args)

    return make


def _check_config(case: Case, config: Any, settings: Mapping[str, Any]) -> None:
    """SuiteError for a key of ``config`` that is close to one of its class and does nothing: a misspelling.

    A class stores every key, and many classes read keys that their default instance does not have. So a key passes if
    it is consumed, changes anything else, or is named in the class's package.
    """
    try:
        default = config()
        strange = [
            key for key in settings if not hasattr(default, key) and _is_kept(config, key, settings[key], default)
        ]
    except Exception:  # noqa: BLE001 - the error is reported when the model is built
        return
    keys = [key for key in (*inspect.signature(config.__init__).parameters, *vars(default)) if not key.startswith("_")]
    for key in strange:
        guess = did_you_mean(key, keys)
        if guess and not _is_named(config, key):
            fix = f"correct the `config` of the model {case.model!r}"
            raise _wrong(case, f"{config.__name__} has no {key!r}.{guess}", fix=fix)


def _is_kept(config: Any, key: str, value: Any, default: Any) -> bool:
    """Whether the only effect of ``key`` on an instance is that it is stored there."""
    attributes = vars(config(**{key: value}))
    return key in attributes and {name: attributes[name] for name in attributes if name != key} == vars(default)


def _is_named(config: Any, key: str) -> bool:
    """Whether a file of the package that ``config`` is defined in has the word ``key``."""
    word = re.compile(rf"\b{re.escape(key)}\b")
    folder = Path(inspect.getfile(config)).parent
    return any(word.search(file.read_text(errors="replace")) for file in sorted(folder.glob("*.py")))


def _library(name: str) -> ModuleType:
    """A model library. Unavailable if absent, or broken on import as torchvision is beside another torch build."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise _absent(error, Path()) from error
    except Exception as error:
        raise Unavailable(f"{name} is installed but cannot be imported: {error}", fix=_FIXES[name]) from error


def _from_file(case: Case, path: Path, name: str) -> Callable[..., Any]:
    if not path.is_file():
        raise _wrong(case, f"the factory's file {path.name!r} is not beside the suite", fix=f"create {path}")
    unique = f"_trtbench_{path.stem}_{hashlib.sha256(str(path.resolve()).encode()).hexdigest()[:8]}"
    module = sys.modules.get(unique) or _execute(case, path, unique)
    function = getattr(module, name, None)
    if not callable(function):
        functions = [key for key, value in vars(module).items() if callable(value)]
        raise _wrong(case, f"{path.name} has no function {name!r}.{did_you_mean(name, functions)}")
    return function  # type: ignore[no-any-return]


def _execute(case: Case, path: Path, unique: str) -> ModuleType:
    try:
        return userfile.execute(path, unique)
    except ModuleNotFoundError as error:
        raise _absent(error, path.parent) from error
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt) and signals.raises_interrupts():
            raise
        line, fix = userfile.innermost_line(error, path.parent), _fix_of(error, case, path.parent)
        raise errors.of_import(case, path.name, error, line, fix=fix) from error


@contextlib.contextmanager
def _as_script(case: Case, suite_dir: Path) -> Iterator[None]:
    """A factory's file may parse arguments when it is called too."""
    file, _, _ = case.factory.partition(":")
    with userfile.as_script(suite_dir / file) if file.endswith(".py") else contextlib.nullcontext():
        yield


def _raised(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return f"ended Python (exit code {error.code})"
    return f"raised {class_and_text(error)}"


def _fix_of(error: BaseException, case: Case, suite_dir: Path) -> str:
    """What to change in the user's file, where the error tells."""
    if isinstance(error, SystemExit):
        return f"let {case.factory} take what it needs as `args`, and parse arguments under if __name__ == '__main__'"
    hidden = userfile.hidden_sibling(error.name or "", suite_dir) if isinstance(error, ImportError) else None
    return f"rename {hidden.name}: the installed module {hidden.stem!r} is imported in its place" if hidden else ""


def _absent(error: ModuleNotFoundError, suite_dir: Path) -> Unavailable:
    """A module that cannot be imported. Only of a package that trtbench knows is the name on the index sure."""
    name = error.name or str(error)
    if is_known(name):
        return Unavailable(f"the package {name!r} is not installed", fix=install(name))
    hidden = userfile.hidden_sibling(name, suite_dir)
    if hidden:
        what = f"{error}: an installed module hides {hidden.name}, which is beside the suite"
        return Unavailable(what, fix=f"rename {hidden.name}")
    what = f"the module {name!r} is neither installed nor beside the suite"
    return Unavailable(what, fix=f"put {name.partition('.')[0]}.py into {suite_dir}, or install its package")


def _fix_in(message: str) -> str:
    """The command that a library's message names, e.g. the one of a torchvision of another build."""
    return next((fix for name, fix in _FIXES.items() if f"{name}::" in message), "trtbench doctor")


def _unknown(case: Case, library: str, name: str, names: Iterable[str]) -> SuiteError:
    return _wrong(case, f"{library} has no {name!r}.{did_you_mean(name, names)}")


def _refuses_arguments(error: BaseException, case: Case) -> bool:
    """Whether a call refused a name of ``args``: a library hands them on to constructors, whose error alone tells."""
    names = [f"unexpected keyword argument {name!r}" for name in case.args]
    return isinstance(error, TypeError) and any(name in text_of(error) for name in names)


def _raises(case: Case, error: BaseException, suite_dir: Path) -> CaseError:
    """The exception of a factory's call, with the innermost line of the user's own files that it went through."""
    what = f"the model {case.model!r} cannot be built: {case.factory} {_raised(error)}"
    line = userfile.innermost_line(error, suite_dir)
    if line:
        what = f"{what} ({line})"
    if errors.out_of_memory(error):
        return OutOfMemory(what, where=case.source, fix=MORE_MEMORY)
    fix = _fix_of(error, case, suite_dir) or f"correct {line or f'the model {case.model!r}'}"
    return ModelError(what, where=case.source, fix=fix)


def _no_module(case: Case, made: Any) -> ModelError:
    """The error of a factory that returned ``made``."""
    returned = f"the class {made.__name__}" if isinstance(made, type) else f"an object of type {type(made).__name__!r}"
    returned = "None" if made is None else returned
    what = f"the model {case.model!r} cannot be built: {case.factory} returned {returned}, not a torch.nn.Module"
    fix = f"return {made.__name__}(...) there" if isinstance(made, type) else f"return the module in {case.factory}"
    return ModelError(what, where=case.source, fix=fix)


def _wrong(case: Case, what: str, fix: str = "") -> SuiteError:
    return SuiteError(what, where=case.source, fix=fix or f"correct the model {case.model!r}")
