"""Which layers lose the accuracy when they are quantized, and the fewest that are to stay in floating point."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from bench.errors import UsageError
from bench.lowering.passes import edit
from bench.lowering.quantize import graph_view, rules
from bench.lowering.quantize.agreement import Arrays, Metric, agreement, decibels
from bench.lowering.quantize.view import (
    Vertex,
    after_activation,
    has_weights,
    is_quantized,
    modules_of,
    pair_of,
    pairs,
    quantizers,
)
from bench.model.sensitivity import Accuracy, LayerError, Number, Sensitivity, Target, number

if TYPE_CHECKING:
    import torch

    # The inputs of the graph, in order, for each of several runs.
    Batches = Sequence[Sequence[torch.Tensor]]

_SHOWN = 5  # layers that an error names


class Networks(NamedTuple):
    """A graph in fp32, and the same with Q/DQ, whose nodes have the names that they have in the first; ``outputs`` are
    the names of its outputs. Batch normalisation is folded in both, or in none.
    """

    plain: torch.fx.GraphModule
    quantized: torch.fx.GraphModule
    outputs: Sequence[str]


def examine(
    networks: Networks,
    batches: Batches,
    *,
    target: Target | None = None,
    metric: Metric = agreement,
    rank: bool = True,
    tell: Callable[[int], None] = lambda count: None,
) -> Accuracy:
    """The accuracy of a quantized network over ``batches``: its metrics, each layer's error, with ``rank`` the metrics
    with one layer quantized at a time, and with a target the layers to leave in floating point. Layers of one module,
    such as several calls of it, and those below it are one layer there, as ``floating`` leaves out modules. ``tell``
    gets how many networks have been run.

    ``unmet`` says so if no network with at least one quantized layer meets the target.

    Raises:
        UsageError: the metric has no number that the target is about, or none for fp32 itself.
    """
    layers = layer_errors(networks, batches)
    quantized = [each for each in layers if each.quantized]
    labels = {each.label for each in quantized}
    modules: dict[str, list[str]] = {}
    for each in quantized:
        outermost = next(module for module in modules_of(each.label) if module in labels)
        modules.setdefault(outermost, []).append(each.name)
    trials = _Trials(networks, batches, metric, tell, modules)
    if target is not None:
        _check_reference(target, trials.reference)
    whole = trials.metrics(())
    order: list[Sensitivity] = []
    if rank or (target is not None and not _meets(target, whole, trials)):
        alone = {module: trials.metrics([other for other in modules if other != module]) for module in modules}
        key = target.metric if target is not None else "sqnr" if "sqnr" in whole else next(iter(whole))
        order = [
            Sensitivity(name=modules[module][0], module=module, metrics=_numbers(alone[module]))
            for module in sorted(modules, key=lambda module: _worst_first(alone[module], key))
        ]
    floating: tuple[str, ...] | None = ()
    if target is not None:
        floating = _search(target, [each.module for each in order], trials)
    unmet = _unmet(target, [each.module for each in order], trials) if target and floating is None else ""
    return Accuracy(
        reference=_numbers(trials.reference),
        quantized=_numbers(whole),
        layers=tuple(layers),
        sensitivity=tuple(order),
        target=target.text if target is not None else "",
        floating=floating or (),
        assigned=_numbers(trials.metrics(floating)) if target is not None and floating is not None else {},
        unmet=unmet,
        networks=trials.count,
    )


def _check_reference(target: Target, reference: Mapping[str, float]) -> None:
    """UsageError for a target that nothing can be held to, by the metrics of fp32."""
    name = target.metric
    if name not in reference:
        what = f"the metric has no number {name!r}"
        raise UsageError(what, where="--target", fix=f"one of {', '.join(reference)}")
    if math.isnan(reference[name]):
        what = f"{name!r} is NaN for fp32 itself, so that no network can be held to it"
        raise UsageError(what, where="--target", fix="a metric that has a number where outputs equal the reference")
    if target.is_change and math.isinf(reference[name]):
        what = f"{target.text}: fp32 has an infinite {name}, which no change leads from"
        raise UsageError(what, where="--target", fix=f"a value without a sign: '{name} >= 30'")


def _numbers(metrics: Mapping[str, float]) -> dict[str, Number]:
    return {name: number(value) for name, value in metrics.items()}


def _worst_first(metrics: Mapping[str, float], key: str) -> tuple[float, float]:
    """The key of the order: by the metric, and where that is equal, as of many layers, by SQNR."""
    value, second = metrics[key], metrics.get("sqnr", metrics[key])
    return (-math.inf if math.isnan(value) else value, -math.inf if math.isnan(second) else second)


# ---------------------------------------------------------------------------------------------------------- each layer


def layer_errors(networks: Networks, batches: Batches) -> list[LayerError]:
    """The SQNR of the result of each layer with weights, and of its weights: one pass over both graphs at once, which
    holds no more tensors than two runs do.
    """
    vertices = {each.name: each for each in graph_view.of_graph(networks.quantized) if has_weights(each)}
    sums: dict[str, list[float]] = {name: [0.0, 0.0] for name in vertices}
    for batch in batches:
        _walk(networks, batch, sums)
    return [
        LayerError(
            name=name,
            op=vertex.op,
            module=vertex.module,
            sqnr=_stored(decibels(*sums[name])),
            weight_sqnr=_weight_sqnr(networks.quantized, vertex),
            quantized=is_quantized(vertex),
        )
        for name, vertex in vertices.items()
    ]


def _walk(networks: Networks, batch: Sequence[torch.Tensor], sums: Mapping[str, list[float]]) -> None:
    """Run both graphs node by node; add the squares of signal and error of each layer."""
    import torch

    first, second = _Stepping(networks.plain, batch), _Stepping(networks.quantized, batch)
    shared = {node.name for node in networks.quantized.graph.nodes}
    with torch.no_grad():
        for name, value in first:
            if name not in shared:
                continue
            other = second.up_to(name)
            if name in sums:
                expected, actual = value.double(), other.double()
                sums[name][0] += float((expected * expected).sum())
                sums[name][1] += float(((actual - expected) ** 2).sum())


class _Stepping:
    """Runs a graph node by node, and drops each value after its last use."""

    def __init__(self, graph: torch.fx.GraphModule, batch: Sequence[torch.Tensor]) -> None:
        import torch

        self._runner = torch.fx.Interpreter(graph, garbage_collect_values=False)
        self._runner.args_iter = iter(batch)
        self._uses = {node: len(node.users) for node in graph.graph.nodes}
        self._nodes = iter(graph.graph.nodes)

    def __iter__(self) -> _Stepping:
        return self

    def __next__(self) -> tuple[str, Any]:
        """The next node's name and value."""
        node = next(self._nodes)
        value = self._runner.run_node(node)
        self._runner.env[node] = value
        for each in node.all_input_nodes:
            self._uses[each] -= 1
            if not self._uses[each]:
                del self._runner.env[each]
        return node.name, value

    def up_to(self, name: str) -> Any:
        """The value of the node ``name``, which comes later than all that were run."""
        for each, value in self:
            if each == name:
                return value
        raise KeyError(name)


def _weight_sqnr(graph: torch.fx.GraphModule, vertex: Vertex) -> float | None:
    pair = pair_of(vertex.weight)
    if pair is None or pair.q is pair.dq:
        return None
    values = graph.get_buffer(str(pair.source.node.target)).double()
    arguments = {name: value for name, value in pair.q.node.kwargs.items() if name != "input"}
    scale = edit.tensor_of(graph, arguments["scale"])
    arguments["scale"] = arguments["scale"] if scale is None else scale
    rounded = pair.q.node.target(input=values.float(), **arguments)
    noise = pair.dq.node.target(input=rounded, **arguments).double() - values
    return _stored(decibels(float((values * values).sum()), float((noise * noise).sum())))


def _stored(value: float) -> float | None:
    return value if math.isfinite(value) else None


# ------------------------------------------------------------------------------------------------------- other networks


def left_floating(quantized: torch.fx.GraphModule, names: Collection[str]) -> torch.fx.GraphModule:
    """The graph in which the layers ``names`` read input and weights as they are. Pairs that then serve no quantized
    layer are removed; with all layers named, no pair is left.
    """
    result = edit.copy_module(quantized)
    for vertex in graph_view.of_graph(result):
        if vertex.name in names:
            for operand in vertex.operands:
                if (pair := pair_of(operand)) is not None:
                    vertex.node.replace_input_with(pair.dq.node, pair.source.node)
    result.graph.eliminate_dead_code()
    while _remove_one(result):
        result.graph.eliminate_dead_code()
    return edit.finish(result)


def _remove_one(graph: torch.fx.GraphModule) -> bool:
    """Remove the pairs of one kind of use that serve no layer; False if there are none."""
    changed = False
    for pair in pairs(graph_view.of_graph(graph)):
        for user in pair.dq.users:
            if pair.q is not pair.dq and not _serves(user):
                user.node.replace_input_with(pair.dq.node, pair.source.node)
                changed = True
    return changed


def _serves(user: Vertex) -> bool:
    """Whether an op that reads a pair runs in int8, or lets another do so."""
    if has_weights(user):
        return is_quantized(user)
    if user.op == "add" and rules.main_branch(user) is not None:
        return True
    if user.op == "quantize":
        return True
    is_whole = all(pair_of(each) is not None for each in user.data if each.op != "constant")
    return is_whole and bool(quantizers(after_activation(user)))


class _Trials:
    """Runs networks that differ in which modules are quantized, each once; ``modules`` are their layers."""

    def __init__(
        self, networks: Networks, batches: Batches, metric: Metric, tell: Callable[[int], None],
        modules: Mapping[str, Sequence[str]],
    ) -> None:  # fmt: skip
        self._networks = networks
        self._modules = modules
        self._batches = batches
        self._metric = metric
        self._tell = tell
        self._metrics: dict[frozenset[str], Mapping[str, float]] = {}
        self.count = 0
        self._expected = self._run(networks.plain)
        self.reference = self._metric(self._expected, self._expected)

    def metrics(self, floating: Collection[str]) -> Mapping[str, float]:
        """Those of the network with the modules ``floating`` in floating point."""
        key = frozenset(floating)
        if key not in self._metrics:
            layers = {name for module in key for name in self._modules[module]}
            graph = left_floating(self._networks.quantized, layers) if key else self._networks.quantized
            self._metrics[key] = self._metric(self._run(graph), self._expected)
        return self._metrics[key]

    def _run(self, graph: torch.fx.GraphModule) -> Arrays:
        import torch

        self.count += 1
        self._tell(self.count)
        with torch.no_grad():
            results = [graph(*batch) for batch in self._batches]
        return {
            name: np.concatenate([np.atleast_1d(each.numpy()) for each in parts])
            for name, parts in zip(self._networks.outputs, zip(*results, strict=True), strict=True)
        }


def _meets(target: Target, metrics: Mapping[str, float], trials: _Trials) -> bool:
    return target.met(metrics[target.metric], trials.reference[target.metric])


def _search(target: Target, order: Sequence[str], trials: _Trials) -> tuple[str, ...] | None:
    """The modules to leave in floating point: the shortest beginning of ``order``, the most sensitive first, that meets
    the target, less each that it is met without. No proper subset of the result was seen to meet it by leaving out one
    module; that no other set is smaller is not shown, which would take a run of each.

    None if the target is not met even with one quantized module.
    """
    if _meets(target, trials.metrics(()), trials):
        return ()
    low, high = 0, len(order)  # the target is missed with ``low`` modules, and taken to be met with ``high``
    while high - low > 1:
        middle = (low + high) // 2
        if _meets(target, trials.metrics(order[:middle]), trials):
            high = middle
        else:
            low = middle
    if high == len(order):
        return None
    kept = list(order[:high])
    for name in reversed(order[:high]):
        without = [each for each in kept if each != name]
        if _meets(target, trials.metrics(without), trials):
            kept = without
    return tuple(kept)


def _unmet(target: Target, order: Sequence[str], trials: _Trials) -> str:
    """Why no assignment meets a target, with the layers that alone miss it."""
    what = f"no assignment meets {target.text}: fp32 has {trials.reference[target.metric]:.12g}"
    if order:
        best = max(trials.metrics([each for each in order if each != name])[target.metric] for name in order)
        shown = ", ".join(order[:_SHOWN])
        more = f" and {len(order) - _SHOWN} more" if len(order) > _SHOWN else ""
        what += f", a network with one quantized layer at best {best:.12g}; each layer alone misses it: {shown}{more}"
    return what
