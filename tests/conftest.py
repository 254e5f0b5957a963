"""A suite on the fake backend, and the command line with a store and a cache of its own."""

from __future__ import annotations

import contextlib
import gc
import getpass
import io
import json
import os
import shlex
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from bench import store
from bench.cli import commands
from bench.model.run import Run
from tests.backends.kit import Bench

# A deadline would be a time asserted in a test: it fails on a busy machine.
settings.register_profile("trtbench", deadline=None, max_examples=50)  # others in each run
settings.register_profile("long", deadline=None, max_examples=300)  # nox -s long
settings.register_profile("quick", deadline=None, max_examples=20)  # nox -s quick
settings.load_profile("trtbench")


@pytest.fixture(scope="module", autouse=True)
def old_objects_are_not_searched() -> None:
    """Leave what imports and the tests before have allocated out of a file's garbage collections: some tests and each
    measurement ask for one, and with torch imported it would take a tenth of a second.
    """
    gc.collect()
    gc.freeze()


def shared_folder(tmp_path_factory: pytest.TempPathFactory, name: str) -> Path:
    """A folder that all processes of this run of the tests have, whether it is one or pytest-xdist's several."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / name
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session", autouse=True)
def own_temporary_files(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A folder for temporary files of this process and those that it starts: locks of devices and what killed workers
    leave lie in it, and neither another process of tests nor a run of the user's is waited for or swept. Only torch's
    precompiled headers are shared: a compiler takes half a minute for them.
    """
    folder = tmp_path_factory.mktemp("tmp")
    (folder / f"torchinductor_{getpass.getuser()}").symlink_to(shared_folder(tmp_path_factory, "inductor"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", str(folder))
        patch.setattr(tempfile, "tempdir", None)
        yield


FAKE_SUITE = """\
schema: 1
name: rehearsal
models:
  net:
    factory: zoo.py:net
    inputs: {{x: {{shape: [batch, 3], dtype: float32}}}}
matrix:
  model: [net]
  backend: {backends}
  batch: [1, 8]
measure: {{replicates: {replicates}, max_time: 1s, timeout: {timeout}}}
"""


@pytest.fixture
def fake_suite(tmp_path: Path) -> Callable[..., Path]:
    """Writes a suite of fake backends, given as a YAML list."""

    def write(backends: str = "[fake]", replicates: int = 1, timeout: str = "60s") -> Path:
        path = tmp_path / "rehearsal.yaml"
        path.write_text(FAKE_SUITE.format(backends=backends, replicates=replicates, timeout=timeout))
        return path

    return write


class Trtbench:
    """The command line, with its exit code, its output, and the runs it left."""

    def __init__(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        self.store = tmp_path / "results"
        self._capsys = capsys
        self.out = ""
        self.err = ""

    def __call__(self, *arguments: object) -> int:
        argv = [str(argument) for argument in arguments]
        stored = (
            "run",
            "show",
            "compare",
            "duel",
            "calibrate",
            "history",
            "runs",
            "doctor",
            "profile",
            "kernels",
            "trace",
        )
        if argv[0] in stored:
            argv += ["--store", str(self.store)]
        return self._main(argv)

    def paste(self, command: str) -> int:
        """Run a command that trtbench has printed, as it is."""
        program, *argv = shlex.split(command)
        assert program == "trtbench"
        return self._main(argv)

    def _main(self, argv: list[str]) -> int:
        try:
            code = commands.main(argv)
        except SystemExit as error:
            code = int(error.code or 0)
        self.out, self.err = self._capsys.readouterr()
        return code

    def runs(self) -> list[Run]:
        return [store.read(path) for path in store.runs(self.store, rehearsals=True)]

    def events(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture(scope="session")
def references(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with the references of FAKE_SUITE: half of the processes of most runs would make them anew."""
    root = tmp_path_factory.mktemp("references")
    (root / "rehearsal.yaml").write_text(FAKE_SUITE.format(backends="[fake]", replicates=1, timeout="60s"))
    words = ["run", str(root / "rehearsal.yaml"), "--store", str(root / "results"), "--cache", str(root / "cache")]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        assert commands.main(words) == 0
    return root / "cache"


@pytest.fixture
def trtbench(
    tmp_path: Path, references: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Trtbench:
    shutil.copytree(references, tmp_path / "cache")
    monkeypatch.setenv("TRTBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "140")
    return Trtbench(tmp_path, capsys)


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Shared, as compiling takes seconds; what torch compiles is cached beside it, not in the user's cache."""
    root = tmp_path_factory.mktemp("backends")
    artifacts = shared_folder(tmp_path_factory, "artifacts")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCHINDUCTOR_CACHE_DIR", str(root / "inductor"))
        yield Bench(root, artifacts)
