"""Python packages that a runtime needs: whether they are installed, checked without importing them."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping

from bench.model.distributions import install
from bench.model.seam import Missing


def first_missing(*modules: str, commands: Mapping[str, str] | None = None) -> Missing | None:
    """The first of ``modules`` that cannot be found, with the command that installs it.

    ``commands`` are those that differ from the default ones, e.g. for a version that fits another package.
    """
    for module in modules:
        if importlib.util.find_spec(module) is None:
            fix = (commands or {}).get(module) or install(module)
            return Missing(reason=f"the package {module!r} is not installed", fix=fix)
    return None
