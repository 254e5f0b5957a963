"""The sentence and the advice of each kind of warning, and one for several that differ only in numbers."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

from bench.model.run import Warning
from bench.report import machine_warnings, program_warnings, timing_warnings
from bench.report.advice import Advice, Sentence
from bench.report.figures import Span

SENTENCES: dict[str, Sentence] = {
    **machine_warnings.SENTENCES,
    **program_warnings.SENTENCES,
    **timing_warnings.SENTENCES,
}
# What a sentence meets in figures that it was not written for: others, or of another type, or too large to format.
_UNKNOWN = (LookupError, TypeError, ValueError, AttributeError, OverflowError)
# A whole number that names something and counts nothing, with the word that says so: it stays, as texts with other ones
# are about another failure.
_CODE = (
    r"(?i:\b(?:exit code|error code|error|status|signal|errno|line) (?:0x[0-9a-f]+|-?\d+)\b(?![.,]\d)"
    r"|\.(?:py|ya?ml):\d+)"
)
# A number in a text, with its unit of time or size, as that changes with it; conv2d and fp16 are names.
_NUMBER = r"0x[0-9a-f]+|(?<![\w.])[-+]?\d+(?:[.,]\d+)*(?:e[-+]?\d+)?(?: ?(?:[num]?s|(?:[KMG]i)?B)\b)?"
_CODE_OR_NUMBER = re.compile(f"(?P<code>{_CODE})|{_NUMBER}")


def describe(warning: Warning) -> Advice:
    """The sentence and the advice of a warning; those of runs of schema 1 are stored with it. A warning of a later
    version or of a damaged file, whose kind or figures are not known here, shows its figures as they are.
    """
    if warning.message:
        return Advice(warning.message, warning.hint)
    try:
        return SENTENCES[warning.kind](warning.figures)
    except _UNKNOWN:
        return Advice(f"no description of this warning: {dict(warning.figures)}", warning.hint)


def key(warning: Warning) -> tuple[str, ...]:
    """What two warnings have in common whose figures can be merged: kind, advice, and everything but numbers."""
    if warning.message:
        return (warning.kind, mask_numbers(warning.message), warning.hint)
    return (warning.kind, *(f"{name}={_discrete(value)}" for name, value in sorted(warning.figures.items())))


def mask_numbers(text: str) -> str:
    """``text`` without its numbers, but for codes and lines of files: for texts that come without figures, which are
    messages of failures (a runtime's words) and the warnings of schema 1.
    """
    return _CODE_OR_NUMBER.sub(lambda match: match["code"] or "#", text)


def merge(warnings: Sequence[Warning]) -> Warning:
    """One warning for several of one ``key``: numbers that differ become Spans. Of a kind of ``RATIOS`` it then has
    also ``ratio``, that of its two times.
    """
    first = warnings[0]
    if first.message or len(warnings) == 1:
        return first
    merged = {name: _merged([warning.figures[name] for warning in warnings]) for name in first.figures}
    above, below = timing_warnings.RATIOS.get(first.kind, ("", ""))
    if isinstance(merged.get(above), Span) or isinstance(merged.get(below), Span):
        times = [(warning.figures[above], warning.figures[below]) for warning in warnings]
        if all(other > 0 for _, other in times):
            merged["ratio"] = _merged([time / other for time, other in times])
    return Warning(kind=first.kind, figures=merged)


def _discrete(value: Any) -> str:
    """A value without its numbers, and a mapping without its order."""
    if isinstance(value, Mapping):
        return str({name: _discrete(member) for name, member in sorted(value.items())})
    return "#" if _is_number(value) else repr(value)


def _merged(values: Sequence[Any]) -> Any:
    if isinstance(values[0], Mapping):
        return {name: _merged([value[name] for value in values]) for name in values[0]}
    if not _is_number(values[0]) or len(set(values)) == 1:
        return values[0]
    return Span(min(values), max(values))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
