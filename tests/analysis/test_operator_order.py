"""How kernels without names of modules are matched: by the order of products and attention."""

from __future__ import annotations

from bench.analysis import blocks
from tests.analysis.explain_kit import kernels

PRODUCT, PLAIN = "nvjet_sm90_hsh_192x128", "sm80_xmma_gemm_f32f32_f32f32_f32_nn"
EAGER = [
    *((PRODUCT, 10.0, f"attn.{name}", "aten::addmm") for name in ("query", "key", "value")),
    ("memset_like_fill", 0.8, "attn", "aten::fill_"),
    ("flash_fprop_wgmma_f16", 9.0, "attn", "aten::_cudnn_attention_forward"),
    (PRODUCT, 10.2, "out", "aten::addmm"),
    (PRODUCT, 30.0, "dense", "aten::addmm"),
]
STEPS = [
    (PRODUCT, 26.0, "", "aten::addmm"),
    ("elementwise_kernel", 3.0, "", "aten::where"),
    ("direct_copy_kernel", 10.0, "", "aten::copy_"),
    ("elementwise_kernel", 7.0, "", "aten::mul"),
    (PLAIN, 30.0, "", "aten::bmm"),
    ("elementwise_kernel", 28.0, "", "aten::add_"),
    ("softmax_warp_forward", 12.0, "", "aten::_softmax"),
    ("direct_copy_kernel", 12.0, "", "aten::copy_"),
    (PLAIN, 30.0, "", "aten::bmm"),
    ("direct_copy_kernel", 9.0, "", "aten::copy_"),
    (PRODUCT, 10.3, "", "aten::addmm"),
    (PRODUCT, 31.0, "", "aten::addmm"),
]


def matched(a: list[tuple[str, float, str, str]], b: list[tuple[str, float, str, str]]) -> dict[str, tuple[int, ...]]:
    """The units of B (indices) by the names of their blocks."""
    alignment = blocks.align(kernels(*a).units, kernels(*b).units)
    assert alignment.by == "operators"
    assert sorted(at for block in alignment.blocks for at in block.b) == list(range(len(b)))
    return {block.name: block.b for block in alignment.blocks}


def test_attention_in_steps_is_matched_with_attention_in_one_kernel() -> None:
    expected = {"attn: query + key + value": (0,), "attn": tuple(range(1, 9)), "out": (9, 10), "dense": (11,)}
    assert matched(EAGER, STEPS) == expected
    assert matched(EAGER * 3, STEPS * 3) == {
        f"{name} {layer + 1}": tuple(at + 12 * layer for at in places)
        for layer in range(3)
        for name, places in expected.items()
    }


def test_it_does_not_depend_on_the_side() -> None:
    one = blocks.align(kernels(*EAGER).units, kernels(*STEPS).units)
    turned = blocks.align(kernels(*STEPS).units, kernels(*EAGER).units)
    assert {(block.a, block.b) for block in one.blocks} == {(block.b, block.a) for block in turned.blocks}


def test_a_softmax_of_reductions_and_an_exponential_is_one_too() -> None:
    softmax = [
        ("reduce_kernel", 2.0, "", "ReduceMax"),
        ("elementwise", 3.0, "", "Exp"),
        ("reduce_kernel", 2.0, "", "ReduceSum"),
    ]
    steps = [*STEPS[:6], *softmax, *STEPS[7:]]
    assert matched(EAGER, steps)["attn"] == tuple(range(1, 11))


def test_between_products_alone_a_softmax_means_nothing() -> None:
    """Where no side has a kernel of attention, products are matched one by one."""
    slower = [(name, us * 2, "", operator) for name, us, _, operator in STEPS]
    alignment = blocks.align(kernels(*STEPS).units, kernels(*slower).units)
    assert len(alignment.blocks) == 5
    assert all(block.a == block.b for block in alignment.blocks)


def test_an_operator_without_a_partner_goes_where_times_become_more_alike() -> None:
    a = [(PRODUCT, 10.0, "one", ""), (PRODUCT, 10.0, "two", ""), (PRODUCT, 30.0, "three", "")]
    for times, expected in (((20.0, 30.0), [(0, 1), (2,)]), ((10.0, 40.0), [(0,), (1, 2)])):
        b = [(PRODUCT, us, "", "") for us in times]
        alignment = blocks.align(kernels(*a).units, kernels(*b).units)
        assert [block.a for block in alignment.blocks] == expected
