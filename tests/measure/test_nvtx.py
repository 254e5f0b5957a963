"""Ranges reach nvtx where it is, and cost nothing where it is not."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from types import ModuleType

import pytest

from bench.measure import nvtx


@pytest.fixture
def log(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, str]]:
    """A stand-in for nvtx that writes down what it is asked."""
    written: list[tuple[str, str]] = []
    nvtx = ModuleType("nvtx")

    @contextlib.contextmanager
    def annotate(message: str, domain: str) -> Iterator[None]:
        written.append((domain, message))
        try:
            yield
        finally:
            written.append((domain, f"end of {message}"))

    nvtx.annotate = annotate  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "nvtx", nvtx)
    return written


def test_a_range_lies_in_our_domain_and_ends_with_its_block(log: list[tuple[str, str]]) -> None:
    with nvtx.range_("load"):
        assert log == [("trtbench", "load")]
    assert log[-1] == ("trtbench", "end of load")


def test_a_range_ends_when_its_block_raises(log: list[tuple[str, str]]) -> None:
    with pytest.raises(ValueError, match="broken"), nvtx.range_("load"):
        raise ValueError("broken")
    assert log[-1] == ("trtbench", "end of load")


def test_each_call_has_its_range_and_gives_its_value(log: list[tuple[str, str]]) -> None:
    call = nvtx.each(lambda: 42, "call")
    assert [call(), call()] == [42, 42]
    assert [message for _, message in log] == ["call", "end of call"] * 2


def test_without_nvtx_a_range_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nvtx", None)
    with nvtx.range_("load"):
        pass
    assert nvtx.each(lambda: 42, "call")() == 42


def test_the_real_nvtx_takes_our_ranges() -> None:
    pytest.importorskip("nvtx")
    with nvtx.range_("outer"), nvtx.range_("inner"):
        pass
