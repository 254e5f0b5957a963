"""Where the code of a model comes from: names that import it, its files' digests, and fingerprints of what it runs.

A fingerprint is the digest of one part of a program as it is in memory: a method's code, a constant of a class, a
global that a function uses. A worker imports the program anew and compares: whatever was changed after the import, or
is another program of the same name, is reported by its name.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import importlib.util
import inspect
import site
import sys
import sysconfig
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from bench.errors import SuiteError, UsageError
from bench.runtimes.torch.fingerprints import Fingerprints, codes_of

FACTORY = "give a factory in its place, a function in a file: benchmark('net.py:make', ...)"
_CHANGED = "restart Python (or reload the module), and benchmark again"


class Origins:
    """The imports that a model needs, by name; of code that is not installed also its files and folders."""

    def __init__(self) -> None:
        self.paths: set[str] = set()
        self.sources: dict[str, dict[str, str]] = {}
        self.names: dict[str, None] = {}
        self._codes: dict[str, set[str]] = {}

    def name_of(self, value: Any, where: str) -> str:
        """``module:name`` that imports ``value``, a class or function. UsageError if nothing does."""
        name = _importable_name(value)
        if name is None:
            raise _not_importable(value, where)
        self.names[name] = None
        self.note(sys.modules[name.partition(":")[0]])
        return name

    def note(self, module: ModuleType) -> None:
        """Record the file of ``module`` and the folder that it is imported from, unless it is installed."""
        path = source_of(module)
        package = sys.modules.get(module.__name__.partition(".")[0], module)
        if path is None and getattr(package, "__spec__", None) is None:
            what = f"the module {module.__name__!r} was made in this process, and no other can import it"
            raise UsageError(what, fix=f"write it into a file; or {FACTORY}")
        if path is None or module.__name__ in self.sources:
            return
        if not path.is_file():
            what = f"{path}, which {module.__name__!r} was imported from, is no longer a file"
            raise UsageError(what, fix=f"put the code into a file; or {FACTORY}")
        depth = module.__name__.count(".") + (path.name == "__init__.py")
        self.paths.add(str(path.parents[depth]))
        data = path.read_bytes()
        self.sources[module.__name__] = {"file": str(path), "sha256": hashlib.sha256(data).hexdigest()}
        self._codes[module.__name__] = codes_of(data, path)

    def fingerprints(self) -> dict[str, str]:
        """The fingerprints of all that was named, with the sources of the modules that it uses.

        UsageError if a file has other code than what was imported from it, or a part was defined in ``__main__``.
        """
        prints = Fingerprints(lambda module: source_of(module) is not None)
        for name in self.names:
            prints.add(import_member(name), name)
        for module in sorted(prints.modules):
            self.note(sys.modules[module])
        for name, module, digest in prints.functions:
            if module == "__main__":
                what = f"{name} was replaced by a function of __main__, which workers do not run"
                raise UsageError(what, fix=f"make the change in the file; or {FACTORY}")
            if digest not in self._codes.get(module, {digest}):
                file = self.sources[module]["file"]
                raise UsageError(f"{file} changed after {name} was imported from it", fix=_CHANGED)
        return prints.parts


def check(content: Mapping[str, Any]) -> None:
    """SuiteError if this process imports other code by the names in ``content`` than the process that saved it."""
    _check_sources(content["sources"], content["paths"])
    if content.get("runtime") == runtime():
        _check_fingerprints(tuple(content["names"]), tuple(sorted(content["fingerprints"].items())))


def runtime() -> list[str]:
    """What the digests of code depend on, beside the code: the versions of Python and torch."""
    import torch

    return [str(sys.implementation.cache_tag), str(torch.__version__)]


@functools.cache  # once: what a call of the model changes later is its own affair
def _check_fingerprints(names: tuple[str, ...], recorded: tuple[tuple[str, str], ...]) -> None:
    prints = Fingerprints(lambda module: source_of(module) is not None)
    for name in names:
        prints.add(import_member(name), name)
    before = dict(recorded)
    differing = [part for part in {**before, **prints.parts} if before.get(part) != prints.parts.get(part)]
    if differing:
        more = f" and {len(differing) - 1} more" if len(differing) > 1 else ""
        what = f"{differing[0]}{more} is not what a new process imports: it was changed, or differs at each import"
        raise SuiteError(what, fix=f"make the change in the file, before the import; or {FACTORY}")


def _check_sources(sources: Mapping[str, Mapping[str, str]], folders: Iterable[str]) -> None:
    sys.path.extend(folder for folder in folders if folder not in sys.path)
    for name in sorted(sources):
        file, digest = Path(sources[name]["file"]), sources[name]["sha256"]
        module = sys.modules.get(name) or _import_from(name, file)
        path = source_of(module) or Path(str(getattr(module, "__file__", None)))
        if path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == digest:
            continue
        if path == file:
            raise SuiteError(f"{file} changed after the model was saved", fix="benchmark it again")
        what = f"the module {name!r} is {path} in a new process, and the model was saved with {file}"
        raise SuiteError(what, fix=f"give {file.name} a name of its own")


def _import_from(name: str, file: Path) -> ModuleType:
    """Import ``name``, with the folder of ``file`` first if the search path has another file of that name before it."""
    if not file.is_file():
        raise SuiteError(f"{file}, which the model is defined in, is not there", fix="benchmark it again")
    folder = str(file.parents[name.count(".") + (file.name == "__init__.py")])
    before = list(sys.path)
    top = importlib.util.find_spec(name.partition(".")[0])
    places = [top.origin or "", *(top.submodule_search_locations or [])] if top else []
    if not any(Path(place).is_relative_to(folder) for place in places if place):
        sys.path.insert(0, folder)
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if not name.startswith(error.name or "."):
            raise
        what = f"the module {name!r} of {file} cannot be imported in a new process: {error}"
        raise SuiteError(what, fix="give its package a name that no other has") from error
    finally:
        sys.path[:] = before


def import_member(name: str) -> Any:
    """What ``module:name`` names. ImportError or AttributeError if it is not there."""
    module, _, member = name.partition(":")
    return functools.reduce(getattr, member.split("."), importlib.import_module(module))


def source_of(module: ModuleType) -> Path | None:
    """The file of a module that is neither installed nor Python's own."""
    file = getattr(module, "__file__", None)
    return _source(file) if file else None


@functools.cache
def _source(file: str) -> Path | None:
    path = Path(file).resolve()
    return None if any(path.is_relative_to(folder) for folder in _package_folders()) else path


def _package_folders() -> Iterator[Path]:
    """The folders of packages and of the standard library."""
    for name in ("stdlib", "platstdlib", "purelib", "platlib"):
        yield Path(sysconfig.get_path(name)).resolve()
    yield from (Path(folder).resolve() for folder in (*site.getsitepackages(), site.getusersitepackages()))


def _importable_name(value: Any) -> str | None:
    """``module:name`` of a class or function; by the name of a variable of its module where its own is another's."""
    import torch

    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", "")
    if module is None:  # torch.relu and the like
        name = getattr(value, "__name__", "")
        return f"torch:{name}" if getattr(torch, name, None) is value else None
    if module == "__main__":
        return None
    try:
        if import_member(f"{module}:{name}") is value:
            return f"{module}:{name}"
    except (ImportError, AttributeError, ValueError):
        pass
    loaded = sys.modules.get(module)
    variables = vars(loaded) if loaded is not None else {}
    return next((f"{module}:{key}" for key, member in variables.items() if member is value), None)


def _not_importable(value: Any, where: str) -> UsageError:
    module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", "") or repr(value)
    title = name if name == where else f"{name} ({where})"
    move = "move it into a file, e.g. net.py, and import it from there"
    if module == "__main__":
        return UsageError(f"{title} is defined in __main__, which workers do not run", fix=move)
    captured = list(getattr(getattr(value, "__code__", None), "co_freevars", ()))
    captured = [variable for variable in captured if variable != "__class__"]
    variables = f" and captures {', '.join(captured)}" if captured else ""
    if "<locals>" in name or "<lambda>" in name:
        wrap = "call it in a function or module of a file" if captured else move
        return UsageError(f"{title} is defined in a function{variables}", fix=f"{wrap}; or {FACTORY}")
    if inspect.unwrap(value) is not value:
        return UsageError(
            f"{title} is a wrapper of {module}.{name}{variables}", fix=f"wrap it in its file; or {FACTORY}"
        )
    what = f"{where} is {module}.{name}, which cannot be imported by that name in another process"
    return UsageError(what, fix=FACTORY)
