"""Records with unread samples: the same numbers, and the same damage told, as when every series is decoded at once."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from bench import store
from bench.model.run import Measurement, Record
from bench.model.samples import SortedSamples
from bench.store import checks, codec, packed
from tests.store.kit import GOLDEN, case, header, record


def _decode(line: bytes) -> Record | None:
    return packed.decode(line, packed.LONG_TIME in packed.digits_of(line), checks.MAY_BE_ZERO)


def _read(line: bytes) -> Measurement | None:
    of = _decode(line)
    return of.measurements[0] if of else None


def _line(samples: str) -> bytes:
    return codec.encode(record(samples=(12345,))).replace(b"[12345]", samples.encode())


@pytest.mark.parametrize("samples", [(30, 10, 20), (7,), (1, 2**32, 5), (10**17 - 1, 3)])
def test_samples_are_text_until_the_first_is_read(samples: tuple[int, ...]) -> None:
    measured = _read(codec.encode(record(samples=samples)))
    assert measured is not None
    assert isinstance(measured.samples, SortedSamples)
    assert len(measured.samples) == len(samples)
    assert measured.samples.unread
    assert list(measured.samples) == sorted(samples)
    assert not measured.samples.unread
    assert measured.samples.total == sum(samples)


def test_all_but_the_order_of_samples_and_parts_is_as_decoded_in_full() -> None:
    decoded = 0
    for line in GOLDEN.read_bytes().splitlines(keepends=True):
        of = (
            packed.decode(line, packed.LONG_TIME in packed.digits_of(line), checks.MAY_BE_ZERO)
            if b'"line":"record"' in line
            else None
        )
        if of is None:
            continue
        whole = codec.decode(line)
        assert isinstance(whole, Record)
        plain = (msgspec.structs.replace(m, samples=tuple(sorted(m.samples)), parts={}) for m in whole.measurements)
        assert of == msgspec.structs.replace(whole, measurements=tuple(plain))
        assert type(of) is Record
        decoded += bool(of.measurements)
    assert decoded


@pytest.mark.parametrize(
    "samples",
    ["[1, 2]", "[1.5]", "[-3,4]", "[0,4]", "[4,0]", "[1e3]", "[[1,2]]", "[null]", '["1"]', "7", "{}", f"[{10**17}]"],
)
def test_a_series_that_is_not_surely_possible_is_left_to_the_full_decoder(samples: str) -> None:
    assert _read(_line(samples)) is None


@pytest.mark.parametrize("samples", ["[-3,4]", "[4,0]", f"[1,{10**18}]", "[1.5]", "[[1,2]]", "[01]", "[1,]"])
def test_damage_is_told_as_by_the_full_decoder(tmp_path: Path, samples: str) -> None:
    writer = store.create(tmp_path, header((case(),)))
    writer.path.write_bytes(writer.path.read_bytes() + _line(samples))
    packed_run, run = store.read(writer.path, packed=True), store.read(writer.path)
    assert packed_run.damage == run.damage != ""
    assert packed_run.records == run.records == ()


def test_a_time_of_zero_is_possible_where_events_round_to_it() -> None:
    line = _line("[0,4]").replace(b'"latency"', b'"h2d"')
    measured = _read(line)
    assert measured is not None
    assert list(measured.samples) == [0, 4]


def test_every_field_of_a_measurement_is_kept() -> None:
    values = {"boundary": "throughput", "samples": (7, 9), "parts": {}, "stop": "max_samples", "totals": {"h2d": 5}}
    fields = {"marked": (1,), "blocks": ()} | values  # blocks are left to the full decoder
    numbers = (name for name in Measurement.__struct_fields__ if name not in fields)
    measured = Measurement(**fields, **{name: number for number, name in enumerate(numbers, 2)})
    of = _decode(codec.encode(msgspec.structs.replace(record(), measurements=(measured,))))
    assert of is not None
    assert of.measurements == (measured,)
