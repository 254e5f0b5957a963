"""Nsight Systems around a worker: its options are those that it has, and each way to fail says what to do."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from bench.errors import CaseError, Unavailable
from bench.measure.profilers import NODES, STARTS
from bench.model.profile import Range
from bench.profiling import nsys_profile, programs
from bench.profiling.nsys_profile import REPORT, Nsys

pytestmark = pytest.mark.workers

GOLDEN = Path(__file__).parents[1] / "golden" / "nsys" / "eager.sqlite"
LABEL = "convnet/eager/fp16/batch=1"
OPTIONS = "trace capture-range capture-range-end kill cuda-graph-trace wait sample cpuctxsw force-overwrite output"

# A stand-in: it has the options that it is written with, runs the command, and exports what lies beside it.
STAND_IN = """#!{python}
import shutil, subprocess, sys
from pathlib import Path
verb, *rest = sys.argv[1:]
if verb == "--version":
    print("NVIDIA Nsight Systems version 2025.3.1.90-253135822126v0")
elif verb == "profile" and rest == ["--help"]:
    print("usage: nsys profile [<args>]\\n" + "\\n".join("\\t--{{}}=\\n".format(name) for name in {options!r}.split()))
    print("Possible values are 'cuda', 'nvtx', {traces}.")
elif verb == "profile":
    options = [word for word in rest if word.startswith("--")]
    assert all(word[2:].partition("=")[0] in {options!r}.split() for word in options), options
    code = subprocess.run(rest[len(options):]).returncode
    Path(options[-1].removeprefix("--output=")).write_text("report")
    sys.exit(code)
elif verb == "export":
    source, target = Path(rest[-1]), rest[-2].removeprefix("--output=")
    if source.read_text() != "report":
        sys.exit("Importer error status: an unknown error occurred: No space left on device")
    shutil.copyfile({golden!r}, target)
"""


@pytest.fixture(autouse=True)
def nowhere_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that has the real one too is asked only on PATH."""
    monkeypatch.setitem(programs.PLACES, "nsys", ())


def install(folder: Path, monkeypatch: pytest.MonkeyPatch, options: str = OPTIONS, traces: str = "'cublas'") -> None:
    folder.mkdir()
    program = folder / "nsys"
    program.write_text(STAND_IN.format(python=sys.executable, options=options, traces=traces, golden=str(GOLDEN)))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")
    nsys_profile._options.cache_clear()


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path / "bin", monkeypatch)


def test_the_worker_runs_under_nsys_and_its_report_is_read(installed: None, tmp_path: Path) -> None:
    tool = Nsys()
    assert tool.missing() is None
    worker = (sys.executable, "-c", "print('replied')")
    log = subprocess.run([*tool.prefix(tmp_path), *worker], capture_output=True, text=True, check=True).stdout
    assert log == "replied\n"
    profile = tool.read(tmp_path, "c0ffee", LABEL, log)
    assert (profile.tool, profile.case, len(profile.kernels)) == ("nsys", "c0ffee", 72)
    assert list(tool.raw(tmp_path)) == [tmp_path / REPORT]
    assert not list(tmp_path.glob("*.sqlite"))


def test_the_capture_leaves_the_worker_alive_and_graphs_have_nodes(installed: None, tmp_path: Path) -> None:
    words = Nsys().prefix(tmp_path)
    assert words[1] == "profile"
    wanted = {"--capture-range=cudaProfilerApi", "--capture-range-end=stop", "--kill=none", "--cuda-graph-trace=node"}
    assert wanted | {"--wait=primary", "--sample=none", "--cpuctxsw=none"} <= set(words)


def test_nodes_that_the_runtime_wrote_down_are_put_into_the_iterations(installed: None, tmp_path: Path) -> None:
    (tmp_path / REPORT).write_text("report")
    plain = Nsys().read(tmp_path, "c0ffee", LABEL)
    starts = [each.start for each in plain.ranges if each.kind == "iteration"]
    day = 1_764_000_000 * 1_000_000_000  # the worker's clock has another zero
    node = Range(name="/conv/Conv", kind="layer", start=day + starts[1] + 1000, end=day + starts[1] + 2000, thread=5)
    (tmp_path / NODES).write_bytes(msgspec.json.encode([node]))
    (tmp_path / STARTS).write_bytes(msgspec.json.encode([day + start for start in starts]))
    profile = Nsys().read(tmp_path, "c0ffee", LABEL)
    (added,) = set(profile.ranges) - set(plain.ranges)
    assert (added.name, added.start - starts[1]) == ("/conv/Conv", 1000)
    assert added.thread in {each.thread for each in plain.ranges if each.kind == "iteration"}
    assert profile.notes == plain.notes


def test_nodes_outside_of_all_iterations_are_said_so(installed: None, tmp_path: Path) -> None:
    (tmp_path / REPORT).write_text("report")
    (tmp_path / NODES).write_bytes(b"[]")
    (tmp_path / STARTS).write_bytes(msgspec.json.encode(list(range(10))))
    profile = Nsys().read(tmp_path, "c0ffee", LABEL)
    assert "no node that the runtime wrote down lies in an iteration" in profile.notes[-1]


@pytest.mark.parametrize(
    ("traces", "expected"), [("'cublas', 'cudnn'", "cuda,nvtx,cublas,cudnn"), ("'cublas-verbose'", "cuda,nvtx,cublas")]
)
def test_only_what_this_nsys_can_trace_is_traced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, traces: str, expected: str
) -> None:
    install(tmp_path / "bin", monkeypatch, traces=traces)
    assert f"--trace={expected}" in Nsys().prefix(tmp_path)


def test_an_option_that_only_newer_versions_have_is_left_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path / "bin", monkeypatch, options=OPTIONS.replace(" wait", ""))
    assert "--wait=primary" not in Nsys().prefix(tmp_path)


def test_an_nsys_that_is_too_old_is_named_with_what_it_lacks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    install(tmp_path / "bin", monkeypatch, options=OPTIONS.replace("cuda-graph-trace ", ""))
    missing = Nsys().missing()
    assert missing is not None
    assert missing.reason == "nsys 2025.3.1.90 is too old: it has no --cuda-graph-trace"
    assert missing.fix.startswith("Nsight Systems 2023 or later")


def test_without_nsys_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    missing = Nsys().missing()
    assert missing is not None
    assert missing.reason == "nsys is not on PATH"
    assert missing.fix == "install Nsight Systems: developer.nvidia.com/nsight-systems"
    with pytest.raises(Unavailable, match="nsys is not on PATH"):
        Nsys().prefix(tmp_path)


def test_the_newest_installed_version_is_taken_where_path_has_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version in ("2024.10.1", "2025.3.1", "2025.10.2"):
        program = tmp_path / "opt/nvidia/nsight-systems" / version / "bin/nsys"
        program.parent.mkdir(parents=True)
        program.touch()
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(programs, "ROOT", tmp_path)
    places = ("nowhere/nsys", "opt/nvidia/nsight-systems*/*/bin/nsys", "opt/nvidia/nsight-systems*/2024*/bin/nsys")
    monkeypatch.setitem(programs.PLACES, "nsys", places)
    assert programs.find("nsys").endswith("/2025.10.2/bin/nsys")


NOWHERE = 'boost::filesystem::create_directories: Permission denied: "/tmp/nvidia"'
ENDED = "The target application terminated with signal 4 (SIGILL)"


@pytest.mark.parametrize(
    ("log", "line", "fix"),
    [
        (
            "Capture range started in the application.\nwrite: No space left on device\nGenerated:\n",
            ": write: No space left on device",
            "free some disk space, or TMPDIR=DIR with more of it",
        ),
        (
            f"{NOWHERE}\n",
            f": {NOWHERE}",
            "TMPDIR=DIR of your own, which this user may write to",
        ),
        (
            "Subscribe returned 999: CUPTI_ERROR_UNKNOWN\n",
            ": Subscribe returned 999: CUPTI_ERROR_UNKNOWN",
            "end other profilers of this GPU (DCGM: dcgmi profile --pause), then profile the case again",
        ),
        (
            f"{ENDED}\nProcessing events...\nGenerated:\n\tNo reports were generated\n",
            f": {ENDED}",
            "nsys status -e shows what nsys lacks here",
        ),
        ("", "", "nsys status -e shows what nsys lacks here"),
    ],
)
def test_no_report_is_told_by_the_line_that_says_why(
    installed: None, tmp_path: Path, log: str, line: str, fix: str
) -> None:
    with pytest.raises(CaseError) as caught:
        Nsys().read(tmp_path, "c0ffee", LABEL, log)
    assert (caught.value.what, caught.value.fix) == (f"nsys wrote no report{line}", fix)
    assert list(Nsys().raw(tmp_path)) == []


def test_a_stream_without_a_report(installed: None, tmp_path: Path) -> None:
    (tmp_path / "report.qdstrm").touch()
    with pytest.raises(CaseError, match="nsys could not make a report of what it recorded") as caught:
        Nsys().read(tmp_path, "c0ffee", LABEL, "")
    assert "nsys-importer" in caught.value.fix


def test_an_empty_report(installed: None, tmp_path: Path) -> None:
    (tmp_path / REPORT).touch()
    with pytest.raises(CaseError) as caught:
        Nsys().read(tmp_path, "c0ffee", LABEL, "")
    assert (caught.value.what, caught.value.fix) == ("nsys wrote an empty report", "free some disk space")


def test_an_export_that_fails_is_told_by_its_line(installed: None, tmp_path: Path) -> None:
    (tmp_path / REPORT).write_text("half of it")
    with pytest.raises(CaseError, match=r"nsys export failed: .*No space left on device") as caught:
        Nsys().read(tmp_path, "c0ffee", LABEL, "")
    assert caught.value.fix.startswith("free some disk space")


def test_a_report_of_another_case_is_refused_and_its_export_removed(installed: None, tmp_path: Path) -> None:
    (tmp_path / REPORT).write_text("report")
    with pytest.raises(CaseError, match="no range of another"):
        Nsys().read(tmp_path, "c0ffee", "another", "")
    assert not list(tmp_path.glob("*.sqlite"))


def test_an_export_that_cannot_be_written_leaves_the_message(installed: None, tmp_path: Path) -> None:
    (tmp_path / REPORT).write_text("report")
    (tmp_path / "report.sqlite").mkdir()
    with pytest.raises(CaseError, match="nsys export failed: "):
        Nsys().read(tmp_path, "c0ffee", LABEL, "")
    shutil.rmtree(tmp_path / "report.sqlite")
