"""The texts of trtbench's ranges on a profiler's timeline: one form for NVTX and for torch.profiler, so that a reader
finds the same names whichever tool recorded them.
"""

from __future__ import annotations

from typing import get_args

from bench.model.profile import RangeKind

_PREFIX = "trtbench"
_KINDS = get_args(RangeKind)
# The parts of an iteration, ranges of kind phase on the thread that issues it.
H2D, CALL, D2H, WAIT = "h2d", "call", "d2h", "wait"
# With a number: one call on a held stream, beside the iterations.
HELD = "held"


def text(kind: RangeKind, name: str) -> str:
    """``trtbench module layer1.0.conv1``."""
    return f"{_PREFIX} {kind} {name}"


def in_domain(kind: RangeKind, name: str) -> str:
    """The text where the domain says whose it is: ``iteration 3``, ``module layer1``, else the bare name."""
    return f"{kind} {name}" if kind in ("iteration", "module") else name


def parse(text: str) -> tuple[RangeKind, str] | None:
    """The kind and the name of a range of trtbench's; None for another one."""
    prefix, _, rest = text.partition(" ")
    kind, space, name = rest.partition(" ")
    if prefix != _PREFIX or not space or kind not in _KINDS:
        return None
    return kind, name  # type: ignore[return-value]  # one of _KINDS
