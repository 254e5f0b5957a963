"""That the difference of two cases is shared out among causes without a rest, each kernel in one of them."""

from __future__ import annotations

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.analysis.explain import Explanation, explain
from bench.analysis.explain_sides import Side
from bench.report.explain_groups import groups
from tests.analysis.explain_kit import US, engine, kernels, layer

NAMES = (
    "sm80_xmma_fprop_implicit_gemm_f16f16", "precomputed_convolve_sgemm<__half>", "h16816gemm", "ampere_sgemm_128x64",
    "sm80_xmma_gemm_f32f32_f32f32_f32", "flash_fprop_wgmma_f16", "softmax_warp_forward", "bn_fw_inf_1C11_kernel_NCHW",
    "relu_elementwise_kernel", "nchwToNhwcKernel", "nhwcToNchwKernel", "CatArrayBatchedCopy", "reduce_kernel",
    "triton_poi_fused_add_relu_3", "unknown_kernel",
)  # fmt: skip
MODULES = ("", "l.0.conv", "l.0.bn", "l.0.relu", "l.1.self", "l.1.self.key", "l.0.conv+l.0.bn", "l.0.conv+l.0.relu")
TIMES = st.floats(0.1, 900)
KERNELS = st.lists(st.tuples(st.sampled_from(NAMES), TIMES, st.sampled_from(MODULES)), min_size=1, max_size=14)
NODES = ("/l/l.0/conv/Conv", "/l/l.0/bn/Add", "/l/l.0/relu/Relu", "/l/l.1/self/MatMul", "/l/l.1/self/Softmax")


@st.composite
def of_kernels(draw: st.DrawFn) -> Side:
    return kernels(*draw(KERNELS), gap_us=draw(TIMES), unprofiled_us=draw(st.sampled_from([0, 5, 4000])))


@st.composite
def of_layers(draw: st.DrawFn) -> Side:
    layers = []
    for nodes in draw(st.lists(st.lists(st.sampled_from(NODES), min_size=1, max_size=3, unique=True), min_size=1)):
        around = draw(st.sampled_from(["", "Output Tensor 0 to ", "Input Tensor 0 to "]))
        name = f"Reformatting CopyNode for {around}{nodes[0]}" if around else " + ".join(nodes)
        layers.append(layer(name, draw(TIMES), tactic=draw(st.sampled_from("ab"))))
    return engine(*layers)


SIDES = st.one_of(of_kernels(), of_layers())


def check(explanation: Explanation) -> None:
    assert sum(ns for _, ns, _ in explanation.totals) == explanation.difference
    assert sum(part.difference for part in explanation.parts) == explanation.difference
    for side, units_of in ((explanation.a, "units_a"), (explanation.b, "units_b")):
        placed = [at for part in explanation.parts for at in getattr(part, units_of)]
        assert sorted(placed) == list(range(len(side.units)))  # each unit is in one part
        for part in explanation.parts:
            of_causes = [at for cause in part.causes for at in getattr(cause, units_of)]
            assert len(of_causes) == len(set(of_causes))  # and in one cause at most
            assert set(of_causes) <= set(getattr(part, units_of))
    for part in explanation.parts:
        assert sum(cause.ns for cause in part.causes) == part.difference
        for cause in part.causes:
            assert cause.ns == cause.b - cause.a
            if part.kind == "block":
                assert cause.a == sum(explanation.a.units[at].ns for at in cause.units_a)
                assert cause.b == sum(explanation.b.units[at].ns for at in cause.units_b)
    for group in groups(explanation):
        assert sum(cause.ns for cause in group.causes) == group.difference


@settings(max_examples=300, deadline=None)
@given(SIDES, SIDES)
def test_causes_add_up_to_the_difference_and_each_kernel_has_one(a: Side, b: Side) -> None:
    explanation = explain(a, b)
    check(explanation)
    turned = explain(b, a)
    check(turned)
    assert turned.difference == -explanation.difference
    assert {kind: -ns for kind, ns, _ in turned.totals} == {kind: ns for kind, ns, _ in explanation.totals}


@settings(max_examples=60, deadline=None)
@given(SIDES, SIDES, st.integers(1, 5000), st.integers(1, 5000))
def test_causes_add_up_to_what_a_run_measured(a: Side, b: Side, gpu_a: int, gpu_b: int) -> None:
    a = msgspec.structs.replace(a, measured={"gpu": float(gpu_a * US)})
    b = msgspec.structs.replace(b, measured={"gpu": float(gpu_b * US)})
    explanation = explain(a, b, gaps="gpu")
    check(explanation)
    assert explanation.difference == (gpu_b - gpu_a) * US


@settings(max_examples=100, deadline=None)
@given(SIDES)
def test_a_case_against_itself_has_no_cause(side: Side) -> None:
    explanation = explain(side, side)
    assert explanation.difference == 0
    assert not any(ns for _, ns, _ in explanation.totals)
