"""What pytest-benchmark is given of a case: the one module that knows its private parts, those of 5.3."""

from __future__ import annotations

import warnings
from importlib import metadata
from typing import Any

import pytest

from bench.integrations.case_result import CaseResult
from bench.units import NS_PER_S


def is_active(config: pytest.Config) -> bool:
    """Whether pytest-benchmark takes part in this run of pytest."""
    return hasattr(config, "_benchmarksession")


def is_disabled(config: pytest.Config) -> bool:
    """Whether it was told to measure nothing (``--benchmark-disable``), or does so because of pytest-xdist."""
    return is_active(config) and bool(getattr(_session(config), "disabled", False))


def skips(config: pytest.Config) -> bool:
    """Whether it was told to skip benchmarks."""
    return is_active(config) and bool(getattr(_session(config), "skip", False))


def feed(item: pytest.Item, funcargs: dict[str, object], case: CaseResult) -> None:
    """Add the case under the name of its item, whose ``funcargs`` get a fixture of pytest-benchmark."""
    if not is_active(item.config) or is_disabled(item.config):
        return
    try:
        fixture = _new_fixture(item)
        _fill(fixture, _session(item.config), case)
    except (AttributeError, TypeError) as error:
        _warn(error)
    else:
        funcargs["benchmark"] = fixture


def claim(fixture: Any) -> None:
    """A test uses its fixture of pytest-benchmark, if there is one: else this warns of one that was not used."""
    if fixture is not None:
        fixture._mode = "trtbench(...)"


def feed_from_test(item: pytest.Item, fixture: Any, case: CaseResult) -> None:
    """Add a case that a test measured, under the test's name and the backend; ``fixture`` is the test's own one."""
    if fixture is None:
        return
    try:
        if not fixture.disabled:
            own = _new_fixture(item)
            own.name, own.fullname = (f"{name}[{case.case.label}]" for name in (fixture.name, fixture.fullname))
            _fill(own, _session(item.config), case)
    except (AttributeError, TypeError) as error:
        _warn(error)


def _session(config: pytest.Config) -> Any:
    return config._benchmarksession  # type: ignore[attr-defined]


def _new_fixture(item: pytest.Item) -> Any:
    """As its fixture ``benchmark`` makes one."""
    from pytest_benchmark.fixture import BenchmarkFixture

    session = _session(item.config)
    return BenchmarkFixture(
        item,
        add_stats=session.benchmarks.append,
        logger=session.logger,
        warner=item.warn,
        disabled=session.disabled,
        **session.options,
    )


def _fill(fixture: Any, session: Any, case: CaseResult) -> None:
    """The samples in seconds, one call each; cases of one model and sizes are a group of its tables."""
    fixture._mode = "trtbench"
    fixture.group = " ".join([case.row.model, *(f"{name}={size}" for name, size in case.row.symbols.items())])
    fixture.params = dict(case.params())
    fixture.extra_info.update(case.facts())
    stats = fixture._make_stats(1)
    # Of its own options none was in use.
    stats.options = {"timer": f"trtbench {case.boundary}", "processes": case.row.processes}
    for sample in case.samples_ns:
        stats.update(sample / NS_PER_S)
    _check_compared(fixture, session)


def _check_compared(fixture: Any, session: Any) -> None:
    """Warn if what ``--benchmark-compare`` shows beside the case is of another environment."""
    for path, entries in (session.compared_mapping or {}).items():
        before = entries.get(fixture.fullname, {}).get("extra_info", {}).get("fingerprint")
        if before and before != fixture.extra_info["fingerprint"]:
            what = f"{fixture.fullname}: {path} was measured in another environment, so its times are not comparable"
            warnings.warn(pytest.PytestWarning(what), stacklevel=2)


def _warn(error: Exception) -> None:
    version = metadata.version("pytest-benchmark")
    what = f"pytest-benchmark {version} is not built as 5.3 is, and was given nothing: {error}"
    warnings.warn(pytest.PytestWarning(what), stacklevel=2)
