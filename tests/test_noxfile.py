"""What the sessions of noxfile.py do where something cannot be had."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from tests.modules import module_of

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def sessions() -> ModuleType:
    pytest.importorskip("nox", reason="no nox: pip install nox")
    module: ModuleType = module_of(ROOT / "noxfile.py")
    return module


class Session:
    """What a session runs, in place of running it."""

    def __init__(self, folder: Path) -> None:
        self.virtualenv = SimpleNamespace(location=str(folder))
        self.commands: list[tuple[tuple[str, ...], dict[str, Any]]] = []

    def run(self, *command: str, **options: Any) -> None:
        self.commands.append((command, options))


def test_a_registry_that_cannot_be_reached_fails_no_session(
    sessions: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions.shutil, "which", lambda name: f"/usr/bin/{name}")
    session = Session(tmp_path)
    assert sessions._axe(session) == {"TRTBENCH_AXE": str(tmp_path / "axe" / "package" / "axe.min.js")}
    ((command, options),) = session.commands
    assert (command[:2], command[-1]) == (("npm", "pack"), sessions.AXE)
    assert {1, 236, 254} <= {*options["success_codes"]}  # npm ends with the number of a system's error, too
    assert [word for word in command if word.startswith("--fetch-")] == ["--fetch-retries=1", "--fetch-timeout=20000"]


def test_what_was_fetched_before_is_not_fetched_again(
    sessions: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions.shutil, "which", lambda name: f"/usr/bin/{name}")
    script = tmp_path / "axe" / "package" / "axe.min.js"
    script.parent.mkdir(parents=True)
    script.write_text("axe")
    session = Session(tmp_path)
    assert sessions._axe(session) == {"TRTBENCH_AXE": str(script)}
    assert session.commands == []


def test_without_npm_nothing_is_fetched(sessions: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sessions.shutil, "which", lambda name: None)
    session = Session(tmp_path)
    assert not Path(sessions._axe(session)["TRTBENCH_AXE"]).exists()
    assert session.commands == []
