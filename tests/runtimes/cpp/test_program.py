"""The worker's side of the C++ program: replies, errors and ends, of small scripts that take its place."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from bench.errors import CaseError, OutOfMemory, Unavailable, Unsupported
from bench.runtimes.cpp.lanes import CppLane
from bench.runtimes.cpp.program import Crash, Runner

# Greets, then answers each request as ``answer`` says.
SCRIPT = """\
#!{python} -IS
import os, signal, sys
requests, replies = os.fdopen(int(sys.argv[1])), int(sys.argv[2])
def reply(payload, status="ok"):
    data = payload if isinstance(payload, bytes) else payload.encode()
    os.write(replies, f"{{status}} {{len(data)}}\\n".encode() + data)
def numbers(*values):
    reply(b"".join(value.to_bytes(8, "little", signed=True) for value in values))
reply("compiler=script\\n")
for line in requests:
    verb, *fields = line.rstrip("\\n").split("\\t")
{answer}
"""


@contextlib.contextmanager
def started(folder: Path, answer: str) -> Iterator[Runner]:
    path = folder / "runner"
    lines = "\n".join(f"    {line}" for line in answer.splitlines())
    path.write_text(SCRIPT.format(python=sys.executable, answer=lines))
    path.chmod(0o755)
    with contextlib.closing(Runner(path)) as runner:
        yield runner


def test_what_it_prints_is_no_reply_and_goes_to_the_log(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    answer = "os.write(1, b'ok 3\\nabc chatter ' + verb.encode() + b'\\n'); reply(' '.join(fields))"
    with started(tmp_path, answer) as runner:
        assert runner.facts == {"compiler": "script"}
        assert runner.ask("call", 3, "a b") == b"3 a b"
        assert runner.ask("again") == b""
    assert "chatter call" in capfd.readouterr().err


def test_numbers_are_of_64_bits(tmp_path: Path) -> None:
    with started(tmp_path, "numbers(int(fields[0]), -1)") as runner:
        assert runner.numbers("time", 2**40).tolist() == [2**40, -1]
        assert runner.number("time", 7) == 7


@pytest.mark.parametrize(
    ("kind", "error"),
    [("OutOfMemory", OutOfMemory), ("Unsupported", Unsupported), ("Unavailable", Unavailable), ("Odd", CaseError)],
)
def test_an_error_of_the_program_is_one_of_the_tree(tmp_path: Path, kind: str, error: type[CaseError]) -> None:
    with (
        started(tmp_path, f"reply('{kind}\\nno room\\nfor it', 'error')") as runner,
        pytest.raises(error, match="no room for it") as raised,
    ):
        runner.ask("lanes", 2)
    assert type(raised.value) is error
    assert raised.value.fix


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("os.kill(os.getpid(), signal.SIGSEGV)", "ended in 'load' with SIGSEGV"),
        (
            "os.write(2, b'first\\\\nterminate called\\\\n'); os._exit(3)",
            "ended in 'load' with exit code 3: terminate called",
        ),
        ("os.write(replies, b'ok 10\\\\nabc'); os._exit(0)", "ended in 'load' with exit code 0"),
        ("os.write(replies, b'hello from a library\\\\n')", "which is no reply"),
        ("os.write(replies, b'x' * 500)", "which is no reply"),
    ],
)
def test_an_end_without_a_reply_says_how_it_ended_and_what_to_do(tmp_path: Path, answer: str, message: str) -> None:
    with started(tmp_path, answer.replace("\\\\n", "\\n")) as runner, pytest.raises(Crash) as raised:
        runner.ask("load")
    assert message in raised.value.what
    assert raised.value.fix


@pytest.mark.parametrize(
    "line",
    [
        "symbol lookup error: undefined symbol: _ZN3c105ErrorC1Ev",
        "error while loading shared libraries: libtorch.so: cannot open shared object file",
        "/lib/libstdc++.so.6: version `GLIBCXX_3.4.32' not found (required by it)",
    ],
)
def test_libraries_that_do_not_fit_are_told_apart_from_a_crash(tmp_path: Path, line: str) -> None:
    path = tmp_path / "runner"
    path.write_text(f'#!/bin/sh\necho "runner: {line}" >&2\nexit 127\n'.replace("`", "\\`"))
    path.chmod(0o755)
    with pytest.raises(Unavailable, match="does not fit the libraries") as raised:
        Runner(path)
    assert "--rebuild" in raised.value.fix


def test_a_program_that_cannot_be_started_is_a_row_too(tmp_path: Path) -> None:
    with pytest.raises(Crash, match="cannot be started"):
        Runner(tmp_path / "not there")


def test_a_name_that_the_protocol_cannot_carry_is_refused(tmp_path: Path) -> None:
    with started(tmp_path, "reply('')") as runner, pytest.raises(Unsupported, match="tab or a newline"):
        runner.ask("set", "input", "a\tb")


def test_no_descriptor_and_no_process_is_left(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with started(tmp_path, "reply('')") as runner:
        runner.ask("call")
        pid = runner.pid
    assert not Path(f"/proc/{pid}").exists()
    assert len(os.listdir("/proc/self/fd")) == before


# ------------------------------------------------------------------------------------------------------------- lanes


def test_samples_are_asked_for_ahead_within_a_millisecond(tmp_path: Path) -> None:
    counts = tmp_path / "counts"
    answer = f"open({str(counts)!r}, 'a').write(fields[1] + ' '); numbers(*range(1000, 1000 + int(fields[1])))"
    with started(tmp_path, answer) as runner:
        take = CppLane(runner, 0, None, tmp_path).timed(ahead=True)
        assert [take() for _ in range(1 + 2 + 4 + 1)] == [1000, 1000, 1001, 1000, 1001, 1002, 1003, 1000]
    assert counts.read_text() == "1 2 4 8 "


def test_slow_calls_and_those_in_turn_are_asked_for_one_by_one(tmp_path: Path) -> None:
    answer = "assert fields[1] == '1'; numbers(600_000)"
    with started(tmp_path, answer) as runner:
        slow, in_turn = (CppLane(runner, 0, None, tmp_path).timed(ahead=ahead) for ahead in (True, False))
        assert [slow() for _ in range(5)] == [600_000] * 5
        assert [in_turn() for _ in range(5)] == [600_000] * 5


def test_outputs_are_read_at_their_types(tmp_path: Path) -> None:
    answer = (
        "data = b'\\x00\\x3c\\x00\\xc0' + b'\\x80\\x3f' + (5).to_bytes(8, 'little')\n"
        "open(fields[2], 'wb').write(data)\n"
        "reply('half\\tfloat16\\t0\\t4\\t1 2\\nbrain\\tbfloat16\\t0\\t2\\t\\nids\\tint64\\t0\\t8\\t1\\n')"
    )
    with started(tmp_path, answer) as runner:
        arrays = CppLane(runner, 0, None, tmp_path).read()
    assert arrays["half"].dtype == np.float32
    assert arrays["half"].tolist() == [[1, -2]]
    assert arrays["brain"].tolist() == 1
    assert arrays["ids"].tolist() == [5]


def test_an_input_that_changes_is_named(tmp_path: Path) -> None:
    answer = (
        "value = 0 if verb == 'read' and not os.path.exists('{0}') else 1\n"
        "open(fields[2], 'wb').write(bytes([1, value])) if verb == 'read' else open('{0}', 'w')\n"
        "reply('a\\tuint8\\t0\\t1\\t\\nb\\tuint8\\t0\\t1\\t\\n')"
    ).format(tmp_path / "called")
    with started(tmp_path, answer) as runner:
        lane = CppLane(runner, 0, None, tmp_path)
        lane.remember_inputs()
        assert lane.changed_inputs() == []
        lane.call()
        assert lane.changed_inputs() == ["b"]
