"""How far the outputs of a quantized network agree with those of fp32, in a few numbers."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bench.errors import SuiteError, did_you_mean
from bench.system import userfile

Arrays = Mapping[str, "np.ndarray[Any, Any]"]
# Outputs of the network and of fp32, by name, over all samples (first dimension) -> numbers, of which more is better.
Metric = Callable[[Arrays, Arrays], Mapping[str, float]]


def agreement(outputs: Arrays, reference: Arrays) -> dict[str, float]:
    """``cosine`` and ``sqnr`` (dB) of the worst output, and of the first that has classes the fraction of samples whose
    largest value is of the same class (``top1``). NaN where an output is not finite.

    Classes are the second dimension, of outputs of three dimensions the last. SQNR is 10 log10(sum r^2 /
    sum (x - r)^2).
    """
    numbers: dict[str, float] = {}
    for name, expected in reference.items():
        if expected.dtype.kind != "f":
            continue
        x, r = outputs[name].astype(np.float64).ravel(), expected.astype(np.float64).ravel()
        if not np.isfinite(x).all():
            return dict.fromkeys(("top1", "cosine", "sqnr"), math.nan)
        norms = float(np.linalg.norm(x) * np.linalg.norm(r))
        cosine = float(np.clip(x @ r / norms, -1, 1)) if norms else float(not x.any() and not r.any())
        cosine = 1.0 if np.array_equal(x, r) else cosine  # in place of 1 less the rounding of the sums
        numbers["cosine"] = min(numbers.get("cosine", math.inf), cosine)
        numbers["sqnr"] = min(numbers.get("sqnr", math.inf), decibels(float(r @ r), float((x - r) @ (x - r))))
        axis = expected.ndim - 1 if expected.ndim == 3 else 1
        if "top1" not in numbers and expected.ndim > 1 and expected.shape[axis] > 1:
            same = outputs[name].argmax(axis) == expected.argmax(axis)
            numbers["top1"] = float(same.mean())
    return numbers


def decibels(signal: float, noise: float) -> float:
    """10 log10(signal / noise) of two sums of squares; infinite without noise."""
    if not noise:
        return math.inf
    return 10 * math.log10(signal / noise) if signal else -math.inf


def of_user(spec: str, folder: Path) -> Metric:
    """The metric ``file.py:function`` of the folder: called with outputs and reference, it returns numbers by name.

    SuiteError if it is not there, raises, ends Python, or returns anything else.
    """
    file, _, name = spec.partition(":")
    path = folder / file

    def wrong(what: str) -> SuiteError:
        fix = f"def {name or 'function'}(outputs, reference): return {{'map': 0.5}}"
        return SuiteError(what, where="--metric", fix=fix)

    if not path.is_file():
        raise wrong(f"the metric's file {file!r} is not there")
    try:
        module = userfile.execute(path, f"_metric_{path.stem}")
    except (Exception, SystemExit) as error:
        raise wrong(userfile.account(error, file, folder)) from error
    function = getattr(module, name, None)
    if not callable(function):
        raise wrong(f"{file} has no function {name!r}.{did_you_mean(name, vars(module))}".removesuffix("."))

    def metric(outputs: Arrays, reference: Arrays) -> dict[str, float]:
        # copies: a function may work in place, and the reference is that of all networks
        own = [{each: array.copy() for each, array in arrays.items()} for arrays in (outputs, reference)]
        try:
            values = function(*own)
        except (Exception, SystemExit) as error:
            raise SuiteError(
                userfile.account(error, spec, folder), where="--metric", fix=f"correct the function in {file}"
            ) from error
        if not isinstance(values, Mapping) or not values:
            returned = "None" if values is None else "no number" if values == {} else type(values).__name__
            raise wrong(f"{spec} returned {returned} in place of numbers by name")
        return {str(key): number(key, value) for key, value in values.items()}

    def number(key: object, value: Any) -> float:
        try:
            return float(value)
        except (TypeError, ValueError, RuntimeError) as error:  # a tensor of several elements raises a RuntimeError
            raise wrong(f"{spec} returned no number for {key!r} but {type(value).__name__}") from error

    return metric
