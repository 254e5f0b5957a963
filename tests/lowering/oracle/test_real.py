"""The oracle beside the real builder of TensorRT-RTX: what it takes, and the shapes, types and whole numbers.

The builder needs no GPU, and computes no floats without one; but whole numbers that could be sizes it computes when a
network is defined, so that a shape made of them tells their values.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.lowering import oracle
from tests.lowering.oracle import kit, layers

pytestmark = [
    pytest.mark.long,
    pytest.mark.torch,
    pytest.mark.skipif(
        importlib.util.find_spec("tensorrt_rtx") is None,
        reason="tensorrt_rtx is not installed: pip install tensorrt-rtx-cu13; nox -s long installs it",
    ),
]
some = settings(max_examples=60, derandomize=True)  # what holds today holds tomorrow
# Where the oracle alone refuses: what shows only when an engine is built, or has no defined value.
STRICTER = (
    "ZeroDivisionError", "it takes 1 to 3840", "one of the last four", "axis -1", "no axis is set", "axes [",
    "of the 1 values", "values of dimension", "padding alone", "a window of", "of a result of", "sizes (",
    "takes the last", "does not build", "elements", "differ beyond axis", "scale and bias of shape",
    "dimension 0 is empty", "of different ranks", "dimensions with groups",
)  # fmt: skip


class Real:
    """The real builder, and networks of it."""

    def __init__(self) -> None:
        import tensorrt_rtx as trt

        class Logger(trt.ILogger):  # type: ignore[misc]
            def __init__(self) -> None:
                trt.ILogger.__init__(self)

            def log(self, severity: Any, message: str) -> None:
                pass

        self.trt = trt
        self.logger = Logger()
        self.builder = trt.Builder(self.logger)
        self.arrays: list[Any] = []

    def network(self) -> Any:
        """An empty network."""
        return self.builder.create_network(1 << int(self.trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))

    def add(self, one: kit.One) -> tuple[Any, Any]:
        """A network of one layer, and the layer."""
        net = self.network()
        tensors = [
            net.add_input(f"x{index}", getattr(self.trt.DataType, kind), shape)
            for index, (kind, shape) in enumerate(one.inputs)
        ]
        return net, one.add(self.trt, net, tensors)

    def outputs(self, one: kit.One) -> list[tuple[tuple[int, ...], str]] | None:
        """Shape and type of each output, None if the layer is refused."""
        _, layer = self.add(one)
        if layer is None:
            return None
        try:
            tensors = [layer.get_output(index) for index in range(layer.num_outputs)]
            return [(tuple(tensor.shape), tensor.dtype.name) for tensor in tensors]
        except (RuntimeError, ValueError):
            return None

    def whole_numbers(self, net: Any, tensor: Any) -> list[int]:
        """The values, -100 or more and at most eight, of a tensor INT64 that is known when the network is defined."""
        shifted = net.add_elementwise(
            tensor, kit.constant(net, np.array([100], np.int64), self.arrays), self.trt.ElementWiseOperation.SUM
        ).get_output(0)
        rank = tensor.shape[0]
        one = kit.constant(net, np.zeros((1,) * rank, np.float32), self.arrays)
        layer = net.add_slice(one, (0,) * rank, (1,) * rank, (0,) * rank)
        layer.set_input(2, shifted)
        return [size - 100 for size in layer.get_output(0).shape]


@pytest.fixture(scope="module")
def real() -> Real:
    return Real()


def by_oracle(one: kit.One) -> list[tuple[tuple[int, ...], str]] | str:
    """The same of the oracle; why it refuses."""
    inputs = [kit.values(kind, shape) for kind, shape in one.inputs]
    if one.text.startswith("gather"):
        inputs[1] = torch.zeros_like(inputs[1])
    try:
        trt, net, tensors = kit.network(*inputs)
        layer = one.add(trt, net, tensors)
        outputs = [layer.get_output(index) for index in range(layer.num_outputs)]
        return [(tensor.shape, tensor.dtype.name) for tensor in outputs]
    except oracle.Refusal as error:
        return str(error)


@pytest.mark.parametrize("name", layers.LAYERS)
def test_both_take_and_refuse_the_same_layers(real: Real, name: str) -> None:
    taken = 0

    @settings(max_examples=150, derandomize=True, suppress_health_check=list(HealthCheck), print_blob=False)
    @given(layers.LAYERS[name])
    def check(one: kit.One) -> None:
        nonlocal taken
        expected, result = real.outputs(one), by_oracle(one)
        if isinstance(result, str):
            assert expected is None or any(reason in result for reason in STRICTER), result
        else:
            assert result == expected
            taken += 1

    check()
    assert taken > 10


# ------------------------------------------------------------------------------------------------------ whole numbers


def both(real: Real, add: Callable[[Any, Any, Callable[..., Any]], Any]) -> tuple[list[int], list[int]]:
    """What ``add(trt, net, numbers)`` gives in the real builder and in the oracle."""
    net = real.network()
    expected = real.whole_numbers(
        net, add(real.trt, net, lambda values, kind=np.int64: kit.constant(net, np.array(values, kind), real.arrays))
    )
    trt, own, _ = kit.network()
    tensor = add(trt, own, lambda values, kind=np.int64: kit.constant(own, np.array(values, kind)))
    return expected, [int(value) for value in tensor.value]


numbers = st.lists(st.integers(-9, 9), min_size=1, max_size=8)


@some
@given(a=numbers, b=st.integers(-3, 3), op=st.sampled_from(("SUM", "SUB", "PROD", "MAX", "MIN", "DIV", "FLOOR_DIV")))
def test_arithmetic_of_whole_numbers(real: Real, a: list[int], b: int, op: str) -> None:
    divisor = b or 2
    expected, result = both(
        real,
        lambda trt, net, number: net.add_elementwise(
            number(a), number([divisor]), getattr(trt.ElementWiseOperation, op)
        ).get_output(0),
    )
    assert result == expected


@some
@given(a=st.integers(-4, 4), b=st.integers(-2, 3))
def test_powers_of_whole_numbers(real: Real, a: int, b: int) -> None:
    base = a or 1
    expected, result = both(
        real,
        lambda trt, net, number: net.add_elementwise(
            number([base]), number([b]), trt.ElementWiseOperation.POW
        ).get_output(0),
    )
    assert result == expected


@some
@given(values=numbers, op=st.sampled_from(("SUM", "MAX", "MIN", "AVG")))
def test_reductions_of_whole_numbers(real: Real, values: list[int], op: str) -> None:
    expected, result = both(
        real,
        lambda trt, net, number: net.add_reduce(number(values), getattr(trt.ReduceOperation, op), 1, True).get_output(
            0
        ),
    )
    assert result == expected


halves = st.lists(st.integers(-9, 9).map(lambda value: value / 2), min_size=1, max_size=8)


@some
@given(values=halves, op=st.sampled_from(("ROUND", "CEIL", "FLOOR", "NEG", "SIGN", "ABS")))
def test_functions_of_floats_and_their_cast(real: Real, values: list[float], op: str) -> None:
    def add(trt: Any, net: Any, number: Callable[..., Any]) -> Any:
        value = net.add_unary(number(values, np.float32), getattr(trt.UnaryOperation, op)).get_output(0)
        return net.add_cast(value, trt.DataType.INT64).get_output(0)

    expected, result = both(real, add)
    assert result == expected


@some
@given(values=halves, divisor=st.sampled_from((1.5, -2.0, 0.5)))
def test_floor_division_of_floats(real: Real, values: list[float], divisor: float) -> None:
    def add(trt: Any, net: Any, number: Callable[..., Any]) -> Any:
        operands = number(values, np.float32), number([divisor], np.float32)
        value = net.add_elementwise(*operands, trt.ElementWiseOperation.FLOOR_DIV).get_output(0)
        return net.add_cast(value, trt.DataType.INT64).get_output(0)

    expected, result = both(real, add)
    assert result == expected


@some
@given(
    size=st.integers(1, 6), start=st.integers(-8, 8), count=st.integers(1, 8), stride=st.integers(-2, 2),
    mode=st.sampled_from(("WRAP", "CLAMP", "REFLECT", "FILL")),
)  # fmt: skip
def test_slices_beyond_the_ends(real: Real, size: int, start: int, count: int, stride: int, mode: str) -> None:
    def add(trt: Any, net: Any, number: Callable[..., Any]) -> Any:
        layer = net.add_slice(number(list(range(1, size + 1))), (start,), (count,), (stride,))
        layer.mode = getattr(trt.SampleMode, mode)
        return layer.get_output(0)

    expected, result = both(real, add)
    assert result == expected


@some
@given(count=st.integers(1, 8), start=st.integers(-9, 9), step=st.integers(-9, 9))
def test_sequences(real: Real, count: int, start: int, step: int) -> None:
    def add(trt: Any, net: Any, number: Callable[..., Any]) -> Any:
        layer = net.add_fill((count,), trt.FillOperation.LINSPACE, trt.DataType.INT64)
        layer.set_input(1, net.add_reduce(number([start]), trt.ReduceOperation.SUM, 1, False).get_output(0))
        layer.set_input(2, number([step]))
        return layer.get_output(0)

    expected, result = both(real, add)
    assert result == expected


# ------------------------------------------------------------------------------------------------------------- builds


def test_the_defaults_of_settings_are_those_of_the_builder(real: Real) -> None:
    for kind in ("LEAKY_RELU", "ELU", "SELU", "SOFTPLUS", "HARD_SIGMOID", "SCALED_TANH", "THRESHOLDED_RELU"):
        net = real.network()
        x = net.add_input("x", real.trt.DataType.FLOAT, (1,))
        layer = net.add_activation(x, getattr(real.trt.ActivationType, kind))
        value = torch.tensor([-0.3])
        trt, own, inputs = kit.network(value)
        explicit = own.add_activation(inputs[0], getattr(trt.ActivationType, kind))
        explicit.alpha, explicit.beta = layer.alpha, layer.beta
        plain = own.add_activation(inputs[0], getattr(trt.ActivationType, kind))
        assert torch.equal(kit.computed(plain), kit.computed(explicit)), (kind, layer.alpha, layer.beta)


@pytest.mark.parametrize("name", sorted({"window", "normalization", "resize", "gather", "topk", "matmul", "slice"}))
def test_what_the_oracle_takes_builds(real: Real, name: str) -> None:
    @settings(max_examples=8, derandomize=True, suppress_health_check=list(HealthCheck), print_blob=False)
    @given(layers.LAYERS[name].filter(lambda one: not isinstance(by_oracle(one), str)))
    def check(one: kit.One) -> None:
        net, layer = real.add(one)
        layer.get_output(0).name = "y"
        net.mark_output(layer.get_output(0))
        config = real.builder.create_builder_config()
        config.builder_optimization_level = 0
        config.num_compute_capabilities = 1
        config.set_compute_capability(real.trt.ComputeCapability.SM89, 0)
        assert real.builder.build_serialized_network(net, config) is not None, one

    check()
