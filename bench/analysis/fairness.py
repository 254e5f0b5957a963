"""Warnings from a fairness report: graphs broken, compiled again, captured or not against expectation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from bench.model.run import Warning
from bench.model.suite import Case

# Kinds of warning, the key of a fairness report that counts the event, the name of the figure, and the key of reasons.
_COUNTED = (
    ("GraphsSkipped", "graphs_skipped", "skipped", "skip_reasons"),
    ("GraphBreaks", "graph_breaks", "breaks", "break_reasons"),
    ("Recompiled", "recompiles", "recompiles", "recompile_reasons"),
)


def warnings(report: Mapping[str, Any], case: Case) -> tuple[Warning, ...]:
    """``GraphsByBackend``, ``GraphsSkipped``, ``GraphBreaks``, ``Recompiled``, ``LoggedErrors`` from a fairness report.

    The keys read are ``graph_capture``, ``graphs_skipped``, ``graph_breaks``, ``recompiles``, and for the reasons
    ``skip_reasons``, ``break_reasons``, ``recompile_reasons``; ``recompile_limit`` says that the compiler gave up;
    ``engine.errors`` is what a runtime wrote to its log as errors though its calls succeeded. A backend without one of
    them has nothing to warn of there.
    """
    warnings = []
    if report.get("graph_capture") == "backend" and not case.cuda_graph:
        warnings.append(Warning(kind="GraphsByBackend"))
    for kind, key, count, reasons in _COUNTED:
        if number := report.get(key):
            figures = {count: number, "reasons": list(report.get(reasons, ()))}
            if kind == "Recompiled" and report.get("recompile_limit"):
                figures["gave_up"] = True
            warnings.append(Warning(kind=kind, figures=figures))
    if errors := report.get("engine", {}).get("errors", ()):
        warnings.append(Warning(kind="LoggedErrors", figures={"errors": list(errors)}))
    return tuple(warnings)
