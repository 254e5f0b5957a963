"""Interpreters that workers start in: the running one, and the foreign ones that a suite names."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from bench import jobs, process
from bench.errors import UsageError
from bench.model import Data, Environment, Toolchain
from bench.seam import Missing
from bench.units import NS_PER_S

# sys.path[0] is the working folder, where a user's file may shadow a package.
_START = "import sys; sys.path[:] = [p for p in sys.path if p]; from bench.worker import main; main()"
_DESCRIBE_LIMIT = 120 * NS_PER_S


class Interpreter(Data, frozen=True, kw_only=True):
    """A toolchain ready to start workers in."""

    name: str
    command: tuple[str, ...]
    env: dict[str, str]
    environment: Environment
    backends: dict[str, Missing | None] = {}


def package_link(folder: Path) -> Path:
    """A folder that holds nothing but a link to this package, for PYTHONPATH: none of our own site-packages leak."""
    link = folder / "package"
    link.mkdir()
    (link / "bench").symlink_to(Path(__file__).parent.resolve(), target_is_directory=True)
    return link


def worker_command(python: str) -> tuple[str, ...]:
    """The command that starts a worker in ``python``; the reply pipe's number is appended."""
    return (python or sys.executable, "-c", _START)


def worker_env(link: Path, own: Mapping[str, str]) -> dict[str, str]:
    """The running environment with the package first on PYTHONPATH and the toolchain's variables last."""
    env = dict(os.environ) | dict(own)
    env["PYTHONPATH"] = os.pathsep.join(part for part in (str(link), env.get("PYTHONPATH", "")) if part)
    env["PYTHONUNBUFFERED"] = "1"
    return env


def probe(name: str, toolchain: Toolchain, device: str, link: Path) -> Interpreter:
    """Start a worker in a foreign interpreter and ask it what it is. UsageError saying what to do if it cannot."""
    where = f"toolchain {name!r}"
    if shutil.which(toolchain.python) is None:
        raise UsageError(f"{toolchain.python!r} is not an executable", where=where, fix="correct `python` in the suite")
    command, env = worker_command(toolchain.python), worker_env(link, toolchain.env)
    answer: list[jobs.ReplyType] = []
    read: Callable[[bytes], None] = lambda line: answer.append(jobs.decode_reply(line))  # noqa: E731
    outcome = process.run_child(command, jobs.encode(jobs.Describe(device=device)), env, _DESCRIBE_LIMIT, read)
    reply = answer[-1] if answer else None
    if isinstance(reply, jobs.Described):
        return Interpreter(name=name, command=command, env=env, environment=reply.environment, backends=reply.backends)
    if isinstance(reply, jobs.Failed):
        raise UsageError(reply.message, where=where, fix=reply.hint)
    last = (outcome.log.strip().splitlines() or [f"exit code {outcome.code}"])[-1]
    fix = (
        f"{toolchain.python} -m pip install msgspec numpy" if "No module named" in last else "run it by hand to see why"
    )
    raise UsageError(f"{toolchain.python} cannot start a worker: {last}", where=where, fix=fix)
