"""The user's accuracy metric: ``zoo.py:map50(outputs, reference) -> dict[str, float]``, from beside the suite."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from bench.errors import SuiteError
from bench.system import userfile

T = TypeVar("T")
_RETURN = "return {'name': 0.5, ...}, finite numbers by name"
_SEE_TRACEBACK = "--verbose shows where"
Arrays = Mapping[str, "np.ndarray[Any, Any]"]


def evaluate(spec: str, suite_dir: Path, outputs: Arrays, reference: Arrays) -> dict[str, float]:
    """Call the function that ``spec`` (``file.py:name``) names with outputs and reference by output name.

    SuiteError if the file or function is missing, raises, or returns anything but named finite numbers.
    """
    file, _, name = spec.partition(":")
    path = suite_dir / file
    if not path.is_file():
        raise SuiteError(f"the metric's file {file!r} is not there", where=str(path), fix="metric: zoo.py:function")
    module = _run_user_code(lambda: userfile.execute(path, f"_metric_{path.stem}"), file, path)
    function = getattr(module, name, None)
    if not callable(function):
        raise SuiteError(f"{file} has no function {name!r}", where=str(path), fix="metric: zoo.py:function")
    result = _run_user_code(lambda: function(outputs, reference), spec, path)
    if not isinstance(result, dict):
        what = f"{spec} returned {type(result).__name__}, not a dict of numbers"
        raise SuiteError(what, where=str(path), fix=_RETURN)
    values = {}
    for key, value in result.items():
        if (number := _number(value)) is None:
            raise SuiteError(f"{spec} returned no finite number for {key!r}", where=str(path), fix=_RETURN)
        values[str(key)] = number
    return values


def _run_user_code(ask: Callable[[], T], what: str, path: Path) -> T:
    """The user's result; whatever the code raises becomes a SuiteError, as the model's outputs are not to blame."""
    try:
        return ask()
    except (Exception, SystemExit) as error:
        text = f"{what} raised {type(error).__name__}: {error}".rstrip(": ")
        raise SuiteError(text, where=str(path), fix=f"fix it ({_SEE_TRACEBACK}), or leave `metric` out") from error


def _number(value: Any) -> float | None:
    """``value`` as a finite number, None if it is none (a tensor of several elements raises RuntimeError)."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        return None
    return number if math.isfinite(number) else None
