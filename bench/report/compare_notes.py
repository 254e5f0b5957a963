"""What a reader of a comparison must know below its table: what has no verdict and why, and what intervals contain."""

from __future__ import annotations

import shlex
from pathlib import Path

from bench import store
from bench.analysis.compare import Comparison, Pair
from bench.analysis.differences import WHOLE, Difference, can_be_named
from bench.analysis.lint import lint_pairs
from bench.analysis.verdict import MOST, USUAL, Verdict
from bench.model.run import Warning
from bench.report import cells, escape, lint, warnings

# What a difference means that no option names.
REDEFINED = "a boundary is defined differently"
_COUNTS = 3  # numbers of processes that a note names
_UNSTEADY = ("TwoStates", "Drift")
# What keeps pairs undecided that no sane number of processes would decide, and what to do.
_NOISE = (
    f"processes differ by too much for so small a difference, more than {MOST} a side would be needed; try: a quieter "
    "host (close other programs, fix clocks), or trtbench duel, where both sides meet the same noise"
)
_SESSIONS = (
    "sessions differ by too much for so small a difference, which more processes do not change; try: more runs of each "
    "side, listed with commas: trtbench compare A1,A2 B1,B2"
)


def notes(comparison: Comparison) -> list[str]:
    """What a reader of the table has to know, one sentence each."""
    lines = first_notes(comparison)
    calibrated = sum(pair.verdict.basis == "calibration" for pair in comparison.pairs if pair.verdict)
    if calibrated:
        what = "a side has one process, so the interval is from the calibrated spread of processes and decides nothing"
        lines.append(f"{cells.ALONE} {what} ({cells.count(calibrated, 'case')})")
    lines += [*_calibration(comparison), *_levels(comparison), *_unsteady(comparison)]
    for each in lint_pairs(comparison.pairs):
        pairs = cells.count(len(each.sides[-1].cases), "case")
        lines.append(f"unequal conditions ({pairs}): {lint.sentence(each)}")
    for side, labels in (("A", comparison.only_a), ("B", comparison.only_b)):
        if labels:
            lines.append(f"only in {side}: {_labels(labels)}")
    if comparison.named_differences:
        lines.append(f"compared across {texts(comparison.named_differences)}")
    if comparison.minor_differences:
        lines.append(f"the runs also differ in {texts(comparison.minor_differences)}")
    return lines


def first_notes(comparison: Comparison) -> list[str]:
    """Why cases have no verdict, and what to do for one."""
    lines = []
    if refused := comparison.refused:
        lines.append(f"REFUSED: the environments differ in {texts(refused)}; try: {across(refused)}")
    lines += _unjudged(comparison)
    undecided = [pair.verdict for pair in comparison.pairs if pair.verdict and pair.verdict.kind == "INCONCLUSIVE"]
    if alone := [decided for decided in undecided if decided.basis == "none"]:
        what = f"{cells.count(len(alone), 'case')} INCONCLUSIVE: one process does not show how processes differ"
        lines.append(f"{what}: {_more(comparison, alone, USUAL)}")
    if needed := [decided for decided in undecided if decided.needed]:
        most = max(decided.needed or 0 for decided in needed)
        what = f"{cells.count(len(needed), 'case')} INCONCLUSIVE: {most} processes a side would decide"
        lines.append(f"{what} each with 90% probability: {_more(comparison, needed, most)}")
    lines += _hopeless(comparison)
    if comparison.unfinished:
        lines.append(f"did not finish, so processes may be missing: {', '.join(comparison.unfinished)}")
    return lines


def gate_notes(comparison: Comparison, threshold: float) -> list[str]:
    """Which cases a gate for those that are SLOWER by more than ``threshold`` passes for want of processes."""
    judged = sum(pair.verdict is not None for pair in comparison.pairs)
    lines = []
    for least, pairs in comparison.insensitive(threshold).items():
        sides = dict.fromkeys("{} and {}".format(*pair.verdict.processes) for pair in pairs if pair.verdict)
        several = " or ".join([*sides][:_COUNTS]) + (", ..." if len(sides) > _COUNTS else "")
        what = f"with {several} processes {len(pairs)} of {cells.count(judged, 'case')}"
        passes = "cannot be called SLOWER, so any slow-down passes"
        if least is not None:
            passes = f"can be called SLOWER only from {least:.0%} on, so a smaller slow-down passes"
        lines.append(f"{what} {passes} --fail-on slower; try: more processes, e.g. --replicates 7")
    return lines


def across(differences: tuple[Difference, ...]) -> str:
    """The options that name the dimensions of ``differences``."""
    names = dict.fromkeys(each.dimension for each in differences)
    if not all(map(can_be_named, names)):
        return f"measure both again with one version: {REDEFINED}"
    for whole, parts in WHOLE.items():
        inside = [name for name in names if name == whole or name.partition(":")[0] in parts]
        if whole in names or len(inside) > 2:
            names = dict.fromkeys([whole, *(name for name in names if name not in inside)])
    return " ".join(f"--across {shlex.quote(name)}" for name in names)


def texts(differences: tuple[Difference, ...], most: int = 6) -> str:
    """``torch 2.11.0 -> 2.13.0, driver 550 -> 570``."""
    more = f" and {len(differences) - most} more" if len(differences) > most else ""
    return ", ".join(escape.line(each.text) for each in differences[:most]) + more


def label(pair: Pair) -> str:
    """What both cases have in common, and in what they differ: ``net/fp32/batch=1: eager -> inductor``."""
    a, b = pair.a.label.split("/"), pair.b.label.split("/")
    if a == b:
        return pair.label
    common = "/".join(part for part in a if part in b)
    left, right = ("/".join(part for part in side if part not in other) for side, other in ((a, b), (b, a)))
    return f"{common}: {left or _without(right)} -> {right or _without(left)}"


def _without(setting: str) -> str:
    """What the side is that does not have the ``setting`` of the other: ``@torch22``, ``graph``."""
    return "@default" if setting.startswith("@") else f"no {setting}"


def show_commands(comparison: Comparison) -> str:
    """The commands that show each run."""
    runs = dict.fromkeys((*comparison.a, *comparison.b))
    return "; ".join(f"trtbench show {store.run_argument(Path(comparison.paths.get(run, run)))}" for run in runs)


# ------------------------------------------------------------------------------------------------------------------


def _more(comparison: Comparison, verdicts: list[Verdict], processes: int) -> str:
    """The commands that give each side so many processes, of the sides that have fewer."""
    sides = [comparison.a] if comparison.a == comparison.b else [comparison.a, comparison.b]
    short = [
        side[-1]
        for index, side in enumerate(sides)
        if any(min(v.processes) < processes if len(sides) == 1 else v.processes[index] < processes for v in verdicts)
    ]
    paths = [Path(comparison.paths.get(run, run)) for run in short]
    return "; ".join(escape.line(f"{store.resume_command(path)} --replicates {processes}") for path in paths)


def _hopeless(comparison: Comparison) -> list[str]:
    """The pairs that no sane number of processes would decide, by what stands in the way."""
    causes: dict[str, list[str]] = {}
    for pair in comparison.pairs:
        decided = pair.verdict
        if decided and decided.kind == "INCONCLUSIVE" and decided.basis != "none" and not decided.needed:
            of_sessions = decided.error is not None and 2 * decided.shared**2 > decided.error**2
            causes.setdefault(_SESSIONS if of_sessions else _NOISE, []).append(label(pair))
    return [
        f"{cells.count(len(labels), 'case')} INCONCLUSIVE: {cause}: {_labels(labels, 3)}"
        for cause, labels in causes.items()
    ]


def _calibration(comparison: Comparison) -> list[str]:
    """Which calibration the verdicts use, or why they use none that is stored."""
    note = escape.line(comparison.calibration_note)
    if not comparison.calibration:
        return [f"not calibrated: {note}"] if note else []
    sds = ", ".join(
        f"{low:.2%} of {boundary}" if low == high else f"{low:.2%} to {high:.2%} of {boundary}"
        for boundary, (low, high) in comparison.session_sd.items()
    )
    spread = f": session sd {sds}" if sds else ""
    return [f"calibrated by {comparison.calibration}{spread}" + (f"; {note}" if note else "")]


def _unjudged(comparison: Comparison) -> list[str]:
    """Why pairs have no verdict, each reason once."""
    reasons: dict[str, list[str]] = {}
    for pair in comparison.pairs:
        if pair.why:
            reasons.setdefault(pair.why, []).append(label(pair))
    return [f"not judged, {why}: {_labels(labels)}" for why, labels in reasons.items()]


def _levels(comparison: Comparison) -> list[str]:
    """What sessions and builds differ by, where the runs tell."""
    levels = comparison.levels
    parts = [("sessions", levels.session)] if levels.session else []
    parts += [(f"builds of {escape.name(backend)}", component) for backend, component in levels.builds.items()]
    lines = []
    for name, of in parts:
        amount = f"by {100 * of.sd:.2g}% (sd): part of the intervals" if of.sd else "by no more than their processes do"
        lines.append(f"{name} differ {amount} ({cells.count(of.dof, 'degree')} of freedom)")
    return lines


def _unsteady(comparison: Comparison) -> list[str]:
    """Where the times of a side have two states or drift, alike ones together."""
    groups: dict[tuple[str, ...], list[tuple[str, Warning]]] = {}
    for pair in comparison.pairs:
        for side, row in (("A", pair.a), ("B", pair.b)):
            for warning in row.warnings:
                if warning.kind in _UNSTEADY:
                    groups.setdefault((side, *warnings.key(warning)), []).append((row.label, warning))
    lines = []
    for (side, *_), members in groups.items():
        text, hint = warnings.describe(warnings.merge([warning for _, warning in members]))
        labels = list(dict.fromkeys(label for label, _ in members))
        lines.append(f"{side}, {_labels(labels, 3)}: {text}; try: {hint}")
    return lines


def _labels(labels: tuple[str, ...] | list[str], most: int = 8) -> str:
    more = f" and {len(labels) - most} more" if len(labels) > most else ""
    return ", ".join(escape.line(label) for label in labels[:most]) + more
