"""`trtbench calibrate`: measured and from stored runs, then used by `compare`, and refused elsewhere."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.test_compare import copy_of
from tests.conftest import Trtbench

Suite = Callable[..., Path]


@pytest.mark.workers
def test_a_suite_is_calibrated_and_compare_quotes_it(trtbench: Trtbench, fake_suite: Suite) -> None:
    suite = fake_suite("[{name: fake, drift: 0.02}]")
    words = ["--select", "batch=1", "--processes", 6, "--sittings", 2, "--format", "json"]
    assert trtbench("calibrate", suite, *words) == 0, trtbench.err
    calibration = json.loads(trtbench.out)
    runs = trtbench.runs()
    assert calibration["sittings"] == sorted(run.header.run for run in runs)
    assert {len(run.records) for run in runs} == {3}
    assert calibration["replicates"] == 7  # the suite's single process is not for verdicts
    assert calibration["levels"][0]["processes"] == [3, 3]
    (file,) = trtbench.store.glob("fake/simulated/calibration-*.json")
    assert file.stem == calibration["calibration"]

    first, second = calibration["sittings"]
    assert trtbench("compare", first, second) == 0
    assert f"calibrated by {file.stem}: session sd " in trtbench.out
    assert trtbench("compare", first, second, "--calibration", "none", "--format", "json") == 0
    assert json.loads(trtbench.out)["calibration"] == ""
    assert trtbench("compare", first, second, "--calibration", "calibration-1999") == 2
    assert "no calibration 'calibration-1999'" in trtbench.err

    numpy = f'"numpy":"{runs[0].header.environments["default"].libraries["numpy"]}"'
    paths = {run.header.run: run.path for run in runs}
    others = [
        copy_of(paths[name], f"2099010{n}T000000Z-rehearsal-0000000", numpy, '"numpy":"0.1"')
        for n, name in enumerate((first, second), 1)
    ]
    elsewhere = [other.stem for other in others]
    assert trtbench("compare", *elsewhere) == 0
    assert f"not calibrated: {file.stem} was made in another environment: numpy " in trtbench.out
    assert trtbench("compare", *elsewhere, "--calibration", file.stem) == 2
    assert "the calibration was made in another environment: numpy " in trtbench.err
    assert trtbench("calibrate", "--from", f"{first},{elsewhere[0]}") == 2
    assert "the runs were made in different environments: numpy " in trtbench.err

    assert trtbench("calibrate", "--from", f"{first},{second}", "--replicates", 3, "--format", "markdown") == 0
    assert "3 processes a side" in trtbench.out
    file.write_text("{")
    assert trtbench("compare", first, second) == 0  # by the other one
    assert trtbench("calibrate", "--from", f"{first},{first}") == 2
    assert "is named twice" in trtbench.err
    assert trtbench("calibrate", "--from", first, "--replicates", 1) == 2
    assert "one process a side gives no verdict" in trtbench.err


@pytest.mark.workers
def test_the_command_for_more_sittings_works_as_printed(trtbench: Trtbench, fake_suite: Suite) -> None:
    suite = fake_suite("[fake, {name: fake, time: 2 ms}]", replicates=3)
    assert trtbench("run", suite, "--select", "batch=1") == 0
    (run,) = trtbench.runs()
    few = ["--processes", 6, "--sittings", 2, "--select", "backend=fake and batch=1"]
    assert trtbench("calibrate", "--from", run.path, "--replicates", 4) == 0
    (line,) = (" ".join(x.split()) for x in lines_with(trtbench.out, "trtbench calibrate "))
    command = line[line.index("trtbench calibrate") :]
    assert command == f"trtbench calibrate --replicates 4 --store {trtbench.store} --from {run.path} {suite}"
    assert trtbench.paste(f"{command} {shlex.join(map(str, few))}") == 0, trtbench.err
    assert len(trtbench.runs()) == 3
    (line,) = lines_with(trtbench.out, "trtbench calibrate ")
    command = line[line.index("trtbench calibrate") :].strip()
    names = sorted(x.header.run for x in trtbench.runs())
    assert len(re.search(r"--from (\S+)", command)[1].split(",")) == len(names)
    assert trtbench.paste(command) == 0  # also with its --select
    assert len(trtbench.runs()) == 5

    assert trtbench("calibrate") == 2
    assert f"fix: trtbench calibrate suites/smoke.yaml --store {trtbench.store}\n" in trtbench.err
    short = copy_of(run.path, "20990101T000000Z-rehearsal-0000000")
    kept = [x for x in short.read_text().splitlines(keepends=True) if '"replicate":2' not in x]
    short.write_text("".join(kept))
    assert trtbench("calibrate", "--from", f"{names[0]},{short.stem}") == 2
    assert trtbench.paste(trtbench.err[trtbench.err.index("trtbench run --resume") :].strip()) == 0
    assert trtbench("calibrate", "--from", f"{names[0]},{short.stem}") == 0


def lines_with(text: str, part: str) -> list[str]:
    return [line for line in text.splitlines() if part in line]


@pytest.mark.workers
def test_a_gate_refuses_to_pass_where_no_case_has_enough_processes_to_fail(
    trtbench: Trtbench, fake_suite: Suite
) -> None:
    suite = fake_suite("[fake, {name: fake, time: 2 ms}]", replicates=3)
    assert trtbench("run", suite, "--select", "batch=1") == 0
    (run,) = trtbench.runs()
    assert trtbench("calibrate", "--from", run.header.run) == 0
    assert trtbench("compare", run.header.run, "--axis", "backend", "--fail-on", "slower") == 1

    of_one = copy_of(run.path, "20990101T000000Z-rehearsal-0000000")
    slow = run.header.cases[-1].id
    lines = of_one.read_text().splitlines(keepends=True)
    later = (f'"case":"{slow}"', '"replicate":')
    of_one.write_text("".join(x for x in lines if not all(word in x for word in later) or '"replicate":0' in x))
    assert trtbench("compare", of_one.stem, "--axis", "backend", "--fail-on", "slower") == 2
    assert "1 case: 1 INCONCLUSIVE" in trtbench.out
    assert "] †  INCONCLUSIVE (needs 3)" in trtbench.out
    assert "with 3 and 1 processes no case can be called SLOWER" in trtbench.err
    assert trtbench("compare", of_one.stem, "--axis", "backend", "--fail-on", "inconclusive") == 1

    assert trtbench("show", of_one.stem, "--baseline", "fake") == 0
    (command,) = lines_with(trtbench.out, "trtbench compare ")
    assert trtbench("show", of_one.stem, "--baseline", "fake", "--format", "markdown") == 0
    assert (
        f"with the calibration of this kind of machine: trtbench compare {of_one.stem} --axis backend" in trtbench.out
    )
    assert trtbench.paste(command) == 0
    assert "] †  INCONCLUSIVE" in trtbench.out
    assert trtbench("show", run.header.run, "--baseline", "fake") == 0  # which has no such ratio
    assert "trtbench compare" not in trtbench.out
    for file in trtbench.store.glob("*/*/calibration-*"):
        file.unlink()
    assert trtbench("show", of_one.stem, "--baseline", "fake") == 0
    assert "±unknown of a ratio: a side has one process" in trtbench.out
    assert "trtbench compare" not in trtbench.out


@pytest.mark.workers
def test_too_few_processes_and_failures(trtbench: Trtbench, fake_suite: Suite) -> None:
    suite = fake_suite("[fake, {name: fake, fail: raise}]")
    assert trtbench("run", suite, "--select", "batch=1") == 1
    (run,) = trtbench.runs()
    assert trtbench("calibrate", "--from", run.header.run) == 2
    assert "net/fake/fp32/batch=1: fewer than 3 processes of one build in a sitting" in trtbench.err
    assert "net/fake[fail=raise]/fp32/batch=1: it failed: " in trtbench.err
    assert not [*trtbench.store.glob("*/*/calibration-*")]


@pytest.mark.parametrize(
    ("words", "what"),
    [
        ([], "neither a suite nor a run is named"),
        (["--from", "X", "--processes", "9"], "--processes is of a suite that is measured"),
        (["--from", "X", "--cold"], "--cold is of a suite that is measured"),
        (["SUITE", "--processes", "5"], "5 processes in 2 sittings are too few"),
        (["SUITE", "--processes", "8", "--sittings", "3"], "8 processes in 3 sittings are too few"),
        (["SUITE", "--replicates", "1"], "one process a side gives no verdict"),
        (["--from", "X"], "there are no runs in "),
    ],
)
def test_bad_input_measures_nothing(trtbench: Trtbench, fake_suite: Suite, words: list[str], what: str) -> None:
    suite = fake_suite()
    assert trtbench("calibrate", *(suite if word == "SUITE" else word for word in words)) == 2
    assert what in trtbench.err
    assert "fix: " in trtbench.err
    assert not trtbench.runs()
