"""A suite on the fake backend, and the command line with a store and a cache of its own."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from bench import store
from bench.cli import commands
from bench.model.run import Run
from tests.backends.kit import Bench

# A deadline would be a time asserted in a test: it fails on a busy machine.
settings.register_profile("trtbench", deadline=None)
settings.load_profile("trtbench")

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
        if argv[0] in ("run", "show", "doctor"):
            argv += ["--store", str(self.store)]
        try:
            code = commands.main(argv)
        except SystemExit as error:
            code = int(error.code or 0)
        self.out, self.err = self._capsys.readouterr()
        return code

    def runs(self) -> list[Run]:
        return [store.read(path) for path in store.runs(self.store)]

    def events(self) -> list[dict[str, object]]:
        return [json.loads(line) for line in self.out.splitlines()]


@pytest.fixture
def trtbench(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Trtbench:
    monkeypatch.setenv("TRTBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("COLUMNS", "140")
    return Trtbench(tmp_path, capsys)


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    """Shared, as compiling takes seconds; what torch compiles is cached beside it, not in the user's cache."""
    root: Path = tmp_path_factory.mktemp("backends")
    name = "TORCHINDUCTOR_CACHE_DIR"
    before = os.environ.get(name)
    os.environ[name] = str(root / "inductor")
    yield Bench(root)
    if before is None:
        del os.environ[name]
    else:
        os.environ[name] = before
