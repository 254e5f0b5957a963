"""Nsight Compute around a worker: a kernel is found by its name, its figures are read, and failures say what to do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from bench.errors import CaseError
from bench.model.profile import KernelFigures
from bench.profiling import ncu, programs
from bench.profiling.ncu import REPORT, Ncu

pytestmark = pytest.mark.workers

SM = "sm__throughput.avg.pct_of_peak_sustained_elapsed"
DRAM = "gpu__dram_throughput.avg.pct_of_peak_sustained_elapsed"
# What ncu 2025.3 prints of a report, less some columns; its own remarks come before.
TABLE = f"""==WARNING== Note: something that ncu says
"ID","Process ID","Kernel Name","Block Size","Grid Size","Device","CC","{DRAM}",\
"gpu__time_duration.sum","launch__registers_per_thread","launch__waves_per_multiprocessor",\
"sm__maximum_warps_per_active_cycle_pct","{SM}","sm__warps_active.avg.pct_of_peak_sustained_active"
"","","","","","","","%","ns","register/thread","","%","%","%"
"0","4242","void gemm<(int)4>(float *)","(256, 1, 1)","(1056, 2, 1)","0","9.0","81.25",\
"12,345","168","2.00","37.50","45.20","33.10"
"""
FIGURES = KernelFigures(
    name="void gemm<(int)4>(float *)",
    ns=12_345,
    grid=(1056, 2, 1),
    block=(256, 1, 1),
    waves=2.0,
    sm=0.452,
    dram=0.8125,
    occupancy=0.331,
    occupancy_limit=0.375,
    registers=168,
)
PERMISSION = (
    "==ERROR== ERR_NVGPUCTRPERM - The user does not have permission to access NVIDIA GPU Performance Counters on the "
    "target device 0. For instructions on enabling permissions and to get more information see "
    "https://developer.nvidia.com/ERR_NVGPUCTRPERM"
)
NONE = "==WARNING== No kernels were profiled."
ENDED = "==ERROR== The application returned an error code (9)."

# A stand-in: it runs the command after its options, and prints the table of a report.
STAND_IN = """#!{python}
import subprocess, sys
from pathlib import Path
words = sys.argv[1:]
options = [word for word in words if word.startswith("--")]
if words == ["--version"]:
    print("NVIDIA (R) Nsight Compute Command Line Profiler\\nVersion 2025.3.1.0 (build 36398880)")
elif words[0].startswith("--import="):
    assert {{"--page=raw", "--csv", "--print-units=base"}} <= set(words)
    print(Path(words[0].partition("=")[2]).read_text(), end="")
else:
    code = subprocess.run(words[len(options):]).returncode
    Path(options[-1].removeprefix("--export=")).write_text({table!r})
    sys.exit(code)
"""


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "bin"
    folder.mkdir()
    (folder / "ncu").write_text(STAND_IN.format(python=sys.executable, table=TABLE))
    (folder / "ncu").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")


def test_the_worker_runs_under_ncu_and_its_figures_are_read(installed: None, tmp_path: Path) -> None:
    tool = Ncu("gemm")
    assert tool.missing() is None
    worker = (sys.executable, "-c", "print('replied')")
    log = subprocess.run([*tool.prefix(tmp_path), *worker], capture_output=True, text=True, check=True).stdout
    assert log == "replied\n"
    profile = tool.read(tmp_path, "c0ffee", "net/eager", log)
    assert profile.figures == (FIGURES,)
    assert (profile.tool, profile.tool_version, profile.label) == ("ncu", "2025.3.1.0", "net/eager")
    assert list(tool.raw(tmp_path)) == [tmp_path / REPORT]


def test_clocks_stay_and_one_launch_within_the_capture_is_counted(installed: None, tmp_path: Path) -> None:
    words = Ncu("gemm").prefix(tmp_path)
    assert {"--clock-control=none", "--kernel-name=regex:gemm", "--launch-count=1", "--profile-from-start=off"} <= set(
        words
    )


@pytest.mark.parametrize(
    ("kernel", "expected"),
    [
        ("gemm", "gemm"),
        ("^(gemm|conv).*", "^(gemm|conv).*"),
        ("triton_poi_fused_convolution_0", "triton_poi_fused_convolution_0"),
        ("void at::native::reduce_kernel<512, 1, at::native::ReduceOp<float> >(at::Tensor)", "reduce_kernel"),
        ("void at::native::(anonymous namespace)::CatArray<float>(int)", "CatArray"),
        ("void at::native::<unnamed>::CatArray<float>(int)", "CatArray"),
        ("implicit_convolve_sgemm<__half, 1024>(int, int)", "implicit_convolve_sgemm"),
        ("cudnn::ops::nchwToNhwc", "nchwToNhwc"),
        ("scale(float*, int)", "scale"),
    ],
)
def test_a_whole_name_becomes_the_bare_one_and_an_expression_stays(kernel: str, expected: str) -> None:
    assert ncu.pattern(kernel) == expected


def test_without_ncu_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(programs.PLACES, "ncu", ())
    missing = Ncu("gemm").missing()
    assert missing is not None
    assert (missing.reason, missing.fix) == (
        "ncu is not on PATH",
        "install Nsight Compute: developer.nvidia.com/nsight-compute",
    )


@pytest.mark.parametrize(
    ("log", "what", "fix"),
    [
        (
            f"{PERMISSION}\n==WARNING== No kernels were profiled.\n",
            f"ncu wrote no report: {PERMISSION}",
            "run as root, ",
        ),
        ("==WARNING== No kernels were profiled.\n", "no kernel of the case is called 'gemm'", "--tool nsys "),
        (
            "==ERROR== The application returned an error code (9).\n",
            "ncu wrote no report: ==ERROR== The application",
            "",
        ),
        ("", "ncu wrote no report", ""),
    ],
)
def test_no_report_says_why(tmp_path: Path, log: str, what: str, fix: str) -> None:
    with pytest.raises(CaseError) as caught:
        Ncu("gemm").read(tmp_path, "c0ffee", "net/eager", log)
    assert caught.value.what.startswith(what)
    assert caught.value.fix.startswith(fix)


def test_a_table_of_another_layout_is_refused() -> None:
    with pytest.raises(CaseError, match="no table with a column Kernel Name"):
        ncu.read_csv("a,b\n1,2\n")
    with pytest.raises(CaseError, match="no table with a column Kernel Name"):
        ncu.read_csv('"ID","Name"\n"0","gemm"\n')


def test_a_report_without_a_launch_is_refused(installed: None, tmp_path: Path) -> None:
    (tmp_path / REPORT).write_text("".join(line + "\n" for line in TABLE.splitlines()[:-1]))
    with pytest.raises(CaseError, match="has no kernel"):
        Ncu("gemm").read(tmp_path, "c0ffee", "net/eager", "")


@pytest.mark.parametrize(("unit", "ns"), [("ns", 12), ("usecond", 12_345), ("ms", 12_345_000), ("", 12)])
def test_the_duration_is_in_ns_whatever_its_unit(unit: str, ns: int) -> None:
    text = f'"ID","Kernel Name","gpu__time_duration.sum"\n"","","{unit}"\n"0","gemm","12.345"\n'
    assert ncu.read_csv(text)[0].ns == ns


def test_what_this_version_does_not_tell_is_none() -> None:
    (figures,) = ncu.read_csv(f'"ID","Kernel Name","{SM}"\n"0","gemm","n/a"\n')
    assert figures == KernelFigures(name="gemm")
