"""Accuracy: each output against the fp32 reference, and the verdict against a threshold."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec
import numpy as np

from bench.measure.parts import Part, Parts
from bench.model.run import Accuracy, OutputError, Warning
from bench.model.suite import OUTPUT_LIMITS, Threshold

Array = np.ndarray[Any, Any]

# Elements that are converted to float64 at a time: some temporaries of 2 MiB, whatever the size of an output.
_CHUNK = 1 << 18
_SHOWN = 3
# Two programs that round the same network at the same places to 8 bits differ where a value lies near the middle of two
# steps, and stay above it (docs/quantization.md); one that rounds elsewhere, or not at all, need not.
QUANTIZED_COSINE = 0.999
# A runtime computes something else where it is more than so many times as far from the quantized model as rounding to
# float16 takes that from itself. The distance is 1 - cosine, half the squared relative error, in which independent
# errors add up: a runtime that rounds at two places for each one of the model (weights and results, say) has twice it.
ROUNDING_FACTOR = 2
# What a precision cannot tell from zero: the least number of float16, which runtimes of 8 bits compute in too; of
# float32 and bfloat16 all subnormals, which are zero where a device or a setting says so.
_STEPS = {"fp16": 2.0**-24, "int8": 2.0**-24, "fp8": 2.0**-24}
_STEP = 2.0**-126
# What stands for minus infinity in masks: the lowest numbers of float16, bfloat16, float32 and float64, and -1e38 in
# float32, which TensorRT 8.6 gives for it.
_LOWEST = (-65504.0, -3.3895313892515355e38, -3.4028234663852886e38, -1.7976931348623157e308, float(np.float32(-1e38)))


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


def compare(
    outputs: Mapping[str, Array], reference: Mapping[str, Array], threshold: Threshold, precision: str = "fp32"
) -> Accuracy:
    """The errors of ``outputs`` against ``reference``, by name; equal shapes, any dtypes.

    Per output, flattened, x against the reference r in float64: cosine = x.r / (|x| |r|), 1 if both are zero and 0 if
    one is; max_abs = max |x - r|; rel_l2 = |x - r| / |r|, 0 if both are zero; SQNR = 20 log10(|r| / |x - r|) dB;
    slice_rel_l2 = rel_l2 of the slice or group of small values (``bench.measure.parts``) that differs most. What is
    infinite or undefined is stored as None. Values that are masked in both, by infinity of one sign or the lowest
    number of a type, are equal and in none of the sums. A limit of ``threshold`` that is None is not checked; without
    any limit neither are integers. Never ok, whatever the limits: NaN, infinity in one of the two, an output that is
    missing or not in the reference, unequal shapes; with any limit, integers or booleans that are not all equal.
    ``why`` names output, figure, value, limit. An output without an element has no figures, and is ok.
    """
    errors: list[OutputError] = []
    broken: list[str] = []
    for name, expected in reference.items():
        if name not in outputs:
            broken.append(f"output {name!r} is missing")
            continue
        step = _STEPS.get(precision, _STEP)
        error, reasons = _one(name, np.asarray(outputs[name]), np.asarray(expected), threshold, step)
        errors.append(error)
        broken += [f"output {name!r}: {reason}" for reason in reasons]
    broken += [f"output {name!r} is not in the reference" for name in outputs if name not in reference]
    empty = bool(errors) and all(error.empty for error in errors)
    return Accuracy(ok=not broken, outputs=tuple(errors), threshold=threshold, why=_few(broken), empty=empty)


def compare_quantized(
    verdict: Accuracy, outputs: Mapping[str, Array], quantized: Mapping[str, Array], rounded: Mapping[str, Array] = {}
) -> tuple[Accuracy, tuple[Warning, ...]]:
    """``verdict`` with cosine and SQNR of each output against ``quantized``, the outputs of the quantized reference,
    and the cosine of ``rounded`` with it: its outputs with values rounded between the layers, which may be missing.

    With a limit ``quantized_cosine`` an output below it is not ok, nor is one whose cosine is undefined. Without, there
    is ``NotAsQuantized`` for those below ``QUANTIZED_COSINE`` that are more than ``ROUNDING_FACTOR`` times as far from
    the reference as ``rounded`` is, or for which there is no such figure. Of the others below the limit or
    ``QUANTIZED_COSINE`` there is ``AmplifiesRounding``. Of outputs that ``compare`` has refused for what they are (NaN,
    another shape) nothing more is said.
    """
    limit = verdict.threshold.quantized_cosine
    least = QUANTIZED_COSINE if limit is None else limit
    known = {each.name: each for each in compare(outputs, quantized, Threshold()).outputs}
    rounding = {each.name: each.cosine for each in compare(rounded, quantized, Threshold()).outputs}
    errors: list[OutputError] = []
    low: dict[str, dict[str, float]] = {}
    amplified: list[str] = []
    undefined: list[str] = []
    for error in verdict.outputs:
        other = known.get(error.name)
        cosine, sqnr = (other.cosine, other.sqnr) if other is not None else (None, None)
        by_rounding = rounding.get(error.name)
        errors.append(
            msgspec.structs.replace(error, quantized_cosine=cosine, quantized_sqnr=sqnr, rounding_cosine=by_rounding)
        )
        if error.cosine is not None and cosine is None:
            undefined.append(error.name)
        elif error.cosine is not None and cosine is not None and cosine < least:
            low[error.name] = {"cosine": cosine, "fp32_cosine": error.cosine}
            if by_rounding is not None:
                low[error.name]["rounding_cosine"] = by_rounding
                if 1 - cosine <= ROUNDING_FACTOR * (1 - by_rounding):
                    amplified.append(error.name)
    verdict = msgspec.structs.replace(verdict, outputs=tuple(errors))
    notes: list[Warning] = []
    if amplified:
        figures = _worst({name: low[name] for name in amplified})
        notes.append(Warning(kind="AmplifiesRounding", figures=figures | {"least": least}))
    if limit is not None and (low or undefined):
        broken = [
            f"output {name!r}: {beside_limit('quantized_cosine', each['cosine'], 'is below', limit)}"
            for name, each in low.items()
        ]
        broken += [f"output {name!r}: quantized_cosine is undefined" for name in undefined]
        why = "; ".join(filter(None, [verdict.why, _few(broken)]))
        verdict = msgspec.structs.replace(verdict, ok=False, why=why)
    elif undefined or len(low) > len(amplified):
        figures = _worst({name: low[name] for name in low if name not in amplified})
        figures["more"] += len(undefined[_SHOWN:])
        figures |= {"undefined": undefined[:_SHOWN], "least": least}
        notes.append(Warning(kind="NotAsQuantized", figures=figures))
    return verdict, tuple(notes)


def _worst(outputs: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
    """The outputs with the lowest cosines, and how many there are more."""
    names = sorted(outputs, key=lambda name: outputs[name]["cosine"])[:_SHOWN]
    return {"outputs": {name: outputs[name] for name in names}, "more": len(outputs) - len(names)}


def warnings(
    reference: Mapping[str, Array], batch: int, metric: str = "", *, metric_is_silent: bool = False
) -> tuple[Warning, ...]:
    """``BlindReference`` if an output of ``reference`` says nothing of the inputs: values that are all the same, or
    the same for each of ``batch`` samples along the first dimension. Any program that computes the last layer is then
    accurate there, whatever comes before; e.g. where a model's last layer begins as zeros, so that each class is 0.
    ``EmptyOutput`` if one has no element. Of neither anything is known, but perhaps by the ``metric`` of the model,
    unless that is silent: it returned no number.
    """
    empty = [name for name, output in reference.items() if not np.asarray(output).size]
    judge: dict[str, Any] = {"metric": metric} if metric else {}
    judge |= {"metric_numbers": 0} if metric_is_silent else {}
    figures = {"empty": empty, "outputs": len(reference)} | judge
    nothing = (Warning(kind="EmptyOutput", figures=figures),) if empty else ()
    return (*nothing, *_blind(reference, batch, judge))


def _blind(reference: Mapping[str, Array], batch: int, judge: Mapping[str, Any]) -> tuple[Warning, ...]:
    """``outputs`` of its figures counts those of two elements or more, and ``single`` those of one, of which it cannot
    be told.
    """
    constant: dict[str, float | str] = {}
    repeated: list[str] = []
    compared = single = 0
    for name, output in reference.items():
        values = np.asarray(output)
        if values.size < 2:
            single += values.size
            continue
        compared += 1
        if (values == values.flat[0]).all():
            constant[name] = _plain(values.flat[0])
        elif batch > 1 and values.shape[0] == batch and (values == values[:1]).all():
            repeated.append(name)
    if not constant and not repeated:
        return ()
    figures = {"constant": constant, "repeated": repeated, "samples": batch, "outputs": compared, "single": single}
    return (Warning(kind="BlindReference", figures={**figures, **judge}),)


def _plain(value: Any) -> float | str:
    """A number that a file can hold: one that is complex or infinite is a text."""
    return float(value) if np.isrealobj(value) and np.isfinite(value) else f"{value:.6g}"


def _few(reasons: list[str]) -> str:
    """The first reasons, and how many there are more."""
    more = f"; and {len(reasons) - _SHOWN} more" if len(reasons) > _SHOWN else ""
    return "; ".join(reasons[:_SHOWN]) + more


def _one(
    name: str, output: Array, reference: Array, threshold: Threshold, step: float
) -> tuple[OutputError, list[str]]:
    """The error of one output and what is wrong with it."""
    unknown = OutputError(name=name, cosine=None, max_abs=None, rel_l2=None, sqnr=None)
    if output.shape != reference.shape:
        return unknown, [f"shape {output.shape}, expected {reference.shape}"]
    if (output.dtype.kind == "c") != (reference.dtype.kind == "c"):
        return unknown, [f"dtype {output.dtype}, expected {reference.dtype}"]
    if not reference.size:
        return msgspec.structs.replace(unknown, empty=True), []
    integers = reference.dtype.kind in "iub"
    parts = None if integers or threshold.slice_rel_l2 is None else Parts(reference.shape, threshold.slice_rel_l2, step)
    sums = _sums(output, reference, parts)
    if sums.nan or sums.infinite or sums.bad_reference:
        counts = ((sums.nan, "NaN"), (sums.infinite, "infinite"), (sums.bad_reference, "not finite in the reference"))
        reasons = [f"{count} of {output.size} values {what}" for count, what in counts if count]
        return msgspec.structs.replace(unknown, nan=sums.nan), reasons
    figures = _figures(sums)
    stored = {key: value if math.isfinite(value) else None for key, value in figures.items()}
    error = msgspec.structs.replace(unknown, **stored)
    if integers:
        checked = any(getattr(threshold, name) is not None for name in OUTPUT_LIMITS)
        return error, [f"{sums.unequal} of {output.size} integers differ"] if sums.unequal and checked else []
    reasons, part = _beyond(figures, threshold), parts.worst() if parts is not None else None
    if part is not None and part.rel_l2:
        worst = part.rel_l2 if math.isfinite(part.rel_l2) else None
        error = msgspec.structs.replace(error, slice=part.name, slice_rel_l2=worst)
        reasons = reasons or _beyond_in(part, threshold)  # of an output that is wrong everywhere, no part is news
    return error, reasons


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
            reasons.append(beside_limit(key, value, "is below" if lower else "is above", limit))
    return reasons


def beside_limit(name: str, value: float, side: str, limit: float) -> str:
    """``cosine 0.94 is below 0.95``: six digits, or as many as tell the value from the limit."""
    digits = next((n for n in range(6, 17) if f"{value:.{n}g}" != f"{limit:.{n}g}"), 17)
    return f"{name} {value:.{digits}g} {side} {limit:.{digits}g}"


def _beyond_in(part: Part, threshold: Threshold) -> list[str]:
    limit = threshold.slice_rel_l2
    if limit is None or part.rel_l2 <= limit:
        return []
    return [beside_limit("slice_rel_l2", part.rel_l2, f"of {part.name} is above", limit)]


def _sums(output: Array, reference: Array, parts: Parts | None) -> _Sums:
    """One pass over both arrays in blocks; non-finite values make the other sums meaningless."""
    output, reference, sums = np.ascontiguousarray(output), np.ascontiguousarray(reference), _Sums()
    with np.errstate(all="ignore"):
        for index in _blocks(reference.shape):
            x, r = output[index], reference[index]
            flat, expected = _flat(x), _flat(r)
            differ = flat != expected
            x64, r64 = flat.astype(np.float64), expected.astype(np.float64)
            if reference.dtype.kind in "fc":
                differ &= ~_equal_masks(x64, r64)
            sums.unequal += int(np.count_nonzero(differ))
            sums.nan += int(np.count_nonzero(np.isnan(x64)))
            sums.infinite += int(np.count_nonzero(np.isinf(x64)))
            sums.bad_reference += int(np.count_nonzero(~np.isfinite(r64)))
            sums.dot += float(x64 @ r64)
            sums.xx += float(x64 @ x64)
            sums.rr += float(r64 @ r64)
            x64 -= r64
            sums.ee += float(x64 @ x64)
            sums.max_abs = max(sums.max_abs, float(np.abs(x64, out=x64).max()))
            if parts is not None and not (sums.nan or sums.infinite or sums.bad_reference):
                parts.add(index, _magnitudes(x64, r), _magnitudes(np.abs(r64, out=r64), r))
    return sums


def _equal_masks(x: Array, r: Array) -> Array:
    """Where both are masked: infinite with one sign, or minus infinity in one and the lowest number of a type in the
    other, or the lowest of two types. Both become 0 there.
    """
    if not (np.abs(r) >= -_LOWEST[0]).any():
        return np.zeros(r.shape, np.bool_)
    masked: Array = (np.isinf(r) & (x == r)) | (_is_lowest(x) & _is_lowest(r))
    x[masked] = r[masked] = 0
    return masked


def _is_lowest(values: Array) -> Array:
    lowest: Array = values == -np.inf
    for number in _LOWEST:
        lowest |= values == number
    return lowest


def _magnitudes(values: Array, like: Array) -> Array:
    """Non-negative ``values`` in the shape of ``like``, whose complex numbers they have as pairs."""
    if like.dtype.kind == "c":
        values = np.hypot(values[::2], values[1::2])
    return values.reshape(like.shape)


def _blocks(shape: tuple[int, ...]) -> Iterator[tuple[slice, ...]]:
    """Indices that cover an array of ``shape``, each of at most _CHUNK elements that lie side by side."""
    if 0 in shape:
        return
    sizes, inner = [], 1  # of a block along each axis, the last one first
    for length in reversed(shape):
        sizes.append(max(1, min(length, _CHUNK // inner)))
        inner = _CHUNK + 1 if sizes[-1] < length else inner * length
    axes = [
        [slice(first, min(first + size, length)) for first in range(0, length, size)]
        for length, size in zip(shape, reversed(sizes), strict=True)
    ]
    yield from itertools.product(*axes)


def _flat(array: Array) -> Array:
    """One dimension, without a copy where the array is contiguous; complex numbers as pairs of real ones."""
    array = np.ascontiguousarray(array).reshape(-1)
    return array.view(array.real.dtype) if array.dtype.kind == "c" else array
