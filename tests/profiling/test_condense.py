"""A condensed profile: the typical iteration from zero on, its calls in their new places, medians of its kernels."""

from __future__ import annotations

import msgspec
import pytest

from bench.model.profile import Profile, Range
from bench.profiling.condense import condense
from tests.profile_kit import US, Timeline


def profile(*sizes: int, other: str = "gemm") -> Profile:
    """Iterations whose second kernel takes so many us; that of the last is called ``other``."""
    timeline = Timeline()
    for number, size in enumerate(sizes):
        with timeline.range("iteration", str(number)):
            with timeline.range("module", "layer"):
                timeline.launch("conv", 20 * US)
            timeline.launch(other if number == len(sizes) - 1 else "gemm", size * US)
            timeline.copy("d2h", 64, 3 * US)
            timeline.sync()
        timeline.python(100 * US)
    return timeline.profile()


def test_the_events_are_those_of_the_median_iteration_from_zero_on() -> None:
    condensed = condense(profile(10, 90, 30, 50, 70))
    (iteration,) = (each for each in condensed.profile.ranges if each.kind == "iteration")
    assert (iteration.name, iteration.start) == ("3", 0)
    assert [kernel.end - kernel.start for kernel in condensed.profile.kernels] == [20 * US, 50 * US]
    assert len(condensed.parts) == 5
    assert condensed.parts[3].window == iteration.end
    assert [each.name for each in condensed.profile.ranges] == ["3", "layer"]
    assert all(0 <= event.start <= event.end <= iteration.end for event in condensed.profile.kernels)


def test_work_keeps_the_call_that_launched_it() -> None:
    whole = profile(10, 20, 30)
    small = condense(whole).profile
    for event in (*small.kernels, *small.copies):
        assert event.call is not None
        assert small.calls[event.call].end <= event.start
    assert [small.calls[kernel.call].name for kernel in small.kernels if kernel.call is not None] == [
        "cudaLaunchKernel",
        "cudaLaunchKernel",
    ]
    assert len(small.calls) == len(whole.calls) // 3


def test_kernels_have_medians_where_all_iterations_run_the_same() -> None:
    assert condense(profile(10, 90, 30)).kernel_ns == (20 * US, 30 * US)
    assert condense(profile(10, 90, 30, other="wgrad")).kernel_ns == ()


def test_short_operators_inside_of_others_are_left_out() -> None:
    def operator(name: str, start: int, end: int) -> Range:
        return Range(name=name, kind="operator", start=start, end=end, thread=1)

    ranges = (
        Range(name="0", kind="iteration", start=0, end=100_000, thread=1),
        operator("aten::linear", 10, 50_000),
        operator("aten::t", 20, 60),
        operator("aten::addmm", 100, 49_000),
        operator("aten::view", 60_000, 60_010),
    )
    small = condense(Profile(tool="torch", case="c", label="l", device="cpu", ranges=ranges)).profile
    assert [each.name for each in small.ranges] == ["0", "aten::linear", "aten::addmm", "aten::view"]


@pytest.mark.parametrize(("end", "notes"), [(40_000, 1), (60_000, 0)])
def test_a_runtime_whose_operators_are_not_seen_is_noted(end: int, notes: int) -> None:
    ranges = (
        Range(name="0", kind="iteration", start=0, end=100_000, thread=1),
        Range(name="aten::linear", kind="operator", start=0, end=end, thread=1),
    )
    small = condense(Profile(tool="torch", case="c", label="l", device="cpu", ranges=ranges)).profile
    assert len(small.notes) == notes


def test_a_kernel_whose_call_is_unknown_belongs_where_it_starts() -> None:
    whole = profile(10, 20, 30)
    unknown = tuple(msgspec.structs.replace(kernel, call=None) for kernel in whole.kernels)
    small = condense(msgspec.structs.replace(whole, kernels=unknown)).profile
    assert [kernel.name for kernel in small.kernels] == ["conv", "gemm"]
    assert all(kernel.call is None for kernel in small.kernels)


def test_a_profile_without_an_iteration_is_refused() -> None:
    with pytest.raises(ValueError, match="no iteration"):
        condense(Profile(tool="torch", case="c", label="l"))
