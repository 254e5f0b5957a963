"""The nodes that a runtime wrote down by its own clock, as ranges within the iterations of a profile."""

from __future__ import annotations

import bisect
from collections.abc import Sequence
from pathlib import Path

import msgspec

from bench.model.profile import Range

ELSEWHERE = (
    "no node that the runtime wrote down lies in an iteration: it ran none (a captured graph), or by another clock"
)


def iterations(spans: Sequence[Range]) -> list[Range]:
    """The ranges of iterations, by start."""
    return [each for each in spans if each.kind == "iteration"]


def merge(spans: Sequence[Range], path: Path, starts: Sequence[int]) -> tuple[Range, ...]:
    """``spans`` with the nodes of the file at ``path`` that ran within an iteration, on its thread.

    ``starts`` has for each iteration its start on the clock of the nodes, ns since 1970: a profiler's axis of time has
    another zero, and over seconds another pace. ValueError if the file has no ranges.
    """
    around = iterations(spans)
    added = []
    for node in msgspec.json.decode(path.read_bytes(), type=list[Range]):
        place = bisect.bisect_right(starts, node.start, hi=min(len(starts), len(around))) - 1
        if place < 0:
            continue
        iteration = around[place]
        shift = iteration.start - starts[place]
        start, end = node.start + shift, node.end + shift
        if end <= iteration.end:
            added.append(msgspec.structs.replace(node, start=start, end=end, thread=iteration.thread))
    # Of equal bounds layers come before operators, which lie in them.
    return tuple(sorted((*spans, *added), key=lambda each: (each.start, -each.end, each.kind == "operator")))
