"""Which modules and operators Inductor's kernels compute, from code that torch 2.13 has generated."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench.backends import base
from bench.measure import provenance as files
from bench.model.provenance import KernelCall, Provenance
from bench.runtimes.torch.provenance import module_path, parse

GOLDEN = Path(__file__).parents[2] / "golden" / "inductor"
# The nodes of the graph that the golden code was made from, of three blocks (norm, fc1, gelu, fc2, add) and a head.
PATHS = {"conv1d": "conv", "linear_6": "head"}
for _block in range(3):
    _suffix = f"_{_block}" if _block else ""
    PATHS |= {f"layer_norm{_suffix}": f"blocks.{_block}.norm", f"gelu{_suffix}": f"blocks.{_block}"}
    PATHS |= {f"x_{_block + 1}": f"blocks.{_block}"}
    PATHS |= {f"linear_{2 * _block + n}" if _block or n else "linear": f"blocks.{_block}.fc{n + 1}" for n in (0, 1)}


def call(kernel: str, modules: str, operators: str) -> KernelCall:
    names = tuple(f"aten::{name}" for name in operators.split())
    extern = kernel.startswith("extern_kernels.")
    return KernelCall(kernel=kernel, modules=tuple(modules.split()), operators=names, extern=extern)


def test_triton_code_names_modules_and_operators_of_each_call() -> None:
    calls = parse((GOLDEN / "triton-2.13.txt").read_text(), PATHS)
    assert calls[:6] == [
        call("extern_kernels.convolution", "conv", "convolution"),
        call("triton_per_fused_native_layer_norm_relu_0", "blocks.0.norm", "relu native_layer_norm"),
        call("extern_kernels.addmm", "blocks.0.fc1", "addmm"),
        call("triton_poi_fused_gelu_view_1", "blocks.0", "gelu"),
        call("extern_kernels.addmm", "blocks.0.fc2", "addmm"),
        call(
            "triton_per_fused_add_native_layer_norm_relu_view_2",
            "blocks.0 blocks.1.norm",
            "relu add native_layer_norm",
        ),
    ]
    # One kernel serves three calls, each of another module.
    shared = [each.modules for each in calls if each.kernel == "triton_poi_fused_gelu_view_1"]
    assert shared == [("blocks.0",), ("blocks.1",), ("blocks.2",)]
    assert [each.kernel for each in calls[-2:]] == [
        "triton_poi_fused__softmax_view_5",
        "triton_poi_fused__softmax_6",
    ]
    assert len(calls) == 17


CPP_WRAPPER = """\
    // Topologically Sorted Source Nodes: [linear], Original ATen: [aten.t, aten.addmm]
    AOTI_TORCH_ERROR_CODE_CHECK(aoti_torch_cuda_addmm_out(buf0, arg1_1, arg2_1, 1, 1));
    // Topologically Sorted Source Nodes: [x], Original ATen: [aten.relu]
    call_triton_poi_fused_relu_0(buf1, 128L, device_idx_, stream, kernels, cubin_dir_);
"""


def test_c_plus_plus_wrappers_are_read_too() -> None:
    assert parse(CPP_WRAPPER, {"linear": "fc", "x": "act"}) == [
        KernelCall(kernel="aoti_torch_cuda_addmm_out", modules=("fc",), operators=("aten::addmm",), extern=True),
        KernelCall(kernel="triton_poi_fused_relu_0", modules=("act",), operators=("aten::relu",)),
    ]


def test_code_without_comments_or_of_something_else_has_no_calls() -> None:
    assert parse("", {}) == []
    assert parse("x = torch.ops.aten.mul(a, b)\ntriton_poi_0.run(a)\n", {}) == []


@pytest.mark.parametrize(
    ("expression", "path"),
    [
        ("L['self'].layer1.0.conv1", "layer1.0.conv1"),
        ("L['self']", ""),
        ("G['model'].head", "head"),
        ("getattr(L['self'].layer1, '0').conv1", "layer1.0.conv1"),
        ("getattr(getattr(L['self'].a, '0').b, '1')", "a.0.b.1"),
        ("L['self']._modules['layer1']._modules['0']", "layer1.0"),
        ("L['self'].blocks[2].norm", "blocks.2.norm"),
        ("", ""),
    ],
)
def test_the_spellings_of_versions_are_one_path(expression: str, path: str) -> None:
    assert module_path(expression) == path


# --------------------------------------------------------------------------------------------------------------- files


class Sources:
    def provenance(self) -> Provenance:
        return Provenance(calls=(call("triton_poi_fused_0", "a.b", "relu"),))


class Traced:
    def provenance(self) -> Any:
        return contextlib.nullcontext(Sources())


def test_a_worker_leaves_a_file_for_backends_that_can_tell(tmp_path: Path) -> None:
    with files.recorded(Traced(), tmp_path):
        pass
    assert files.read(tmp_path) == Sources().provenance()


def test_other_backends_leave_none(tmp_path: Path) -> None:
    with files.recorded(base.load("fake"), tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []
    assert files.read(tmp_path) == Provenance()


def test_a_file_that_is_none_is_a_value_error(tmp_path: Path) -> None:
    (tmp_path / "provenance.json").write_text("{")
    with pytest.raises(msgspec.DecodeError):
        files.read(tmp_path)
    assert issubclass(msgspec.DecodeError, ValueError)
