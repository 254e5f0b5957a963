"""What `show` of 10,000 records takes, and `list` of 10,000 cases: printed, not asserted (goals: 5 s, 3 s)."""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from bench import store
from bench.model.run import Header, Record
from bench.model.suite import Case, Input, Policy
from bench.store import codec
from bench.units import format_size
from tests.selfbench.test_store_load import SERIES, full_record
from tests.store.kit import FOOTER, environment, header

RECORDS = 10_000
BACKENDS = ("eager", "inductor", "torchscript", "onnxruntime", "aoti")

SUITE = """
schema: 1
models: {net: {factory: "zoo.py:net", inputs: {x: {shape: [batch, 3]}}}}
matrix:
  precision: [fp32, bf16]
  streams: [1, 2, 3, 4]
  batch: BATCHES
  backend: [eager, inductor, {name: inductor, mode: max-autotune}, torchscript, onnxruntime]
"""


def plan(cases: int) -> Header:
    """Models of 50 cases each: five backends at five sizes in two precisions."""
    inputs = {"x": Input(shape=("batch", 3))}
    every = (
        Case(
            model=f"net{number // 50}", factory="zoo.py:net", inputs=inputs, backend=BACKENDS[number % 5],
            precision="fp16" if number // 5 % 2 else "fp32", symbols={"batch": 1 << number // 10 % 5},
        )
        for number in range(cases)
    )  # fmt: skip
    return header(tuple(every), environments={"default": environment(kind="cuda", arch="sm_90", slug="gpu")})


def write_run(root: Path, series: dict[str, int], cases: int, replicates: int) -> Path:
    """Full records, 256 samples in each series, of so many processes a case."""
    full, top = full_record(series), plan(cases)
    top = msgspec.structs.replace(top, policy=Policy(replicates=replicates))
    with store.create(root, top).path.open("ab") as file:  # without a sync for each record
        for replicate in range(replicates):
            for case in top.cases:
                of: Record = msgspec.structs.replace(full, case=case.id, label=case.label, replicate=replicate)
                batches = tuple(msgspec.structs.replace(m, batch=case.batch) for m in of.measurements)
                file.write(codec.encode(msgspec.structs.replace(of, measurements=batches)))
        file.write(codec.encode(msgspec.structs.replace(FOOTER, records=cases * replicates)))
    return Path(file.name)


def report(benchmark: BenchmarkFixture, what: str, *arguments: str) -> None:
    """Run a command of trtbench in a fresh process, and print the time of its processor."""
    command, seconds = [sys.executable, "-m", "bench", *arguments], []

    def run() -> None:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, capture_output=True, check=True, cwd=Path(__file__).parents[2])
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        seconds.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)

    benchmark.pedantic(run, rounds=2)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    benchmark.extra_info["cpu_s"] = min(seconds)
    print(f"\n{what}: {min(seconds):.1f} s of a core, peak RSS of all so far {format_size(peak)}")


@pytest.mark.selfbench
@pytest.mark.parametrize("replicates", [1, 4])
@pytest.mark.parametrize("kind", SERIES)
def test_show_of_ten_thousand_records(benchmark: BenchmarkFixture, tmp_path: Path, kind: str, replicates: int) -> None:
    path = write_run(tmp_path, SERIES[kind], RECORDS // replicates, replicates)
    what = f"show of {RECORDS:,} {kind} records, {replicates} a case ({format_size(path.stat().st_size)})"
    report(benchmark, what, "show", str(path))


@pytest.mark.selfbench
@pytest.mark.parametrize("form", ["text", "json"])
def test_list_of_ten_thousand_cases(benchmark: BenchmarkFixture, tmp_path: Path, form: str) -> None:
    suite = tmp_path / "large.yaml"
    suite.write_text(SUITE.replace("BATCHES", str(list(range(1, 251)))))
    report(benchmark, f"list of 10,000 cases as {form}", "list", str(suite), "--device", "cpu", "--format", form)


@pytest.mark.selfbench
@pytest.mark.parametrize("replicates", [3, 7])
def test_compare_of_two_runs_of_a_thousand_cases(benchmark: BenchmarkFixture, tmp_path: Path, replicates: int) -> None:
    path = write_run(tmp_path, SERIES["GPU"], 1_000, replicates)
    head, rest = path.read_bytes().split(b"\n", 1)
    other = path.with_name("other.jsonl")
    other.write_bytes(head.replace(path.stem.encode(), b"20261124T101500Z-small-1a2b3c4") + b"\n" + rest)
    report(
        benchmark, f"compare of two runs of 1,000 cases, {replicates} processes each", "compare", str(path), str(other)
    )
