"""Frames of runs: one row per record and boundary, with the statistics of NumPy."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import numpy as np
import pytest

from bench import store
from bench.model.run import Accuracy, Failure, Measurement, Record
from bench.store import codec
from tests.store.kit import FOOTER, GOLDEN, case, environment, header, record
from tests.store.test_files import started

SLOW = case(
    "bert", backend="inductor", options={"mode": "max-autotune"}, symbols={"batch": 8, "seq": 128}, toolchain="old"
)
FAST = case("net", symbols={"batch": 2, "run": 5})


def measured_run(root: Path) -> Path:
    old = environment(arch="sm_80", device="A100", slug="a100")
    writer = store.create(root, header((FAST, SLOW), environments={"default": environment(), "old": old}))
    loop = Measurement(
        boundary="throughput", samples=(5, 7), batch=8, calls=100, window_ns=2_000_000_000, lane_count=2, depth=2,
        threads=2,
    )  # fmt: skip
    series = tuple(int(value) for value in np.random.default_rng(0).integers(1, 10**6, 101))
    latency = Measurement(boundary="latency", samples=series, batch=8)
    slow = msgspec.structs.replace(record(SLOW), measurements=(latency, loop), accuracy=Accuracy(ok=False, outputs=()))
    writer.append(slow)
    writer.append(
        msgspec.structs.replace(record(FAST, samples=()), failure=Failure(kind="Crash", stage="x", message=""))
    )
    writer.append(msgspec.structs.replace(record(FAST, replicate=1), accuracy=Accuracy(ok=True, outputs=())))
    writer.finish(FOOTER)
    return writer.path


def test_a_frame_has_one_row_per_record_and_boundary(tmp_path: Path) -> None:
    table = store.load_frame([measured_run(tmp_path)])
    assert table["boundary"].tolist() == ["latency", "throughput", "", "latency"]
    assert table["label"].tolist() == [SLOW.label, SLOW.label, FAST.label, FAST.label]
    assert table["replicate"].tolist() == [0, 0, 0, 1]
    assert table["batch"].tolist() == [8, 8, 2, 2]
    assert table["options"].tolist() == ["mode=max-autotune", "mode=max-autotune", "", ""]
    assert table["seq"].dropna().tolist() == [128, 128]
    assert table["symbol_run"].dropna().tolist() == [5, 5]
    assert table["run"].unique().tolist() == [header().run]
    assert table["device"].tolist() == ["A100", "A100", "simulated", "simulated"]
    assert table["environment"].nunique() == 2
    assert table["failure"].tolist() == ["", "", "Crash", ""]
    assert table["ok"].isna().tolist() == [False, False, True, False]
    assert table["ok"].dropna().tolist() == [False, False, True]


def test_a_frames_statistics_are_those_of_numpy(tmp_path: Path) -> None:
    path = measured_run(tmp_path)
    first = store.load_frame([path]).iloc[0]
    series = store.read(path).records[0].measurements[0].samples
    expected = np.quantile(series, [0, 0.5, 0.9, 0.95])
    assert first[["min_ns", "median_ns", "p90_ns", "p95_ns"]].tolist() == pytest.approx(expected.tolist())
    assert first["n"] == 101


def test_a_frames_rate_is_inferences_over_the_window(tmp_path: Path) -> None:
    table = store.load_frame([measured_run(tmp_path)])
    assert table["qps"].dropna().tolist() == [400.0]
    loop = table.loc[table["boundary"] == "throughput", ["calls", "lanes", "depth", "threads"]]
    assert loop.iloc[0].tolist() == [100, 2, 2, 2]


def test_frames_of_values_and_of_files_are_the_same_over_several_runs(tmp_path: Path) -> None:
    import pandas as pd

    paths = [measured_run(tmp_path), GOLDEN]
    loaded = store.load_frame(paths)
    pd.testing.assert_frame_equal(loaded, store.frame(store.read(path) for path in paths))
    assert loaded["run"].nunique() == 2


def test_the_page_describes_every_column_of_a_frame() -> None:
    page = Path(__file__).parents[2].joinpath("docs", "results-format.md").read_text()
    section = page.partition("## As a pandas frame")[2].partition("\n## ")[0]
    cells = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
    assert set(store.frame([]).columns) == {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}


def test_a_frame_of_nothing_has_the_columns_and_no_row() -> None:
    table = store.frame([])
    assert len(table) == 0
    assert {"run", "case", "boundary", "median_ns", "qps", "ok", "failure"} <= set(table.columns)


def test_a_frame_tells_what_could_not_be_read_and_keeps_records_of_unknown_cases(tmp_path: Path) -> None:
    path = started(tmp_path, 1)
    stray = Record(case="feedfeedfeed", label="stray", measurements=(Measurement(boundary="gpu", samples=()),))
    huge = Measurement(boundary="gpu", samples=(2**70,))
    with path.open("ab") as file:
        file.write(
            codec.encode(stray) + codec.encode(msgspec.structs.replace(stray, replicate=1, measurements=(huge,)))
        )
        file.write(b"torn")
    for table in (store.load_frame([path]), store.frame([store.read(path)])):
        assert table["label"].tolist() == [case().label, "stray"]
        assert table["model"].tolist() == ["net", ""]
        assert table["n"].tolist() == [3, 0]
        damage = " ".join(table.attrs["damage"])
        assert "a time of gpu is 2^70 or more" in damage
        assert "is torn" in damage
