"""The code of another revision of the user's repository: a temporary worktree, and an interpreter for it."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bench.errors import UsageError
from bench.model.data import digest
from bench.model.distributions import WORKER
from bench.model.events import Note
from bench.model.suite import Toolchain
from bench.runner.dispatch import OnEvent
from bench.system import scratch

_PROJECT = "pyproject.toml"
# What is installed with a project; another version of itself is not.
_DEPENDENCIES = ("dependencies", "optional-dependencies", "requires-python")


class Tree(NamedTuple):
    """A revision as it was checked out: its commit, the folder of the suite in it, and what workers start in."""

    commit: str
    suite_dir: Path
    toolchain: Toolchain


@contextlib.contextmanager
def checkout(suite: Path, revision: str, cache: Path, on_event: OnEvent) -> Iterator[Tree]:
    """The repository that the file ``suite`` lies in, as it is at ``revision``; removed at the end of the block.

    Its root, and its ``src`` if it has one, are first on PYTHONPATH. If it depends on other packages than the working
    tree, it gets an environment of its own, which is kept in ``cache``. UsageError if there is no such repository or
    revision, if the suite's folder is not in it, or if its packages cannot be installed.
    """
    root = _root(suite)
    commit = _commit(root, revision)
    with scratch.folder() as own:
        place = own / "revision"
        done = _git(root, "worktree", "add", "--detach", "--quiet", str(place), commit)
        if done.returncode:
            raise UsageError(
                f"{revision} cannot be checked out: {_last(done.stderr)}", where=str(root), fix="git status"
            )
        try:
            suite_dir = place / suite.parent.relative_to(root)
            if not suite_dir.is_dir():
                what = f"{revision} has no folder {suite.parent.relative_to(root)}, which has the models here"
                raise UsageError(what, where="--against-rev", fix="name a revision that has it")
            python = _python(root, place, revision, cache, on_event)
            _tell(root, revision, commit, on_event)
            yield Tree(commit, suite_dir, Toolchain(python=python, env={"PYTHONPATH": _path(root, place)}))
        finally:
            _git(root, "worktree", "remove", "--force", str(place))


def _root(suite: Path) -> Path:
    """The top folder of the repository."""
    if shutil.which("git") is None:
        raise UsageError("there is no git, which another revision comes from", where="--against-rev", fix="install git")
    done = _git(suite.parent, "rev-parse", "--show-toplevel")
    if done.returncode:
        what = f"{suite} lies in no git repository, so there is no other revision of its models"
        raise UsageError(what, where="--against-rev", fix=f"git -C {suite.parent} status says what git sees")
    return Path(done.stdout.strip()).resolve()


def _commit(root: Path, revision: str) -> str:
    done = _git(root, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    if done.returncode:
        names = _git(root, "for-each-ref", "--count=8", "--format=%(refname:short)", "refs/heads", "refs/tags")
        known = ", ".join(names.stdout.split()) or "no branch"
        what = f"{root} has no revision {revision!r}"
        raise UsageError(what, where="--against-rev", fix=f"git fetch, or one of its branches and tags: {known}")
    return done.stdout.strip()


def _tell(root: Path, revision: str, commit: str, on_event: OnEvent) -> None:
    """A note that says which side is what."""
    # What git does not track, e.g. results, is in neither revision.
    changes = _git(root, "status", "--porcelain", "--untracked-files=no").stdout.splitlines()
    head = _git(root, "rev-parse", "--short", "HEAD").stdout.strip()
    state = f"with {len(changes)} uncommitted changes" if len(changes) != 1 else "with 1 uncommitted change"
    here = f"the working tree at {head}" + (f", {state}" if changes else "")
    on_event(Note(text=f"first side: {here}; second side: {revision} ({commit[:7]})"))


def _path(root: Path, place: Path) -> str:
    """PYTHONPATH for the tree: its own folders, then the present ones, those of the repository as they are in it."""
    own = [place, *([place / "src"] if (place / "src").is_dir() else [])]
    parts = [Path(part).resolve() for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]
    parts = [place / part.relative_to(root) if part.is_relative_to(root) else part for part in parts]
    # A toolchain's variables are expanded.
    return os.pathsep.join(dict.fromkeys(str(part).replace("$", "$$") for part in (*own, *parts)))


# ----------------------------------------------------------------------------------------------------- environments


def _python(root: Path, place: Path, revision: str, cache: Path, on_event: OnEvent) -> str:
    """The interpreter for the tree: the running one, or one with what the tree depends on; empty for the running."""
    needed = _dependencies(place / _PROJECT, revision)
    if not needed or needed == _dependencies(root / _PROJECT, "the working tree"):
        return ""
    folder = cache.resolve() / "environments" / digest([needed, sys.version])[:16]
    python = folder / "bin" / "python"
    if not python.exists():
        on_event(Note(text=f"{revision} depends on other packages than the working tree: installing them in {folder}"))
        _install(place, folder, revision)
    return str(python).replace("$", "$$")


def _dependencies(project: Path, name: str) -> dict[str, Any]:
    """What the project depends on; nothing for a tree that is none."""
    if not project.is_file():
        return {}
    try:
        about = tomllib.loads(project.read_text()).get("project", {})
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        what = f"{_PROJECT} of {name} cannot be read: {error}"
        raise UsageError(what, where="--against-rev", fix="correct it, or name another revision") from error
    return {key: about[key] for key in _DEPENDENCIES if key in about}


def _install(place: Path, folder: Path, revision: str) -> None:
    """An environment in ``folder`` with the tree installed, and what a worker needs; none if that fails."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    try:
        for command in (
            [sys.executable, "-m", "venv", str(folder)],
            [str(folder / "bin" / "python"), "-m", *WORKER.split(), str(place)],
        ):
            done = subprocess.run(command, capture_output=True, text=True, errors="replace")
            if done.returncode:
                what = f"{revision} does not install: {_last(done.stderr) or _last(done.stdout)}"
                fix = "name a revision whose pyproject.toml can be installed, or measure it in a toolchain of your own"
                raise UsageError(what, where="--against-rev", fix=fix)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def _git(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")} | {"LC_ALL": "C"}
    command: Sequence[str] = ["git", "-C", str(folder), *words]
    return subprocess.run(command, capture_output=True, text=True, errors="replace", env=env)


def _last(text: str) -> str:
    """The last line of an output that says something of an error, else the last."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return next((line for line in reversed(lines) if "error" in line.lower()), lines[-1] if lines else "")
