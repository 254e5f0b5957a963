"""Calibration: runs a graph on inputs, one after the other, and observes its tensors."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.errors import SuiteError
from bench.lowering.quantize import insert
from bench.lowering.quantize.observers import OBSERVERS, Histogram, Observer
from bench.lowering.quantize.scales import Range

if TYPE_CHECKING:
    import numpy as np
    import torch


class Calibration:
    """The observers of a graph's tensors, after ``run``."""

    def __init__(self, module: torch.fx.GraphModule, observer: str) -> None:
        self._module = module
        self._inputs = [node.meta["input"] for node in module.graph.nodes if node.op == "placeholder"]
        self._observers: dict[str, Observer] = {
            node.name: OBSERVERS[observer](str(node.meta.get("path") or node.meta.get("input") or node.name))
            for node in insert.activations(module)
        }
        self.samples = 0

    def run(
        self, inputs: Iterable[Mapping[str, torch.Tensor]], tell: Callable[[int], None] = lambda samples: None
    ) -> None:
        """Observe the graph on each of ``inputs`` (name -> tensor); ``tell`` gets how many samples have been seen.

        Raises:
            SuiteError: there are no inputs.
            Unsupported: a tensor has values that are not finite; names the module.
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
            raise SuiteError("there are no inputs to calibrate with", fix="quantize: {samples: 128}, or data")

    def ranges(self) -> dict[str, Range]:
        """The range of each tensor by the name of its node. Unsupported if one was always zero."""
        return {name: observer.range() for name, observer in self._observers.items()}

    def histograms(self) -> dict[str, tuple[np.ndarray[Any, Any], float]]:
        """Counts and the width of a bin for each tensor whose observer has them."""
        return {
            name: (observer.counts, observer.width)
            for name, observer in self._observers.items()
            if isinstance(observer, Histogram)
        }


def calibrate(
    module: torch.fx.GraphModule, inputs: Sequence[Mapping[str, torch.Tensor]], observer: str = "entropy"
) -> dict[str, Range]:
    """The ranges of a normalised graph's tensors over ``inputs``. Errors as of ``Calibration.run`` and ``ranges``."""
    calibration = Calibration(module, observer)
    calibration.run(inputs)
    return calibration.ranges()
