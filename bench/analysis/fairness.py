"""Warnings from a fairness report: graphs broken, compiled again, captured or not against expectation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from bench.model.run import Warning
from bench.model.suite import Case

# Kinds of warning, the key of a fairness report that counts the event, the name of the figure, and the key of reasons.
_COUNTED = (
    ("GraphsSkipped", "graphs_skipped", "skipped", "skip_reasons"),
    ("GraphBreaks", "graph_breaks", "breaks", "break_reasons"),
    ("Recompiled", "recompiles", "recompiles", "recompile_reasons"),
)
_MOST_PLACES = 3


def warnings(report: Mapping[str, Any], case: Case) -> tuple[Warning, ...]:
    """``GraphsByBackend``, ``GraphsSkipped``, ``GraphBreaks``, ``Recompiled``, ``LoggedErrors``, ``NotDense``,
    ``PartlyQuantized``, ``GroupedDeconvolutions``, ``TracerWarning`` and ``ExporterWarning`` from a fairness report.

    The keys read are ``graph_capture``, ``graphs_skipped``, ``graph_breaks``, ``recompiles``, and for the reasons
    ``skip_reasons``, ``break_reasons``, ``recompile_reasons``; ``recompile_limit`` says that the compiler gave up;
    ``export_warnings`` are what tracers and exporters warned of, each with ``kind``, ``text``, ``place`` and ``count``;
    ``engine.errors`` is what a runtime wrote to its log as errors though its calls succeeded; ``deconvolutions`` counts
    transposed convolutions that are ``in_groups`` in the model, and how many of them are ``dense``;
    ``calibration`` counts ``layers`` with weights, those ``quantized``, and has a reason for each one ``uncovered``;
    ``engine.grouped_deconvolutions`` counts those in an engine of TensorRT 8, unless the case has ``deconvolutions:
    dense``. A backend without one of them has nothing to warn of there.
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
    if (counts := report.get("deconvolutions")) and (not counts["dense"] or counts["dense"] < counts["in_groups"]):
        figures = {"grouped": counts["in_groups"] - counts["dense"], "reasons": list(counts.get("reasons", ()))}
        warnings.append(Warning(kind="NotDense", figures=figures | {"in_groups": counts["in_groups"]}))
    about = report.get("calibration", {})
    if reasons := about.get("uncovered"):
        figures = {"quantized": about["quantized"], "layers": about["layers"], "uncovered": len(reasons)}
        warnings.append(Warning(kind="PartlyQuantized", figures=figures | {"reasons": list(reasons)}))
    in_engine = report.get("engine", {}).get("grouped_deconvolutions", {})
    if in_engine and case.options.get("deconvolutions") != "dense":
        by_hand = case.options.get("network") or case.options.get("program") or ""
        warnings.append(Warning(kind="GroupedDeconvolutions", figures={**in_engine, "by_hand": by_hand}))
    return (*warnings, *_export_warnings(report.get("export_warnings", ())))


def _export_warnings(entries: Sequence[Mapping[str, Any]]) -> Iterator[Warning]:
    """One warning for what a tracer said, and one for what an exporter said: the first text, and how many others."""
    tracer = [entry for entry in entries if entry["kind"] == "TracerWarning"]
    exporter = [entry for entry in entries if entry["kind"] != "TracerWarning"]
    if tracer:
        yield Warning(kind="TracerWarning", figures=_first_text(tracer))
    if exporter:
        yield Warning(kind="ExporterWarning", figures=_first_text(exporter))


def _first_text(entries: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    first, *others = entries
    count = sum(int(entry["count"]) for entry in entries)
    places = sorted({str(entry["place"]) for entry in others} - {str(first["place"])})
    return {"warnings": count, "text": first["text"], "place": first["place"], "others": places[:_MOST_PLACES]}
