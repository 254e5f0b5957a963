"""Runs a Python file of the user's, beside a suite, as a module of its own."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType


def execute(path: Path, name: str) -> ModuleType:
    """The module that ``path`` makes, kept as ``name``, where dataclasses and inspect look it up.

    Whatever the file raises passes, and nothing is kept then. FileNotFoundError without a file.
    """
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise FileNotFoundError(path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module
