"""Where workers keep the bytecode of the libraries that they import, if Python itself keeps none.

Compiling torch's sources takes longer than the rest of its import. Containers often set PYTHONDONTWRITEBYTECODE, and
some installers write no bytecode into a folder that nobody may write to later.
"""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping
from pathlib import Path

_NO_BYTECODE, _PREFIX = "PYTHONDONTWRITEBYTECODE", "PYTHONPYCACHEPREFIX"
# The largest first: what holds for it holds for most of an import's time.
_LIBRARIES = ("torch", "onnxruntime", "numpy")


def variables(env: Mapping[str, str], folder: Path) -> dict[str, str]:
    """Variables for a worker in the running interpreter, so that Python keeps bytecode in ``folder``; empty if bytecode
    lies beside the libraries, or Python will write it there.
    """
    source = next((path for path in map(_source, _LIBRARIES) if path is not None), None)
    if source is None or env.get(_PREFIX):
        return {}
    if Path(importlib.util.cache_from_source(str(source))).exists():
        return {}
    if not env.get(_NO_BYTECODE) and os.access(source.parent, os.W_OK):
        return {}
    return {_NO_BYTECODE: "", _PREFIX: str(folder)}


def _source(library: str) -> Path | None:
    spec = importlib.util.find_spec(library)
    return Path(spec.origin) if spec is not None and spec.origin else None
