"""Runs of two cases, and profiles of them, as pages have them."""

from __future__ import annotations

import msgspec

from bench.model.profile import CaseProfile, Profile, ProfileRun
from bench.model.run import Run
from bench.profiling.condense import condense
from tests.profile_kit import US, Timeline
from tests.report.conftest import case, make, record
from tests.report.html.kit import page_of

EVIL = "</script><img src=x onerror=alert(1)>"
FOLDER = "results/sm_90/gpu"
EAGER, COMPILED = case("net", "eager"), case("net", "inductor")


def run_of(*cases) -> Run:
    run = make(cases, [record(of, 1 + n) for n, of in enumerate(cases)])
    return msgspec.structs.replace(run, path=f"{FOLDER}/{run.header.run}.jsonl")


def profiled(of, timeline: Timeline | Profile, **fields) -> CaseProfile:
    whole = timeline if isinstance(timeline, Profile) else timeline.profile(unprofiled_ns=(200 * US,))
    return CaseProfile(case=of.id, label=of.label, condensed=condense(whole), **fields)


def file_of(*cases: CaseProfile, created: str = "2026-11-28T12:00:00+00:00", **fields) -> ProfileRun:
    return ProfileRun(created=created, version="0.2.0", cases=cases, **({"tool": "nsys"} | fields))


def shown(run: Run, *files: ProfileRun) -> dict:
    return page_of(run, profiled={FOLDER: files})
