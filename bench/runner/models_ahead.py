"""Which models are built once, in a template, for all the workers that measure them by one runtime."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from bench.backends import base
from bench.model.abilities import BuildsModels, ListsImports
from bench.model.factory import LIBRARIES
from bench.model.suite import Case
from bench.runner import capacity, sources

# Less memory than this is not worth a process.
_LEAST_BYTES = 64 << 20


class Model(NamedTuple):
    """A model in the memory of workers: the names of what they have imported before, and what decides the model."""

    toolchain: str
    imports: tuple[str, ...]
    key: str


def model_of(case: Case, suite_dir: Path) -> Model | None:
    """The model of ``case`` as its workers have it, if they may find it built.

    Only those of libraries: a constructor of the user's may start a device or threads, and so may what it reads from a
    file of the user's.
    """
    backend = base.load(case.backend)
    if not isinstance(backend, BuildsModels) or not isinstance(backend, ListsImports):
        return None
    kind, colon, _ = case.factory.partition(":")
    if not colon or kind not in LIBRARIES or sources.names_files(case, suite_dir):
        return None
    return Model(case.toolchain, tuple(backend.imports(case)), backend.model_key(case))


def uses(turns: Iterable[tuple[Case, int]], suite_dir: Path) -> dict[Model, list[Case]]:
    """The models that ``turns`` measure, each with the cases of its turns in their order."""
    models: dict[str, Model | None] = {}
    cases: dict[Model, list[Case]] = {}
    for case, _ in turns:
        if case.id not in models:
            models[case.id] = model_of(case, suite_dir)
        model = models[case.id]
        if model is not None:
            cases.setdefault(model, []).append(case)
    return cases


def room(size: int) -> int | None:
    """The bytes that one of ``size`` templates may take that build models at once, beside as many workers: 0 where the
    system does not tell how much memory is free, None where it is too little.
    """
    free = capacity.available_bytes()
    if free is None:
        return 0
    each = (free - size * capacity.WORKER_BYTES) // size
    return each if each >= _LEAST_BYTES else None
