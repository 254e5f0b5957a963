"""What the sentence of a warning is made from, and what it consists of.

A figure is a number, or a Span where several processes or cases have the same warning with other numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeAlias


class Advice(NamedTuple):
    """What a warning says, and what to try; ``hint`` may be empty."""

    text: str
    hint: str


Figures: TypeAlias = Mapping[str, Any]
Sentence: TypeAlias = Callable[[Figures], Advice]
