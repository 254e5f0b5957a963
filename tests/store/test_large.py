"""Runs of many records: packed when they are read for tables, and written and resumed in proportion to their number."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from bench import store
from bench.model.run import Measurement
from bench.model.samples import SortedSamples
from bench.report import export, text
from bench.runner.resume import remaining
from tests.counting import assert_linear
from tests.report.conftest import example
from tests.store.kit import FOOTER, GOLDEN, GOLDEN_V1, case, header, record


def stored(root: Path, size: int) -> Path:
    cases = tuple(case(symbols={"batch": number + 1}) for number in range(size))
    with contextlib.closing(store.create(root / str(size), header(cases))) as writer:
        for each in cases:
            writer.append(record(each, samples=(30, 10, 20)))
        writer.finish(FOOTER)
    return writer.path


def test_packed_records_have_their_samples_in_order_and_no_parts(tmp_path: Path) -> None:
    of = case()
    loop = Measurement(boundary="throughput", samples=(3, 1, 2), calls=3, window_ns=6, parts={"h2d": (1, 1, 1)})
    with contextlib.closing(store.create(tmp_path, header())) as writer:
        writer.append(msgspec.structs.replace(record(of), measurements=(loop,)))
    (packed,) = store.read(writer.path, packed=True).records
    (measured,) = packed.measurements
    assert isinstance(measured.samples, SortedSamples)
    assert measured == msgspec.structs.replace(loop, samples=(1, 2, 3), parts={})
    assert store.read(writer.path).records[0].measurements == (loop,)


def test_packed_records_have_samples_in_blocks_as_they_were_taken(tmp_path: Path) -> None:
    blocks = Measurement(boundary="latency", samples=(30, 10, 20), blocks=(1, 2))
    with contextlib.closing(store.create(tmp_path, header())) as writer:
        writer.append(msgspec.structs.replace(record(case()), measurements=(blocks,)))
    assert store.read(writer.path, packed=True).records[0].measurements == (blocks,)


def test_only_the_records_of_some_cases_are_read(tmp_path: Path) -> None:
    cases = case("a"), case("b")
    writer = store.create(tmp_path, header(cases))
    for replicate in range(2):
        for of in cases:
            writer.append(record(of, replicate))
    writer.finish(msgspec.structs.replace(FOOTER, records=4))
    some = store.read(writer.path, only={cases[1].id})
    assert [each.case for each in some.records] == [cases[1].id] * 2
    assert (some.damage, some.header.cases) == ("", cases)
    assert some.footer is not None
    assert some.footer.records == 4
    assert store.read(writer.path, only=set()).records == ()


@pytest.mark.parametrize("path", [GOLDEN, GOLDEN_V1], ids=lambda path: path.stem)
def test_tables_of_packed_records_are_the_same_to_the_last_bit(path: Path) -> None:
    whole, packed = store.read(path), store.read(path, packed=True)
    for form in (export.markdown, export.csv, export.json):
        assert form(packed) == form(whole)


def test_tables_of_a_run_that_is_packed_are_the_same_to_the_last_bit(tmp_path: Path) -> None:
    run = example(3)
    with contextlib.closing(store.create(tmp_path, run.header)) as writer:
        for each in run.records:
            writer.append(each)
    whole, packed = store.read(writer.path), store.read(writer.path, packed=True)
    for form in (export.markdown, export.csv, export.json):
        assert form(packed) == form(whole)
    long = {"verbose": True, "phases": True, "stats": True}
    assert text.render(packed, **long) == text.render(whole, **long)


@pytest.mark.parametrize("samples", [(30, -1, 20, -5), (30, 10**18, 2**70), (5, 0, 7)])
def test_damage_is_told_alike_of_packed_records(tmp_path: Path, samples: tuple[int, ...]) -> None:
    with contextlib.closing(store.create(tmp_path, header())) as writer:
        writer.append(record())
    with writer.path.open("ab") as file:
        line = msgspec.json.encode(record(replicate=1))
        numbers = ",".join(map(str, samples)).encode()
        file.write(b'{"line":"record",' + line[1:].replace(b"10,20,30", numbers) + b"\n")
    whole, packed = store.read(writer.path), store.read(writer.path, packed=True)
    assert "a time of latency is" in whole.damage
    assert packed.damage == whole.damage
    assert len(packed.records) == len(whole.records) == 1


def test_twice_the_records_take_twice_the_work_to_write(tmp_path: Path) -> None:
    assert_linear(lambda size: lambda: stored(tmp_path, size), 64)


def test_twice_the_records_take_twice_the_work_to_read_and_resume(tmp_path: Path) -> None:
    def work(size: int) -> Callable[[], object]:
        path = stored(tmp_path, size)

        def resume() -> None:
            run = store.read(path)
            assert len(remaining(run.header.cases, run.records, 2)) == size
            writer, _ = store.reopen(path)
            writer.close()

        return resume

    assert_linear(work, 128)
