"""Profiles and failures without paths of this machine, which stacks, logs and messages have."""

from __future__ import annotations

from pathlib import Path

import msgspec

from bench.model.profile import CondensedProfile
from bench.model.run import Failure
from bench.store.privacy import plain_text


def failure(failure: Failure, suite_dir: Path, folders: tuple[str, ...] = ()) -> Failure:
    """A failure with plain texts; files below ``suite_dir``, and those in the ``folders`` that modules are imported
    from, are named from there.
    """
    names = ("message", "hint", "log", "where")
    texts = {name: plain_text(getattr(failure, name), suite_dir, folders) for name in names}
    return msgspec.structs.replace(failure, **texts)


def condensed(condensed: CondensedProfile, suite_dir: Path, folders: tuple[str, ...] = ()) -> CondensedProfile:
    """The same of the stacks and notes of a profile."""
    profile = condensed.profile
    calls = [
        msgspec.structs.replace(call, stack=tuple(plain_text(frame, suite_dir, folders) for frame in call.stack))
        if call.stack
        else call
        for call in profile.calls
    ]
    notes = tuple(plain_text(note, suite_dir, folders) for note in profile.notes)
    return msgspec.structs.replace(condensed, profile=msgspec.structs.replace(profile, calls=tuple(calls), notes=notes))
