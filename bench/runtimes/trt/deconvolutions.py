"""Transposed convolutions in groups, which TensorRT calls deconvolutions: how many a network has."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from bench.runtimes.trt import library


def in_groups(api: library.Api, network: Any) -> dict[str, int]:
    """How many ``layers`` of a network are deconvolutions in groups, and how many ``groups`` these have in all; empty
    where there is none. Layers within loops and conditionals are among them.
    """
    kind = api.module.LayerType.DECONVOLUTION
    groups = []
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        if layer.type == kind:
            layer.__class__ = api.module.IDeconvolutionLayer  # the bindings return an ILayer, which lacks num_groups
            groups.append(int(layer.num_groups))
    several = [count for count in groups if count > 1]
    return {"layers": len(several), "groups": sum(several)} if several else {}


def total(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """The sum of what ``in_groups`` returned for several networks."""
    several = [each for each in counts if each]
    return {key: sum(each[key] for each in several) for key in ("layers", "groups")} if several else {}
