"""Which of the names that a function takes another name is misspelt from."""

from __future__ import annotations

from collections.abc import Iterable

# Words from this length may differ in two places, one of them a wrong letter; in shorter ones that makes other words:
# `test` and `text`, `state` and `stage`.
_LONG = 8
# Two shorter words are each their own: `x` and `y`, `q_mask` and `k_mask`.
_SHORTEST = 3
_KEYS = {
    letter: (row, column)
    for row, letters in enumerate(("qwertyuiop", "asdfghjkl", "zxcvbnm"))
    for column, letter in enumerate(letters)
}
_NEIGHBOURS = {(0, 1), (0, -1), (1, 0), (1, -1), (-1, 0), (-1, 1)}  # each row is shifted by half a key


def misspelt_from(word: str, names: Iterable[str]) -> str | None:
    """The first of ``names`` that ``word`` is a misspelling of; None if it is none.

    Far stricter than ``errors.did_you_mean``, which guesses for a name that is wrong in any case: here ``word`` may be
    right. Each part between underscores must begin like that of the name, and lack a letter, have one more, or two
    swapped, at most. From ``_LONG`` letters on there may be two such edits, of which one may be the letter of a
    neighbouring key. Or only case and underscores differ. Digits are never a misspelling: ``image2`` is not ``image1``.
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
    shorter, longer = sorted((part, other), key=len)
    # A name that begins or ends with an underscore, or has two in a row, has empty parts.
    if not shorter or len(longer) < _SHORTEST or part[0] != other[0]:
        return False
    return _is_within(longer, shorter, 1 if len(longer) < _LONG else 2, wrong=len(longer) >= _LONG)


def _is_within(longer: str, shorter: str, edits: int, *, wrong: bool) -> bool:
    """Whether at most ``edits`` turn ``longer`` into ``shorter``: a letter removed, two swapped, and where it may be
    ``wrong`` once replaced by that of a neighbouring key. One is never removed and another inserted: that replaces it.
    """
    if longer == shorter:
        return True
    if not edits or len(longer) < len(shorter):
        return False
    at = next((n for n, pair in enumerate(zip(longer, shorter, strict=False)) if pair[0] != pair[1]), len(shorter))
    longer, shorter = longer[at:], shorter[at:]
    if _is_within(longer[1:], shorter, edits - 1, wrong=wrong):
        return True
    if (
        len(shorter) > 1
        and longer[:2] == shorter[1::-1]
        and _is_within(longer[2:], shorter[2:], edits - 1, wrong=wrong)
    ):
        return True
    return (
        wrong
        and _are_neighbours(longer[0], shorter[:1])
        and _is_within(longer[1:], shorter[1:], edits - 1, wrong=False)
    )


def _are_neighbours(letter: str, other: str) -> bool:
    if letter not in _KEYS or other not in _KEYS:
        return False
    (row, column), (other_row, other_column) = _KEYS[letter], _KEYS[other]
    return (row - other_row, column - other_column) in _NEIGHBOURS
