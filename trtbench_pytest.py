"""The pytest plugin: hooks and options alone, so that a pytest which does not use it imports no more than this file.

It lies beside the package and not in it, because every pytest of an environment imports it first: a project that has a
``bench`` of its own could not start pytest, or would be given trtbench's package in place of its own.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from bench.integrations.pytest_cases import SuiteFile, Trtbench

_SUITES = "trtbench_suites"
_SUFFIXES = (".yaml", ".yml")
# Two of the keys that every suite has: another YAML file that is named on the command line is not a suite.
_SCHEMA = re.compile(r"^schema\s*:", re.MULTILINE)
_CASES = re.compile(r"^(models|matrix)\s*:", re.MULTILINE)
_MOST = 1 << 20  # bytes of a suite


def pytest_addoption(parser: pytest.Parser) -> None:
    """The options of ``trtbench run`` that concern tests, and the setting that names suites."""
    group = parser.getgroup("trtbench", "suites of trtbench as tests")
    group.addoption("--trtbench-store", metavar="DIR", help="store the runs in DIR, for trtbench show and compare")
    group.addoption("--trtbench-select", metavar="EXPR", default="", help='only some cases, e.g. "precision=fp16"')
    group.addoption("--trtbench-backend", metavar="NAME", default="", help="replace every backend, e.g. by fake")
    group.addoption("--trtbench-replicates", metavar="N", type=_positive, default=0, help="fresh processes per case")
    group.addoption("--trtbench-quick", action="store_true", help="one process a case, looser intervals")
    what = "suites to collect wherever pytest walks, besides those named on the command line: patterns from the rootdir"
    parser.addini(_SUITES, what, type="linelist", default=[])


def pytest_configure(config: pytest.Config) -> None:
    """The marker by which ``-m trtbench`` selects."""
    config.addinivalue_line("markers", "trtbench: a case of a suite, collected by the plugin of trtbench")


def pytest_sessionstart(session: pytest.Session) -> None:
    """The fixture, on top of that of pytest-benchmark where this is active: then its options know the tests."""
    session.config.pluginmanager.register(_Beside() if hasattr(session.config, "_benchmarksession") else _Alone())


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> SuiteFile | None:
    """A suite that is named on the command line or by the setting ``trtbench_suites``."""
    if file_path.suffix not in _SUFFIXES:
        return None
    is_named = parent.session.isinitpath(file_path) and _is_suite(file_path)
    if not is_named and not _is_listed(file_path, parent.config):
        return None
    _require_ours()
    from bench.integrations.pytest_cases import SuiteFile

    suite: SuiteFile = SuiteFile.from_parent(parent, path=file_path)
    return suite


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """The tables of what was measured."""
    import sys

    if cases := sys.modules.get("bench.integrations.pytest_cases"):
        cases.write_tables(terminalreporter)


class _Beside:
    """The fixture where pytest-benchmark is active."""

    @pytest.fixture
    def trtbench(self, request: pytest.FixtureRequest, benchmark: object) -> Trtbench:
        """Benchmarks a module or a function as ``bench.benchmark`` does: ``trtbench(model, inputs, backends=...)``."""
        return _fixture(request, benchmark)


class _Alone:
    """The fixture where it is not."""

    @pytest.fixture
    def trtbench(self, request: pytest.FixtureRequest) -> Trtbench:
        """Benchmarks a module or a function as ``bench.benchmark`` does: ``trtbench(model, inputs, backends=...)``."""
        return _fixture(request, None)


def _fixture(request: pytest.FixtureRequest, benchmark: object) -> Trtbench:
    _require_ours()
    from bench.integrations.pytest_cases import Trtbench

    return Trtbench(request.node, benchmark)


def _require_ours() -> None:
    """A failure with one message if another ``bench`` is the one that Python imports."""
    import bench

    here = Path(__file__).parent / "bench" / "__init__.py"
    theirs = getattr(bench, "__file__", None) or next(iter(getattr(bench, "__path__", [])), "?")
    if Path(theirs).resolve() != here.resolve():
        what = f"{theirs} is imported as 'bench', which is the name of trtbench's own package"
        fix = "another name for it, or these tests by themselves: pytest (not python -m pytest) in a folder without it"
        pytest.fail(f"trtbench: {what}\n  fix: {fix}", pytrace=False)


def _is_listed(path: Path, config: pytest.Config) -> bool:
    patterns: list[str] = config.getini(_SUITES)
    if not patterns or not path.is_relative_to(config.rootpath):
        return False
    place = path.relative_to(config.rootpath)
    return any(place == Path(pattern) or place.match(pattern) for pattern in patterns)


def _is_suite(path: Path) -> bool:
    with path.open(encoding="utf-8", errors="replace") as file:
        text = file.read(_MOST)
    return bool(_SCHEMA.search(text) and _CASES.search(text))


def _positive(text: str) -> int:
    import argparse

    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not an integer of 1 or more")
    return int(text)
