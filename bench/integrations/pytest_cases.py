"""Cases of a suite as pytest's items, measured together in one run, and what pytest-benchmark is given of them."""

from __future__ import annotations

import os
import sys
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
import pytest
from _pytest.assertion.rewrite import AssertionRewritingHook

from bench import api
from bench.errors import DeviceUnavailable, InputError, UsageError
from bench.integrations import case_result, pytest_feed
from bench.integrations.case_result import CaseResult
from bench.model import events
from bench.model.suite import Case

_RUNS = pytest.StashKey[list[api.Run]]()
_FOLDER = pytest.StashKey[tempfile.TemporaryDirectory[str]]()


class CaseFailed(Exception):
    """A case has no sound result: its message is all that there is to show."""


class SuiteFile(pytest.File):
    """A suite: an item per case of its plan."""

    _ends: dict[str, CaseResult | InputError]

    def collect(self) -> Iterator[CaseItem]:
        """The cases in the order in which they are measured."""
        self._ends = {}
        option = self.config.getoption
        try:
            plan = api.plan(self.path, select=option("trtbench_select"), backend=option("trtbench_backend"))
        except InputError as error:
            raise self.CollectError(str(error)) from error
        for case in plan.cases:
            item: CaseItem = CaseItem.from_parent(self, name=case.label, case=case)
            yield item

    def result_of(self, item: CaseItem) -> CaseResult:
        """What came of a case. The first one that is asked for has all of the suite's that are to run measured: in one
        run, round robin, so that a slow drift of the machine affects all of them. InputError as ``bench.run``.
        """
        if item.case.id not in self._ends:
            together = self._items_with(item)
            cases = [each.case for each in together]
            try:
                run = _measure(self.config, str(self.path), cases)
            except InputError as error:
                self._ends |= {case.id: error for case in cases}
            else:
                self._ends |= case_result.of_run(run)
        end = self._ends[item.case.id]
        if isinstance(end, InputError):
            raise end
        return end

    def _items_with(self, item: CaseItem) -> list[CaseItem]:
        """Those that are measured with ``item``: a worker of pytest-xdist knows only that this one is its own."""
        if "PYTEST_XDIST_WORKER" in os.environ:
            return [item]
        items = [each for each in self.session.items if isinstance(each, CaseItem) and each.parent is self]
        return items if item in items else [item]


class CaseItem(pytest.Item):
    """One case. ``funcargs`` and ``fixturenames`` are what pytest-benchmark reads of an item."""

    def __init__(self, *, case: Case, **options: Any) -> None:
        super().__init__(**options)
        self.case = case
        self.funcargs: dict[str, object] = {}
        self.fixturenames = ["benchmark"] if pytest_feed.is_active(self.config) else []
        self.add_marker("trtbench")

    def setup(self) -> None:
        """Skip where pytest-benchmark is told to skip benchmarks."""
        if pytest_feed.skips(self.config):
            pytest.skip("benchmarks are skipped (--benchmark-skip)")

    def runtest(self) -> None:
        """Pass if the case is sound; its samples go to pytest-benchmark."""
        assert isinstance(self.parent, SuiteFile)
        try:
            result = self.parent.result_of(self)
        except DeviceUnavailable as error:
            pytest.skip(str(error))
        _judge([result])
        pytest_feed.feed(self, self.funcargs, result)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """The message alone for what is wrong with a case or a suite; a traceback for what is wrong here."""
        if isinstance(excinfo.value, CaseFailed | InputError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[os.PathLike[str] | str, int | None, str]:
        """The file, the line of the case in it, and its name."""
        line = self.case.source.rpartition(":")[2]
        return self.path, int(line) - 1 if line.isdigit() else None, self.name


class Trtbench:
    """The fixture: call it once or more with a model and its inputs."""

    def __init__(self, node: pytest.Item, benchmark: object) -> None:
        self._node = node
        self._benchmark = benchmark

    def __call__(self, model: Any, inputs: Any, *, backends: Any = "eager", **options: Any) -> api.Run:
        """Measure ``model`` as ``bench.benchmark`` does, with its arguments, and return the run.

        The test fails if a case has no sound result, and is skipped if every case lacks a package or a device.
        UsageError for a model that workers cannot import.
        """
        __tracebackhide__ = True
        pytest_feed.claim(self._benchmark)
        settings = _options(self._node.config)
        try:
            run = api.benchmark(model, inputs, backends=backends, **{**settings, **options})
        except DeviceUnavailable as error:
            pytest.skip(str(error))
        except InputError as error:
            raise (_rewritten(model, error) or error).with_traceback(None) from None
        self._node.config.stash.setdefault(_RUNS, []).append(run)
        results = list(case_result.of_run(run).values())
        try:
            _judge(results)
        except CaseFailed as error:
            pytest.fail(str(error), pytrace=False)
        for result in results:
            if not result.unavailable:
                pytest_feed.feed_from_test(self._node, self._benchmark, result)
        return run


def write_tables(terminal: pytest.TerminalReporter) -> None:
    """The tables of all runs of this session, below pytest's own lines."""
    width = terminal.config.get_terminal_writer().fullwidth
    for run in terminal.config.stash.get(_RUNS, []):
        terminal.section("trtbench", sep="-")
        terminal.write_line(api.tables(run, width=width))
        if terminal.config.getoption("trtbench_store"):
            terminal.write_line(f"trtbench show {run.path}")


def _rewritten(model: Any, error: InputError) -> UsageError | None:
    """The error about a model of a file whose asserts pytest has rewritten: workers import another program from it."""
    module = sys.modules.get(getattr(model, "__module__", ""))
    if not isinstance(getattr(module, "__loader__", None), AssertionRewritingHook) or "changed after" not in error.what:
        return None
    what = "pytest has rewritten the asserts of the model's file, so it is not the program that workers import"
    fix = "move the model into a file without tests, or write PYTEST_DONT_REWRITE into the docstring of this one"
    return UsageError(what, where=str(getattr(module, "__file__", "")), fix=fix)


def _judge(results: Sequence[CaseResult]) -> None:
    """CaseFailed if one has no sound result; skip if all lack a package or a device."""
    missing = [result for result in results if result.unavailable]
    if len(missing) == len(results):
        pytest.skip(missing[0].failure)
    if failures := [result.failure for result in results if result.failure and not result.unavailable]:
        raise CaseFailed("\n".join(failures))


def _options(config: pytest.Config) -> dict[str, Any]:
    """The options of a run. Where pytest-benchmark measures nothing, one short process shows that a case works."""
    quick = config.getoption("trtbench_quick") or pytest_feed.is_disabled(config)
    options: dict[str, Any] = {"store": _store(config), "quick": quick}
    if replicates := config.getoption("trtbench_replicates"):
        options["replicates"] = replicates
    return options


def _store(config: pytest.Config) -> str:
    """The folder of runs: the one that is asked for, else one that is removed at the end."""
    if folder := config.getoption("trtbench_store"):
        return str(folder)
    if _FOLDER not in config.stash:
        config.stash[_FOLDER] = folder = tempfile.TemporaryDirectory(prefix="trtbench-pytest-")
        config.add_cleanup(folder.cleanup)
    return config.stash[_FOLDER].name


def _measure(config: pytest.Config, suite: str, cases: Sequence[Case]) -> api.Run:
    """Measure ``cases`` of a suite. InputError as ``bench.run``."""
    request = api.request(suite, backend=config.getoption("trtbench_backend"), **_options(config))
    ids = {case.id for case in cases}
    plan = msgspec.structs.replace(request.plan, cases=tuple(c for c in request.plan.cases if c.id in ids))
    try:
        run = api.execute(msgspec.structs.replace(request, plan=plan), on_event=_Progress(config))
    except api.Rescued as error:
        warnings.warn(pytest.PytestWarning(str(error)), stacklevel=2)
        run = error.run
    config.stash.setdefault(_RUNS, []).append(run)
    return run


class _Progress:
    """With ``-v``, a line per process that was measured: the items of a suite are reported when all are done."""

    def __init__(self, config: pytest.Config) -> None:
        self._capture = config.pluginmanager.getplugin("capturemanager")
        self._terminal = config.pluginmanager.getplugin("terminalreporter") if config.get_verbosity() > 0 else None

    def __call__(self, event: events.Event) -> None:
        if not isinstance(event, events.Stored) or self._terminal is None:
            return
        with self._capture.global_and_fixture_disabled():
            self._terminal.ensure_newline()
            self._terminal.write_line(f"trtbench: {event.done}/{event.total} {event.record.label}")
