"""Python packages that a runtime needs: whether they are installed, found without importing them."""

from __future__ import annotations

import importlib.util

from bench.model.seam import Missing


def first_missing(*packages: tuple[str, str]) -> Missing | None:
    """The first ``(module, command that installs it)`` whose module cannot be found, as a Missing."""
    for module, command in packages:
        if importlib.util.find_spec(module) is None:
            return Missing(reason=f"the package {module!r} is not installed", fix=command)
    return None
