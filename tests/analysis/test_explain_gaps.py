"""What gaps between units are as long as: what the profiler saw, what a run or a time without it leaves, gpu."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.analysis import explain_sides
from bench.analysis.explain import explain
from bench.errors import UsageError
from bench.model.profile import Copy
from tests.analysis.explain_kit import CONV, RELU, US, engine, first, kernels, layer


def test_launch_gaps_name_how_each_side_is_issued() -> None:
    rows = [(CONV, 9.0, "c"), (RELU, 2.0, "r")]
    explanation = explain(
        kernels(*rows, gap_us=40, unprofiled_us=51), kernels(*rows, graph=True, gap_us=3, unprofiled_us=11)
    )
    assert (explanation.parts[0].kind, explanation.parts[0].name) == ("gap", "launch")
    assert first(explanation).ns == -40 * US
    assert first(explanation).text.endswith("A issues 2 kernels one by one, B replays 2 kernels as a CUDA graph")


def test_gaps_as_the_profiler_saw_them_come_last_and_a_note_says_so() -> None:
    a, b = kernels(("sgemm", 30), gap_us=70), kernels(("sgemm", 32), gap_us=10)
    explanation = explain(a, b)
    assert (explanation.gaps, explanation.difference, explanation.without_gaps) == ("profiled", -58 * US, 2 * US)
    assert [part.kind for part in explanation.parts] == ["block", "gap"]
    assert [kind for kind, _, _ in explanation.totals] == ["time", "gap"]
    what = "gaps are as long as the profiler made them, and how long they are without it is not known"
    assert explanation.notes[0] == what


def test_gaps_are_what_the_measured_latency_leaves_where_a_run_has_both() -> None:
    a = kernels(("sgemm", 30), gap_us=70, unprofiled_us=40)
    b = kernels(("sgemm", 32), gap_us=20, unprofiled_us=80)
    a = msgspec.structs.replace(a, measured={"gpu": 33.0 * US, "latency": 50.0 * US})
    b = msgspec.structs.replace(b, measured={"gpu": 34.0 * US, "latency": 45.0 * US})
    explanation = explain(a, b, run="20261128T1-net")
    assert (explanation.gaps, explanation.run) == ("measured", "20261128T1-net")
    assert (explanation.a.window, explanation.b.window) == (50 * US, 45 * US)
    assert explanation.notes[0] == (
        "gaps are what latency of 20261128T1-net leaves; the profiler saw 70.0 us in A, 20.0 us in B"
    )
    assert explain(a, b, gaps="unprofiled").difference == 40 * US
    two = explain(a, b, run={"gpu": "other", "latency": "20261128T1-net"})
    assert (two.run, two.runs) == ("20261128T1-net", {"gpu": "other", "latency": "20261128T1-net"})
    assert "gaps are what latency of 20261128T1-net leaves" in two.notes[0]
    assert "other" not in two.notes[0]
    assert explain(a, b, run={"gpu": "other"}, gaps="unprofiled").run == "other"


def test_a_run_that_measures_the_opposite_is_a_note() -> None:
    a, b = kernels((CONV, 30, "c")), kernels((CONV, 33, "c"))
    a = msgspec.structs.replace(a, measured={"gpu": 40.0 * US})
    b = msgspec.structs.replace(b, measured={"gpu": 35.0 * US})
    assert [note for note in explain(a, b).notes if "opposite: gpu of B is 5.00 us less" in note]


def test_gaps_may_be_what_the_time_without_a_profiler_leaves_for_them() -> None:
    """30 us of kernels each: 70 us of gaps become 10 in A, 20 become 0 in B, whose kernels alone take longer."""
    a = kernels(("sgemm", 30), gap_us=70, unprofiled_us=40)
    b = kernels(("sgemm", 30), gap_us=20, unprofiled_us=25)
    assert explain(a, b, gaps="profiled").difference == -50 * US
    scaled = explain(a, b)
    assert (scaled.a.window, scaled.b.window, scaled.gaps) == (40 * US, 30 * US, "unprofiled")
    assert [(part.name, part.difference) for part in scaled.parts if part.difference] == [("launch", -10 * US)]
    assert scaled.a.units == a.units
    saw = "gaps are what the time without a profiler leaves; the profiler saw 70.0 us in A, 20.0 us in B"
    assert scaled.notes[0] == saw
    assert "kernels and copies of B alone take 5.00 us longer" in scaled.notes[1]
    without = kernels(("sgemm", 30), unprofiled_us=40)
    assert explain(without, without, gaps="unprofiled").same


def test_gaps_that_cannot_be_told_are_refused() -> None:
    known, unknown = kernels(("sgemm", 9), gap_us=3, unprofiled_us=10), kernels(("sgemm", 9), gap_us=3)
    with pytest.raises(UsageError, match="does not say how long it takes without a profiler"):
        explain(known, unknown, gaps="unprofiled")
    timed = engine(layer("/a/Conv", 5))
    with pytest.raises(UsageError, match="has no gaps: its layers"):
        explain(timed, timed, gaps="unprofiled")
    with pytest.raises(UsageError, match="no run on the device of its profile has measured latency"):
        explain(known, known, gaps="measured")
    with pytest.raises(UsageError, match="gaps are auto, gpu, measured, unprofiled or profiled, not 'none'"):
        explain(known, known, gaps="none")


def test_an_engine_of_which_layers_were_timed_has_no_known_gaps() -> None:
    explanation = explain(kernels((CONV, 9, "l"), gap_us=40), engine(layer("/l/Conv", 9), label="net/trt/fp16/batch=1"))
    assert explanation.parts[-1].kind == "gap"
    assert (
        "B is an engine, whose layers were timed and not the gaps between them" in explanation.parts[-1].causes[0].text
    )
    assert explanation.notes[0] == (
        "gaps of B, an engine, are not known, so that those of A, 40.0 us under the profiler, count in full: compare "
        "the work, or measure both cases with trtbench run SUITE"
    )


def test_gaps_as_profiled_of_an_engine_beside_kernels_are_refused() -> None:
    eager, timed = kernels((CONV, 9, "l"), gap_us=40), engine(layer("/l/Conv", 9), label="net/trt/fp16/batch=1")
    for pair in ((eager, timed), (timed, eager)):
        with pytest.raises(UsageError) as error:
            explain(*pair, gaps="profiled")
        assert error.value.what == (
            "the profile of net/trt/fp16/batch=1 has layers, and not the gaps between them: the gaps that a profiler "
            "saw in net/eager/fp16/batch=1 have nothing to be compared with"
        )
        assert error.value.fix.startswith("--gaps gpu, once trtbench run SUITE has measured both cases")
    assert explain(timed, timed, gaps="profiled").same
    assert explain(eager, eager, gaps="profiled").same


def test_with_a_run_an_engine_is_explained_by_the_boundary_gpu() -> None:
    """Of 4 + 8 + 12 us the run has 15: 3 us less each. Of eager's 40 us 13 are between its kernels."""
    copies = (Copy(start=0, end=5 * US, kind="h2d", size=8),)
    a = kernels((CONV, 20, "l.a"), (CONV, 7, "l.b"), gap_us=90, copies=copies)
    b = engine(layer("/l/a/Conv", 8), layer("/l/b/Conv", 12), layer("/l/c/Relu", 4), label="net/trt/fp16/batch=1")
    a = msgspec.structs.replace(a, measured={"gpu": 40.0 * US})
    b = msgspec.structs.replace(b, measured={"gpu": 15.0 * US})
    explanation = explain(a, b, run="20261128T1-net")
    assert (explanation.gaps, explanation.difference) == ("gpu", -25 * US)
    assert [unit.ns for unit in explanation.b.units] == [5 * US, 9 * US, 1 * US]
    assert [(gap.name, gap.ns) for gap in explanation.a.gaps] == [("between kernels", 13 * US)]
    assert not any(unit.transfer for unit in explanation.a.units)
    assert "gaps of A are what its gpu in 20261128T1-net, 40.0 us, leaves" in explanation.notes[0]
    assert (
        "take 24.0 us, and the engine 15.0 us by gpu of 20261128T1-net: each is shown up to 3.00 us"
        in explanation.notes[1]
    )
    with pytest.raises(UsageError, match="no run on the device of its profile has measured gpu of net/eager"):
        explain(kernels((CONV, 9, "l.a")), b, gaps="gpu")


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=30), st.integers(1, 10**7))
def test_shortened_layers_sum_to_what_the_engine_takes(times: list[int], whole: int) -> None:
    side = engine(*(layer(f"/l{n}/Conv", ns / US) for n, ns in enumerate(times, 1)), layer("/l/Conv", 1))
    measured = explain_sides.as_measured(side, whole)
    units = measured.units
    assert (measured.window, sum(unit.ns for unit in units)) == (whole, min(whole, side.busy))
    assert all(0 <= unit.ns <= before.ns + 1 for unit, before in zip(units, side.units, strict=True))


@given(st.integers(1, 90), st.integers(1, 90))
def test_what_is_explained_is_what_was_measured(gpu_a: int, gpu_b: int) -> None:
    a = msgspec.structs.replace(kernels((CONV, 20, "l.a"), (CONV, 20, "l.b")), measured={"gpu": float(gpu_a * US)})
    b = engine(layer("/l/a/Conv", 8), layer("/l/b/Conv", 12), label="net/trt/fp16/batch=1")
    b = msgspec.structs.replace(b, measured={"gpu": float(gpu_b * US)})
    explanation = explain(a, b)
    assert explanation.difference == (gpu_b - gpu_a) * US == sum(part.difference for part in explanation.parts)
    assert ("longer than its gpu" in explanation.notes[0]) == (gpu_a <= 40)
    assert ("the remainder has the rest" in explanation.notes[1]) == (gpu_b >= 20)
