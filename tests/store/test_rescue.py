"""A results file that is replaced, moved, cut or changed while a run writes it: nothing is lost, and the run tells."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from bench import api, store
from bench.errors import StoreError
from bench.model.events import End, Event, Note
from bench.store import codec
from tests.conftest import Trtbench
from tests.store.kit import FOOTER, header, record


def replace(path: Path) -> None:
    """As ``sed -i``, rsync and ``git checkout`` do."""
    new = path.with_suffix(".new")
    new.write_bytes(path.read_bytes())
    new.rename(path)


def cut(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def swap_bytes(path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content.replace(b"10,20", b"10,21"))


def move(path: Path) -> None:
    path.rename(path.with_suffix(".moved"))


def add(path: Path) -> None:
    with path.open("ab") as file:
        file.write(codec.encode(record(replicate=9)))


def remove_folder(path: Path) -> None:
    shutil.rmtree(path.parent)


CHANGES = {
    replace: "was replaced by another file",
    cut: "was cut to ",
    swap_bytes: "was changed by another program",
    move: "was deleted or moved",
    Path.unlink: "was deleted or moved",
    add: "was written by another program",
    remove_folder: "was deleted or moved",
}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TRTBENCH_CACHE", str(tmp_path / "cache"))


@pytest.mark.parametrize("change", CHANGES)
def test_every_record_goes_on_in_a_new_file(tmp_path: Path, change: Callable[[Path], None]) -> None:
    writer = store.create(tmp_path / "results", header())
    for replicate in range(2):
        writer.append(record(replicate=replicate))
    before = writer.path
    change(before)
    for replicate in range(2, 4):
        writer.append(record(replicate=replicate))
    assert writer.path.name == f"{header().run}.rescued-1.jsonl"
    assert writer.path.parent == (tmp_path / "cache" / "rescued" if change is remove_folder else before.parent)
    (said,) = writer.rescues
    assert said.startswith(f"{before} {CHANGES[change]}")
    assert said.endswith(f"the run's 2 records until then are in {writer.path}")
    writer.finish(FOOTER.__class__(finished="now", status="complete", records=writer.records))
    run = store.read(writer.path)
    assert (run.damage, [found.replicate for found in run.records]) == ("", [0, 1, 2, 3])


def test_the_footer_is_rescued_too_and_a_second_rescue_has_another_name(tmp_path: Path) -> None:
    writer = store.create(tmp_path, header())
    writer.append(record())
    for number in (1, 2):
        writer.path.unlink()
        writer.append(record(replicate=number))
    cut(writer.path)
    writer.finish(FOOTER.__class__(finished="now", status="complete", records=3))
    assert writer.path.name.endswith(".rescued-3.jsonl") or writer.path.name.endswith(".rescued-2.jsonl")
    assert len(writer.rescues) == 3
    assert len(store.read(writer.path).records) == 3


def test_a_resumed_run_keeps_what_it_had_before(tmp_path: Path) -> None:
    writer = store.create(tmp_path, header())
    writer.append(record())
    writer.close()
    again, _ = store.reopen(writer.path)
    writer.path.unlink()
    again.append(record(replicate=1))
    assert len(store.read(again.path).records) == 2


def test_a_touched_file_is_not_a_changed_one(tmp_path: Path) -> None:
    writer = store.create(tmp_path, header())
    os.utime(writer.path, (1, 1))
    os.chmod(writer.path, 0o600)
    writer.append(record())
    assert writer.rescues == []


def test_where_nothing_takes_the_records_the_error_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = store.create(tmp_path / "results", header())
    shutil.rmtree(tmp_path / "results")
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("TRTBENCH_CACHE", str(tmp_path / "file"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "file" / "gone"))
    with pytest.raises(StoreError, match="its 0 records cannot be written elsewhere"):
        writer.append(record())


@pytest.mark.workers
def test_a_run_goes_on_in_the_new_file_and_its_exit_code_says_so(
    trtbench: Trtbench, fake_suite: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events: list[Event] = []

    def on_event(event: Event) -> None:
        events.append(event)
        if type(event).__name__ == "Stored" and len(store.runs(trtbench.store, rehearsals=True)) == 1:
            replace(store.runs(trtbench.store, rehearsals=True)[0])

    with pytest.raises(api.Rescued) as caught:
        api.run(fake_suite(), store=trtbench.store, cache=tmp_path / "cache", on_event=on_event)
    run = caught.value.run
    assert len(run.records) == 2
    assert "was replaced by another file" in str(caught.value)
    assert any("was replaced" in event.text for event in events if isinstance(event, Note))
    assert isinstance(events[-1], End)
    assert (events[-1].path, events[-1].status) == (run.path, "complete")
    assert api.find(run.path.rpartition("/")[2].removesuffix(".jsonl"), store=trtbench.store) == Path(run.path)
