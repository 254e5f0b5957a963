"""The parts of one output that are judged by themselves: slices along each axis, and groups of small values.

One norm over an output whose parts have unlike magnitudes, as boxes of some hundred pixels and scores below one, sees
only the largest of them.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec
import numpy as np

Array = np.ndarray[Any, Any]

# A slice with this many values that matter is judged whatever its size beside others: rounding errors of larger values
# do not leave so many small ones by chance, unless these are nearly one value.
_MATTER = 8
# Any other slice must differ by this many times what the rest of the output differs by.
_NOISE = 4.0
# Slices are nearly one value each where this share of their values matters. It is 1 for constants, 0.74 where values
# deviate by 30 % of their mean, 0.56 for a uniform distribution from zero on, 0.33 for a normal one around zero.
_EVEN = 0.8
# The density of a normal distribution at zero, both signs together, in units of its root mean square; and how many
# times smaller than the root mean square of others a norm must be to be one of their small ones.
_DENSITY, _BELOW = 0.8, 1.5
_IMPROBABLE = 6.0  # minus the natural logarithm of the probability below which nothing is chance
# Octaves of magnitude that make a group, and the least shares of all values for a group, and for one of a single value.
_OCTAVES = 3
_SHARE, _SHARE_OF_ONE = 1 / 200, 1 / 8
_OCTAVE_COUNT = 2048  # exponents of float64


class Part(msgspec.Struct, frozen=True, kw_only=True):
    """A part of an output, by its index or its magnitude, and its |x - r| / |r|; infinite if only r is zero."""

    name: str
    rel_l2: float


class Parts:
    """Sums of squares of one output by slice and by magnitude, filled block by block.

    ``limit`` is the rel_l2 above which a part is wrong. ``step`` is the least difference of two values of the
    precision: errors of a part up to it in each value are none.
    """

    def __init__(self, shape: tuple[int, ...], limit: float, step: float) -> None:
        self._shape = shape
        self._limit = limit
        self._step = step
        self._size = math.prod(shape)
        axes = [axis for axis, length in enumerate(shape) if length > 1 and self._size // length >= _MATTER]
        self._slices = {axis: np.zeros((3, shape[axis])) for axis in axes}
        self._octaves = np.zeros((4, _OCTAVE_COUNT))

    def add(self, index: tuple[slice, ...], error: Array, reference: Array) -> None:
        """The block at ``index``: |x - r| and |r| in float64, all finite and in C order."""
        squares, references = error * error, reference * reference
        # The exponent's bits are the octave; that of zeros, which have no magnitude, is emptied.
        bins = (reference.reshape(-1).view(np.int64) >> 52).astype(np.intp)
        wrong = (error > self._limit * reference).reshape(-1)
        for row, weights in enumerate((squares.reshape(-1), references.reshape(-1), wrong, None)):
            self._octaves[row] += np.bincount(bins, weights, _OCTAVE_COUNT)
        self._octaves[:, 0] = 0
        self._add_slices(index, 0, squares)
        self._add_slices(index, 1, references)
        self._add_slices(index, 2, np.square(references, out=references))

    def worst(self) -> Part | None:
        """The part that differs most, of those that can be told from the rounding error of larger values."""
        with np.errstate(all="ignore"):
            slices = max(self._worst_slices(), key=lambda part: part.rel_l2, default=None)
            groups = max(self._worst_groups(), key=lambda part: part.rel_l2, default=None)
        # A slice says where to look: a group is named only where it says more.
        return groups if slices is None or (groups and groups.rel_l2 > 1.2 * slices.rel_l2) else slices

    def _add_slices(self, index: tuple[slice, ...], row: int, values: Array) -> None:
        """Add the sums over all axes but one: those behind it are summed as they pass, those before it at once."""
        for axis in range(len(self._shape) - 1, -1, -1):
            if axis in self._slices:
                flat = values.reshape(-1, values.shape[-1])
                self._slices[axis][row, index[axis]] += np.ones(len(flat)) @ flat
            values = values.sum(-1)

    def _excess(self, errors: Array, references: Array, counts: Array | int) -> Array:
        """|x - r| beyond the steps of the precision, over |r|; 0 where nothing differs."""
        beyond = np.maximum(np.sqrt(errors) - self._step * np.sqrt(counts), 0)
        return np.where(beyond > 0, beyond / np.sqrt(references), 0)

    def _is_even(self, axis: int) -> bool:
        """Whether the larger slices along ``axis`` are nearly one value each, so that by chance one may be small."""
        _, references, fourths = self._slices[axis]
        count = self._size // self._shape[axis]
        return bool(_matter(references, fourths) @ references > _EVEN * count * references.sum())

    def _worst_slices(self) -> list[Part]:
        parts = []
        for axis, (errors, references, fourths) in self._slices.items():
            length = self._shape[axis]
            count = self._size // length
            rest = (errors.sum() - errors) / (length - 1)
            judged, outlying = _matter(references, fourths) >= _MATTER, errors > _NOISE**2 * rest
            if self._is_even(axis):
                large = references > references.mean() / 4
                natural, counts = _small_by_chance(np.sqrt(references))
                judged &= large | _is_improbable(counts, natural)
                # Errors too are one draw per slice, so that some are large: Student's tail says how many.
                tail = (1 + errors / rest / (length - 1)) ** (-(length - 1) / 2)
                outlying &= large | _is_improbable(1, natural * tail)
            judged |= outlying
            relative = np.where(judged, self._excess(errors, references, count), 0)
            where = int(relative.argmax())
            index = ", ".join(str(where) if other == axis else ":" for other in range(len(self._shape)))
            parts.append(Part(name=f"[{index}]", rel_l2=float(relative[where])))
        return parts

    def _worst_groups(self) -> list[Part]:
        """Groups of small values with more wrong ones than larger values account for, which rounding errors of their
        size make wrong where they are near zero. Of these each octave has half as many as the next where a
        distribution is smooth, and 0.71 times as many of squares. Values of a slice that are nearly one count as one.
        """
        used = np.flatnonzero(self._octaves[3])
        if used.size < 2:
            return []
        low = int(used[0])
        octaves = np.pad(self._octaves[:, low : int(used[-1]) + 1], ((0, 0), (_OCTAVES - 1, 0)))
        errors, references, wrong, counts = (np.convolve(row, np.ones(_OCTAVES), "valid") for row in octaves)
        relative = self._excess(errors, references, counts)
        members = octaves[3][_OCTAVES - 1 :]
        # Values that are one draw: of those that the larger ones account for, the number is as uncertain as of so few.
        alike = max((self._size // self._shape[axis] for axis in self._slices if self._is_even(axis)), default=1)
        smooth, fade = members[-1] / math.sqrt(2), sum(2 ** (-octave / 2) for octave in range(_OCTAVES))
        halves, halving = members[-1] / 2, sum(2.0**-octave for octave in range(_OCTAVES))
        parts = []
        for octave in range(len(members) - 2, -1, -1):
            natural = fade * smooth
            least = max(self._size * (_SHARE if wrong[octave] > 1 else _SHARE_OF_ONE), natural + 4 * math.sqrt(natural))
            chance = alike > 1 and not _is_improbable(wrong[octave] / alike, halving * halves / alike)
            if members[octave] and wrong[octave] >= least and not chance:
                bound = 2.0 ** (low + octave - 1022)
                name = f"values below {bound:.2g} ({counts[octave] / self._size:.0%} of all)"
                parts.append(Part(name=name, rel_l2=float(relative[octave])))
            smooth = (smooth + members[octave]) / math.sqrt(2)
            halves = (halves + members[octave]) / 2
        return parts


def _matter(squares: Array, fourths: Array) -> Array:
    """How many values weigh in the norm of each slice, from its sums of squares and of fourth powers."""
    return np.where(fourths > 0, squares * squares / fourths, 0)


def _small_by_chance(norms: Array) -> tuple[Array, Array]:
    """How many of ``norms`` are expected up to each of them where their density is smooth, and how many there are."""
    order = np.sort(norms[norms > 0])
    numbers = np.arange(1, order.size + 1)
    sizes = np.sqrt(np.cumsum(order * order) / numbers)
    # The highest density that any number of the smallest norms implies: those above may be of another kind.
    densities = np.maximum.accumulate((numbers / sizes)[::-1])[::-1]
    first = np.minimum(np.searchsorted(sizes, _BELOW * norms), order.size - 1)
    return _DENSITY * norms * densities[first], np.searchsorted(order, norms, "right")


def _is_improbable(counts: Any, natural: Any) -> Any:
    """Whether ``counts`` or more are improbable where ``natural`` are expected: Chernoff's bound of Poisson's law."""
    return (counts > natural) & (counts * np.log(counts / natural) - counts + natural > _IMPROBABLE)
