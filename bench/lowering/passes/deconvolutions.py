"""Makes transposed convolutions in groups dense: one group, with zeros in the kernel between those of the groups."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

from bench.lowering import normalise
from bench.lowering.passes import edit
from bench.runtimes import deconvolutions

if TYPE_CHECKING:
    import torch

# The key of ``count`` in the facts of a program, and in the ``meta`` of a graph that ``make_dense`` returned.
FACT = deconvolutions.FACT


def make_dense(module: torch.fx.GraphModule) -> torch.fx.GraphModule:
    """Each transposed convolution in groups becomes one in a single group, which computes the same of finite inputs.

    The kernel [in, out / groups, ...] becomes [in, out, ...], ``groups`` times as large and with ``groups`` times the
    arithmetic. It keeps its name, unless something else reads the one in groups. Kernels that depend on the inputs stay
    as they are, and those that would have more than ``deconvolutions.MOST_VALUES`` values. ``meta`` of the result has
    the ``count``.
    """
    result = edit.copy_module(module)
    nodes = [node for node in result.graph.nodes if _is_in_groups(node) and not _obstacle(result, node)]
    keys = {node: (str(node.kwargs["weight"].target), int(node.kwargs["groups"])) for node in nodes}
    names = {key: _name(result, keys, *key) for key in keys.values()}
    kernels = {name: result.get_buffer(name) for name, _ in keys.values()}
    dense: dict[tuple[str, int], torch.fx.Node] = {}  # one for all convolutions that share a kernel
    for node, key in keys.items():
        if key not in dense:
            with result.graph.inserting_before(node):
                dense[key] = edit.constant(result, names[key], on_diagonal(kernels[key[0]], key[1]))
        node.kwargs = node.kwargs | {"weight": dense[key], "groups": 1}
    result.meta[FACT] = count(module)
    return edit.finish(result)


def count(module: torch.fx.GraphModule, in_torch: Collection[torch.fx.Node] = ()) -> dict[str, Any]:
    """The ``deconvolutions.count`` of a graph for ``make_dense``, which nodes ``in_torch`` are not given to."""
    return deconvolutions.count(
        (node.meta.get("path", ""), "it stays in PyTorch" if node in in_torch else _obstacle(module, node))
        for node in module.graph.nodes
        if _is_in_groups(node)
    )


def about(figures: Mapping[str, Any]) -> str:
    """The sentence on a ``count`` for the docstring of a program."""
    if not figures["in_groups"]:
        return "deconvolutions: dense: the model has no grouped transposed convolutions."
    which = f"{figures['dense']} of {figures['in_groups']} grouped transposed convolutions of the model"
    return f"deconvolutions: dense: {which} have a single group."


def on_diagonal(kernel: torch.Tensor, groups: int) -> torch.Tensor:
    """The kernel [in, out / groups, ...] of a transposed convolution as [in, out, ...]: zero where input and output
    channel are of different groups.
    """
    import torch

    inputs, outputs = kernel.shape[0] // groups, kernel.shape[1]
    blocks = kernel.new_zeros(groups, inputs, groups, outputs, *kernel.shape[2:])
    group = torch.arange(groups, device=kernel.device)
    blocks[group, :, group] = kernel.reshape(groups, inputs, outputs, *kernel.shape[2:])
    return blocks.reshape(groups * inputs, groups * outputs, *kernel.shape[2:])


def _is_in_groups(node: torch.fx.Node) -> bool:
    """Whether a node is a transposed convolution in groups."""
    return normalise.op_name(node) == "convolution" and node.kwargs["transposed"] and node.kwargs["groups"] > 1


def _obstacle(module: torch.fx.GraphModule, node: torch.fx.Node) -> str:
    """Why a transposed convolution cannot be made dense; empty if it can."""
    kernel = edit.tensor_of(module, node.kwargs["weight"])
    if kernel is None:
        return "its kernel depends on the inputs"
    return deconvolutions.too_large(kernel.shape, node.kwargs["groups"])


def _name(module: torch.fx.GraphModule, keys: Mapping[torch.fx.Node, tuple[str, int]], kernel: str, groups: int) -> str:
    """The name of a dense kernel: that of the one in groups, where nothing reads that any more."""
    readers = [(user, each) for each in module.graph.nodes if each.op == "get_attr" and str(each.target) == kernel
               for user in each.users]  # fmt: skip
    if all(keys.get(user) == (kernel, groups) and user.kwargs["input"] is not each for user, each in readers):
        return kernel
    return edit.unused(module, f"{kernel}_of_{groups}_groups")
