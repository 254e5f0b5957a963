"""Networks as wholes: what is refused and where, changes after the fact, inputs, outputs, weights."""

from __future__ import annotations

import inspect

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from bench.lowering import oracle  # noqa: E402
from bench.lowering.oracle.core import Weights  # noqa: E402
from tests.lowering.oracle import kit  # noqa: E402

pytestmark = pytest.mark.torch


def test_a_refusal_names_the_line_of_the_program_and_the_layer() -> None:
    trt, net, (a, b) = kit.network(torch.zeros(2, 3), torch.zeros(3))
    layer = net.add_elementwise(a, b, trt.ElementWiseOperation.SUM)
    line = inspect.currentframe().f_lineno - 1  # type: ignore[union-attr]
    layer.name = "encoder.add"
    with pytest.raises(oracle.Refusal) as error:
        _ = layer.get_output(0).shape
    assert str(error.value) == (
        f"test_network.py:{line}: layer 'encoder.add' (add_elementwise): inputs of different ranks: (2, 3) and (3,)"
    )


def test_a_refusal_reaches_who_runs_a_program_with_its_line() -> None:
    from tests.lowering.converters.kit import program_of, run

    program = program_of(lambda x: x.relu() + 1, [torch.zeros(2, 3)])
    edited = program._replace(source=program.source.replace('"float32", 2, "add', '"float32", 3, "add'))
    assert edited.source != program.source
    line = next(
        i for i, text in enumerate(edited.source.splitlines(), 1) if "add_elementwise" in text and "SUM" in text
    )
    with pytest.raises(oracle.Refusal, match=rf"program.py:{line}: layer 'add' .*different ranks: \(2, 3\) and"):
        run(edited, [torch.zeros(2, 3)])


def test_a_refusal_comes_when_the_next_layer_is_added() -> None:
    trt, net, (a,) = kit.network(torch.zeros(2))
    broken = net.add_unary(a, trt.UnaryOperation.NOT)
    with pytest.raises(oracle.Refusal, match="an input of FLOAT; the layer takes BOOL"):
        net.add_identity(broken.get_output(0))


def test_types_are_not_mixed() -> None:
    trt, net, (a, b) = kit.network(torch.zeros(2), torch.zeros(2).half())
    with pytest.raises(oracle.Refusal, match="inputs of different types: FLOAT, HALF"):
        _ = net.add_elementwise(a, b, trt.ElementWiseOperation.SUM).get_output(0).dtype


def test_a_change_is_followed_by_all_layers_that_read_the_output() -> None:
    trt, net, (a,) = kit.network(torch.tensor([2.0]))
    first = net.add_elementwise(a, a, trt.ElementWiseOperation.SUM)
    second = net.add_unary(first.get_output(0), trt.UnaryOperation.NEG)
    assert kit.computed(second).item() == -4
    first.op = trt.ElementWiseOperation.SUB
    assert kit.computed(second).item() == 0


def test_a_setting_that_the_layer_lacks_is_an_attribute_error() -> None:
    trt, net, (a,) = kit.network(torch.zeros(1, 1, 4, 4))
    layer = net.add_pooling_nd(a, trt.PoolingType.MAX, (2, 2))
    with pytest.raises(AttributeError, match=r"test_network.py:\d+: .*IPoolingLayer has no property 'stride'"):
        layer.stride = (2, 2)
    layer.type = trt.TopKOperation.MAX
    with pytest.raises(TypeError, match="no member of PoolingType"):
        _ = layer.get_output(0).shape


def test_settings_of_another_rank_are_refused() -> None:
    trt, net, (a,) = kit.network(torch.zeros(1, 1, 4, 4))
    layer = net.add_pooling_nd(a, trt.PoolingType.MAX, (2, 2))
    with pytest.raises(oracle.Refusal, match=r"stride_nd = \(2,\) for a window of 2 dimensions"):
        layer.stride_nd = (2,)


def test_weights_have_the_type_of_the_input_and_fit() -> None:
    _, net, (a,) = kit.network(torch.zeros(1, 2, 4, 4).half())
    with pytest.raises(oracle.Refusal, match="kernel of FLOAT for an input of HALF"):
        _ = net.add_convolution_nd(a, 3, (3, 3), np.zeros((3, 2, 3, 3), np.float32)).get_output(0).shape
    with pytest.raises(oracle.Refusal, match="kernel has 9 values; it takes 54"):
        _ = net.add_convolution_nd(a, 3, (3, 3), np.zeros(9, np.float16)).get_output(0).shape
    with pytest.raises(ValueError, match="contiguous"):
        _ = net.add_constant((2, 3), np.zeros((3, 2), np.float32).T).get_output(0).shape
    with pytest.raises(oracle.Refusal, match="a constant of BOOL"):
        _ = net.add_constant((2,), np.zeros(2, np.bool_)).get_output(0).shape


def test_a_kernel_may_be_a_tensor() -> None:
    x, kernel = kit.values("FLOAT", (1, 2, 4, 4)), kit.values("FLOAT", (3, 2, 3, 3), 1)
    _, net, tensors = kit.network(x, kernel)
    layer = net.add_convolution_nd(tensors[0], 3, (3, 3), Weights())
    layer.set_input(1, tensors[1])
    torch.testing.assert_close(kit.computed(layer), torch.nn.functional.conv2d(x, kernel))
    with pytest.raises(oracle.Refusal, match="it has no input 3"):
        layer.set_input(3, tensors[1])


def test_weights_of_bfloat16_are_an_address() -> None:
    value = kit.values("BF16", (3,))
    trt, net, _ = kit.network()
    tensor = net.add_constant((3,), trt.Weights(trt.DataType.BF16, value.data_ptr(), 3)).get_output(0)
    assert tensor.dtype == trt.DataType.BF16
    assert torch.equal(tensor.value, value)


def test_an_input_has_the_declared_type_and_shape() -> None:
    trt = oracle.Module()
    net = oracle.Network(trt, {"ids": torch.tensor([[1, 2]]), "x": torch.zeros(2, 3)})
    ids = net.add_input("ids", trt.DataType.INT32, (-1, 2))
    assert (ids.shape, ids.dtype) == ((1, 2), trt.DataType.INT32)
    with pytest.raises(oracle.Refusal, match=r"add_input\('x'\): values of FLOAT for an input of HALF"):
        net.add_input("x", trt.DataType.HALF, (2, 3))
    with pytest.raises(oracle.Refusal, match=r"values of shape \(2, 3\) for an input of shape \(-1, 4\)"):
        net.add_input("x", trt.DataType.FLOAT, (-1, 4))
    with pytest.raises(oracle.Refusal, match="there are no values of that name, only of ids, x"):
        net.add_input("y", trt.DataType.FLOAT, (2, 3))


def test_outputs_have_names_of_their_own() -> None:
    _, net, (a,) = kit.network(torch.ones(2))
    first, second = (net.add_identity(a).get_output(0) for _ in range(2))
    first.name = second.name = "y"
    net.mark_output(first)
    with pytest.raises(oracle.Refusal, match="two tensors are called 'y'"):
        net.mark_output(second)
    with pytest.raises(oracle.Refusal, match="'x0' is an input already"):
        net.mark_output(a)
    assert list(net.results()) == ["y"]
    assert (net.num_inputs, net.num_outputs, net.num_layers) == (1, 1, 2)


def test_layers_have_names_of_their_own() -> None:
    _, net, (a,) = kit.network(torch.zeros(2))
    first, second = net.add_identity(a), net.add_identity(a)
    first.name = "ln_1 as float16"
    with pytest.raises(oracle.Refusal, match="another layer is called 'ln_1 as float16', and names must be distinct"):
        second.name = "ln_1 as float16"
    first.name = "ln_1 input as float16"
    second.name = "ln_1 as float16"


def test_an_output_has_the_type_that_its_layer_gives() -> None:
    """Before TensorRT 10 it is FLOAT unless it is set, so that programs set it; since 11 it cannot be set."""
    trt, net, (a,) = kit.network(torch.zeros(2).half(), version="8.6.1")
    y = net.add_identity(a).get_output(0)
    with pytest.raises(oracle.Refusal, match="by another way than a cast"):
        y.dtype = trt.DataType.HALF
    net.mark_output(y)
    y.dtype = trt.DataType.HALF
    with pytest.raises(oracle.Refusal, match="FLOAT, by another way than a cast"):
        y.dtype = trt.DataType.FLOAT
    trt, net, (a,) = kit.network(torch.zeros(2).half(), version="11.0.0")
    with pytest.raises(AttributeError):
        net.add_identity(a).get_output(0).dtype = trt.DataType.HALF


def test_sizes_are_int32_before_tensorrt_10_and_int64_since() -> None:
    for version, kind in (("8.6.1", "INT32"), ("10.16.1", "INT64")):
        _, net, (a,) = kit.network(torch.zeros(2, 3), version=version)
        shape = net.add_shape(a).get_output(0)
        assert (shape.dtype.name, shape.value.tolist()) == (kind, [2, 3])


def test_constants_of_int64_are_refused_before_tensorrt_10() -> None:
    _, net, _ = kit.network(version="8.6.1")
    with pytest.raises(oracle.Refusal, match="this version has no INT64"):
        kit.constant(net, np.zeros(2, np.int64)).shape  # noqa: B018


def test_an_index_outside_the_input_is_refused() -> None:
    _, net, tensors = kit.network(torch.zeros(4), torch.tensor([-1], dtype=torch.int32))
    with pytest.raises(oracle.Refusal, match="the index -1 of 4 values"):
        _ = net.add_gather(*tensors, 0).get_output(0).shape


def test_the_whole_of_a_chain_is_computed_without_deep_recursion() -> None:
    trt, net, (tensor,) = kit.network(torch.zeros(1))
    for _ in range(1500):
        tensor = net.add_unary(tensor, trt.UnaryOperation.NEG).get_output(0)
    assert tensor.value.item() == 0


def test_a_shape_is_compared_with_a_tuple_and_not_with_another_shape() -> None:
    _, net, (a, b) = kit.network(torch.zeros(2, 3), torch.zeros(2, 3))
    assert a.shape == (2, 3)
    assert b.shape != (3, 2)
    with pytest.raises(TypeError, match=r"tuple\(a\.shape\) == tuple\(b\.shape\)"):
        _ = a.shape == b.shape
    assert net.num_inputs == 2
