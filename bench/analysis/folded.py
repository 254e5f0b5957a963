"""Convolutions that a runtime names after the normalisation that it has folded into them.

An exporter that folds ``bn1`` into ``conv1`` may keep the name of either: ONNX Runtime then runs a convolution by the
name ``/layer1.0.bn1/Conv``. The side that runs both says which convolution it is: the last one before its ``bn1``.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from bench.analysis.explain_names import Name
from bench.analysis.explain_sides import Side, Unit
from bench.analysis.operators import ANCHORS, Family


def with_convolutions(a: Side, b: Side) -> tuple[Side, Side]:
    """Both sides; each convolution or product that has the name of a normalisation of the other side also has the
    module of the convolution that the other side runs before that, as the first of its names.
    """
    return _with_convolutions(a, b), _with_convolutions(b, a)


def _with_convolutions(side: Side, other: Side) -> Side:
    folded = _folds(side.units, other.units)
    if not folded:
        return side
    return msgspec.structs.replace(side, units=tuple(_with_names(unit, folded) for unit in side.units))


def _with_names(unit: Unit, folded: dict[str, str]) -> Unit:
    names: list[Name] = []
    for name in unit.names:
        if path := folded.get(name.path):
            names.append(Name(path, path))
        names.append(name)
    return unit if len(names) == len(unit.names) else msgspec.structs.replace(unit, names=tuple(dict.fromkeys(names)))


def _folds(units: Sequence[Unit], others: Sequence[Unit]) -> dict[str, str]:
    """The module of the convolution for each module of a normalisation that ``units`` name one by."""
    own = {name.path for unit in units for name in unit.names}
    convolving = _paths(units, ANCHORS)
    feeding = _feeding(others)
    return {path: feeding[path] for path in convolving & feeding.keys() if feeding[path] not in own}


def _feeding(units: Sequence[Unit]) -> dict[str, str]:
    """For each module that normalises, and convolves nothing, that of the last convolution or product before it in the
    same module.
    """
    norms = _paths(units, ("norm",)) - _paths(units, ANCHORS)
    feeding: dict[str, str] = {}
    before: dict[str, str] = {}
    for unit in units:
        paths = [name.path for name in unit.names if name.path]
        if unit.family in ANCHORS:
            before |= {_parent(path): path if len(paths) == 1 else "" for path in paths}
        elif unit.family == "norm" and len(paths) == 1 and paths[0] in norms and before.get(_parent(paths[0])):
            # A convolution is folded with one normalisation at most.
            feeding.setdefault(paths[0], before.pop(_parent(paths[0])))
    return feeding


def _parent(path: str) -> str:
    return path.rpartition(".")[0]


def _paths(units: Sequence[Unit], families: Sequence[Family]) -> set[str]:
    """The modules that have a unit of these families."""
    return {name.path for unit in units if unit.family in families for name in unit.names if name.path}
