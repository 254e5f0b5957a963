"""How long the import of a 200 MB export of nsys takes, and how much memory: printed, not asserted."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.units import format_size
from tests.profiling.nsys_kit import MAIN, PROCESS, TABLES, Report

LABEL = "net/eager/fp32/batch=1"
ITERATIONS, LAYERS, CALLS = 4_600, 150, 2  # in each layer: two ranges, CALLS other calls, one launch and its kernel
NAMES = 300

IMPORT = """
import json, resource, sys, time
from pathlib import Path
from bench.profiling import nsys_reader
base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
start, cpu = time.perf_counter(), time.process_time()
profile = nsys_reader.read(Path(sys.argv[1]), case="c0ffee", label=sys.argv[2])
seconds, cpu = time.perf_counter() - start, time.process_time() - cpu
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
counts = {name: len(getattr(profile, name)) for name in ("ranges", "calls", "kernels", "copies")}
named = sum(kernel.module != "" for kernel in profile.kernels)
print(json.dumps({"seconds": seconds, "cpu": cpu, "peak": peak, "base": base, "named": named, **counts}))
"""


def write(path: Path) -> Path:
    """An export whose every row belongs to the case: an eager model of 150 layers, 4,600 times."""
    report = Report(path)
    report.domain("trtbench", 3)
    period = LAYERS * 10_000
    report.range(LABEL, 1_000, 2_000 + ITERATIONS * period, domain=3)
    names = [
        report.string(f"void cutlass::Kernel<{n}, cutlass::gemm::{'Shape<128, 64, 32>, ' * 20}>") for n in range(NAMES)
    ]
    modules = [report.string(f"module layers.{n}.linear") for n in range(LAYERS)]
    operators = [report.string(f"aten::linear, seq = {n}") for n in range(LAYERS)]
    calls = [report.string(name) for name in ("cudaLaunchKernel_v7000", "cudaStreamIsCapturing_v10000")]
    for number in range(ITERATIONS):
        report.range(f"iteration {number}", 1_500 + number * period, 1_400 + (number + 1) * period, domain=3)
    report.many("NVTX_EVENTS", _ranges(period, modules, operators))
    report.many("CUPTI_ACTIVITY_KIND_RUNTIME", _calls(period, calls))
    report.many("CUPTI_ACTIVITY_KIND_KERNEL", _kernels(period, names))
    return report.close()


def _layers(period: int) -> Iterator[tuple[int, int, int]]:
    """Of each layer of each iteration: when it starts, its number, and its correlation id."""
    for iteration in range(ITERATIONS):
        for layer in range(LAYERS):
            yield 2_000 + iteration * period + layer * 9_900, layer, iteration * LAYERS + layer + 1


def _row(table: str, **fields: Any) -> tuple[Any, ...]:
    columns = [word.partition(":")[0].removesuffix("?") for word in TABLES[table].split()]
    needed = {column for column, word in zip(columns, TABLES[table].split(), strict=True) if not word.endswith("?")}
    return tuple(fields.get(column, 0 if column in needed else None) for column in columns)


def _fill(row: tuple[Any, ...], **places: Any) -> tuple[Any, ...]:
    """A copy of a row with the marks in it (``"start"``) replaced."""
    return tuple(places.get(value, value) if isinstance(value, str) else value for value in row)


def _ranges(period: int, modules: list[int], operators: list[int]) -> Iterator[tuple[Any, ...]]:
    row = _row("NVTX_EVENTS", start="s", end="e", eventType=59, globalTid=MAIN, textId="t", domainId="d")
    for start, layer, _ in _layers(period):
        yield _fill(row, s=start, e=start + 9_000, t=modules[layer], d=3)
        yield _fill(row, s=start + 100, e=start + 8_000, t=operators[layer], d=0)


def _calls(period: int, names: list[int]) -> Iterator[tuple[Any, ...]]:
    row = _row("CUPTI_ACTIVITY_KIND_RUNTIME", start="s", end="e", globalTid=MAIN, correlationId="c", nameId="n")
    total = ITERATIONS * LAYERS
    for start, _, correlation in _layers(period):
        for place in range(CALLS):
            at = start + 200 + 300 * place
            yield _fill(row, s=at, e=at + 100, c=total * (place + 1) + correlation, n=names[1])
        yield _fill(row, s=start + 1_000, e=start + 3_000, c=correlation, n=names[0])


def _kernels(period: int, names: list[int]) -> Iterator[tuple[Any, ...]]:
    row = _row(
        "CUPTI_ACTIVITY_KIND_KERNEL", start="s", end="e", streamId=7, correlationId="c", globalPid=PROCESS,
        demangledName="n", shortName="n", mangledName="n", registersPerThread=168, gridX=4_096, blockX=256,
        dynamicSharedMemory=98_304, localMemoryTotal=108_134_400, gridId="c",
    )  # fmt: skip
    for start, layer, correlation in _layers(period):
        yield _fill(row, s=start + 2_000, e=start + 9_000, c=correlation, n=names[layer])


@pytest.mark.selfbench
def test_import_of_200_mb(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = write(tmp_path / "report.sqlite")
    output = subprocess.run([sys.executable, "-c", IMPORT, str(path), LABEL], capture_output=True, check=True).stdout
    figures = json.loads(output)
    size, peak, base = (format_size(value) for value in (path.stat().st_size, figures["peak"], figures["base"]))
    with capsys.disabled():
        print(f"\n{size} of SQLite: {figures['seconds']:.1f} s ({figures['cpu']:.1f} s of CPU), {peak} at most")
        print(f"{base} before; {figures}")
    assert figures["kernels"] == figures["named"] == ITERATIONS * LAYERS
