"""Texts of models, suites, files and libraries as an output may show them: no control characters, bounded, no formulas.

What steers a terminal, turns the order of letters or breaks a line is shown as its escape (``\\x1b``, ``\\u202e``), so
that no text can draw a row, hide one, or run as a formula.
"""

from __future__ import annotations

import re
import sys
import unicodedata
from typing import Any

LONGEST = 2000
LONGEST_NAME = 300
# Control characters, invisible ones that format (bidi, zero width), halves of pairs, and separators of lines.
_UNSEEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
_FORMULA = ("=", "+", "-", "@", "\N{FULLWIDTH EQUALS SIGN}", "\N{FULLWIDTH PLUS SIGN}",
            "\N{FULLWIDTH HYPHEN-MINUS}", "\N{FULLWIDTH COMMERCIAL AT}")  # fmt: skip
_MARKUP = re.compile(r"[\\|\[\]_*`~#]")
# In JSON the C0 controls are escaped already; all that is found stands within a text.
_JSON_UNSEEN = re.compile("[\x7f-\x9f\xad\u0600-\u0605\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
                          "\U000e0000-\U000e007f]")  # fmt: skip


def line(text: str, limit: int = LONGEST) -> str:
    """``text`` as one line: line breaks and tabs are escaped too."""
    return bounded(text if text.isprintable() else "".join(map(_character, text)), limit)


def lines(text: str, limit: int = LONGEST) -> str:
    """``text`` with its line breaks; a tab is a blank. The layout must indent what follows the first line."""
    if text.isprintable():
        return bounded(text, limit)
    parts = text.replace("\r\n", "\n").replace("\t", " ").split("\n")
    return bounded("\n".join("".join(map(_character, part)) for part in parts), limit)


def markdown(text: str) -> str:
    """``text`` as it stands: nothing in it is markup, a link, a mention of a user or an issue, or the end of a cell."""
    escaped = _MARKUP.sub(r"\\\g<0>", text.replace("&", "&amp;").replace("<", "&lt;"))
    return line(escaped, sys.maxsize).replace("@", "@<!-- -->").replace("://", ":<!-- -->//")


def name(text: str) -> str:
    """A name of a model, backend or setting in a table."""
    return line(text, LONGEST_NAME)


def bounded(text: str, limit: int = LONGEST) -> str:
    """At most about ``limit`` characters; how many more there are stands in place of the end."""
    if len(text) <= limit:
        return text
    return f"{text[:limit]}… ({len(text) - limit:,} more characters)"


def cell(value: Any) -> Any:
    """A field of a CSV: a text that a spreadsheet would run as a formula begins with an apostrophe; numbers stay."""
    if not isinstance(value, str):
        return value
    formula = value.lstrip("\t\r\n ").startswith(_FORMULA)
    return f"'{line(value)}" if formula or value[:1] in ("\t", "\r", "\n") else line(value)


def in_json(text: str) -> str:
    """JSON in which also the characters that JSON allows, but a terminal obeys, are escaped."""
    return text if text.isascii() and "\x7f" not in text else _JSON_UNSEEN.sub(_json_character, text)


def _json_character(match: re.Match[str]) -> str:
    units = match[0].encode("utf-16-be")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


def _character(character: str) -> str:
    if unicodedata.category(character) not in _UNSEEN:
        return character
    code = ord(character)
    short = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(character)
    return short or (f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")
