"""The seam: what a backend file must offer, and how backends are found by their file names."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
from collections.abc import Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol, cast

import msgspec

from bench.errors import UsageError, did_you_mean
from bench.model import Case
from bench.seam import Context, Missing, Prepared, Stage


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Base of every backend's options: validated when the suite is read, defaults are left out of the case."""


class Backend(Protocol):
    """One runtime. A module ``bench/backends/NAME.py`` offers an instance as ``BACKEND``; its file name is its name.

    ``simulated`` backends get a FakeClock and touch no device. Importing the module must not import the runtime.
    """

    @property
    def options(self) -> type[Options]:
        """The struct that a suite's options of this backend must fit."""
        ...

    @property
    def simulated(self) -> bool:
        """Whether time is simulated and no device is touched."""
        ...

    def missing(self, device: str = "cpu") -> Missing | None:
        """None if it could run here on ``device`` ('cpu' or 'cuda:0'); told by what is installed, nothing imported."""
        ...

    def unsupported(self, case: Case, device: str) -> str | None:
        """Why this combination can never work on ``device`` ('cpu' or 'cuda:0'), or None."""
        ...

    def stages(self, case: Case) -> Sequence[Stage]:
        """The artifacts the case needs, in the order in which they are made; the first is the reference."""
        ...

    def produce(self, stage: Stage, case: Case, context: Context, out: Path) -> None:
        """Make one artifact in the empty folder ``out``."""
        ...

    def prepare(self, case: Case, options: Any, context: Context) -> AbstractContextManager[Prepared]:
        """Load or build the model, warming nothing; the exit gives everything back."""
        ...


def names() -> list[str]:
    """The names of all backends: the module names of this package, less ``base`` and those that start with ``_``."""
    found = (module.name for module in pkgutil.iter_modules([str(Path(__file__).parent)]))
    return sorted(name for name in found if name != "base" and not name.startswith("_"))


def load(name: str) -> Backend:
    """The backend called ``name``; UsageError with a suggestion if there is none."""
    if name not in names():
        raise UsageError(f"unknown backend {name!r}.{did_you_mean(name, names())}", fix="trtbench doctor")
    return cast(Backend, importlib.import_module(f"bench.backends.{name}").BACKEND)


def registry() -> dict[str, Backend]:
    """All backends by name."""
    return {name: load(name) for name in names()}


def first_missing(*packages: tuple[str, str]) -> Missing | None:
    """The first ``(module, command that installs it)`` whose module cannot be found, as a Missing."""
    for module, command in packages:
        if importlib.util.find_spec(module) is None:
            return Missing(reason=f"the package {module!r} is not installed", fix=command)
    return None


def options_of(backend: Backend, case: Case) -> Options:
    """The case's options as the backend's own struct. UsageError if they do not fit (a suite is checked earlier)."""
    try:
        return msgspec.convert(case.options, backend.options)
    except msgspec.ValidationError as error:
        raise UsageError(f"options of {case.backend}: {error}", where=case.source) from error
