"""Finds the first tensor of a graph that leaves the limits, though what its layer reads keeps them; pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from bench.model.divergence import Check, Graph

# Runs a network in which the tensors of these names are outputs: their checks, without those that it does not have.
RunNetwork = Callable[[Sequence[str]], Mapping[str, Check]]


class WrongLayer(NamedTuple):
    """The first wrong tensor, the checks of what its layer reads, and whether it is right once both are outputs of one
    network, which then computes its layer in another way.
    """

    check: Check
    inputs: tuple[Check, ...]
    vanishes: bool = False


class Search:
    """The search of one network. ``at_once`` tensors at most are outputs at a time while the range is narrowed: further
    outputs keep a builder from fusing layers, so the network that is looked at is not quite the one that was built.
    """

    def __init__(self, graph: Graph, run: RunNetwork, at_once: int) -> None:
        self._nodes = {node.name: node for node in graph.nodes}
        self._places = {node.name: place for place, node in enumerate(graph.nodes)}
        self._run = run
        self._at_once = max(at_once, 1)
        self._checks: dict[str, Check] = {}
        self._number: dict[str, int] = {}  # the run that a check is of
        self._absent: set[str] = set()
        self.networks = 0

    def first(self, wrong: str) -> WrongLayer | None:
        """The first wrong tensor among those that ``wrong`` is computed from, and itself. None if it is right, or the
        network does not have it.
        """
        self._check([wrong])
        if wrong in self._absent or self._checks[wrong].ok:
            return None
        while True:
            last = self._narrowed(wrong)
            reads = self._reads(last)
            if unknown := [name for name in reads if name not in self._checks]:
                self._check(unknown)
                reads = self._reads(last)
            before = self._checks[last]
            if (
                all(self._checks[name].ok for name in reads)
                and len({self._number[name] for name in [*reads, last]}) > 1
            ):
                self._check([*reads, last])  # for the finding, one network that has them all
            worse = [name for name in reads if not self._checks[name].ok]
            if worse:  # of another branch, earlier in the graph than a right tensor; or right in the network before
                wrong = min(worse, key=self._places.__getitem__)
                continue
            inputs = tuple(self._checks[name] for name in reads)
            if self._checks[last].ok:
                return WrongLayer(before, inputs, vanishes=True)
            return WrongLayer(self._checks[last], inputs)

    def _narrowed(self, wrong: str) -> str:
        """A wrong tensor whose forerunner, in the order of what ``wrong`` is computed from, is right or is none."""
        while True:
            order = self._ancestors(wrong)
            low, high = -1, len(order) - 1
            for place, name in enumerate(order):
                if (check := self._checks.get(name)) is not None:
                    if not check.ok:
                        high = place
                        break
                    low = place
            if high - low <= 1:
                return order[high]
            between = order[low + 1 : high]
            count = min(self._at_once, len(between))
            places = [(2 * index + 1) * len(between) // (2 * count) for index in range(count)]
            self._check([between[place] for place in dict.fromkeys(places)])

    def _check(self, names: Sequence[str]) -> None:
        """Run a network with these tensors as outputs."""
        checks = self._run(names)
        self.networks += 1
        self._checks |= checks
        self._number |= dict.fromkeys(checks, self.networks)
        self._absent |= set(names) - set(checks)

    def _ancestors(self, name: str) -> list[str]:
        """What a tensor is computed from, and itself, in the order of the graph; without those that are absent."""
        pending, names = [name], set[str]()
        while pending:
            each = pending.pop()
            if each not in names:
                names.add(each)
                pending += self._nodes[each].inputs
        return sorted(names - self._absent, key=self._places.__getitem__)

    def _reads(self, name: str) -> list[str]:
        """What the layer of a tensor reads; in place of what is absent, what that one reads."""
        pending, names = list(self._nodes[name].inputs), dict[str, None]()
        while pending:
            each = pending.pop(0)
            if each in self._absent:
                pending += self._nodes[each].inputs
            else:
                names[each] = None
        return list(names)
