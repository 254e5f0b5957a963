"""Python's share: which cases are runners of one artifact, what the difference is, and what is listed without one."""

from __future__ import annotations

import pytest

from bench.analysis import host_cost
from bench.analysis.host_cost import HostCost
from bench.analysis.pool import gather
from bench.analysis.rows import rows
from bench.model.run import Accuracy, Failure, Measurement, Record, Run
from bench.model.suite import Case
from tests.store import kit

US = 1_000
AOTI = kit.case(backend="aoti")
AOTI_CPP = kit.case(backend="aoti", options={"executor": "cpp"})
PYTHON = {"enqueue": 40.0, "latency": 120.0, "gpu": 60.0}
CPP = {"enqueue": 25.0, "latency": 100.0, "gpu": 60.0}


def record(of: Case, times: dict[str, float], replicate: int = 0, rate: float = 0.0, **fields) -> Record:
    """One process of ``of``, 0.1 % slower with each replicate; ``times`` in us by boundary."""
    centres = {boundary: round(us * US * (1 + replicate / 1000)) for boundary, us in times.items()}
    measured = [Measurement(boundary=name, samples=(ns - 1, ns, ns + 1)) for name, ns in centres.items()]
    if rate:
        measured.append(
            Measurement(boundary="throughput", samples=(), batch=1, calls=int(rate), window_ns=1_000_000_000)
        )
    return Record(case=of.id, label=of.label, replicate=replicate, measurements=tuple(measured), **fields)


def run(*cases: Case, records: list[Record]) -> Run:
    return Run(path="", header=kit.header(cases), records=tuple(records))


def both(python: dict[str, float] = PYTHON, cpp: dict[str, float] = CPP, processes: int = 5, **fields) -> HostCost:
    records = [record(AOTI, python, n, **fields) for n in range(processes)]
    records += [record(AOTI_CPP, cpp, n, **fields) for n in range(processes)]
    (line,) = host_cost.of_run(run(AOTI, AOTI_CPP, records=records)).artifacts
    return line


def test_the_share_is_the_difference_of_the_hosts_times() -> None:
    line = both()
    assert (line.python, line.cpp, line.label, line.artifact) == (AOTI.label, AOTI_CPP.label, AOTI.label, "aoti")
    assert line.times["enqueue"].share_ns == pytest.approx(15 * US, rel=0.01)
    assert line.times["enqueue"].fraction == pytest.approx(15 / 40, rel=0.01)
    low, high = line.times["latency"].low_ns, line.times["latency"].high_ns
    assert low is not None
    assert high is not None
    assert low < line.times["latency"].share_ns < high
    assert line.times["latency"].verdict.kind == "FASTER"
    assert line.same_kernels


def test_other_kernels_are_told() -> None:
    assert both(cpp=CPP | {"gpu": 50.0}).same_kernels is False
    assert both(cpp={"enqueue": 25.0}).same_kernels is None


def test_one_process_has_a_share_and_no_interval() -> None:
    line = both(processes=1)
    assert line.times["enqueue"].share_ns == pytest.approx(15 * US)
    assert line.times["enqueue"].low_ns is None
    assert line.same_kernels is None


def test_rates_are_compared_by_the_number_of_lanes() -> None:
    line = both(rate=5000.0)
    assert line.lanes == 1
    assert line.times["throughput"].python_ns == pytest.approx(200 * US)
    several = [
        kit.case(backend="aoti", streams=n, options=options) for n in (1, 4) for options in ({}, {"executor": "cpp"})
    ]
    records = [record(case, PYTHON, n, rate=1000.0) for case in several for n in range(2)]
    lines = host_cost.of_run(run(*several, records=records)).artifacts
    assert [(line.lanes, set(line.times)) for line in lines] == [
        (1, {*PYTHON, "throughput"}),
        (4, {*PYTHON, "throughput"}),
    ]


def test_what_has_no_partner_is_listed_and_what_cannot_have_one_is_not() -> None:
    eager, graph = kit.case(backend="eager"), kit.case(backend="aoti", cuda_graph=True)
    alone = kit.case(backend="tensorrt", options={"executor": "cpp", "tensorrt_include": "/usr/include"})
    cases = (eager, AOTI, AOTI_CPP, graph, alone)
    lines = host_cost.of_run(run(*cases, records=[record(case, PYTHON) for case in cases])).artifacts
    assert [(line.label, line.why) for line in lines] == [
        (AOTI.label, ""),
        (graph.label, "no case runs it in C++"),
        ("net/tensorrt/fp32", "no case runs it in Python"),
    ]


def test_options_that_change_the_artifact_part_the_runners() -> None:
    frozen = {"freeze": False}
    cases = [kit.case(backend="torchscript", options=o) for o in ({}, frozen, frozen | {"executor": "cpp"})]
    first, second = host_cost.of_run(run(*cases, records=[record(case, PYTHON) for case in cases])).artifacts
    assert (first.artifact, first.why) == ("torchscript", "no case runs it in C++")
    assert (second.artifact, set(second.times)) == ("torchscript[freeze=off]", set(PYTHON))


def share_of(python: dict[str, float], cpp: dict[str, float], processes: int = 5) -> host_cost.PythonShare | None:
    records = [record(AOTI, python, n) for n in range(processes)] + [record(AOTI_CPP, cpp, n) for n in range(processes)]
    first, second = rows(run(AOTI, AOTI_CPP, records=records))
    assert second.python_share is None
    return first.python_share


def test_the_row_of_python_has_its_share_of_enqueue_where_a_gpu_computes_else_of_latency() -> None:
    share = share_of(PYTHON, CPP)
    assert share is not None
    assert (share.boundary, share.ns) == ("enqueue", pytest.approx(15 * US, rel=0.01))
    of_latency = share_of({"latency": 120.0}, {"latency": 100.0})
    assert of_latency is not None
    assert (of_latency.boundary, of_latency.ns) == ("latency", pytest.approx(20 * US, rel=0.01))


@pytest.mark.parametrize(
    ("python", "cpp"),
    [
        (PYTHON, CPP | {"gpu": 50.0}),  # other kernels
        ({"gpu": 60.0, "latency": 120.0}, {"gpu": 60.0, "latency": 100.0}),  # no enqueue
        ({"latency": 120.0}, {"gpu_unheld": 60.0}),
    ],
)
def test_a_row_has_no_share_where_it_means_nothing(python: dict[str, float], cpp: dict[str, float]) -> None:
    assert share_of(python, cpp) is None


def test_rows_without_a_sound_partner_have_no_share() -> None:
    assert not host_cost.shares(gather(run(AOTI, records=[record(AOTI, PYTHON)])))
    wrong = record(AOTI_CPP, CPP, accuracy=Accuracy(ok=False, outputs=()))
    assert not host_cost.shares(gather(run(AOTI, AOTI_CPP, records=[record(AOTI, PYTHON), wrong])))


def test_of_several_programs_the_first_one_counts() -> None:
    other = kit.case(backend="aoti", options={"executor": "cpp", "tensorrt_include": "/usr/include"})
    records = [record(AOTI, PYTHON), record(AOTI_CPP, CPP), record(other, CPP | {"enqueue": 10.0})]
    shares = host_cost.shares(gather(run(AOTI, AOTI_CPP, other, records=records)))
    assert {key: share.ns for key, share in shares.items()} == {AOTI.id: pytest.approx(15 * US)}


@pytest.mark.parametrize(
    ("cpp", "why"),
    [
        (Record(case=AOTI_CPP.id, label="", failure=Failure(kind="Crash", stage="load", message="SIGSEGV")),
         "the C++ runner failed: Crash"),
        (record(AOTI_CPP, CPP, accuracy=Accuracy(ok=False, outputs=())), "the C++ runner is inaccurate"),
        (None, "the C++ runner was not measured"),
        (record(AOTI_CPP, {"gpu_unheld": 60.0}), "no boundary that both runners have"),
    ],
)  # fmt: skip
def test_a_runner_without_sound_figures_has_no_share(cpp: Record | None, why: str) -> None:
    records = [record(AOTI, PYTHON), *([cpp] if cpp else [])]
    (line,) = host_cost.of_run(run(AOTI, AOTI_CPP, records=records)).artifacts
    assert (line.why, line.times) == (why, {})


def test_a_run_without_a_cpp_case_has_no_artifacts() -> None:
    costs = host_cost.of_run(run(AOTI, records=[record(AOTI, PYTHON)]))
    assert (costs.deployed, costs.artifacts) == (False, ())


def test_selecting_one_runner_brings_its_partner_along() -> None:
    other = kit.case("other", backend="aoti")
    whole = run(AOTI, AOTI_CPP, other, records=[record(case, PYTHON) for case in (AOTI, AOTI_CPP, other)])
    (line,) = host_cost.of_run(whole, only={AOTI_CPP.id}).artifacts
    assert set(line.times) == set(PYTHON)
