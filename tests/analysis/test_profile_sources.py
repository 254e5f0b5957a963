"""Which files two cases are explained from: a file is a text of the names of the cases that it has profiles of."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from bench.analysis.profile_sources import sources


@pytest.mark.parametrize(
    ("files", "chosen"),
    [
        (["ab", "ab."], ("ab", "ab")),
        (["a", "b", "ab", "ab."], ("ab", "ab")),
        (["a", "b", "a."], ("a", "b")),
        (["b", "b."], (None, "b")),
        ([], (None, None)),
    ],
)
def test_the_first_file_of_both_counts_and_else_the_first_of_each(
    files: list[str], chosen: tuple[str | None, str | None]
) -> None:
    pair = sources(files, lambda file, case: case in file, "a", "b")
    assert (pair.a, pair.b) == chosen
    assert pair.both == (chosen[0] if chosen[0] == chosen[1] else None)


def test_files_are_read_no_further_than_needed() -> None:
    def files() -> Iterator[str]:
        yield from ("a", "ab")
        raise AssertionError("an older file was read")

    assert sources(files(), lambda file, case: case in file, "a", "b").both == "ab"
