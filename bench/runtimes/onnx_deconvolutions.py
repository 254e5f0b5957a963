"""Makes transposed convolutions in groups of an ONNX file dense: one group, with zeros between those of the groups."""

from __future__ import annotations

import itertools
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from bench.errors import SuiteError
from bench.runtimes import deconvolutions, onnx_manifest, onnx_nodes

# By the number of a type (float32, float16, float64, bfloat16) the bytes of a value, and the field of a tensor that has
# values which are not in its raw bytes. In each of them all bits of zero are 0.
_TYPES = {1: (4, "float_data"), 10: (2, "int32_data"), 11: (8, "double_data"), 16: (2, "int32_data")}
_OUTSIDE = "dense_kernels.data"
_ALIGNED = 4096  # bytes, so that a runtime can map the file
_FIRST_WITHOUT_INPUTS = 4  # of the versions of ONNX's format, which demands no input for each initializer


def make_dense(path: Path) -> dict[str, Any]:
    """Give each ConvTranspose in groups of the file at ``path`` a single group, and return the
    ``deconvolutions.count``. The package onnx must be there.

    The kernel [in, out / groups, ...] becomes [in, out, ...] of the same type, a constant of its own: one for all nodes
    that shared the kernel in equal groups. Where the kernel's values lie outside the file, or the file would be too
    large, it lies outside, too. Kernels that are no constants keep their groups, and those that would have more than
    ``deconvolutions.MOST_VALUES`` values.

    SuiteError for a kernel whose values are not there.
    """
    model = onnx_manifest.load(path)
    file = _File(model, path)
    obstacles = []
    for scope, node, groups in file.in_groups():
        constant, obstacle = _constant_of(scope, node.input[1])
        if constant is not None and not (obstacle := _obstacle(constant.tensor, groups)):
            file.give(scope, node, constant, groups)
        obstacles.append((_place(node), obstacle))
    obstacles += [(_place(node), "it is in a function of the file") for node in file.in_functions()]
    if any(not obstacle for _, obstacle in obstacles):
        import onnx

        file.remove_unread()
        onnx.save(model, os.fspath(path))
    return deconvolutions.count(obstacles)


class _Scope:
    """A graph, with the names that it defines, and the graph around it, whose names its nodes read, too.

    ``readers`` counts what reads a name that is defined here, also in graphs within. Two branches of a conditional may
    define the same name.
    """

    def __init__(self, graph: Any, outer: _Scope | None) -> None:
        self.graph, self.outer = graph, outer
        self.nodes = {name: node for node in graph.node for name in node.output if name}
        self.constants = {each.name: each for each in graph.initializer}
        for node in graph.node:
            for attribute in node.attribute if node.op_type == "Constant" else ():
                if attribute.name == "value":
                    self.constants[node.output[0]] = attribute.t
        self.names = {*self.nodes, *self.constants, *(each.name for each in graph.input)}
        self.readers: Counter[str] = Counter()
        self.unread: set[str] = set()

    def defining(self, name: str) -> _Scope:
        """The scope that defines a name which this graph reads: itself, or one around it."""
        return self if name in self.names or self.outer is None else self.outer.defining(name)


class _Constant(NamedTuple):
    """The value called ``name`` of an initializer of the graph of ``scope``, or of one of its Constant nodes."""

    scope: _Scope
    name: str
    tensor: Any


class _File:
    """The graphs of a model, and the dense kernels that they get."""

    def __init__(self, model: Any, path: Path) -> None:
        self._model = model
        self._folder = path.parent
        self._size = path.stat().st_size  # bytes
        self._scopes = list(_scopes(model.graph))
        self._dense: dict[tuple[_Scope, str, int], str] = {}
        for scope in self._scopes:
            for name in itertools.chain(*(node.input for node in scope.graph.node)):
                scope.defining(name).readers[name] += 1
            for output in scope.graph.output:
                scope.defining(output.name).readers[output.name] += 1

    def in_groups(self) -> list[tuple[_Scope, Any, int]]:
        """The nodes that are transposed convolutions in groups, each in its scope, and how many groups it has."""
        return [(scope, node, groups) for scope in self._scopes for node, groups in _in_groups(scope.graph)]

    def in_functions(self) -> list[Any]:
        """Such nodes in the functions of the file."""
        return [node for each in self._model.functions for graph in _nested(each) for node, _ in _in_groups(graph)]

    def give(self, scope: _Scope, node: Any, constant: _Constant, groups: int) -> None:
        """Give a node a single group and the dense kernel of a constant."""
        key = (constant.scope, constant.name, groups)
        if key not in self._dense:
            tensor = _dense(constant.tensor, groups, self._folder)
            tensor.name = self._dense[key] = self._unused(f"{constant.name}_of_{groups}_groups")
            if constant.tensor.external_data or self._size + tensor.ByteSize() > onnx_manifest.INSIDE:
                _lay_outside(tensor, self._folder / _OUTSIDE)
            self._size += tensor.ByteSize()
            constant.scope.graph.initializer.append(tensor)
            if self._model.ir_version < _FIRST_WITHOUT_INPUTS and constant.scope.outer is None:
                _declare(tensor, constant.scope.graph)
        _release(scope, node.input[1])
        node.input[1] = self._dense[key]
        for attribute in node.attribute:
            if attribute.name == "group":
                attribute.i = 1

    def remove_unread(self) -> None:
        """Remove the constants that only the kernels of now dense nodes were."""
        for scope in self._scopes:
            graph = scope.graph
            for index, node in reversed(list(enumerate(graph.node))):
                if node.op_type in ("Constant", "Identity") and node.output[0] in scope.unread:
                    del graph.node[index]
            for values in (graph.initializer, graph.input, graph.value_info):
                for index, value in reversed(list(enumerate(values))):
                    if value.name in scope.unread:
                        del values[index]

    def _unused(self, name: str) -> str:
        taken = set(self._dense.values()).union(*(scope.names for scope in self._scopes))
        while name in taken:
            name += "_"
        return name


def _constant_of(scope: _Scope, name: str) -> tuple[_Constant | None, str]:
    """The constant that a kernel is, or why it is none. ``scope`` is that of the node which reads it."""
    scope = scope.defining(name)
    while (node := scope.nodes.get(name)) is not None and node.op_type == "Identity":
        name = node.input[0]
        scope = scope.defining(name)
    if (tensor := scope.constants.get(name)) is not None:
        return _Constant(scope, name, tensor), ""
    return None, "its kernel is an input" if node is None else f"its kernel is computed by {node.op_type}"


def _release(scope: _Scope, name: str) -> None:
    """Count a reader of a constant less; what nothing reads any more is to be removed."""
    scope = scope.defining(name)
    scope.readers[name] -= 1
    if scope.readers[name] == 0:
        scope.unread.add(name)
        if (node := scope.nodes.get(name)) is not None and node.op_type == "Identity":
            _release(scope, node.input[0])


def _scopes(graph: Any, outer: _Scope | None = None) -> Iterator[_Scope]:
    """The scope of a graph, and those of the graphs within its nodes."""
    yield (scope := _Scope(graph, outer))
    for inner in _within(graph):
        yield from _scopes(inner, scope)


def _nested(graph: Any) -> Iterator[Any]:
    """A graph or function, and the graphs within its nodes."""
    yield graph
    for inner in _within(graph):
        yield from _nested(inner)


def _within(graph: Any) -> Iterator[Any]:
    """The graphs that are attributes of the nodes of a graph or function."""
    for node in graph.node:
        for attribute in node.attribute:
            yield from (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs)


def _in_groups(graph: Any) -> Iterator[tuple[Any, int]]:
    for node in graph.node:
        if node.op_type == "ConvTranspose" and node.domain in ("", "ai.onnx"):
            groups = next((int(each.i) for each in node.attribute if each.name == "group"), 1)
            if groups > 1:
                yield node, groups


def _place(node: Any) -> str:
    """The module that a node comes from, else its own name or that of its output."""
    return onnx_nodes.module_of(onnx_nodes.node_of(memoryview(node.SerializeToString()))) or node.name or node.output[0]


def _obstacle(kernel: Any, groups: int) -> str:
    """Why a constant cannot be made dense; empty if it can."""
    if kernel.data_type not in _TYPES or len(kernel.dims) < 3 or kernel.dims[0] % groups:
        return f"its kernel of the shape {list(kernel.dims)} cannot be divided into {groups} groups of floats"
    return deconvolutions.too_large(kernel.dims, groups)


def _dense(kernel: Any, groups: int, folder: Path) -> Any:
    """A kernel [in, out / groups, ...] as a tensor [in, out, ...] without a name."""
    import onnx

    values = _on_diagonal(_bits(kernel, folder), groups)
    return onnx.TensorProto(data_type=kernel.data_type, dims=values.shape, raw_data=values.tobytes())


def _on_diagonal(kernel: npt.NDArray[Any], groups: int) -> npt.NDArray[Any]:
    """[in, out / groups, ...] as [in, out, ...], with zeros where input and output channel are of different groups."""
    inputs, outputs, size = kernel.shape[0] // groups, kernel.shape[1], kernel.shape[2:]
    blocks = np.zeros((groups, inputs, groups, outputs, *size), kernel.dtype)
    for group, block in enumerate(kernel.reshape(groups, inputs, outputs, *size)):
        blocks[group, :, group] = block
    return blocks.reshape(groups * inputs, groups * outputs, *size)


def _bits(tensor: Any, folder: Path) -> npt.NDArray[Any]:
    """The values of a tensor of floats as unsigned integers of the same bits. SuiteError if they are not there."""
    import onnx
    from onnx import external_data_helper

    size, field = _TYPES[tensor.data_type]
    unsigned = np.dtype(f"<u{size}")
    try:
        if tensor.external_data:
            outside, tensor = tensor, onnx.TensorProto()
            tensor.CopyFrom(outside)
            external_data_helper.load_external_data_for_tensor(tensor, os.fspath(folder))
        if tensor.HasField("raw_data"):
            values = np.frombuffer(tensor.raw_data, unsigned)
        elif field == "int32_data":
            values = np.array(tensor.int32_data, np.int32).astype(unsigned)
        else:
            values = np.array(getattr(tensor, field), f"<f{size}").view(unsigned)
        return values.reshape(tuple(tensor.dims))
    except (OSError, ValueError, onnx.checker.ValidationError) as error:
        what = f"the ONNX file's kernel {tensor.name!r} of the shape {list(tensor.dims)} cannot be read: {error}"
        raise SuiteError(what, fix="save the model again") from error


def _lay_outside(tensor: Any, path: Path) -> None:
    """Move the values of a tensor to the end of the file at ``path``, which lies beside the model."""
    from onnx import external_data_helper

    with path.open("ab") as file:
        file.write(bytes(-file.tell() % _ALIGNED))
        external_data_helper.set_external_data(tensor, path.name, offset=file.tell(), length=len(tensor.raw_data))
        file.write(tensor.raw_data)
    tensor.ClearField("raw_data")


def _declare(tensor: Any, graph: Any) -> None:
    """Make a constant the default of an input."""
    import onnx

    graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, list(tensor.dims)))
