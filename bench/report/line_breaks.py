"""What of a text is never broken into lines, so that it can be copied: commands, quoted values and paths."""

from __future__ import annotations

import itertools
import re
import textwrap
from collections.abc import Sequence

# Stands for a blank that no line is broken at; a character of no alphabet, as a path may have any other.
BLANK = "\ue000"
_QUOTES = ("'", '"')
_PROGRAMS = ("trtbench", "pip", "python", "nvidia-smi", "nsys", "git", "apt-get", "ls", "unset", "sudo", "nox")
# Words that another one always follows in a command.
_TAKES = (*_PROGRAMS, "install")
# Words that are no packages.
_PROSE = ("there", "in", "or", "and", "to", "with", "for", "if", "then")
# An option, a path, a version, an assignment, or the name of a run.
_ARGUMENT = re.compile(r"[-'\"/.~$<]|\S*[/=_]|\d{8}T|\S+\.(yaml|jsonl|py)\b")
_QUOTED_PATH = re.compile(r"['\"][/.~]")
_INTERPRETER = re.compile(r"['\"]?[/.~].*/python[\d.]*['\"]?")
_BEGINS_QUOTED = re.compile(r"[(`]*(\S*=)?['\"]")
# In a word that is a command or a path, or that may be one.
_COPIED = re.compile(rf"[/\\{BLANK}]")


def glue(text: str) -> str:
    """``text`` with its commands as one word each: a name of a program, what it is to do, options and their values. So
    are an option with a quoted value, and a quoted path, outside of a command.
    """
    words: list[str] = []
    several = text.split(" ")
    inside, program, last, at = False, "", "", 0
    while at < len(several):
        word = several[at]
        bare = word.strip("(`")
        if inside:
            package = program == "pip" and bare not in _PROSE
            takes = last in _TAKES or last.startswith("-") or package
            inside = takes or _ARGUMENT.match(bare) is not None
        joined = inside
        value = last.startswith("--") and bare[:1] in _QUOTES
        count = _count_quoted(several, at) if inside or value or _QUOTED_PATH.match(bare) else 1
        word = BLANK.join(several[at : at + count])
        at += count
        if not inside and (bare in _PROGRAMS or _INTERPRETER.fullmatch(word.strip("(`"))):
            inside, program = True, bare
        joined = joined or value
        if joined and words:
            words[-1] += BLANK + word
        else:
            words.append(word)
        if inside:
            inside = not word.endswith((",", ";", ")", ":"))
        last = word.strip("(`")
    return " ".join(words)


def _count_quoted(words: Sequence[str], at: int) -> int:
    """How many of ``words`` from ``at`` on are one word of a shell, as quotes hold them together; 1 where the quote is
    an apostrophe: it has no end, or stands within a word.
    """
    if not _BEGINS_QUOTED.match(words[at]):
        return 1
    quote = ""
    for count, word in enumerate(words[at:], 1):
        quote = _open_quote(word, quote)
        if not quote:
            return count
    return 1


def _open_quote(word: str, quote: str) -> str:
    """The quote that a shell is in after ``word``, before which it was in ``quote``; empty for none."""
    escaped = False
    for char in word:
        if escaped:
            escaped = False
        elif char == "\\" and quote != "'":
            escaped = True
        elif char == quote:
            quote = ""
        elif not quote and char in _QUOTES:
            quote = char
    return quote


def with_breaks(text: str, room: int) -> str:
    """``text`` with a blank after every ``room`` characters of a longer word that is neither command nor path, nor the
    value of an option.
    """
    if len(text) <= room:
        return text
    words = text.split(" ")
    return " ".join(
        word
        if len(word) <= room or _COPIED.search(word) or last.startswith("--")
        else " ".join(textwrap.wrap(word, room))
        for last, word in itertools.pairwise(["", *words])
    )
