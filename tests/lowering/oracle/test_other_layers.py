"""Layers of the oracle that few programs use, each by an example."""

from __future__ import annotations

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from bench.lowering import oracle  # noqa: E402
from tests.lowering.oracle import kit  # noqa: E402

pytestmark = pytest.mark.torch


@pytest.mark.parametrize(("equation", "refusal"), [
    ("ij,jk->ik", ""), ("ij,jk->", ""), ("ij,jk", ""), ("ij,...k->ik", "an ellipsis"), ("ii,jk->ik", "a letter twice"),
    ("iJ,Jk->ik", "letters of"), ("ij->i", "for 2 inputs"), ("ijl,jk->ik", "for an input of 2 dimensions"),
])  # fmt: skip
def test_einsum(equation: str, refusal: str) -> None:
    a, b = kit.values("FLOAT", (2, 3)), kit.values("FLOAT", (3, 4), 1)
    _, net, tensors = kit.network(a, b)
    layer = net.add_einsum(tensors, equation)
    if refusal:
        with pytest.raises(oracle.Refusal, match=refusal):
            kit.computed(layer)
    else:
        torch.testing.assert_close(kit.computed(layer), torch.einsum(equation, a, b))


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_one_hot(axis: int) -> None:
    indices = torch.tensor([[0, 2, 1]], dtype=torch.int32)
    _, net, (tensor,) = kit.network(indices)
    values = kit.constant(net, np.array([5.0, 7.0], np.float32))
    depth = kit.constant(net, np.array(3, np.int32))
    expected = torch.nn.functional.one_hot(indices.long(), 3).movedim(-1, axis) * 2.0 + 5
    assert torch.equal(kit.computed(net.add_one_hot(tensor, values, depth, axis)), expected)


def test_non_zero_gives_a_column_for_each_place() -> None:
    x = torch.tensor([[0.0, 2.0], [3.0, 0.0]])
    trt, net, (tensor,) = kit.network(x)
    assert kit.computed(net.add_non_zero(tensor)).tolist() == [[0, 1], [1, 0]]
    assert net.add_non_zero(tensor, trt.DataType.INT64).get_output(0).dtype == trt.DataType.INT64
    trt, old, tensors = kit.network(x, version="8.6.1")
    with pytest.raises(TypeError, match=r"add_non_zero takes indices_type from TensorRT 10\.14 on, not in 8\.6\.1"):
        old.add_non_zero(tensors[0], trt.DataType.INT32)


def test_a_sequence_in_two_dimensions() -> None:
    trt, net, _ = kit.network()
    layer = net.add_fill((2, 3), trt.FillOperation.LINSPACE, trt.DataType.INT32)
    layer.set_input(1, kit.constant(net, np.array(1, np.int32)))
    layer.set_input(2, kit.constant(net, np.array([10, 2], np.int32)))
    assert kit.computed(layer).tolist() == [[1, 3, 5], [11, 13, 15]]
    with pytest.raises(oracle.Refusal, match="random numbers"):
        kit.computed(net.add_fill((2,), trt.FillOperation.RANDOM_UNIFORM))


def test_squeeze_and_unsqueeze() -> None:
    _, net, (tensor,) = kit.network(torch.zeros(1, 3, 1))
    axes = kit.constant(net, np.array([0, -1], np.int64))
    narrow = net.add_squeeze(tensor, axes).get_output(0)
    assert narrow.shape == (3,)
    assert net.add_unsqueeze(narrow, axes).get_output(0).shape == (1, 3, 1)
    with pytest.raises(oracle.Refusal, match=r"axes \[1\] of \(1, 3, 1\)"):
        kit.computed(net.add_squeeze(tensor, kit.constant(net, np.array([1], np.int64))))


def test_padding_is_of_the_last_two_dimensions() -> None:
    x = kit.values("FLOAT", (1, 1, 2, 3))
    _, net, (tensor,) = kit.network(x)
    value = kit.computed(net.add_padding_nd(tensor, (1, 0), (0, -1)))
    assert torch.equal(value, torch.nn.functional.pad(x, (0, -1, 1, 0)))


def test_parametric_relu() -> None:
    x, slopes = kit.values("FLOAT", (2, 3, 4)), kit.values("FLOAT", (1, 3, 1), 1)
    _, net, tensors = kit.network(x, slopes)
    expected = torch.nn.functional.prelu(x, slopes.flatten())
    assert torch.equal(kit.computed(net.add_parametric_relu(*tensors)), expected)


def test_concatenation_takes_the_third_dimension_from_the_end_unless_told() -> None:
    x = kit.values("FLOAT", (2, 3, 4, 5))
    _, net, (tensor,) = kit.network(x)
    layer = net.add_concatenation([tensor, tensor])
    assert torch.equal(kit.computed(layer), torch.cat([x, x], 1))
    layer.axis = 3
    assert torch.equal(kit.computed(layer), torch.cat([x, x], 3))


@pytest.mark.parametrize(("kind", "late"), [("UPPER_LEFT", 0), ("LOWER_RIGHT", 2)])
def test_attention_of_version_11_masks_from_the_first_or_the_last_position(kind: str, late: int) -> None:
    query, key = kit.values("FLOAT", (1, 1, 3, 4)), kit.values("FLOAT", (1, 1, 5, 4), 1)
    trt, net, tensors = kit.network(query, key)
    op, causal = trt.AttentionNormalizationOp.SOFTMAX, getattr(trt.CausalMaskKind, kind)
    value = kit.computed(net.add_attention_v2(tensors[0], tensors[1], tensors[1], op, causal))
    mask = torch.ones(3, 5).tril(late).bool()
    expected = torch.nn.functional.scaled_dot_product_attention(query, key, key, attn_mask=mask, scale=1.0)
    torch.testing.assert_close(value, expected)


def test_gather_of_each_batch_by_its_own_indices() -> None:
    x, index = kit.values("FLOAT", (2, 4, 3)), torch.tensor([[0, 3], [1, 1]], dtype=torch.int32)
    _, net, tensors = kit.network(x, index)
    layer = net.add_gather(*tensors, 1)
    layer.num_elementwise_dims = 1
    assert torch.equal(kit.computed(layer), torch.stack([x[0, [0, 3]], x[1, [1, 1]]]))


def test_scatter_of_an_index_that_comes_twice_is_refused_unless_the_updates_agree() -> None:
    index = torch.tensor([1, 1], dtype=torch.int32)
    for updates, agree in ((torch.tensor([5.0, 5.0]), True), (torch.tensor([5.0, 6.0]), False)):
        trt, net, tensors = kit.network(torch.zeros(3), index, updates)
        layer = net.add_scatter(*tensors, trt.ScatterMode.ELEMENT)
        if agree:
            assert kit.computed(layer).tolist() == [0, 5, 0]
        else:
            with pytest.raises(oracle.Refusal, match="an index comes twice"):
                kit.computed(layer)
