"""The waterfall: every ns of an iteration in one part, by hand and against a clock that looks at each ns alone."""

from __future__ import annotations

import itertools
import random
from typing import get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.analysis import waterfall
from bench.analysis.waterfall import DISPATCH_LIMIT
from bench.model.profile import Copy, CopyKind, HostCall, Kernel, Parts, Profile, Range
from tests import profile_kit
from tests.profile_kit import US, Timeline

SUMMANDS = ("kernels", "copies", "launch", "wait", "tail", "unexplained", "operators", "threads", "python")


def in_us(parts: Parts) -> dict[str, float]:
    """The parts that are not 0, in us, without ``held``."""
    return {name: value / US for name, value in msgspec.structs.asdict(parts).items() if value and name != "held"}


def iteration(start: int, end: int, thread: int = 1) -> Range:
    return Range(name="0", kind="iteration", start=start, end=end, thread=thread)


def profile(*events: Range | HostCall | Kernel | Copy, device: str = "cuda") -> Profile:
    """``call`` of kernels and copies counts the host calls among ``events``."""
    return Profile(
        tool="nsys",
        case="c",
        label="c",
        device=device,
        ranges=tuple(each for each in events if isinstance(each, Range)),
        calls=tuple(each for each in events if isinstance(each, HostCall)),
        kernels=tuple(each for each in events if isinstance(each, Kernel)),
        copies=tuple(each for each in events if isinstance(each, Copy)),
    )


def kernel(start: int, end: int, call: int | None = None, stream: int = 7) -> Kernel:
    return Kernel(name="k", start=start, end=end, call=call, stream=stream)


def host(name: str, start: int, end: int, thread: int = 1) -> HostCall:
    return HostCall(name=name, start=start, end=end, thread=thread)


def only(*events: Range | HostCall | Kernel | Copy, device: str = "cuda") -> dict[str, int]:
    """The parts of the only iteration that are not 0, without ``held``."""
    (parts,) = waterfall.parts(profile(*events, device=device))
    return {name: value for name, value in msgspec.structs.asdict(parts).items() if value and name != "held"}


# ------------------------------------------------------------------------------------------------------------- by hand


def test_a_host_that_is_behind_leaves_gaps_before_each_kernel() -> None:
    parts = waterfall.parts(profile_kit.eager(2, kernels=2, kernel_ns=20 * US, host_ns=30 * US).profile())
    # The copy starts at 7 and ends at 12, its call returns at 4. Kernels start at 42 and 77, each 3 after its launch
    # returned, and the copy back, called at 75 .. 79, follows the last one at 97 .. 101; the wait returns 2 later.
    assert in_us(parts[0]) == {
        "window": 103, "kernels": 40, "copies": 9, "launch": 7 + 30 + 15, "tail": 2, "dispatch": 9,
        "busy": 40, "span": 55,
    }  # fmt: skip
    assert parts[1] == parts[0]


def test_a_graph_has_one_launch_and_gaps_between_its_nodes() -> None:
    parts = waterfall.parts(profile_kit.replayed(1, kernels=3, kernel_ns=10 * US).profile())[0]
    # Copy 7 .. 12, nodes from 12 on (the launch returns at 9), 1 between them and before the copy back.
    assert in_us(parts) == {
        "window": 51, "kernels": 30, "copies": 9, "launch": 10, "tail": 2, "dispatch": 6, "busy": 30, "span": 32,
    }  # fmt: skip


def test_a_wait_in_the_middle_is_time_of_the_host() -> None:
    timeline = Timeline()
    with timeline.range("iteration", "0"):
        timeline.launch("first", 20 * US)
        timeline.sync(return_ns=8 * US)
        timeline.python(10 * US)
        timeline.launch("second", 20 * US)
        timeline.sync()
    parts = waterfall.parts(timeline.profile())[0]
    # first 7 .. 27; the wait returns at 35; Python until 45, the launch until 49, its kernel from 52 on.
    assert in_us(parts) == {
        "window": 74, "kernels": 40, "launch": 7 + 17, "wait": 8, "tail": 2, "dispatch": 6, "busy": 40, "span": 65,
    }  # fmt: skip


def test_kernels_on_two_streams_count_once_and_copies_beside_them_not_at_all() -> None:
    copy = Copy(kind="d2d", size=1, start=15, end=40, stream=9, call=0)
    events = (host("cudaLaunchKernel_v7000", 0, 5), kernel(10, 20, 0), kernel(15, 30, 0, stream=8), copy)
    assert only(iteration(0, 50), *events) == {
        "window": 50, "kernels": 20, "copies": 10, "launch": 10, "tail": 10, "dispatch": 5, "busy": 30, "span": 30,
    }  # fmt: skip


def test_a_blocking_copy_is_a_launch_before_it_runs_and_a_wait_after_it() -> None:
    copy = Copy(kind="d2h", size=4, start=20, end=30, call=0)
    events = (host("cudaMemcpy", 5, 40), host("cuLaunchKernel", 45, 50), copy, kernel(52, 60, 1))
    assert only(iteration(0, 60), *events) == {
        "window": 60, "kernels": 8, "copies": 10, "launch": 20 + 12, "wait": 10, "dispatch": 2, "busy": 8, "span": 8,
    }  # fmt: skip


def test_work_of_another_iteration_counts_where_it_runs() -> None:
    events = (host("cudaLaunchKernel", 1, 3), kernel(5, 15, 0), host("cudaLaunchKernel", 12, 14), kernel(18, 40, 1))
    first, second = waterfall.parts(profile(iteration(0, 10), iteration(10, 30), *events))
    assert first == Parts(window=10, kernels=5, launch=5, dispatch=2, busy=5, span=5, held=5)
    assert second == Parts(window=20, kernels=17, launch=3, dispatch=3, busy=17, span=20, held=20)


@pytest.mark.parametrize("end", [0, 100])
def test_an_iteration_without_work_explains_nothing(end: int) -> None:
    calls = (host("cudaLaunchKernel", 0, 10), host("cudaDeviceSynchronize", 10, end or 100))
    assert only(iteration(0, end), *calls) == ({"window": end, "unexplained": end} if end else {})


def test_work_that_starts_late_for_no_known_reason_is_unexplained() -> None:
    late = 10 + DISPATCH_LIMIT + 700
    events = (iteration(0, late + 5), host("cudaLaunchKernel", 0, 10), kernel(late, late + 5, 0))
    parts = only(*events)
    assert (parts["launch"], parts["dispatch"], parts["unexplained"]) == (10 + DISPATCH_LIMIT, DISPATCH_LIMIT, 700)


def test_without_any_sign_of_the_host_idle_time_is_unexplained() -> None:
    assert only(iteration(0, 50), kernel(20, 30)) == {
        "window": 50, "kernels": 10, "tail": 20, "unexplained": 20, "busy": 10, "span": 10,
    }  # fmt: skip


def test_phases_stand_in_for_calls_that_a_tool_does_not_record() -> None:
    phases = [("h2d", 0, 8), ("call", 8, 30), ("d2h", 30, 36), ("wait", 36, 70)]
    ranges = [Range(name=name, kind="phase", start=start, end=end, thread=1) for name, start, end in phases]
    copies = [Copy(kind="h2d", size=1, start=12, end=16), Copy(kind="d2h", size=1, start=60, end=66)]
    events = (host("cudaLaunchKernel", 20, 24), kernel(26, 58, 0))
    assert only(iteration(0, 70), *ranges, *copies, *events) == {
        "window": 70, "kernels": 32, "copies": 10, "launch": 12 + 10 + 2, "tail": 4, "dispatch": 4 + 2 + 2,
        "busy": 32, "span": 32,
    }  # fmt: skip


def test_another_thread_that_waits_does_not_explain_this_one() -> None:
    events = (host("cudaEventSynchronize", 0, 90, thread=2), host("cudaLaunchKernel", 50, 60), kernel(62, 90, 1))
    assert only(iteration(0, 90), *events)["launch"] == 62


def test_a_host_that_had_launched_all_before_would_leave_the_usual_gaps() -> None:
    calls = [host("cudaLaunchKernel", start, start + 5) for start in (0, 10, 20, 100)]
    running = [kernel(8, 40, 0), kernel(42, 60, 1), kernel(64, 80, 2), kernel(110, 130, 3)]
    (parts,) = waterfall.parts(profile(iteration(0, 140), *calls, *running))
    # Gaps of 2 and 4 in the queue; the last kernel came late, so its gap of 30 counts as the lower median of those, 2.
    assert (parts.busy, parts.span, parts.held) == (86, 122, 86 + 2 + 4 + 2)
    (parts,) = waterfall.parts(profile(iteration(0, 9000), calls[0], calls[3], running[0], kernel(5000, 5100, 1)))
    assert (parts.busy, parts.held) == (132, 132 + 1000)  # no gap tells what is usual


def test_on_a_cpu_operators_other_threads_and_python_add_up() -> None:
    parts = waterfall.parts(profile_kit.on_cpu(2).profile(tool="torch", device="cpu"))
    assert in_us(parts[0]) == {"window": 83, "operators": 45, "threads": 20, "python": 18}
    assert parts[0] == parts[1]


def test_on_a_cpu_time_outside_of_all_ranges_is_unexplained() -> None:
    around = Range(name="profile", kind="phase", start=0, end=200, thread=1)
    call = Range(name="call", kind="phase", start=20, end=60, thread=1)
    operator = Range(name="aten::add", kind="operator", start=30, end=50, thread=1)
    parts = only(around, iteration(10, 100), call, operator, device="cpu")
    assert parts == {"window": 90, "operators": 20, "python": 20, "unexplained": 50}


def test_the_typical_iteration_has_the_median_window() -> None:
    parts = [Parts(window=window) for window in (9, 1, 5, 7)]
    assert waterfall.typical(parts) == 2
    assert waterfall.rank(len(parts)) == 2  # 1 5 7 9: the 2nd fastest
    assert waterfall.ratio(parts, (2, 3)) == 2.0  # of that window, not of the median of all
    assert waterfall.ratio(parts, ()) is None
    with pytest.raises(ValueError, match="no iterations"):
        waterfall.typical([])


@pytest.mark.parametrize(
    ("windows", "text"),
    [
        ((), ""),
        ((100,), ""),
        ((100, 100, 200, 50), ""),
        ((100, 100, 201, 50), "the 4 windows of the profile lie far apart, 50.0 ns to 201 ns, so that times"),
    ],
)
def test_windows_that_lie_far_apart(windows: tuple[int, ...], text: str) -> None:
    spread = waterfall.spread(windows)
    assert spread.startswith(text)
    assert bool(spread) == bool(text)


# ---------------------------------------------------------------------------------------------------------- in general

TIMES = st.tuples(st.integers(0, 60), st.integers(0, 25)).map(lambda pair: (pair[0], pair[0] + pair[1]))
THREADS = st.integers(1, 2)
CALLS = st.builds(
    lambda name, span, thread: host(name, *span, thread=thread),
    st.sampled_from(["cudaLaunchKernel", "cudaStreamSynchronize", "cudaMemcpyAsync", "cudaMemcpy", "cudaMalloc"]),
    TIMES,
    THREADS,
)
RANGES = st.builds(
    lambda kind_name, span, thread: Range(
        name=kind_name[1], kind=kind_name[0], start=span[0], end=span[1], thread=thread
    ),
    st.sampled_from(
        [("phase", "h2d"), ("phase", "call"), ("phase", "wait"), ("operator", "aten::add"), ("module", "layer")]
    ),
    TIMES,
    THREADS,
)


@st.composite
def profiles(draw: st.DrawFn) -> Profile:
    calls = draw(st.lists(CALLS, max_size=6))
    known = st.one_of(st.none(), st.integers(0, len(calls) - 1)) if calls else st.none()
    kernels = draw(st.lists(st.builds(lambda span, call: kernel(*span, call), TIMES, known), max_size=6))
    kinds = st.sampled_from(get_args(CopyKind))
    copy = st.builds(lambda span, call, kind: Copy(kind=kind, size=1, start=span[0], end=span[1], call=call),
                     TIMES, known, kinds)  # fmt: skip
    copies = draw(st.lists(copy, max_size=3))
    cuts = sorted(draw(st.lists(st.integers(0, 80), min_size=2, max_size=4)))
    bounds = [iteration(first, last) for first, last in itertools.pairwise(cuts)]
    device = draw(st.sampled_from(["cuda", "cpu"]))
    return profile(*bounds, *draw(st.lists(RANGES, max_size=4)), *calls, *kernels, *copies, device=device)


@settings(max_examples=60, deadline=None)
@given(profiles())
def test_the_parts_add_up_and_none_is_negative(each: Profile) -> None:
    for parts in waterfall.parts(each):
        assert sum(getattr(parts, name) for name in SUMMANDS) == parts.window
        assert min(msgspec.structs.asdict(parts).values()) >= 0
        assert parts.dispatch <= parts.launch
        assert parts.busy <= parts.held <= parts.span <= parts.window


@settings(max_examples=50, deadline=None)
@given(profiles(), st.integers(-(10**12), 10**12), st.randoms(use_true_random=False))
def test_neither_the_zero_of_time_nor_the_order_of_events_matters(each: Profile, by: int, rng: random.Random) -> None:
    assert waterfall.parts(shuffled(shifted(each, by), rng)) == waterfall.parts(each)


@settings(max_examples=60, deadline=None)
@given(profiles())
def test_a_clock_that_looks_at_each_ns_alone_agrees(each: Profile) -> None:
    if each.device == "cpu":
        return
    for parts, bounds in zip(waterfall.parts(each), waterfall.iterations(each), strict=True):
        running = [k for k in each.kernels if k.start < k.end]
        work = [*running, *(copy for copy in each.copies if copy.start < copy.end)]
        kernels = copies = tail = 0
        for now in range(bounds.start, bounds.end):
            here = [one for one in work if one.start < bounds.end and one.end > bounds.start]
            if any(one.start <= now < one.end for one in running):
                kernels += 1
            elif any(one.start <= now < one.end for one in work):
                copies += 1
            elif here and all(one.end <= now for one in here):
                tail += 1
        assert (kernels, copies, tail) == (parts.kernels, parts.copies, parts.tail)
        if any(one.call is None for one in work):
            continue
        waiting = sum(waits(now, work, each, bounds) for now in range(bounds.start, bounds.end))
        assert waiting == parts.wait


def waits(now: int, work: list[Kernel | Copy], each: Profile, bounds: Range) -> bool:
    """Whether the GPU is idle at ``now``, its next work, of this iteration, is not given yet, and the host waits."""
    following = [one for one in work if one.start > now]
    if not following or any(one.start <= now < one.end for one in work):
        return False
    start = min(one.start for one in following)
    origins = [each.calls[one.call] for one in following if one.start == start and one.call is not None]
    origin = min(origins, key=lambda call: (call.end, call.start, call.thread))
    names = ("cudaStreamSynchronize", "cudaMemcpy")
    blocked = [call for call in each.calls if call.name in names and call.thread == origin.thread]
    blocked_ranges = [r for r in each.ranges if r.kind == "phase" and r.name == "wait" and r.thread == origin.thread]
    inside = any(one.start <= now < one.end for one in (*blocked, *blocked_ranges))
    return start < bounds.end and now < origin.start and inside


def shifted(each: Profile, by: int) -> Profile:
    def move(events: tuple) -> tuple:  # type: ignore[type-arg]
        return tuple(msgspec.structs.replace(one, start=one.start + by, end=one.end + by) for one in events)

    return msgspec.structs.replace(
        each, ranges=move(each.ranges), calls=move(each.calls), kernels=move(each.kernels), copies=move(each.copies)
    )


def shuffled(each: Profile, rng: random.Random) -> Profile:
    """The same events in another order; ``call`` follows its call."""
    order = rng.sample(range(len(each.calls)), len(each.calls))
    place = {old: new for new, old in enumerate(order)}

    def mix(events: tuple) -> tuple:  # type: ignore[type-arg]
        events = tuple(rng.sample(events, len(events)))
        if not events or not isinstance(events[0], Kernel | Copy):
            return events
        return tuple(msgspec.structs.replace(one, call=place.get(one.call)) for one in events)

    calls = tuple(each.calls[old] for old in order)
    return msgspec.structs.replace(
        each, ranges=mix(each.ranges), calls=calls, kernels=mix(each.kernels), copies=mix(each.copies)
    )
