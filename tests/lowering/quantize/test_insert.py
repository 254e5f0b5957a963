"""Where quantize and dequantize are placed, what they compute, and the program that is written of them."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("bench.lowering.oracle")

from torch import nn  # noqa: E402

from bench.errors import SuiteError, Unsupported  # noqa: E402
from bench.lowering import codegen, lower  # noqa: E402
from bench.lowering.quantize import calibration, examination, insert  # noqa: E402
from tests.lowering import kit  # noqa: E402
from tests.lowering.converters.kit import run as run_program  # noqa: E402

pytestmark = pytest.mark.torch


class Block(nn.Module):
    """A residual block with a pool and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.conv2, self.norm2 = nn.Conv2d(8, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.up, self.pool, self.fc = nn.ConvTranspose2d(8, 4, 4, 2, 1), nn.MaxPool2d(2), nn.Linear(4, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = (self.norm2(self.conv2(self.norm1(self.conv1(x)).relu())) + x).relu()
        return self.fc(self.pool(self.up(y)).mean((2, 3)))


class Classifier(nn.Module):
    """A linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.fc = nn.Linear(8, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.fc(x)


class Scores(nn.Module):
    """A linear layer with weights that are computed of its input."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(x, x[0, 0])


class Computed(nn.Module):
    """A module, and a linear layer whose weights are computed."""

    def __init__(self, first: nn.Module) -> None:
        super().__init__()
        self.first, self.scores = first, Scores()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.scores(self.first(x))


INPUTS = kit.example((2, 8, 8, 8))


def graph(module: nn.Module, inputs: dict[str, torch.Tensor] = INPUTS) -> kit.Graph:
    torch.manual_seed(0)
    return lower.run_passes(kit.normalised(module, inputs))


def batches(count: int = 8, shape: Sequence[int] = (2, 8, 8, 8)) -> list[dict[str, torch.Tensor]]:
    return [kit.example(shape, seed=seed) for seed in range(10, 10 + count)]


@pytest.fixture(scope="module")
def block() -> kit.Graph:
    torch.manual_seed(0)
    return graph(Block())


@pytest.fixture(scope="module")
def quantized(block: kit.Graph) -> kit.Graph:
    return insert.insert(block, calibration.calibrate(block, batches()))


def cosine(a: torch.Tensor, b: torch.Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(a.flatten().double(), b.flatten().double(), 0))


def test_each_op_is_quantized_by_itself(block: kit.Graph, quantized: kit.Graph) -> None:
    pair, around = ["quantize", "dequantize"], []
    assert kit.ops(block) == [
        "convolution", "relu", "convolution", "add", "relu", "convolution", "max_pool", "mean", "linear",
    ]  # fmt: skip
    for op, weights, after in (
        ("convolution", 1, "relu"), ("convolution", 1, ""), ("add", 0, "relu"), ("convolution", 1, ""),
        ("max_pool", 0, ""),
    ):  # fmt: skip
        around += [*pair * weights, op, *[after] * bool(after), *pair]
    assert kit.ops(quantized) == [*pair, *around, "mean", *pair, *pair, "linear"]


def test_the_graph_before_is_left_as_it_was(block: kit.Graph, quantized: kit.Graph) -> None:
    assert "quantize" not in kit.ops(block)
    assert len(kit.ops(quantized)) > len(kit.ops(block))


def test_weights_have_a_scale_for_each_output_channel_also_of_a_transposed_convolution(quantized: kit.Graph) -> None:
    axes = {}
    for node in quantized.graph.nodes:
        if getattr(node.target, "lowering_op", "") == "quantize" and node.kwargs["axis"] is not None:
            source, scale = node.kwargs["input"], node.kwargs["scale"]
            values, scales = quantized.get_buffer(source.target), quantized.get_buffer(scale.target)
            axes[source.target] = node.kwargs["axis"]
            limits = values.abs().amax([dim for dim in range(values.dim()) if dim != node.kwargs["axis"]])
            torch.testing.assert_close(scales, limits / 127)
    assert axes == {"conv1.weight": 0, "conv2.weight": 0, "up.weight": 1, "fc.weight": 0}


@pytest.mark.parametrize("version", ["8.6.1", "10.13.3", "11.4.0"])
def test_the_program_computes_what_the_reference_model_computes(quantized: kit.Graph, version: str) -> None:
    program = codegen.generate(quantized, ["y"], title="net", precision="int8")
    (actual,) = run_program(program, list(INPUTS.values()), version, list(INPUTS))
    with torch.no_grad():
        (expected,) = quantized(*INPUTS.values())
    assert cosine(actual, expected) > 0.9999


@pytest.mark.parametrize("observer", ["minmax", "moving_average", "percentile", "entropy"])
def test_it_stays_close_to_float(block: kit.Graph, observer: str) -> None:
    result = insert.insert(block, calibration.calibrate(block, batches(), observer))
    with torch.no_grad():
        assert cosine(result(*INPUTS.values())[0], block(*INPUTS.values())[0]) > 0.99


def test_a_tensor_without_a_range_stays_in_float(block: kit.Graph) -> None:
    ranges = calibration.calibrate(block, batches(1))
    without = {name: each for name, each in ranges.items() if each.module != "pool"}
    assert len(kit.ops(insert.insert(block, without))) < len(kit.ops(insert.insert(block, ranges)))
    assert kit.ops(insert.insert(block, {})) == kit.ops(block)


def test_weights_of_zero_have_no_scale() -> None:
    module = Block()
    torch.nn.init.zeros_(module.fc.weight)
    zero = graph(module)
    with pytest.raises(Unsupported, match=r"fc: the weight fc.weight is zero or not finite"):
        insert.insert(zero, calibration.calibrate(zero, batches(1)))
    with pytest.raises(Unsupported, match=r"fc: the weight fc.weight is zero or not finite"):
        insert.check(zero)


def test_weights_that_are_no_numbers_are_told_before_anything_is_run(block: kit.Graph) -> None:
    insert.check(block)
    module = Block()
    with torch.no_grad():
        module.up.weight[0, 0] = float("nan")
    with pytest.raises(Unsupported, match=r"up: the weight up.weight is zero or not finite"):
        insert.check(graph(module))


def test_a_model_of_which_no_layer_can_be_quantized_is_refused_with_the_reasons() -> None:
    with pytest.raises(Unsupported, match="no layer of the model can run at int8: it has no convolution") as error:
        insert.check(graph(nn.MaxPool2d(2), {"input": INPUTS["x"]}))
    assert "precision: fp16" in (error.value.fix or "")
    with pytest.raises(Unsupported, match=r"at int8 \(scores: its weights are computed\)"):
        insert.check(graph(Computed(nn.ReLU())))
    insert.check(graph(Computed(nn.Conv2d(8, 8, 1))))


class Widened(nn.Module):
    """A linear layer in float32, and one in float64 that reads its result."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(8, 8), nn.Linear(8, 8).double()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.first(x).double())


def test_layers_that_compute_in_float64_stay_as_they_are_and_a_model_of_such_alone_is_refused() -> None:
    inputs = {name: value.double() for name, value in INPUTS.items()}
    with pytest.raises(Unsupported, match=r"at int8 \(fc: computes in float64\)") as error:
        insert.check(graph(Classifier().double(), inputs))
    assert error.value.fix == "a factory that returns model.float(), and inputs of float32"
    mixed = graph(Widened())
    insert.check(mixed)
    placed = examination.quantized(mixed, calibration.calibrate(mixed, batches(1), "minmax"), "fx")
    assert examination.coverage(placed, ()) == {
        "layers": 2, "quantized": 1, "uncovered": ["second: computes in float64"],
    }  # fmt: skip
    with torch.no_grad():
        assert cosine(placed(*INPUTS.values())[0], mixed(*INPUTS.values())[0]) > 0.999


def test_a_network_with_all_of_its_layers_in_floating_point_is_refused(block: kit.Graph) -> None:
    ranges = calibration.calibrate(block, batches(1), "minmax")
    floating = ["conv1", "conv2", "up", "fc"]
    assert kit.ops(examination.quantized(block, ranges, "fx", floating[:3])).count("dequantize") > 0
    with pytest.raises(Unsupported, match="floating: conv1, conv2, up, fc: leaves no layer that is quantized"):
        examination.quantized(block, ranges, "fx", floating)


def test_one_channel_of_zeros_has_a_small_scale() -> None:
    module = Block()
    with torch.no_grad():
        module.fc.weight[2] = 0
    result = graph(module)
    result = insert.insert(result, calibration.calibrate(result, batches(1)))
    assert (result.get_buffer("fc.weight_scale") > 0).all()


def test_no_inputs_are_an_error(block: kit.Graph) -> None:
    with pytest.raises(SuiteError, match="no inputs to calibrate with"):
        calibration.calibrate(block, [])


def test_nan_in_an_activation_names_its_module() -> None:
    class Root(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.second(self.first(x).log())

    root = graph(Root(), kit.example((2, 4)))
    with pytest.raises(Unsupported, match=r"an activation that is NaN or infinite in calibration"):
        calibration.calibrate(root, batches(1, (2, 4)))


def test_a_number_is_no_second_operand() -> None:
    class Shifted(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x + 1

    assert list(insert.sites(graph(Shifted()))) == []
