"""An export of nsys becomes a Profile of the case alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.analysis import held_calls
from bench.model.profile import Copy, HeldCall, HostCall, Kernel, Profile, Range
from bench.profiling import nsys_reader
from tests.profiling.nsys_kit import LABEL, MAIN, PROCESS, RECORDED, Report, capture, launch, read

OTHER_PROCESS = PROCESS + (1 << 24)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "report.sqlite"


def test_a_kernel_has_the_call_that_launched_it_and_the_ranges_around_that(path: Path) -> None:
    report = capture(path)
    report.range("module layer1.0.conv1", 1_900, 2_300, domain=3)
    report.range("aten::conv2d, seq = 3, op_id = 7", 1_950, 2_200, domain=0, registered=False)
    report.call("cudaStreamSynchronize_v3020", 2_600, 3_000)
    launch(report, 2_000, 11)
    profile = read(report.close())
    thread = MAIN % 2**24
    assert profile.ranges == (
        Range(name=LABEL, kind="case", start=1_000, end=9_000, thread=thread),
        Range(name="0", kind="iteration", start=1_100, end=8_900, thread=thread),
        Range(name="layer1.0.conv1", kind="module", start=1_900, end=2_300, thread=thread),
        Range(name="aten::conv2d", kind="operator", start=1_950, end=2_200, thread=thread),
    )
    assert profile.calls == (
        HostCall(name="cudaLaunchKernel", start=2_000, end=2_100, thread=thread),
        HostCall(name="cudaStreamSynchronize", start=2_600, end=3_000, thread=thread),
    )
    assert profile.kernels == (
        Kernel(
            name="gemm<float, 4>(float*)",
            start=2_500,
            end=2_900,
            stream=7,
            call=0,
            module="layer1.0.conv1",
            operator="aten::conv2d",
        ),
    )
    assert (profile.tool, profile.tool_version, profile.case, profile.label) == ("nsys", "2025.3.1.90", "c0ffee", LABEL)
    assert profile.notes == ()


def test_without_the_package_nvtx_ranges_are_torchs_and_name_their_kind(path: Path) -> None:
    report = Report(path)
    for place, text in enumerate((f"case {LABEL}", "phase profile", "iteration 0", "module layer1")):
        report.range(f"trtbench {text}", 1_000 + place, 9_000 - place, domain=0, registered=False)
    report.range("aten::conv2d", 1_500, 1_700, domain=0, registered=False)
    launch(report, 1_600, 1)
    profile = read(report.close())
    names = [
        (LABEL, "case"),
        ("profile", "phase"),
        ("0", "iteration"),
        ("layer1", "module"),
        ("aten::conv2d", "operator"),
    ]
    assert [(span.name, span.kind) for span in profile.ranges] == names
    assert profile.kernels[0].module == "layer1"


def test_the_innermost_module_counts_and_only_on_the_thread_of_the_call(path: Path) -> None:
    report = capture(path)
    report.range("module outer", 1_200, 5_000, domain=3)
    report.range("module outer.first", 1_300, 2_000, domain=3)
    report.range("module outer.second", 2_500, 4_000, domain=3)
    report.range("module elsewhere", 1_200, 8_000, domain=3, thread=MAIN + 1)
    for place, start in enumerate((1_400, 2_100, 2_600, 4_500, 5_500)):
        launch(report, start, place + 1)
    report.call("cudaLaunchKernel", 1_250, 1_260, 9, thread=MAIN + 1)
    report.kernel("other", 7_000, 7_100, 9)
    kernels = read(report.close()).kernels
    modules = [kernel.module for kernel in kernels]
    assert modules == ["outer.first", "outer", "outer.second", "outer", "", "elsewhere"]


def test_layers_of_an_engine_stand_for_modules(path: Path) -> None:
    report = capture(path)
    report.domain("TensorRT", 5)
    report.range("ExecutionContext::enqueue", 1_200, 4_000, domain=5)
    report.range("conv1 + relu1", 1_300, 2_000, domain=5)
    launch(report, 1_400, 1)
    launch(report, 2_400, 2)
    profile = read(report.close())
    assert [kernel.module for kernel in profile.kernels] == ["conv1 + relu1", ""]
    assert [span.kind for span in profile.ranges] == ["case", "iteration", "other", "layer"]


def test_work_before_and_after_the_case_and_of_other_processes_is_left_out(path: Path) -> None:
    report = capture(path)
    launch(report, 100, 1)  # starts within nothing
    launch(report, 8_800, 2)  # runs past the end, but was called within
    launch(report, 9_500, 3)
    report.kernel("of another process", 3_000, 3_100, 2, globalPid=OTHER_PROCESS)
    report.call("cudaMalloc", 3_000, 3_100, 4, thread=OTHER_PROCESS | 1)
    report.kernel("whose call is not there", 4_000, 4_100, 77)
    report.range("module gone", 3_000, 3_100, domain=3, thread=OTHER_PROCESS | 1)
    profile = read(report.close())
    assert [(kernel.name, kernel.start, kernel.call) for kernel in profile.kernels] == [
        ("whose call is not there", 4_000, None),
        ("gemm<float, 4>(float*)", 9_300, 0),
    ]
    assert [call.start for call in profile.calls] == [8_800]
    assert [span.kind for span in profile.ranges] == ["case", "iteration"]
    assert profile.notes == ("1 of 2 kernels have no recorded call that launched them",)


def test_kernels_of_a_graph_have_their_nodes_and_the_launch_of_the_graph(path: Path) -> None:
    report = capture(path)
    report.call("cudaGraphLaunch_v10000", 2_000, 2_050, 5)
    for node in (1, 2):
        report.kernel("gemm", 2_000 + 100 * node, 2_050 + 100 * node, 5, graphNodeId=(4 << 32) + node)
    report.work("MEMCPY", 2_400, 2_500, 5, bytes=64, copyKind=8, graphNodeId=(4 << 32) + 3)
    report.work("GRAPH_TRACE", 2_100, 2_500, 5, graphId=4)
    profile = read(report.close())
    assert [(kernel.node, kernel.call) for kernel in profile.kernels] == [((4 << 32) + 1, 0), ((4 << 32) + 2, 0)]
    assert profile.copies == (Copy(kind="d2d", size=64, start=2_400, end=2_500, stream=7, call=0, node=(4 << 32) + 3),)


def test_a_graph_recorded_as_a_whole_is_one_kernel_and_said_so(path: Path) -> None:
    report = capture(path)
    report.call("cudaGraphLaunch_v10000", 2_000, 2_050, 5)
    report.work("GRAPH_TRACE", 2_100, 2_500, 5, graphId=4)
    profile = read(report.close())
    assert profile.kernels == (Kernel(name="CUDA graph 4", start=2_100, end=2_500, stream=7, call=0),)
    assert profile.notes == ("1 CUDA graphs were recorded as wholes: which kernels they ran is not known",)


@pytest.mark.parametrize("labels", [True, False])
def test_copies_have_their_direction_with_and_without_the_enumeration(path: Path, labels: bool) -> None:
    report = capture(path)
    launch(report, 2_000, 1)
    for number in range(14):
        report.work("MEMCPY", 3_000 + number, 3_001 + number, None, bytes=number, copyKind=number)
    report.work("MEMSET", 4_000, 4_001, None, bytes=256)
    if not labels:
        report.database.execute("DROP TABLE ENUM_CUDA_MEMCPY_OPER")
    copies = read(report.close()).copies
    kinds = "other h2d d2h h2d d2h d2d d2d d2d d2d other d2d h2d d2h d2d memset"
    assert " ".join(copy.kind for copy in copies) == kinds
    assert [copy.size for copy in copies] == [*range(14), 256]


def test_a_domain_that_was_created_before_the_capture_is_known_by_the_case(path: Path) -> None:
    report = Report(path)
    report.range(LABEL, 1_000, 9_000, domain=3)
    report.range("iteration 0", 1_100, 8_900, domain=3)
    report.range("iteration 0", 1_200, 1_300, domain=4)
    launch(report, 2_000, 1)
    assert [span.kind for span in read(report.close()).ranges] == ["case", "iteration", "other"]


def test_the_range_of_the_case_may_lie_open_at_the_end_of_the_capture(path: Path) -> None:
    report = Report(path)
    report.domain("trtbench", 3)
    report.range(LABEL, 1_000, None, domain=3)
    report.range("iteration 0", 1_100, 8_900, domain=3)
    launch(report, 2_000, 1)
    assert [span.end for span in read(report.close()).ranges] == [2_900, 8_900]


def test_numbers_of_event_types_are_those_of_the_export(path: Path) -> None:
    report = capture(path)
    launch(report, 2_000, 1)
    report.database.execute("UPDATE NVTX_EVENTS SET eventType = 159 WHERE eventType = 59")
    report.database.execute("UPDATE ENUM_NSYS_EVENT_TYPE SET id = 159 WHERE id = 59")
    assert len(read(report.close()).kernels) == 1


def test_columns_that_older_versions_lack_are_not_needed(path: Path) -> None:
    report = capture(path, version="2021.5.1", layout="")
    launch(report, 2_000, 1)
    for column in ("graphNodeId", "greenContextId", "globalPid"):
        report.database.execute(f"ALTER TABLE CUPTI_ACTIVITY_KIND_KERNEL DROP COLUMN {column}")
    assert [kernel.node for kernel in read(report.close()).kernels] == [None]


def test_errors_of_nsys_about_the_recording_are_notes(path: Path) -> None:
    report = capture(path)
    launch(report, 2_000, 1)
    for number, name in enumerate(("Info", "Warning", "Error"), 1):
        report.add("ENUM_DIAGNOSTIC_SEVERITY_LEVEL", id=number, name=name)
    report.add("DIAGNOSTIC_EVENT", severity=1, text="Profiling has started.")
    report.add("DIAGNOSTIC_EVENT", severity=2, text="Not all NVTX events might have been collected.")
    report.add("DIAGNOSTIC_EVENT", severity=3, text="CUPTI buffers were dropped")
    assert read(report.close()).notes == ("nsys: CUPTI buffers were dropped",)


def test_a_kernel_has_the_name_that_the_cpp_library_reads(path: Path) -> None:
    report = capture(path)
    report.call("cudaLaunchKernel_v7000", 2_000, 2_100, 1)
    report.kernel("void scale<(int)4>(T1 *)", 2_200, 2_300, 1, mangledName=report.string("_Z5scaleILi4EEvPf"))
    report.kernel("triton_poi_fused_0", 2_400, 2_500, 1, mangledName=report.string("triton_poi_fused_0"))
    assert [kernel.name for kernel in read(report.close()).kernels] == ["void scale<4>(float*)", "triton_poi_fused_0"]


# reports that nsys 2025.3 recorded on an H200, cut down to what is read (tests/golden/nsys/README.md)


def recorded(name: str) -> Profile:
    return nsys_reader.read(RECORDED / f"{name}.sqlite", case="c0ffee", label=f"convnet/{name}/fp16/batch=1")


@pytest.mark.parametrize(
    ("name", "launches", "nodes"),
    [
        ("eager", {"cudaLaunchKernel", "cudaLaunchKernelExC", "cuLaunchKernel"}, 0),
        ("graph", {"cudaGraphLaunch"}, 24),
        ("inductor", {"cuLaunchKernel", "cudaLaunchKernelExC"}, 0),
    ],
)
def test_in_a_recorded_report_each_kernel_has_its_call_and_its_iteration(
    name: str, launches: set[str], nodes: int
) -> None:
    profile = recorded(name)
    assert profile.tool_version == "2025.3.2.0"
    assert {profile.calls[kernel.call].name for kernel in profile.kernels if kernel.call is not None} == launches
    assert len({kernel.node for kernel in profile.kernels} - {None}) == nodes
    iterations = [span for span in profile.ranges if span.kind == "iteration"]
    assert [span.name for span in iterations] == ["0", "1", "2"]
    for span in iterations:
        kernels = [kernel for kernel in profile.kernels if span.start <= kernel.start and kernel.end <= span.end]
        assert len(kernels) == len(profile.kernels) / 3
        copies = [copy.kind for copy in profile.copies if span.start <= copy.start and copy.end <= span.end]
        assert copies == ["h2d", "d2h"]
    assert profile.notes == ()


def test_a_recorded_eager_model_has_its_modules_and_the_names_of_torch(path: Path) -> None:
    kernels = recorded("eager").kernels
    first = [kernel.module for kernel in kernels[: len(kernels) // 3]]
    order = "stem layers.0.conv layers.0.bn layers.0 layers.0.relu layers.1.conv layers.1.bn layers.1 layers.1.relu"
    assert list(dict.fromkeys(first)) == [*order.split(" "), "", "fc"]
    add, arrays = "at::native::CUDAFunctor_add<c10::Half>", "std::array<char*, 3ul>"
    name = f"void at::native::vectorized_elementwise_kernel<8, {add}, {arrays} >(int, {add}, {arrays})"
    assert name in {kernel.name for kernel in kernels}  # nsys: <(int)8, ..., (unsigned long)3>>(int, T2, T3)


@pytest.mark.parametrize(("text", "domain"), [("held 0", 3), ("trtbench phase held 0", 0)])
def test_a_call_on_a_held_stream_is_told_apart_from_iterations(path: Path, text: str, domain: int) -> None:
    report = capture(path)
    report.range(text, 6_000, 8_000, domain=domain, registered=False)
    launch(report, 2_000, 11)
    launch(report, 6_100, 12)
    profile, held = held_calls.split(read(report.close()))
    assert held == (HeldCall(span=400, busy=400),)
    assert [kernel.start for kernel in profile.kernels] == [2_500]
