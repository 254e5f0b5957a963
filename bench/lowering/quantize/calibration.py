"""Calibration: runs a graph on inputs, one after the other, and observes its tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.errors import SuiteError
from bench.lowering import normalise
from bench.lowering.quantize import insert, summary
from bench.lowering.quantize.observers import OBSERVERS, Histogram, Observer
from bench.lowering.quantize.scales import Range
from bench.model.tensor_ranges import TensorRange

if TYPE_CHECKING:
    import numpy as np
    import torch


class Calibration:
    """The observers of a graph's tensors, after ``run``; ``quantizer`` is who chooses their limits, ``observer`` makes
    one for the module that a tensor is of.
    """

    def __init__(
        self, module: torch.fx.GraphModule, observer: Callable[[str], Observer], quantizer: str = "trtbench"
    ) -> None:
        self.quantizer = quantizer
        self._module = module
        self._inputs = [node.meta["input"] for node in module.graph.nodes if node.op == "placeholder"]
        self._observers: dict[str, Observer] = {
            node.name: observer(_where(node)) for node in insert.activations(module)
        }
        self.samples = 0

    def run(
        self, inputs: Iterable[Mapping[str, torch.Tensor]], tell: Callable[[int], None] = lambda samples: None
    ) -> None:
        """Observe the graph on each of ``inputs`` (name -> tensor); ``tell`` gets how many samples have been seen.

        SuiteError if there are no inputs.
        """
        import torch

        observers = self._observers

        class Observed(torch.fx.Interpreter):  # type: ignore[misc]
            def run_node(self, node: torch.fx.Node) -> Any:
                value = super().run_node(node)
                if node.name in observers:
                    observers[node.name].see(value)
                return value

        interpreter = Observed(self._module)
        with torch.no_grad():
            for each in inputs:
                values = [each[name] for name in self._inputs]
                interpreter.run(*values)
                self.samples += int(values[0].shape[0]) if values and values[0].dim() else 1
                tell(self.samples)
        if not self.samples:
            raise SuiteError("there are no inputs to calibrate with", fix="samples: 128, or data that has some")

    def tensors(self, ranges: Mapping[str, Range]) -> tuple[TensorRange, ...]:
        """What was seen of each tensor, in the order of the graph; ``ranges`` are those of ``ranges()``."""
        return tuple(summary.of(name, observer, ranges.get(name)) for name, observer in self._observers.items())

    def ranges(self) -> dict[str, Range]:
        """The range of each tensor that has a scale, by the name of its node."""
        return {name: each.range() for name, each in self._observers.items() if each.problem in (None, "constant")}

    def histograms(self) -> dict[str, tuple[np.ndarray[Any, Any], float]]:
        """Counts and the width of a bin for each tensor whose observer has them."""
        return {
            name: (observer.counts, observer.width)
            for name, observer in self._observers.items()
            if isinstance(observer, Histogram)
        }


def _where(node: torch.fx.Node) -> str:
    """The module or input that a tensor is of; of an activation that is no module the one before it, else the node."""
    source = node.kwargs.get("input") if normalise.op_name(node) in insert.FUSED else None
    if not node.meta.get("path") and hasattr(source, "meta"):
        node = source if source.meta.get("path") else node  # type: ignore[union-attr]
    return str(node.meta.get("path") or node.meta.get("input") or node.name)


def calibrate(
    module: torch.fx.GraphModule, inputs: Sequence[Mapping[str, torch.Tensor]], observer: str = "entropy"
) -> dict[str, Range]:
    """The ranges of a normalised graph's tensors over ``inputs``.

    SuiteError if there are none, Unsupported if a tensor has no scale.
    """
    calibration = Calibration(module, OBSERVERS[observer])
    calibration.run(inputs)
    ranges = calibration.ranges()
    summary.check(calibration.tensors(ranges))
    return ranges
