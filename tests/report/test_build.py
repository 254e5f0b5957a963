"""A build as it is shown: what was made, what failed and what to do, and texts that cannot steer a terminal."""

from __future__ import annotations

import json

import msgspec

from bench.model.build import BuildRun, BuiltStage, CaseBuild
from bench.model.run import Environment, Failure
from bench.model.suite import LeftOut
from bench.report import build as view

CPU = Environment(kind="cpu", arch="cpu-x86_64", device="AMD EPYC", slug="amd-epyc")
EXPORT = BuiltStage(stage="export", kind="onnx", ns=3_000_000_000, cold=False, bytes=2 << 20)
ENGINE = BuiltStage(stage="build", kind="engine", ns=61_000_000_000, cold=True, bytes=3 << 20, layers=1234)
REFUSED = Failure(
    kind="Unsupported",
    stage="parse",
    message="the ONNX parser refuses the model: NonZero /nonzero (node 7): no importer",
    hint="another opset",
    log="line one\n\x1b[2Jline two",
)
RUN = BuildRun(
    created="2026-11-28T19:00:00+00:00",
    version="1",
    suite="vision",
    environments={"default": CPU},
    total=4,
    cases=(
        CaseBuild(case="a", label="net/rtx/fp16/batch=1", stages=(EXPORT, ENGINE)),
        CaseBuild(case="b", label="odd/rtx/fp16/batch=1", stages=(EXPORT,), failure=REFUSED, failed="build"),
        CaseBuild(case="c", label="net/eager/fp16/batch=1"),
    ),
    left_out=(LeftOut(label="net/rtx/int8/batch=1", reason="the exporter writes no int8 model"),),
    compute_capabilities=("8.9",),
    interrupted=True,
)


def test_the_table_has_a_line_for_each_artifact_and_failure() -> None:
    lines = view.render(RUN, width=140).splitlines()
    assert lines[0] == "vision, built on AMD EPYC (cpu-x86_64) for compute capability 8.9"
    rows = [line.split() for line in lines]
    assert ["net/rtx/fp16/batch=1", "export", "onnx", "3.00", "s", "2.00", "MiB", "-", "cache"] in rows
    assert ["build", "engine", "61.0", "s", "3.00", "MiB", "1,234", "made"] in rows
    assert any(line.endswith("FAILED: Unsupported in parse") for line in lines)
    assert ["net/eager/fp16/batch=1", *"-----", "nothing", "to", "build"] in rows


def test_a_failure_has_its_stage_its_node_and_what_to_do() -> None:
    text = view.render(RUN, width=200)
    assert (
        "odd/rtx/fp16/batch=1: build: Unsupported in parse: the ONNX parser refuses the model: NonZero /nonzero" in text
    )
    assert "  fix: another opset" in text
    assert "2 of 4 cases built, 1 failed, 1 not finished: interrupted" in text
    assert "the exporter writes no int8 model" in text
    assert "line two" not in text
    verbose = view.render(RUN, width=200, verbose=True)
    assert "    line one\n    \\x1b[2Jline two" in verbose


def test_a_narrow_terminal_loses_columns_and_says_which() -> None:
    text = view.render(RUN, width=60)
    assert "not shown at 60 columns: kind" in text
    assert "FAILED: Unsupported" in text


def test_the_time_of_what_was_made_beside_other_work_is_not_shown() -> None:
    beside = msgspec.structs.replace(EXPORT, beside=True)
    run = msgspec.structs.replace(RUN, cases=(CaseBuild(case="a", label="net/a/fp16", stages=(beside,)),))
    assert "3.00 s" not in view.render(run, width=140)
    assert json.loads(view.json(run))["cases"][0]["stages"][0]["ns"] == 3_000_000_000


def test_markdown_names_the_case_in_each_line_and_nothing_in_it_is_markup() -> None:
    hostile = msgspec.structs.replace(REFUSED, message="<script> | @you \x1b[2J")
    cases = (*RUN.cases[:1], CaseBuild(case="b", label="odd|", failure=hostile, failed="build"))
    text = view.markdown(msgspec.structs.replace(RUN, cases=cases))
    assert text.count("| net/rtx/fp16/batch=1 |") == 2
    assert "**1 of 4 cases built, 1 failed" in text
    assert "&lt;script>" in text
    assert "\x1b" not in text
    assert "@you" not in text


def test_json_has_every_field() -> None:
    whole = json.loads(view.json(RUN))
    assert (whole["schema"], whole["total"], whole["interrupted"], whole["device_missing"]) == (1, 4, True, "")
    assert whole["cases"][0]["stages"][1] == {
        "stage": "build",
        "kind": "engine",
        "ns": 61_000_000_000,
        "cold": True,
        "beside": False,
        "bytes": 3 << 20,
        "layers": 1234,
    }
    assert whole["cases"][1]["failure"]["message"] == REFUSED.message


def test_failures_that_differ_in_numbers_alone_are_one_text() -> None:
    """The table has a line of each; ``verbose`` names each with its log."""
    messages = ["no memory for 3 MiB", "no memory for 12 MiB", "another"]
    cases = tuple(
        CaseBuild(
            case=str(n),
            label=f"net/rtx/fp16/batch={n}",
            failed="build",
            failure=msgspec.structs.replace(REFUSED, message=message, log=f"log {n}"),
        )
        for n, message in enumerate(messages)
    )
    run = msgspec.structs.replace(RUN, cases=cases)
    for text in (view.render(run, width=200), view.markdown(run)):
        assert text.count("net/rtx/fp16/batch=0 and 1 more: build: Unsupported in parse: no memory for 3 MiB") == 1
        assert "12 MiB" not in text
        assert text.count("fix: another opset") == 2
        assert text.count("FAILED: Unsupported in parse") == 3
    verbose = view.render(run, width=200, verbose=True)
    assert [f"no memory for {n} MiB" in verbose for n in (3, 12)] == [True, True]
    assert all(f"    log {n}\n" in verbose for n in range(3))


def test_a_failure_has_its_place_and_equal_ones_at_other_places_are_each_told() -> None:
    places = ["edited/program.py:238 (the model itself)", "edited/program.py:238 (the model itself)", "mine.yaml:16"]
    places.append("mine.yaml:17")
    cases = tuple(
        CaseBuild(
            case=str(n),
            label=f"net/rtx/fp16/batch={n}",
            failed="build",
            failure=Failure(kind="SuiteError", stage="parse", message="KeyError: 'nope'", where=place),
        )
        for n, place in enumerate(places)
    )
    run = msgspec.structs.replace(RUN, cases=cases)
    for text in (view.render(run, width=200), view.markdown(run)):
        assert (
            "net/rtx/fp16/batch=0 and 1 more: build: SuiteError in parse: "
            "edited/program.py:238 (the model itself): KeyError: 'nope'" in text
        )
        assert "net/rtx/fp16/batch=2: build: SuiteError in parse: mine.yaml:16: KeyError: 'nope'" in text
        assert "net/rtx/fp16/batch=3: build: SuiteError in parse: mine.yaml:17: KeyError: 'nope'" in text
