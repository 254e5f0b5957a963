"""asv behind checks of what it would measure: ``python -m bench.integrations.asv continuous main HEAD``."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.errors import InputError, UsageError
from bench.integrations import asv_process

CONFIGURATIONS = ("asv.conf.json", "asv.conf.jsonc")
INSTALL = 'pip install "trtbench[asv]"'
# Commands of asv that measure commits.
_MEASURE = ("run", "continuous", "find")
_MACHINE = Path("~/.asv-machine.json")
_MOST_NAMES = 3
# To asv more is always worse, so that it would call more inferences per second a decrease of performance.
_WITHOUT_QPS = r"^(?!.*\.track_qps)"


def main(arguments: Sequence[str]) -> int:
    """Exit code 2 with one message for what asv would measure wrongly or not at all; else this process becomes asv, as
    asv_process runs it.

    With ``continuous``, unless ``--bench`` says otherwise, benchmarks of inferences per second are left out.
    """
    try:
        more = _checked(list(arguments))
    except InputError as error:
        print(f"trtbench: {error}", file=sys.stderr)
    else:
        python = _interpreter()
        os.execv(python, [python, "-m", asv_process.__name__, *arguments, *more])
    return 2


def _checked(arguments: list[str]) -> list[str]:
    """The arguments to add."""
    if importlib.util.find_spec("asv") is None:
        raise UsageError("asv is not installed here", fix=INSTALL)
    command = arguments[0] if arguments else ""
    if command not in _MEASURE:
        return []
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config", default="")
    parser.add_argument("--bench", "-b", action="append", default=[])
    parser.add_argument("--environment", "-E", action="append", default=[])
    parser.add_argument("--python", default="")
    parser.add_argument("--set-commit-hash", default="")
    options, _ = parser.parse_known_args(arguments[1:])
    configuration = _configuration(options.config)
    settings = _settings(configuration)
    environments = options.environment or [settings.get("environment_type") or ""]
    here = options.python == "same" or all(each.partition(":")[0] == "existing" for each in environments)
    if here and command == "continuous":
        what = "asv continuous installs two commits, and into an environment that exists asv installs nothing"
        fix = "asv run -E existing --set-commit-hash HASH for each, then asv compare: docs/continuous.md"
        raise UsageError(what, fix=fix)
    if not here or options.set_commit_hash:  # else whatever is installed is measured, and nothing is stored
        _check_repository(configuration.parent, str(settings.get("repo") or ""))
    if not _MACHINE.expanduser().exists():  # asv would ask for it
        subprocess.run([*_asv(), "machine", "--yes"], stdout=subprocess.DEVNULL, check=True)
    return ["--bench", _WITHOUT_QPS] if command == "continuous" and not options.bench else []


def _asv() -> list[str]:
    """The command of this interpreter's asv."""
    script = _script()
    return [str(script)] if script.is_file() else [sys.executable, "-m", "asv"]


def _interpreter() -> str:
    """The interpreter that the script of asv names: asv calls an existing environment by the path of the interpreter
    that it runs in, which may end in ``python3`` there and in ``python`` here.
    """
    script = _script()
    first = script.read_text(errors="replace").partition("\n")[0] if script.is_file() else ""
    python = first.removeprefix("#!").strip()
    same = first.startswith("#!") and os.path.dirname(python) == os.path.dirname(sys.executable)
    return python if same and os.access(python, os.X_OK) else sys.executable


def _script() -> Path:
    return Path(sys.executable).with_name("asv")


def _configuration(name: str) -> Path:
    paths = [Path(each) for each in ((name,) if name else CONFIGURATIONS)]
    for path in paths:
        if path.is_file():
            return path.absolute()
    fix = "in the folder of the project, or: --config FILE; docs/continuous.md has one to start from"
    raise UsageError(f"there is no {paths[0]}", where=os.getcwd(), fix=fix)


def _settings(configuration: Path) -> dict[str, Any]:
    """The configuration as asv reads it: JSON with comments."""
    util = importlib.import_module("asv.util")
    try:
        return dict(util.load_json(str(configuration), 1, js_comments=True))
    except (util.UserError, ValueError) as error:
        raise UsageError(f"no configuration of asv: {error}", where=configuration.name) from error


def _check_repository(folder: Path, repository: str) -> None:
    """UsageError if the repository is a folder that git does not know, or that has what no commit has."""
    if not (folder / repository).is_dir():  # another one, which asv clones
        return
    where = folder / repository
    if _git(where, "rev-parse", "--git-dir") is None:
        fix = "git init && git add . && git commit, or -E existing to measure what is installed"
        raise UsageError("this is no git repository, and asv measures commits", where=str(where.resolve()), fix=fix)
    if _git(where, "rev-parse", "--verify", "HEAD") is None:
        raise UsageError("the repository has no commit yet", where=str(where.resolve()), fix="git add . && git commit")
    changes = [line[3:] for line in (_git(where, "status", "--porcelain", "--untracked-files=no") or "").splitlines()]
    if changes:
        more = f" and {len(changes) - _MOST_NAMES} more" if len(changes) > _MOST_NAMES else ""
        what = f"{', '.join(changes[:_MOST_NAMES])}{more}: changed since the last commit, and asv measures commits"
        raise UsageError(what, where=str(where.resolve()), fix="git commit or git stash")


def _git(folder: Path, *arguments: str) -> str | None:
    """What git prints, None if it fails. UsageError without git."""
    try:
        done = subprocess.run(["git", *arguments], cwd=folder, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise UsageError("git is not installed", fix="apt-get install git") from error
    return done.stdout if done.returncode == 0 else None
