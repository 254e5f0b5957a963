"""The plots of a page: Vega-Lite specifications, each with its own rows and the columns of the table beside it.

A plot is a mapping::

    {"id": "speed", "title": "Speed-up", "text": "what is shown, and how to read it",
     "missing": "",                    # without rows: what would fill the plot, e.g. a command
     "rows": TABLE,                    # bench.report.html.columns; a column "case" has places of cases: links
     "columns": [{"name": "speed", "title": "speed", "form": "ratio"}, ...],      # of the HTML table
     "spec": {...}}                    # Vega-Lite, without "data" and "config"

assets/plots.js gives the specification its rows and the page's colours and fonts. A row that names its case also gets
that case's model, backend, precision, sizes, setting, device, status and label, unless it has a column of that name.
``form`` is one of time, size, ratio, small, count, plain, text (the default). A page that is filtered shows the rows of
the cases that match.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.report.html import columns


def plots(cases: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """All plots of a page whose rows of ``cases`` are these, in the order in which they are shown."""
    return [_speed(cases)]


def _speed(cases: Sequence[dict[str, Any]]) -> dict[str, Any]:
    rows = [
        {"case": place, "speed": case["speed"], "low": case["speed_low"], "high": case["speed_high"]}
        for place, case in enumerate(cases)
        if case["speed"] is not None and case["speed_low"] is not None
    ]
    return {
        "id": "speed",
        "title": "Speed-up over the baseline",
        "text": "Time of the baseline over time of the case: right of 1 it is faster. Whiskers are 95% intervals.",
        "missing": "a run with a baseline: trtbench run suites/smoke.yaml, or trtbench report --baseline BACKEND",
        "rows": columns.table(rows, ("case", "speed", "low", "high")),
        "columns": [
            {"name": "case", "title": "case"},
            {"name": "speed", "title": "speed", "form": "ratio"},
            {"name": "low", "title": "low", "form": "ratio"},
            {"name": "high", "title": "high", "form": "ratio"},
        ],
        "spec": {
            "height": {"step": 16},
            "encoding": {
                "y": {
                    "field": "label",
                    "type": "nominal",
                    "sort": {"field": "speed", "order": "descending"},
                    "title": None,
                    "axis": {"labelLimit": 420},
                }
            },
            "layer": [
                {
                    "mark": {"type": "rule", "strokeWidth": 1},
                    "encoding": {
                        "x": {"field": "low", "type": "quantitative", "scale": {"type": "log"}, "title": "speed-up"},
                        "x2": {"field": "high"},
                    },
                },
                {
                    "mark": {"type": "point", "filled": True, "size": 50},
                    "encoding": {
                        "x": {"field": "speed", "type": "quantitative"},
                        "color": {"field": "precision", "type": "nominal", "title": "precision"},
                        "tooltip": [
                            {"field": "label", "title": "case"},
                            {"field": "speed", "format": ".3f"},
                            {"field": "low", "format": ".3f"},
                            {"field": "high", "format": ".3f"},
                        ],
                    },
                },
            ],
        },
    }
