"""The block in the words of trtexec."""

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import UsageError
from bench.model.run import Measurement, Record
from bench.model.telemetry import ClockFigures, Telemetry
from bench.report import trtexec

from .conftest import case, make

MS = 1_000_000
GOLDEN = Path(__file__).parent.parent / "golden" / "report" / "trtexec.txt"
PARTS = {
    "enqueue": (MS, MS, 2 * MS, MS),
    "h2d": (MS // 4,) * 4,
    "compute": (10 * MS, 10 * MS, 12 * MS, 10 * MS),
    "d2h": (MS // 8, MS // 8, MS, MS // 8),
}
NULL_CALL = Telemetry(clock=ClockFigures(gpu_floor_ns=1280))


def loop(asked, **fields):
    kept = {"samples": tuple(range(MS, 101 * MS, MS)), "calls": 200, "window_ns": 4 * 10**9}
    return Measurement(boundary="throughput", batch=asked.batch, **(kept | fields))


def measured(asked, *others, telemetry=None, **fields):
    return Record(
        case=asked.id,
        label=asked.label,
        measurements=(loop(asked, **fields), *others),
        telemetry=telemetry or Telemetry(),
    )


def on_gpu(asked, parts=PARTS, **fields):
    """A process whose loop kept the parts of every 50th call; all calls together took 1 % longer."""
    totals = {name: sum(values) * 50 * 101 // 100 for name, values in parts.items()}
    return measured(asked, telemetry=NULL_CALL, parts=parts, totals=totals, **fields)


def line(shown, title):
    return next(line for line in shown.splitlines() if line.startswith(f"{title}: "))


def test_a_gpu_case_reads_as_agreed() -> None:
    asked = case("bert", "eager", batch=8)
    assert trtexec.render(make([asked], [on_gpu(asked)]), asked.label) == GOLDEN.read_text()


def test_the_latency_of_a_query_is_the_sum_of_its_parts_and_means_are_of_all_queries() -> None:
    asked = case("bert", "eager")
    shown = trtexec.render(make([asked], [on_gpu(asked)]))
    latency = line(shown, "Latency")
    assert "min = 10.375 ms, max = 13.25 ms" in latency
    assert f"mean = {(42 + 1 + 1.375) / 4 * 1.01:g} ms" in latency
    assert line(shown, "Total GPU Compute Time") == f"Total GPU Compute Time: {42 * 50 * 1.01 / 1000:g} s"


def test_an_older_run_without_parts_shows_single_queries_and_says_so() -> None:
    asked = case("bert", "eager")
    single = [Measurement(boundary=name, samples=values) for name, values in PARTS.items()]
    shown = trtexec.render(make([asked], [measured(asked, *single)]))
    assert "max = 100 ms" in line(shown, "Latency")
    assert "max = 12 ms, mean = 10.5 ms" in line(shown, "GPU Compute Time")
    assert line(shown, "Total GPU Compute Time") == "Total GPU Compute Time: 2.1 s"
    assert "of one query in flight" in shown
    assert "of one query in flight" not in trtexec.render(make([asked], [on_gpu(asked)]))


def test_parts_of_unequal_length_are_no_queries() -> None:
    asked = case("bert", "eager")
    damaged = on_gpu(asked, PARTS | {"h2d": (MS,)}, samples=(5 * MS,))
    shown = trtexec.render(make([asked], [msgspec.structs.replace(damaged, telemetry=Telemetry(clock=ClockFigures()))]))
    assert "max = 5 ms" in line(shown, "Latency")
    assert line(shown, "H2D Latency") == "H2D Latency: -"


def test_a_cpu_case_has_dashes_for_what_a_cpu_has_not_and_nothing_else_to_say() -> None:
    asked = case("bert", "eager")
    shown = trtexec.render(make([asked], [measured(asked)]))
    for title in ("Enqueue Time", "H2D Latency", "GPU Compute Time", "D2H Latency", "Total GPU Compute Time"):
        assert f"\n{title}: -\n" in shown
    assert shown.endswith("Total GPU Compute Time: -\n")


STEADY = {"enqueue": (79,) * 4, "h2d": (99,) * 4, "compute": (100,) * 4, "d2h": (99,) * 4}


@pytest.mark.parametrize(
    ("changed", "warning"),
    [
        ({"enqueue": (81,) * 4}, "cuda_graph: on"),
        ({"h2d": (100,) * 4}, "Copies of inputs"),
        ({"d2h": (100,) * 4}, "Copies of outputs"),
        ({"compute": (100, 100, 100, 104)}, "coefficient of variation is 1.71%"),
        ({"compute": (100, 100, 100, 102)}, ""),
        ({}, ""),
    ],
)
def test_warnings_have_trtexecs_conditions(changed, warning) -> None:
    asked = case("bert", "eager")
    shown = trtexec.render(make([asked], [on_gpu(asked, STEADY | changed)]))
    starred = [line for line in shown.splitlines() if line.startswith("* ")]
    assert len(starred) == bool(warning)
    assert warning in "".join(starred)


@pytest.mark.parametrize(
    ("fields", "transfers", "newer", "older"),
    [
        ({}, True, "--includeDataTransfers --noCudaGraph", "as it is"),
        ({}, False, "--noCudaGraph", "--noDataTransfers"),
        ({"cuda_graph": True}, True, "--includeDataTransfers", "--useCudaGraph"),
        ({"cuda_graph": True, "transfers": False}, True, "as it is", "--noDataTransfers --useCudaGraph"),
    ],
)
def test_each_block_names_the_options_that_make_trtexec_measure_the_same(fields, transfers, newer, older) -> None:
    asked = case("bert", "tensorrt", **fields)
    shown = trtexec.render(make([asked], [on_gpu(asked)]), transfers=transfers)
    assert f"Compare with: trtexec {newer} (11), trtexec {older} (to 10)\n" in shown
    assert ("the case with transfers: off" in shown) == (not transfers)


def test_without_transfers_the_latency_is_the_gpus() -> None:
    asked = case("bert", "tensorrt")
    shown = trtexec.render(make([asked], [on_gpu(asked)]), transfers=False)
    assert line(shown, "Latency") == line(shown, "GPU Compute Time").replace("GPU Compute Time", "Latency")
    assert (line(shown, "H2D Latency"), line(shown, "D2H Latency")) == ("H2D Latency: -", "D2H Latency: -")


def test_processes_are_pooled() -> None:
    asked = case("bert", "eager")
    shown = trtexec.render(make([asked], [measured(asked), measured(asked)]), asked.id)
    assert "2 processes" in shown
    assert "Throughput: 50 qps" in shown
    assert "Total Host Walltime: 8 s" in shown


def test_without_a_case_every_measured_one_gets_a_block(run) -> None:
    assert trtexec.render(run).count("=== Performance summary ===") == 15


def test_an_unknown_or_unmeasured_case_is_an_error_that_helps(run) -> None:
    with pytest.raises(UsageError, match="Did you mean 'bert/eager/fp32/batch=1/seq=128'"):
        trtexec.render(run, "bert/eager/fp32/batch=1/seq=12")
    shown = r"nothing was measured of bert/aoti.*\n  fix: for what went wrong: trtbench show \S+"
    with pytest.raises(UsageError, match=shown):
        trtexec.render(run, "bert/aoti/fp32/batch=1/seq=128")


@given(st.lists(st.integers(1, 10**9), min_size=1, max_size=300), st.sampled_from([90, 95, 99]))
def test_a_percentile_is_a_sample_that_leaves_at_most_that_share_above(samples, percent) -> None:
    ordered = sorted(samples)
    value = trtexec.percentile(ordered, percent)
    above = sum(sample > value for sample in ordered)
    assert value in ordered
    assert above * 100 <= (100 - percent) * len(ordered)


def test_percentiles_match_trtexec_on_a_published_rule() -> None:
    ordered = list(range(1, 1001))
    assert [trtexec.percentile(ordered, p) for p in (90, 95, 99)] == [900, 950, 990]
    assert trtexec.percentile([7], 99) == 7
