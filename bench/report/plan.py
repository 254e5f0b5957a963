"""What would run, as `trtbench list` and `--dry-run` print it: the cases by model, and what is left out and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from bench.model.suite import LeftOut, Plan
from bench.report import cells, escape, table
from bench.units import NS_PER_S

if TYPE_CHECKING:
    from rich.text import Text

MAX_NAMES = 3
JSON_SCHEMA = 1


def render(
    plan: Plan,
    *,
    replicates: int = 0,
    estimate: tuple[int, int] | None = None,
    width: int = 80,
    color: bool = False,
    verbose: bool = False,
) -> str:
    """Every case with its id; combinations left out are grouped by reason, all of them named if ``verbose``.

    ``replicates`` is the number of fresh processes per case, 0 if unknown, ``estimate`` the least and most nanoseconds
    that they take.
    """
    from rich.text import Text

    lines: list[Text | str] = []
    groups: dict[str, list[tuple[str, str]]] = {}
    for case in plan.cases:
        groups.setdefault(case.model, []).append((case.id, case.label))
    for model, members in groups.items():
        lines.append(Text(f"{model} ({cells.count(len(members), 'case')})", style="bold"))
        lines += [f"  {key}  {label}" for key, label in members]
        lines.append("")
    total = cells.count(len(plan.cases), "case")
    if replicates:
        total += f" x {cells.count(replicates, 'process')} = {cells.count(len(plan.cases) * replicates, 'measurement')}"
    lines.append(total)
    if estimate and plan.cases:
        least, most = (cells.duration(ns / NS_PER_S) for ns in estimate)
        lines += table.wrap(f"takes {least} to {most}, without exports and builds", width)
    lines += left_out(plan.left_out, width, verbose=verbose, reasons=True)
    return table.show(lines, color)


def json(plan: Plan, *, replicates: int, estimate: tuple[int, int]) -> str:
    """One object: ``schema``, ``cases``, ``left_out``, ``replicates``, ``measurements``, and ``estimate`` with the
    least and most seconds, ``low_s`` and ``high_s``, without exports and builds.
    """
    fields = ("model", "backend", "options", "precision", "symbols", "cuda_graph", "streams", "lanes", "l2")
    whole = {
        "schema": JSON_SCHEMA,
        "cases": [
            {
                "case": case.id,
                "label": case.label,
                **{name: getattr(case, name) for name in (*fields, "transfers", "toolchain")},
            }
            for case in plan.cases
        ],
        "left_out": [{"label": item.label, "reason": item.reason} for item in plan.left_out],
        "replicates": replicates,
        "measurements": len(plan.cases) * replicates,
        "estimate": dict(zip(("low_s", "high_s"), (round(ns / NS_PER_S) for ns in estimate), strict=True)),
    }
    return escape.in_json(msgspec.json.format(msgspec.json.encode(whole), indent=2).decode()) + "\n"


def left_out(
    combinations: Sequence[LeftOut], width: int, *, verbose: bool, reasons: bool = False, option: str = "--verbose"
) -> list[Text | str]:
    """How many combinations are left out; with ``reasons`` why, naming some; with ``verbose``, which ``option`` sets,
    naming all.
    """
    if not combinations:
        return []
    total = f"{cells.count(len(combinations), 'combination')} left out"
    if not (verbose or reasons):
        return [f"{total}; {option} says why"]
    lines: list[Text | str] = [f"{total}:"]
    by_reason: dict[str, list[str]] = {}
    for item in combinations:
        by_reason.setdefault(item.reason, []).append(item.label)
    for reason, labels in by_reason.items():
        lines += table.wrap(f"{reason} ({len(labels)})", width, "    ", "  ")
        names = labels if verbose else labels[:MAX_NAMES]
        lines += [f"      {label}" for label in names]
        if len(names) < len(labels):
            lines.append(f"      and {len(labels) - len(names)} more: {option}")
    return lines
