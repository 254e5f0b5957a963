"""What is looked at in a case's quantized graph: where its Q/DQ stand, and what they cost in accuracy."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from bench import tensors
from bench.errors import SuiteError, Unsupported, did_you_mean
from bench.lowering.passes import edit
from bench.lowering.quantize import agreement, graph_view, insert, placement, sensitivity
from bench.lowering.quantize import artifact as quantization
from bench.lowering.quantize.view import Vertex, has_weights, is_quantized, modules_of
from bench.model.placement import PLACEMENT
from bench.model.seam import Context
from bench.model.sensitivity import ACCURACY, Question, parse_target
from bench.model.suite import Case
from bench.runtimes.quantization import Settings

if TYPE_CHECKING:
    import torch

    from bench.lowering.quantize.scales import Range

_FIRST_SEED = 2_000_000  # of inputs that no calibration draws


def quantized(
    graph: torch.fx.GraphModule, ranges: Mapping[str, Range], placed: str, floating: Collection[str] = ()
) -> torch.fx.GraphModule:
    """The graph with Q/DQ as FX places them, or ``mended``; the layers of the modules ``floating`` have none.

    Raises:
        SuiteError: a module has no layer with weights.
        Unsupported: no layer with weights is quantized.
    """
    result = insert.insert(graph, ranges)
    if placed == "mended":
        result = placement.mend(result)
    if not floating:
        return result
    result = sensitivity.left_floating(result, _layers(result, floating))
    if not any(map(is_quantized, graph_view.of_graph(result))):
        what = f"floating: {', '.join(floating)}: leaves no layer that is quantized"
        raise Unsupported(what, fix="fewer modules in `floating`, or precision: fp16")
    return result


def coverage(graph: torch.fx.GraphModule, floating: Collection[str]) -> dict[str, Any]:
    """Of a quantized graph how many ``layers`` with weights it has, how many of them are ``quantized``, and of those
    that are not, though no module of ``floating`` has them, where and why: ``uncovered``, in the order of the graph.
    """
    layers, names = _all_layers(graph), set(_layers(graph, floating))
    others = [each for each in layers if not is_quantized(each) and each.name not in names]
    reasons = [f"{each.label}: {insert.obstacle(graph, each.node) or 'its input is not quantized'}" for each in others]
    return {"layers": len(layers), "quantized": sum(map(is_quantized, layers)), "uncovered": reasons}


def _all_layers(graph: torch.fx.GraphModule) -> list[Vertex]:
    """The layers with weights, those too that cannot be quantized: with weights that the model computes, and products
    with a parameter, also in a sum.
    """

    def is_layer(each: Vertex) -> bool:
        if each.op == "addmm":
            return edit.tensor_of(graph, each.node.kwargs["mat2"]) is not None
        return has_weights(each) or each.op in ("convolution", "linear")

    return [each for each in graph_view.of_graph(graph) if is_layer(each)]


def _layers(graph: torch.fx.GraphModule, modules: Collection[str]) -> list[str]:
    """The names of the layers with weights in ``modules``, and below them: paths, or names of nodes where no module has
    that path.
    """
    layers = _all_layers(graph)
    paths = {each.name: set(modules_of(each.label)) for each in layers}
    labels = set().union(*paths.values())
    names = labels | {each.name for each in layers}
    for module in modules:
        if module not in names:
            what = f"floating: no layer with weights is called {module!r}, or below it.{did_you_mean(module, names)}"
            raise SuiteError(what.removesuffix("."), fix="trtbench quantize lists the layers")
    nodes = set(modules) - labels
    return [each.name for each in layers if paths[each.name] & set(modules) or each.name in nodes]


def write_placement(graph: torch.fx.GraphModule, out: Path) -> None:
    """The counts and findings of a quantized graph, into ``out``."""
    (out / PLACEMENT).write_bytes(msgspec.json.encode(placement.summary(graph_view.of_graph(graph))))


def write_accuracy(
    networks: sensitivity.Networks, case: Case, context: Context, question: Question, key: Mapping[str, Any], out: Path
) -> None:
    """The accuracy of a quantized graph over the question's samples, into ``out``. ``key`` is the stage's: its modules
    ``floating`` come before those that a target adds. Phase: examine.

    Raises:
        SuiteError: the user's metric or calibration data is wrong.
        UsageError: the target is about no number of the metric.
    """
    metric = agreement.of_user(question.metric, context.suite_dir) if question.metric else agreement.agreement
    target = parse_target(question.target) if question.target else None
    inputs = list(batches(networks.plain, case, context, key["data"], question.samples))
    with context.phase("examine"):
        result = sensitivity.examine(
            networks, inputs, target=target, metric=metric, rank=question.rank,
            tell=lambda count: context.tell(f"{count} networks run"),
        )  # fmt: skip
    if target is not None:
        result = msgspec.structs.replace(result, floating=(*key.get("floating", ()), *result.floating))
    (out / ACCURACY).write_bytes(msgspec.json.encode(result))


def batches(
    graph: torch.fx.GraphModule, case: Case, context: Context, data: str, samples: int
) -> Iterator[list[torch.Tensor]]:
    """Inputs of the graph in its order: the user's calibration data where there are some, else drawn anew."""
    import torch

    names = [node.meta["input"] for node in graph.graph.nodes if node.op == "placeholder"]
    count = -(-samples // case.batch)
    several: Iterator[Mapping[str, Any]]
    if data:
        how = Settings(data=data, samples=samples)
        several = itertools.islice(quantization.inputs(case, context, how), count)
    else:
        drawn = (tensors.seeded_inputs(case.resolved, _FIRST_SEED + context.seed + index) for index in range(count))
        several = ({name: torch.from_numpy(array) for name, array in each.items()} for each in drawn)
    for each in several:
        yield [each[name] for name in names]
