"""Accuracy: each output against the fp32 reference, and the verdict against a threshold."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from bench.model.run import Accuracy, OutputError, Warning
from bench.model.suite import Threshold

Array = np.ndarray[Any, Any]

# Elements that are converted to float64 at a time: three temporaries of 8 MiB, whatever the size of an output.
_CHUNK = 1 << 20
_SHOWN = 3


class _Sums(msgspec.Struct):
    """Sums over one output x and its reference r, in float64."""

    dot: float = 0.0
    xx: float = 0.0
    rr: float = 0.0
    ee: float = 0.0
    max_abs: float = 0.0
    unequal: int = 0
    nan: int = 0
    infinite: int = 0
    bad_reference: int = 0


def compare(outputs: Mapping[str, Array], reference: Mapping[str, Array], threshold: Threshold) -> Accuracy:
    """The errors of ``outputs`` against ``reference``, by name; equal shapes, any dtypes.

    Per output, flattened, x against the reference r in float64: cosine = x.r / (|x| |r|), 1 if both are zero and 0 if
    one is; max_abs = max |x - r|; rel_l2 = |x - r| / |r|, 0 if both are zero; SQNR = 20 log10(|r| / |x - r|) dB.
    What is infinite or undefined is stored as None. A limit of ``threshold`` that is None is not checked. Never ok,
    whatever the limits: NaN or infinity in an output or a reference, an output that is missing or not in the
    reference, unequal shapes, integers or booleans that are not all equal. ``why`` names output, figure, value, limit.
    """
    errors: list[OutputError] = []
    broken: list[str] = []
    for name, expected in reference.items():
        if name not in outputs:
            broken.append(f"output {name!r} is missing")
            continue
        error, reasons = _one(name, np.asarray(outputs[name]), np.asarray(expected), threshold)
        errors.append(error)
        broken += [f"output {name!r}: {reason}" for reason in reasons]
    broken += [f"output {name!r} is not in the reference" for name in outputs if name not in reference]
    return Accuracy(ok=not broken, outputs=tuple(errors), threshold=threshold, why=_few(broken))


def warnings(reference: Mapping[str, Array], batch: int) -> tuple[Warning, ...]:
    """``BlindReference`` if an output of ``reference`` says nothing of the inputs: floats that are all the same, or
    the same for each of ``batch`` samples along the first dimension. Any program that computes the last layer is then
    accurate there, whatever comes before; e.g. where a model's last layer begins as zeros.
    """
    constant: dict[str, float | str] = {}
    repeated: list[str] = []
    compared = 0
    for name, output in reference.items():
        values = np.asarray(output)
        if values.dtype.kind not in "fc" or values.size < 2:
            continue
        compared += 1
        if (values == values.flat[0]).all():
            constant[name] = _plain(values.flat[0])
        elif batch > 1 and values.shape[0] == batch and (values == values[:1]).all():
            repeated.append(name)
    if not constant and not repeated:
        return ()
    figures = {"constant": constant, "repeated": repeated, "samples": batch, "outputs": compared}
    return (Warning(kind="BlindReference", figures=figures),)


def _plain(value: Any) -> float | str:
    """A number that a file can hold: one that is complex or infinite is a text."""
    return float(value) if np.isrealobj(value) and np.isfinite(value) else f"{value:.6g}"


def _few(reasons: list[str]) -> str:
    """The first reasons, and how many there are more."""
    more = f"; and {len(reasons) - _SHOWN} more" if len(reasons) > _SHOWN else ""
    return "; ".join(reasons[:_SHOWN]) + more


def _one(name: str, output: Array, reference: Array, threshold: Threshold) -> tuple[OutputError, list[str]]:
    """The error of one output and what is wrong with it."""
    unknown = OutputError(name=name, cosine=None, max_abs=None, rel_l2=None, sqnr=None)
    if output.shape != reference.shape:
        return unknown, [f"shape {output.shape}, expected {reference.shape}"]
    if (output.dtype.kind == "c") != (reference.dtype.kind == "c"):
        return unknown, [f"dtype {output.dtype}, expected {reference.dtype}"]
    sums = _sums(output, reference)
    if sums.nan or sums.infinite or sums.bad_reference:
        counts = ((sums.nan, "NaN"), (sums.infinite, "infinite"), (sums.bad_reference, "not finite in the reference"))
        reasons = [f"{count} of {output.size} values {what}" for count, what in counts if count]
        return msgspec.structs.replace(unknown, nan=sums.nan), reasons
    figures = _figures(sums)
    stored = {key: value if math.isfinite(value) else None for key, value in figures.items()}
    error = msgspec.structs.replace(unknown, **stored)
    if reference.dtype.kind in "iub":
        return error, [f"{sums.unequal} of {output.size} integers differ"] if sums.unequal else []
    return error, _beyond(figures, threshold)


def _figures(sums: _Sums) -> dict[str, float]:
    x, r, e = math.sqrt(sums.xx), math.sqrt(sums.rr), math.sqrt(sums.ee)
    cosine = float(np.clip(sums.dot / x / r, -1, 1)) if x and r else float(x == r)
    return {
        "cosine": cosine if sums.unequal else 1.0,  # free of rounding where all is equal
        "max_abs": sums.max_abs,
        "rel_l2": e / r if r else (math.inf if e else 0.0),
        "sqnr": 20 * math.log10(r / e) if r and e else (-math.inf if e else math.inf),
    }


def _beyond(figures: Mapping[str, float], threshold: Threshold) -> list[str]:
    """The limits that are broken; cosine and SQNR are lower limits, the others upper ones."""
    reasons = []
    for key, value in figures.items():
        limit = getattr(threshold, key)
        lower = key in ("cosine", "sqnr")
        if limit is not None and not (value >= limit if lower else value <= limit):
            reasons.append(f"{key} {value:.6g} is {'below' if lower else 'above'} {limit:.6g}")
    return reasons


def _sums(output: Array, reference: Array) -> _Sums:
    """One pass over both arrays in chunks; non-finite values make the other sums meaningless."""
    flat, expected, sums = _flat(output), _flat(reference), _Sums()
    with np.errstate(all="ignore"):
        for first in range(0, flat.size, _CHUNK):
            x, r = flat[first : first + _CHUNK], expected[first : first + _CHUNK]
            sums.unequal += int(np.count_nonzero(x != r))
            x, r = x.astype(np.float64), r.astype(np.float64)
            sums.nan += int(np.count_nonzero(np.isnan(x)))
            sums.infinite += int(np.count_nonzero(np.isinf(x)))
            sums.bad_reference += int(np.count_nonzero(~np.isfinite(r)))
            sums.dot += float(x @ r)
            sums.xx += float(x @ x)
            sums.rr += float(r @ r)
            x -= r
            sums.ee += float(x @ x)
            sums.max_abs = max(sums.max_abs, float(np.abs(x, out=x).max()))
    return sums


def _flat(array: Array) -> Array:
    """One dimension, without a copy where the array is contiguous; complex numbers as pairs of real ones."""
    array = np.ascontiguousarray(array).reshape(-1)
    return array.view(array.real.dtype) if array.dtype.kind == "c" else array
