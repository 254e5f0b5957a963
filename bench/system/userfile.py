"""Imports a user's Python file, beside a suite, as a module."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType


def execute(path: Path, name: str) -> ModuleType:
    """The module of ``path``, registered in ``sys.modules`` as ``name``, where dataclasses and inspect look it up.

    An exception of the file is passed on, and the module is not registered. FileNotFoundError without a file.
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
