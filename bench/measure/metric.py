"""The user's accuracy metric: ``zoo.py:map50(outputs, reference) -> dict[str, float]``, from beside the suite."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bench import userfile
from bench.errors import SuiteError

Arrays = Mapping[str, "np.ndarray[Any, Any]"]


def evaluate(spec: str, suite_dir: Path, outputs: Arrays, reference: Arrays) -> dict[str, float]:
    """Call the function that ``spec`` (``file.py:name``) names with outputs and reference by output name.

    SuiteError if the file or function is missing, raises, or returns anything but named finite numbers.
    """
    file, _, name = spec.partition(":")
    path = suite_dir / file
    if not path.is_file():
        raise SuiteError(f"the metric's file {file!r} is not there", where=str(path), fix="metric: zoo.py:function")
    module = userfile.execute(path, f"_metric_{path.stem}")
    function = getattr(module, name, None)
    if function is None:
        raise SuiteError(f"{file} has no function {name!r}", where=str(path), fix="metric: zoo.py:function")
    result = function(outputs, reference)
    if not isinstance(result, dict):
        raise SuiteError(f"{spec} returned {type(result).__name__}, not a dict of numbers", where=str(path))
    values = {str(key): float(value) for key, value in result.items()}
    if bad := [key for key, value in values.items() if not math.isfinite(value)]:
        raise SuiteError(f"{spec} returned a value that is not finite for {bad[0]!r}", where=str(path))
    return values
