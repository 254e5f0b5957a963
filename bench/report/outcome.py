"""How a run ended: how much of its plan is done, and the notes that concern it as a whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Set
from pathlib import Path

from bench import store
from bench.analysis.duel import matches
from bench.model.run import Failure, Run
from bench.report import cells
from bench.report.note import Note, printable_note
from bench.store import progress


def of_run(run: Run) -> list[Note]:
    """What concerns the whole run: damage, an early end, a GPU that was not watched, records that no case claims."""
    notes = []
    if run.damage:
        notes.append(Note(kind="damaged", text=run.damage))
    notes += _of_duel(run) if run.header.duel else _of_plan(run)
    failed = {case for (case, _), failure in _last(run).items() if _fails(failure) and _settles(failure)}
    if run.header.duel is None and (untried := _untried(run, failed)):
        text = (
            f"{cells.count(untried, 'process')} of cases that failed: a case is not tried again once one "
            "of its processes has failed, nor does --resume"
        )
        notes.append(
            Note(
                kind="not tried",
                text=text,
                fix=f"a new run: trtbench run {store.suite_here(run.header.suite_path)}",
            )
        )
    if reasons := dict.fromkeys(r.telemetry.gpu_reason for r in run.records if r.telemetry.gpu_reason):
        text = f"nothing watched the GPU's clocks, power, memory and other users: {'; '.join(reasons)}"
        notes.append(Note(kind="unwatched", text=text, fix="trtbench doctor"))
    cases = {case.id for case in run.header.cases}
    if strangers := sum(record.case not in cases for record in run.records):
        notes.append(
            Note(kind="strangers", text=f"{cells.count(strangers, 'record')} of cases outside the plan are not shown")
        )
    return [printable_note(note) for note in notes]


def _of_plan(run: Run) -> list[Note]:
    """Whether a run ended by itself; what is missing of it --resume measures."""
    resume = store.continuation(Path(run.path), run.header)
    if run.footer is None:
        return [Note(kind="unfinished", text="the run has no end: it is still going on or was killed", fix=resume)]
    if run.footer.status == "complete":
        return []
    retried = any(failure is not None and not failure.is_final for failure in _last(run).values())
    if not retried and _count(run).total() == progress.planned(run.header):
        return [Note(kind="interrupted", text="the run was interrupted after everything in its plan was measured")]
    return [Note(kind="interrupted", text="the run ended before all of its plan was measured", fix=resume)]


def _of_duel(run: Run) -> list[Note]:
    """Whether a duel ended by itself. It misses no plan: it ends when all is decided, or after its pairs."""
    duel = run.header.duel
    assert duel is not None
    every = matches(run)
    still_open = sum(not match.over and match.standing.pairs < duel.pairs for match in every)
    command = store.continuation(Path(run.path), run.header)
    again = f"a duel cannot be resumed; start it again: {command}" if still_open else ""
    left = f"{still_open} of {cells.count(len(every), 'match')}" if len(every) > 1 else "it"
    if run.footer is None:
        text = "the duel has no end: it is still going on or was killed"
        return [Note(kind="unfinished", text=text, fix=again)]
    if run.footer.status == "complete":
        return []
    was = f"before {left} was decided" if still_open else "after every match was decided or had run all its pairs"
    return [Note(kind="interrupted", text=f"the duel was interrupted {was}", fix=again)]


def counts(run: Run) -> str:
    """How much of the plan is done, and how it ended: ``8 of 8 measured``, ``96 of 96 done: 80 measured, 16
    unavailable``, ``1 of 3 done: 1 failed; 2 not tried``.
    """
    totals = _count(run)
    untried = totals.pop("not tried", 0)
    total = f"{totals.total()} of {progress.planned(run.header)}"
    if set(totals) <= {"measured"}:
        return f"{total} measured"
    summary = ", ".join(f"{totals[how]} {how}" for how in ("measured", "unavailable", "failed") if totals[how])
    return f"{total} done: {summary}" + (f"; {untried} not tried" if untried else "")


def _count(run: Run) -> Counter[str]:
    """The processes of the plan by how they ended; ``not tried`` are the others of the cases that did not succeed."""
    last = _last(run)
    counts: Counter[str] = Counter()
    for failure in last.values():
        counts["failed" if _fails(failure) else "unavailable" if failure else "measured"] += 1
    settled = {case for (case, _), failure in last.items() if _settles(failure)}
    if untried := _untried(run, settled):
        counts["not tried"] = untried
    return counts


def _last(run: Run) -> dict[tuple[str, int], Failure | None]:
    """How each process of the plan ended the last time that it was tried."""
    last = {(record.case, record.replicate): record.failure for record in run.records}
    return {process: last[process] for process in progress.of_plan(run.header, last)}


def _fails(failure: Failure | None) -> bool:
    return failure is not None and failure.kind != "Unavailable"


def _settles(failure: Failure | None) -> bool:
    """Whether a case that ended like this is not tried again."""
    return failure is not None and failure.is_final


def _untried(run: Run, cases: Set[str]) -> int:
    """The processes of ``cases`` that have no record."""
    last = _last(run)
    return sum((case, n) not in last for case in cases for n in range(run.header.policy.replicates))
