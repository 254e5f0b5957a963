"""Files that a user names: whole, or as they were."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest

from bench.errors import UsageError
from bench.store import output


def test_a_file_is_replaced_with_its_permissions_and_a_link_stays_one(tmp_path: Path) -> None:
    file, link = tmp_path / "page.html", tmp_path / "link.html"
    file.write_text("before")
    file.chmod(0o640)
    link.symlink_to(file)
    output.write(link, b"after")
    assert (file.read_text(), file.stat().st_mode & 0o777, link.is_symlink()) == ("after", 0o640, True)
    output.write(tmp_path / "new.html", b"new")
    assert (tmp_path / "new.html").stat().st_mode & 0o777 == 0o666 & ~_mask()


def test_what_cannot_be_written_leaves_the_file_and_the_folder_as_they_were(tmp_path: Path) -> None:
    """A limit on the size of files stands for a disk without room."""
    file = tmp_path / "page.html"
    file.write_text("before")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(UsageError) as caught:
            output.write(file, bytes(10_000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (caught.value.what, caught.value.where) == (f"{file} cannot be written: File too large", "out")
    assert "name another file" in caught.value.fix
    assert [path.read_text() for path in tmp_path.iterdir()] == ["before"]


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be written: No such file or directory"):
        output.write(tmp_path / "gone" / "page.html", b"")


def _mask() -> int:
    mask = os.umask(0o077)
    os.umask(mask)
    return mask
