"""What a comparison found slower is measured again, both sides in turn, before it fails."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

import bench
from bench import store
from bench.cli import commands
from bench.errors import UsageError
from bench.model.run import Footer
from bench.model.suite import named
from tests.runner.duel_kit import write

pytestmark = pytest.mark.workers


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> tuple[bench.Run, Path]:
    """A run of two backends, the second 5 % slower, of four processes each: the fewest that decide."""
    root = tmp_path_factory.mktemp("measured")
    suite = write(root)
    select = 'not label~"*time=0.9*" and not label~"*fail*"'
    run = bench.run(suite, select=select, replicates=4, store=root / "results", cache=root / "cache")
    return run, suite


def with_one_process(run: bench.Run, suite: Path, root: Path) -> None:
    """Store the run in ``root`` with one process of a third case."""
    (third,) = bench.request(suite, select='label~"*time=0.9*"', plan_only=True).plan.cases
    first = run.records[0]
    writer = store.create(root, msgspec.structs.replace(run.header, cases=(*run.header.cases, third)))
    for record in (*run.records, msgspec.structs.replace(first, case=third.id, label=third.label)):
        writer.append(record)
    writer.finish(Footer(finished="", status="interrupted", records=len(run.records) + 1))
    writer.close()


def test_what_is_slower_is_measured_again_before_it_fails(
    measured: tuple[bench.Run, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run, suite = measured
    monkeypatch.setenv("TRTBENCH_CACHE", str(suite.parent / "cache"))
    with_one_process(run, suite, tmp_path)
    words = ["compare", run.header.run, "--axis", "backend", "--store", str(tmp_path)]
    assert commands.main([*words, "--fail-on", "slower", "--confirm", str(suite)]) == 1
    shown = capsys.readouterr()
    passes = "with 4 and 1 processes 1 of 2 cases cannot be called SLOWER, so any slow-down passes --fail-on slower"
    assert passes in shown.err.partition("confirmed: 1 of 1")[0]
    assert "confirmed: 1 of 1" in shown.err
    assert "duel" in shown.out
    assert commands.main([*words, "--confirm", str(suite)]) == 2
    assert "--fail-on" in capsys.readouterr().err


@pytest.mark.long
def test_what_is_not_slower_again_does_not_fail(measured: tuple[bench.Run, Path]) -> None:
    run, suite = measured
    first, second = run.header.cases
    slow = [record for record in run.records if record.case == second.id]
    swapped = [msgspec.structs.replace(record, case=first.id, label=first.label) for record in slow]
    fast = [record for record in run.records if record.case == first.id]
    swapped += [msgspec.structs.replace(record, case=second.id, label=second.label) for record in fast]
    base = named(second.backend, second.options)
    doubtful = bench.compare(msgspec.structs.replace(run, records=tuple(swapped)), axis="backend", baseline=base)
    assert len(doubtful.slower()) == 1
    root = suite.parent
    (again,) = bench.confirm(doubtful, suite, store=root / "again", cache=root / "cache")
    (match,) = bench.matches(again)
    assert not match.slower()
    assert match.standing.pairs <= 8


def test_two_times_of_one_case_cannot_be_measured_again(measured: tuple[bench.Run, Path]) -> None:
    run, suite = measured
    records = tuple(
        msgspec.structs.replace(
            record,
            measurements=tuple(
                msgspec.structs.replace(m, samples=tuple(2 * ns for ns in m.samples)) for m in record.measurements
            ),
        )
        for record in run.records
    )
    header = msgspec.structs.replace(run.header, run=f"{run.header.run}0")
    doubled = msgspec.structs.replace(run, records=records, header=header)
    with pytest.raises(UsageError, match="one case, measured at two times"):
        bench.confirm(bench.compare(run, doubled), suite)
    same = msgspec.structs.replace(run, header=header)
    assert bench.confirm(bench.compare(run, same), suite) == ()
