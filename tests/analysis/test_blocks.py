"""How the units of two cases come into blocks: by nodes, by modules, by the order of operators."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from bench.analysis import blocks
from bench.analysis.explain_sides import Side, Unit
from bench.model.profile import Copy
from tests.analysis.explain_kit import engine, kernels, layer, residual

CONV, BN, RELU = "sm80_xmma_fprop_implicit_gemm_f16f16", "bn_fw_inf_1C11_kernel_NCHW", "relu_elementwise_kernel"


def shape(a: Side, b: Side) -> list[tuple[list[str], list[str]]]:
    """The names of the units of each block."""
    return [
        ([a.units[at].name for at in block.a], [b.units[at].name for at in block.b])
        for block in blocks.align(a.units, b.units).blocks
    ]


def test_nodes_that_one_layer_fuses_are_one_block() -> None:
    a, b = engine(*residual("layer1.0")), engine(*residual("layer1.0", broken=True))
    alignment = blocks.align(a.units, b.units)
    assert alignment.by == "nodes"
    assert [(block.a, block.b) for block in alignment.blocks] == [((0,), (0,)), ((1,), (1,)), ((2,), (2, 3, 4))]
    assert [block.name for block in alignment.blocks][2] == "layer1.0: conv3 + relu_2"


def test_a_module_that_only_one_side_has_belongs_to_the_one_before_it() -> None:
    eager = kernels((CONV, 9, "l.conv1"), (BN, 3, "l.bn1"), (RELU, 2, "l.relu"), (CONV, 9, "l.conv2"))
    folded = engine(layer("/l/conv1/Conv + /l/relu/Relu", 9), layer("/l/conv2/Conv", 8))
    assert shape(eager, folded) == [
        ([CONV, BN, RELU], ["/l/conv1/Conv + /l/relu/Relu"]),
        ([CONV], ["/l/conv2/Conv"]),
    ]


def test_calls_of_one_module_are_told_apart_as_exporters_do() -> None:
    eager = kernels((CONV, 9, "l.conv1"), (RELU, 2, "l.relu"), (CONV, 9, "l.conv2"), (RELU, 2, "l.relu"))
    exported = engine(layer("/l/conv1/Conv + /l/relu/Relu", 9), layer("/l/conv2/Conv + /l/relu_1/Relu", 8))
    assert [len(a) for a, _ in shape(eager, exported)] == [2, 2]


def test_kernels_of_several_modules_join_them() -> None:
    eager = kernels((CONV, 9, "l.conv"), (BN, 3, "l.bn"), (RELU, 2, "l.relu"), (CONV, 9, "m.conv"))
    fused = kernels((CONV, 9, "l.conv"), ("triton_poi_fused_relu_0", 2, "l.bn+l.relu"), (CONV, 9, "m.conv"))
    assert [(len(a), len(b)) for a, b in shape(eager, fused)] == [(1, 1), (2, 1), (1, 1)]


def test_a_wrapper_around_the_model_of_one_side_changes_nothing() -> None:
    bare = kernels((CONV, 9, "conv1"), (CONV, 9, "conv2"))
    wrapped = kernels((CONV, 9, "model.conv1"), (CONV, 9, "model.conv2"))
    assert [(len(a), len(b)) for a, b in shape(bare, wrapped)] == [(1, 1), (1, 1)]


def test_a_span_joins_all_nodes_between_its_ends() -> None:
    a = engine(layer("/a/Conv", 9), layer("/b/MatMul", 3), layer("/b/Softmax", 2), layer("/b/MatMul_1", 3))
    b = engine(layer("/a/Conv", 9), layer("{ForeignNode[/b/MatMul.../b/MatMul_1]}", 5, "Myelin"))
    assert [(len(x), len(y)) for x, y in shape(a, b)] == [(1, 1), (3, 1)]


def test_a_module_that_the_other_side_names_by_its_parts() -> None:
    fine = kernels((CONV, 9, "stem"), ("gemm", 9, "head.fc1"), (RELU, 1, "head.act"), ("gemm", 9, "head.fc2"))
    coarse = kernels((CONV, 9, "stem"), ("fmha", 9, "head"))
    assert [(len(x), len(y)) for x, y in shape(fine, coarse)] == [(1, 1), (3, 1)]


def test_a_reformat_without_a_name_prepares_what_follows() -> None:
    a = kernels((CONV, 9, "c1"), ("nchwToNhwcKernel", 2), (CONV, 9, "c2"))
    b = kernels((CONV, 9, "c1"), (CONV, 9, "c2"))
    assert shape(a, b) == [([CONV], [CONV]), (["nchwToNhwcKernel", CONV], [CONV])]


def test_without_names_convolutions_and_products_are_matched_in_order() -> None:
    a = kernels(("nchwToNhwcKernel", 1), (CONV, 9), (BN, 1), (RELU, 1), (CONV, 30), ("sgemm", 4))
    b = kernels((CONV, 10), (CONV, 28), ("elementwise_add", 1), ("h16816gemm", 5))
    alignment = blocks.align(a.units, b.units)
    assert alignment.by == "operators"
    assert [(block.a, block.b) for block in alignment.blocks] == [((0, 1, 2, 3), (0,)), ((4,), (1, 2)), ((5,), (3,))]


def test_what_a_module_computes_between_its_parts_is_one_call_of_it() -> None:
    """B runs the projection of the values between the products of the attention, A before it."""
    a = kernels(("sgemm", 9, "self.key"), ("sgemm", 9, "self.value"), ("flash_fprop_f16", 9, "self"))
    steps = [
        ("h16816gemm", 5, "self"),
        ("softmax_warp", 3, "self"),
        ("sgemm", 9, "self.value"),
        ("h16816gemm", 5, "self"),
    ]
    b = kernels(("sgemm", 9, "self.key"), *steps)
    alignment = blocks.align(a.units, b.units)
    assert {block.name: (block.a, block.b) for block in alignment.blocks} == {
        "self.key": ((0,), (0,)), "self.value": ((1,), (3,)), "self": ((2,), (1, 2, 4)),
    }  # fmt: skip


def test_weights_that_one_side_prepares_ahead_do_not_shift_the_calls_of_their_modules() -> None:
    block = [(CONV, 9, "l.conv1"), (BN, 1, "l.bn1"), (RELU, 1, "l.relu"), (CONV, 8, "l.conv2"), (BN, 1, "l.bn2")]
    weights = [("triton_poi_fused_convolution_relu_0", 1, "l.bn1+l.relu+l.conv2"), (CONV, 5, "stem")]
    fused = [(CONV, 9, "l.conv1"), ("triton_poi_fused_relu_1", 1, "l.bn1+l.relu"), *block[3:]]
    a, b = kernels((CONV, 5, "stem"), *block), kernels(*weights, *fused)
    assert {frozenset(block.a): frozenset(block.b) for block in blocks.align(a.units, b.units).blocks} == {
        frozenset({0}): {1}, frozenset({1}): {2}, frozenset({2, 3, 4}): {0, 3, 4}, frozenset({5}): {5},
    }  # fmt: skip


def test_a_module_around_the_model_on_one_side_is_not_in_the_names() -> None:
    a = kernels((CONV, 9, "net.l.conv"), (BN, 1, "net.l.bn"), (RELU, 1, "net.l.relu"), ("sgemm", 3, "net.head"))
    b = engine(layer("/l/conv/Conv + /l/relu/Relu", 10), layer("/head/Gemm", 3))
    for pair in ((a, b), (b, a)):
        names = [block.name for block in blocks.align(*(side.units for side in pair)).blocks]
        assert [sorted(name.replace("l: ", "").split(" + ")) for name in names] == [["bn", "conv", "relu"], ["head"]]
        assert names[0].startswith("l: ")


def test_names_that_products_do_not_have_are_not_used() -> None:
    """The runtime has put new nodes in place of the products, and kept the names of what moves values around them."""
    a = kernels(("view", 1, "l.0"), ("sgemm", 9, "l.0.fc"), ("view", 1, "l.1"), ("sgemm", 90, "l.1.fc"))
    b = kernels(("view", 1, "l.0"), ("sgemm", 9), ("sgemm", 90), ("view", 1, "l.1"))
    alignment = blocks.align(a.units, b.units)
    assert alignment.by == "operators"
    assert [(1 in block.a, 1 in block.b) for block in alignment.blocks] == [(True, True), (False, False)]


def test_of_several_matches_the_one_of_like_times_is_taken() -> None:
    a, b = kernels((CONV, 5), (CONV, 100), (CONV, 7)), kernels((CONV, 99), (CONV, 7))
    assert [(block.a, block.b) for block in blocks.align(a.units, b.units).blocks] == [((0, 1), (0,)), ((2,), (1,))]


def test_copies_from_and_to_the_host_are_blocks_of_their_own() -> None:
    copies = [Copy(kind="h2d", size=8, start=-9, end=-1), Copy(kind="d2h", size=8, start=10**9, end=10**9 + 5)]
    side = kernels((CONV, 9, "c1"), copies=copies)
    alignment = blocks.align(side.units, side.units)
    assert [block.name for block in alignment.blocks] == ["inputs to the device", "c1", "outputs to the host"]


NAMES = st.sampled_from([CONV, BN, RELU, "sgemm", "nchwToNhwcKernel", "max_pool", "k"])
MODULES = st.lists(st.sampled_from(["a", "a.x", "a.y", "b", "b.x", "c", ""]), max_size=3).map("+".join)
UNITS = st.lists(st.tuples(NAMES, st.integers(0, 50), MODULES), min_size=1, max_size=12)


@settings(max_examples=40)
@given(UNITS, UNITS)
def test_every_unit_is_in_one_block_and_no_name_in_two(
    a: list[tuple[str, int, str]], b: list[tuple[str, int, str]]
) -> None:
    sides = kernels(*a).units, kernels(*b).units
    alignment = blocks.align(*sides)
    for index, units in enumerate(sides):
        places = [at for block in alignment.blocks for at in (block.a, block.b)[index]]
        assert sorted(places) == list(range(len(units)))
    if alignment.by == "modules":
        assert all(one.isdisjoint(other) for one, other in _pairs([_once(block, *sides) for block in alignment.blocks]))
    mirrored = blocks.align(*sides[::-1])
    assert {(block.b, block.a) for block in mirrored.blocks} == {(block.a, block.b) for block in alignment.blocks}


def _once(block: blocks.Block, a: tuple[Unit, ...], b: tuple[Unit, ...]) -> set[str]:
    """The paths of a block, of those that a case calls once only."""
    units = [*(a[at] for at in block.a), *(b[at] for at in block.b)]
    every = [[name.path for unit in side for name in unit.names] for side in (a, b)]
    return {n.path for unit in units for n in unit.names if all(side.count(n.path) == 1 for side in every)}


def _pairs(sets: list[set[str]]) -> list[tuple[set[str], set[str]]]:
    return [(one, other) for at, one in enumerate(sets) for other in sets[at + 1 :]]
