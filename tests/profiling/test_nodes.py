"""The nodes that a runtime wrote down by the clock of the day, within the iterations of a profile."""

from __future__ import annotations

from pathlib import Path

import msgspec

from bench.analysis import attribution
from bench.model.profile import Range
from bench.profiling import nodes
from tests.profile_kit import US, Timeline

DAY = 1_764_000_000 * 1_000_000_000  # ns since 1970


def written(folder: Path, *several: tuple[str, int, int]) -> Path:
    """A file of nodes of kind ``layer``, each with its operator in it."""
    path = folder / "nodes.json"
    ranges = [
        Range(name=name, kind=kind, start=start, end=end, thread=77)
        for name, start, end in several
        for kind in ("operator", "layer")
    ]
    path.write_bytes(msgspec.json.encode(ranges))
    return path


def test_each_iteration_has_a_zero_of_its_own(tmp_path: Path) -> None:
    timeline = Timeline()
    spans = []
    for number in range(2):
        timeline.now = 1000 * US * number
        with timeline.range("iteration", str(number)):
            for name in ("conv", "relu"):
                spans.append((name, timeline.now))
                timeline.launch(f"{name}_kernel", 20 * US)
    profile = timeline.profile()
    # The second iteration began 3 us later by the other clock than by the profiler's.
    starts = [DAY, DAY + 1003 * US]
    wall = [DAY + start + (3 * US if start >= 1000 * US else 0) for _, start in spans]
    path = written(tmp_path, *((name, when, when + 5 * US) for (name, _), when in zip(spans, wall, strict=True)))
    merged = nodes.merge(profile.ranges, path, starts)
    layers = [(each.name, each.start) for each in merged if each.kind == "layer"]
    assert layers == spans
    assert {each.thread for each in merged} == {timeline.thread}
    named = attribution.attribute(msgspec.structs.replace(profile, ranges=merged)).kernels
    assert [(each.name, each.module, each.operator) for each in named] == 2 * [
        ("conv_kernel", "conv", "conv"),
        ("relu_kernel", "relu", "relu"),
    ]
    # Layers come before operators of the same bounds, which lie in them.
    assert [each.kind for each in merged] == 2 * ["iteration", "layer", "operator", "layer", "operator"]


def test_what_ran_outside_of_iterations_is_left_out(tmp_path: Path) -> None:
    timeline = Timeline()
    with timeline.range("iteration", "0"):
        timeline.launch("kernel", 20 * US)
    ranges = timeline.profile().ranges
    end = ranges[0].end
    path = written(tmp_path, ("before", DAY - 9, DAY - 1), ("across", DAY + end - 1, DAY + end + 1))
    assert nodes.merge(ranges, path, [DAY]) == ranges
    assert nodes.merge((), path, []) == ()
