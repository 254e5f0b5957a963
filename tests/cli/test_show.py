"""What is shown of stored runs and of plans: lists, several together, cold starts, unequal conditions."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from tests.conftest import Trtbench
from tests.report.conftest import example
from tests.report.html.kit import renamed, stored

Suite = Callable[..., Path]


@pytest.mark.workers
def test_runs_can_be_listed_shown_together_and_in_part(trtbench: Trtbench, fake_suite: Suite) -> None:
    assert trtbench("run", fake_suite(), "--progress", "json") == 0
    begin, *_, end = trtbench.events()
    (run,) = trtbench.runs()
    assert begin == {"event": "begin", "run": run.header.run, "path": run.path, "cases": 2, "total": 2}
    assert end.pop("times") == run.times
    assert end == {"event": "end", "run": run.header.run, "path": run.path, "status": "complete", "records": 2}
    assert trtbench("runs") == 2
    assert "are rehearsals" in trtbench.err
    assert trtbench("runs", "--rehearsals") == 0
    assert f"{run.header.run}" in trtbench.out
    assert trtbench("runs", "--rehearsals", "--format", "json") == 0
    assert [one["state"] for one in json.loads(trtbench.out)["runs"]] == ["complete"]
    name = run.header.run
    assert trtbench("show", name, name, "--select", "batch=8", "--stats") == 0
    assert trtbench.out.count("1 of 2 cases shown") == 2
    assert trtbench("show", name, "--select", "batch=3") == 2
    assert trtbench("show", name, name, "--format", "json") == 0
    assert [len(one["rows"]) for one in json.loads(trtbench.out)] == [2, 2]
    assert trtbench("show", name, "--format", "csv", "--stats") == 2
    assert "--stats would change nothing of csv" in trtbench.err


def test_without_a_name_the_latest_run_is_shown_and_says_that_it_was_cut_off(trtbench: Trtbench) -> None:
    whole, name = example(3), "20261124T101500Z-smoke-1a2b3c4"
    stored(trtbench.store, whole)
    cut = renamed(whole, name)
    stored(trtbench.store, msgspec.structs.replace(cut, records=cut.records[:5], footer=None))
    assert trtbench("show") == 0
    shown = trtbench.out.splitlines()
    assert shown[0] == name
    assert "5 of 51 measured" in shown[2]
    assert "unfinished: the run has no end: it is still going on or was killed" in shown[3]
    assert "try: trtbench run --resume" in " ".join(trtbench.out.split())


def test_a_plan_as_json_has_its_cases_and_how_long_they_take(trtbench: Trtbench, fake_suite: Suite) -> None:
    assert trtbench("list", fake_suite(replicates=3), "--format", "json") == 0
    plan = json.loads(trtbench.out)
    assert [case["label"] for case in plan["cases"]] == ["net/fake/fp32/batch=1", "net/fake/fp32/batch=8"]
    assert (plan["replicates"], plan["measurements"]) == (3, 6)
    assert 0 < plan["estimate"]["low_s"] < plan["estimate"]["high_s"]
    assert trtbench("list", fake_suite()) == 0
    assert "without exports and builds" in trtbench.out


@pytest.mark.workers
def test_cold_starts_of_a_run(trtbench: Trtbench, fake_suite: Callable[..., Path]) -> None:
    suite = fake_suite("[fake, {name: fake, time: 0.5 ms, tactics: 0.01}]")
    assert trtbench("run", suite, "--select", "batch=1", "--cold", "--quick") == 0
    assert trtbench("show", "--cold-start", "--baseline", "fake", "--rate", "50/s", trtbench.runs()[0].header.run) == 0
    assert "net/fake[time=0.5 ms,tactics=0.01]/fp32/batch=1" in trtbench.out
    assert trtbench("show", trtbench.runs()[0].header.run, "--cold-start", "--format", "json") == 0
    base, other = json.loads(trtbench.out)["runs"][0]["cases"]
    assert (base["making"], other["making"]) == ("none", "measured")
    assert other["build_ns"] is not None

    run = trtbench.runs()[0].header.run
    assert trtbench("show", run, "--rate", "50") == 2
    assert "--cold-start --rate 50" in trtbench.err
    assert trtbench("show", run, "--cold-start", "--time", "--stats") == 2
    assert "--time and --stats would change nothing of --cold-start" in trtbench.err
    assert trtbench("show", run, "--cold-start", "--rate", "fast") == 2
    assert "'fast' is no number of requests per second" in trtbench.err


def committed(trtbench: Trtbench) -> str:
    """The id of a run on an H100, which is put into the store."""
    (run,) = (Path(__file__).parents[2] / "results").rglob("20261124T031036Z-compile_modes-*.jsonl")
    folder = trtbench.store / run.parent.relative_to(run.parents[2])
    folder.mkdir(parents=True)
    shutil.copy(run, folder)
    return run.stem


@pytest.mark.parametrize(
    ("form", "part"),
    [("text", "fairness\n\n  1 graphs: CUDA graphs:"), ("json", '"kind": "graphs"'), ("csv", ",graphs,graph_capture,"),
     ("markdown", "- **graphs**: CUDA graphs: ")],
)  # fmt: skip
def test_what_is_unequal_in_a_run(trtbench: Trtbench, form: str, part: str) -> None:
    run = committed(trtbench)
    assert trtbench("show", run, "--fairness", "--format", form) == 0
    assert part in trtbench.out
    assert trtbench("show", run, "--fairness", "--format", form, "--select", "backend=eager") == 0
    assert part not in trtbench.out


def test_options_that_fairness_would_ignore_are_refused(trtbench: Trtbench) -> None:
    run = committed(trtbench)
    for flags in (["--verbose"], ["--time"], ["--baseline", "eager"], ["--as", "trtexec"]):
        assert trtbench("show", run, "--fairness", *flags) == 2
        assert f"{flags[0]} would change nothing of --fairness" in trtbench.err
