"""A child process is fed, heard, limited and cleared away, whatever it does."""

import os
import select
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
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


def test_a_child_is_held_to_cores_while_it_runs_and_let_go_again() -> None:
    code = (
        "import os, sys\nfd = int(sys.argv[-1])\n"
        "for line in sys.stdin.buffer: os.write(fd, repr(sorted(os.sched_getaffinity(0))).encode() + b'\\n')"
    )
    every = os.sched_getaffinity(0)
    last = max(every)
    answers: list[bytes] = []
    child = process.Child([sys.executable, "-c", code], os.environ)
    try:
        for count, cores in enumerate(({last}, every), start=1):
            child.run_on(cores)
            child.say(b"")
            assert child.hear(30 * SECOND, answers.append, lambda count=count: len(answers) >= count)  # type: ignore[misc]
    finally:
        child.close()
    assert answers == [repr([last]).encode(), repr(sorted(every)).encode()]
    child.run_on({last})  # one that has ended is nobody's to hold


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


@pytest.mark.parametrize("way", ["signal.pause()", "os.kill(os.getpid(), signal.SIGSTOP)", "os.wait()"])
def test_a_child_that_hangs_is_killed_at_its_limit_with_all_it_forked(way: str) -> None:
    parent = f"if pid: os.write(fd, b'%d\\n' % pid); {way}"
    code = f"import signal\npid = os.fork()\n{parent}\nos.kill(os.getpid(), signal.SIGSTOP)"
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


def test_a_child_whose_end_is_interrupted_is_ended_by_the_next_close(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> int:
        raise KeyboardInterrupt

    before = os.listdir("/proc/self/fd")
    child = process.Child([sys.executable, "-c", "import signal; signal.pause()"], os.environ)
    with monkeypatch.context() as patch:
        patch.setattr(subprocess.Popen, "wait", interrupted)
        with pytest.raises(KeyboardInterrupt):
            child.close()
    child.close()
    assert not child.alive
    assert len(os.listdir("/proc/self/fd")) == len(before)


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


# ------------------------------------------------------------------------------- what leaves the group, and its keeper


class Holders:
    """A pipe with a name: ``code`` is what a process runs to hold it; it is ``released`` when none of them lives."""

    def __init__(self, path: Path) -> None:
        os.mkfifo(path)
        self.code = f"held = os.open({str(path)!r}, os.O_WRONLY); os.write(held, b'x')"
        self._fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)

    def ready(self) -> bool:
        """Whether one holds it; waits for the first."""
        return self._next() == b"x"

    def released(self) -> bool:
        """Waits until all that hold it are gone."""
        return self._next() == b""

    def _next(self) -> bytes:
        assert select.select([self._fd], [], [], 60)[0]
        return os.read(self._fd, 1)

    def close(self) -> None:
        os.close(self._fd)


@pytest.fixture
def holders(tmp_path: Path) -> Iterator[Holders]:
    holders = Holders(tmp_path / "held")
    yield holders
    holders.close()


DAEMON = """
r, w = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        {hold}
        os.write(w, b'x')
        import signal
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        while True: signal.pause()
    os._exit(0)
os.read(r, 1)
"""


@pytest.mark.parametrize("end", ["", "os.abort()", "import signal; signal.pause()"])
def test_a_daemon_ends_with_the_child_however_that_ends(holders: Holders, end: str) -> None:
    outcome, _ = run(DAEMON.format(hold=holders.code) + end, limit_s=3)
    assert outcome.code == {"": 0, "os.abort()": -6}.get(end, -9)
    assert holders.ready()
    assert holders.released()


PARENT = """
import os, sys
from bench.system import process
process.run_child([sys.executable, "-c", sys.argv[1]], b"", os.environ, 10**12, print)
"""


def test_a_daemon_of_the_child_ends_when_the_parent_is_killed(holders: Holders) -> None:
    code = "import os, sys\n" + DAEMON.format(hold=holders.code) + "import signal; signal.pause()"
    with subprocess.Popen([sys.executable, "-c", PARENT, code]) as parent:
        assert holders.ready()
        parent.kill()
    assert holders.released()


def test_a_child_that_kills_its_own_group_leaves_nothing(holders: Holders) -> None:
    outcome, _ = run(DAEMON.format(hold=holders.code) + "os.killpg(0, 9)")
    assert outcome.code == -9
    assert holders.ready()
    assert holders.released()


def test_a_child_that_kills_its_keeper_ends() -> None:
    outcome, _ = run("os.kill(os.getppid(), 9)\nimport signal; signal.pause()")
    assert outcome.code == -9
    assert not outcome.timed_out


def test_a_child_that_never_reads_its_job_is_ended_at_its_limit() -> None:
    outcome, _ = run("import signal; signal.pause()", limit_s=0.5, job=b"x" * (1 << 22))
    assert outcome.timed_out


def test_a_large_job_arrives_whole_while_the_child_talks() -> None:
    job = bytes(range(256)) * (1 << 12)
    code = "import hashlib; os.write(fd, b'y' * (1 << 20) + b'\\n')\n"
    code += "os.write(fd, hashlib.sha256(sys.stdin.buffer.read()).hexdigest().encode() + b'\\n')"
    import hashlib

    assert run(code, job=job)[1] == [b"y" * (1 << 20), hashlib.sha256(job).hexdigest().encode()]


def test_a_line_without_an_end_is_bounded_and_reported() -> None:
    code = f"for _ in range({process.LINE_LIMIT >> 20} + 3): os.write(fd, b'z' * (1 << 20))\nos.write(fd, b'\\nend\\n')"
    _, lines = run(code)
    assert process.LINE_LIMIT < len(lines[0]) < process.LINE_LIMIT + (1 << 20)
    assert lines[-1] == b"end"


def test_a_child_is_ended_as_soon_as_the_parent_has_heard_enough() -> None:
    heard: list[bytes] = []
    command = [sys.executable, "-c", "import os, signal, sys; os.write(int(sys.argv[-1]), b'bad\\n'); signal.pause()"]
    outcome = process.run_child(command, b"", os.environ, 600 * SECOND, heard.append, stop=lambda: bool(heard))
    assert (outcome.code, outcome.timed_out) == (-9, False)


@pytest.mark.parametrize("content", [b"", b"\x7fELF nothing"])
def test_a_program_that_cannot_be_executed_says_why(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "program").write_bytes(content)
    (tmp_path / "program").chmod(0o755)
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(OSError, match="Exec format error"):
        process.Child([str(tmp_path / "program")], os.environ)
    assert len(os.listdir("/proc/self/fd")) == before


def test_an_environment_that_is_no_text_reaches_the_child() -> None:
    code = "import os, sys; os.write(int(sys.argv[-1]), os.environb[b'NAME'] + b'\\n')"
    lines: list[bytes] = []
    env = {**os.environ, "NAME": os.fsdecode(b"a=\xff")}
    process.run_child([sys.executable, "-c", code], b"", env, 30 * SECOND, lines.append)
    assert lines == [b"a=\xff"]


def test_a_child_outlives_the_thread_that_started_it() -> None:
    children: list[process.Child] = []
    command = [sys.executable, "-c", "import os, sys; os.write(int(sys.argv[-1]), sys.stdin.buffer.read() + b'\\n')"]
    thread = threading.Thread(target=lambda: children.append(process.Child(command, os.environ)))
    thread.start()
    thread.join()
    lines: list[bytes] = []
    outcome = children[0].finish(b"job", 30 * SECOND, lines.append)
    children[0].close()
    assert (outcome.code, lines) == (0, [b"job"])
