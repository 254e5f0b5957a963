"""What ONNX Runtime's own profiler wrote: the nodes that it ran, on the host, as ranges of a profile."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from bench.model.profile import Range
from bench.runtimes.onnx_nodes import Nodes

_RAN = "_kernel_time"
_NS_PER_US = 1000


class _About(msgspec.Struct, frozen=True):
    """What of the many details of a node is read."""

    op_name: str = ""


class _Event(msgspec.Struct):
    """One element of the file; ``ts`` and ``dur`` in microseconds since the profiler started."""

    cat: str = ""
    name: str = ""
    ts: int = 0
    dur: int = 0
    tid: int = 0
    args: _About = _About()


def read(path: Path, start_ns: int, nodes: Nodes) -> tuple[Range, ...]:
    """For each node that ran a range of kind ``operator`` with its type (``Conv+Relu`` of a fused one), and around it
    one of kind ``layer`` with the nodes of the file that it computes, but for nodes that the runtime added; in the
    order of their starts. ``start_ns`` is when the profiler started, since 1970.

    On a GPU a range is the time in which the host launched a node's kernels. ValueError for what is no such file.
    """
    ranges = []
    for event in msgspec.json.decode(path.read_bytes(), type=list[_Event]):
        if event.cat != "Node" or not event.name.endswith(_RAN):
            continue
        operator = event.args.op_name
        start = start_ns + event.ts * _NS_PER_US
        span: dict[str, Any] = {"start": start, "end": start + event.dur * _NS_PER_US, "thread": event.tid}
        name, operator = nodes.computed_by(event.name.removesuffix(_RAN), operator)
        ranges += [Range(name=name, kind="layer", **span)] if name else []
        ranges.append(Range(name=operator, kind="operator", **span))
    return tuple(sorted(ranges, key=lambda each: (each.start, -each.end, each.kind == "operator")))
