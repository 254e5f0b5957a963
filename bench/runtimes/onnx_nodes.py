"""The nodes of an ONNX file with the modules that they come from, and which of them a runtime's fused node computes."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from bench.runtimes import onnx_file, onnx_manifest

# What torch's exporter writes beside each node: the modules around it, from the outermost on, and the node's own name.
_SCOPES = "pkg.torch.onnx.name_scopes"
# What runtimes put around the name of a node, or of its output, when they rewrite it.
_REWRITTEN = re.compile(r"^(?:fused |Fused)?(.*?)(?:_nchwc|_NhwcFusedConv|_nhwc|/Fused|_fused)?$")
_ACTIVATIONS = frozenset(("Relu", "Sigmoid", "Tanh", "LeakyRelu", "Clip", "HardSigmoid", "Elu"))
_MOST_FUSED = 3  # nodes after or before the one that gives a fused node its name


class Node(msgspec.Struct, frozen=True):
    """One node: ``scope`` is the path of its module, empty where the file does not tell."""

    name: str
    operator: str
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    scope: str = ""


class Nodes:
    """The nodes of a file by their names and outputs."""

    def __init__(self, nodes: Sequence[Node], wrapper: str = "") -> None:
        """``wrapper`` is the path of the model within what was exported; nodes are called as in the model itself."""
        self._by_name = {node.name: node for node in nodes if node.name}
        self._by_output = {output: node for node in nodes for output in node.outputs}
        self._texts = _texts(nodes, wrapper)
        self._users: dict[str, list[Node]] = {}
        for node in nodes:
            for name in dict.fromkeys(node.inputs):
                self._users.setdefault(name, []).append(node)

    def computed_by(self, name: str, operator: str) -> tuple[str, str]:
        """The nodes that the runtime's node ``name`` of type ``operator`` computes, in their order, joined by `` + ``,
        and their types, joined by ``+``. Empty, and ``operator``, where the file has none: the runtime added it.

        A runtime that fuses nodes names the result after its first (``fused conv``, of the type ``FusedConv``) or after
        its last output (``relu_nchwc``, of the type ``Conv``).
        """
        base = operator.removeprefix("Fused").removeprefix("Nhwc").removeprefix("Fused")
        node = self._find(name, base)
        if node is None:
            return "", operator
        if node.operator == base:
            chain = self._followed(node) if operator != base else [node]
        else:
            chain = self._preceded(node, base)
        types = operator if len(chain) == 1 else "+".join(each.operator for each in chain)
        return " + ".join(self._texts[each.outputs] for each in chain), types

    def _find(self, name: str, operator: str) -> Node | None:
        """The node that gives a runtime's node its name; by the beginning of the name only one of the same type."""
        bare = match[1] if (match := _REWRITTEN.match(name)) else name
        if node := self._by_name.get(name) or self._by_name.get(bare) or self._by_output.get(bare):
            return node
        while "_" in bare:
            bare = bare.rpartition("_")[0]
            if (node := self._by_name.get(bare)) and node.operator == operator:
                return node
        return None

    def _followed(self, node: Node) -> list[Node]:
        """With what is fused into it: up to the activation, with a sum before that."""
        chain, last = [node], node
        for _ in range(_MOST_FUSED):
            users = [user for output in last.outputs for user in self._users.get(output, ())]
            if len(users) != 1 or users[0].operator not in (*_ACTIVATIONS, "Add"):
                break
            last = users[0]
            chain.append(last)
            if last.operator in _ACTIVATIONS:
                return chain
        return [node]

    def _preceded(self, node: Node, operator: str) -> list[Node]:
        """From the node of type ``operator`` on that leads to it; itself alone where there is none."""
        chain, first = [node], node
        for _ in range(_MOST_FUSED):
            before = [self._by_output[name] for name in first.inputs if name in self._by_output]
            matches = [each for each in before if each.operator == operator]
            if matches:
                return [matches[0], *chain]
            if not before:
                break
            first = before[0]
            chain.insert(0, first)
        return [node]


def read(path: Path, wrapper: str = "") -> Nodes:
    """The nodes of the file's graph, without those of its subgraphs. ValueError if it is no ONNX file."""
    return Nodes(nodes_of(path), wrapper)


def nodes_of(path: Path) -> list[Node]:
    """The same nodes in the order of the file, which is one in which they can be computed."""
    nodes: list[Node] = []
    for number, graph in onnx_file.fields(memoryview(path.read_bytes())):
        if number == 7 and not isinstance(graph, int):
            nodes += [node_of(value) for kind, value in onnx_file.fields(graph) if kind == 1]
    return nodes


def module_of(node: Node) -> str:
    """The path of a node's module in the model, by its scopes, or by a name as ``/model/layer1/conv1/Conv``; empty
    where the file does not tell.
    """
    path = node.scope or ".".join(node.name.split("/")[1:-1])
    return path.removeprefix(onnx_manifest.WRAPPER).removeprefix(".")


def node_of(value: int | memoryview) -> Node:
    """The node that a message of protobuf is. ValueError if it is none."""
    if isinstance(value, int):
        raise ValueError("it is no model")
    texts: dict[int, list[str]] = {1: [], 2: [], 3: [""], 4: [""]}
    scope = ""
    for number, part in onnx_file.fields(value):
        if isinstance(part, int):
            continue
        if number in texts:
            texts[number].append(bytes(part).decode(errors="replace"))
        elif number == 9:
            entry = {key: bytes(text) for key, text in onnx_file.fields(part) if not isinstance(text, int)}
            if entry.get(1, b"").decode() == _SCOPES:
                scope = _innermost(entry.get(2, b"").decode(errors="replace"))
    return Node(texts[3][-1], texts[4][-1], tuple(texts[1]), tuple(texts[2]), scope)


def _innermost(text: str) -> str:
    """``['', 'model', 'model.layer1', 'relu']`` -> ``model.layer1``; the last one is the node."""
    try:
        scopes = ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return ""
    inner = [scope for scope in scopes[:-1] if isinstance(scope, str)] if isinstance(scopes, list) else []
    return inner[-1] if inner else ""


def _texts(nodes: Iterable[Node], wrapper: str) -> Mapping[tuple[str, ...], str]:
    """By its outputs how each node is called: ``/layer1.0.relu_1/Relu``, the second time that the module computes, as
    the names of exporters have it that write scopes into names; its name where the file has no scopes.
    """
    visits: dict[str, int] = {}
    before = ""
    texts = {}
    for node in nodes:
        scope = node.scope
        if scope and scope != before:
            visits[scope] = visits.get(scope, -1) + 1
        before = scope
        if scope:
            count = visits[scope]
            inner = scope.removeprefix(wrapper).removeprefix(".") if _is_in(scope, wrapper) else scope
            text = f"{f'/{inner}' if inner else ''}{f'_{count}' if count and inner else ''}/{node.operator}"
        else:
            text = node.name.removeprefix(f"/{wrapper}") if _is_in(node.name, f"/{wrapper}", "/") else node.name
        texts[node.outputs] = text or node.operator
    return texts


def _is_in(path: str, outer: str, separator: str = ".") -> bool:
    return bool(outer.strip("/")) and (path == outer or path.startswith(outer + separator))
