"""`trtbench report` and bench.write_report: which runs, which errors, and the file."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import msgspec
import pytest

import bench
from bench.cli import report as command
from bench.cli.arguments import parse
from bench.cli.commands import main
from bench.errors import StoreError, UsageError
from tests.report.conftest import example
from tests.report.html.kit import data_of, renamed, rows_of, stored


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A store with two runs, the second one newer."""
    folder = tmp_path / "results"
    stored(folder, example(1))
    stored(folder, renamed(example(1), "20261124T101500Z-smoke-1a2b3c4"))
    return folder


def ids(path: Path) -> list[str]:
    return [run["id"] for run in rows_of(data_of(path.read_text())["runs"])]


def test_without_names_all_runs_are_shown_the_newest_first(root: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "page.html"
    assert main(["report", "--store", str(root), "--out", str(out)]) == 0
    assert ids(out) == ["20261124T101500Z-smoke-1a2b3c4", "20261123T101500Z-smoke-1a2b3c4"]
    assert capsys.readouterr().out.startswith(f"{out}: 34 cases of 2 runs, ")


def test_a_cut_profile_is_a_message_of_two_lines(root: Path, tmp_path: Path, capsys) -> None:
    next(root.glob("*/*/*.jsonl")).with_name("profile-20261128T120000Z-x-1a2b3c4.json").write_text(
        '{"line": 1', "utf-8"
    )
    assert main(["report", "--store", str(root), "--out", str(tmp_path / "page.html")]) == 0
    first, second = capsys.readouterr().err.splitlines()
    assert "not a file of profiles" in first
    assert second.startswith("  fix: ")


def test_named_runs_alone_are_shown_in_their_order(root: Path, tmp_path: Path) -> None:
    report = bench.write_report("20261123", tmp_path / "page.html", store=root)
    assert (report.runs, report.cases) == (1, 17)
    names = ["20261123T101500Z-smoke-1a2b3c4", "20261124T101500Z-smoke-1a2b3c4"]
    bench.write_report(names, tmp_path / "page.html", store=root)
    assert ids(tmp_path / "page.html") == names


def test_a_selection_shows_its_cases_alone(root: Path, tmp_path: Path) -> None:
    report = bench.write_report(out=tmp_path / "page.html", store=root, select="backend=eager and model=bert")
    assert report.cases == 4
    cases = rows_of(data_of((tmp_path / "page.html").read_text())["cases"])
    assert {(case["model"], case["backend"]) for case in cases} == {("bert", "eager")}


def test_a_selection_is_about_the_cases_of_all_runs_together(tmp_path: Path, capsys) -> None:
    whole = example(1)
    for name, model in (("20261123T101500Z-a-1a2b3c4", "bert"), ("20261124T101500Z-b-1a2b3c4", "resnet18")):
        cases = tuple(case for case in whole.header.cases if case.model == model)
        records = tuple(each for each in whole.records if each.case in {case.id for case in cases})
        stored(tmp_path / "results", msgspec.structs.replace(renamed(whole, name, cases=cases), records=records))
    where, out = ("--store", str(tmp_path / "results")), tmp_path / "page.html"
    both = "model=bert or model=resnet18"
    for select, runs in ((both, 2), ("model=resnet18 or seq=128", 2)):
        assert main(["report", *where, "--select", select, "--out", str(out)]) == 0
        assert len(ids(out)) == runs
    assert main(["report", *where, "--select", "model=third", "--out", str(out)]) == 2
    assert "known: resnet18, bert" in capsys.readouterr().err
    named = ["show", "20261123", "20261124", *where, "--select", both]
    assert main([*named, "--format", "csv"]) == 0
    shown = capsys.readouterr().out
    assert "20261123T101500Z-a" in shown
    assert "20261124T101500Z-b" in shown
    assert [main([*named, option]) for option in ("--time", "--cold-start", "--as=trtexec")] == [0, 0, 0]


def test_a_store_without_a_run_that_can_be_read_is_an_error_and_the_page_of_before_stays(
    tmp_path: Path, capsys
) -> None:
    store = tmp_path / "results"
    store.mkdir()
    out = tmp_path / "page.html"
    out.write_text("before")
    report = ["report", "--store", str(store), "--out", str(out)]
    assert main(report) == 2
    told = f"trtbench: there are no runs in {store}\n  fix: trtbench run suites/smoke.yaml, or --store DIR\n"
    assert capsys.readouterr().err == told
    path = stored(store, example(1))
    path.write_text("no run\n")
    assert main(report) == 2
    told = capsys.readouterr().err
    assert f"no run in {store} can be read: {path}:" in told
    assert f"fix: trtbench runs --store {store} says why of each; " in told
    assert out.read_text() == "before"


def test_a_page_that_is_watched_waits_for_the_first_run(tmp_path: Path) -> None:
    store, out = tmp_path / "results", tmp_path / "page.html"
    store.mkdir()
    assert bench.write_report(out=out, store=store, refresh=10).runs == 0
    arguments = parse(["report", "--store", str(store), "--out", str(out), "--watch"])
    steps = iter([True, False])

    def wait() -> bool:
        goes_on = next(steps)
        if goes_on:
            stored(store, example(1))
        return goes_on

    command.watch(arguments, wait)
    assert len(ids(out)) == 1


@pytest.mark.parametrize("unreadable", [False, True])
def test_a_page_that_is_there_stays_until_there_is_a_run(tmp_path: Path, capsys, monkeypatch, unreadable: bool) -> None:
    store, out = tmp_path / "results", tmp_path / "page.html"
    store.mkdir()
    if unreadable:
        stored(store, example(1)).write_text("no run\n")
    out.write_text("before")
    seen: list[str] = []

    def wait(_: threading.Event, seconds: float) -> bool:
        """Whether it ends: after the look that finds a run."""
        seen.append(out.read_text())
        if len(seen) == 1:
            stored(store, renamed(example(1), "20261124T101500Z-smoke-1a2b3c4"))
        return len(seen) == 2

    monkeypatch.setattr(threading.Event, "wait", wait)
    assert main(["report", "--store", str(store), "--out", str(out), "--watch"]) == 0
    assert seen[0] == "before"
    assert ids(out) == ["20261124T101500Z-smoke-1a2b3c4"]
    note, *_ = capsys.readouterr().err.splitlines()
    why = f"no run in {store} can be read: " if unreadable else f"there are no runs in {store}; "
    assert note.startswith(f"trtbench: note: {why}")
    assert note.endswith(f"; {out} stays until there is one")


def test_a_torn_file_and_one_of_another_kind_are_problems_that_the_page_names(
    root: Path, tmp_path: Path, capsys
) -> None:
    torn, other = sorted(root.rglob("*.jsonl"))
    torn.write_bytes(torn.read_bytes()[:-2000])
    other.write_text("no run\n")
    out = tmp_path / "page.html"
    assert main(["report", "--store", str(root), "--out", str(out)]) == 0
    problems = data_of(out.read_text())["problems"]
    assert len(problems) == 2
    assert any("torn" in problem for problem in problems)
    assert "torn" in capsys.readouterr().err
    assert ids(out) == [torn.stem]


def test_a_named_run_that_cannot_be_read_is_an_error(root: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.jsonl"
    broken.write_text("no run\n")
    with pytest.raises(StoreError):
        bench.write_report(broken, tmp_path / "page.html", store=root)
    assert not (tmp_path / "page.html").exists()


def test_a_copy_of_a_run_in_the_store_is_shown_once(root: Path, tmp_path: Path) -> None:
    path = next(root.rglob("20261123*.jsonl"))
    copy = path.parent.parent / "elsewhere" / path.name
    copy.parent.mkdir()
    copy.write_bytes(path.read_bytes())
    report = bench.write_report(out=tmp_path / "page.html", store=root)
    assert report.runs == 2
    assert "is in" in report.problems[0]
    with pytest.raises(UsageError, match="named twice"):
        bench.write_report([path, copy], tmp_path / "page.html", store=root)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--out", "nowhere/page.html"], "there is no folder nowhere"),
        (["--out", "."], "is a folder"),
        (["--out", "/proc/page.html"], "--out: /proc/page.html cannot be written: "),
        (["--store", "nowhere"], "there is no folder nowhere"),
        (["--select", "model=resnet19"], "unknown model 'resnet19'. Did you mean 'resnet18'?"),
        (["--baseline", "tensorrt"], "no case has the backend 'tensorrt'"),
        (["20991231"], "no run"),
        (["--out", ""], "it is empty"),
    ],
)
def test_bad_input_is_one_error_and_exit_code_2(
    root: Path, tmp_path: Path, monkeypatch, capsys, options: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    arguments = ["report", "--store", str(root), "--out", "page.html", *options]
    try:
        code = main(arguments)
    except SystemExit as error:  # of a wrong command line
        code = error.code
    assert code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "page.html").exists()


def test_a_page_is_replaced_whole_with_its_permissions(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    out.write_text("before")
    out.chmod(0o640)
    reader = out.open()
    bench.write_report(out=out, store=root)
    assert reader.read() == "before"  # who reads has the old page
    reader.close()
    assert out.read_text().startswith("<!doctype html>")
    assert stat.S_IMODE(out.stat().st_mode) == 0o640
    assert [path.name for path in tmp_path.iterdir() if path.is_file()] == ["page.html"]


def test_a_link_stays_one(root: Path, tmp_path: Path) -> None:
    (tmp_path / "page.html").symlink_to(tmp_path / "real.html")
    (tmp_path / "real.html").write_text("before")
    bench.write_report(out=tmp_path / "page.html", store=root)
    assert os.path.islink(tmp_path / "page.html")
    assert (tmp_path / "real.html").read_text().startswith("<!doctype html>")


def test_watching_writes_the_page_whenever_a_run_grows_and_ends_with_one_that_stays(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    arguments = parse(["report", "--store", str(root), "--out", str(out), "--watch"])
    steps = iter(["same", "grown", "stop"])
    seen: list[tuple[str, bool]] = []

    def wait() -> bool:
        step = next(steps)
        seen.append((step, out.exists()))
        if step == "grown":
            stored(root, renamed(example(1), "20261125T101500Z-smoke-1a2b3c4"))
        return step != "stop"

    command.watch(arguments, wait)
    assert seen == [("same", False), ("grown", False), ("stop", True)]
    assert ids(out)[0] == "20261125T101500Z-smoke-1a2b3c4"
    assert data_of(out.read_text())["refresh"] == 0


def test_watching_sees_new_profiles(root: Path, tmp_path: Path) -> None:
    out = tmp_path / "page.html"
    arguments = parse(["report", "--store", str(root), "--out", str(out), "--watch"])
    profile = next(root.glob("*/*/*.jsonl")).with_name("profile-20261128T120000Z-x-1a2b3c4.json")
    steps = iter(["profiled", "stop"])
    written = []

    def wait() -> bool:
        step = next(steps)
        written.append(out.exists())
        if step == "profiled":
            profile.write_text("{}", encoding="utf-8")
        return step != "stop"

    command.watch(arguments, wait)
    assert written == [False, True]
    assert any(profile.name in problem for problem in data_of(out.read_text())["problems"])


def test_open_shows_the_page_in_the_users_browser(root: Path, tmp_path: Path) -> None:
    script = tmp_path / "browser"
    script.write_text(f'#!/bin/sh\necho "$1" > {tmp_path}/shown\n')
    script.chmod(0o755)
    command = [
        sys.executable,
        "-m",
        "bench",
        "report",
        "--store",
        str(root),
        "--out",
        str(tmp_path / "a b.html"),
        "--open",
    ]
    environment = os.environ | {"BROWSER": f"{script} %s", "PYTHONPATH": str(Path(bench.__file__).parents[1])}
    subprocess.run(command, env=environment, cwd=tmp_path, check=True, capture_output=True)
    assert (tmp_path / "shown").read_text().strip() == (tmp_path / "a b.html").as_uri()
