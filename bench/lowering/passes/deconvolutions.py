"""Makes transposed convolutions in groups dense: one group, with zeros in the kernel between those of the groups."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

from bench.lowering import normalise
from bench.lowering.passes import edit

if TYPE_CHECKING:
    import torch

# The most values of a dense kernel, as of 512 channels with 8 x 8: 32 MiB at fp16. Its zeros lie in the program and in
# the engine as weights do, and each call reads them, which of 32 MiB takes 10 us at the 3.35 TB/s of an H100.
MOST_VALUES = 1 << 24


def make_dense(module: torch.fx.GraphModule) -> torch.fx.GraphModule:
    """Each transposed convolution in groups becomes one in a single group, which computes the same of finite inputs.

    The kernel [in, out / groups, ...] becomes [in, out, ...], ``groups`` times as large and with ``groups`` times the
    arithmetic. It keeps its name, unless something else reads the one in groups. Kernels that are computed stay as they
    are, and those that would have more than MOST_VALUES values.
    """
    result = edit.copy_module(module)
    kernels = {node: kernel for node in result.graph.nodes if (kernel := _kernel(result, node)) is not None}
    keys = {node: (str(node.kwargs["weight"].target), int(node.kwargs["groups"])) for node in kernels}
    names = {key: _name(result, keys, *key) for key in keys.values()}
    dense: dict[tuple[str, int], torch.fx.Node] = {}  # one for all convolutions that share a kernel
    for node, key in keys.items():
        if key not in dense:
            with result.graph.inserting_before(node):
                dense[key] = edit.constant(result, names[key], on_diagonal(kernels[node], key[1]))
        node.kwargs = node.kwargs | {"weight": dense[key], "groups": 1}
    return edit.finish(result)


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


def _kernel(module: torch.fx.GraphModule, node: torch.fx.Node) -> torch.Tensor | None:
    """The constant kernel of a transposed convolution in groups; None for other nodes, and where it would be too large
    a dense one.
    """
    if normalise.op_name(node) != "convolution" or not node.kwargs["transposed"] or node.kwargs["groups"] == 1:
        return None
    kernel = edit.tensor_of(module, node.kwargs["weight"])
    too_large = kernel is not None and math.prod(kernel.shape) * node.kwargs["groups"] > MOST_VALUES
    return None if too_large else kernel


def _name(module: torch.fx.GraphModule, keys: Mapping[torch.fx.Node, tuple[str, int]], kernel: str, groups: int) -> str:
    """The name of a dense kernel: that of the one in groups, where nothing reads that any more."""
    readers = [(user, each) for each in module.graph.nodes if each.op == "get_attr" and str(each.target) == kernel
               for user in each.users]  # fmt: skip
    if all(keys.get(user) == (kernel, groups) and user.kwargs["input"] is not each for user, each in readers):
        return kernel
    return edit.unused(module, f"{kernel}_of_{groups}_groups")
