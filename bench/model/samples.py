"""Samples of a measurement, sorted and packed: a run of thousands of records fits in memory."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, overload

if TYPE_CHECKING:
    import numpy as np


# Series that are read together: their text, of some hundred numbers each, stays in a core's cache.
_TOGETHER = 32


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
        """The ``length`` numbers of a JSON list, which is read when the first of them is asked for.

        ``text`` has brackets, digits and commas only.
        """
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
    def read_all(cls, several: Iterable[SortedSamples]) -> None:
        """Read the numbers of all, of many in a sixth of the time that it takes one by one: most series of a run have
        the same length, and many have numbers of as many digits.
        """
        alike: dict[tuple[int, int], list[SortedSamples]] = {}
        for each in several:
            if each._values is None:
                alike.setdefault((each._length, len(each._text)), []).append(each)
        for (length, _), members in alike.items():
            for first in range(0, len(members), _TOGETHER):
                part = members[first : first + _TOGETHER]
                places, values = _of_one_width([each._text for each in part], length)
                for place, own in zip(places, values, strict=True):
                    part[place]._values, part[place]._text = own, b""

    @classmethod
    def join(cls, parts: Sequence[SortedSamples]) -> SortedSamples:
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


def _of_one_width(
    texts: Sequence[bytes], length: int
) -> tuple[Sequence[int], Sequence[np.ndarray[Any, np.dtype[np.uint32]]]]:
    """The places and the numbers, in ascending order, of the lists whose numbers have the same count of digits, at most
    9; all ``texts`` are of one size, and lists of one ``length``.
    """
    import numpy as np

    width, more = divmod(len(texts[0]) - 1, length or 1)  # of a number and what follows it
    if more or not 2 <= width <= 10:
        return (), ()
    characters = np.frombuffer(b"".join([text[1:] for text in texts]), np.uint8).reshape(len(texts), length, width)
    alike = (characters[:, :-1, -1] == ord(",")).all(axis=1)
    if not alike.all():
        characters = characters[alike]
    values = characters[:, :, 0].astype(np.uint32)
    for place in range(1, width - 1):  # modulo 2^32, below which each number is
        values *= 10
        values += characters[:, :, place]
    values -= np.uint32(ord("0") * (10 ** (width - 1) // 9) % 2**32)
    values.sort()
    # Each takes the place of its text in memory; one array of all would not fit there.
    return np.flatnonzero(alike).tolist(), [own.copy() for own in values]


@functools.cache
def _reader_of_text() -> Callable[[bytes], list[int]]:
    import msgspec

    return msgspec.json.Decoder(list[int]).decode
