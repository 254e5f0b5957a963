"""How a run ended: how much of its plan is done, and the notes that concern it as a whole."""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Set
from pathlib import Path

from bench import store
from bench.model.run import Failure, Run
from bench.report import cells
from bench.report.note import Note, printable_note


def of_run(run: Run) -> list[Note]:
    """What concerns the whole run: damage, an early end, a GPU that was not watched, records that no case claims."""
    notes = []
    if run.damage:
        notes.append(Note(kind="damaged", text=run.damage))
    resume = store.resume_command(Path(run.path))
    if run.footer is None:
        notes.append(Note(kind="unfinished", text="the run has no end: it is still going on or was killed", fix=resume))
    elif run.footer.status == "interrupted":
        notes.append(Note(kind="interrupted", text="the run ended before all of its plan was measured", fix=resume))
    failed = {case for (case, _), failure in _last(run).items() if _fails(failure) and _settles(failure)}
    if untried := _untried(run, failed):
        text = (
            f"{cells.count(untried, 'process')} of cases that failed: a case is not tried again once one "
            "of its processes has failed, nor does --resume"
        )
        notes.append(
            Note(kind="not tried", text=text, fix=f"a new run: trtbench run {shlex.quote(run.header.suite_path)}")
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


def counts(run: Run) -> str:
    """How much of the plan is done, and how it ended: ``8 of 8 measured``, ``96 of 96 done: 80 measured, 16
    unavailable``, ``1 of 3 done: 1 failed; 2 not tried``.
    """
    totals = _count(run)
    untried = totals.pop("not tried", 0)
    total = f"{totals.total()} of {len(run.header.cases) * run.header.policy.replicates}"
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
    cases = {case.id for case in run.header.cases}
    return {(record.case, record.replicate): record.failure for record in run.records if record.case in cases}


def _fails(failure: Failure | None) -> bool:
    return failure is not None and failure.kind != "Unavailable"


def _settles(failure: Failure | None) -> bool:
    """Whether a case that ended like this is not tried again."""
    return failure is not None and failure.is_final


def _untried(run: Run, cases: Set[str]) -> int:
    """The processes of ``cases`` that have no record."""
    last = _last(run)
    return sum((case, n) not in last for case in cases for n in range(run.header.policy.replicates))
