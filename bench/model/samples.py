"""Samples of a measurement, sorted and packed: a run of thousands of records fits in memory."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, overload

if TYPE_CHECKING:
    import numpy as np


class SortedSamples(Sequence[int]):
    """Whole numbers in ascending order, packed: most take 4 bytes each, and nothing here sorts them again.

    ``total`` is their sum, ``squares`` that of their squares, both exact. Equal to any sequence of the same numbers.
    """

    __slots__ = ("_length", "_sums", "_text", "_values")
    _length: int
    _sums: tuple[int, int] | None
    _text: bytes  # from which _values are made when first read
    _values: np.ndarray[Any, np.dtype[Any]] | None

    def __init__(self, samples: Sequence[int]) -> None:
        self._set(self._ordered(samples))

    def _set(self, values: np.ndarray[Any, np.dtype[Any]]) -> None:
        self._values, self._length, self._sums, self._text = values, len(values), None, b""

    @staticmethod
    def _ordered(samples: Sequence[int]) -> np.ndarray[Any, np.dtype[Any]]:
        import numpy as np

        values: np.ndarray[Any, np.dtype[Any]]
        try:
            values = np.fromiter(samples, np.int64, len(samples))
        except OverflowError:
            values = np.array(samples, object)
        values.sort()
        least, most = (values.item(0), values.item(-1)) if len(values) else (0, 0)
        return values.astype(np.uint32) if least >= 0 and most < 2**32 else values

    @classmethod
    def of_text(cls, text: bytes, length: int) -> SortedSamples:
        """The ``length`` numbers of a JSON list, which is read when the first of them is asked for."""
        whole = cls.__new__(cls)
        whole._values, whole._length, whole._sums, whole._text = None, length, None, text
        return whole

    @property
    def values(self) -> np.ndarray[Any, np.dtype[Any]]:
        """The numbers, shape (length,); what a caller changes in them changes this."""
        if self._values is None:
            self._values = self._ordered(_reader_of_text()(self._text))
            self._text = b""
        return self._values

    @property
    def unread(self) -> bool:
        """Whether the numbers are still text."""
        return self._values is None

    @classmethod
    def joined(cls, parts: Sequence[SortedSamples]) -> SortedSamples:
        """The numbers of all ``parts``."""
        import numpy as np

        if len(parts) == 1:
            return parts[0]
        whole = cls.__new__(cls)
        values = np.concatenate([part.values for part in parts])
        values.sort()
        whole._set(values)
        return whole

    @property
    def total(self) -> int:
        """The sum, exact."""
        return self._summed()[0]

    @property
    def squares(self) -> int:
        """The sum of the squares, exact."""
        return self._summed()[1]

    def _summed(self) -> tuple[int, int]:
        """Computed when first asked for, as most series of a run are only stored."""
        import numpy as np

        if self._sums is None:
            values = self.values
            largest = max(-values.item(0), values.item(-1)) if len(values) else 0
            exact = values.astype(np.int64 if largest**2 * len(values) < 2**63 else object)
            self._sums = int(exact.sum()), int(exact.dot(exact))
        return self._sums

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[int]: ...
    def __getitem__(self, index: int | slice) -> int | Sequence[int]:
        found: int | Sequence[int] = (
            self.values[index].tolist() if isinstance(index, slice) else self.values.item(index)
        )
        return found

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[int]:
        return iter(self.values.tolist())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and list(self) == list(other)

    def __hash__(self) -> int:
        return hash(tuple(self))


@functools.cache
def _reader_of_text() -> Callable[[bytes], list[int]]:
    import msgspec

    return msgspec.json.Decoder(list[int]).decode
