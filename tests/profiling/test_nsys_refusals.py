"""Exports of nsys that cannot be read are refused by what is wrong with them."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bench.errors import CaseError
from bench.profiling import nsys_reader
from tests.profiling.nsys_kit import LABEL, RECORDED, Report, capture, launch, read


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "report.sqlite"


def refusal(path: Path) -> CaseError:
    with pytest.raises(CaseError) as caught:
        read(path)
    assert caught.value.where == str(path)
    return caught.value


def test_a_file_that_is_not_there(path: Path) -> None:
    assert refusal(path).what == "cannot read the report: No such file or directory"


def test_an_empty_file(path: Path) -> None:
    path.touch()
    assert refusal(path).what == "the report is empty"


def test_a_raw_report(tmp_path: Path) -> None:
    error = refusal(tmp_path / "report.nsys-rep")
    assert error.fix == "nsys export --type=sqlite --output=report.sqlite report.nsys-rep"


def test_a_file_that_is_no_sqlite(path: Path) -> None:
    path.write_text("PK" * 100)
    assert refusal(path).what == "the report is no SQLite file"


@pytest.mark.parametrize("share", [0.002, 0.5, 0.99])
def test_a_report_that_was_cut_off(path: Path, share: float) -> None:
    report = capture(path)
    launch(report, 2_000, 1)
    whole = report.close().read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    assert "the report is cut off" in refusal(path).what


def test_a_report_whose_pages_are_damaged(path: Path) -> None:
    report = capture(path)
    launch(report, 2_000, 1)
    whole = bytearray(report.close().read_bytes())
    page = int.from_bytes(whole[16:18])
    whole[page:] = bytes([255]) * (len(whole) - page)
    path.write_bytes(whole)
    assert "the report is damaged: " in refusal(path).what


@given(
    name=st.sampled_from(["eager", "graph", "inductor"]),
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=30),
)
@example(name="inductor", changes=[(0.0012, 129)])
def test_whatever_is_damaged_the_report_is_read_or_refused(
    name: str, changes: list[tuple[float, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    content = bytearray((RECORDED / f"{name}.sqlite").read_bytes())
    for place, value in changes:
        content[int(place * len(content))] = value
    path = tmp_path_factory.getbasetemp() / "damaged.sqlite"
    path.write_bytes(content)
    with contextlib.suppress(CaseError):
        profile = nsys_reader.read(path, case="c0ffee", label=f"convnet/{name}/fp16/batch=1")
        assert profile.kernels


def test_an_sqlite_file_of_another_tool(path: Path) -> None:
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE moz_places (id INTEGER, url TEXT)")
    database.close()
    assert refusal(path).what == "an SQLite file, but no export of nsys: its tables are moz_places"


def test_a_newer_layout(path: Path) -> None:
    error = refusal(capture(path, version="2031.1", layout="4.0.1").close())
    assert error.what == "nsys 2031.1, layout 4.0.1 writes a layout that is not known here, the newest is 3"


@pytest.mark.parametrize(
    ("table", "column"),
    [("NVTX_EVENTS", "domainId"), ("CUPTI_ACTIVITY_KIND_RUNTIME", "nameId"), ("CUPTI_ACTIVITY_KIND_KERNEL", "end")],
)
def test_a_column_that_is_missing_is_named_with_the_version(path: Path, table: str, column: str) -> None:
    report = capture(path)
    launch(report, 2_000, 1)
    report.database.execute(f'ALTER TABLE {table} RENAME COLUMN "{column}" TO moved')
    what = refusal(report.close()).what
    assert what.startswith(f"{table} of nsys 2025.3.1.90, layout 3.20.1 has no column {column}")


def test_a_report_without_texts(path: Path) -> None:
    report = capture(path)
    report.database.execute("ALTER TABLE StringIds RENAME TO Strings")
    assert refusal(report.close()).what == "the export of nsys 2025.3.1.90, layout 3.20.1 has no table StringIds"


def test_a_report_without_ranges(path: Path) -> None:
    report = Report(path)
    launch(report, 2_000, 1)
    assert refusal(report.close()).what == "the report has no NVTX ranges"


def test_a_report_without_our_ranges(path: Path) -> None:
    report = Report(path)
    report.domain("NCCL", 3)
    report.range(LABEL, 1_000, 9_000, domain=3)
    launch(report, 2_000, 1)
    assert refusal(report.close()).what == "the report has no ranges of trtbench (NVTX domain trtbench)"


def test_a_report_of_another_case(path: Path) -> None:
    report = Report(path)
    report.domain("trtbench", 3)
    report.range("another case", 1_000, 9_000, domain=3)
    launch(report, 2_000, 1)
    assert refusal(report.close()).what == f"the report has no range of {LABEL}: it is of another case"


def test_a_report_without_iterations(path: Path) -> None:
    report = Report(path)
    report.domain("trtbench", 3)
    report.range(LABEL, 1_000, 9_000, domain=3)
    launch(report, 2_000, 1)
    assert refusal(report.close()).what == f"the range of {LABEL} has no iteration"


def test_a_report_without_kernels_says_why_where_nsys_knows(path: Path) -> None:
    report = capture(path)
    report.call("cudaLaunchKernel_v7000", 2_000, 2_100, 1)
    report.add("ENUM_DIAGNOSTIC_SEVERITY_LEVEL", id=3, name="Error")
    report.add("DIAGNOSTIC_EVENT", severity=3, text="Subscribe returned 999: CUPTI_ERROR_UNKNOWN")
    error = refusal(report.close())
    assert error.what == f"the report has no kernel of {LABEL} (nsys: Subscribe returned 999: CUPTI_ERROR_UNKNOWN)"


def test_a_report_without_kernels_says_what_nsys_warned_of(path: Path) -> None:
    report = capture(path)
    report.add("ENUM_DIAGNOSTIC_SEVERITY_LEVEL", id=2, name="Warning")
    report.add("DIAGNOSTIC_EVENT", severity=2, text="Not all CUDA events might have been collected.")
    report.add("DIAGNOSTIC_EVENT", severity=2, text="CUDA profiling might have not been started correctly.")
    assert refusal(report.close()).what.endswith(" (nsys: CUDA profiling might have not been started correctly.)")
