"""A child process is fed, heard, limited and cleared away, whatever it does."""

import os
import sys
import time
from pathlib import Path

import pytest

from bench.system import process

SECOND = 1_000_000_000


def run(code: str, limit_s: float = 30, job: bytes = b"job") -> tuple[process.Outcome, list[bytes]]:
    lines: list[bytes] = []
    command = [sys.executable, "-c", f"import os, sys, time\nfd = int(sys.argv[-1])\n{code}"]
    return process.run_child(command, job, os.environ, int(limit_s * SECOND), lines.append), lines


def alive(pid: int) -> bool:
    """Whether the process still runs; a zombie that init has not yet reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_the_job_goes_in_and_whole_lines_come_out() -> None:
    outcome, lines = run("os.write(fd, b'a:' + sys.stdin.buffer.read() + b'\\nb\\nhalf')")
    assert outcome == process.Outcome(code=0, timed_out=False, log="")
    assert lines == [b"a:job", b"b"]


def test_stdout_and_stderr_are_the_log_and_never_the_reply() -> None:
    outcome, lines = run("print('{}'); print('bad', file=sys.stderr); sys.exit(3)")
    assert outcome.code == 3
    assert outcome.log.splitlines() == ["{}", "bad"]
    assert lines == []


def test_megabytes_of_output_keep_only_the_tail() -> None:
    outcome, lines = run("print('x' * (8 << 20)); print('end'); os.write(fd, b'ok\\n')")
    assert lines == [b"ok"]
    assert outcome.log.endswith("x\nend\n")
    assert len(outcome.log) <= process.LOG_TAIL


def test_a_signal_is_a_negative_code() -> None:
    outcome, _ = run("os.kill(os.getpid(), 11)")
    assert outcome.code == -11


def test_a_child_that_hangs_is_killed_at_its_limit_with_all_it_forked() -> None:
    code = "pid = os.fork()\nif pid: os.write(fd, b'%d\\n' % pid)\nimport signal\nsignal.pause()"
    outcome, lines = run(code, limit_s=1)
    assert outcome.timed_out
    assert outcome.code == -9
    deadline = time.monotonic() + 10
    while alive(int(lines[0])):
        assert time.monotonic() < deadline


def test_a_fork_that_outlives_the_child_does_not_hold_the_parent() -> None:
    outcome, lines = run("pid = os.fork()\nif pid == 0:\n  while True: print('y' * 1000)\nos.write(fd, b'%d\\n' % pid)")
    assert outcome.code == 0
    assert not outcome.timed_out
    deadline = time.monotonic() + 10
    while alive(int(lines[0])):
        assert time.monotonic() < deadline


def test_a_child_that_does_not_read_its_job_is_no_error() -> None:
    outcome, _ = run("os._exit(5)", job=b"x" * (1 << 20))
    assert outcome.code == 5


def test_a_program_that_does_not_exist_raises_and_leaks_no_pipe() -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(FileNotFoundError):
        process.run_child(["/no/such/python"], b"", os.environ, SECOND, lambda line: None)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_child_can_be_given_lines_and_heard_before_its_last() -> None:
    code = "import sys\nfor line in sys.stdin: open(int(sys.argv[-1]), 'w', closefd=False).write('got ' + line)"
    heard: list[bytes] = []
    child = process.Child([sys.executable, "-c", code], os.environ)
    try:
        for n, word in enumerate((b"one", b"two"), start=1):
            child.say(word)
            assert child.hear(30 * SECOND, heard.append, lambda n=n: len(heard) == n)
            assert child.alive
        outcome = child.finish(b"three\n", 30 * SECOND, heard.append)
    finally:
        child.close()
    assert heard == [b"got one", b"got two", b"got three"]
    assert outcome == process.Outcome(code=0, timed_out=False, log="")
    assert not child.alive


@pytest.mark.parametrize("code", ["raise SystemExit(3)", "import signal; signal.pause()"])
def test_hearing_one_that_ends_or_says_nothing_is_false(code: str) -> None:
    before = len(os.listdir("/proc/self/fd"))
    child = process.Child([sys.executable, "-c", code], os.environ)
    child.say(b"x" * 10)
    assert not child.hear(SECOND, lambda line: None, lambda: False)
    child.close()
    child.close()
    assert len(os.listdir("/proc/self/fd")) == before
