"""What a reader of an explanation has to know of its figures, and which cases cannot be explained at all."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

from bench.analysis import blocks, coverage
from bench.analysis.explain_sides import Side
from bench.errors import UsageError
from bench.model.suite import BETWEEN_PARTS
from bench.units import format_time

Across = Literal["model", "size"]
ACROSS: tuple[Across, ...] = ("model", "size")
_SIZE = re.compile(r"^[^\[\]=@]+=")
_SETTINGS = ("streams=", "l2=")
# By how much kernels may take longer than the whole without a profiler, and work than ``gpu``, before a note says so.
_DOUBT = 0.02
# Differences of which one is more than so many times the other are not alike.
_UNLIKE = 2


def check(a: Side, b: Side, across: Sequence[str]) -> None:
    """UsageError for cases of different models or sizes, unless ``across`` names that; for a CPU against a GPU; for a
    profile without units, or on a CPU without most of what the case computes.
    """
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
    coverage.check(a, b)
    (model_a, sizes_a), (model_b, sizes_b) = map(_identity, (a.label, b.label))
    if model_a != model_b and "model" not in across:
        what = f"the cases are of different models: {model_a} and {model_b}"
        raise UsageError(what, fix="two cases of one model, or --across model if they differ in a detail")
    if sizes_a != sizes_b and "size" not in across:
        what = f"the cases have different sizes: {sizes_a or 'none'} and {sizes_b or 'none'}"
        raise UsageError(what, fix="two cases of one size, or --across size")


def across(label_a: str, label_b: str) -> list[str]:
    """What the cases of two labels have to be explained across: ``model``, ``size``."""
    (model_a, sizes_a), (model_b, sizes_b) = map(_identity, (label_a, label_b))
    return ["model"] * (model_a != model_b) + ["size"] * (sizes_a != sizes_b)


def check_profiled(a: Side, b: Side) -> None:
    """UsageError where gaps as the profiler saw them are asked for and one side, of timed layers, has none recorded."""
    if a.kind != b.kind:
        engine, other = (a, b) if a.kind == "layer" else (b, a)
        what = (
            f"the profile of {engine.label} has layers, and not the gaps between them: the gaps that a profiler saw in "
            f"{other.label} have nothing to be compared with"
        )
        raise UsageError(what, fix="--gaps gpu, once trtbench run SUITE has measured both cases, or leave --gaps out")


def _identity(label: str) -> tuple[str, str]:
    """The model and the sizes in a label."""
    model, *rest = BETWEEN_PARTS.split(label)
    return model, "/".join(part for part in rest if _SIZE.match(part) and not part.startswith(_SETTINGS))


def notes(
    profiled: tuple[Side, Side], used: tuple[Side, Side], by: blocks.By, run: str = "", basis: str = "measured"
) -> tuple[str, ...]:
    """A sentence each. ``profiled`` are the sides as the profiler saw them, ``used`` those that are explained; ``run``
    is the one whose latency, or by its ``basis`` whose ``gpu``, tells their gaps, if one does.
    """
    a, b = used
    of_gaps = _of_gpu(profiled, used, run) if basis == "gpu" else _of_gaps(profiled, used, run)
    several = [f"{name}: {side.spread}" for name, side in (("A", a), ("B", b)) if side.spread]
    several += of_gaps + _of_measured(used)
    if by == "operators":
        several.append(
            "no names of modules or nodes that both sides have: blocks are matched by the order of their operators"
        )
    if a.kind != b.kind:
        several.append(
            f"A are {a.kind}s as {a.tool} saw them, B {b.kind}s of {b.tool}: each profiler slows what it times"
        )
    elif a.tool.partition(" ")[0] != b.tool.partition(" ")[0]:
        several.append(f"A was profiled by {a.tool}, B by {b.tool}")
    for note in dict.fromkeys((*a.notes, *b.notes)):
        names = [name for name, side in (("A", a), ("B", b)) if note in side.notes]
        several.append(f"{' and '.join(names)}: {note}")
    return tuple(several)


def _of_gaps(profiled: tuple[Side, Side], used: tuple[Side, Side], run: str) -> list[str]:
    """What the gaps are, and whether they hold."""
    if profiled != used:
        seen = [format_time(side.idle) for side in profiled]
        whole = f"latency of {run}" if run else "the time without a profiler"
        several = [f"gaps are what {whole} leaves; the profiler saw {seen[0]} in A, {seen[1]} in B"]
        for name, side in zip("AB", used, strict=True):
            time = side.measured.get("latency", 0) if run else side.unprofiled
            if (more := side.window - time) > time * _DOUBT:
                several.append(
                    f"kernels and copies of {name} alone take {format_time(more)} longer than all of it without a "
                    "profiler, so it has no gaps left"
                )
        return several
    a, b = used
    if a.kind != b.kind and (a.idle or b.idle):
        name, engine = ("A", "B") if a.idle else ("B", "A")
        idle = format_time(a.idle or b.idle)
        return [
            f"gaps of {engine}, an engine, are not known, so that those of {name}, {idle} under the profiler, count in "
            "full: compare the work, or measure both cases with trtbench run SUITE"
        ]
    gaps = "gaps are as long as the profiler made them" if a.idle or b.idle else ""
    if not a.unprofiled or not b.unprofiled:
        return [f"{gaps}, and how long they are without it is not known"] if gaps else []
    if not gaps:
        gaps = "times are those under the profiler"
    elif a.kind == b.kind == "kernel":
        gaps += "; --gaps unprofiled has them without it"
    more = b.unprofiled - a.unprofiled
    turned = (
        ", the other way round, so that what is above may be the profiler's" if more * (b.window - a.window) < 0 else ""
    )
    return [
        f"{gaps}: without it A takes {format_time(a.unprofiled)}, B {format_time(b.unprofiled)}, "
        f"{format_time(abs(more))} {'longer' if more >= 0 else 'less'}{turned}"
    ]


def measured_otherwise(a: Side, b: Side) -> str:
    """How the difference of two cases on a CPU by ``latency`` of a run is not that of their profiles: the opposite, or
    less than half or more than twice as much; empty where it is alike or too small to tell.
    """
    if not (a.kind == b.kind == "operator" and all(side.measured.get("latency") for side in (a, b))):
        return ""
    measured, seen = b.measured["latency"] - a.measured["latency"], b.window - a.window
    if max(abs(measured) / a.measured["latency"], abs(seen) / a.window) < _DOUBT:
        return ""
    if min(abs(measured), abs(seen)) * _UNLIKE >= max(abs(measured), abs(seen)) and measured * seen > 0:
        return ""
    if measured * seen < 0:
        of = "the opposite"
    else:
        of = "a smaller difference" if abs(measured) < abs(seen) else "a larger difference"
    return f"the run measures {of}: latency of B is {format_time(abs(measured))} {'longer' if measured > 0 else 'less'}"


def _of_gpu(profiled: tuple[Side, Side], used: tuple[Side, Side], run: str) -> list[str]:
    """How the sides became what ``gpu`` of a run says."""
    several = []
    for name, seen, side in zip("AB", profiled, used, strict=True):
        gpu = side.measured["gpu"]
        if side.kind == "layer":
            cut = max(before.ns - after.ns for before, after in zip(seen.units, side.units, strict=True))
            shown = f"each is shown up to {format_time(cut)} shorter" if cut > 0 else "the remainder has the rest"
            several.append(
                f"layers of {name}, which TensorRT's profiler times one by one, take {format_time(seen.busy)}, and "
                f"the engine {format_time(gpu)} by gpu of {run}: {shown}"
            )
        elif side.gaps:
            several.append(f"gaps of {name} are what its gpu in {run}, {format_time(gpu)}, leaves beside its kernels")
        else:
            more = format_time(side.work - gpu)
            several.append(f"kernels of {name} alone take {more} longer than its gpu in {run}: the remainder has that")
    return several


def _of_measured(used: tuple[Side, Side]) -> list[str]:
    """Where a run's ``gpu`` says the opposite of the profile's work, or on a CPU its ``latency`` something else."""
    a, b = used
    if a.kind == b.kind == "operator":
        text = measured_otherwise(a, b)
        return [f"{text}; the profile has the profiler's own time in it"] if text else []
    if not all("gpu" in side.measured for side in used):
        return []
    measured, seen = b.measured["gpu"] - a.measured["gpu"], b.work - a.work
    if measured * seen >= 0 or abs(measured) < _DOUBT * a.measured["gpu"]:
        return []
    return [
        f"the run measures the opposite: gpu of B is {format_time(abs(measured))} "
        f"{'longer' if measured > 0 else 'less'}; so small a difference in work may be the profiler's"
    ]
