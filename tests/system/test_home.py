"""A user's home folder, or none."""

import os
from pathlib import Path

import pytest

from bench.system import home


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/home/ann/suites/x.yaml", "~/suites/x.yaml"),
        ("/home/ann", "~"),
        ("at /home/ann/a:/home/ann/b", "at ~/a:~/b"),
        ("/home/anna/x", "/home/anna/x"),
        ("/home/ann.old/x", "/home/ann.old/x"),
        ("/srv/home/ann/x", "/srv/home/ann/x"),
        ("", ""),
    ],
)
def test_the_home_folder_is_abbreviated_where_it_begins_a_path(
    monkeypatch: pytest.MonkeyPatch, text: str, expected: str
) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    assert home.abbreviate(text) == expected


def test_a_root_as_home_abbreviates_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/")
    assert home.abbreviate("/opt/x") == "/opt/x"


def test_a_user_whom_the_system_does_not_know_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(os, "getuid", lambda: 4_000_000_000)
    assert home.folder() is None
    assert home.abbreviate(str(Path("/home/ann/x"))) == "/home/ann/x"
