"""Generated code: which files are kept, and the order of calls in programs as compilers write them."""

from __future__ import annotations

import zipfile
from pathlib import Path

import msgspec
import pytest

from bench.backends import base
from bench.errors import Unavailable
from bench.model.code import ABOUT, FILES, Code
from bench.runtimes.torch import code
from tests.backends.kit import Bench

PYTHON = '''
import torch
async_compile = AsyncCompile()
triton_poi_fused_abs_0 = async_compile.triton('triton_poi_fused_abs_0', """...""", device_str='cuda')
cpp_fused_relu_1 = async_compile.cpp_pybinding(['float*'], """...""")
async_compile.wait(globals())

def call(args):
    arg0_1, arg1_1 = args
    args.clear()
    buf0 = empty_strided_cuda((1, 32), (32, 1), torch.float32)
    extern_kernels.mm(arg0_1, reinterpret_tensor(arg1_1, (32, 32), (1, 32), 0), out=buf0)
    triton_poi_fused_abs_0.run(buf0, 32, stream=stream0)
    buf2 = torch.ops.aten.sort.default(buf0)
    cpp_fused_relu_1(buf0)
    triton_poi_fused_abs_0.run(buf0, 32, stream=stream0)
    return (buf0, )
'''
PARTS = '''
triton_a = async_compile.triton('triton_a', """...""")

def partition_0(args):
    triton_a.run(args)
    extern_kernels.mm(args)

class Runner:
    def __init__(self, partitions):
        self.partitions = partitions

    def call(self, args):
        (buf0,) = self.partitions[0](args)
        triton_a.run(buf0)
        return buf0
'''
CPP = """
extern "C" void cpp_fused_abs_0(float* in_out_ptr0);
void AOTInductorModel::run_impl(
    AtenTensorHandle* input_handles) {
    aoti_torch_empty_strided(2, int_array_0, &buf0_handle);
    AOTI_TORCH_ERROR_CODE_CHECK(aoti_torch_cpu_mm_out(buf0, arg1_1, w0));
    cpp_fused_abs_0((float*)(buf1.data_ptr()));
    call_triton_poi_fused_0(buf1, 32L, this->device_idx_, stream, kernels, this->cubin_dir_);
    launchKernel(kernels.triton_red_1, grid_0, 1, 1, 4, 0, args, stream);
    AOTI_TORCH_ERROR_CODE_CHECK(aoti_torch_cuda__scaled_dot_product_flash_attention(buf1, &buf2));
} // AOTInductorModel::run_impl
void other() { cpp_fused_abs_0(nullptr); }
"""


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        (PYTHON, ["extern_kernels.mm", "triton_poi_fused_abs_0", "torch.ops.aten.sort.default", "cpp_fused_relu_1",
                  "triton_poi_fused_abs_0"]),
        (PARTS, ["triton_a", "extern_kernels.mm", "triton_a"]),
        (CPP, ["mm_out", "cpp_fused_abs_0", "triton_poi_fused_0", "triton_red_1",
               "_scaled_dot_product_flash_attention"]),
        ("def nothing(): pass", []),
        ("not a program (", []),
    ],
)  # fmt: skip
def test_calls_are_those_of_the_program_in_its_order(program: str, expected: list[str]) -> None:
    calls = code.calls_of(program)
    assert [call.name for call in calls] == expected
    kernels = [call.name for call in calls if call.kind == "kernel"]
    assert kernels == [name for name in expected if name.startswith(("triton", "cpp_fused"))]


def test_a_package_gives_its_sources_and_kernels_without_weights(tmp_path: Path) -> None:
    package = tmp_path / "model.pt2"
    with zipfile.ZipFile(package, "w") as archive:
        archive.writestr("model/data/aotinductor/model/c1.wrapper.cpp", CPP)
        archive.writestr("model/data/aotinductor/model/k.cubin", b"\x7fELF")
        archive.writestr("model/data/weights/weights_0", b"0" * 1000)
    code.of_package(package, tmp_path)
    about = msgspec.json.decode((tmp_path / ABOUT).read_bytes(), type=Code)
    assert [(file.path, file.what) for file in about.files] == [
        ("c1.wrapper.cpp", "the compiled program: C++ wrapper"),
        ("k.cubin", "kernel: compiled for one kind of GPU"),
    ]
    assert about.calls[0].name == "mm_out"
    assert (tmp_path / FILES / "k.cubin").read_bytes() == b"\x7fELF"


@pytest.mark.torch
def test_a_block_that_compiles_nothing_has_no_code(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    with pytest.raises(Unavailable, match="wrote no code"), code.compiling(tmp_path / "out", tmp_path / "scratch"):
        pass


@pytest.mark.torch
@pytest.mark.long
@pytest.mark.parametrize("options", [{}, {"cpp_wrapper": True}])
def test_inductor_writes_its_program_and_its_kernels(bench: Bench, tmp_path: Path, options: dict[str, bool]) -> None:
    inductor = base.load("inductor")
    case = bench.case("inductor", options=options)
    inductor.produce(inductor.code(case), case, bench.context(case), tmp_path)
    about = msgspec.json.decode((tmp_path / ABOUT).read_bytes(), type=Code)
    assert {"the compiled program: Python wrapper", "graph before compiling"} <= {file.what for file in about.files}
    assert any(call.name.startswith("cpp_fused") for call in about.calls)
    assert any(call.kind == "operator" for call in about.calls)
    assert any((tmp_path / FILES / "inductor").rglob("*.cpp"))


@pytest.mark.torch
@pytest.mark.long
def test_a_package_of_aoti_has_the_code_that_it_runs(bench: Bench, tmp_path: Path) -> None:
    aoti = base.load("aoti")
    case = bench.case("aoti")
    aoti.produce(aoti.code(case), case, bench.context(case, bench.artifacts(case)), tmp_path)
    about = msgspec.json.decode((tmp_path / ABOUT).read_bytes(), type=Code)
    assert {"the compiled program: C++ wrapper", "compiled for this CPU"} <= {file.what for file in about.files}
    assert any(call.name.startswith("cpp_fused") for call in about.calls)
