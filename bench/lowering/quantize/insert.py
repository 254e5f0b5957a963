"""Places quantize and dequantize around the ops that run in int8, as FX's graph mode did: around each op by itself.

A graph whose ``meta`` says so gets them for fp8: on what convolutions and linear layers read. These end in floating
point.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from bench.errors import Unsupported
from bench.lowering import normalise
from bench.lowering.passes import edit
from bench.lowering.quantize.scales import LARGEST, Ranges
from bench.runtimes.torch.fp8 import LARGEST as LARGEST_FP8

if TYPE_CHECKING:
    import torch


class Pattern(NamedTuple):
    """An op that runs in int8: its arguments that are tensors, and the one that may be weights."""

    inputs: tuple[str, ...]
    weight: str = ""


# The ops that graph mode quantized and TensorRT has int8 kernels for. A sum only of two tensors of the network.
PATTERNS = {
    "convolution": Pattern(("input",), "weight"),
    "linear": Pattern(("input",), "weight"),
    "add": Pattern(("input", "other")),
    "max_pool": Pattern(("input",)),
    "avg_pool": Pattern(("input",)),
}
# The key of a graph's ``meta`` for the type that it is quantized to, int8 without one; and e4m3.
TO, FP8 = "quantized_to", "float8_e4m3fn"
_FP8_OPS = ("convolution", "linear")
# The types of tensors that are quantized: a DQ ends in float32 at int8, and at fp8 in the type of its tensor.
_TYPES = {"int8": ("float32",), FP8: ("float32", "float16", "bfloat16")}
# Functions of one value that are one op with the one before them, so that the result of both is quantized.
FUSED = frozenset({"relu", "clamp"})
# A channel of zeros, or nearly so, has the scale of one this much smaller than the largest.
_SMALLEST_CHANNEL = 1e-6
_SHOWN = 3  # layers that an error names


class Site(NamedTuple):
    """One op to quantize: its node, the tensors that it reads, its weights, and the node whose result is quantized."""

    node: torch.fx.Node
    inputs: tuple[torch.fx.Node, ...]
    weight: torch.fx.Node | None
    result: torch.fx.Node


def sites(module: torch.fx.GraphModule) -> Iterator[Site]:
    """The ops of a graph that can run in int8, or in fp8, in order."""
    for node in module.graph.nodes:
        pattern = PATTERNS.get(normalise.op_name(node))
        if pattern is None or obstacle(module, node):
            continue
        weight = node.kwargs[pattern.weight] if pattern.weight else None
        yield Site(node, tuple(node.kwargs[name] for name in pattern.inputs), weight, _result(node))


def obstacle(module: torch.fx.GraphModule, node: torch.fx.Node) -> str:
    """Why an op cannot run in int8, or in fp8: half a sentence; empty if it can."""
    to_fp8 = module.meta.get(TO) == FP8
    op = normalise.op_name(node)
    pattern = PATTERNS.get(op)
    if pattern is None or (to_fp8 and op not in _FP8_OPS):
        is_product = op in ("matmul", "addmm")
        return "a product with a parameter, which is no linear layer" if is_product else "an op of another kind"
    values = [node.kwargs.get(name) for name in pattern.inputs]
    if not all(_is_float_tensor(value) for value in values) or node.kwargs.get("alpha", 1) != 1:
        return "reads numbers, or a tensor that is scaled or not of floats"
    types = {str(value.meta["val"].dtype).removeprefix("torch.") for value in values if value is not None}
    if others := types.difference(_TYPES[FP8 if to_fp8 else "int8"]):
        return f"computes in {min(others)}"
    if any(edit.tensor_of(module, value) is not None for value in values):
        return "its input is a constant"
    weight = node.kwargs[pattern.weight] if pattern.weight else None
    if pattern.weight and edit.tensor_of(module, weight) is None:
        return "its weights are computed"
    if to_fp8 and weight is not None and weight.meta["val"].dim() == 3:
        return "over one dimension"  # it becomes one over two, whose kernel has to be a constant
    return ""


def _is_float_tensor(value: Any) -> bool:
    import torch

    val = value.meta.get("val") if isinstance(value, torch.fx.Node) else None
    return isinstance(val, torch.Tensor) and val.is_floating_point() and val.dim() > 0


def _result(node: torch.fx.Node) -> torch.fx.Node:
    """The node, or the activation that alone reads it.

    FX's table for TensorRT (torch.ao.quantization.backend_config) has no transposed convolution with its activation.
    """
    readers = list(node.users)
    if len(readers) == 1 and normalise.op_name(readers[0]) in FUSED and not node.kwargs.get("transposed"):
        return readers[0]
    return node


def activations(module: torch.fx.GraphModule) -> tuple[torch.fx.Node, ...]:
    """The tensors whose ranges calibration has to find: what the sites read, and what they return."""
    nodes: dict[torch.fx.Node, None] = {}
    for site in sites(module):
        nodes |= dict.fromkeys(site.inputs if module.meta.get(TO) == FP8 else (*site.inputs, site.result))
    return tuple(nodes)


def check(module: torch.fx.GraphModule) -> None:
    """Unsupported for a graph of which no layer with weights can be quantized, with the reasons; and for the first
    weight that would be quantized and has no scale, as ``insert`` raises it.
    """
    layers = [site for site in sites(module) if site.weight is not None]
    if not layers:
        raise _no_layer(module)
    for site in layers:
        assert site.weight is not None
        _largest(module, site.weight, site.node)


def _no_layer(module: torch.fx.GraphModule) -> Unsupported:
    what = f"no layer of the model can run at {'fp8' if module.meta.get(TO) == FP8 else 'int8'}"
    fix = "precision: fp16, or on a CPU fp32"
    nodes = [node for node in module.graph.nodes if normalise.op_name(node) in _FP8_OPS]
    if not nodes:
        return Unsupported(f"{what}: it has no convolution or linear layer", fix=fix)
    reasons = [f"{_where(node)}: {obstacle(module, node)}" for node in nodes]
    if any(reason.endswith("float64") for reason in reasons):
        fix = "a factory that returns model.float(), and inputs of float32"
    more = f"; and {len(reasons) - _SHOWN} more" if len(reasons) > _SHOWN else ""
    return Unsupported(f"{what} ({'; '.join(reasons[:_SHOWN])}{more})", fix=fix)


def insert(module: torch.fx.GraphModule, ranges: Ranges) -> torch.fx.GraphModule:
    """The graph with a pair on each tensor that a site reads or returns, and on its weights by output channel.

    A site that reads a tensor without a range in ``ranges`` stays in floating point. Every reader of a quantized tensor
    reads its pair.

    Raises:
        Unsupported: a weight of zeros alone, which has no scale; names the module.
    """
    if module.meta.get(TO) == FP8:
        return _insert_fp8(module, ranges)
    result = edit.copy_module(module)
    pairs: dict[torch.fx.Node, torch.fx.Node] = {}
    for site in list(sites(result)):
        if not all(each.name in ranges for each in site.inputs):
            continue
        for each in site.inputs:
            if each not in pairs and not any(normalise.op_name(user) == "quantize" for user in each.users):
                pairs[each] = _pair(result, each, ranges[each.name].scales[0])
        if site.weight is not None:
            _quantize_weight(result, site)
        if site.result.name in ranges and site.result not in pairs and _is_read(site.result):
            pairs[site.result] = _pair(result, site.result, ranges[site.result.name].scales[0])
    return edit.finish(result)


def _insert_fp8(module: torch.fx.GraphModule, ranges: Ranges) -> torch.fx.GraphModule:
    """The graph with a pair on each tensor that a site reads, and on its weights, with one scale each.

    Unsupported for a graph without sites, and for a weight of zeros alone.
    """
    result = edit.copy_module(module)
    result.meta[TO] = FP8
    pairs: dict[torch.fx.Node, torch.fx.Node] = {}
    for site in [each for each in sites(result) if each.inputs[0].name in ranges]:
        source, weight = site.inputs[0], site.weight
        assert weight is not None
        if source not in pairs:
            with result.graph.inserting_before(_next_call(source)):
                pairs[source] = pair(result, source, ranges[source.name].limits[0] / LARGEST_FP8, None, to=FP8)
        limit = _largest(result, weight, site.node)
        with result.graph.inserting_before(site.node):
            dq = pair(result, weight, limit / LARGEST_FP8, None, _where(site.node), to=FP8)
        site.node.replace_input_with(source, pairs[source])
        site.node.replace_input_with(weight, dq)
    if not pairs:
        raise _no_layer(module)
    return edit.finish(result)


def _is_read(node: torch.fx.Node) -> bool:
    """Whether anything but the graph's end reads it: a pair before an output would only round it."""
    return any(user.op != "output" for user in node.users)


def _pair(module: torch.fx.GraphModule, node: torch.fx.Node, scale: float) -> torch.fx.Node:
    """A Q and a DQ after ``node``, which all of its readers but the graph's end read; the DQ."""
    readers = [user for user in node.users if user.op != "output"]
    with module.graph.inserting_before(_next_call(node)):
        dq = pair(module, node, scale, None)
    for reader in readers:
        reader.replace_input_with(node, dq)
    return dq


def _next_call(node: torch.fx.Node) -> torch.fx.Node:
    """Where a node that reads ``node`` can stand: after all placeholders, if it is one."""
    after = node.next
    while after.op == "placeholder":
        after = after.next
    return after


def _quantize_weight(module: torch.fx.GraphModule, site: Site) -> None:
    """A pair on the weights, with a scale for each output channel."""
    weight = site.weight
    assert weight is not None
    axis = 1 if site.node.kwargs.get("transposed") else 0
    site.node.replace_input_with(weight, pair_on_weight(module, site.node, weight, axis))


def pair_on_weight(
    module: torch.fx.GraphModule, reader: torch.fx.Node, weight: torch.fx.Node, axis: int
) -> torch.fx.Node:
    """A pair on the constant ``weight`` before ``reader``, with a scale for each index of the dimension ``axis``; the
    DQ. Layers that share weights share the scale's constant. Unsupported for a weight of zeros alone.
    """
    name = _scale_of(weight, axis)
    if not name:
        values = module.get_buffer(str(weight.target)).float()
        limits = values.abs().amax(dim=[dim for dim in range(values.dim()) if dim != axis])
        limits = limits.clamp_min(_largest(module, weight, reader) * _SMALLEST_CHANNEL)
        name = edit.unused(module, f"{weight.target}_scale")
        edit.add(module, name, limits / LARGEST)
    with module.graph.inserting_before(reader):
        scale = module.graph.get_attr(name)
        scale.meta["val"] = module.get_buffer(name)
        return pair(module, weight, scale, axis, _where(reader))


def _scale_of(weight: torch.fx.Node, axis: int) -> str:
    """The name of the scales that another reader's pair on the constant has along ``axis``; empty if there are none."""
    for user in weight.users:
        if normalise.op_name(user) == "quantize" and user.kwargs["axis"] == axis:
            return str(user.kwargs["scale"].target)
    return ""


def _largest(module: torch.fx.GraphModule, weight: torch.fx.Node, reader: torch.fx.Node) -> float:
    """The largest magnitude of a constant that ``reader`` reads. Unsupported for one that has no scale."""
    limit = float(module.get_buffer(str(weight.target)).abs().max())
    if not 0 < limit < math.inf:
        what = f"{_where(reader)}: the weight {weight.target} is zero or not finite, which has no scale"
        raise Unsupported(what, fix="check the checkpoint")
    return limit


def _where(node: torch.fx.Node) -> str:
    return str(node.meta.get("path") or node.name)


def pair(
    module: torch.fx.GraphModule, source: torch.fx.Node, scale: Any, axis: int | None, path: str = "", to: str = "int8"
) -> torch.fx.Node:
    """A new Q and DQ of a tensor where the graph is being written, named after ``path`` or the tensor; the DQ. It ends
    in float32, or from fp8 in the type of the tensor.
    """
    import torch

    where = path or str(source.meta.get("path") or source.meta.get("input", ""))
    wide = torch.float32 if to == "int8" else source.meta["val"].dtype
    result = {} if to == "int8" else {"result": str(wide).removeprefix("torch.")}
    node = source
    for op, kind, more in (("quantize", getattr(torch, to), {}), ("dequantize", wide, result)):
        node = normalise.call(module.graph, op, source, input=node, scale=scale, axis=axis, dtype=to, **more)
        node.meta |= {"val": torch.empty_like(source.meta["val"], dtype=kind, device="meta"), "path": where}
    return node
