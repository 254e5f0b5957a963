"""torchao's PT2E as the producer of scales: its observers see the activations, its conversion chooses the limits."""

from __future__ import annotations

import copy
import importlib.metadata
import importlib.util
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from bench.errors import Unavailable
from bench.model.distributions import install
from bench.runtimes.quantization import Settings

if TYPE_CHECKING:
    import torch

    from bench.lowering.quantize.calibration import Calibration
    from bench.lowering.quantize.scales import Range

PACKAGE = "torchao"
# The observers of torchao by the names of this package.
_OBSERVERS = {
    "histogram": "HistogramObserver", "minmax": "MinMaxObserver", "moving_average": "MovingAverageMinMaxObserver",
}  # fmt: skip


def calibration(graph: torch.fx.GraphModule, how: Settings) -> Calibration:
    """The calibration of a normalised graph by torchao. Unavailable where it is not installed."""
    if importlib.util.find_spec(PACKAGE) is None:
        raise Unavailable("producer: pt2e needs torchao", fix=install(PACKAGE))
    return _calibration(graph, how.observer)


def _calibration(graph: torch.fx.GraphModule, observer: str) -> Calibration:
    from torchao.quantization.pt2e import quantize_pt2e

    from bench.lowering.quantize import insert
    from bench.lowering.quantize.calibration import Calibration as Own
    from bench.lowering.quantize.observers import Percentile
    from bench.lowering.quantize.scales import LARGEST, Range

    observed = {node.name for node in insert.activations(graph)}

    class OfTorchao(Own):
        """Runs the graph that torchao has prepared. Own observers beside its count histograms and see what is wrong."""

        def __init__(self) -> None:
            super().__init__(graph, Percentile, f"{PACKAGE} {importlib.metadata.version(PACKAGE)} (PT2E)")
            self._module = quantize_pt2e.prepare_pt2e(positional(graph), _quantizer(observed, observer))

        def converted(self) -> torch.fx.GraphModule:
            """The graph with the pairs that PT2E places, in operators of ``quantized_decomposed``."""
            return quantize_pt2e.convert_pt2e(copy.deepcopy(self._module), fold_quantize=False)

        def ranges(self) -> dict[str, Range]:
            """The limits by the scales of the converted graph; none where a tensor was not finite, which PT2E does not
            convert.
            """
            if any(seen.problem == "not finite" for seen in self._observers.values()):
                return {}
            scales = pairs(self.converted())
            result = {}
            for name, seen in self._observers.items():
                if seen.problem not in (None, "constant"):
                    continue
                limit = scales[name] * LARGEST
                result[name] = Range(
                    limits=(limit,), method=observer, least=float(seen.least), most=float(seen.most),
                    clipped=seen.clipped(limit), module=seen.where,
                )  # fmt: skip
            return result

    return OfTorchao()


def positional(graph: torch.fx.GraphModule) -> torch.fx.GraphModule:
    """A copy of a normalised graph whose nodes have the tensors that they read as arguments by position, and no others,
    as PT2E needs them; and fake tensors for their results.
    """
    from torch._subclasses import FakeTensorMode

    from bench.lowering.passes import edit

    result, mode = edit.copy_module(graph), FakeTensorMode()
    for node in result.graph.nodes:
        if node.op == "call_function" and node.kwargs:
            sources = tuple(node.all_input_nodes)
            node.target = _by_position(node.target, dict(node.kwargs), sources)
            node.args, node.kwargs = sources, {}
        if hasattr(node.meta.get("val"), "shape"):
            with mode:
                node.meta["val"] = _empty_like(node.meta["val"])
    result.recompile()
    return result


def _by_position(target: Callable[..., Any], kwargs: dict[str, Any], sources: tuple[torch.fx.Node, ...]) -> Any:
    import torch

    def call(*values: Any) -> Any:
        by_node = dict(zip(sources, values, strict=True))
        return target(**torch.fx.map_arg(kwargs, by_node.__getitem__))

    call.__name__ = call.__qualname__ = getattr(target, "__name__", "call")
    return call


def _empty_like(value: Any) -> Any:
    import torch

    return torch.empty(tuple(int(size) for size in value.shape), dtype=value.dtype)


def _quantizer(observed: set[str], observer: str) -> Any:
    """What tells PT2E to observe the tensors ``observed`` for symmetric int8 of one scale."""
    import torch
    from torchao.quantization.pt2e import observer as observers
    from torchao.quantization.pt2e.quantizer import QuantizationAnnotation, QuantizationSpec, Quantizer
    from torchao.quantization.pt2e.quantizer.quantizer import Q_ANNOTATION_KEY

    spec = QuantizationSpec(
        dtype=torch.int8, observer_or_fake_quant_ctr=getattr(observers, _OBSERVERS[observer]), quant_min=-127,
        quant_max=127, qscheme=torch.per_tensor_symmetric,
    )  # fmt: skip

    class Outputs(Quantizer):  # type: ignore[misc]
        def annotate(self, model: torch.fx.GraphModule) -> torch.fx.GraphModule:
            for node in model.graph.nodes:
                if node.name in observed:
                    node.meta[Q_ANNOTATION_KEY] = QuantizationAnnotation(output_qspec=spec, _annotated=True)
            return model

        def validate(self, model: torch.fx.GraphModule) -> None:
            pass

    return Outputs()


def pairs(converted: torch.fx.GraphModule) -> dict[str, float]:
    """The scale of each tensor that PT2E's converted graph quantizes (``quantized_decomposed``), by its node."""
    import torch

    quantize = torch.ops.quantized_decomposed.quantize_per_tensor.default
    return {
        node.args[0].name: float(node.args[1])
        for node in converted.graph.nodes
        if node.op == "call_function" and node.target is quantize
    }
