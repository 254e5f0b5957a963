"""`--keep-code` of `trtbench run` and `trtbench build`: where the code goes, and what is refused beforehand."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Trtbench


@pytest.mark.workers
def test_a_case_without_code_says_so_in_the_index(
    trtbench: Trtbench, fake_suite: Callable[..., Path], tmp_path: Path
) -> None:
    folder = tmp_path / "code"
    assert trtbench("build", fake_suite(), "--select", "batch=1", "--keep-code", folder) == 0
    assert f"{folder / 'index.txt'}: the code of 0 cases of 1" in trtbench.err
    (case,) = json.loads((folder / "index.json").read_text())["cases"]
    assert case["why"] == "fake compiles no code that can be kept: inductor and aoti do"


def test_a_folder_with_files_is_refused_before_anything_runs(
    trtbench: Trtbench, fake_suite: Callable[..., Path], tmp_path: Path
) -> None:
    for command in ("run", "build"):
        assert trtbench(command, fake_suite(), "--keep-code", Path(__file__).parent) == 2
        assert "has files" in trtbench.err
    assert trtbench.runs() == []


def test_a_resumed_run_keeps_no_code(trtbench: Trtbench) -> None:
    assert trtbench("run", "--resume", "X", "--keep-code", "code") == 2
    assert "without --keep-code" in trtbench.err
