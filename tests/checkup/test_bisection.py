"""The search for the first wrong tensor: which one it finds, and how many networks it runs for that."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.checkup.bisection import Search, WrongLayer
from bench.model.divergence import Check, Graph, Node, Side

NOTHING = Side(low=0.0, high=0.0)


def graph(**inputs: str) -> Graph:
    """``graph(a="", b="a")``: nodes in this order with the names that they read."""
    nodes = tuple(Node(name=name, op="relu", inputs=tuple(reads.split())) for name, reads in inputs.items())
    return Graph(nodes=nodes, outputs={"y": nodes[-1].name})


def chain(length: int) -> Graph:
    return graph(**{f"n{index}": f"n{index - 1}" if index else "" for index in range(length)})


class Network:
    """A network whose tensors ``wrong`` are wrong, that lacks ``absent``; ``runs`` are the outputs of each run.

    While all of ``mending`` are outputs, nothing is wrong.
    """

    def __init__(
        self, of: Graph, wrong: Sequence[str], absent: Sequence[str] = (), mending: Sequence[str] = ()
    ) -> None:
        self.nodes = {node.name: node for node in of.nodes}
        self.wrong, self.absent, self.mending = set(wrong), set(absent), set(mending)
        self.runs: list[tuple[str, ...]] = []

    def __call__(self, names: Sequence[str]) -> Mapping[str, Check]:
        self.runs.append(tuple(names))
        mended = bool(self.mending) and self.mending <= set(names)
        return {
            name: Check(
                node=self.nodes[name], ok=mended or name not in self.wrong, reference=NOTHING, network=NOTHING,
                dtype="float16",
            )
            for name in names
            if name not in self.absent
        }  # fmt: skip


def names(finding: WrongLayer | None) -> tuple[str, ...]:
    assert finding is not None
    return (finding.check.node.name, *(each.node.name for each in finding.inputs))


@given(length=st.integers(1, 40), data=st.data(), at_once=st.integers(1, 9))
def test_the_first_wrong_tensor_of_a_chain_in_few_networks(length: int, data: st.DataObject, at_once: int) -> None:
    first = data.draw(st.integers(0, length - 1))
    of = chain(length)
    network = Network(of, [f"n{index}" for index in range(first, length)])
    search = Search(of, network, at_once)
    expected = (f"n{first}", f"n{first - 1}") if first else ("n0",)
    assert names(search.first(f"n{length - 1}")) == expected
    assert all(len(run) <= max(at_once, 2) for run in network.runs)
    assert search.networks == len(network.runs)
    assert search.networks <= 2 + length.bit_length() + 1


def test_all_at_once_is_one_network_more_than_the_output() -> None:
    of = chain(30)
    network = Network(of, [f"n{index}" for index in range(11, 30)])
    assert names(Search(of, network, 1 << 30).first("n29")) == ("n11", "n10")
    assert len(network.runs) == 2


def test_a_right_output_and_one_that_the_network_lacks_have_no_first() -> None:
    of = chain(4)
    assert Search(of, Network(of, []), 1).first("n3") is None
    assert Search(of, Network(of, ["n3"], absent=["n3"]), 1).first("n3") is None


def test_another_branch_does_not_hide_the_one_that_is_wrong() -> None:
    of = graph(a="", b="a", c="a", d="c", e="b d")  # b is wrong, and c and d after it are right
    for at_once in (1, 2, 9):
        network = Network(of, ["b", "e"])
        assert names(Search(of, network, at_once).first("e")) == ("b", "a")


def test_what_is_not_computed_from_the_wrong_tensor_is_not_looked_at() -> None:
    of = graph(a="", other="", b="a", c="b")
    network = Network(of, ["b", "c", "other"])
    assert names(Search(of, network, 9).first("c")) == ("b", "a")
    assert all("other" not in run for run in network.runs)


def test_a_tensor_that_the_network_lacks_is_passed_over() -> None:
    of = chain(6)
    network = Network(of, ["n3", "n4", "n5"], absent=["n2"])
    assert names(Search(of, network, 1).first("n5")) == ("n3", "n1")


@pytest.mark.parametrize("at_once", [1, 2, 9])
def test_a_layer_that_is_right_once_its_tensors_are_outputs(at_once: int) -> None:
    of = chain(8)
    network = Network(of, ["n5", "n6", "n7"], mending=["n4", "n5"])
    finding = Search(of, network, at_once).first("n7")
    assert finding is not None
    assert finding.vanishes
    assert names(finding) == ("n5", "n4")
