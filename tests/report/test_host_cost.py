"""Tables of Python's share: what they show, at which widths, and the same for programs."""

from __future__ import annotations

import csv
import io
import json

import msgspec
import pytest

from bench.analysis import host_cost as analysis
from bench.analysis.host_cost import RunHostCost
from bench.model.run import Failure, Measurement, Record
from bench.model.telemetry import Telemetry
from bench.report import host_cost
from tests.analysis.test_host_cost import AOTI, AOTI_CPP, CPP, PYTHON, record, run
from tests.store import kit

ALONE = kit.case("net|x", backend="torchscript", options={"executor": "cpp"})


def costs(processes: int = 5, cpp: dict[str, float] = CPP) -> RunHostCost:
    records = [record(AOTI, PYTHON, n, rate=5000.0) for n in range(processes)]
    records += [record(AOTI_CPP, cpp, n, rate=8000.0) for n in range(processes)]
    return analysis.of_run(run(AOTI, AOTI_CPP, ALONE, records=[*records, record(ALONE, CPP)]))


def test_the_text_has_both_runners_the_share_and_what_has_no_partner() -> None:
    text = host_cost.render(costs(), width=200)
    (line,) = [line for line in text.splitlines() if line.strip().startswith(AOTI.label)]
    cells = [cell.strip() for cell in line.split("  ") if cell.strip()]
    assert cells[1:3] == ["40.1 us", "25.0 us"]
    assert cells[3].startswith("15.0 us [")
    assert cells[3].endswith("], 37%")
    assert cells[-3:] == ["SAME", "5,000", "8,000"]
    assert "no case runs it in Python: net|x/torchscript/fp32" in text


def test_narrow_tables_keep_the_shares() -> None:
    text = host_cost.render(costs(), width=90)
    assert max(map(len, text.splitlines())) <= 90
    assert "latency: Python's share" in text
    assert "not shown at 90 columns: QPS of Python, QPS of C++" in text
    title = " ".join(host_cost.render(costs(), width=60).splitlines()[2:4])
    assert title.count("Python's share") == 2  # of enqueue, which is the share itself, and of latency


def test_few_processes_and_other_kernels_have_notes() -> None:
    text = host_cost.render(costs(processes=1), width=400)
    assert f"too few processes to say that both run the same kernels, --replicates 7: {AOTI.label}" in text
    assert "without an interval: one process" in text
    noisy = [record(case, PYTHON | {"gpu": 40.0 + 9 * (n % 3)}, n) for case in (AOTI, AOTI_CPP) for n in range(7)]
    text = host_cost.render(analysis.of_run(run(AOTI, AOTI_CPP, records=noisy)), width=400)
    assert "too few processes" not in text
    assert "gpu differs too much between processes to say that both run the same kernels; larger sizes" in text
    other = host_cost.notes(costs(cpp=CPP | {"gpu": 50.0, "latency": 130.0}))
    assert other[0].startswith("the GPU takes another time under C++")
    (line,) = costs(cpp=CPP | {"latency": 130.0}).artifacts[:1]
    assert host_cost.share(line.times["latency"]).startswith("-10.0 us [-10.")


def test_markdown_csv_and_json_have_every_artifact() -> None:
    page = host_cost.markdown(costs())
    assert page.splitlines()[2].startswith("| artifact | enqueue of Python |")
    assert "net\\|x/torchscript/fp32" in page
    rows = list(csv.DictReader(io.StringIO(host_cost.csv([costs(), costs()]))))
    assert [row["boundary"] for row in rows[:5]] == ["enqueue", "latency", "gpu", "throughput", ""]
    assert (rows[2]["verdict"], rows[4]["why"]) == ("SAME", "no case runs it in Python")
    assert len(rows) == 10
    (whole,) = json.loads(host_cost.json([costs()]))["runs"]
    first, alone = whole["artifacts"]
    assert first["same_kernels"] is True
    assert first["times"]["gpu"]["verdict"]["kind"] == "SAME"
    assert 0.37 < first["times"]["enqueue"]["fraction"] < 0.38
    assert (alone["times"], alone["same_kernels"]) == ({}, None)


def test_an_interval_without_0_beside_no_verdict_is_explained() -> None:
    """Of 5 and 5 processes 20 % apart, at a spread at which 95 % of certainty are reached and 99 % are not."""
    spread = (0.85, 0.93, 1.0, 1.08, 1.17)
    records = [record(AOTI, {name: ns * factor for name, ns in PYTHON.items()}, n) for n, factor in enumerate(spread)]
    slower = {name: ns / 1.22 for name, ns in PYTHON.items()}
    records += [
        record(AOTI_CPP, {name: ns * factor for name, ns in slower.items()}, n) for n, factor in enumerate(spread)
    ]
    near = analysis.of_run(run(AOTI, AOTI_CPP, records=records))
    times = near.artifacts[0].times["latency"]
    assert (times.shows_a_share, times.is_decided) == (True, False)
    (note,) = [note for note in host_cost.notes(near) if note.startswith("the interval of 95% has no 0")]
    needed = max(near.artifacts[0].times[boundary].verdict.needed for boundary in ("enqueue", "latency"))
    assert f"(--replicates {needed} may): " in note
    assert note.endswith(f"{AOTI.label} (enqueue, latency)")
    for far in (costs(), costs(processes=1)):
        assert not any("has no 0" in note for note in host_cost.notes(far))


def loops(processes: int) -> RunHostCost:
    """Two lanes, called by one thread of Python, two of C++ and two processes of Python; 250 latencies a process, the
    last ones of 900 us.
    """
    cases = [kit.case(backend="aoti", streams=2, options=options) for options in ({}, {"executor": "cpp"})]
    cases.append(kit.case(backend="aoti", streams=2, lanes="processes"))
    records = []
    for of, ns, threads in zip(cases, (200_000, 100_000, 125_000), (1, 2, 2), strict=True):
        loop = Measurement(
            boundary="throughput", samples=(ns,) * 240 + (900_000,) * 10, batch=1, calls=500, window_ns=ns * 250,
            lane_count=2, threads=threads, processes=2 if of.lanes == "processes" else 1,
        )  # fmt: skip
        records += [Record(case=of.id, label=of.label, replicate=n, measurements=(loop,)) for n in range(processes)]
    return analysis.of_run(run(*cases, records=records))


def test_several_lanes_have_who_calls_them_their_rate_and_tail() -> None:
    several = loops(3)
    text = host_cost.render(several, width=140)
    rows = [line.split("  ") for line in text.partition(host_cost.LANES)[2].splitlines() if "net/aoti" in line]
    assert [[cell.strip() for cell in row if cell.strip()][1:] for row in rows] == [
        ["2", "1 Python thread", "10,000", "200 us", "900 us"],
        ["2", "2 Python processes", "16,000", "125 us", "900 us"],
        ["2", "2 C++ threads", "20,000", "100 us", "900 us"],
    ]
    assert "| 2 C++ threads |" in host_cost.markdown(several)
    (line,) = json.loads(host_cost.json([several]))["runs"][0]["artifacts"]
    expected = {"threads": 2, "rate": 20_000, "p50_ns": 100_000, "p99_ns": 900_000, "processes": 3}
    assert line["loops"]["cpp"] == pytest.approx(expected)
    assert loops(1).artifacts[0].loops["cpp"].p99_ns is None
    (row,) = csv.DictReader(io.StringIO(host_cost.csv([several])))
    assert (row["boundary"], row["lanes"], row["python_threads"], row["cpp_threads"]) == ("throughput", "2", "1", "2")
    numbers = {
        name.removeprefix("cpp_"): float(row[name]) for name in row if name.startswith("cpp_") and name != "cpp_ns"
    }
    assert numbers == pytest.approx(expected | {"lane_processes": 1})
    assert host_cost.LANES not in host_cost.render(costs(), width=140)


def test_processes_that_failed_are_a_note_and_the_loop_of_cpp_tells_what_it_adds() -> None:
    cases = [kit.case(backend="aoti", streams=2, options=options) for options in ({}, {"executor": "cpp"})]
    processes = kit.case(backend="aoti", streams=2, lanes="processes")
    records = [record(case, PYTHON, n) for case in cases for n in range(3)]
    for place, ns in ((3, 24), (4, 26), (5, 40)):
        records[place] = msgspec.structs.replace(records[place], telemetry=Telemetry(loop_overhead_ns=ns))
    crash = Failure(kind="Crash", stage="measure", message="the process of lane 2 of 2 was ended by SIGKILL")
    records.append(Record(case=processes.id, label=processes.label, failure=crash))
    several = analysis.of_run(run(*cases, processes, records=records))
    text = host_cost.render(several, width=200)
    assert "the C++ loop itself adds 26.0 ns to a call" in text
    assert f"the multi-process Python runner failed: Crash ({cases[0].label})" in text
    (line,) = json.loads(host_cost.json([several]))["runs"][0]["artifacts"]
    assert (line["overhead_ns"], line["why"]) == (26, "")


def test_a_run_without_cpp_cases_says_how_to_get_one() -> None:
    nothing = analysis.of_run(run(AOTI, records=[record(AOTI, PYTHON)]))
    assert "{name: aoti, executor: cpp}" in host_cost.render(nothing, width=300)
    assert "executor: cpp" in host_cost.markdown(nothing)
