"""Explanations of cases on a CPU: operators, and what compiled code does between them."""

from __future__ import annotations

import msgspec
import pytest

from bench.analysis import explain_sides
from bench.analysis.explain import explain
from bench.analysis.explain_sides import Side
from bench.errors import UsageError
from bench.model.profile import CondensedProfile, Parts, Profile, Range
from tests.analysis.explain_kit import CONV, US, kernels


def on_cpu(*windows: int) -> Side:
    """A side; its profile has these windows, us."""
    ranges = [
        Range(name="0", kind="iteration", start=0, end=100 * US),
        Range(name="Torch-Compiled Region: 0/0", kind="operator", start=5 * US, end=95 * US),
        Range(name="## Call CompiledFxGraph f3n", kind="operator", start=10 * US, end=90 * US),
        Range(name="aten::convolution", kind="operator", start=10 * US, end=40 * US),
        Range(name="aten::mkldnn_convolution", kind="operator", start=11 * US, end=39 * US),
        Range(name="aten::addmm", kind="operator", start=60 * US, end=70 * US),
        Range(name="aten::relu", kind="operator", start=20 * US, end=30 * US, thread=2),
    ]
    profile = Profile(tool="torch", case="c", label="net/inductor/fp32/batch=1", device="cpu", ranges=tuple(ranges))
    return explain_sides.of_condensed(
        "c",
        profile.label,
        CondensedProfile(profile=profile, parts=tuple(Parts(window=us * US) for us in windows or (90,))),
    )


def test_operators_of_a_cpu_and_what_compiled_code_does_between_them() -> None:
    side = on_cpu()
    assert [(unit.name, unit.ns // US) for unit in side.units] == [
        ("aten::convolution", 30),
        ("generated code", 20),
        ("aten::addmm", 10),
        ("generated code", 20),
    ]
    assert side.units[0].tactic == "aten::mkldnn_convolution"
    assert (side.kind, side.window, side.remainder) == ("operator", 100 * US, 20 * US)


def test_of_a_cpu_a_note_has_the_times_without_the_profiler() -> None:
    a, b = (msgspec.structs.replace(on_cpu(), unprofiled=us * US) for us in (60, 70))
    assert (
        "times are those under the profiler: without it A takes 60.0 us, B 70.0 us, 10.0 us longer"
        in explain(a, b).notes
    )
    faster = msgspec.structs.replace(b, window=b.window - 5 * US)
    assert (
        explain(a, faster)
        .notes[0]
        .endswith("10.0 us longer, the other way round, so that what is above may be the profiler's")
    )


def test_windows_that_lie_far_apart_are_the_first_note() -> None:
    calm, apart = on_cpu(), on_cpu(100, 100, 450)
    assert explain(calm, apart).notes[0].startswith("B: the 3 windows of the profile lie far apart, 100 us to 450 us")
    assert not any("far apart" in note for note in explain(calm, calm).notes)


@pytest.mark.parametrize(
    ("latencies", "note"),
    [
        ((60, 50), "the run measures the opposite: latency of B is 10.0 us less"),
        ((60, 65), "the run measures a smaller difference: latency of B is 5.00 us longer"),
        ((60, 160), "the run measures a larger difference: latency of B is 100 us longer"),
        ((60, 75), ""),
    ],
)
def test_of_a_cpu_a_note_says_where_a_run_measured_something_else(latencies: tuple[int, int], note: str) -> None:
    a, b = (msgspec.structs.replace(on_cpu(), measured={"latency": float(us * US)}) for us in latencies)
    b = msgspec.structs.replace(b, window=b.window + 20 * US)
    notes = [each for each in explain(a, b).notes if each.startswith("the run measures")]
    assert notes == ([f"{note}; the profile has the profiler's own time in it"] if note else [])


def test_a_cpu_and_a_gpu_are_not_compared() -> None:
    with pytest.raises(UsageError, match="on a CPU"):
        explain(on_cpu(), kernels((CONV, 9), label="net/eager/fp32/batch=1"))


def test_a_profile_without_units_is_refused() -> None:
    nothing = msgspec.structs.replace(on_cpu(), units=())
    with pytest.raises(UsageError, match="no kernels, layers or operators"):
        explain(nothing, on_cpu())
