"""Why records cannot be used: one reason for a process, said in the same words wherever a reader meets it; pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple, get_args

from bench.model.run import Record

# Warnings of processes whose calls are not alike: their times depend on how many calls came before.
CHANGING = ("StateChanges", "OutputsChange")

FlawKind = Literal["failed", "unmeasured", "inaccurate", "varying", "empty", "unsampled", "blind", "changing"]
# From the gravest on: a pool has the gravest flaw of its processes.
ORDER: tuple[FlawKind, ...] = get_args(FlawKind)


class Flaw(NamedTuple):
    """One reason. ``text`` is a predicate: a case, a side or a runner ``is inaccurate``, or ``failed: Crash``."""

    kind: FlawKind
    text: str


UNMEASURED = Flaw("unmeasured", "was not measured")
UNSAMPLED = Flaw("unsampled", "has no samples")
_INACCURATE = Flaw("inaccurate", "is inaccurate")
_VARYING = Flaw("varying", "has other outputs in each call")
_EMPTY = Flaw("empty", "has only empty outputs")
_BLIND = Flaw("blind", "has a reference that does not depend on the inputs")
_CHANGING = Flaw("changing", "has calls that are not alike")


def flaw_of(record: Record) -> Flaw | None:
    """That of one process, whatever it measured; None if it is sound."""
    if record.failure:
        return Flaw("failed", f"failed: {record.failure.kind}")
    if accuracy := record.accuracy:
        if not accuracy.ok:
            return _VARYING if accuracy.varies else _INACCURATE
        if accuracy.accurate is None:
            return _EMPTY
    if is_blind(record):
        return _BLIND
    return _CHANGING if any(warning.kind in CHANGING for warning in record.warnings) else None


def is_blind(record: Record) -> bool:
    """Whether nothing is known of what a process computes though its outputs are those of the reference: none of these
    depends on the inputs, and no metric of the model judges the outputs.
    """
    if record.accuracy is None or record.accuracy.metric:
        return False
    return any(warning.kind == "BlindReference" and hides_all(warning.figures) for warning in record.warnings)


def hides_all(figures: Mapping[str, Any]) -> bool:
    """Whether no output of a reference depends on the inputs, by the figures of its ``BlindReference``. Without
    ``single``, as in records of earlier versions, it is not known: another output may have one element.
    """
    hidden = len(figures.get("constant", ())) + len(figures.get("repeated", ()))
    return hidden > 0 and hidden == figures.get("outputs") and figures.get("single") == 0
