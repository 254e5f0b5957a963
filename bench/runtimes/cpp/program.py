"""The C++ program as a child of the worker: requests on one pipe, replies on another, and what became of it."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Literal

import numpy as np

from bench.errors import LESS_MEMORY, CaseError, Crash, CudaFailure, OutOfMemory, Unavailable, Unsupported
from bench.system import signals
from bench.tensors import Array

# What runs an artifact: the worker's own Python, or this program.
Executor = Literal["python", "cpp"]
_DRIVER = "to see the GPU and its driver: nvidia-smi"
PYTHON = "executor: python runs the same artifact in the worker"
_KINDS: Mapping[str, type[CaseError]] = {
    error.__name__: error for error in (CaseError, CudaFailure, OutOfMemory, Unavailable, Unsupported)
}
_HEADER = re.compile(rb"(ok|error) (\d{1,15})\n")
_LONGEST_HEADER = 64
_LOG_TAIL = 8192
_ENDING_S = 10
# What the dynamic linker writes where the libraries are not those that the program was linked with.
_LINKER = re.compile(r"symbol lookup error: .*|error while loading shared libraries: .*|version `[^']*' not found.*")


class Runner:
    """A started program. It ends with this process, and prints into the log of this process.

    ``facts`` are those of its build. Unavailable if its libraries do not fit together, Crash if it cannot be started.
    """

    def __init__(self, path: Path) -> None:
        requests, self._requests = os.pipe()
        self._replies, replies = os.pipe()
        self._log = bytearray()
        self._stream: IO[bytes] = os.fdopen(self._replies, "rb")
        try:
            self._process = subprocess.Popen(
                [str(path), str(requests), str(replies)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                pass_fds=(requests, replies),
            )
        except OSError as error:
            self._stream.close()
            os.close(self._requests)
            raise Crash(
                f"the C++ runner cannot be started: {error.strerror}", fix="--rebuild builds it again"
            ) from error
        finally:
            os.close(requests)
            os.close(replies)
        self._drain = threading.Thread(target=self._forward, daemon=True)
        self._drain.start()
        try:
            self.facts = facts_of(self._reply("start"))
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        """The number of its process."""
        return self._process.pid

    def ask(self, verb: str, *fields: object) -> bytes:
        """The payload of the reply. CaseError or one of its classes if the program says so, Crash if it ends."""
        texts = [verb, *map(str, fields)]
        if any(character in text for text in texts for character in "\t\n"):
            raise Unsupported(f"the C++ runner takes no name with a tab or a newline: {texts!r}", fix=PYTHON)
        with contextlib.suppress(BrokenPipeError):  # the reply tells what happened
            os.write(self._requests, ("\t".join(texts) + "\n").encode())
        return self._reply(verb)

    def numbers(self, verb: str, *fields: object) -> Array:
        """A reply of int64 numbers."""
        return np.frombuffer(self.ask(verb, *fields), np.int64)

    def number(self, verb: str, *fields: object) -> int:
        """A reply of one number."""
        return int(self.numbers(verb, *fields)[0])

    def close(self) -> None:
        """End it: it leaves when its pipe is closed, and is killed if it does not."""
        if self._requests < 0:
            return
        os.close(self._requests)
        self._requests = -1
        try:
            self._process.wait(_ENDING_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._drain.join(_ENDING_S)
        self._stream.close()

    def _reply(self, verb: str) -> bytes:
        header = self._stream.readline(_LONGEST_HEADER)
        match = _HEADER.fullmatch(header)
        if match is None:
            raise self._crash(verb, header)
        size = int(match[2])
        payload = self._stream.read(size)
        if len(payload) < size:
            raise self._crash(verb, b"")
        if match[1] == b"error":
            kind, _, message = payload.decode(errors="replace").partition("\n")
            raise _error(kind, message)
        return payload

    def _crash(self, verb: str, written: bytes) -> CaseError:
        """Why there is no reply to ``verb``."""
        if written:
            self._process.kill()
            self._process.wait()
            what = f"the C++ runner answered {verb!r} with {written[:_LONGEST_HEADER]!r}, which is no reply"
            return Crash(what, fix="keep the model's libraries from writing to descriptors that are not theirs")
        code = self._process.wait()
        self._drain.join(_ENDING_S)
        log = bytes(self._log).decode(errors="replace")
        if problem := _LINKER.search(log):
            what = f"the C++ runner does not fit the libraries that are here: {problem[0].strip()}"
            return Unavailable(what, fix="--rebuild builds it again; CXX=g++ of the system where another compiler did")
        end = signals.describe(-code) if code < 0 else f"exit code {code}"
        last = next((line.strip() for line in reversed(log.splitlines()) if line.strip()), "")
        what = f"the C++ runner ended in {verb!r} with {end}" + (f": {last[:300]}" if last else "")
        return Crash(what, fix=f"the log has its last lines; {PYTHON}")

    def _forward(self) -> None:
        """Pass on what it prints, and keep the last of it."""
        stdout = self._process.stdout
        assert stdout is not None
        with stdout:
            while chunk := os.read(stdout.fileno(), 1 << 16):
                self._log += chunk
                del self._log[:-_LOG_TAIL]
                with contextlib.suppress(OSError):
                    os.write(sys.__stderr__.fileno() if sys.__stderr__ else 2, chunk)


def facts_of(payload: bytes) -> dict[str, str]:
    """The lines ``name=value`` of a reply."""
    lines = payload.decode(errors="replace").splitlines()
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


def fields_of(payload: bytes) -> Sequence[Sequence[str]]:
    """The lines of a reply, each as its fields."""
    return [line.split("\t") for line in payload.decode().splitlines()]


def _error(kind: str, message: str) -> CaseError:
    fixes = {"OutOfMemory": LESS_MEMORY} | dict.fromkeys(("CudaFailure", "Unavailable"), _DRIVER)
    lines = [line for line in message.splitlines() if line.strip()]
    return _KINDS.get(kind, CaseError)(" ".join(lines[:3])[:1000], fix=fixes.get(kind, PYTHON))
