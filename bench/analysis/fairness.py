"""Warnings from what a backend tells of itself: graphs broken, compiled again, captured or not against expectation."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from bench.model.run import Warning
from bench.model.suite import Case


def warnings(told: Mapping[str, Any], case: Case) -> tuple[Warning, ...]:
    """``GraphsByBackend``, ``GraphsSkipped``, ``GraphBreaks``, ``Recompiled``, ``LoggedErrors`` from a fairness report.

    The keys read are ``graph_capture``, ``graphs_skipped``, ``graph_breaks``, ``recompiles``, and for the reasons
    ``skip_reasons``, ``break_reasons``, ``recompile_reasons``; ``recompile_limit`` says that the compiler gave up;
    ``engine.errors`` is what a runtime wrote to its log as errors though its calls succeeded. A backend without one of
    them has nothing to warn of there.
    """
    found = []
    if told.get("graph_capture") == "backend" and not case.cuda_graph:
        message = "the backend captured CUDA graphs itself, though the case says cuda_graph: off"
        found.append(Warning(kind="GraphsByBackend", message=message, hint="compare it with rows of cuda_graph: on"))
    if skipped := told.get("graphs_skipped"):
        message = f"the backend was to capture CUDA graphs and declined {_times(skipped)}"
        hint = "change what the reason names, or take a mode without graphs with cuda_graph: on"
        found.append(Warning(kind="GraphsSkipped", message=message + _because(told.get("skip_reasons", ())), hint=hint))
    if breaks := told.get("graph_breaks"):
        message = f"the compiler broke the model's graph {_times(breaks)}, and Python runs in between"
        hint = "fullgraph: true ends at the first break and shows its line; rewrite what it names"
        found.append(Warning(kind="GraphBreaks", message=message + _because(told.get("break_reasons", ())), hint=hint))
    if again := told.get("recompiles"):
        message = f"the model was compiled again {_times(again)}"
        hint = "dynamic: true for sizes that vary; a number that the model counts up is better a tensor"
        if told.get("recompile_limit"):
            message += " until the compiler gave up: a part of it runs uncompiled"
        found.append(
            Warning(kind="Recompiled", message=message + _because(told.get("recompile_reasons", ())), hint=hint)
        )
    if errors := told.get("engine", {}).get("errors", ()):
        message = f"the runtime logged errors though its calls succeeded{_because(reversed(errors))}"
        found.append(
            Warning(kind="LoggedErrors", message=message, hint="read them: the engine may not do what was asked")
        )
    return tuple(found)


def _times(count: int) -> str:
    return "once" if count == 1 else f"{count} times"


def _because(reasons: Iterable[str]) -> str:
    """The first reason, and how many others there are."""
    first, *others = [*reasons] or [""]
    return (f": {first}" if first else "") + (f" (and {len(others)} more)" if others else "")
