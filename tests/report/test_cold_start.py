"""Tables of cold starts: what is shown where there is no number, widths, and formats for programs."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import msgspec
import pytest

import bench
from bench.analysis.payback import Payback, RunPayback
from bench.report import cold_start

ROOT = Path(bench.__file__).parent.parent
S = 1_000_000_000
BASE = Payback(
    case="a", label="net/eager/fp32", against="net/eager/fp32", outcome="baseline", build_ns=0.0, start_ns=2.0 * S,
    first_ns=0.1 * S, steady_ns=0.01 * S,
)  # fmt: skip
FAST = Payback(
    case="b", label="net/inductor[mode=max-autotune]/fp32", against="net/eager/fp32", boundary="latency",
    making="measured", build_ns=282.0 * S, start_ns=2.0 * S, first_ns=0.05 * S, steady_ns=0.005 * S, ratio=2.0,
    ratio_low=1.9, ratio_high=2.1, outcome="after", requests=56_391, low=53_824, high=59_514,
)  # fmt: skip
CACHED = Payback(
    case="c", label="net/aoti|x/fp32", against="net/eager/fp32", making="cached", steady_ns=0.004 * S, ratio=2.5,
    why="cached",
)  # fmt: skip
SLOW = Payback(
    case="d", label="net/torchscript/fp32", against="net/eager/fp32", build_ns=1.0 * S, making="measured",
    start_ns=2.0 * S, first_ns=1.0 * S, steady_ns=0.0101 * S, ratio=0.99, ratio_low=0.97, ratio_high=1.01,
    outcome="never", low=19_000,
)  # fmt: skip
FAILED = Payback(case="e", label="net/onnxruntime/fp32", why="Timeout")
WHOLE = RunPayback(
    run="R", suite="suites/my net.yaml", cold=False, baseline="eager", cases=(BASE, FAST, CACHED, SLOW, FAILED)
)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The home folder, which is the current one, with the suites of runs."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "suites").mkdir()
    for name in ("suites/my net.yaml", "my net.yaml"):
        (tmp_path / name).touch()


def test_the_text_says_what_is_known_and_how_to_get_the_rest() -> None:
    text = cold_start.render(WHOLE, rate=50, width=150)
    lines = {line.partition("  ")[0]: line for line in text.splitlines()}
    assert "282 s" in lines[FAST.label]
    assert "2.00x  56,400 [53,800, 59,500]" in lines[FAST.label]
    assert lines[FAST.label].endswith("18.8 min")
    assert "unknown (cached)" in lines[CACHED.label]
    assert "never [19,000, never]" in lines[SLOW.label]
    assert "trtbench run 'suites/my net.yaml' --cold" in text
    of_home = msgspec.structs.replace(WHOLE, suite="~/my net.yaml")
    assert "trtbench run ~/'my net.yaml' --cold" in cold_start.render(of_home, width=150)
    removed = msgspec.structs.replace(WHOLE, suite="removed.yaml")
    assert "trtbench run SUITE --cold" in cold_start.render(removed, width=150)
    assert "unknown, Timeout: net/onnxruntime/fp32" in text


def test_narrow_tables_keep_the_answer() -> None:
    text = cold_start.render(WHOLE, width=80)
    assert max(map(len, text.splitlines())) <= 80
    assert "pays back after" in text
    assert "not shown at 80 columns: first call" in text


def test_markdown_csv_and_json_have_every_case() -> None:
    page = cold_start.markdown(WHOLE, rate=50)
    assert "| net/aoti\\|x/fp32 | cached |" in page
    rows = list(csv.DictReader(io.StringIO(cold_start.csv([WHOLE, WHOLE], rate=50))))
    assert len(rows) == 10
    assert (rows[1]["requests"], rows[1]["low"], rows[2]["requests"]) == ("56391", "53824", "")
    assert float(rows[1]["first_answer_ns"]) == 284.05 * S
    (whole,) = json.loads(cold_start.json([WHOLE]))["runs"]
    assert [case["outcome"] for case in whole["cases"]] == ["baseline", "after", "unknown", "never", "unknown"]
    assert whole["cases"][1]["hours"] is None
    assert json.loads(cold_start.json([WHOLE], rate=50))["runs"][0]["cases"][1]["hours"] == 56_391 / 50 / 3600


def test_the_page_shows_the_real_output_of_a_stored_run() -> None:
    page = (ROOT / "docs" / "cold-start.md").read_text()
    run = bench.read(next((ROOT / "results").rglob("20261124T031036Z-*.jsonl")))
    shown = cold_start.render(bench.payback(run, select="model=resnet50"), rate=50, width=132)
    assert shown.rstrip() in page


def test_a_run_without_records_has_a_sentence_and_no_table() -> None:
    empty = RunPayback(run="R", suite="net.yaml", cold=False, baseline="eager", cases=())
    assert cold_start.render(empty) == f"R\n\n{cold_start.NOTHING}\n"
    assert cold_start.markdown(empty) == f"`R`: {cold_start.NOTHING}.\n"
