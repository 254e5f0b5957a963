"""Paths as a page names them: pages are sent around, so none has a folder of the machine that it was written on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from bench.model.folders import RESULTS
from bench.model.run import Run


def of_store(folder: str) -> str:
    """A folder of runs, from the working directory where it lies below that; else the default one, RESULTS."""
    if not folder:
        return ""
    path = _from_here(Path(folder))
    return str(path) if path else RESULTS


def of_run(run: Run) -> Run:
    """``run`` with its ``path`` from the working directory; the one that it would have in RESULTS if it lies elsewhere,
    so that commands name it by its name.
    """
    if not run.path or (path := _from_here(Path(run.path))) == Path(run.path):
        return run
    if path is None:
        *_, arch, device, name = ("", "", *Path(run.path).parts)
        here = run.header.environments.get("default")
        is_stored = here is not None and (arch, device) == (here.arch, here.slug)
        path = Path(RESULTS, arch, device, name) if is_stored else Path(RESULTS, name)
    return msgspec.structs.replace(run, path=str(path))


def of_text(text: str, folders: Mapping[str, str]) -> str:
    """A message with ``folders``, absolute ones, by the names that the page has for them."""
    for folder, name in sorted(folders.items(), key=lambda each: -len(each[0])):
        if Path(folder).is_absolute() and len(Path(folder).parts) > 1:
            text = text.replace(f"{folder}/", f"{name}/")
    return text


def _from_here(path: Path) -> Path | None:
    """A path below the working directory relative to that; a relative one as it is, None for any other."""
    if not path.is_absolute():
        return path
    try:
        here = Path.cwd()
    except FileNotFoundError:  # the working directory was removed
        return None
    for each in (path, path.resolve()):
        if each.is_relative_to(here):
            return each.relative_to(here)
    return None
