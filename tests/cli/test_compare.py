"""`trtbench compare`: exit codes, and errors that say what to type."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Trtbench

Suite = Callable[..., Path]


def copy_of(path: str, name: str, old: str = "", new: str = "") -> Path:
    """The run at ``path`` as another run ``name``, a text of its file changed."""
    text = Path(path).read_text().replace(Path(path).stem, name)
    assert old in text
    text = text.replace(old, new) if old else text
    copy = Path(path).with_name(f"{name}.jsonl")
    copy.write_text(text)
    return copy


@pytest.mark.workers
def test_two_runs_and_the_backends_of_one(trtbench: Trtbench, fake_suite: Suite) -> None:
    suite = fake_suite("[fake, {name: fake, time: 2 ms}]", replicates=3)
    assert trtbench("run", suite, "--select", "batch=1") == 0
    (first,) = trtbench.runs()
    same = copy_of(first.path, "20990101T000000Z-rehearsal-0000000")
    numpy = f'"numpy":"{first.header.environments["default"].libraries["numpy"]}"'
    other = copy_of(first.path, "20990102T000000Z-rehearsal-0000000", numpy, '"numpy":"0.1"')

    assert trtbench("compare", first.header.run, same.stem, "--fail-on", "slower") == 0
    assert "SLOWER" not in trtbench.out
    assert "net/fake/fp32/batch=1" in trtbench.out
    note = "trtbench: with 3 and 3 processes 2 of 2 cases can be called SLOWER only from 20% on, so a smaller slow-down"
    assert trtbench.err.startswith(f"{note} passes --fail-on slower; try: more processes")
    assert trtbench("compare", first.header.run, same.stem, "--fail-on", "slower:20%,failed") == 0
    assert not trtbench.err

    assert trtbench("compare", first.header.run, "--axis", "backend") == 0
    assert "1 case: 1 SLOWER" in trtbench.out
    assert trtbench("compare", first.header.run, "--axis", "backend", "--fail-on", "slower:2%") == 1
    assert trtbench("compare", first.header.run, "--axis", "backend", "--fail-on", "slower:200%,failed") == 0

    assert trtbench("compare", first.header.run, other.stem, "--format", "json") == 2
    assert {pair["verdict"] for pair in json.loads(trtbench.out)["pairs"]} == {"REFUSED"}
    assert "REFUSED: the environments differ in numpy " in trtbench.err
    typed = f"fix: trtbench compare {first.header.run} {other.stem} --format json --store "
    assert typed in trtbench.err
    assert " --across library:numpy" in trtbench.err
    assert trtbench("compare", first.header.run, other.stem, "--across", "toolchain", "--format", "markdown") == 0
    assert "compared across numpy " in trtbench.out

    assert trtbench("compare", f"{first.header.run},{same.stem}", other.stem, "--across", "library") == 0
    assert trtbench.out.startswith(f"A: {first.header.run}, {same.stem}\n")

    assert trtbench("compare", first.header.run, "20990101T000000Z-rehearsal-0000001") == 2
    assert f"Did you mean '{same.stem}'?" in trtbench.err
    with same.open("a") as file:
        file.write('{"line":"rec')
    assert trtbench("compare", first.header.run, same.stem) == 0
    assert "the last line is torn" in trtbench.err
    assert trtbench("compare", first.header.run, first.header.run) == 2
    assert "is named twice" in trtbench.err
    assert trtbench("compare", first.header.run, same.stem, "--boundary", "latncy") == 2
    assert "Did you mean 'latency'?" in trtbench.err
    assert trtbench("compare", first.header.run, same.stem, "--baseline", "fake") == 2
    assert "fix: trtbench compare " in trtbench.err


@pytest.mark.workers
def test_a_gate_that_could_not_fail_is_an_error(trtbench: Trtbench, fake_suite: Suite) -> None:
    suite = fake_suite("[fake, {name: fake, fail: raise}]", replicates=2)
    assert trtbench("run", suite, "--select", "batch=1") == 1
    (run,) = trtbench.runs()
    name = run.header.run
    assert trtbench("compare", name, "--axis", "backend") == 0
    assert "not judged, B failed: " in trtbench.out
    assert "net/fp32/batch=1: fake -> fake[fail=raise]" in trtbench.out
    assert trtbench("compare", name, "--axis", "backend", "--fail-on", "slower") == 2
    assert "no case was judged" in trtbench.err
    assert trtbench.paste(trtbench.err[trtbench.err.rindex("trtbench show") :].strip()) == 0
    assert name in trtbench.out
    assert trtbench("compare", name, "--axis", "backend", "--baseline", "fak") == 2
    assert "Did you mean 'fake'?" in trtbench.err
    assert trtbench("compare", name, "", "--axis", "backend") == 2
    assert "it is empty" in trtbench.err
    assert trtbench("compare", name, "--axis", "backend", "--select", "batch=9") == 2
    same = copy_of(run.path, "20990101T000000Z-rehearsal-0000000")
    assert trtbench("compare", run.path, same, "--fail-on", "slower", "--store", "elsewhere") == 2
    assert f"fix: trtbench compare {run.path} {same} --fail-on slower\n" in trtbench.err
    assert trtbench("compare", "A", name, "--traceback") == 2
    assert "Traceback" in trtbench.err
    assert trtbench("runs") == 2
    assert "fix: trtbench runs --store " in trtbench.err
    assert trtbench.err.rstrip().endswith("--rehearsals")


@pytest.mark.workers
def test_what_would_decide_names_the_run_that_is_short(trtbench: Trtbench, fake_suite: Suite) -> None:
    suite = fake_suite(replicates=2)
    assert trtbench("run", suite, "--select", "batch=1") == 0
    assert trtbench("run", suite, "--select", "batch=1", "--replicates", "1") == 0
    one, two = sorted(trtbench.runs(), key=lambda run: len(run.records))
    assert trtbench("compare", two.header.run, one.header.run, "--format", "github") == 0
    assert "No case is known to have changed." in trtbench.out
    command = f"trtbench run --resume {one.path} --replicates 7"
    assert command in trtbench.out.replace("\\_", "_")
    assert trtbench("compare", two.header.run, one.header.run, "--select", "batch=1") == 0
    assert "processes" in trtbench.out
    assert command in trtbench.out
    assert trtbench.paste(command) == 0
    assert {len(run.records) for run in trtbench.runs()} == {2, 7}


@pytest.mark.parametrize("words", [["slow"], ["slower:"], ["slower:fast"], ["slower:2"], ["slower,crashed"]])
def test_a_threshold_that_is_none(trtbench: Trtbench, words: list[str]) -> None:
    assert trtbench("compare", "A", "B", "--fail-on", *words) == 2
    assert "--fail-on" in trtbench.err


def test_one_run_needs_an_axis(trtbench: Trtbench) -> None:
    assert trtbench("compare", "A", "B") == 2
    assert "there are no runs in " in trtbench.err
