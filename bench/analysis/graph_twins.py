"""What a CUDA graph did to the same case in the same run, for warnings that would advise one; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import msgspec

from bench.model.run import Warning
from bench.model.suite import Case

if TYPE_CHECKING:
    from bench.analysis.rows import Row

# The kinds whose advice is a graph.
GRAPH_ADVICE = ("HostBound", "HostDrift", "NoOverlap")
# A factor that is no reason for a graph, nor against one: that of verdicts.
_NOTHING = 1.02


def with_graph_twins(table: Iterable[Row], cases: Iterable[Case]) -> list[Row]:
    """The rows of a run, where those warnings have the figure ``graph_twin`` if the run ranks the case with a graph,
    too: ``boundary``, the ``with_ns`` and ``without_ns`` of ``latency`` or the ``with_rate`` and ``without_rate`` of
    ``throughput`` (inferences per second), the ``speed`` with it as a factor, and the ``effect``: slower, faster, none.

    ``gpu`` says nothing of it: on a held stream the host's time, which a graph saves, is not in it.
    """
    rows, by_id = list(table), {case.id: case for case in cases}
    ranked = {row.case: row for row in rows if row.ranked}
    return [_with_twin(row, by_id[row.case], ranked) for row in rows]


def _with_twin(row: Row, case: Case, ranked: Mapping[str, Row]) -> Row:
    if case.cuda_graph or not row.ranked or not any(warning.kind in GRAPH_ADVICE for warning in row.warnings):
        return row
    twin = ranked.get(msgspec.structs.replace(case, cuda_graph=True).id)
    figures = _figures(twin, row) if twin else None
    if figures is None:
        return row
    warnings = [
        _with_figures(warning, figures) if warning.kind in GRAPH_ADVICE else warning for warning in row.warnings
    ]
    return msgspec.structs.replace(row, warnings=tuple(warnings))


def _with_figures(warning: Warning, figures: dict[str, Any]) -> Warning:
    """A warning of schema 1 has its own sentence and no figures."""
    if warning.message:
        return warning
    return msgspec.structs.replace(warning, figures={**warning.figures, "graph_twin": figures})


def _figures(twin: Row, row: Row) -> dict[str, Any] | None:
    """By ``latency``, else ``throughput``; None where both rows have neither."""
    if "latency" in twin.times and "latency" in row.times:
        names, values = ("with_ns", "without_ns"), (twin.times["latency"].value, row.times["latency"].value)
        boundary, speed = "latency", values[1] / values[0] if values[0] else 0.0
    elif twin.rate and row.rate:
        names, values = ("with_rate", "without_rate"), (twin.rate.value, row.rate.value)
        boundary, speed = "throughput", values[0] / values[1] if values[1] else 0.0
    else:
        return None
    effect = "slower" if speed < 1 / _NOTHING else "faster" if speed > _NOTHING else "none"
    return {"boundary": boundary, **dict(zip(names, values, strict=True)), "speed": speed, "effect": effect}
