"""What is kept of TensorRT's messages."""

from __future__ import annotations

from types import SimpleNamespace

from bench.runtimes.trt import library


class ILogger:
    """TensorRT's base of loggers."""


WARNING = SimpleNamespace(name="WARNING")


def test_the_messages_since_one_are_found_in_a_log_that_has_dropped_older_ones() -> None:
    log = library.Log(SimpleNamespace(ILogger=ILogger))
    assert (log.newest(), log.since(None)) == (None, [])
    for number in range(1000):
        log.logger.log(WARNING, f"before {number}")
    mark = log.newest()
    assert log.since(mark) == []
    log.logger.log(WARNING, "the cache is refused")
    log.logger.log(WARNING, "before 999")  # equal to the marked one
    assert [line.text for line in log.since(mark)] == ["the cache is refused", "before 999"]
    for number in range(1000):
        log.logger.log(WARNING, f"after {number}")
    kept = [line.text for line in log.since(mark)]
    assert (len(kept), kept[-1]) == (len(log.lines), "after 999")
