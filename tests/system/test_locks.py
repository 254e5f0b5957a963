"""Two runs on one device queue, and say so."""

import subprocess
import sys
from pathlib import Path

from bench.system import locks

HOLDER = """
import sys
from pathlib import Path
from bench.system import locks
with locks.hold(Path(sys.argv[1]), "run-1", print):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_free_lock_is_taken_without_waiting(tmp_path: Path) -> None:
    waited: list[str] = []
    with locks.hold(tmp_path / "lock", "me", waited.append):
        assert (tmp_path / "lock").read_text() == "me"
    with locks.hold(tmp_path / "lock", "me again", waited.append):
        pass
    assert waited == []


def test_a_held_lock_is_waited_for_and_the_holder_is_named(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdin is not None
        assert child.stdout.readline() == "held\n"
        waited: list[str] = []

        def on_wait(holder: str) -> None:
            waited.append(holder)
            child.stdin.close()  # the holder ends only once we wait

        with locks.hold(tmp_path / "lock", "run-2", on_wait):
            assert waited == ["run-1"]


def test_a_lock_dies_with_its_holder(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDER, str(tmp_path / "lock")]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        child.stdout.readline()
        child.kill()
        child.wait()
        with locks.hold(tmp_path / "lock", "run-2", lambda holder: None):
            assert (tmp_path / "lock").read_text() == "run-2"
