"""Energy of the saturated loop: which readings of the counter it is from, and why there is none."""

from __future__ import annotations

import msgspec
import pytest

from bench.model.telemetry import ClockFigures
from bench.report.warnings import describe
from tests.runner.watch_kit import Events, S, play


@pytest.mark.parametrize("following", ["saturated", "measure", "energy", "validate"])
def test_energy_is_that_from_the_loops_beginning_to_the_next_phase_whichever_that_is(
    monkeypatch: pytest.MonkeyPatch, following: str
) -> None:
    events: Events = {
        0.9: "measure",
        2.8: {"mj": 1_000_000},
        2.9: "saturate",
        4.1: "saturate: almost done",
        7.8: {"mj": 3_000_000},
        7.9: following,
        8.8: {"mj": 9_000_000},
        8.9: "validate",
        9.4: {"mj": 19_000_000},
    }
    facts = ClockFigures(saturated_ns=5 * S, saturated_inferences=10_000)
    telemetry = play(monkeypatch, events, facts=facts).telemetry
    assert telemetry.gpu.saturated_power_w == pytest.approx(400)
    assert telemetry.inference_j == pytest.approx(0.2)
    assert (telemetry.gpu.readings, telemetry.gpu.span_ns) == (6, 2 * S)
    assert telemetry.gpu.saturated_readings == 10


def test_without_a_saturated_loop_the_counter_tells_nothing_of_one(monkeypatch: pytest.MonkeyPatch) -> None:
    facts = ClockFigures(saturated_ns=5 * S, saturated_inferences=10_000)
    telemetry = play(monkeypatch, {0.9: "measure", 2.9: "validate"}, facts=facts).telemetry
    assert telemetry.gpu is not None
    assert not {key for key in msgspec.to_builtins(telemetry.gpu) if key.startswith("saturated")}
    assert telemetry.clock == facts
    assert telemetry.inference_j is None


def test_telemetry_of_a_loop_whose_size_is_unknown_has_no_energy_of_an_inference(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    events: Events = {0.9: "measure", 2.9: "saturate", 7.8: {"mj": 9_000_000}, 7.9: "saturated", 8: "validate"}
    telemetry = play(monkeypatch, events).telemetry
    assert telemetry.gpu.saturated_power_w > 0
    assert telemetry.inference_j is None


@pytest.mark.parametrize(
    ("errors", "reason"),
    [({}, "the card's energy counter did not move"), ({"nvmlDeviceGetTotalEnergyConsumption": 3}, "tells no energy")],
)
def test_a_loop_without_energy_says_why_and_is_no_inference_for_nothing(
    monkeypatch: pytest.MonkeyPatch, errors: dict[str, int], reason: str
) -> None:
    events: Events = {0.9: "measure", 2.9: "saturate", 7.9: "saturated", 8: "validate"}
    facts = ClockFigures(saturated_ns=5 * S, saturated_inferences=10_000)
    record = play(monkeypatch, events, facts=facts, errors=errors)
    assert (record.telemetry.gpu.saturated_power_w, record.telemetry.inference_j) == (None, None)
    (warning,) = [warning for warning in record.warnings if warning.kind == "NoEnergy"]
    assert reason in warning.figures["reason"] == record.telemetry.gpu.saturated_power_reason
    assert reason in describe(warning).text


def test_a_loop_that_did_not_end_has_no_energy_and_no_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    telemetry = play(monkeypatch, {0.9: "measure", 2.9: "saturate"}).telemetry
    assert telemetry.gpu is not None
    assert not {key for key in msgspec.to_builtins(telemetry.gpu) if key.startswith("saturated_power")}
