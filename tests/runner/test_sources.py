"""Which of the user's files decide what a case computes, and that each of them is seen when it changes."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import api
from bench.errors import SourceChanged
from bench.model.events import Event, Note
from bench.model.suite import Case, Input
from bench.runner import sources
from tests.conftest import Trtbench

CASE = Case(
    model="net",
    factory="zoo.py:net",
    args={"checkpoint": "net.pt", "layers": [1, {"table": "table.npy"}], "kind": "resnet"},
    config={"vocabulary": "words.txt", "size": 3},
    metric="metric.py:f1",
    inputs={"x": Input(shape=(1,))},
    backend="tensorrt",
    options={"network": "nets.py:net", "plugins": ["roi.so"]},
)
MODEL = ("zoo.py", "net.pt", "table.npy", "words.txt")
METRIC = "def score(outputs, reference):\n    return {'score': 1.0}\n"
OTHERS = ("metric.py", "nets.py", "roi.so")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in (*MODEL, *OTHERS, "unnamed.py"):
        (tmp_path / name).write_text(name)
    return tmp_path


def test_every_file_that_a_case_names_is_found_with_its_digest(folder: Path) -> None:
    digests = {name: hashlib.sha256(name.encode()).hexdigest() for name in (*MODEL, *OTHERS)}
    assert sources.of_model(CASE, folder) == {name: digests[name] for name in MODEL}
    assert sources.of_case(CASE, folder) == digests


@pytest.mark.parametrize("name", MODEL)
def test_a_change_is_seen_though_size_and_name_stay(folder: Path, name: str) -> None:
    before = sources.of_model(CASE, folder)
    (folder / name).write_text(name.upper())
    os.utime(folder / name, ns=(0, 1))
    after = sources.of_model(CASE, folder)
    assert {key for key in before if before[key] != after[key]} == {name}


def test_files_that_are_not_there_are_told_with_the_key_that_names_them(tmp_path: Path) -> None:
    keys = {"zoo.py": "factory", "metric.py": "metric", "nets.py": "", "roi.so": ""}
    assert sources.missing(CASE, tmp_path) == keys
    (tmp_path / "roi.so").touch()
    assert sources.missing(CASE, tmp_path) == {name: key for name, key in keys.items() if name != "roi.so"}


def test_files_that_are_not_there_are_told_where_they_must_be(tmp_path: Path) -> None:
    assert sources.of_model(CASE, tmp_path) == {}
    assert sources.of_case(CASE, tmp_path) == {"zoo.py": "", "metric.py": "", "nets.py": "", "roi.so": ""}


def test_a_file_that_cannot_be_read_is_left_to_whoever_needs_it(tmp_path: Path) -> None:
    case = Case(model="m", factory="torchvision:m", args={"path": "/proc/self/mem"}, inputs={}, backend="fake")
    assert sources.of_case(case, tmp_path) == {"/proc/self/mem": "unreadable: Input/output error"}


def test_a_folder_and_a_librarys_factory_are_no_files(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    case = Case(model="m", factory="torchvision:resnet18", args={"root": "data"}, inputs={}, backend="fake")
    assert sources.of_case(case, tmp_path) == {}


def test_programs_files_of_inputs_and_packages_are_part_of_a_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("net.pt2", "in.npz"):
        (tmp_path / name).write_text(name)
    (tmp_path / "site" / "sources_pkg").mkdir(parents=True)
    module = tmp_path / "site" / "sources_pkg" / "models.py"
    module.write_text("width = 1")
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    inputs = {"x": Input(shape=(1,), file="in.npz"), "y": Input(shape=(1,))}
    program = Case(model="m", factory="net.pt2", inputs=inputs, backend="fake")
    assert sources.of_model(program, tmp_path).keys() == {"net.pt2", "in.npz"}
    (tmp_path / "in.npz").unlink()
    assert sources.of_case(program, tmp_path)["in.npz"] == ""
    imported = Case(model="m", factory="sources_pkg.models:build", inputs={}, backend="fake")
    (before,) = sources.of_case(imported, tmp_path).items()
    assert sources.place(before[0], tmp_path) == "the package of `import sources_pkg.models`"
    module.write_text("width = 2")
    (after,) = sources.of_case(imported, tmp_path).items()
    assert (before[0] == after[0], before[1] == after[1]) == (True, False)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_any_argument_is_taken(value: object) -> None:
    case = Case(model="m", factory="torchvision:resnet18", args={"value": value}, inputs={}, backend="fake")
    assert isinstance(sources.of_model(case, Path("/nowhere")), dict)


def test_files_that_the_factory_imports_are_included_and_a_loop_ends(tmp_path: Path) -> None:
    files = {
        "zoo.py": "import layers, math\nfrom parts import heads\nfrom parts.necks import fpn",
        "layers.py": "import zoo\nfrom parts.deep.block import Block",
        "parts/__init__.py": "",
        "parts/heads.py": "from . import shared\nfrom ..other import nothing",
        "parts/shared.py": "",
        "parts/necks.py": "def fpn():\n    from .deep import block",
        "parts/deep/block.py": "this is not python",
        "other.py": "",
        "unrelated.py": "",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    case = Case(model="m", factory="zoo.py:net", inputs={}, backend="fake")
    assert set(sources.of_model(case, tmp_path)) == set(files) - {"unrelated.py"}


def test_a_file_is_not_mistaken_for_a_module_of_its_name(folder: Path) -> None:
    (folder / "roi.py").write_text("")
    assert "roi.so" in sources.of_case(CASE, folder)


def test_a_change_is_seen_though_size_and_time_of_change_are_set_back(tmp_path: Path) -> None:
    path = tmp_path / "zoo.py"
    path.write_text("a = 1")
    before = {"zoo.py": sources.sha256(path)}
    times = path.stat()
    assert sources.changed(before, tmp_path) == ""
    path.write_text("a = 2")
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    assert sources.changed(before, tmp_path) == "zoo.py"
    path.unlink()
    assert sources.changed(before, tmp_path) == "zoo.py"


def edit(path: Path, kind: str) -> Callable[[Event], None]:
    """A watcher that changes ``path`` at the first event of this kind."""
    text = path.read_text()

    def on_event(event: Event) -> None:
        if type(event).__name__ == kind:
            path.write_text(f"{text}# another\n")

    return on_event


@pytest.mark.workers
@pytest.mark.parametrize(
    ("name", "moment", "records"), [("zoo.py", "Stored", 1), ("layers.py", "Step", 0), ("metric.py", "Stored", 1)]
)
def test_a_file_edited_in_mid_run_ends_it_with_what_was_measured_before(
    trtbench: Trtbench, fake_suite: Callable[..., Path], tmp_path: Path, name: str, moment: str, records: int
) -> None:
    files = {"zoo.py": "import layers\n", "layers.py": "", "metric.py": METRIC}
    for file, text in files.items():
        (tmp_path / file).write_text(text)
    suite = fake_suite()
    suite.write_text(suite.read_text().replace("zoo.py:net\n", "zoo.py:net\n    metric: metric.py:score\n"))
    with pytest.raises(SourceChanged) as caught:
        api.run(suite, store=trtbench.store, cache=tmp_path / "cache", on_event=edit(tmp_path / name, moment))
    (run,) = trtbench.runs()
    assert f"{name}: has changed since the run was begun" in str(caught.value)
    assert f"trtbench run --resume {run.path}" in caught.value.fix
    assert len(run.records) == records
    assert run.footer is not None
    assert run.footer.status == "interrupted"
    (tmp_path / name).write_text(files[name])
    assert trtbench("run", "--resume", run.header.run) == 0
    assert len(trtbench.runs()[0].records) == 2


@pytest.mark.workers
def test_an_edit_of_the_suite_is_told_once_and_changes_nothing(
    trtbench: Trtbench, fake_suite: Callable[..., Path], tmp_path: Path
) -> None:
    suite = fake_suite()
    notes: list[str] = []
    change = edit(suite, "Stored")

    def on_event(event: Event) -> None:
        change(event)
        notes.extend([event.text] if isinstance(event, Note) else [])

    run = api.run(suite, store=trtbench.store, cache=tmp_path / "cache", on_event=on_event)
    assert notes == [f"{suite} has changed since the run was begun, which keeps to the plan it has"]
    assert len(run.records) == 2
