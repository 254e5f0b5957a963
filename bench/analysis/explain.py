"""Where the difference of two cases lies: in which parts of the model, for which causes, and what remains."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Literal

from bench.analysis import blocks, causes, explain_notes, folded
from bench.analysis.causes import Cause
from bench.analysis.explain_sides import Side, as_measured, without_profiler
from bench.errors import UsageError
from bench.model.data import Data

Gaps = Literal["auto", "gpu", "measured", "unprofiled", "profiled"]
GAPS: tuple[Gaps, ...] = ("auto", "gpu", "measured", "unprofiled", "profiled")
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

    ``by`` is what blocks were aligned by. ``gaps`` are what ``latency`` of a run leaves beside the work, ``measured``;
    what ``gpu`` of a run does, to which layers of an engine are shortened, ``gpu``; what the time of the profiled
    process before the profiler started does, ``unprofiled``; or they are as the profiler saw them, ``profiled``, and
    then the last of the parts. ``runs`` are those that ``measured`` of both sides is from, by boundary, and ``run`` is
    the one whose time tells the gaps, else the first of them; ``notes`` say what the figures do not.
    """

    a: Side
    b: Side
    by: blocks.By
    parts: tuple[Part, ...]
    gaps: Gaps = "profiled"
    run: str = ""
    runs: dict[str, str] = {}
    notes: tuple[str, ...] = ()

    @property
    def difference(self) -> int:
        """How much longer one inference of B takes, ns."""
        return self.b.window - self.a.window

    @property
    def totals(self) -> tuple[tuple[causes.Kind, int, int], ...]:
        """Each kind of cause with its sum, ns, and the number of parts that have it; largest first, but for gaps as the
        profiler saw them, which come last.
        """
        sums: dict[causes.Kind, int] = {}
        counts: Counter[causes.Kind] = Counter()
        for part in self.parts:
            for cause in part.causes:
                sums[cause.kind] = sums.get(cause.kind, 0) + cause.ns
            counts.update({cause.kind for cause in part.causes})
        order = sorted(sums, key=lambda kind: (self._is_doubtful(kind), -abs(sums[kind])))
        return tuple((kind, sums[kind], counts[kind]) for kind in order)

    @property
    def without_gaps(self) -> int:
        """How much longer all of B takes that is no gap, ns."""
        return self.difference - sum(part.difference for part in self.parts if part.kind == "gap")

    def _is_doubtful(self, kind: str) -> bool:
        return kind == "gap" and self.gaps == "profiled"

    @property
    def same(self) -> bool:
        """Whether nothing differs: no time of any part, and no kernel."""
        return not any(part.difference for part in self.parts) and [unit.name for unit in self.a.units] == [
            unit.name for unit in self.b.units
        ]


def explain(
    a: Side, b: Side, across: Sequence[str] = (), gaps: str = "auto", run: str | Mapping[str, str] = ""
) -> Explanation:
    """Why one inference of ``b`` takes longer than one of ``a``.

    A profiler slows the host, and so makes gaps longer: with ``gaps`` measured and unprofiled they are in proportion
    what a time without it leaves for them, and with gpu the gaps between kernels, see Explanation. auto is gpu where a
    side is an engine whose layers were timed and both have it; else the first of measured and unprofiled that both
    sides have, else profiled. ``run`` is where ``measured`` of the sides is from, or that by boundary.

    UsageError for cases of different models or sizes, unless ``across`` names that; for a CPU against a GPU; for gaps
    that nothing tells, and for profiled ones of kernels beside an engine whose layers alone were timed.
    """
    explain_notes.check(a, b, across)
    if gaps not in GAPS:
        raise UsageError(f"gaps are {', '.join(GAPS[:-1])} or {GAPS[-1]}, not {gaps!r}", fix="--gaps auto")
    if gaps == "profiled":
        explain_notes.check_profiled(a, b)
    basis = _basis(a, b) if gaps == "auto" else next(each for each in GAPS if each == gaps)
    profiled = a, b = folded.with_convolutions(a, b)
    if basis != "profiled":
        a, b = _without_profiler(a, basis), _without_profiler(b, basis)
    alignment = blocks.align(a.units, b.units)
    parts = [_part(block, a, b) for block in alignment.blocks]
    parts += _gaps(a, b)
    if a.remainder or b.remainder:
        parts.append(_remainder(a, b))
    doubtful = basis == "profiled"
    parts.sort(key=lambda part: (doubtful and part.kind == "gap", -abs(part.difference), part.kind))
    runs = dict.fromkeys(a.measured, run) if isinstance(run, str) else dict(run)
    of_gaps = runs.get({"gpu": "gpu", "measured": "latency"}.get(basis, ""), "")
    texts = explain_notes.notes(profiled, (a, b), alignment.by, of_gaps, basis)
    whole = of_gaps or next(iter(runs.values()), "")
    return Explanation(a=a, b=b, by=alignment.by, parts=tuple(parts), gaps=basis, run=whole, runs=runs, notes=texts)


def _basis(a: Side, b: Side) -> Gaps:
    """What tells the gaps of both sides."""
    if any(side.kind != "kernel" for side in (a, b)):
        is_engine = any(side.kind == "layer" for side in (a, b))
        return "gpu" if is_engine and all(side.measured.get("gpu") for side in (a, b)) else "profiled"
    if all(side.measured.get("latency") for side in (a, b)):
        return "measured"
    return "unprofiled" if a.unprofiled and b.unprofiled else "profiled"


def _without_profiler(side: Side, basis: Gaps) -> Side:
    if basis == "gpu":
        if side.measured.get("gpu"):
            return as_measured(side, side.measured["gpu"])
        what = f"no run on the device of its profile has measured gpu of {side.label} and of the other case"
        raise UsageError(what, fix="measure both: trtbench run SUITE, or leave --gaps out")
    if side.kind != "kernel":
        what = f"{side.label} has no gaps: its {side.kind}s are all that its profile has"
        raise UsageError(what, fix="leave --gaps out")
    whole = side.measured.get("latency", 0) if basis == "measured" else side.unprofiled
    if whole:
        return without_profiler(side, whole)
    if basis == "measured":
        what = f"no run on the device of its profile has measured latency of {side.label} and of the other case"
        raise UsageError(what, fix="measure both: trtbench run SUITE, or leave --gaps out")
    what = f"the profile of {side.label} does not say how long it takes without a profiler"
    raise UsageError(what, fix="profile it again, or leave --gaps out")


def _part(block: blocks.Block, a: Side, b: Side) -> Part:
    units_a, units_b = [a.units[at] for at in block.a], [b.units[at] for at in block.b]
    return Part(
        kind="block",
        name=block.name,
        a=sum(unit.ns for unit in units_a),
        b=sum(unit.ns for unit in units_b),
        causes=causes.of_block(units_a, units_b, block.a, block.b),
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
        return "is an engine, whose layers were timed and not the gaps between them"
    own = [unit for unit in side.units if unit.family != "copy"]
    kernels, inside = len(own), sum(unit.graph for unit in own)
    if not kernels:
        return "runs no kernel"
    if inside > _GRAPH * kernels:
        outside = f" and issues {kernels - inside} more" if inside < kernels else ""
        return f"replays {inside} kernels as a CUDA graph{outside}"
    return f"issues {kernels} kernel{'s' if kernels > 1 else ''} one by one"


def _remainder(a: Side, b: Side) -> Part:
    difference = b.remainder - a.remainder
    if a.kind == "operator":
        name, what = "outside of operators", "Python, the framework, waiting, and code that reports no operators"
    else:
        name, what = (
            "remainder",
            "medians that do not add up, and kernels that ran at the same time (which count twice)",
        )
    cause = Cause(kind="remainder", ns=difference, text=what, a=a.remainder, b=b.remainder)
    return Part(kind="remainder", name=name, a=a.remainder, b=b.remainder, causes=(cause,) if difference else ())
