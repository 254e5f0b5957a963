"""How long 100,000 records take to load into a frame, and how much memory: printed, not asserted."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest

from bench import store
from bench.model.run import Accuracy, Measurement, Phase, Record
from bench.model.telemetry import HostFigures, Telemetry
from bench.store import codec
from bench.units import format_size
from tests.store.kit import FOOTER, case, header

RUNS, CASES, REPLICATES = 10, 1000, 10
SERIES = {
    "CPU": {"latency": 1_500_000, "throughput": 3_000_000},
    "GPU": {
        "gpu": 550_000,
        "enqueue": 60_000,
        "latency": 620_000,
        "h2d": 50_000,
        "compute": 551_000,
        "d2h": 9_000,
        "throughput": 1_100_000,
    },
}

LOAD = """
import json, resource, sys, time
from pathlib import Path
from bench import store
start = time.perf_counter()
table = store.load_frame(store.runs(Path(sys.argv[1]), rehearsals=True))
seconds = time.perf_counter() - start
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
records = len(table.drop_duplicates(["run", "case", "replicate"]))
print(json.dumps({"seconds": seconds, "peak": peak, "rows": len(table), "records": records}))
"""


def full_record(series: dict[str, int]) -> Record:
    """A record with 256 samples in each series."""
    rng = np.random.default_rng(0)
    measured = tuple(
        Measurement(boundary=name, samples=tuple(rng.integers(ns, ns * 1.05, 256).tolist()), stop="max_samples")  # type: ignore[arg-type]
        for name, ns in series.items()
    )
    return Record(
        case="",
        label="",
        phases=tuple(Phase(name=name, ns=1_234_567_890) for name in ("import", "load", "compile", "first_call")),
        measurements=measured,
        accuracy=Accuracy(ok=True, outputs=()),
        telemetry=Telemetry(host=HostFigures(rss_bytes=1_000_000_000, peak_rss_bytes=2_000_000_000)),
    )


def write_runs(root: Path, series: dict[str, int]) -> None:
    """``RUNS`` files of full records: 256 samples in each series."""
    full = full_record(series)
    cases = tuple(case(symbols={"size": number + 1}) for number in range(CASES))
    for number in range(RUNS):
        top = header(cases, run=f"20261123T1015{number:02d}Z-large-1a2b3c4")
        path = store.create(root, top).path
        with path.open("ab") as file:  # without a sync for each record
            for replicate in range(REPLICATES):
                for asked in cases:
                    file.write(
                        codec.encode(
                            msgspec.structs.replace(full, case=asked.id, label=asked.label, replicate=replicate)
                        )
                    )
            file.write(codec.encode(FOOTER))


@pytest.mark.selfbench
@pytest.mark.parametrize("kind", SERIES)
def test_a_hundred_thousand_records_load_into_a_frame(tmp_path: Path, kind: str) -> None:
    write_runs(tmp_path, SERIES[kind])
    size = sum(path.stat().st_size for path in store.runs(tmp_path, rehearsals=True))
    command = [sys.executable, "-c", LOAD, str(tmp_path)]
    done = subprocess.run(command, capture_output=True, check=True, cwd=Path(__file__).parents[2])
    found = json.loads(done.stdout)
    for path in store.runs(tmp_path, rehearsals=True):
        path.unlink()
    total = RUNS * CASES * REPLICATES
    print(
        f"\n{total:,} {kind} records of {len(SERIES[kind])} x 256 samples ({format_size(size)}):"
        f" {found['seconds']:.1f} s (limit 10 s), peak RSS {format_size(found['peak'])} (limit 2 GB)"
    )
    assert found["records"] == total
    assert found["rows"] == total * len(SERIES[kind])
