"""Records of which the samples stay text until they are first read: most tables read one boundary of seven."""

from __future__ import annotations

import msgspec

from bench.model.run import Measurement, Record
from bench.model.samples import SortedSamples
from bench.model.suite import Boundary

# A search for 18 digits in a row, by a table that makes all of them one: many times faster than an expression.
_ONE_DIGIT = bytes.maketrans(b"123456789", b"0" * 9)
_DIGITS = b"0123456789"
LONG_TIME = b"0" * 18  # what has fewer digits is below the longest time that a record may have
LONG_NUMBER = b"0" * 19


class _Text(Measurement, frozen=True, kw_only=True):
    samples: msgspec.Raw  # type: ignore[assignment]
    parts: dict[str, msgspec.Raw] = {}  # type: ignore[assignment]


class _TextRecord(Record, frozen=True, kw_only=True):
    measurements: tuple[_Text, ...] = ()


_DECODER = msgspec.json.Decoder(_TextRecord)


def digits_of(line: bytes) -> bytes:
    """``line`` with all digits the same, for a search for long numbers."""
    return line.translate(_ONE_DIGIT)


def decode(line: bytes, long_times: bool, zero: tuple[Boundary, ...]) -> Record | None:
    """The record of a line of the present schema, its samples ``SortedSamples`` and without ``parts``.

    ``long_times`` says whether LONG_TIME is in digits_of(``line``); ``zero`` are the boundaries that may have a time of
    0. None for what is not surely a series of possible times as this version writes it, and for samples in blocks,
    whose order counts: then the line is to be decoded and checked in full.
    """
    try:
        text = _DECODER.decode(line)
    except (ValueError, RecursionError):
        return None
    measurements = []
    for measured in text.measurements:
        if measured.blocks or any(_length(bytes(part), long_times, True) is None for part in measured.parts.values()):
            return None
        samples = bytes(measured.samples)
        length = _length(samples, long_times, measured.boundary in zero)
        if length is None:
            return None
        measurements.append(_measurement(measured, SortedSamples.of_text(samples, length)))
    return Record(**msgspec.structs.asdict(text) | {"measurements": tuple(measurements)})


def _measurement(text: _Text, samples: SortedSamples) -> Measurement:
    """All of ``text`` but its samples and parts; a call with a mapping of fields would take five times as long."""
    return Measurement(
        boundary=text.boundary,
        samples=samples,  # type: ignore[arg-type]
        batch=text.batch,
        stop=text.stop,
        calls=text.calls,
        window_ns=text.window_ns,
        lane_count=text.lane_count,
        depth=text.depth,
        marked=text.marked,
        totals=text.totals,
        cpu_ns=text.cpu_ns,
        preemptions=text.preemptions,
        blocks=text.blocks,
        threads=text.threads,
        processes=text.processes,
    )


def _length(series: bytes, long_times: bool, zero: bool) -> int | None:
    """How many times a valid JSON value has that is a list of times; None if it is not surely one."""
    if series == b"[]":
        return 0
    commas = series.translate(None, _DIGITS)
    length = len(commas) - 1
    if commas != b"[" + b"," * (length - 1) + b"]":
        return None
    # rfind takes about half the time that ``in`` does.
    if not zero and (series.startswith(b"[0") or series.endswith(b",0]") or series.rfind(b",0,") >= 0):
        return None
    return None if long_times and LONG_TIME in digits_of(series) else length
