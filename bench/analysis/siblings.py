"""Names for the kernels of a graph from another case of the same file of profiles: the same model without a graph."""

from __future__ import annotations

import re
from collections import Counter

import msgspec

from bench.analysis import attribution
from bench.model.profile import CaseProfile, Profile, ProfileRun

# Programs with fewer kernels in common, as a fraction, are others: a generic kernel of both says nothing.
LEAST_IN_COMMON = 0.5
# The parts of a label are separated by slashes, but options of a backend, in brackets, may have some of their own.
_PART = re.compile(r"(?:\[[^\]]*\]|[^/\[])+")


def with_names(profiles: ProfileRun) -> ProfileRun:
    """The profiles, where the nodes of graphs without a module have that of the same kernel in a case of the same
    model, precision and sizes that has named kernels, at least half of them the same; of several the one with the most.
    """
    named = [
        case for case in profiles.cases if case.condensed and any(k.module for k in case.condensed.profile.kernels)
    ]
    return msgspec.structs.replace(profiles, cases=tuple(_named(case, named) for case in profiles.cases))


def _named(case: CaseProfile, named: list[CaseProfile]) -> CaseProfile:
    condensed = case.condensed
    if condensed is None or not any(k.node is not None and not k.module for k in condensed.profile.kernels):
        return case
    least = LEAST_IN_COMMON * len(condensed.profile.kernels)
    others = [
        each.condensed.profile
        for each in named
        if each.condensed is not None
        and each is not case
        and _program(each.label) == _program(case.label)
        and _in_common(condensed.profile, each.condensed.profile) >= least
    ]
    if not others:
        return case
    reference = max(others, key=lambda other: _in_common(condensed.profile, other))
    profile = attribution.attribute(condensed.profile, reference)
    return msgspec.structs.replace(case, condensed=msgspec.structs.replace(condensed, profile=profile))


def _program(label: str) -> tuple[str, ...]:
    """Model, precision and sizes of a label: ``net/eager/fp16/batch=1/graph`` -> ``net``, ``fp16``, ``batch=1``."""
    model, _, *settings = [*_PART.findall(label), "", ""]
    return (model, *settings[:1], *sorted(part for part in settings[1:] if re.fullmatch(r"\w+=\d+", part)))


def _in_common(profile: Profile, other: Profile) -> int:
    ours, theirs = (Counter(kernel.name for kernel in each.kernels) for each in (profile, other))
    return sum((ours & theirs).values())
