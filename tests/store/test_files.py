"""Runs on disk: nothing appended is ever lost, and a full or foreign store is refused."""

from __future__ import annotations

import contextlib
import errno
import random
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from bench import store
from bench.errors import StoreError
from bench.model.run import Footer
from bench.store import codec
from tests.store.kit import FOOTER, GOLDEN, golden_run, header, record, replicates, started


@contextlib.contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    """No file can grow past ``size`` bytes: writes stop short and then fail, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_the_times_of_a_run_are_those_of_all_its_sittings(tmp_path: Path) -> None:
    path = started(tmp_path, 1)
    for more, times in ((0, {"imports": 5, "start_up": 1}), (1, {"imports": 3, "measuring": 2})):
        writer, _ = store.reopen(path)
        with contextlib.closing(writer):
            for replicate in range(1, 1 + more):
                writer.append(record(replicate=replicate))
            writer.finish(msgspec.structs.replace(FOOTER, records=writer.records, times=times))
    run = store.read(path)
    assert run.times == {"imports": 8, "start_up": 1, "measuring": 2}
    assert (run.footer and run.footer.times, run.damage) == ({"imports": 3, "measuring": 2}, "")


@pytest.mark.parametrize("ns", [-1, 10**18])
def test_times_that_cannot_be_are_damage(tmp_path: Path, ns: int) -> None:
    path = started(tmp_path, 1)
    lines = [
        msgspec.structs.replace(record(replicate=1), times={"imports": ns}),
        Footer(finished="", status="complete", records=2, times={"waiting": ns}),
    ]
    with path.open("ab") as file:
        file.writelines(map(codec.encode, lines))
    run = store.read(path)
    assert (len(run.records), run.footer, run.times) == (1, None, {})
    assert f":3: skipped, not a possible record: the time of 'imports' is {ns} ns" in run.damage
    assert f":4: skipped, not a possible footer: the time of 'waiting' is {ns} ns" in run.damage


# -------------------------------------------------------------------------------------------------------------- writing


def test_what_was_appended_is_read_back(tmp_path: Path) -> None:
    run = golden_run()
    assert run.footer is not None
    writer = store.create(tmp_path, run.header)
    for item in run.records:
        writer.append(item)
    assert writer.records == 2
    writer.finish(run.footer)
    writer.close()
    assert writer.path.read_bytes() == GOLDEN.read_bytes()
    assert store.read(writer.path) == msgspec.structs.replace(run, path=str(writer.path))
    assert sorted(path.name for path in writer.path.parent.iterdir()) == [writer.path.name]


def test_a_second_run_of_the_same_name_is_refused_and_the_first_kept(tmp_path: Path) -> None:
    path = started(tmp_path)
    before = path.read_bytes()
    with pytest.raises(StoreError, match="File exists"):
        store.create(tmp_path, header())
    assert path.read_bytes() == before
    assert list(path.parent.iterdir()) == [path]


def test_a_header_that_cannot_be_written_leaves_no_file(tmp_path: Path) -> None:
    with file_size_limit(100), pytest.raises(StoreError, match="free some disk space"):
        store.create(tmp_path, header())
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("room", [0, 1, 100])
def test_a_full_disk_says_what_to_do_and_leaves_whole_lines_only(tmp_path: Path, room: int) -> None:
    path = started(tmp_path, 1)
    writer, _ = store.reopen(path)
    before = path.read_bytes()
    with file_size_limit(len(before) + room), pytest.raises(StoreError) as caught:
        writer.append(record(replicate=1))
    assert "free some disk space" in caught.value.fix
    assert f"trtbench run --resume {path}" in caught.value.fix
    assert path.read_bytes() == before
    assert writer.records == 1
    writer.append(record(replicate=2))
    assert replicates(path) == [0, 2]


def test_what_a_failed_write_left_behind_is_removed_by_the_next(tmp_path: Path) -> None:
    writer = store.create(tmp_path, header())
    with writer.path.open("ab") as file:  # as if a signal had come before the write was undone
        file.write(b'{"line":"rec')
    writer.append(record())
    run = store.read(writer.path)
    assert run.damage == ""
    assert run.records == (record(),)


def test_a_resumed_run_goes_on_after_its_last_record(tmp_path: Path) -> None:
    path = started(tmp_path, 2)
    writer, run = store.reopen(path)
    assert [found.replicate for found in run.records] == [0, 1]
    writer.append(record(replicate=2))
    writer.finish(FOOTER)
    assert replicates(path) == [0, 1, 2]
    assert store.read(path).footer == FOOTER


def test_a_torn_line_is_kept_aside_when_a_run_is_resumed(tmp_path: Path) -> None:
    path = started(tmp_path, 2)
    whole = path.read_bytes()
    for torn in (b'{"line":"rec', b'{"line":"record","case"' + b"x" * 200_000):
        path.write_bytes(whole + torn)
        writer, run = store.reopen(path)
        writer.close()
        assert f"{path.name}:4: the last line is torn ({len(torn)} bytes)" in run.damage
        assert path.read_bytes() == whole
    assert path.with_suffix(".torn").read_bytes() == b'{"line":"rec\n{"line":"record","case"' + b"x" * 200_000 + b"\n"


def test_only_one_process_at_a_time_writes_a_run(tmp_path: Path) -> None:
    writer = store.create(tmp_path, header())
    with pytest.raises(StoreError, match="another process is writing this run"):
        store.reopen(writer.path)
    writer.append(record())
    writer.close()
    again, _ = store.reopen(writer.path)
    with pytest.raises(StoreError, match="another process is writing this run"):
        store.reopen(writer.path)
    again.close()
    store.reopen(writer.path)[0].close()
    assert replicates(writer.path) == [0]


@pytest.mark.parametrize("content", [b"", b"\x00\xff", b"{}\n", codec.encode(header())[:-1], codec.encode(FOOTER)])
def test_a_file_that_is_no_run_is_neither_read_nor_resumed_nor_changed(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.jsonl"
    path.write_bytes(content)
    for use in (store.read, store.reopen, lambda path: store.load_frame([path])):
        with pytest.raises(StoreError, match=r"x\.jsonl"):
            use(path)
    assert path.read_bytes() == content
    assert list(tmp_path.iterdir()) == [path]


def test_a_missing_file_and_a_folder_are_store_errors(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "nothing.jsonl"):
        for use in (store.read, store.reopen):
            with pytest.raises(StoreError, match="cannot be"):
                use(path)


def test_a_run_of_an_older_schema_is_read_but_not_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = started(tmp_path, 2)
    monkeypatch.setattr(codec, "SCHEMA", 3)
    monkeypatch.setattr(codec, "MIGRATIONS", {2: lambda line: line})
    assert replicates(path) == [0, 1]
    with pytest.raises(StoreError, match="older trtbench"):
        store.reopen(path)


def test_a_writable_store_is_left_as_it_was(tmp_path: Path) -> None:
    store.check_writable(tmp_path)
    store.check_writable(tmp_path / "not" / "yet" / "there")
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_cannot_be_written_is_refused_with_another_choice(tmp_path: Path) -> None:
    file = tmp_path / "results"
    file.write_text("mine")
    dangling = tmp_path / "link"
    dangling.symlink_to(tmp_path / "gone" / "away")
    for root in (file, file / "below", dangling, Path("/proc/results")):
        with pytest.raises(StoreError, match="--store DIR") as caught:
            store.check_writable(root)
        assert caught.value.where == str(root)
    assert file.read_text() == "mine"


def test_a_full_store_is_refused_before_a_run(tmp_path: Path) -> None:
    with file_size_limit(4096), pytest.raises(StoreError, match="free some disk space"):
        store.check_writable(tmp_path)
    assert list(tmp_path.iterdir()) == []


APPEND_FOR_EVER = """
import sys
from pathlib import Path
from bench import store
from tests.store.kit import record
writer, run = store.reopen(Path(sys.argv[1]))
number = 1 + max((found.replicate for found in run.records), default=-1)
samples = tuple(range(1_000_000, 1_002_000))
while True:
    writer.append(record(replicate=number, samples=samples))
    print(number, flush=True)
    number += 1
"""


@pytest.mark.workers
@pytest.mark.parametrize("kills", [10, pytest.param(60, marks=pytest.mark.long)])
def test_a_kill_at_any_moment_loses_no_record_whose_append_returned(tmp_path: Path, kills: int) -> None:
    path = started(tmp_path, 0)
    told: list[int] = []
    rng = random.Random(7)
    command = [sys.executable, "-c", APPEND_FOR_EVER, str(path)]
    for _ in range(kills):
        with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[2]) as child:
            assert child.stdout is not None
            lines = [child.stdout.readline() for _ in range(rng.randint(1, 40))]
            child.kill()
            lines += child.stdout.readlines()
        told += [int(line) for line in lines if line.endswith(b"\n")]
        kept = replicates(path)
        assert set(told) <= set(kept)
        assert kept == list(range(len(kept)))
    assert len(told) >= kills


class Interrupt(Exception):
    """Raised by a signal handler, as KeyboardInterrupt is."""


def test_an_interrupt_at_any_moment_splits_no_line(tmp_path: Path) -> None:
    writer = store.create(tmp_path, header())
    item = record(samples=tuple(range(1, 501)))
    appended = []
    interrupts = number = 0
    armed = False

    def interrupt(*_: object) -> None:
        nonlocal armed, interrupts
        if armed:
            armed = False
            interrupts += 1
            raise Interrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 0.0003, 0.00071)
    try:
        while interrupts < 200:
            number += 1
            try:
                armed = True
                writer.append(msgspec.structs.replace(item, replicate=number))
                appended.append(number)
                armed = False
            except Interrupt:
                continue
    finally:
        armed = False
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    footer = msgspec.structs.replace(FOOTER, records=writer.records)
    writer.finish(footer)
    run = store.read(writer.path)
    assert run.damage == ""
    assert writer.rescues == []
    assert run.footer == msgspec.structs.replace(footer, records=len(run.records))
    assert set(appended) <= {found.replicate for found in run.records}


def test_a_store_that_may_not_be_read_is_not_told_as_empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StoreError, match="there are no runs"):
        store.resolve(tmp_path, None)
    monkeypatch.setattr("os.access", lambda *_: False)  # root may read everything
    with pytest.raises(StoreError, match=r"cannot be read: Permission denied\n  fix: ls -ld "):
        store.resolve(tmp_path, None)


def test_a_run_that_may_not_be_read_says_where_to_look(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a b.jsonl"
    path.touch()

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(StoreError) as caught:
        store.read(path)
    assert (caught.value.what, caught.value.fix) == ("cannot be read: Permission denied", f"ls -l '{path}'")
