"""Where two cases differ and why: the causes of blocks, gaps, and that all of it adds up."""

from __future__ import annotations

import json
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.analysis import explain_sides
from bench.analysis.explain import explain
from bench.analysis.explain_sides import Side
from bench.errors import UsageError
from bench.model.profile import Copy, Layers
from bench.runtimes.trt import inspector
from tests.analysis.explain_kit import BN, CONV, RELU, US, engine, first, kernels, layer, residual

GOLDEN = Path(__file__).parents[1] / "golden" / "layers"


def test_a_lost_fusion_is_the_first_cause_and_costs_the_whole_difference() -> None:
    blocks = ("layer1.0", "layer1.1", "layer1.2")
    a = engine(*(each for block in blocks for each in residual(block)))
    b = engine(*(each for block in blocks for each in residual(block, broken=block == "layer1.1")))
    explanation = explain(a, b)
    assert explanation.difference == 55 * US
    assert explanation.parts[0].name == "layer1.1: conv3 + relu_2"
    assert (first(explanation).kind, first(explanation).ns) == ("fusion", 55 * US)
    assert first(explanation).text == (
        "A computes Conv + Add + Relu in one step, B in 2: Conv, Add + Relu, and one reformat of the tensors between"
    )
    assert first(explanation).kernels_b[0] == "/layer1/layer1.1/conv3/Conv [k2]"
    assert [part.difference for part in explanation.parts[1:]] == [0] * 8


def test_metadata_may_list_the_nodes_of_a_layer_in_another_order() -> None:
    nodes = ("/layer1/layer1.0/Add", "/layer1/layer1.0/relu_2/Relu", "/layer1/layer1.0/conv3/Conv")
    fused = [*residual("layer1.0")[:2], msgspec.structs.replace(residual("layer1.0")[2], origin=nodes)]
    explanation = explain(engine(*fused), engine(*residual("layer1.0", broken=True)))
    assert (first(explanation).kind, first(explanation).ns) == ("fusion", 55 * US)


def test_nodes_that_are_fused_in_another_way() -> None:
    a = engine(layer("/l/Conv + /l/Add", 9), layer("/l/Relu", 3))
    b = engine(layer("/l/Conv", 8), layer("/l/Add + /l/Relu", 6))
    cause = first(explain(a, b))
    assert (cause.kind, cause.ns) == ("fusion", 2 * US)
    assert cause.text == "fused in another way: A runs Conv + Add, Relu, B Conv, Add + Relu"


def test_eager_against_an_engine_that_folds_and_fuses() -> None:
    eager = kernels((CONV, 9, "l.conv1"), (BN, 3, "l.bn1"), (RELU, 2, "l.relu"))
    folded = engine(layer("/l/conv1/Conv + /l/relu/Relu", 10))
    cause = first(explain(eager, folded))
    assert (cause.kind, cause.ns) == ("fusion", -4 * US)
    assert cause.text == (
        "B runs Conv + Relu in one step, A conv + norm + pointwise in 3 steps (norm + pointwise apart)"
    )
    assert cause.kernels_a == (CONV, BN, RELU)


def test_a_convolution_that_is_slower_with_less_in_it_is_another_cause() -> None:
    eager = kernels((CONV, 20, "l.conv1"), (BN, 3, "l.bn1"))
    folded = kernels(("sm90_xmma_fprop_implicit_gemm_f16f16", 10, "l.conv1"))
    assert [(c.kind, c.ns) for c in explain(eager, folded).parts[0].causes] == [
        ("kernel", -10 * US),
        ("fusion", -3 * US),
    ]


def test_fusing_does_not_explain_that_the_fused_side_is_slower() -> None:
    a = kernels((CONV, 10, "l.conv"), (BN, 1, "l.bn"), (RELU, 1, "l.relu"))
    b = kernels((CONV, 10, "l.conv"), ("triton_poi_fused_relu_0", 9, "l.bn+l.relu"))
    kinds = {cause.kind: cause.ns for part in explain(a, b).parts for cause in part.causes}
    assert kinds == {"kernel": 7 * US}


def test_reformats_of_one_side() -> None:
    a = kernels(("nchwToNhwcKernel", 4, "c"), (CONV, 9, "c"), ("nhwcToNchwKernel", 5, "c"))
    b = kernels((CONV, 9, "c"))
    cause = first(explain(a, b))
    assert (cause.kind, cause.ns) == ("reformat", -9 * US)
    assert cause.text == "A has 2 reformats, B none"
    assert cause.kernels_a == ("nchwToNhwcKernel", "nhwcToNchwKernel")


def test_another_precision_and_another_kernel() -> None:
    a = kernels((CONV, 9, "c"), ("sgemm", 9, "d"))
    b = kernels(("sm80_xmma_fprop_implicit_gemm_tf32f32", 20, "c"), ("ampere_sgemm_128x64", 12, "d"))
    precision, kernel = explain(a, b).parts
    assert (precision.causes[0].kind, precision.causes[0].ns) == ("precision", 11 * US)
    assert precision.causes[0].text == "A computes conv in fp16, B conv in tf32"
    assert (kernel.causes[0].kind, kernel.causes[0].ns) == ("kernel", 3 * US)
    a = kernels((CONV, 9, "c", "aten::convolution"), ("sgemm", 9, "d"))
    assert first(explain(a, b)).text == "A computes aten::convolution in fp16, B conv in tf32"


def test_of_several_operators_each_has_its_precision() -> None:
    a = kernels((CONV, 9, "m"), ("sm80_xmma_gemm_tf32f32_tf32f32", 9, "m"))
    b = kernels((CONV, 9, "m"), ("ampere_h16816gemm", 5, "m"))
    assert first(explain(a, b)).text == "A computes conv in fp16 and gemm in tf32, B conv + gemm in fp16"
    ordinary = kernels(("void implicit_convolve_sgemm<__half>", 90, "m"), ("ampere_sgemm_128x64", 50, "m"))
    assert first(explain(b, ordinary)).text == (
        "conv + gemm on tensor cores (fp16) in A, without tensor cores (conv in fp16 and gemm in fp32) in B"
    )


def test_tensor_cores_on_one_side_only_come_before_another_precision() -> None:
    slow = ("void implicit_convolve_sgemm<__half, __half, 1024, 5, 5>(int)", 264, "head")
    for fast, precision in (
        ("sm80_xmma_fprop_implicit_gemm_tf32f32_tf32f32_f32", "tf32"),
        ("cutlass_tensorop_f16_s16816fprop", "fp16"),
    ):
        a = kernels(("nchwToNhwcKernel", 5, "head"), (fast, 30, "head"), (RELU, 2, "head"))
        b = kernels(slow, (RELU, 3, "head"))
        causes = {cause.kind: cause for cause in explain(a, b).parts[0].causes}
        assert {kind: cause.ns for kind, cause in causes.items()} == {
            "cores": 234 * US,
            "time": 1 * US,
            "reformat": -5 * US,
        }
        expected = f"conv on tensor cores ({precision}) in A, without tensor cores (fp16) in B"
        assert causes["cores"].text == expected
        assert (causes["cores"].a, causes["cores"].b) == (30 * US, 264 * US)


def test_tensor_cores_are_the_cause_also_where_a_side_takes_more_steps() -> None:
    a = kernels(("nvjet_sm90_hsh_128x128_64x6", 10, "conv"), ("cublasLt::splitKreduce_kernel", 2, "conv"))
    b = kernels(("void precomputed_convolve_sgemm<__half, 1024>(int)", 130, "conv"))
    assert [(cause.kind, cause.ns) for cause in explain(a, b).parts[0].causes] == [("cores", 118 * US)]


def test_the_same_kernel_may_take_another_time() -> None:
    assert first(explain(kernels((CONV, 9, "c")), kernels((CONV, 10, "c")))).kind == "time"


def test_work_of_one_side_only() -> None:
    a, b = kernels((CONV, 9, "c")), kernels((CONV, 9, "c"), ("max_pool_forward_nhwc", 2, "extra"), (CONV, 3, "d"))
    assert {cause.kind for part in explain(a, b).parts for cause in part.causes} <= {"extra", "kernel", "fusion"}
    only = explain(engine(layer("/a/Conv", 9), layer("/b/Conv", 1)), engine(layer("/a/Conv", 9)))
    assert only.difference == -1 * US


def test_attention_is_fused_of_products_and_a_softmax() -> None:
    a = kernels(("h16816gemm", 9, "attn"), ("softmax_warp_forward", 4, "attn"), ("h16816gemm", 9, "attn"))
    b = kernels(("fmha_cutlassF_f16", 12, "attn"))
    assert (first(explain(a, b)).kind, first(explain(a, b)).ns) == ("fusion", -10 * US)
    assert first(explain(a, b)).text == "B runs attention in one step, A gemm + softmax in 3 steps (softmax apart)"


def test_each_side_of_an_attention_is_named_by_its_own_operators() -> None:
    steps = kernels(
        ("sm80_xmma_gemm_f32f32_f32f32_f32_nn", 30, "attn", "aten::bmm"),
        ("softmax_warp_forward", 12, "attn", "aten::_softmax"),
        ("sm80_xmma_gemm_f32f32_f32f32_f32_nn", 30, "attn", "aten::bmm"),
    )
    whole = kernels(("flash_fprop_wgmma_f16", 9, "attn", "aten::_cudnn_attention_forward"))
    assert first(explain(whole, steps)).text == (
        "A runs aten::_cudnn_attention_forward in one step, B aten::bmm + aten::_softmax in 3 steps (aten::_softmax "
        "apart); B computes aten::bmm in fp32 without tensor cores, A aten::_cudnn_attention_forward in fp16"
    )


def test_copies() -> None:
    copies = [Copy(kind="h2d", size=8_000_000, start=-90 * US, end=-10 * US)]
    explanation = explain(kernels((CONV, 9, "c")), kernels((CONV, 9, "c"), copies=copies))
    assert explanation.parts[0].name == "inputs to the device"
    assert first(explanation).kind == "copy"
    assert first(explanation).text == "A has no copies, B has 1 copy"


def test_what_a_convolution_takes_in_is_a_fusion_though_the_other_side_has_more_kernels_for_it() -> None:
    """Eager's convolution is two kernels, and its normalisation apart: one cause for each."""
    eager = kernels((CONV, 9, "l.conv1"), (CONV, 4, "l.conv1"), (BN, 3, "l.bn1"), (RELU, 2, "l.relu"))
    folded = engine(layer("/l/conv1/Conv + /l/relu/Relu", 10))
    causes = {cause.kind: cause.ns for cause in explain(eager, folded).parts[0].causes}
    assert causes == {"fusion": -5 * US, "kernel": -3 * US}
    plain = engine(layer("/l/conv1/Conv", 10))
    several = kernels((CONV, 9, "l.conv1"), (CONV, 4, "l.conv1"))
    assert {cause.kind for cause in explain(several, plain).parts[0].causes} == {"kernel"}


@pytest.mark.parametrize(
    ("name", "operator", "family"),
    [
        ("unknown_kernel", "aten::cudnn_convolution", "conv"),
        ("elementwise_kernel", "aten::cudnn_convolution", "pointwise"),
        ("elementwise_kernel", "aten::native_batch_norm", "norm"),
        ("elementwise_kernel", "aten::add_+aten::relu_", "pointwise"),
        ("unknown_kernel", "mine::thing", "other"),
    ],
)
def test_an_operator_says_what_the_name_of_a_kernel_does_not(name: str, operator: str, family: str) -> None:
    assert kernels((name, 9, "l", operator)).units[0].family == family


def test_the_remainder_is_shown() -> None:
    side = kernels((CONV, 9, "c"))
    longer = msgspec.structs.replace(side, window=side.window + 7 * US)
    part = explain(side, longer).parts[0]
    assert (part.kind, part.difference) == ("remainder", 7 * US)


def test_a_case_against_itself_has_no_difference() -> None:
    side = engine(*residual("layer1.0"))
    assert explain(side, side).same
    assert explain(side, side).totals == ()
    assert not explain(side, engine(*residual("layer1.0", broken=True))).same


def test_totals_are_the_sums_of_causes() -> None:
    a = engine(*residual("layer1.0"), layer("/head/Conv", 5))
    b = engine(*residual("layer1.0", broken=True), layer("/head/Conv", 7, tactic="other"))
    assert explain(a, b).totals == (("fusion", 55 * US, 1), ("kernel", 2 * US, 1))


BAD = {
    "models": ("net/eager/fp16/batch=1", "other/eager/fp16/batch=1", "of different models: net and other"),
    "sizes": ("net/eager/fp16/batch=1", "net/eager/fp16/batch=8", "different sizes: batch=1 and batch=8"),
}


@pytest.mark.parametrize("name", BAD)
def test_cases_that_differ_in_model_or_size_are_refused(name: str) -> None:
    one, other, what = BAD[name]
    a, b = kernels((CONV, 9), label=one), kernels((CONV, 9), label=other)
    with pytest.raises(UsageError) as error:
        explain(a, b)
    assert what in error.value.what
    assert explain(a, b, across=["model", "size"]).difference == 0


def test_other_precisions_backends_and_options_with_sizes_are_no_refusal() -> None:
    a = kernels((CONV, 9), label="net/eager[memory_format=x]/fp16/batch=1/graph")
    b = kernels((CONV, 9), label="net/tensorrt[network=n.py:f]/tf32/batch=1/streams=2")
    assert explain(a, b).difference == 0


def golden(version: str, us: int = 10) -> Layers:
    """A recorded engine, whose layers take ``us`` each, but for those that do nothing."""
    layers = inspector.parse_layers(json.loads((GOLDEN / f"inspector-{version}.json").read_text()))
    calls = [[(each.name, 0 if each.kind == "NoOp" else us * US) for each in layers]]
    return Layers(runtime=f"TensorRT {version}", layers=inspector.with_times(layers, calls), calls=1)


def test_recorded_engines_are_read() -> None:
    side = explain_sides.of_layers("c", "net/tensorrt/fp16/batch=4", golden("8.6.1"))
    families = [(unit.family, unit.names[0].exact if unit.names else "") for unit in side.units]
    assert families[:4] == [
        ("reformat", "/stem/conv/Conv"),
        ("conv", "/stem/conv/Conv"),
        ("pool", "/pool/GlobalAveragePool"),
        ("reformat", "/flatten/Flatten"),
    ]
    assert side.units[1].operators == ("Conv", "Relu")
    assert side.units[1].precision == "fp16"
    newer = explain_sides.of_layers("c", "net/tensorrt/fp16/batch=4", golden("10.16.1"))
    assert [unit.family for unit in newer.units] == ["reformat", "gemm", "softmax", "gemm"]


def test_a_recorded_engine_against_itself_with_a_slower_convolution() -> None:
    engine_a = golden("8.6.1")
    layers = list(engine_a.layers)
    layers[1] = msgspec.structs.replace(layers[1], ns=(30 * US,), tactic="another")
    engine_b = msgspec.structs.replace(engine_a, layers=tuple(layers))
    sides = [explain_sides.of_layers("c", "net/tensorrt/fp16/batch=4", each) for each in (engine_a, engine_b)]
    explanation = explain(*sides)
    assert explanation.difference == 20 * US
    assert (explanation.parts[0].name, first(explanation).kind) == ("stem: conv + relu", "kernel")


NAMES = st.sampled_from([CONV, BN, RELU, "sgemm", "nchwToNhwcKernel", "triton_poi_fused_cat_0", "k"])
MODULES = st.lists(st.sampled_from(["a", "a.x", "a.y", "b", "b.x", "c", ""]), max_size=3).map("+".join)
ROWS = st.lists(st.tuples(NAMES, st.integers(0, 50), MODULES), min_size=1, max_size=12)
SIDES = st.builds(
    lambda rows, gap, graph: kernels(*rows, gap_us=gap, graph=graph), ROWS, st.integers(0, 99), st.booleans()
)
NODES = st.sampled_from(["/a/Conv", "/a/Add", "/a/Relu", "/b/Conv", "/b/Relu", "/c/MatMul"])
REFORMAT = "Reformatting CopyNode for"
PREFIXES = st.sampled_from(["", f"{REFORMAT} Input Tensor 0 to ", f"{REFORMAT} Output Tensor 0 to "])
LAYERS = st.builds(
    lambda prefix, nodes, us: layer(prefix + " + ".join(nodes), us),
    PREFIXES,
    st.lists(NODES, min_size=1, max_size=3),
    st.integers(1, 50),
)
ENGINES = st.lists(LAYERS, min_size=1, max_size=8).map(lambda layers: engine(*layers, label="net/eager/fp16/batch=1"))


@settings(max_examples=40)
@given(st.one_of(SIDES, ENGINES), st.one_of(SIDES, ENGINES))
def test_everything_adds_up_and_turns_with_the_sides(a: Side, b: Side) -> None:
    explanation, turned = explain(a, b), explain(b, a)
    assert explanation.difference == b.window - a.window == sum(part.difference for part in explanation.parts)
    assert sum(part.a for part in explanation.parts) == a.window
    for part in explanation.parts:
        assert sum(cause.ns for cause in part.causes) == part.difference
    order = [(part.kind == "gap", -abs(part.difference)) for part in explanation.parts]
    assert order == sorted(order)
    assert sum(ns for _, ns, _ in explanation.totals) == explanation.difference
    mirrored = [(part.name, -part.difference) for part in turned.parts]
    assert sorted(mirrored) == sorted((part.name, part.difference) for part in explanation.parts)
    assert {kind: -ns for kind, ns, _ in turned.totals} == {kind: ns for kind, ns, _ in explanation.totals}
    assert explain(a, a).same
