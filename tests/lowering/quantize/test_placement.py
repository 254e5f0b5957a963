"""The placement of Q/DQ: what lint says of a network for each rule, and the pass that mends it."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from bench.lowering import normalise  # noqa: E402
from bench.lowering.passes import edit  # noqa: E402
from bench.lowering.quantize import calibration, insert, placement  # noqa: E402
from bench.model.placement import Rule  # noqa: E402
from tests.lowering import kit  # noqa: E402
from tests.lowering.quantize import networks  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.long]  # each exports a module, which takes a second


@functools.cache
def plain(rule: Rule) -> Any:
    """The graph of a rule's network, not quantized."""
    network = networks.NETWORKS[rule]
    graph = kit.normalised(networks.module(rule), {"x": networks.example()})
    return networks.folded(graph) if network.folds else graph


@functools.cache
def before(rule: Rule) -> Any:
    """The same, quantized as a placement that breaks the rule has it."""
    network = networks.NETWORKS[rule]
    return networks.quantized(plain(rule), [networks.example()], network.behind, coarse=network.coarse)


def computed(graph: Any) -> Any:
    with torch.no_grad():
        (result,) = graph(networks.example())
    return result


def cosine(a: Any, b: Any) -> float:
    return float(torch.nn.functional.cosine_similarity(a.flatten(), b.flatten(), dim=0))


def ops(graph: Any) -> list[str]:
    """The ops in order, without pairs on weights."""
    return [
        name
        for node in graph.graph.nodes
        if (name := normalise.op_name(node)) and not _is_of_weight(node)
    ]  # fmt: skip


def _is_of_weight(node: Any) -> bool:
    name = normalise.op_name(node)
    source = node.kwargs["input"] if name in ("quantize", "dequantize") else node
    return source.op == "get_attr" or (name == "dequantize" and source.kwargs["input"].op == "get_attr")


def scales(graph: Any) -> dict[str, float]:
    """The scale of the pair on each tensor that is no weight."""
    return {
        node.kwargs["input"].name: node.kwargs["scale"]
        for node in graph.graph.nodes
        if normalise.op_name(node) == "quantize" and node.kwargs["input"].op != "get_attr"
    }


@pytest.mark.parametrize("rule", networks.NETWORKS)
def test_lint_names_the_rule_its_nodes_and_what_to_change(rule: Rule) -> None:
    findings = placement.lint(before(rule))
    assert [each.rule for each in findings] == list(networks.NETWORKS[rule].rules)
    names = {node.name for node in before(rule).graph.nodes}
    for each in findings:
        assert each.nodes
        assert set(each.nodes) <= names
        assert each.can_mend


@pytest.mark.parametrize("rule", networks.NETWORKS)
def test_mended_lint_finds_nothing_and_the_output_stays(rule: Rule) -> None:
    graph = before(rule)
    code = graph.code
    after = placement.mend(graph)
    assert placement.lint(after) == []
    assert graph.code == code  # the pass left its argument alone
    expected = computed(plain(rule))
    assert cosine(computed(after), expected) > 0.999
    assert cosine(computed(after), expected) > cosine(computed(graph), expected) - 5e-4


@pytest.mark.parametrize("rule", networks.NETWORKS)
def test_mending_what_is_mended_changes_nothing(rule: Rule) -> None:
    after = placement.mend(before(rule))
    assert placement.mend(after).code == after.code


@pytest.mark.parametrize("rule", networks.NETWORKS)
def test_a_network_that_is_not_quantized_breaks_no_rule(rule: Rule) -> None:
    assert placement.lint(plain(rule)) == []


PAIR = ["quantize", "dequantize"]
MENDED: dict[Rule, Sequence[str]] = {
    "weights": [*PAIR, "convolution", "relu", *PAIR, "convolution", "relu", *PAIR, "convolution"],
    "batch-norm": [*PAIR, "convolution", *PAIR, "convolution", "relu", *PAIR, "convolution"],
    "activation": [*PAIR, "convolution", "relu", *PAIR, "convolution", "relu", *PAIR, "convolution"],
    "residual": [*PAIR, "convolution", "relu", *PAIR, "convolution", "add", "relu", *PAIR, "convolution"],
    "pooling": [*PAIR, "convolution", "relu", *PAIR, "max_pool", *PAIR, "convolution", "relu"],
}


@pytest.mark.parametrize("rule", MENDED)
def test_the_mended_graph_has_its_pairs_where_the_rule_wants_them(rule: Rule) -> None:
    assert ops(placement.mend(before(rule))) == MENDED[rule]


def test_inputs_and_result_of_a_concatenation_have_the_largest_scale() -> None:
    first, last = scales(before("concat")), scales(placement.mend(before("concat")))
    alike = {"convolution_1", "mul", "cat"}
    assert len({first[name] for name in alike}) == 3
    assert {last[name] for name in alike} == {max(first[name] for name in alike)}
    assert last["convolution"] == first["convolution"]


def test_a_pool_has_the_scale_of_what_it_reads() -> None:
    first, last = scales(before("pooling")), scales(placement.mend(before("pooling")))
    assert first["relu"] != first["max_pool"]
    assert last["relu"] == last["max_pool"] == max(first["relu"], first["max_pool"])


def test_folded_weights_have_the_values_that_the_normalisation_gives() -> None:
    graph = placement.mend(before("batch-norm"))
    kit.assert_computes(networks.folded(plain("batch-norm")), networks.module("batch-norm"), {"x": networks.example()})
    weights = edit.tensors(graph)["1.weight"]
    torch.testing.assert_close(weights, edit.tensors(networks.folded(plain("batch-norm")))["1.weight"])
    steps = next(node for node in graph.graph.nodes if node.op == "get_attr" and str(node.target) == "1.weight_scale")
    torch.testing.assert_close(graph.get_buffer(str(steps.target)), weights.abs().amax(dim=[0, 2, 3]) / 127)


def without(graph: Any, name: str) -> Any:
    """The graph without the pair on the result of ``name``, for the op ``reader`` alone where that is given."""
    result = edit.copy_module(graph)
    for node in list(result.graph.nodes):
        if normalise.op_name(node) == "dequantize" and node.kwargs["input"].kwargs["input"].name == name:
            node.replace_all_uses_with(node.kwargs["input"].kwargs["input"])
    return edit.finish(result)


def test_a_shortcut_that_is_not_quantized_takes_the_pair_of_another_use() -> None:
    graph = edit.copy_module(before("residual"))
    add = next(node for node in graph.graph.nodes if normalise.op_name(node) == "add")
    dq = add.kwargs["other"]
    add.replace_input_with(dq, dq.kwargs["input"].kwargs["input"])
    graph = edit.finish(graph)
    findings = [each for each in placement.lint(graph) if "other input" in each.what]
    assert [each.can_mend for each in findings] == [True]
    after = placement.mend(graph)
    assert placement.lint(after) == []
    assert list(scales(after)).count("relu") == 1  # the Q that was there


def test_a_shortcut_of_unknown_range_is_named_and_left() -> None:
    graph = edit.copy_module(before("residual"))
    add = next(node for node in graph.graph.nodes if normalise.op_name(node) == "add")
    with graph.graph.inserting_before(add):
        other = normalise.call(graph.graph, "sigmoid", add, input=add.kwargs["other"])
    add.replace_input_with(add.kwargs["other"], other)
    graph = edit.finish(graph)
    (finding,) = [each for each in placement.lint(graph) if not each.can_mend]
    assert "calibrated" in finding.fix
    assert other.name in finding.nodes
    assert placement.lint(placement.mend(graph)) == [finding]


def test_weights_that_alone_are_quantized_are_quantized_no_more() -> None:
    graph = without(before("weights"), "relu")
    assert [each.what for each in placement.lint(graph) if "its input is not" in each.what]
    after = placement.mend(graph)
    assert placement.lint(after) == []
    layer = next(node for node in after.graph.nodes if node.name == "convolution_1")
    assert layer.kwargs["weight"].op == "get_attr"


def test_one_scale_for_a_tensor_that_had_two() -> None:
    graph = edit.copy_module(before("residual"))
    add = next(node for node in graph.graph.nodes if normalise.op_name(node) == "add")
    relu = next(node for node in graph.graph.nodes if node.name == "relu")
    with graph.graph.inserting_before(add):
        dq = networks.pair(graph, relu, 0.5)
    add.replace_input_with(add.kwargs["other"], dq)
    graph = edit.finish(graph)
    assert any("quantized with 2 scales (" in each.what for each in placement.lint(graph))
    after = placement.mend(graph)
    assert placement.lint(after) == []
    assert scales(after)["relu"] == 0.5


def test_fx_places_pairs_between_a_transposed_convolution_and_its_activation() -> None:
    graph = networks.folded(plain("batch-norm"))
    ranges = calibration.calibrate(graph, [{"x": networks.example()}], "minmax")
    placed = insert.insert(graph, ranges)
    (finding,) = placement.lint(placed)
    assert finding.rule == "activation"
    assert finding.module == "3"
    after = placement.mend(placed)
    assert ops(after) == MENDED["batch-norm"]
    assert cosine(computed(after), computed(graph)) > 0.999


class Scores(torch.nn.Module):
    """A product with a parameter, which is read through a reshape where the other tensor has more dimensions."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(16, 4))

    def forward(self, input: torch.Tensor) -> torch.Tensor:
        return input @ self.weight


@pytest.mark.parametrize(
    ("module", "rank", "rules"),
    [(torch.nn.Linear(16, 4), 4, ["weights"]), (torch.nn.Linear(16, 4), 2, ["weights"]), (Scores(), 4, [])],
)
def test_of_products_without_quantized_weights_those_that_can_run_in_int8_are_named(
    module: torch.nn.Module, rank: int, rules: list[str]
) -> None:
    example = networks.example() if rank == 4 else networks.example()[0, 0]
    graph = kit.normalised(module, {"input": example})
    quantized = networks.quantized(graph, [example], ["input_0"])
    assert [each.rule for each in placement.lint(quantized)] == rules
    assert placement.lint(placement.mend(quantized)) == []
