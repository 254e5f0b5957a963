"""Traces for viewers: the file is as it was, spans of a track nest, and arrows join calls and their work."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.model.profile import HostCall, Kernel, Profile
from bench.report import trace
from tests import profile_kit
from tests.profile_kit import US, Timeline

GOLDEN = Path(__file__).parents[1] / "golden" / "trace.json"


def small() -> Profile:
    """Every kind of event: a module, a copy, a kernel, nodes of a graph on a second stream, a wait with a stack."""
    timeline = Timeline()
    with timeline.range("iteration", "0"):
        timeline.copy("h2d", 4096, 5 * US)
        with timeline.range("module", "layer1"), timeline.range("operator", "aten::linear"):
            timeline.launch("gemm<\x1b>", 20 * US, module="layer1", operator="aten::linear")
        timeline.graph([("first", 4 * US), ("second", 6 * US)], stream=8)
        timeline.copy("memset", 16, 1 * US)
        timeline.copy("d2h", 64, 2 * US, known=False)
        timeline.sync(stack=("model.py:7 forward",))
    return timeline.profile()


def events(profile: Profile, kind: str) -> list[dict[str, Any]]:
    return [event for event in json.loads(trace.trace(profile))["traceEvents"] if event["ph"] == kind]


def test_the_file_is_as_it_was() -> None:
    assert trace.trace(small()) == GOLDEN.read_text()


def test_an_arrow_begins_within_a_call_and_ends_where_its_work_starts() -> None:
    profile = small()
    spans = events(profile, "X")
    for begin, end in zip(events(profile, "s"), events(profile, "f"), strict=True):
        assert begin["id"] == end["id"]
        assert any(is_at(begin, each) and each["cat"] == "call" for each in spans)
        assert any(is_at(end, each) and each["ts"] == end["ts"] for each in spans)
    assert len({each["id"] for each in events(profile, "s")}) == len(events(profile, "s")) == 5


def is_at(point: dict[str, Any], span: dict[str, Any]) -> bool:
    same = (point["pid"], point["tid"]) == (span["pid"], span["tid"])
    return same and span["ts"] <= point["ts"] <= span["ts"] + span["dur"]


@settings(max_examples=40, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 20), st.integers(1, 2)), max_size=12))
def test_work_of_a_track_does_not_overlap(works: list[tuple[int, int, int]]) -> None:
    kernels = tuple(Kernel(name="k", start=start, end=start + ns, stream=stream) for start, ns, stream in works)
    call = HostCall(name="cudaLaunchKernel", start=0, end=1)
    profile = Profile(tool="nsys", case="c", label="c", calls=(call,), kernels=kernels)
    tracks: dict[int, list[tuple[float, float]]] = {}
    for each in events(profile, "X"):
        if each["cat"] == "kernel":
            tracks.setdefault(each["tid"], []).append((each["ts"], round(each["ts"] + each["dur"], 3)))
    assert sum(map(len, tracks.values())) == len(works)
    for spans in tracks.values():
        assert all(before[1] <= after[0] for before, after in pairwise(spans))
    names = [
        each["args"]["name"] for each in events(profile, "M") if each["name"] == "thread_name" and each["pid"] == 2
    ]
    assert len(set(names)) == len(tracks)


def test_a_profile_without_events_has_no_trace() -> None:
    with pytest.raises(ValueError, match="no events"):
        trace.trace(Timeline().profile())


def test_a_profile_of_a_cpu_has_tracks_of_its_threads_alone() -> None:
    profile = profile_kit.on_cpu(1).profile(device="cpu")
    assert {(each["pid"], each["tid"]) for each in events(profile, "X")} == {(1, 1), (1, 2)}
    assert not any(each["args"].get("name") == "GPU" for each in events(profile, "M"))
