from __future__ import annotations

import threading

import pytest

from bench.measure.clock import FakeClock, HostClock


def test_the_host_clock_never_falls_and_counts_integer_nanoseconds() -> None:
    times = [HostClock().now() for _ in range(100)]
    assert times == sorted(times)
    assert all(isinstance(time, int) for time in times)


def test_the_fake_clock_stands_still_until_it_is_advanced() -> None:
    clock = FakeClock()
    assert (clock.now(), clock.now()) == (0, 0)
    clock.advance(5)
    clock.advance(0)
    assert clock.now() == 5


def test_the_fake_clock_does_not_go_back() -> None:
    with pytest.raises(ValueError, match="go back by 3 ns"):
        FakeClock().advance(-3)


def test_each_thread_has_its_own_fake_time() -> None:
    clock, seen = FakeClock(), []

    def elsewhere() -> None:
        clock.advance(7)
        seen.append(clock.now())

    clock.advance(100)
    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert (seen, clock.now()) == ([7], 100)
