"""The table of the kernels that take the time: how names shorten, what is summed, and names for nodes of graphs."""

from __future__ import annotations

import csv
import io
import json

import msgspec
import pytest

from bench.analysis import attribution, siblings
from bench.analysis import waterfall as parts_of
from bench.analysis.top_kernels import top_kernels
from bench.model.profile import CaseProfile, CondensedProfile, Profile, ProfileRun
from bench.report import kernels
from tests import profile_kit
from tests.profile_kit import US, Timeline

LAMBDA = "at::native::direct_copy_kernel_cuda(at::TensorIteratorBase&)::{lambda()#3}::operator()() const"
NAMES = {
    "void at::native::vectorized_elementwise_kernel<4, at::native::CUDAFunctor_add<float>, std::array<char*, 3ul> >"
    "(int, at::native::CUDAFunctor_add<float>, std::array<char*, 3ul>)":
        "vectorized_elementwise_kernel<4, CUDAFunctor_add<…>, array<…>>",
    "void at::native::(anonymous namespace)::max_pool_forward_nchw<float>(int, float const*)":
        "max_pool_forward_nchw<float>",
    f"void at::native::elementwise_kernel<128, 2, at::native::gpu_kernel_impl<{LAMBDA}>(int)::{{lambda(int)#1}}>(int)":
        "elementwise_kernel<128, 2, gpu_kernel_impl<direct_copy_kernel_cuda>::{lambda#1}>",
    "triton_poi_fused_add_relu_0": "triton_poi_fused_add_relu_0",
    "sm80_xmma_gemm_f16f16_tilesize128x32x64": "sm80_xmma_gemm_f16f16_tilesize128x32x64",
    "operator<(int)": "operator<",
    "))<<(": "))<",
    "(": "(",
    "": "",
}  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_a_name_is_without_what_all_of_its_kind_share(name: str) -> None:
    assert kernels.short(name) == NAMES[name]


def of(profile: Profile, label: str = "net/eager/fp32", ns: tuple[int, ...] = ()) -> CaseProfile:
    condensed = CondensedProfile(profile=profile, parts=parts_of.parts(profile), kernel_ns=ns)
    return CaseProfile(case="0123456789ab", label=label, condensed=condensed)


def conv() -> Profile:
    timeline = Timeline()
    with timeline.range("iteration", "0"):
        for number, ns in enumerate((10, 30, 20)):
            timeline.launch("void conv<float>(int)", ns * US, module=f"layer{number}", operator="aten::conv2d")
        timeline.launch("relu", 40 * US, module="layer2", operator="aten::relu")
        timeline.launch("add", 10 * US)
        timeline.sync()
    return timeline.profile()


def test_launches_of_one_kernel_are_summed() -> None:
    case = of(conv())
    assert case.condensed is not None
    first, second, third = top_kernels(case.condensed)
    assert (first.name, first.count, first.ns, first.median_ns) == ("void conv<float>(int)", 3, 60 * US, 20 * US)
    assert first.modules == ("layer0", "layer1", "layer2")
    assert (second.name, second.share, third.name) == ("relu", 40 / 110, "add")


def test_medians_over_iterations_stand_in_for_the_times_of_one() -> None:
    case = of(conv(), ns=(1, 2, 3, 100, 4))
    assert case.condensed is not None
    assert [(each.name, each.ns) for each in top_kernels(case.condensed)] == [
        ("relu", 100), ("void conv<float>(int)", 6), ("add", 4),
    ]  # fmt: skip


def test_on_a_cpu_operators_are_without_those_within_them() -> None:
    case = of(profile_kit.on_cpu(1).profile(device="cpu"))
    assert case.condensed is not None
    assert [(each.name, each.ns, each.modules) for each in top_kernels(case.condensed)] == [
        ("aten::addmm", 40 * US, ("layer0",)),
        ("aten::relu", 20 * US, ()),
        ("aten::linear", 5 * US, ("layer0",)),
    ]
    assert "aten::addmm" in kernels.render([case])


def test_the_table_has_the_top_and_the_rest() -> None:
    shown = kernels.render([of(conv())], top=1, width=80)
    assert shown.splitlines()[:7] == [
        "net/eager/fp32",
        "",
        "kernel           module     count     each     time  share",
        "──────────────────────────────────────────────────────────",
        "conv<float>      layer0 +2      3  20.0 us  60.0 us    55%",
        "2 other kernels                 2           50.0 us    45%",
        "total                           5            110 us   100%",
    ]
    long = msgspec.structs.replace(
        conv(), kernels=tuple(msgspec.structs.replace(k, name=k.name.replace("relu", "r" * 99)) for k in conv().kernels)
    )
    assert max(map(len, kernels.render([of(long)], width=70).splitlines())) <= 70
    assert "| conv&lt;float> | layer0 +2 | 3 |" in kernels.markdown([of(conv())])


def test_csv_and_json_have_whole_names() -> None:
    rows = list(csv.DictReader(io.StringIO(kernels.csv([of(conv())]))))
    assert (rows[0]["name"], rows[0]["modules"]) == ("void conv<float>(int)", "layer0 + layer1 + layer2")
    assert len(json.loads(kernels.json([of(conv())]))["cases"][0]["kernels"]) == 3


def test_a_case_without_kernels_says_so() -> None:
    assert kernels.NOTHING in kernels.render([of(Timeline().profile())])
    assert kernels.NOTHING in kernels.markdown([of(Timeline().profile())])


def file(**profiles: Profile) -> ProfileRun:
    cases = tuple(of(profile, label.replace("__", "/")) for label, profile in profiles.items())
    return ProfileRun(created="", version="", tool="nsys", cases=cases)


def test_nodes_of_a_graph_are_named_after_another_case_of_the_same_program() -> None:
    eager = attribution.attribute(profile_kit.eager(1).profile())
    graph = profile_kit.replayed(1).profile()
    expected = ["layer0", "layer1", "layer2", "layer3"]
    for label, modules in {
        "net/eager/fp32/batch=1/graph": expected,
        "net/inductor[path=a/b]/fp32/batch=1": expected,
        "net/eager/fp16/batch=1/graph": [""] * 4,
        "net/eager/fp32/batch=2/graph": [""] * 4,
        "other/eager/fp32/batch=1/graph": [""] * 4,
    }.items():
        named = siblings.with_names(file(**{"net/eager/fp32/batch=1": eager, label: graph})).cases[1]
        assert named.condensed is not None
        assert [kernel.module for kernel in named.condensed.profile.kernels] == modules


def test_a_program_of_other_kernels_gives_no_names() -> None:
    eager = attribution.attribute(profile_kit.eager(1).profile())
    timeline = Timeline()
    with timeline.range("iteration", "0"):
        timeline.graph([("gemm_0", US), ("fused", US), ("pool", US)])
    named = siblings.with_names(file(net__eager__fp32=eager, net__tensorrt__fp32=timeline.profile())).cases[1]
    assert named.condensed is not None
    assert {kernel.module for kernel in named.condensed.profile.kernels} == {""}


def test_of_several_cases_the_one_with_the_most_kernels_in_common_gives_the_names() -> None:
    eager = attribution.attribute(profile_kit.eager(1).profile())
    other = attribution.attribute(
        msgspec.structs.replace(
            profile_kit.eager(1).profile(),
            kernels=tuple(
                msgspec.structs.replace(k, name=f"other_{k.name}", module="") if k.name == "gemm_3" else k
                for k in profile_kit.eager(1).profile().kernels
            ),
        )
    )
    profiles = file(net__a__fp32=other, net__b__fp32=eager, net__c__fp32=profile_kit.replayed(1).profile())
    named = siblings.with_names(profiles).cases[2]
    assert named.condensed is not None
    assert named.condensed.profile.kernels[3].module == "layer3"
