"""Lines of records read with their samples packed: the digits of all series become one array, without a Python number
for each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from bench.model.run import Record
from bench.stats import Ascending

if TYPE_CHECKING:
    import numpy as np

_SAMPLES = b'"samples":['
_RECORD = msgspec.json.Decoder(Record)
_LARGEST = 10**18  # above every time that is possible, below what an array's numbers end at


def decode(line: bytes) -> tuple[Record, bytes] | None:
    """The record of a line of the current schema with its samples as ``Ascending``, and the line without them.

    None for a line that is not as this version writes them, has a sample of 0 or samples in blocks, or is damaged:
    whoever decodes it in the usual way learns what it is. msgspec's errors if it is damaged beside the samples.
    """
    head, *pieces = line.split(_SAMPLES)
    beside, texts = [head], []
    for piece in pieces:
        text, _, after = piece.partition(b"]")
        texts.append(text)
        beside.append(after)
    values = _numbers(b",".join(texts))
    if values is None:
        return None
    rest = (_SAMPLES + b"]").join(beside)
    record = _RECORD.decode(rest)
    if len(record.measurements) != len(texts):
        return None
    series = _series(values, [text.count(b",") + 1 for text in texts])
    for measured, before, samples in zip(record.measurements, beside, series, strict=False):
        if (
            measured.samples
            or measured.blocks
            or not before.endswith(b'{"boundary":"%b",' % measured.boundary.encode())
        ):
            return None
        # Nothing else has the record yet, and to make it anew would take as long as to read it.
        msgspec.structs.force_setattr(measured, "samples", samples)
    return record, rest


def _numbers(text: bytes) -> np.ndarray[Any, np.dtype[Any]] | None:
    """The whole numbers of ``text``, from 1, between its commas; None if it has anything else."""
    import numpy as np

    if not text or text.translate(None, b"0123456789,"):
        return None
    characters = np.frombuffer(b"," + text + b",", np.uint8)
    if ((characters[:-1] == ord(",")) & (characters[1:] <= ord("0"))).any():  # an empty place, or a 0 in front
        return None
    values = np.fromstring(text, np.int64, sep=",")
    most = values.max()
    if most >= _LARGEST:
        return None
    return values.astype(np.uint32) if most < 2**32 else values


def _series(values: np.ndarray[Any, np.dtype[Any]], sizes: list[int]) -> list[Ascending]:
    """The next so many of the values for each of ``sizes``."""
    if min(sizes) == max(sizes):  # sorted by one call
        table = values.reshape(len(sizes), -1)
        table.sort(axis=1)
        return [Ascending.of(row) for row in table]
    series, begin = [], 0
    for size in sizes:
        part = values[begin : begin + size]
        part.sort()
        series.append(Ascending.of(part))
        begin += size
    return series
