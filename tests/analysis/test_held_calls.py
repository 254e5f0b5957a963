"""The calls of a profile on a held stream: taken out of its iterations, and set beside what events say of them."""

from __future__ import annotations

import msgspec
import pytest

from bench.analysis import attribution, held_calls
from bench.analysis.held_calls import Comparison
from bench.model.profile import CondensedProfile, HeldCall
from bench.profiling.condense import condense
from tests.profile_kit import US, Timeline, eager


def with_held(calls: int, *, gap_us: int = 1) -> Timeline:
    """Three iterations and so many held calls, each of two kernels of 20 us with a gap between, and a copy."""
    timeline = eager()
    for number in range(calls):
        with timeline.range("phase", f"held {number}"), timeline.range("module", "layer0"):
            timeline.python(100 * US)
            timeline.graph([("first", 20 * US), ("second", 20 * US)], gap_ns=gap_us * US)
            timeline.copy("h2d", 4, 4 * US)
            timeline.sync()
        timeline.python(10 * US)
    return timeline


def test_held_calls_have_their_span_and_what_of_it_is_busy() -> None:
    _, held = held_calls.split(with_held(2, gap_us=3).profile())
    assert held == 2 * (HeldCall(span=(20 + 3 + 20 + 3 + 4) * US, busy=44 * US),)


def test_a_profile_reads_as_if_there_were_no_held_calls() -> None:
    plain = attribution.attribute(eager().profile())
    left, _ = held_calls.split(attribution.attribute(with_held(4).profile()))
    assert (left.ranges, left.kernels, left.copies) == (plain.ranges, plain.kernels, plain.copies)
    assert condense(left) == condense(plain)
    assert attribution.share(left) == attribution.share(plain)
    assert attribution.share(left).share == 1


def test_a_profile_without_held_calls_stays_as_it_is() -> None:
    timeline = eager()
    with timeline.range("phase", "held"), timeline.range("module", "held 1"):  # no number; no phase
        timeline.launch("gemm", 20 * US)
    profile = timeline.profile()
    assert held_calls.split(profile) == (profile, ())


def test_a_call_whose_events_the_tool_has_lost_is_left_out() -> None:
    profile = with_held(3).profile()
    lost = next(each for each in profile.ranges if each.name == "held 1")
    kernels = tuple(kernel for kernel in profile.kernels if not lost.start <= kernel.start <= lost.end)
    copies = tuple(copy for copy in profile.copies if not lost.start <= copy.start <= lost.end)
    left, held = held_calls.split(msgspec.structs.replace(profile, kernels=kernels, copies=copies))
    assert len(held) == 2
    assert not [each for each in left.ranges if each.name.startswith("held")]


def test_the_medians_of_a_process_stand_beside_each_other() -> None:
    profile = msgspec.structs.replace(eager().profile(), gpu_ns=(50, 40, 70), recorded_gpu_ns=(60, 62))
    held = tuple(HeldCall(span=span, busy=span - 10) for span in (55, 57, 59))
    compared = held_calls.compare(CondensedProfile(profile=profile, held=held))
    assert compared == Comparison(gpu=50, recorded_gpu=61, span=57, busy=47)
    assert held_calls.compare(CondensedProfile(profile=eager().profile())) == Comparison()


@pytest.mark.parametrize(
    ("profile_us", "gpu_us", "close"),
    [(105, 100, True), (94.9, 100, False), (1020, 1000, True), (979, 1000, False), (1020.1, 1000, False)],
)
def test_two_times_are_close_within_a_fraction_or_a_few_microseconds(
    profile_us: float, gpu_us: float, close: bool
) -> None:
    assert held_calls.is_close(profile_us * US, gpu_us * US) == close
