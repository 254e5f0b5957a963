"""`trtbench show --host-cost`, of a stored run."""

from __future__ import annotations

import json

import pytest

from bench import store
from bench.model.run import Footer
from tests.analysis.test_host_cost import AOTI, AOTI_CPP, CPP, PYTHON, record
from tests.conftest import Trtbench
from tests.store import kit


@pytest.fixture
def name(trtbench: Trtbench) -> str:
    header = kit.header((AOTI, AOTI_CPP))
    writer = store.create(trtbench.store, header)
    for n in range(3):
        writer.append(record(AOTI, PYTHON, n))
        writer.append(record(AOTI_CPP, CPP, n))
    writer.finish(Footer(finished="", status="complete", records=6))
    return header.run


def test_a_stored_run_has_its_host_cost(trtbench: Trtbench, name: str) -> None:
    assert trtbench("show", name, "--host-cost") == 0
    assert AOTI.label in trtbench.out
    assert "Python's share" in trtbench.out
    for form in ("markdown", "csv", "json"):
        assert trtbench("show", name, "--host-cost", "--format", form, "--select", f"backend={AOTI.backend}") == 0
    (run,) = json.loads(trtbench.out)["runs"]
    assert [line["label"] for line in run["artifacts"]] == [AOTI.label]


def test_what_would_be_ignored_is_refused(trtbench: Trtbench, name: str) -> None:
    assert trtbench("show", name, "--host-cost", "--fairness") == 2
    assert "--fairness would change nothing of --host-cost" in trtbench.err
    assert trtbench("show", name, "--host-cost", "--baseline", "aoti") == 2
    assert "--baseline would change nothing of --host-cost" in trtbench.err
