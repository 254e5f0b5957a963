"""Nsight Systems is run with what it needs, its graphs are read, and each way to fail is told."""

from __future__ import annotations

import os
import select
import signal
import sqlite3
import sys
from pathlib import Path

import pytest

from bench.errors import CaseError, Unavailable
from bench.profiling import nsys, programs

pytestmark = pytest.mark.workers

# A stand-in: profiling runs the command after the options, exporting writes a report of two replays.
NSYS = """#!{python}
import sqlite3, subprocess, sys
verb, *rest = sys.argv[1:]
options = [word for word in rest if word.startswith("--")]
output = next(word for word in options if word.startswith("--output=")).partition("=")[2]
if verb == "profile":
    assert "--cuda-graph-trace=graph" in options
    code = subprocess.run([word for word in rest if not word.startswith("--")]).returncode
    open(output, "w").write("report")
    sys.exit(code)
assert open(rest[-1]).read() == "report"
with sqlite3.connect(output) as database:
    database.execute('CREATE TABLE CUPTI_ACTIVITY_KIND_GRAPH_TRACE (start INT, "end" INT)')
    database.executemany("INSERT INTO CUPTI_ACTIVITY_KIND_GRAPH_TRACE VALUES (?, ?)", [(500, 720), (100, 310)])
"""


def hanging(told: Path) -> tuple[str, ...]:
    """A command that writes its process id to a file and sleeps."""
    return ("sh", "-c", 'echo $$ > "$0"; exec sleep 600', str(told))


def await_end(pid: int) -> None:
    try:
        process = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([process], [], [], 60)[0], f"process {pid} lives on"
    finally:
        os.close(process)


@pytest.fixture
def on_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "bin"
    folder.mkdir()
    tool = folder / "nsys"
    tool.write_text(NSYS.format(python=sys.executable))
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder


def test_a_profiled_command_gives_its_graphs_in_the_order_of_their_launch(on_path: Path, tmp_path: Path) -> None:
    touched = tmp_path / "touched"
    report = nsys.profile(("touch", str(touched)), os.environ, tmp_path, 60)
    assert touched.exists()
    assert nsys.graph_replays(report) == [210, 220]


def test_a_command_that_fails_under_the_profiler_is_told_by_its_last_line(on_path: Path, tmp_path: Path) -> None:
    with pytest.raises(CaseError, match=r"nsys profile failed: .*No such file or directory"):
        nsys.profile(("ls", "/nowhere/at/all"), os.environ, tmp_path, 60)


def test_a_command_that_hangs_under_the_profiler_is_killed_with_it(on_path: Path, tmp_path: Path) -> None:
    told = tmp_path / "pid"
    with pytest.raises(CaseError, match="nsys profile took more than"):
        nsys.profile(hanging(told), os.environ, tmp_path, 2)
    await_end(int(told.read_text()))


def test_an_interrupt_ends_the_profiler_and_its_command(on_path: Path, tmp_path: Path) -> None:
    told = tmp_path / "pid"

    def interrupt(*_: object) -> None:
        if told.exists() and told.read_text().endswith("\n"):
            signal.setitimer(signal.ITIMER_REAL, 0)
            raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.1, 0.1)
    try:
        with pytest.raises(KeyboardInterrupt):
            nsys.profile(hanging(told), os.environ, tmp_path, 60)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    await_end(int(told.read_text()))


def test_a_profiled_process_in_a_session_of_its_own_ends_with_its_parent(on_path: Path, tmp_path: Path) -> None:
    tool = on_path / "nsys"
    tool.write_text(tool.read_text().replace('startswith("--")]).', 'startswith("--")], start_new_session=True).'))
    told = tmp_path / "pid"
    code = (
        "import os, signal, sys; from bench.measure.selftest.readings import end_with_parent; end_with_parent()\n"
        "print(os.getpid(), file=open(sys.argv[1], 'w'), flush=True)\n"
        "signal.pause()"
    )
    with pytest.raises(CaseError, match="nsys profile took more than"):
        nsys.profile((sys.executable, "-c", code, str(told)), os.environ, tmp_path, 5)
    await_end(int(told.read_text()))


def test_without_nsys_it_is_unavailable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(programs.PLACES, "nsys", ())
    with pytest.raises(Unavailable, match="nsys is not on PATH"):
        nsys.profile(("true",), os.environ, tmp_path, 60)


def test_a_report_without_graphs_says_so(tmp_path: Path) -> None:
    path = tmp_path / "empty.sqlite"
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE StringIds (id INT)")
    with pytest.raises(CaseError, match="holds no CUDA graph"):
        nsys.graph_replays(path)
