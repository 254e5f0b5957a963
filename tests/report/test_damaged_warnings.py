"""What a report shows of warnings that it cannot describe."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bench.model.run import Warning
from bench.report import export, text
from bench.report.warnings import describe

from .conftest import case, make, record

DAMAGED: list[tuple[str, dict[str, Any]]] = [
    ("MadeLater", {"depth": 3}),
    ("HostBound", {"enqueue_ns": 5}),
    ("HostBound", {"enqueue_ns": "long", "gpu_ns": 5, "graph": False}),
    ("HostBound", {"enqueue_ns": 10**400, "gpu_ns": 5, "graph": False}),
    ("TransferBound", {"copies_ns": None, "compute_ns": 5}),
    ("Unheld", {"cause": "of a later version"}),
    ("Throttled", {"reasons": ["SwPowerCap"], "readings": 3, "boundaries": 1}),
]


@pytest.mark.parametrize(("kind", "figures"), DAMAGED)
def test_figures_that_a_sentence_does_not_expect_are_shown_as_they_are(kind: str, figures: dict[str, Any]) -> None:
    warned = (Warning(kind=kind, figures=figures),)
    asked = case("bert", "eager")
    run = make([asked], [record(asked, 2.0, n, warnings=warned) for n in range(2)], 2)
    said = f"no description of this warning: {figures}"
    assert describe(*warned).text == said
    assert f"{kind}: {said}"[:80] in text.render(run, width=1000)
    assert f"{kind} (eager): {said}"[:80] in export.markdown(run)
    assert [each["kind"] for each in json.loads(export.json(run))["rows"][0]["warnings"]] == [kind]
