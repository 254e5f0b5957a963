"""Kernels of compiled programs get the modules of the calls that launched them, by name and order."""

from __future__ import annotations

from bench.analysis.provenance import name_kernels
from bench.model.profile import HostCall, Kernel, Profile, Range
from bench.model.provenance import KernelCall, Provenance


def fused(name: str, *modules: str) -> KernelCall:
    return KernelCall(kernel=name, modules=modules, operators=("aten::relu",))


def library(module: str, operator: str = "aten::addmm") -> KernelCall:
    return KernelCall(kernel="extern_kernels.addmm", modules=(module,), operators=(operator,), extern=True)


def names(kernels: list[str], calls: list[KernelCall], iterations: int = 1) -> list[str]:
    """The modules that ``kernels``, run in each of the iterations, get from the provenance ``calls``."""
    every = [
        Kernel(name=name, start=100 * n + place, end=100 * n + place + 1)
        for n in range(iterations)
        for place, name in enumerate(kernels)
    ]
    bounds = [Range(name=str(n), kind="iteration", start=100 * n, end=100 * n + 99) for n in range(iterations)]
    profile = Profile(tool="nsys", case="c", label="l", ranges=tuple(bounds), kernels=tuple(every))
    return [kernel.module for kernel in name_kernels(profile, Provenance(calls=tuple(calls))).kernels]


def test_a_kernel_that_is_called_several_times_has_the_module_of_each_call() -> None:
    calls = [fused("triton_0", "a"), fused("triton_1", "b", "c"), fused("triton_0", "d")]
    assert names(["triton_0", "triton_1", "triton_0"], calls, iterations=2) == ["a", "b+c", "d"] * 2


def test_kernels_of_a_library_are_those_between_two_that_match() -> None:
    calls = [library("fc1"), fused("triton_0", "act"), library("fc2"), fused("triton_1", "norm")]
    assert names(["gemm", "triton_0", "splitk", "reduce", "triton_1"], calls) == ["fc1", "act", "fc2", "fc2", "norm"]


def test_several_calls_of_a_library_have_a_kernel_each_or_all_of_them_together() -> None:
    calls = [library("q"), library("k"), fused("triton_0", "softmax")]
    assert names(["gemm", "gemm", "triton_0"], calls) == ["q", "k", "softmax"]
    assert names(["gemm", "triton_0"], calls) == ["q+k", "softmax"]


def test_operators_that_differ_are_left_to_the_ranges_around_a_kernel() -> None:
    calls = [library("q"), library("k", "aten::mm"), fused("triton_0", "softmax")]
    kernels = (Kernel(name="gemm", start=0, end=1), Kernel(name="triton_0", start=2, end=3))
    profile = Profile(tool="nsys", case="c", label="l", kernels=kernels)
    named = name_kernels(profile, Provenance(calls=tuple(calls))).kernels
    assert [(each.module, each.operator) for each in named] == [("q+k", ""), ("softmax", "aten::relu")]


def test_layers_that_run_the_same_kernels_are_told_apart_by_their_order() -> None:
    layers = [[library(f"{n}.fc"), fused("triton_0", f"{n}.act"), library(f"{n}.out"), fused("triton_1", f"{n}.norm")]
              for n in range(12)]  # fmt: skip
    calls = [fused("triton_9", "embed"), *(call for layer in layers for call in layer)]
    run = ["copy", "triton_9", *["gemm", "triton_0", "splitk", "reduce", "triton_1"] * 12, "tail"]
    expected = [[f"{n}.fc", f"{n}.act", f"{n}.out", f"{n}.out", f"{n}.norm"] for n in range(12)]
    assert names(run, calls) == ["", "embed", *(name for layer in expected for name in layer), ""]


def test_what_is_called_nowhere_stays_without_a_module() -> None:
    calls = [fused("triton_0", "a"), fused("triton_1", "b")]
    assert names(["triton_0", "memset_kernel", "triton_1", "other"], calls) == ["a", "", "b", ""]
    assert names(["triton_0"], []) == [""]


def test_names_that_a_profile_has_already_stay() -> None:
    kernel = Kernel(name="triton_0", start=0, end=1, module="here")
    profile = Profile(tool="torch", case="c", label="l", kernels=(kernel,))
    (named,) = name_kernels(profile, Provenance(calls=(fused("triton_0", "there"),))).kernels
    assert (named.module, named.operator) == ("here", "aten::relu")


def test_a_kernel_belongs_to_the_iteration_that_launched_it() -> None:
    bounds = (Range(name="0", kind="iteration", start=0, end=10), Range(name="1", kind="iteration", start=10, end=99))
    calls = (HostCall(name="cudaLaunchKernel", start=5, end=6), HostCall(name="cudaLaunchKernel", start=15, end=16))
    late = (Kernel(name="triton_0", start=12, end=13, call=0), Kernel(name="triton_0", start=16, end=17, call=1))
    before = Kernel(name="triton_0", start=-5, end=-4)
    profile = Profile(tool="nsys", case="c", label="l", ranges=bounds, calls=calls, kernels=(before, *late))
    named = name_kernels(profile, Provenance(calls=(fused("triton_0", "a"),)))
    assert [kernel.module for kernel in named.kernels] == ["", "a", "a"]
