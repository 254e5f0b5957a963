"""Finds and loads backends: files of this package by their names, and entry points of other distributions."""

from __future__ import annotations

import functools
import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import msgspec

from bench.errors import UsageError, did_you_mean
from bench.model.lanes import Prepared
from bench.model.seam import Backend, Context, Missing, Options, Stage
from bench.model.suite import Case

# The entry point group of backends outside this package: ``NAME = "package.module:BACKEND"``.
GROUP = "trtbench.backends"
_MEMBERS = ("options", "simulated", "missing", "unsupported", "stages", "produce", "prepare")


class BrokenBackend:
    """Stands in the registry for an entry point that is no backend: ``problem`` says why, ``fix`` what helps.

    It has every member of a backend, so that a suite or the doctor can name it; nothing runs.
    """

    options = Options
    simulated = False
    distributions: tuple[str, ...] = ()

    def __init__(self, problem: str, fix: str) -> None:
        self.problem = problem
        self.fix = fix

    def missing(self, device: str = "cpu") -> Missing | None:
        """What is wrong with it."""
        return Missing(reason=self.problem, fix=self.fix)

    def unsupported(self, case: Case, device: str) -> str | None:
        """Nothing that a plan could know."""
        return None

    def stages(self, case: Case) -> Sequence[Stage]:
        """Raises what is wrong with it."""
        raise self._error()

    def produce(self, stage: Stage, case: Case, context: Context, out: Path) -> None:
        """Raises what is wrong with it."""
        raise self._error()

    def prepare(self, case: Case, options: Any, context: Context) -> AbstractContextManager[Prepared]:
        """Raises what is wrong with it."""
        raise self._error()

    def _error(self) -> UsageError:
        return UsageError(self.problem, fix=self.fix)


def names() -> list[str]:
    """The names of all backends: the modules of this package, less ``base`` and those that start with ``_``, and the
    entry points of other distributions.
    """
    return sorted({*_own(), *(name for name in _entry_points() if name not in _own())})


def load(name: str) -> Backend:
    """The backend called ``name``. UsageError with a suggestion if there is none, with the reason if it is broken."""
    backend = _find(name)
    if isinstance(backend, BrokenBackend):
        raise UsageError(backend.problem, fix=backend.fix)
    return backend


def registry() -> dict[str, Backend]:
    """All backends by name; those that cannot be loaded are ``BrokenBackend``."""
    return {name: _find(name) for name in names()}


def missing(name: str, device: str) -> Missing | None:
    """What the backend lacks for ``device``; for one of another package also that it cannot say so."""
    backend = _find(name)
    try:
        return backend.missing(device)
    except Exception as error:
        source = distribution_of(name)
        if not source:
            raise
        what = f"the backend {name!r} of {source} raised {type(error).__name__} in `missing`: {error}"
        return Missing(reason=what, fix=f"a corrected version of {source}, or pip uninstall {source}")


def hidden_entry_points() -> dict[str, str]:
    """Entry points that no suite can name, as this package has a backend of that name: why, by the distribution."""
    return {
        point.dist.name if point.dist else point.value: f"its backend {name!r} has the name of a built-in one"
        for name, points in _entry_points().items()
        for point in points
        if name in _own()
    }


def distributions_of(names: Iterable[str]) -> tuple[str, ...]:
    """The distributions whose versions can change what these backends measure, besides those that count anyway: those
    that each names, and the one that it comes from.
    """
    result: dict[str, None] = {}
    for name in names:
        if name in _own() or name in _entry_points():
            result |= dict.fromkeys(getattr(_find(name), "distributions", ()))
            result |= dict.fromkeys(point.dist.name for point in _outside(name) if point.dist)
    return tuple(result)


def distribution_of(name: str) -> str:
    """The distribution that the backend ``name`` comes from; empty for one of this package."""
    return next((point.dist.name for point in _outside(name) if point.dist), "")


def options_of(backend: Backend, case: Case) -> Options:
    """The case's options as the backend's own struct. UsageError if they do not fit (a suite is checked earlier)."""
    try:
        return msgspec.convert(case.options, backend.options)
    except msgspec.ValidationError as error:
        raise UsageError(f"options of {case.backend}: {error}", where=case.source) from error


# --------------------------------------------------------------------------------------------------------- where from


@functools.cache
def _own() -> tuple[str, ...]:
    modules = (module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)]))
    return tuple(sorted(name for name in modules if name != "base" and not name.startswith("_")))


def _entry_points() -> Mapping[str, Sequence[metadata.EntryPoint]]:
    """The entry points by name; several of one name are of several distributions."""
    return _entry_points_on(tuple(sys.path))


@functools.lru_cache(maxsize=1)
def _entry_points_on(_search_path: tuple[str, ...]) -> Mapping[str, Sequence[metadata.EntryPoint]]:
    """Read once for a search path, as it takes the metadata of everything that is installed."""
    points: dict[str, list[metadata.EntryPoint]] = {}
    for point in metadata.entry_points(group=GROUP):
        others = points.setdefault(point.name, [])
        if _source(point) not in map(_source, others):  # a distribution may be on the path twice
            others.append(point)
    return points


def _source(point: metadata.EntryPoint) -> tuple[str, str]:
    """What an entry point names and its distribution, which its equality leaves out."""
    return point.value, point.dist.name if point.dist else point.value


def _outside(name: str) -> Sequence[metadata.EntryPoint]:
    return () if name in _own() else _entry_points().get(name, ())


def _find(name: str) -> Backend:
    if name in _own():
        return cast(Backend, importlib.import_module(f"bench.backends.{name}").BACKEND)
    points = _outside(name)
    if not points:
        what = f"unknown backend {name!r}.{did_you_mean(name, names())}"
        raise UsageError(what, fix=f"known: {', '.join(names())}; trtbench doctor says what each needs")
    return _loaded(name, tuple(sorted(map(_source, points))))


@functools.cache
def _loaded(name: str, places: tuple[tuple[str, str], ...]) -> Backend:
    """The backend of an entry point, or ``BrokenBackend``: a package of others must not stop a suite that does not name
    it.

    ``places`` are what the entry points of that name have, and their distributions.
    """
    sources = [source for _, source in places]
    if len(places) > 1:
        what = f"several packages have a backend {name!r}: {', '.join(sources)}"
        return BrokenBackend(what, f"pip uninstall all of them but one: {' '.join(sources[1:])}")
    ((place, source),) = places
    fix = f"a corrected version of {source}, or pip uninstall {source}"
    try:
        value = metadata.EntryPoint(name=name, value=place, group=GROUP).load()
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a stranger's module may raise anything
        lines = f"{type(error).__name__}: {error}".strip().splitlines()
        return BrokenBackend(f"the backend {name!r} of {source} cannot be loaded: {lines[0][:300]}", fix)
    if isinstance(value, ModuleType):
        value = getattr(value, "BACKEND", value)
    problem = _defect(name, value)
    return BrokenBackend(f"the backend {name!r} of {source} {problem}", fix) if problem else cast(Backend, value)


def _defect(name: str, value: Any) -> str:
    """What keeps ``value`` from being a backend; empty if nothing."""
    lacking = [member for member in _MEMBERS if not hasattr(value, member)]
    if isinstance(value, type):
        return "is a class; its entry point must name an instance, e.g. package.module:BACKEND"
    if lacking:
        return f"has no {', '.join(lacking)}"
    if not (isinstance(value.options, type) and issubclass(value.options, msgspec.Struct)):
        return "has `options` that are no struct"
    own = getattr(value, "name", name)
    if own != name:
        return f"is called {own!r} by itself and {name!r} by its entry point; set name = {name!r} in its class"
    return ""
