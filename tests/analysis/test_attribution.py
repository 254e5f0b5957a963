"""Kernels get the names of the ranges around their launch; nodes of a graph those of the same kernels without one."""

from __future__ import annotations

import difflib

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.analysis import attribution
from bench.model.profile import Attribution, HostCall, Kernel, Profile, Range
from tests import profile_kit
from tests.profile_kit import US, Timeline


def names(profile: Profile) -> list[tuple[str, str]]:
    return [(kernel.module, kernel.operator) for kernel in profile.kernels]


def test_a_kernel_has_the_innermost_module_and_operator_of_its_launch() -> None:
    timeline = Timeline()
    with timeline.range("iteration", "0"):
        timeline.launch("outside", US)
        with timeline.range("module", "block"), timeline.range("operator", "aten::around"):
            with timeline.range("module", "block.conv"), timeline.range("operator", "aten::conv2d"):
                with timeline.range("operator", "aten::cudnn_convolution"):
                    timeline.launch("conv", US)
                timeline.launch("bias", US)
            with timeline.range("module", "block.relu"):
                timeline.launch("relu", US)
            timeline.launch("add", US)
            timeline.copy("d2d", 4, US)
        with timeline.range("layer", "Conv_0 + Relu_1"):
            timeline.launch("fused", US)
    profile = attribution.attribute(timeline.profile())
    assert names(profile) == [
        ("", ""),
        ("block.conv", "aten::cudnn_convolution"),
        ("block.conv", "aten::conv2d"),
        ("block.relu", ""),
        ("block", "aten::around"),
        ("Conv_0 + Relu_1", ""),
    ]
    assert profile.copies[0].module == "block"
    assert attribution.share(profile) == Attribution(
        total_ns=6 * US, iteration_ns=6 * US, module_ns=5 * US, operator_ns=3 * US
    )


def test_a_range_of_another_thread_names_nothing() -> None:
    timeline = Timeline()
    with timeline.range("module", "here"):
        timeline.thread = 2
        timeline.launch("there", US)
        timeline.thread = 1
    assert names(attribution.attribute(timeline.profile())) == [("", "")]


def test_names_that_a_tool_gave_stay() -> None:
    timeline = Timeline()
    with timeline.range("module", "layer"), timeline.range("operator", "aten::add"):
        timeline.launch("kernel", US, module="own")
    assert names(attribution.attribute(timeline.profile())) == [("own", "aten::add")]


def test_nodes_of_a_graph_are_named_after_the_kernels_of_the_same_program_without_one() -> None:
    replay, eager = profile_kit.replayed(2).profile(), profile_kit.eager(3).profile()
    assert set(names(attribution.attribute(replay))) == {("", "")}
    profile = attribution.attribute(replay, eager)
    assert names(profile) == [(f"layer{number}", "aten::linear") for number in range(4)] * 2


def test_nodes_that_the_other_program_lacks_have_no_name() -> None:
    eager = profile_kit.eager(1, kernels=3).profile()
    timeline = Timeline()
    with timeline.range("iteration", "0"):
        timeline.graph([("new", US), ("gemm_0", US), ("gemm_2", US), ("new", US)])
    profile = attribution.attribute(timeline.profile(), eager)
    assert [module for module, _ in names(profile)] == ["", "layer0", "layer2", ""]


def test_a_launch_outside_of_all_iterations_is_not_attributed() -> None:
    timeline = Timeline()
    timeline.launch("first", 10 * US)
    timeline.python(5 * US)
    with timeline.range("iteration", "0"):
        timeline.launch("second", 30 * US)
        timeline.sync()
    profile = timeline.profile()
    assert attribution.share(profile).share == 0.75
    # A kernel whose call was not recorded counts where it runs.
    cut = tuple(msgspec.structs.replace(kernel, call=None) for kernel in profile.kernels)
    assert attribution.share(msgspec.structs.replace(profile, kernels=cut, calls=())).share == 0.75
    assert attribution.share(msgspec.structs.replace(profile, kernels=())).share is None


@settings(max_examples=80, deadline=None)
@given(st.lists(st.sampled_from("abc"), max_size=9), st.lists(st.sampled_from("abc"), max_size=9))
def test_an_alignment_keeps_order_and_matches_as_many_as_possible(one: list[str], other: list[str]) -> None:
    places = attribution.align(one, other)
    pairs = [(at, place) for at, place in enumerate(places) if place is not None]
    assert len(places) == len(one)
    assert all(one[at] == other[place] for at, place in pairs)
    assert sorted(place for _, place in pairs) == [place for _, place in pairs]
    assert len({place for _, place in pairs}) == len(pairs)
    blocks = difflib.SequenceMatcher(None, one, other, autojunk=False).get_matching_blocks()
    assert len(pairs) == longest(one, other) >= sum(block.size for block in blocks)


def longest(one: list[str], other: list[str]) -> int:
    """The length of a longest common subsequence, by its definition."""
    if not one or not other:
        return 0
    if one[-1] == other[-1]:
        return longest(one[:-1], other[:-1]) + 1
    row = [0] * (len(other) + 1)
    for name in one:
        before = list(row)
        for at, text in enumerate(other):
            row[at + 1] = before[at] + 1 if name == text else max(before[at + 1], row[at])
    return row[-1]


@st.composite
def nested(draw: st.DrawFn, start: int = 0, end: int = 64, depth: int = 0) -> list[Range]:
    """Ranges of one thread, each within another or beside it."""
    if depth > 3 or end - start < 2:
        return []
    cuts = sorted(draw(st.lists(st.integers(start, end), min_size=2, max_size=2)))
    kind = draw(st.sampled_from(["module", "operator", "layer", "phase"]))
    here = Range(name=f"{kind}-{start}-{depth}", kind=kind, start=cuts[0], end=cuts[1], thread=1)
    inside = draw(nested(cuts[0] + 1, cuts[1] - 1, depth + 1))
    return [here, *inside, *draw(nested(cuts[1], end, depth + 1))]


@settings(max_examples=50, deadline=None)
@given(nested(), st.lists(st.integers(0, 70), max_size=8))
def test_a_search_through_all_ranges_agrees(ranges: list[Range], times: list[int]) -> None:
    calls = tuple(HostCall(name="cudaLaunchKernel", start=time, end=time + 1, thread=1) for time in times)
    kernels = tuple(Kernel(name="k", start=0, end=1, call=at) for at in range(len(calls)))
    profile = Profile(tool="nsys", case="c", label="c", ranges=tuple(ranges), calls=calls, kernels=kernels)
    for kernel, time in zip(attribution.attribute(profile).kernels, times, strict=True):
        module = operator = ""
        for each in ranges:
            if each.start <= time < each.end and each.kind in ("module", "layer", "operator"):
                module, operator = (module, each.name) if each.kind == "operator" else (each.name, "")
        assert (kernel.module, kernel.operator) == (module, operator)
