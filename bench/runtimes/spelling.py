"""Which of the names that a function takes another name is misspelt from."""

from __future__ import annotations

from collections.abc import Iterable

# Words from this length may differ in two letters, shorter ones in one.
_LONG = 8
# Two shorter words are each their own: `x` and `y`, `q_mask` and `k_mask`.
_SHORTEST = 3


def misspelt_from(word: str, names: Iterable[str]) -> str | None:
    """The first of ``names`` that ``word`` is a misspelling of; None if it is none.

    Far stricter than ``errors.did_you_mean``, which guesses for a name that is wrong in any case: here ``word`` may be
    right. Each part between underscores must begin like that of the name, and differ from it by one letter more, less,
    other or swapped with its neighbour at most (two from ``_LONG`` letters on); or only case and underscores differ.
    Digits are never a misspelling: ``image2`` is not ``image1``.
    """
    return next((name for name in names if name != word and _is_close(word.lower(), name.lower())), None)


def _is_close(word: str, name: str) -> bool:
    if word.replace("_", "") == name.replace("_", ""):
        return True
    if [each for each in word if each.isdigit()] != [each for each in name if each.isdigit()]:
        return False
    parts, others = word.split("_"), name.split("_")
    return len(parts) == len(others) and all(map(_is_close_part, parts, others))


def _is_close_part(part: str, other: str) -> bool:
    if part == other:
        return True
    shorter, longer = sorted((len(part), len(other)))
    if longer < _SHORTEST or part[0] != other[0]:
        return False
    limit = 1 if longer < _LONG else 2
    return longer - shorter <= limit and _edits(part, other) <= limit


def _edits(one: str, other: str) -> int:
    """The letters to insert, remove, replace or swap with the next: the optimal string alignment distance."""
    before: list[int] = []
    above = list(range(len(other) + 1))
    for row, letter in enumerate(one, 1):
        current = [row]
        for column, each in enumerate(other, 1):
            cost = min(above[column] + 1, current[-1] + 1, above[column - 1] + (letter != each))
            if row > 1 and column > 1 and letter == other[column - 2] and one[row - 2] == each:
                cost = min(cost, before[column - 2] + 1)
            current.append(cost)
        before, above = above, current
    return above[-1]
