"""Convolutions that have the name of the normalisation folded into them stand under the convolution as well."""

from __future__ import annotations

from bench.analysis import folded
from bench.analysis.explain import explain
from bench.analysis.explain_sides import Side
from tests.analysis.explain_kit import US, kernels

CONV, BN, RELU = "sm80_xmma_fprop_implicit_gemm_f16f16", "bn_fw_inf_1C11_kernel_NCHW", "relu_elementwise_kernel"
TO_NHWC = "nchwToNhwcKernel"


def eager() -> Side:
    return kernels(
        (CONV, 9, "l.conv1"), (BN, 3, "l.bn1"), (RELU, 2, "l.relu"), (CONV, 20, "l.conv2"), (BN, 4, "l.bn2")
    )  # fmt: skip


def fused() -> Side:
    """As ONNX Runtime names the nodes of a file whose exporter kept the names of normalisations."""
    return kernels(
        (CONV, 8, "/l.bn1/Conv"), (RELU, 2, "/l.relu/Relu"), (TO_NHWC, 1, "/l.bn2/Conv"), (CONV, 60, "/l.bn2/Conv")
    )  # fmt: skip


def test_a_folded_node_is_aligned_to_the_convolution_and_names_both() -> None:
    explanation = explain(eager(), fused())
    parts = {part.name: part for part in explanation.parts}
    assert list(parts) == ["l: conv2 + bn2", "l: conv1 + bn1", "l.relu"]
    assert (parts["l: conv2 + bn2"].a, parts["l: conv2 + bn2"].b) == (24 * US, 61 * US)
    assert (parts["l: conv1 + bn1"].a, parts["l: conv1 + bn1"].b) == (12 * US, 8 * US)
    turned = explain(fused(), eager())
    assert [part.name for part in turned.parts] == list(parts)


def test_the_convolution_comes_first_among_the_names_and_the_node_stays() -> None:
    _, side = folded.with_convolutions(eager(), fused())
    assert [[name.exact for name in unit.names] for unit in side.units] == [
        ["l.conv1", "/l.bn1/Conv"],
        ["/l.relu/Relu"],
        ["l.conv2", "/l.bn2/Conv"],
        ["l.conv2", "/l.bn2/Conv"],
    ]


def test_a_side_that_names_the_convolution_itself_is_left_alone() -> None:
    named = kernels((CONV, 8, "/l.conv1/Conv"), (RELU, 2, "/l.relu/Relu"), (CONV, 9, "/l.conv2/Conv"))
    assert folded.with_convolutions(eager(), named) == (eager(), named)
    assert folded.with_convolutions(eager(), eager()) == (eager(), eager())


def test_a_normalisation_without_a_convolution_before_it_folds_nothing() -> None:
    first = kernels((BN, 3, "l.bn0"), (CONV, 9, "l.conv1"), (BN, 3, "l.bn1"), (BN, 3, "l.bn2"))
    other = kernels((CONV, 3, "/l.bn0/Conv"), (CONV, 9, "/l.bn2/Conv"))
    assert folded.with_convolutions(first, other) == (first, other)


def test_a_normalisation_is_folded_with_the_convolution_of_its_own_module() -> None:
    """Of two branches whose convolutions run first, and not with one before a convolution without a name of its own."""
    branches = kernels((CONV, 9, "a.conv"), (CONV, 9, "b.conv"), (BN, 3, "a.bn"), (BN, 3, "b.bn"))
    _, side = folded.with_convolutions(branches, kernels((CONV, 9, "/a.bn/Conv"), (CONV, 9, "/b.bn/Conv")))
    assert [[name.path for name in unit.names] for unit in side.units] == [["a.conv", "a.bn"], ["b.conv", "b.bn"]]
    unknown = kernels((CONV, 9, "l.conv1"), (CONV, 9, "l.conv2+l.x"), (BN, 3, "l.bn2"))
    _, side = folded.with_convolutions(unknown, kernels((CONV, 20, "/l.bn2/Conv")))
    assert [name.path for name in side.units[0].names] == ["l.bn2"]
