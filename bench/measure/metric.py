"""The user's accuracy metric: ``zoo.py:map50(outputs, reference) -> dict[str, float]``, from beside the suite."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import numpy as np

from bench.errors import SuiteError, class_and_text, did_you_mean
from bench.measure.accuracy import beside_limit
from bench.model.run import Accuracy, Warning
from bench.model.suite import Limit
from bench.system import userfile

T = TypeVar("T")
_RETURN = "return {'name': 0.5, ...}, finite numbers by name"
_SEE_TRACEBACK = "--verbose shows where"
Arrays = Mapping[str, "np.ndarray[Any, Any]"]


def evaluate(spec: str, suite_dir: Path, outputs: Arrays, reference: Arrays) -> dict[str, float]:
    """Call the function that ``spec`` (``file.py:name``) names with outputs and reference by output name.

    SuiteError if the file or function is missing, raises, or returns anything but named finite numbers.
    """
    function = load(spec, suite_dir)
    return _numbers(_run_user_code(lambda: function(outputs, reference), spec, suite_dir), spec)


def rehearse(
    spec: str, suite_dir: Path, outputs: Arrays, reference: Arrays
) -> tuple[dict[str, float], tuple[Warning, ...]]:
    """As ``evaluate`` with simulated outputs, which have neither the names nor the shapes of the model's: a function
    that raises is not to blame, which the warning ``MetricNotRehearsed`` says.
    """
    function = load(spec, suite_dir)
    try:
        result = function(outputs, reference)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - any error of the user's code, which may be right
        figures = {"metric": spec, "error": class_and_text(error), "outputs": list(outputs)}
        return {}, (Warning(kind="MetricNotRehearsed", figures=figures),)
    return _numbers(result, spec), ()


def _numbers(result: Any, spec: str) -> dict[str, float]:
    """What a metric returned. SuiteError for anything but finite numbers by name."""
    if not isinstance(result, dict):
        what = f"{spec} returned {type(result).__name__}, not a dict of numbers"
        raise SuiteError(what, fix=_RETURN)
    values = {}
    for key, value in result.items():
        if (number := _number(value)) is None:
            raise SuiteError(f"{spec} returned no finite number for {key!r}", fix=_RETURN)
        values[str(key)] = number
    return values


def load(spec: str, suite_dir: Path) -> Callable[..., Any]:
    """The function that ``spec`` names. SuiteError if it is not there, its file raises, or it takes other arguments."""
    file, _, name = spec.partition(":")
    path = suite_dir / file
    if not path.is_file():
        what = f"the metric's file {file!r} is not beside the suite"
        raise SuiteError(what, fix="metric: zoo.py:function")
    module = _run_user_code(lambda: userfile.execute(path, f"_metric_{path.stem}"), file, suite_dir)
    function = getattr(module, name, None)
    if not callable(function):
        what = f"{file} has no function {name!r}.{did_you_mean(name, vars(module))}".removesuffix(".")
        raise SuiteError(what, fix="metric: zoo.py:function")
    try:
        inspect.signature(function).bind({}, {})
    except TypeError as error:
        what = f"{spec} cannot be called with outputs and reference: {error}"
        raise SuiteError(what, fix=f"def {name}(outputs, reference)") from error
    except ValueError:  # a builtin that does not say what it takes
        pass
    return function  # type: ignore[no-any-return]


def judge(accuracy: Accuracy, values: Mapping[str, float], limits: Mapping[str, Limit], spec: str) -> Accuracy:
    """``accuracy`` with the metric's ``values``; not ok where one is beyond its limit, which ``why`` then says.

    SuiteError for a limit of a number that the metric does not return.
    """
    reasons = [accuracy.why] if accuracy.why else []
    for name, limit in limits.items():
        if name not in values:
            what = f"{spec} returned no {name!r}, which has a limit.{did_you_mean(name, values)}".removesuffix(".")
            fix = f"limits: those of {', '.join(values) or 'what it returns, which is nothing'}"
            raise SuiteError(what, fix=fix)
        if limit.min is not None and values[name] < limit.min:
            reasons.append(beside_limit(f"metric {name}", values[name], "is below", limit.min))
        if limit.max is not None and values[name] > limit.max:
            reasons.append(beside_limit(f"metric {name}", values[name], "is above", limit.max))
    return msgspec.structs.replace(accuracy, metric=dict(values), ok=not reasons, why="; ".join(reasons))


def _run_user_code(ask: Callable[[], T], name: str, folder: Path) -> T:
    """The result of the user's file or function ``name``; whatever that raises becomes a SuiteError, as the model's
    outputs are not to blame.
    """
    try:
        return ask()
    except (Exception, SystemExit) as error:
        text = userfile.account(error, name, folder)
        raise SuiteError(text, fix=f"fix it ({_SEE_TRACEBACK}), or leave `metric` out") from error


def _number(value: Any) -> float | None:
    """``value`` as a finite number, None if it is none (a tensor of several elements raises RuntimeError)."""
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError, RuntimeError):
        return None
    return number if math.isfinite(number) else None
