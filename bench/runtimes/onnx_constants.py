"""Constants of ONNX files: those of equal value that an exporter shares get values of their own again."""

from __future__ import annotations

import os
from pathlib import Path

_LARGEST = 1 << 20  # bytes; larger ones are tied weights


def separate(path: Path) -> None:
    """Give each small constant of the file a value of its own, in place of an Identity of another one.

    torch's exporter on TorchScript keeps one of those whose values are equal, as the zeros of untrained biases are, and
    has an Identity for each other. TensorRT 8.6 runs these in every inference; the file of a trained model has none.
    """
    import onnx

    model = onnx.load(os.fspath(path), load_external_data=False)
    graph = model.graph
    constants = {each.name: each for each in graph.initializer}
    ends = {each.name for each in (*graph.input, *graph.output)}  # an input's constant is its default
    nodes, several = [], []
    for node in graph.node:
        source = constants.get(node.input[0]) if node.op_type == "Identity" else None
        is_large = source is not None and (source.external_data or source.ByteSize() > _LARGEST)
        if source is None or is_large or {source.name, node.output[0]} & ends:
            nodes.append(node)
            continue
        own = onnx.TensorProto()
        own.CopyFrom(source)
        own.name = node.output[0]
        several.append(own)
        constants[own.name] = own
    if several:
        del graph.node[:]
        graph.node.extend(nodes)
        graph.initializer.extend(several)
        onnx.save(model, os.fspath(path))
