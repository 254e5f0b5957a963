"""The home folder of the user, which not every user has."""

from __future__ import annotations

from pathlib import Path


def folder() -> Path | None:
    """The home folder; None for a user without one: no HOME, and no entry in the system's list of users."""
    try:
        return Path.home()
    except RuntimeError:
        return None


def abbreviate(text: str) -> str:
    """``text`` with ``~`` for the home folder, at the beginning of a path."""
    home = folder()
    if home is None or len(home.parts) < 2:
        return text
    parts = text.split(str(home))
    result = parts[0]
    for part in parts[1:]:
        # /home/ann is no beginning of /home/anna, nor of /srv/home/ann.
        is_folder = (not part or not (part[0].isalnum() or part[0] in "._-")) and not (
            result and (result[-1].isalnum() or result[-1] in "._-/~")
        )
        result += ("~" if is_folder else str(home)) + part
    return result
