"""Whether call N is call 1: what the program holds before and after a call, and the outputs of two on equal inputs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from bench.measure import accuracy
from bench.model.lanes import Lane, Stateful
from bench.model.run import Accuracy, Warning
from bench.model.suite import DEFAULT_THRESHOLDS, Threshold
from bench.runtimes import repeats

Array = np.ndarray[Any, Any]

# Kernels that add in any order differ by rounding from call to call: by less than this part of what a precision's
# outputs may differ from the reference.
_ROUNDING = 0.1
_SHOWN = 5


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """What a call on equal inputs changed: names of the state, and by how much outputs differ, from 0 to 1."""

    state: tuple[str, ...] = ()
    outputs: dict[str, float] = {}

    def __bool__(self) -> bool:
        return bool(self.state or self.outputs)


def observe(lane: Lane, first: Mapping[str, Array], precision: str) -> Changes:
    """Call ``lane`` once more, after the call that returned ``first``."""
    before = lane.state() if isinstance(lane, Stateful) else None
    lane.call()
    outputs = between(first, lane.read(), precision)
    return Changes(state=tuple(lane.changes_since(before)) if isinstance(lane, Stateful) else (), outputs=outputs)


def of_reference(folder: Path, first: Mapping[str, Array]) -> Changes:
    """What the second call of the reference in ``folder``, whose outputs are ``first``, changed."""
    again, state = repeats.read(folder)
    return Changes(state=tuple(state), outputs=between(first, again))


def between(first: Mapping[str, Any], second: Mapping[str, Array], precision: str = "fp32") -> dict[str, float]:
    """Of each output in ``second`` that differs from ``first`` by more than rounding, the relative difference, at most
    1: of the whole output, or of the slice that differs most. NaN equals NaN.
    """
    limits = DEFAULT_THRESHOLDS[precision]
    assert limits.rel_l2 is not None
    limits = Threshold(rel_l2=_ROUNDING * limits.rel_l2, slice_rel_l2=limits.slice_rel_l2)
    differing = {}
    for name, array in second.items():
        one, other = _without_common_nans(first.get(name), array)
        if one is None:
            differing[name] = 1.0
        elif not np.array_equal(one, other):
            verdict = accuracy.compare({name: other}, {name: one}, limits, precision)
            if not verdict.ok:
                (error,) = verdict.outputs
                figures = [figure for figure in (error.rel_l2, error.slice_rel_l2) if figure is not None]
                differing[name] = min(1.0, max(figures, default=1.0))
    return differing


def warnings(own: Changes, reference: Changes) -> tuple[Warning, ...]:
    """``StateChanges`` and ``OutputsChange`` of the program, else of the model that made the reference: a program made
    from it holds its state inside, or has that of one call in it.
    """
    state, outputs = own.state or reference.state, own.outputs or reference.outputs
    result = []
    if state:
        figures = {"names": list(state[:_SHOWN]), "more": len(state[_SHOWN:]), "by": _by(bool(own.state))}
        result.append(Warning(kind="StateChanges", figures=figures))
    if outputs:
        figures = {"outputs": dict(list(outputs.items())[:_SHOWN]), "more": len(list(outputs)[_SHOWN:])}
        result.append(Warning(kind="OutputsChange", figures={**figures, "by": _by(bool(own.outputs))}))
    return tuple(result)


def explain(verdict: Accuracy, own: Changes, reference: Changes) -> Accuracy:
    """``verdict``, or where it is not ok and calls differ from one another, one that says so in place of the errors."""
    if verdict.ok or not (own or reference):
        return verdict
    state, outputs = own.state or reference.state, own.outputs or reference.outputs
    cause = f"it keeps state ({_few(state)})" if state else "it draws random numbers, keeps state or has a race"
    if own.outputs and not reference:
        why = f"the backend's outputs change from call to call ({_few(outputs)}), those of the reference do not"
    elif outputs:
        why = f"the model's outputs change from call to call ({_few(outputs)}), as {cause}: they have no reference"
    else:
        why = f"the model changes its state from call to call ({_few(state)}): only its first call has a reference"
    return msgspec.structs.replace(verdict, varies=True, why=why)


def _few(names: Mapping[str, float] | tuple[str, ...]) -> str:
    shown = [f"{name!r}" for name in names] if isinstance(names, Mapping) else list(names)
    return ", ".join(shown[:_SHOWN]) + (f" and {len(shown) - _SHOWN} more" if len(shown) > _SHOWN else "")


def _by(program: bool) -> str:
    return "program" if program else "reference"


def _without_common_nans(one: Array | None, other: Array) -> tuple[Array | None, Array]:
    if one is None or one.shape != other.shape or one.dtype.kind not in "fc" or other.dtype.kind not in "fc":
        return one, other
    common = np.isnan(one) & np.isnan(other)
    return (np.where(common, 0, one), np.where(common, 0, other)) if common.any() else (one, other)
