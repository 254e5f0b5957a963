"""Profiles and failures without paths of this machine, which stacks, logs and messages have."""

from __future__ import annotations

from pathlib import Path

import msgspec

from bench.model.profile import CondensedProfile
from bench.model.run import Failure
from bench.store.privacy import plain_text


def failure(failure: Failure, suite_dir: Path) -> Failure:
    """A failure with plain texts; files below ``suite_dir`` are named from there."""
    texts = {name: plain_text(getattr(failure, name), suite_dir) for name in ("message", "hint", "log", "where")}
    return msgspec.structs.replace(failure, **texts)


def condensed(condensed: CondensedProfile, suite_dir: Path) -> CondensedProfile:
    """The same of the stacks and notes of a profile."""
    profile = condensed.profile
    calls = [
        msgspec.structs.replace(call, stack=tuple(plain_text(frame, suite_dir) for frame in call.stack))
        if call.stack
        else call
        for call in profile.calls
    ]
    notes = tuple(plain_text(note, suite_dir) for note in profile.notes)
    return msgspec.structs.replace(condensed, profile=msgspec.structs.replace(profile, calls=tuple(calls), notes=notes))
