"""A worker forked from a template is a child like one that was started: fed, heard, limited and cleared away."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from bench.system import process
from bench.system.template import Template, first_own
from tests.system.descriptors import open_at
from tests.system.test_process import DAEMON, SECOND, Holders, alive

# A template that has imported nothing; a worker runs the code on the first line of its input.
CODE = """
import ctypes, os, sys, time
from bench.system import template
ctypes.CDLL(None).prctl(1, 9)  # end with the keeper
worker = template.serve(int(sys.argv[1]), [int(sys.argv[-1])])
fd = worker.reply
exec(eval(sys.stdin.buffer.readline()))
sys.stdout.flush()
os._exit(0)
"""


class Forks:
    """A template, and workers of it that run code in which ``fd`` is the reply pipe."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            command = [sys.executable, "-c", CODE, str(theirs.fileno())]
            self.template = Template(process.Child(command, os.environ, keep=[theirs.fileno()]), ours)
        [first] = self.run("os.write(fd, b'%d\\n' % int(open(f'/proc/{os.getppid()}/stat').read().split()[3]))")[1]
        self.pid = int(first)

    def start(self, code: str, keep: tuple[int, ...] = ()) -> process.Child:
        child = self.template.fork(keep)
        child.say(repr(code).encode())
        return child

    def run(
        self, code: str, limit_s: float = 30, job: bytes = b"job", keep: tuple[int, ...] = ()
    ) -> tuple[process.Outcome, list[bytes]]:
        lines: list[bytes] = []
        child = self.start(code, keep)
        outcome = child.finish(job, int(limit_s * SECOND), lines.append)
        child.close()
        return outcome, lines


@pytest.fixture(scope="module")
def forks() -> Iterator[Forks]:
    forks = Forks()
    yield forks
    forks.template.close()


@pytest.fixture
def own_forks() -> Iterator[Forks]:
    forks = Forks()
    yield forks
    forks.template.close()


@pytest.fixture
def holders(tmp_path: Path) -> Iterator[Holders]:
    holders = Holders(tmp_path / "held")
    yield holders
    holders.close()


def test_the_job_goes_in_whole_lines_come_out_and_the_rest_is_the_log(forks: Forks) -> None:
    code = "os.write(fd, b'a:' + sys.stdin.buffer.read() + b'\\nb\\nhalf'); print('{}'); print('bad', file=sys.stderr)"
    outcome, lines = forks.run(code)
    assert (outcome.code, outcome.timed_out, sorted(outcome.log.split())) == (0, False, ["bad", "{}"])
    assert lines == [b"a:job", b"b"]


@pytest.mark.parametrize(("end", "code"), [("os._exit(3)", 3), ("os.kill(os.getpid(), 11)", -11)])
def test_its_end_is_told_and_the_template_forks_on(forks: Forks, end: str, code: int) -> None:
    assert forks.run(end)[0].code == code
    assert forks.run("")[0].code == 0


def test_it_has_a_session_the_default_signals_and_its_pipe_as_the_last_argument(forks: Forks) -> None:
    code = """
import signal
defaults = [signal.getsignal(n) == signal.SIG_DFL for n in (signal.SIGTERM, signal.SIGUSR1, signal.SIGALRM)]
print(os.getsid(0) == os.getpid(), sys.argv[-1] == str(fd), defaults, signal.pthread_sigmask(0, []))
"""
    assert forks.run(code)[0].log == "True True [True, True, True] set()\n"


def test_the_kernel_ends_a_template_before_a_keeper_when_memory_runs_out(forks: Forks) -> None:
    code = f"print(*(open(f'/proc/{{p}}/oom_score_adj').read().strip() for p in ({forks.pid}, os.getppid())))"
    own = Path("/proc/self/oom_score_adj").read_text().strip()
    assert forks.run(code)[0].log == f"500 {own}\n"


def test_one_that_hangs_is_killed_at_its_limit_with_all_it_forked(forks: Forks) -> None:
    code = "pid = os.fork()\nif pid: os.write(fd, b'%d\\n' % pid)\nimport signal\nsignal.pause()"
    outcome, lines = forks.run(code, limit_s=1)
    assert (outcome.timed_out, outcome.code) == (True, -9)
    assert not alive(int(lines[0]))


@pytest.mark.parametrize("end", ["", "os.abort()", "os.killpg(0, 9)"])
def test_a_daemon_ends_with_it_however_it_ends(forks: Forks, holders: Holders, end: str) -> None:
    outcome, _ = forks.run(DAEMON.format(hold=holders.code) + end)
    assert outcome.code == {"": 0, "os.abort()": -6}.get(end, -9)
    assert holders.ready()
    assert holders.released()


def test_closing_it_while_it_works_leaves_nothing(forks: Forks, holders: Holders) -> None:
    child = forks.start(DAEMON.format(hold=holders.code) + "import signal; signal.pause()")
    assert holders.ready()
    child.close()
    assert holders.released()
    child.close()


PARENT = """
import sys
from tests.system.test_template import Forks
Forks().run(sys.argv[1], limit_s=600)
"""


def test_it_ends_when_the_parent_is_killed(holders: Holders) -> None:
    code = DAEMON.format(hold=holders.code) + "import signal; signal.pause()"
    with subprocess.Popen([sys.executable, "-c", PARENT, code]) as parent:
        assert holders.ready()
        parent.kill()
    assert holders.released()


@pytest.mark.parametrize("victim", ["template", "keeper of the template", "requests"])
def test_a_template_that_ends_takes_its_workers_with_it(own_forks: Forks, holders: Holders, victim: str) -> None:
    child = own_forks.start(DAEMON.format(hold=holders.code) + "import signal; signal.pause()")
    assert holders.ready()
    if victim == "requests":
        own_forks.template.close()
    else:
        stat = Path(f"/proc/{own_forks.pid}/stat").read_text().rsplit(")", 1)[1].split()
        os.kill(own_forks.pid if victim == "template" else int(stat[1]), signal.SIGKILL)
    outcome = child.finish(b"", 60 * SECOND, print)
    child.close()
    assert (outcome.code, outcome.timed_out) == (-9, False)
    assert holders.released()
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(ConnectionError):
        own_forks.template.fork()
    assert len(os.listdir("/proc/self/fd")) <= before


def test_one_that_kills_its_keeper_ends(own_forks: Forks) -> None:
    outcome, _ = own_forks.run("os.kill(os.getppid(), 9)\nimport signal; signal.pause()")
    assert (outcome.code, outcome.timed_out) == (-9, False)
    assert own_forks.run("")[0].code == 0


# -------------------------------------------------------------------------------------------------------- descriptors

DESCRIPTORS = """
names = {}
for number in os.listdir('/proc/self/fd'):
    if os.path.lexists(f'/proc/self/fd/{number}'):  # that of the list is closed
        names[int(number)] = os.readlink(f'/proc/self/fd/{number}')
os.write(fd, (repr((fd, names)) + '\\n').encode())
sys.stdin.read()
"""


def test_it_has_its_own_descriptors_and_those_to_keep_and_none_of_a_sibling(forks: Forks) -> None:
    seen = []
    children = []
    with tempfile.TemporaryFile() as file:
        number = file.fileno()
        for keep in ((number,), ()):
            children.append(forks.start(DESCRIPTORS, keep))
            lines: list[bytes] = []
            assert children[-1].hear(60 * SECOND, lines.append, lambda lines=lines: bool(lines))  # type: ignore[misc]
            seen.append(eval(lines[0]))
    (reply, first), (other_reply, second) = seen
    assert set(first) == {0, 1, 2, reply, number}
    assert set(second) == {0, 1, 2, other_reply}
    assert not set(first.values()) & set(second.values())
    for child in children:
        assert child.finish(b"", 60 * SECOND, print).code == 0
        child.close()


def test_a_descriptor_to_keep_is_the_parents_file_and_reaches_what_the_worker_starts(forks: Forks) -> None:
    with tempfile.TemporaryFile() as file:
        n = file.fileno()
        forks.run(
            f"os.write({n}, b'own'); os.spawnlp(os.P_WAIT, 'sh', 'sh', '-c', 'printf +child >>/proc/self/fd/{n}')",
            keep=(n,),
        )
        file.seek(0)
        assert file.read() == b"own+child"


def test_a_number_that_the_template_uses_itself_is_refused(forks: Forks) -> None:
    with open_at(first_own()) as number, pytest.raises(OSError, match="busy") as caught:  # that of its requests
        forks.template.fork((number,))
    assert caught.value.errno == errno.EBUSY
    assert forks.run("")[0].code == 0


def test_a_parent_with_some_hundred_files_has_its_numbers_in_workers(forks: Forks) -> None:
    with contextlib.ExitStack() as files:
        numbers = [files.enter_context(open_at(number)) for number in range(first_own() - 10, first_own())]
        assert forks.run(f"[os.fstat(n) for n in {numbers}]", keep=numbers)[0].code == 0


@pytest.mark.parametrize(
    ("limit", "number"), [(256, 192), (1024, 768), (1 << 20, 4096), (resource.RLIM_INFINITY, 4096)]
)
def test_a_quarter_of_the_numbers_is_for_the_template_itself(
    monkeypatch: pytest.MonkeyPatch, limit: int, number: int
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda of: (limit, limit))
    assert first_own() == number


def test_megabytes_pass_both_ways(forks: Forks) -> None:
    job = bytes(range(256)) * (1 << 12)
    code = "import hashlib; os.write(fd, b'y' * (1 << 20) + b'\\n'); print('x' * (8 << 20)); print('end')\n"
    code += "os.write(fd, hashlib.sha256(sys.stdin.buffer.read()).hexdigest().encode() + b'\\n')"
    outcome, lines = forks.run(code, job=job)
    assert lines == [b"y" * (1 << 20), hashlib.sha256(job).hexdigest().encode()]
    assert outcome.log.endswith("x\nend\n")


@pytest.mark.parametrize("count", [30, pytest.param(300, marks=pytest.mark.long)])
def test_many_workers_leave_no_descriptor_and_no_zombie(forks: Forks, count: int) -> None:
    forks.run("")
    before, template_before = (len(os.listdir(f"/proc/{pid}/fd")) for pid in ("self", forks.pid))
    for _ in range(count):
        forks.run("")
    assert len(os.listdir("/proc/self/fd")) <= before
    # The last ones may not yet be taken note of.
    assert len(os.listdir(f"/proc/{forks.pid}/fd")) < template_before + 5
    assert len(Path(f"/proc/{forks.pid}/task/{forks.pid}/children").read_text().split()) < 5


def test_several_threads_may_ask_at_once(forks: Forks) -> None:
    replies: dict[int, list[bytes]] = {}

    def ask(number: int) -> None:
        for _ in range(5):
            replies.setdefault(number, []).extend(forks.run(f"os.write(fd, b'{number}\\n')")[1])

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert replies == {number: [b"%d" % number] * 5 for number in range(4)}
