"""A user's file is a module like any other while it is there, and leaves nothing behind when it fails."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

import pytest

from bench.system import userfile


def test_a_file_may_define_dataclasses_with_annotations_as_text(tmp_path: Path) -> None:
    path = tmp_path / "zoo.py"
    path.write_text(
        "from __future__ import annotations\nimport dataclasses\nfrom typing import ClassVar\n"
        "@dataclasses.dataclass\nclass Sizes:\n    kind: ClassVar[str] = 'conv'\n    width: int = 3\n"
    )
    assert userfile.execute(path, "_test_zoo").Sizes().width == 3
    del sys.modules["_test_zoo"]


def test_what_a_file_raises_passes_and_the_module_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "zoo.py"
    path.write_text("raise ZeroDivisionError('on import')")
    with pytest.raises(ZeroDivisionError, match="on import"):
        userfile.execute(path, "_test_broken")
    assert "_test_broken" not in sys.modules


def test_a_file_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        userfile.execute(tmp_path / "none.py", "_test_none")


def test_a_file_edited_within_a_second_is_compiled_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    file, sibling = tmp_path / "zoo.py", tmp_path / "part_of_zoo.py"
    file.write_text("from part_of_zoo import value\nown = 1\n")
    for number in (1, 2):  # of the same length, and with the same time
        sibling.write_text(f"value = {number}\n")
        file.write_text(f"from part_of_zoo import value\nown = {number}\n")
        for path in (file, sibling):
            os.utime(path, (1e9, 1e9))
        monkeypatch.delitem(sys.modules, "part_of_zoo", raising=False)
        importlib.invalidate_caches()
        module = userfile.execute(file, "zoo_of_this_test")
        assert (module.own, module.value) == (number, number)
