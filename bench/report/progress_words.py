"""What a run reports, in words: a phase, a pair of a duel, a failure; safe to print."""

from __future__ import annotations

from bench.model import events
from bench.model.run import Record
from bench.report import cells, duel, escape

# What is made, where a reader knows it by another name.
NAMES = {"runner": "C++ runner"}


def indent(text: str) -> str:
    """``text`` without control characters; what follows its first line cannot be taken for a line of ours."""
    return escape.lines(text).replace("\n", "\n    ")


def process_name(label: str, replicate: int) -> str:
    """The label, with the number of the process from the second on."""
    return f"{label} #{replicate + 1}" if replicate else label


def phase_of(step: events.Step) -> str:
    """The phase, of what is made with its name: ``build, import``."""
    if step.phase == "warmup":
        return "warmup, then measure"
    plain = step.work in ("", "measure", "preflight", step.phase.partition(":")[0])
    stage = "" if plain else f"{NAMES.get(step.work, step.work)}, "
    return f"{stage}{step.phase}"


def standing(event: events.Compared) -> str:
    """``0.713 [0.688, 0.739] FASTER  net/fp32: inductor against eager``: a narrow screen cuts the names."""
    names = escape.line(duel.title(event.label, event.against))
    if event.why:
        return f"not judged  {names}: {escape.line(event.why)}"
    verdict = event.kind if event.over else ""
    return f"{f'{duel.ratio(event.ratio, event.low, event.high)} {verdict}'.rstrip()}  {names}"


def failure_of(record: Record) -> str:
    """The process and how its case failed, and what to try, a line each."""
    text = f"{process_name(record.label, record.replicate)}  {cells.result(record)}"
    hint = record.failure.hint if record.failure else ""
    return f"{text}\ntry: {hint}" if hint else text
