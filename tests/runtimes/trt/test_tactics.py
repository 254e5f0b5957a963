"""What the log of TensorRT 8 says of a build's time."""

from __future__ import annotations

from bench.measure.clock import FakeClock
from bench.runtimes.trt.tactics import TacticLog


def test_the_time_of_a_layer_ends_when_the_next_begins() -> None:
    clock, told = FakeClock(), list[str]()
    log = TacticLog(clock, told.append)
    for layer, runner, ns in (
        ("a (1)", "Cask[0x1]", 5),
        ("a (1)", "Cudnn", 7),
        ("b", "Cask[0x1]", 20),
        ("a (1)", "X", 1),
    ):
        log.read(f"--------------- Timing Runner: {layer} ({runner})")
        clock.advance(ns)
    log.read("Fastest Tactic: 0x1 Time: 0.1")
    log.read("Formats and tactics selection completed in 9.4 seconds.")
    clock.advance(1_000)  # the rest of the build is of no layer
    assert log.times() == {"b": 20, "a (1)": 13}
    assert list(log.times()) == ["b", "a (1)"]
    assert told == ["1 timed, a (1)", "3 timed, b", "4 timed, a (1)"]


def test_what_layers_have_taken_is_told_as_each_begins_and_when_the_last_has_ended() -> None:
    clock, told = FakeClock(), list[tuple[dict[str, int], str]]()
    log = TacticLog(clock, lambda text: None, lambda layers, current: told.append((dict(layers), current)))
    for layer, ns in (("a", 5), ("b", 20)):
        log.read(f"--------------- Timing Runner: {layer} (Cask)")
        clock.advance(ns)
    log.read("Formats and tactics selection completed in 9.4 seconds.")
    assert told == [({}, "a"), ({"a": 5}, "b"), ({"b": 20, "a": 5}, "")]


def test_a_long_name_is_shortened_in_the_progress_and_whole_in_the_times() -> None:
    clock, told = FakeClock(), list[str]()
    log = TacticLog(clock, told.append)
    log.read(f"--------------- Timing Runner: {'n' * 500} (Cask)")
    clock.advance(3)
    assert len(told[0]) < 80
    assert told[0].endswith("...")
    assert log.times() == {"n" * 500: 3}


def test_ten_layers_are_kept_and_a_build_without_messages_has_none() -> None:
    clock = FakeClock()
    log = TacticLog(clock, lambda text: None)
    assert log.times() == {}
    for n in range(15):
        log.read(f"--------------- Timing Runner: layer{n} (Cask)")
        clock.advance(n)
    assert list(log.times()) == [f"layer{n}" for n in range(14, 4, -1)]
