"""What quantizing costs: errors of layers, the ranking, and the search for the layers to leave in floating point."""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from bench.errors import SuiteError, UsageError  # noqa: E402
from bench.lowering import normalise  # noqa: E402
from bench.lowering.passes import edit  # noqa: E402
from bench.lowering.quantize import (  # noqa: E402
    agreement,
    calibration,
    examination,
    graph_view,
    placement,
    sensitivity,
)
from bench.lowering.quantize.view import has_weights, is_quantized  # noqa: E402
from bench.model.sensitivity import parse_target  # noqa: E402
from tests.lowering import kit  # noqa: E402
from tests.lowering.quantize import networks  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.long]
nn = torch.nn
BAD = "convolution_1"  # the layer whose weights have a scale of one


class Classifier(nn.Module):
    """Four convolutions of one kind, and 10 classes."""

    def __init__(self) -> None:
        super().__init__()
        self.convs = nn.ModuleList(nn.Conv2d(3 if index == 0 else 8, 8, 3, padding=1) for index in range(4))
        self.head = nn.Linear(8, 10)

    def forward(self, x: Any) -> Any:
        for conv in self.convs:
            x = conv(x).relu()
        return self.head(x.mean((2, 3)))


@functools.cache
def examined() -> sensitivity.Networks:
    """The classifier and its quantized graph, in which one layer's weights have far too coarse a scale."""
    torch.manual_seed(1)
    graph = kit.normalised(Classifier(), {"x": networks.example()})
    behind = ["input_0", "relu", "relu_1", "relu_2"]
    quantized = networks.quantized(graph, [networks.example()], behind)
    layer = next(node for node in quantized.graph.nodes if node.name == BAD)
    dq = layer.kwargs["weight"]
    for node in (dq, dq.kwargs["input"]):
        node.kwargs = node.kwargs | {"scale": 0.08, "axis": None}
    return sensitivity.Networks(graph, edit.finish(quantized), ["y"])


@functools.cache
def batches() -> list[Any]:
    generator = torch.Generator().manual_seed(4)
    return [[torch.randn(4, 3, 16, 16, generator=generator)] for _ in range(3)]


def quantizes(graph: Any) -> int:
    return sum(normalise.op_name(node) == "quantize" for node in graph.graph.nodes)


def test_the_errors_of_layers_are_those_of_two_whole_runs() -> None:
    layers = {each.name: each for each in sensitivity.layer_errors(examined(), batches())}
    assert list(layers) == ["convolution", "convolution_1", "convolution_2", "convolution_3", "linear"]
    signal = noise = 0.0
    with torch.no_grad():
        for batch in batches():
            expected, actual = (graph(*batch)[0].double() for graph in examined()[:2])
            signal, noise = signal + float((expected**2).sum()), noise + float(((actual - expected) ** 2).sum())
    assert layers["linear"].sqnr == pytest.approx(10 * math.log10(signal / noise))
    assert not layers["linear"].quantized
    assert layers["linear"].weight_sqnr is None
    assert layers[BAD].module == "convs.1"
    worst = min((each for each in layers.values() if each.quantized), key=lambda each: each.weight_sqnr or 0.0)
    assert worst.name == BAD
    assert (layers["convolution"].sqnr or 0) > 35
    assert (layers[BAD].sqnr or 0) < 25  # and the error of it reaches all behind it
    assert (layers["convolution_3"].sqnr or 0) < 25


def test_layers_alone_are_ranked_the_worst_first() -> None:
    result = sensitivity.examine(examined(), batches())
    assert result.sensitivity[0].name == BAD
    values = [each.metrics["sqnr"] for each in result.sensitivity]
    assert values == sorted(values)
    assert values[1] > values[0] + 10
    assert result.reference["top1"] == 1.0
    assert result.networks == 2 + 4  # fp32, all quantized, each alone


def test_with_one_layer_quantized_the_others_read_no_pair() -> None:
    names = ["convolution", "convolution_2", "convolution_3"]
    graph = sensitivity.left_floating(examined().quantized, names)
    assert quantizes(graph) == 2  # of the layer's input and weights
    assert quantizes(sensitivity.left_floating(examined().quantized, [*names, BAD])) == 0


def test_the_one_bad_layer_is_enough_to_leave_in_floating_point() -> None:
    all_quantized = sensitivity.examine(examined(), batches(), rank=False).quantized["sqnr"]
    target = parse_target(f"sqnr >= {all_quantized + 5:.3f}")
    result = sensitivity.examine(examined(), batches(), target=target)
    assert result.floating == ("convs.1",)
    assert result.assigned["sqnr"] >= target.limit
    graph = sensitivity.left_floating(examined().quantized, [BAD])
    with torch.no_grad():
        outputs = np.concatenate([graph(*batch)[0].numpy() for batch in batches()])
        reference = np.concatenate([examined().plain(*batch)[0].numpy() for batch in batches()])
    again = agreement.agreement({"y": outputs}, {"y": reference})
    assert again["sqnr"] == pytest.approx(result.assigned["sqnr"])


def test_a_target_that_is_met_leaves_nothing_in_floating_point() -> None:
    result = sensitivity.examine(examined(), batches(), target=parse_target("cosine >= 0.5"), rank=False)
    assert result.floating == ()
    assert result.sensitivity == ()
    assert result.assigned == result.quantized


def test_an_impossible_target_names_layers_and_both_ends_beside_the_ranking() -> None:
    result = sensitivity.examine(examined(), batches(), target=parse_target("cosine >= 0.99999999999"), rank=False)
    assert result.unmet.startswith("no assignment meets cosine >= 0.99999999999: fp32 has 1, a network with one ")
    assert "each layer alone misses it: convs.1," in result.unmet
    assert len(result.sensitivity) == 4
    assert (result.floating, result.assigned) == ((), {})


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("odd >= 0.3", "'odd' is NaN for fp32 itself"),
        ("far >= -1", "far >= -1 against fp32: fp32 has an infinite far"),
    ],
)
def test_a_target_that_fp32_has_no_number_for_is_refused_before_a_quantized_network_runs(
    text: str, message: str
) -> None:
    runs: list[int] = []

    def metric(outputs: Any, reference: Any) -> dict[str, float]:
        return {"odd": math.nan, "far": math.inf}

    with pytest.raises(UsageError, match=message):
        sensitivity.examine(examined(), batches(), target=parse_target(text), metric=metric, tell=runs.append)
    assert runs == [1]


def test_numbers_that_are_not_finite_are_in_the_result() -> None:
    def metric(outputs: Any, reference: Any) -> dict[str, float]:
        return {"odd": math.nan, "far": math.inf}

    result = sensitivity.examine(examined(), batches(), target=parse_target("far >= 30"), metric=metric, rank=False)
    assert result.reference == result.quantized == {"odd": "nan", "far": "inf"}
    assert not result.unmet


def test_a_number_that_the_metric_lacks_is_refused_with_those_it_has() -> None:
    with pytest.raises(UsageError, match="no number 'map'") as error:
        sensitivity.examine(examined(), batches(), target=parse_target("map >= 0.3"))
    assert "top1" in (error.value.fix or "")


def test_a_metric_of_the_users_decides() -> None:
    def hits(outputs: Any, reference: Any) -> dict[str, float]:
        return {"near": float((np.abs(outputs["y"] - reference["y"]) < 1e-3).mean())}

    result = sensitivity.examine(examined(), batches(), target=parse_target("near >= -70 %"), metric=hits)
    assert result.reference == {"near": 1.0}
    assert BAD not in result.floating  # modules are named
    assert result.assigned["near"] >= 0.3 > result.quantized["near"]


def test_pairs_on_a_sum_stay_as_long_as_its_convolution_is_quantized() -> None:
    network = networks.NETWORKS["residual"]
    graph = kit.normalised(networks.module("residual"), {"x": networks.example()})
    mended = placement.mend(networks.quantized(graph, [networks.example()], network.behind))
    add = next(node for node in sensitivity.left_floating(mended, ["convolution"]).graph.nodes if node.name == "add")
    assert "dequantize" in [normalise.op_name(each) for each in add.all_input_nodes]
    add = next(node for node in sensitivity.left_floating(mended, ["convolution_1"]).graph.nodes if node.name == "add")
    assert "dequantize" not in [normalise.op_name(each) for each in add.all_input_nodes]


def test_a_module_that_is_not_there_cannot_be_left_in_floating_point() -> None:
    ranges = calibration.calibrate(examined().plain, [{"x": batch[0]} for batch in batches()], "minmax")
    spared = examination.quantized(examined().plain, ranges, "mended", ["convs.1"])
    assert quantizes(spared) == quantizes(examination.quantized(examined().plain, ranges, "mended")) - 2
    with pytest.raises(
        SuiteError, match=r"no layer with weights is called 'heat', or below it\. Did you mean 'head'\?"
    ):
        examination.quantized(examined().plain, ranges, "mended", ["heat"])


def test_a_module_has_all_layers_below_it_and_none_whose_path_only_begins_alike() -> None:
    ranges = calibration.calibrate(examined().plain, [{"x": batch[0]} for batch in batches()], "minmax")

    def quantized(*floating: str) -> list[str]:
        graph = examination.quantized(examined().plain, ranges, "mended", floating)
        return [each.module for each in graph_view.of_graph(graph) if has_weights(each) and is_quantized(each)]

    assert quantized() == ["convs.0", "convs.1", "convs.2", "convs.3", "head"]
    assert quantized("convs") == ["head"]
    assert quantized("convs.1", "head") == ["convs.0", "convs.2", "convs.3"]
    with pytest.raises(SuiteError, match=r"is called 'conv', or below it\. Did you mean 'convs'\?"):
        quantized("conv")


@pytest.mark.parametrize(
    ("text", "metric", "limit", "is_change"),
    [
        ("top1 >= -0.5 %", "top1", -0.005, True),
        ("cosine>=0.999", "cosine", 0.999, False),
        ("m.ap >= +1%", "m.ap", 0.01, True),
        ("sqnr >= 3e1", "sqnr", 30.0, False),
    ],
)
def test_targets(text: str, metric: str, limit: float, is_change: bool) -> None:
    target = parse_target(text)
    assert (target.metric, target.is_change) == (metric, is_change)
    assert target.limit == pytest.approx(limit)


@pytest.mark.parametrize("text", ["top1", "top1 > 3", "top1 >= x", ">= 3", "top1 <= 3", "top1 >= nan", ""])
def test_what_is_no_target_is_refused_with_examples(text: str) -> None:
    with pytest.raises(UsageError, match="is no target") as error:
        parse_target(text)
    assert "top1 >= -0.5 %" in (error.value.fix or "")


def test_agreement_counts_classes_and_refuses_what_is_not_finite() -> None:
    reference = {"y": np.array([[1.0, 2.0], [3.0, 1.0], [0.0, 1.0], [2.0, 0.0]], "float32")}
    other = {"y": reference["y"].copy()}
    other["y"][0] = (2.0, 1.0)
    assert agreement.agreement(other, reference)["top1"] == 0.75
    assert agreement.agreement(other, reference)["sqnr"] == pytest.approx(10 * math.log10(20 / 2))
    assert agreement.agreement(reference, reference) == {"top1": 1.0, "cosine": pytest.approx(1.0), "sqnr": math.inf}
    other["y"][1, 1] = np.inf
    assert all(math.isnan(value) for value in agreement.agreement(other, reference).values())


class Repeated(nn.Module):
    """A convolution that is called twice, and one whose path is the name of another one's node."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.twice, self.convolution = (nn.Conv2d(3, 3, 3, padding=1) for _ in range(3))

    def forward(self, x: Any) -> Any:
        return self.convolution(self.twice(self.twice(self.first(x)).relu()).relu())


@functools.cache
def repeated() -> tuple[Any, Any]:
    """The graph, and the ranges of its tensors."""
    torch.manual_seed(0)
    graph = kit.normalised(Repeated(), {"x": networks.example()})
    return graph, calibration.calibrate(graph, [{"x": batch[0]} for batch in batches()], "minmax")


def test_calls_of_one_module_are_ranked_and_left_in_floating_point_as_one() -> None:
    graph, ranges = repeated()
    quantized = examination.quantized(graph, ranges, "fx")
    trials = sensitivity.Networks(graph, quantized, ["y"])
    result = sensitivity.examine(trials, batches())
    assert len(result.layers) == 4
    assert sorted(each.module for each in result.sensitivity) == ["convolution", "first", "twice"]
    best = max(each.metrics["sqnr"] for each in result.sensitivity)
    result = sensitivity.examine(trials, batches(), target=parse_target(f"sqnr >= {best}"))
    assert len(result.floating) == 2
    # what is measured is what a suite builds of the names that are printed
    built = examination.quantized(graph, ranges, "fx", result.floating)
    again = sensitivity.examine(sensitivity.Networks(graph, built, ["y"]), batches(), rank=False)
    assert again.quantized == result.assigned


class Nested(nn.Module):
    """A module that computes a layer itself, and has another one below it."""

    class Stem(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight, self.below = nn.Parameter(torch.randn(3, 3, 3, 3)), nn.Conv2d(3, 3, 3, padding=1)

        def forward(self, x: Any) -> Any:
            return self.below(nn.functional.conv2d(x, self.weight, padding=1).relu())

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = self.Stem(), nn.Conv2d(3, 3, 1)

    def forward(self, x: Any) -> Any:
        return self.head(self.stem(x).relu())


def test_a_module_is_ranked_and_left_in_floating_point_with_the_layers_below_it() -> None:
    torch.manual_seed(0)
    graph = kit.normalised(Nested(), {"x": networks.example()})
    ranges = calibration.calibrate(graph, [{"x": batch[0]} for batch in batches()], "minmax")
    trials = sensitivity.Networks(graph, examination.quantized(graph, ranges, "fx"), ["y"])
    result = sensitivity.examine(trials, batches())
    assert {each.module for each in result.layers} == {"stem", "stem.below", "head"}
    alone = {each.module: each.metrics["sqnr"] for each in result.sensitivity}
    assert set(alone) == {"stem", "head"}
    for module, other in (("stem", "head"), ("head", "stem")):
        built = sensitivity.Networks(graph, examination.quantized(graph, ranges, "fx", [other]), ["y"])
        assert sensitivity.examine(built, batches(), rank=False).quantized["sqnr"] == alone[module]


def test_a_path_is_no_name_of_a_node() -> None:
    graph, ranges = repeated()
    layers = [node for node in examination.quantized(graph, ranges, "fx", ["convolution"]).graph.nodes
              if normalise.op_name(node) == "convolution"]  # fmt: skip
    assert [normalise.op_name(node.kwargs["weight"]) == "dequantize" for node in layers] == [True, True, True, False]
    layers = [node for node in examination.quantized(graph, ranges, "fx", ["convolution_1"]).graph.nodes
              if normalise.op_name(node) == "convolution"]  # fmt: skip
    assert [normalise.op_name(node.kwargs["weight"]) == "dequantize" for node in layers] == [True, False, True, True]
