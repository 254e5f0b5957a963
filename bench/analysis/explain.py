"""Where the difference of two cases lies: in which parts of the model, for which causes, and what remains."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Literal

from bench.analysis import blocks, causes
from bench.analysis.causes import Cause
from bench.analysis.explain_sides import Side, without_profiler
from bench.errors import UsageError
from bench.model.data import Data
from bench.model.suite import BETWEEN_PARTS
from bench.units import format_time

Across = Literal["model", "size"]
ACROSS: tuple[Across, ...] = ("model", "size")
Gaps = Literal["profiled", "unprofiled"]
GAPS: tuple[Gaps, ...] = ("profiled", "unprofiled")
_SIZE = re.compile(r"^[^\[\]=@]+=")
_SETTINGS = ("streams=", "l2=")
# By how much kernels may take longer than the whole without a profiler before it is told.
_DOUBT = 0.02
_GRAPH = 0.5  # of the units: more of them in a graph, and the case runs as one


class Part(Data, frozen=True, kw_only=True):
    """One row: a block of the model (``kind`` block), time in which no unit ran (gap), or the remainder.

    ``a`` and ``b`` are ns of one inference, ``units_a`` and ``units_b`` indices into the units of the sides. The
    ``causes`` add up to the difference.
    """

    kind: Literal["block", "gap", "remainder"]
    name: str
    a: int
    b: int
    causes: tuple[Cause, ...] = ()
    units_a: tuple[int, ...] = ()
    units_b: tuple[int, ...] = ()

    @property
    def difference(self) -> int:
        """How much longer B takes, ns."""
        return self.b - self.a


class Explanation(Data, frozen=True, kw_only=True):
    """Why B takes longer than A, or less long. The differences of ``parts``, largest first, add up to ``difference``.

    ``by`` is what blocks were aligned by; ``gaps`` whether those are as the profiler saw them, or as long as they are
    without one; ``notes`` say what the figures do not.
    """

    a: Side
    b: Side
    by: blocks.By
    parts: tuple[Part, ...]
    gaps: Gaps = "profiled"
    notes: tuple[str, ...] = ()

    @property
    def difference(self) -> int:
        """How much longer one inference of B takes, ns."""
        return self.b.window - self.a.window

    @property
    def totals(self) -> tuple[tuple[causes.Kind, int, int], ...]:
        """Each kind of cause with its sum, ns, and the number of parts that have it; largest first."""
        sums: dict[causes.Kind, int] = {}
        counts: Counter[causes.Kind] = Counter()
        for cause in (cause for part in self.parts for cause in part.causes):
            sums[cause.kind] = sums.get(cause.kind, 0) + cause.ns
            counts[cause.kind] += 1
        return tuple((kind, sums[kind], counts[kind]) for kind in sorted(sums, key=lambda kind: -abs(sums[kind])))

    @property
    def same(self) -> bool:
        """Whether nothing differs: no time of any part, and no kernel."""
        return not any(part.difference for part in self.parts) and [unit.name for unit in self.a.units] == [
            unit.name for unit in self.b.units
        ]


def explain(a: Side, b: Side, across: Sequence[str] = (), gaps: str = "profiled") -> Explanation:
    """Why one inference of ``b`` takes longer than one of ``a``.

    A profiler slows the host, and so makes gaps longer: with ``gaps`` unprofiled they are in proportion what the time
    without it leaves for them.

    UsageError for cases of different models or sizes, unless ``across`` names that; for a CPU against a GPU; for gaps
    that cannot be told.
    """
    _check(a, b, across)
    seen = (a, b)
    if gaps not in GAPS:
        raise UsageError(f"gaps are {' or '.join(GAPS)}, not {gaps!r}", fix="--gaps unprofiled")
    if gaps == "unprofiled":
        a, b = _unprofiled(a), _unprofiled(b)
    alignment = blocks.align(a.units, b.units)
    parts = [_part(block, a, b) for block in alignment.blocks]
    parts += _gaps(a, b)
    if a.remainder or b.remainder:
        parts.append(_remainder(a, b))
    parts.sort(key=lambda part: (-abs(part.difference), part.kind))
    return Explanation(
        a=a, b=b, by=alignment.by, parts=tuple(parts), gaps=gaps, notes=_notes(seen, (a, b), alignment.by)
    )


def _unprofiled(side: Side) -> Side:
    if side.kind != "kernel":
        what = f"{side.label} has no gaps: its {side.kind}s are all that its profile has"
        raise UsageError(what, fix="leave --gaps out")
    try:
        return without_profiler(side)
    except ValueError as error:
        raise UsageError(str(error), fix="profile it again, or leave --gaps out") from error


def _part(block: blocks.Block, a: Side, b: Side) -> Part:
    units_a, units_b = [a.units[at] for at in block.a], [b.units[at] for at in block.b]
    return Part(
        kind="block",
        name=block.name,
        a=sum(unit.ns for unit in units_a),
        b=sum(unit.ns for unit in units_b),
        causes=causes.of_block(units_a, units_b),
        units_a=block.a,
        units_b=block.b,
    )


def _gaps(a: Side, b: Side) -> list[Part]:
    times = [{gap.name: gap.ns for gap in side.gaps} for side in (a, b)]
    meanings = {gap.name: gap.meaning for side in (a, b) for gap in side.gaps}
    parts = []
    for name, meaning in meanings.items():
        own = [side.get(name, 0) for side in times]
        if any(own):
            cause = causes.of_gap(name, meaning, own[0], own[1], _issue(a), _issue(b))
            parts.append(Part(kind="gap", name=name, a=own[0], b=own[1], causes=(cause,) if cause.ns else ()))
    return parts


def _issue(side: Side) -> str:
    """How the host issues a side: ``replays a CUDA graph of 120 kernels``, ``issues 300 kernels one by one``."""
    if side.kind == "layer":
        return "is an engine whose layers were timed, and no gaps between them"
    own = [unit for unit in side.units if unit.family != "copy"]
    kernels, inside = len(own), sum(unit.graph for unit in own)
    if not kernels:
        return "runs no kernel"
    if inside > _GRAPH * kernels:
        outside = f" and issues {kernels - inside} more" if inside < kernels else ""
        return f"replays {inside} kernels as a CUDA graph{outside}"
    return f"issues {kernels} kernels one by one"


def _remainder(a: Side, b: Side) -> Part:
    difference = b.remainder - a.remainder
    if a.kind == "operator":
        name, what = "outside of operators", "Python, the framework and waiting"
    else:
        name, what = (
            "remainder",
            "medians that do not add up, and kernels that ran at the same time (which count twice)",
        )
    cause = Cause(kind="remainder", ns=difference, text=what)
    return Part(kind="remainder", name=name, a=a.remainder, b=b.remainder, causes=(cause,) if difference else ())


# ------------------------------------------------------------------------------------------------------------- checks


def _check(a: Side, b: Side, across: Sequence[str]) -> None:
    for name in across:
        if name not in ACROSS:
            raise UsageError(f"cases are explained across {' or '.join(ACROSS)}, not {name!r}", fix="--across model")
    if "operator" in (a.kind, b.kind) and a.kind != b.kind:
        cpu, gpu = (a, b) if a.kind == "operator" else (b, a)
        what = f"{cpu.label} was profiled on a CPU, {gpu.label} on a GPU: they share no kernels to compare"
        raise UsageError(what, fix="two cases of one device")
    for side in (a, b):
        if not side.units:
            what = f"the profile of {side.label} has no kernels, layers or operators"
            raise UsageError(what, fix="another tool, or another backend: this one shows that profiler nothing")
    (model_a, sizes_a), (model_b, sizes_b) = map(_identity, (a.label, b.label))
    if model_a != model_b and "model" not in across:
        what = f"the cases are of different models: {model_a} and {model_b}"
        raise UsageError(what, fix="two cases of one model, or --across model if they differ in a detail")
    if sizes_a != sizes_b and "size" not in across:
        what = f"the cases have different sizes: {sizes_a or 'none'} and {sizes_b or 'none'}"
        raise UsageError(what, fix="two cases of one size, or --across size")


def _identity(label: str) -> tuple[str, str]:
    """The model and the sizes in a label."""
    model, *rest = BETWEEN_PARTS.split(label)
    return model, "/".join(part for part in rest if _SIZE.match(part) and not part.startswith(_SETTINGS))


def _hint(a: Side, b: Side) -> str:
    both = all(side.kind == "kernel" and side.gaps for side in (a, b))
    return "; --gaps unprofiled leaves out what it adds to gaps" if both else "; profile again"


def _of_scaled(name: str, seen: Side, used: Side) -> str:
    before, after = (format_time(sum(gap.ns for gap in side.gaps)) for side in (seen, used))
    text = f"{name} takes {format_time(seen.unprofiled)} without a profiler: its gaps are {after} in place of {before}"
    more = used.window - seen.unprofiled
    return text + (
        f"; its kernels and copies alone take {format_time(more)} longer" if more > seen.unprofiled * _DOUBT else ""
    )


def _notes(seen: tuple[Side, Side], used: tuple[Side, Side], by: blocks.By) -> tuple[str, ...]:
    notes, (a, b) = [], used
    if seen != used:
        notes = [_of_scaled(name, *pair) for name, pair in zip("AB", zip(seen, used, strict=True), strict=True)]
    elif a.unprofiled and b.unprofiled:
        more = b.unprofiled - a.unprofiled
        times = f"A takes {format_time(a.unprofiled)}, B {format_time(b.unprofiled)}"
        turned = (more > 0) != (b.window > a.window) and more and b.window != a.window
        doubt = f": the other way round, so what is below is the profiler's or noise{_hint(a, b)}" if turned else ""
        notes.append(f"without a profiler {times}, {format_time(abs(more))} {'longer' if more >= 0 else 'less'}{doubt}")
    if by == "operators":
        notes.append(
            "no names of modules or nodes that both sides have: blocks are matched by the order of their operators"
        )
    if a.kind != b.kind:
        notes.append(
            f"A are {a.kind}s as {a.tool} saw them, B {b.kind}s of {b.tool}: each profiler slows what it times"
        )
    elif a.tool.partition(" ")[0] != b.tool.partition(" ")[0]:
        notes.append(f"A was profiled by {a.tool}, B by {b.tool}")
    notes += [f"{name}: {note}" for name, side in (("A", a), ("B", b)) for note in side.notes]
    return tuple(notes)
