"""Which of the user's files decide what a case computes, and that each of them is seen when it changes."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.model.suite import Case, Input
from bench.runner import sources

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


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_any_argument_is_taken(value: object) -> None:
    case = Case(model="m", factory="torchvision:resnet18", args={"value": value}, inputs={}, backend="fake")
    assert isinstance(sources.of_model(case, Path("/nowhere")), dict)


def test_a_change_in_a_module_that_the_factorys_file_imports_is_seen(folder: Path) -> None:
    (folder / "zoo.py").write_text("import unnamed")
    before = sources.of_model(CASE, folder)
    (folder / "unnamed.py").write_text("another")
    after = sources.of_model(CASE, folder)
    assert {key for key in after if before[key] != after[key]} == {"unnamed.py"}
