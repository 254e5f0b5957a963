"""The Python interpreters that workers run in: the running one, and those of the suite's toolchains."""

from __future__ import annotations

import itertools
import os
import pwd
import re
import shlex
import shutil
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from bench.backends import base
from bench.errors import UsageError
from bench.model.data import Data
from bench.model.distributions import WORKER
from bench.model.run import Environment, Failure
from bench.model.seam import Missing
from bench.model.suite import Case, Toolchain
from bench.runner import jobs, temporary
from bench.runner.answers import Answer
from bench.system import modules as system_modules
from bench.system import process
from bench.units import NS_PER_S, format_time

OLDEST = (3, 11)
# sys.path[0] is the working folder, where a user's file may shadow a package. The first line must run in any Python.
_START = f"""import sys; sys.version_info >= {OLDEST} or sys.exit("TooOld: %d.%d" % sys.version_info[:2])
sys.path[:] = [p for p in sys.path if p]; from bench.runner.worker import main; main()"""
_DESCRIBE_LIMIT = 120 * NS_PER_S
_VARIABLE = re.compile(r"\$(?:(\$)|(\w+)|\{(\w+)\})")
_REASON = re.compile(r"[\w.]*(Error|Exception|Interrupt)\b|Fatal Python error|TooOld:")


class Interpreter(Data, frozen=True, kw_only=True):
    """A toolchain ready to start workers in; ``python_text`` is its python as the suite has it, e.g. ``$OLD_PYTHON``,
    and ``variables`` are those that it sets. ``modules`` has the identity of the code that factories import there, and
    ``folders`` is where modules are imported from; the running interpreter finds both out itself. ``card`` is the id of
    the one that its workers see, of several.
    """

    name: str
    command: tuple[str, ...]
    env: dict[str, str]
    environment: Environment
    python_text: str = "python"
    variables: dict[str, str] = {}
    backends: dict[str, Missing | None] = {}
    modules: dict[str, str] = {}
    folders: tuple[str, ...] = ()
    card: str = ""


def import_folders(interpreters: Mapping[str, Interpreter]) -> tuple[str, ...]:
    """The folders that the running interpreter and ``interpreters`` import modules from, each once."""
    several = (system_modules.folders(), *(interpreter.folders for interpreter in interpreters.values()))
    return tuple(dict.fromkeys(itertools.chain(*several)))


def foreign(cases: Sequence[Case]) -> list[str]:
    """The names of the toolchains of ``cases``, less the running interpreter."""
    return sorted({case.toolchain for case in cases} - {"default"})


def package_link(folder: Path) -> Path:
    """A folder for PYTHONPATH that holds only a link to this package, and so hides the rest of our site-packages."""
    link = folder / "package"
    link.mkdir()
    (link / "bench").symlink_to(Path(__file__).parents[1].resolve(), target_is_directory=True)
    return link


def worker_command(python: str) -> tuple[str, ...]:
    """The command that starts a worker in ``python``; the reply pipe's number is appended."""
    return (python or sys.executable, "-c", _START)


def worker_env(link: Path, variables: Mapping[str, str]) -> dict[str, str]:
    """The running environment with the package first on PYTHONPATH and the toolchain's variables last; temporary files
    lie beside the ``link`` where there is a folder for them, unless a variable of the toolchain says where.
    """
    env = dict(os.environ) | dict(variables)
    if "TMPDIR" not in variables:
        env |= temporary.variables(link.parent, env)
    env["PYTHONPATH"] = os.pathsep.join(part for part in (str(link), env.get("PYTHONPATH", "")) if part)
    env["PYTHONUNBUFFERED"] = "1"
    env.setdefault("PYTHONHASHSEED", "0")  # a set of names has one order in every process, and layers made from it
    if not _has_name(env):  # of a user whom the system does not know; torch names its caches' folders by it
        env["LOGNAME"] = str(os.geteuid())
    env["CUDA_DEVICE_ORDER"] = "PCI_BUS_ID"  # as NVML counts, so that its readings are of the GPU that CUDA runs on
    return env


def _has_name(env: Mapping[str, str]) -> bool:
    """Whether ``getpass.getuser`` finds the name of the user."""
    try:
        return any(env.get(name) for name in ("LOGNAME", "USER", "LNAME", "USERNAME")) or bool(
            pwd.getpwuid(os.getuid())
        )
    except KeyError:
        return False


def resolve(toolchain: Toolchain, folder: Path) -> Toolchain:
    """A toolchain of a file in ``folder``, with its variables and paths resolved.

    ``$NAME`` and ``${NAME}`` are variables of the running environment, ``$$`` is a dollar sign. ``python`` may start
    with ``~``; with a slash in it, it is relative to ``folder``, without one it is looked up on PATH. UsageError for a
    variable that is not set.
    """
    env = {name: _expand(value) for name, value in toolchain.env.items()}
    python = os.path.expanduser(_expand(toolchain.python))
    if os.sep in python:
        python = str(folder / python)
    elif python:
        python = shutil.which(python, path=env.get("PATH")) or python
    return Toolchain(python=python or sys.executable, env=env)


def _expand(text: str) -> str:
    def value(match: re.Match[str]) -> str:
        dollar, *names = match.groups()
        name = names[0] or names[1]
        if dollar:
            return "$"
        if name not in os.environ:
            raise UsageError(f"the variable {name!r} is not set", fix=f"export {name}=...")
        return os.environ[name]

    return _VARIABLE.sub(value, text)


def probe(
    name: str,
    toolchain: Toolchain,
    folder: Path,
    here: Environment,
    link: Path,
    where: str,
    *,
    limit_ns: int = _DESCRIBE_LIMIT,
    distributions: tuple[str, ...] = (),
    modules: tuple[str, ...] = (),
) -> Interpreter:
    """Start a worker in a toolchain that a file of ``folder`` names, which describes Python and libraries.

    The device is that of ``here``: only Python, libraries and flags are the toolchain's. UsageError at ``where`` if no
    worker can start, saying what to do.
    """
    try:
        job = jobs.Describe(device=here.address, distributions=distributions, modules=modules)
        interpreter = _probe(name, resolve(toolchain, folder), here, link, limit_ns, job)
        return msgspec.structs.replace(interpreter, python_text=toolchain.python or "python")
    except UsageError as error:
        raise UsageError(f"toolchain {name!r}: {error.what}", where=where, fix=error.fix) from error


def _probe(
    name: str, toolchain: Toolchain, here: Environment, link: Path, limit_ns: int, job: jobs.Describe
) -> Interpreter:
    python = toolchain.python
    _check_executable(python)
    command, env = worker_command(python), worker_env(link, toolchain.env)
    answer = Answer(job)
    try:
        outcome = process.run_child(command, answer.encoded, env, limit_ns, answer.hear, stop=answer.refused)
    except OSError as error:
        raise UsageError(f"{python} cannot be started: {error.strerror}", fix=_by_hand(toolchain)) from error
    reply = answer.reply
    if answer.problem:
        raise UsageError(f"a worker in {python} wrote {answer.problem}", fix=_by_hand(toolchain))
    if reply is not None and (outcome.code or outcome.timed_out):
        raise _no_answer(toolchain, outcome, limit_ns)
    if isinstance(reply, jobs.Described):
        own_fields = {name: getattr(reply.environment, name) for name in ("python", "libraries", "flags")}
        environment = msgspec.structs.replace(here, **own_fields)
        return Interpreter(
            name=name,
            command=command,
            env=env,
            environment=environment,
            variables=toolchain.env,
            backends=reply.backends,
            modules=reply.modules,
            folders=reply.folders,
        )
    if isinstance(reply, jobs.Failed):
        raise UsageError(f"a worker in {python} failed: {reply.message}", fix=reply.hint or _by_hand(toolchain))
    raise _no_answer(toolchain, outcome, limit_ns)


def _check_executable(python: str) -> None:
    path = Path(python)
    if path.is_dir():
        raise UsageError(f"{python} is a folder", fix=f"python: {path / 'bin' / 'python'}")
    if not path.exists():
        make = f"python3 -m venv DIR && DIR/bin/python -m {WORKER}"
        raise UsageError(f"there is no interpreter {python!r}", fix=f"correct `python`, or make one: {make}")
    if not os.access(path, os.X_OK):
        raise UsageError(f"{python} is not executable", fix=f"chmod +x {shlex.quote(python)}")


def _no_answer(toolchain: Toolchain, outcome: process.Outcome, limit_ns: int) -> UsageError:
    """Why a worker ended without an answer, from the last line of its log that looks like a reason."""
    python = toolchain.python
    lines = [line.strip() for line in outcome.log.splitlines() if line.strip()]
    last = next((line for line in reversed(lines) if _REASON.match(line)), lines[-1] if lines else "")
    if outcome.timed_out:
        return UsageError(f"{python} gave no answer within {format_time(limit_ns)}", fix=_by_hand(toolchain))
    if outcome.code < 0:
        what = f"{python} died as a worker started in it: {signal.strsignal(-outcome.code)}"
        return UsageError(what, fix=_by_hand(toolchain))
    if last.startswith("TooOld:"):
        version = ".".join(map(str, OLDEST))
        what = f"{python} is Python {last.split()[1]}; a worker needs {version} or later"
        return UsageError(what, fix=f"python{version} -m venv DIR, and its bin/python as `python`")
    if absent := re.search(r"No module named '(msgspec|numpy)\b", last):
        what = f"{python} has no {absent[1]}, which a worker needs"
        return UsageError(what, fix=f"{shlex.quote(python)} -m {WORKER}")
    what = f"no worker starts in {python}: {last or f'it ended with exit code {outcome.code} and no answer'}"
    return UsageError(what, fix=_by_hand(toolchain))


def _by_hand(toolchain: Toolchain) -> str:
    """The command that shows what is wrong with an interpreter in its environment."""
    variables = [shlex.quote(f"{name}={value}") for name, value in toolchain.env.items()]
    start = ["env", *variables] if variables else []
    return "see why: " + " ".join([*start, shlex.quote(toolchain.python), "-c", "'import msgspec, numpy'"])


def missing(interpreter: Interpreter, backend: str) -> Missing | None:
    """What ``backend`` lacks in the interpreter, with the command that installs it there."""
    missing = interpreter.backends.get(backend)
    if backend not in interpreter.backends and interpreter.name != "default":
        what = f"the backend {backend!r} is not installed in the toolchain {interpreter.name!r}"
        source = base.distribution_of(backend)
        missing = Missing(reason=what, fix=f"pip install {source}" if source else "trtbench doctor")
    return None if missing is None else Missing(reason=missing.reason, fix=_in_toolchain(interpreter, missing.fix))


def locate_failure(failure: Failure, interpreter: Interpreter, case: Case) -> Failure:
    """A failure of ``case`` in a worker of ``interpreter``, with the toolchain in which something is missing.

    Unchanged in a case that knows no toolchain but the running interpreter.
    """
    if failure.kind != "Unavailable" or interpreter.name == case.toolchain == "default":
        return failure
    message = f"{failure.message} (in the toolchain {interpreter.name!r})"
    return msgspec.structs.replace(failure, message=message, hint=_in_toolchain(interpreter, failure.hint))


def _in_toolchain(interpreter: Interpreter, fix: str) -> str:
    if interpreter.name == "default":
        return fix
    python_text = interpreter.python_text
    # Quoted, a variable would be no variable.
    python = python_text if re.fullmatch(r"[\w$~{}./+-]+", python_text) else shlex.quote(python_text)
    return re.sub(r"(^|: )pip install\b", lambda match: f"{match[1]}{python} -m pip install", fix)
