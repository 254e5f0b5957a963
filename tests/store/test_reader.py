"""Files of runs that were cut, changed or written twice: what is read of them, and what is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench import store
from bench.errors import StoreError
from bench.model.run import Footer
from tests.store.kit import FOOTER, GOLDEN, case, golden_run, header, record
from tests.store.test_files import started


@given(st.integers(0, len(GOLDEN.read_bytes())))
def test_a_file_cut_anywhere_yields_every_whole_record_before_the_cut(tmp_path_factory, offset: int) -> None:
    content = GOLDEN.read_bytes()[:offset]
    path = tmp_path_factory.mktemp("cut") / "run.jsonl"
    path.write_bytes(content)
    whole = content.count(b"\n")
    if whole == 0:
        with pytest.raises(StoreError):
            store.read(path)
        return
    run = store.read(path)
    assert run.header == golden_run().header
    assert run.records == golden_run().records[: whole - 1]
    assert (run.footer is not None) == (whole == 4)
    assert bool(run.damage) == (not content.endswith(b"\n"))


@settings(max_examples=300)
@given(st.lists(st.tuples(st.integers(0, len(GOLDEN.read_bytes()) - 1), st.integers(0, 255)), min_size=1, max_size=8))
def test_a_file_with_any_bytes_changed_is_read_or_refused(tmp_path_factory, changes: list[tuple[int, int]]) -> None:
    content = bytearray(GOLDEN.read_bytes())
    for offset, value in changes:
        content[offset] = value
    path = tmp_path_factory.mktemp("flipped") / "run.jsonl"
    path.write_bytes(content)
    try:
        run = store.read(path)
    except StoreError as error:
        message = str(error)
    else:
        assert len(store.load_frame([path])) == len(store.frame([run]))
        return
    assert message.startswith(str(path))
    with pytest.raises(StoreError):
        store.load_frame([path])


def test_a_bad_line_in_the_middle_is_skipped_and_told(tmp_path: Path) -> None:
    path = started(tmp_path, 3)
    lines = path.read_bytes().splitlines(keepends=True)
    lines[2] = b"rubbish\n"
    path.write_bytes(b"".join(lines))
    run = store.read(path)
    assert [found.replicate for found in run.records] == [0, 2]
    assert f"{path}:3: skipped, not a line of a trtbench run" in run.damage


def test_much_damage_is_summed_up(tmp_path: Path) -> None:
    path = started(tmp_path, 1)
    with path.open("ab") as file:
        file.write(b"?\n" * 1000)
    run = store.read(path)
    assert run.damage.endswith("; and 995 more")
    assert run.damage.count("skipped") == 5
    assert len(run.records) == 1


def test_of_two_records_of_one_case_and_replicate_the_last_counts(tmp_path: Path) -> None:
    writer = store.create(tmp_path, header())
    for samples in ((1,), (2,)):
        writer.append(record(samples=samples))
        writer.append(record(replicate=1, samples=samples))
    writer.append(record(case(backend="other")))
    writer.close()
    run = store.read(writer.path)
    assert [found.measurements[0].samples for found in run.records] == [(2,), (2,), (10, 20, 30)]
    for table in (store.load_frame([writer.path]), store.frame([run])):
        assert table["median_ns"].tolist() == [2, 2, 20]


def test_the_last_footer_counts_unless_records_follow_it(tmp_path: Path) -> None:
    stopped = Footer(finished="1", status="interrupted", records=0)
    writer = store.create(tmp_path, header())
    writer.finish(stopped)
    assert store.read(writer.path).footer == stopped
    writer, _ = store.reopen(writer.path)
    writer.append(record())
    assert store.read(writer.path).footer is None
    writer.finish(FOOTER)
    assert store.read(writer.path).footer == FOOTER
