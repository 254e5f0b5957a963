"""When the host is said to have disturbed a process: rules on figures, and on all committed runs."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from bench import store
from bench.analysis.host_noise import NOISY_SLICE_NS, host_warnings, warnings_of
from bench.analysis.rows import rows
from bench.model.run import Record, Warning
from bench.model.telemetry import HostFigures, Telemetry
from bench.report.warnings import describe

RESULTS = Path(__file__).parents[2] / "results"
S = 1_000_000_000
QUIET = HostFigures(
    window_ns=2 * S,
    involuntary_switches=300,
    longest_wait_ns=S // 20,
    cores=2,
    load_average=1.9,
    load_average_before=1.0,
    thermal_throttles=0,
    quota_throttles=0,
)


def noisy(**figures: float | None) -> HostFigures:
    return msgspec.structs.replace(QUIET, **figures)


def test_a_quiet_host_has_no_warning() -> None:
    assert host_warnings(QUIET) == ()
    assert host_warnings(HostFigures(cores=1)) == ()


UNCOUNTED = {"longest_wait_ns": None}


@pytest.mark.parametrize(
    ("noise", "kind", "figures", "text"),
    [
        (
            {"longest_wait_ns": S},
            "NoisyHost",
            {"window_ns": 2 * S, "longest_wait_ns": S},
            "the thread that waited most had no core for 1.00 s of 2.00 s",
        ),
        (
            {**UNCOUNTED, "involuntary_switches": 500},
            "NoisyHost",
            {"window_ns": 2 * S, "preemptions": 500},
            "all threads together lost their core 500 times in 2.00 s",
        ),
        (
            {**UNCOUNTED, "load_average": 7.0, "load_average_before": 6.0},
            "NoisyHost",
            {"window_ns": 2 * S, "load_average": 6.0, "cores": 2},
            "the load average of the whole host was 6.0, where the process may use 2 cores",
        ),
        ({"thermal_throttles": 3}, "Throttled", {"thermal_throttles": 3}, "a core was throttled 3 times"),
        (
            {"quota_throttles": 8},
            "Throttled",
            {"quota_throttles": 8},
            "quota of the container was used up 8 times",
        ),
    ],
)
def test_noise_and_throttling_are_warnings_that_say_what_to_try(
    noise: dict[str, float], kind: str, figures: dict[str, float], text: str
) -> None:
    (warning,) = host_warnings(noisy(**noise))
    assert (warning.kind, warning.figures) == (kind, figures)
    advice = describe(warning)
    assert text in advice.text
    assert advice.hint


def test_a_wait_just_above_the_limit_is_told_in_its_own_digits() -> None:
    """0.051 s of 1 s would round to 0.1 s, twice as much."""
    (warning,) = host_warnings(noisy(window_ns=S, longest_wait_ns=51_000_000, involuntary_switches=500))
    assert describe(warning).text == "the thread that waited most had no core for 51.0 ms of 1.00 s"


def test_where_waits_are_counted_switches_and_the_load_of_the_host_are_no_noise() -> None:
    assert host_warnings(noisy(involuntary_switches=5_000)) == ()
    assert host_warnings(noisy(load_average=38.0, load_average_before=38.0, cores=1)) == ()


def test_threads_that_yield_wait_for_less_than_a_slice_of_another_program() -> None:
    """100,000 switches a second and a wait of 8 %, as recorded of a loop of sched_yield."""
    yielding = noisy(window_ns=S, longest_wait_ns=80_000_000, involuntary_switches=100_000)
    assert host_warnings(yielding) == ()
    taken = msgspec.structs.replace(yielding, involuntary_switches=80_000_000 // NOISY_SLICE_NS)
    assert [warning.kind for warning in host_warnings(taken)] == ["NoisyHost"]
    alone = msgspec.structs.replace(yielding, involuntary_switches=None)  # not told: the wait alone decides
    assert [warning.kind for warning in host_warnings(alone)] == ["NoisyHost"]


def test_a_load_that_has_just_ended_or_just_begun_is_no_noise() -> None:
    assert host_warnings(noisy(**UNCOUNTED, load_average_before=9.0)) == ()
    assert host_warnings(noisy(**UNCOUNTED, load_average=9.0)) == ()


def test_a_few_switches_in_a_very_short_time_are_no_noise() -> None:
    short = {"window_ns": S // 1000, "involuntary_switches": 20, "longest_wait_ns": S // 2000}
    assert host_warnings(noisy(**short)) == ()
    assert host_warnings(noisy(**short | UNCOUNTED)) == ()


def test_preemption_and_load_together_are_one_warning() -> None:
    noise = {"involuntary_switches": 999, "load_average": 8.0, "load_average_before": 8.0}
    (warning,) = host_warnings(noisy(**UNCOUNTED, **noise))
    assert warning.kind == "NoisyHost"
    assert describe(warning).text == (
        "all threads together lost their core 999 times in 2.00 s and the load average of the whole host was 8.0, "
        "where the process may use 2 cores"
    )


def stored(host: HostFigures | None, *warnings: Warning) -> Record:
    return Record(case="a", label="a", telemetry=Telemetry(host=host), warnings=warnings)


def test_a_stored_warning_is_judged_again_by_what_is_stored_beside_it() -> None:
    other, old = Warning(kind="Noisy", figures={"calls": 9}), Warning(kind="NoisyHost", figures={"preemptions": 900})
    assert list(warnings_of(stored(noisy(involuntary_switches=900), old, other))) == [other]
    assert list(warnings_of(stored(noisy(longest_wait_ns=S), other, old))) == [
        other,
        Warning(kind="NoisyHost", figures={"window_ns": 2 * S, "longest_wait_ns": S}),
    ]
    assert list(warnings_of(stored(None, old))) == [old]
    assert list(warnings_of(stored(noisy(longest_wait_ns=S)))) == []  # what was not said is not said now


# Processes of the committed runs that were stored with NoisyHost, and those that keep it: docs/measuring.md.
NOTED = {
    "20261128T144205Z-smoke": (21, 21),
    "20261128T145513Z-net": (10, 10),
    "20261128T210201Z-smoke": (1, 1),
    "20261128T210430Z-smoke": (1, 1),
    "20261128T210533Z-smoke": (1, 1),
    "20261128T210652Z-smoke": (2, 0),
    "20261128T210755Z-smoke": (6, 0),
    "20261128T210903Z-smoke": (1, 1),
    "20261129T044304Z-deploy": (34, 17),
    "20261129T094143Z-smoke": (1, 0),
    "20261128T174818Z-clock_gpu": (1, 1),
    "20261128T212602Z-more_work": (20, 0),
    "20261128T214334Z-more_work": (6, 3),
    "20261128T214421Z-more_work": (14, 0),
    "20261128T214836Z-fx2trt": (3, 0),
    "20261129T050436Z-int8_centernet": (4, 0),
}


@pytest.mark.parametrize(("name", "counts"), NOTED.items())
def test_the_committed_runs_keep_the_note_where_a_thread_waited(name: str, counts: tuple[int, int]) -> None:
    (path,) = RESULTS.rglob(f"{name}*.jsonl")
    run = store.read(path)
    several = [[w.kind for w in record.warnings] for record in run.records]
    kept = [[w.kind for w in warnings_of(record)] for record in run.records]
    assert (sum("NoisyHost" in kinds for kinds in several), sum("NoisyHost" in kinds for kinds in kept)) == counts
    assert [[k for k in kinds if k != "NoisyHost"] for kinds in several] == [
        [k for k in kinds if k != "NoisyHost"] for kinds in kept
    ]


def test_the_tables_of_an_engine_that_spins_have_no_note_on_every_row() -> None:
    (path,) = RESULTS.rglob("20261129T050436Z-int8_centernet*.jsonl")
    assert not any(warning.kind == "NoisyHost" for row in rows(store.read(path)) for warning in row.warnings)
