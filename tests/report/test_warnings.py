"""The sentence of each kind of warning, and what becomes of several warnings of one kind."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bench
from bench.analysis import fairness
from bench.measure import stop
from bench.model.run import Warning
from bench.report.warnings import SENTENCES, describe, key, merge

ROOT = Path(bench.__file__).parent
# Where a kind is no literal: what the expression is, and the kinds that it can be. A merged warning has that of its
# parts.
COMPUTED = {
    ("analysis/fairness.py", "kind"): {kind for kind, *_ in fairness._COUNTED},
    ("measure/result.py", "'Imprecise' if enough else measurement.stop"): {"Imprecise", stop.PLATEAU, stop.MAX_TIME},
    ("measure/result.py", "'Noisy' if warm.noisy else 'NotSteady'"): {"Noisy", "NotSteady"},
    ("report/warnings.py", "first.kind"): set(),
    ("runner/stages.py", "stage.absence"): {"NoQuantizedReference"},
}
# Figures as they are produced, of each form that a kind has.
EXAMPLES: list[tuple[str, dict[str, Any]]] = [
    ("BlindReference", {"constant": {"y": 0.5, "z": 0.0}, "repeated": ["w"], "samples": 4, "outputs": 3, "single": 0}),
    (
        "BlindReference",
        {"constant": {"y": 0}, "repeated": [], "samples": 1, "outputs": 1, "single": 0, "metric": "zoo.py:map"},
    ),
    ("EmptyOutput", {"empty": ["boxes"], "outputs": 3}),
    ("EmptyOutput", {"empty": ["boxes"], "outputs": 1, "metric": "zoo.py:count"}),
    ("EmptyOutput", {"empty": ["boxes"], "outputs": 1, "metric": "zoo.py:count", "metric_numbers": 0}),
    ("BlindReference", {"constant": {"y": "-inf"}, "repeated": [], "samples": 1, "outputs": 2}),
    ("ClockChanged", {"sm_mhz_min": 1500, "sm_mhz_max": 1980, "boundaries": {"gpu": True, "latency": False}}),
    ("ClockChanged", {"sm_mhz_min": 1500, "sm_mhz_max": 1980, "boundaries": {}}),
    ("ExporterWarning", {"warnings": 1, "text": "a batch size of 1", "place": "torch/onnx/x.py:4", "others": []}),
    ("FasterThanLight", {"boundary": "gpu", "fraction": 1.2, "precision": "fp16"}),
    ("FewerLanes", {"cause": "backend", "lanes": 1, "requested": 4}),
    ("FewerLanes", {"cause": "memory", "lanes": 2, "requested": 4}),
    ("ForeignProcess", {"processes": 1}),
    ("ForeignProcess", {"processes": 2, "memory_bytes": 4 << 30}),
    ("GraphBreaks", {"breaks": 2, "reasons": ["a print", "a jump"]}),
    ("GraphsByBackend", {}),
    ("GraphsSkipped", {"skipped": 1, "reasons": []}),
    ("HostBound", {"enqueue_ns": 120_000.0, "gpu_ns": 20_000, "graph": False}),
    ("HostBound", {"enqueue_ns": 120_000.0, "gpu_ns": 20_000, "graph": True}),
    ("HostDrift", {"enqueue_ns": 120_000.0, "latency_ns": 90_000.0}),
    ("LoggedErrors", {"errors": ["first", "last"]}),
    ("MaxTime", {"boundary": "gpu", "half_width": None, "samples": 3, "max_time_ns": 10**9, "batch": 1}),
    (
        "MaxTime",
        {"boundary": "gpu", "half_width": 0.02, "samples": 9, "max_time_ns": 10**9, "batch": 1, "quick": True},
    ),
    ("MaxTime", {"boundary": "gpu", "half_width": 0.02, "samples": 30, "max_time_ns": 15 * 10**9, "batch": 8}),
    ("NoEnergy", {"reason": "the card's energy counter did not move"}),
    ("NoOverlap", {"in_flight_ns": 120_000.0, "alone_ns": 90_000}),
    ("NoisyHost", {"window_ns": 2 * 10**9, "longest_wait_ns": 10**9}),
    ("NoisyHost", {"window_ns": 2 * 10**9, "preemptions": 500, "load_average": 6.0, "cores": 2}),
    (
        "NotAsQuantized",
        {"outputs": {"y": {"cosine": 0.99, "fp32_cosine": 0.98}}, "undefined": [], "least": 0.999, "more": 0},
    ),
    ("GroupedDeconvolutions", {"layers": 8, "groups": 832, "by_hand": ""}),
    ("GroupedDeconvolutions", {"layers": 1, "groups": 64, "by_hand": "net.py"}),
    ("NotDense", {"in_groups": 3, "grouped": 2, "reasons": ["up: it stays in PyTorch", "out: it stays in PyTorch"]}),
    ("NotDense", {"in_groups": 0, "grouped": 0, "reasons": []}),
    ("PartlyQuantized", {"quantized": 1, "layers": 8, "uncovered": 7, "reasons": ["out: its weights are computed"]}),
    ("NotAsQuantized", {"outputs": {}, "undefined": ["y"], "least": 0.999, "more": 2}),
    (
        "AmplifiesRounding",
        {"outputs": {"y": {"cosine": 0.9, "fp32_cosine": 0.8, "rounding_cosine": 0.85}}, "least": 0.999, "more": 0},
    ),
    ("NoQuantizedReference", {"failure": "Crash", "in": "", "message": "SIGKILL", "hint": ""}),
    ("NoQuantizedReference", {"failure": "OutOfMemory", "in": "run", "message": "no memory", "hint": "more of it"}),
    ("MetricNotRehearsed", {"metric": "m.py:top1", "error": "KeyError: 'logits'", "outputs": ["x.tanh"]}),
    ("NotCold", {"left_out": ["throughput", "energy"]}),
    ("Imprecise", {"boundary": "latency", "half_width": 0.05, "samples": 34}),
    ("Noisy", {"calls": 90, "ns": 10**9, "spread": 0.031}),
    ("Noisy", {"calls": 90, "ns": 10**9, "spread": None}),
    ("NotSteady", {"calls": 90, "ns": 10**9, "spread": 0.031}),
    ("NotSteady", {"calls": 90, "ns": 10**9, "spread": None}),
    ("OutputsChange", {"outputs": {"y": 0.73, "z": 0.0021}, "more": 0, "by": "program"}),
    ("OutputsChange", {"outputs": {"y": 1.0}, "more": 3, "by": "reference"}),
    ("Plateau", {"boundary": "latency", "half_width": 0.02, "samples": 300}),
    ("Recompiled", {"recompiles": 2, "reasons": ["calls == 0"], "gave_up": True}),
    ("Recompiled", {"recompiles": 1, "reasons": ["x.size()[0] == 1"]}),
    ("ResumedByAnother", {"version": "1.1", "begun_by": "1.0"}),
    ("ResumedElsewhere", {"what": "card"}),
    ("SharedHost", {"others": 1}),
    ("Spread", {"boundary": "gpu", "low_ns": 950_000, "high_ns": 1_200_000, "sd": 0.1, "within": 0.01, "graph": False}),
    ("StateChanges", {"names": ["step", "keys: (2, 1, 8) -> (2, 2, 8)"], "more": 0, "by": "program"}),
    ("StateChanges", {"names": ["step"], "more": 2, "by": "reference"}),
    ("Drift", {"level": "samples", "boundary": "latency", "first_ns": 531_000.0, "last_ns": 552_000.0}),
    ("Drift", {"level": "processes", "boundary": "gpu", "first_ns": 531_000.0, "last_ns": 552_000.0}),
    ("Throttled", {"reasons": {"SwPowerCap": 0.2}, "readings": 10, "boundaries": {}}),
    (
        "Throttled",
        {
            "reasons": {"SwPowerCap": 0.2, "Reason13": 0.1},
            "readings": 10,
            "boundaries": {"gpu": False, "latency": True},
            "sm_mhz_min": 1500,
            "sm_mhz_max": 1980,
        },
    ),
    ("Throttled", {"thermal_throttles": 3}),
    ("Throttled", {"quota_throttles": 8}),
    (
        "TracerWarning",
        {"warnings": 3, "text": "A Python boolean. It is fixed", "place": "net.py:9", "others": ["net.py:12"]},
    ),
    ("TransferBound", {"copies_ns": 411_000.0, "compute_ns": 100_000.0}),
    *(
        (
            "TwoStates",
            {
                "level": level,
                "boundary": "gpu",
                "low_ns": 531_000.0,
                "high_ns": 548_000.0,
                "share": 0.4,
                "processes": 7,
                "graph": False,
            },
        )
        for level in ("processes", "samples")
    ),
    ("Unheld", {"cause": "waits"}),
    ("Unheld", {"cause": "launch_blocking", "reason": "CUDA_LAUNCH_BLOCKING is set"}),
    ("Unheld", {"cause": "profiler", "reason": "launches are serial"}),
    ("Unheld", {"cause": "driver", "reason": "the driver has no such operation"}),
    ("Unheld", {"cause": "runs_ahead", "period_ns": 500_000.0, "gpu_ns": 100_000.0}),
    ("Unheld", {"cause": "runs_ahead", "shorter_ns": 40_000}),
]


def constructed() -> Iterator[tuple[str, ast.expr]]:
    """The file and the ``kind`` of each Warning that the package constructs."""
    for path in sorted(ROOT.rglob("*.py")):
        text = path.read_text()
        for node in ast.walk(ast.parse(text)) if "Warning(" in text else ():
            if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] == "Warning":
                (kind,) = [keyword.value for keyword in node.keywords if keyword.arg == "kind"]
                yield path.relative_to(ROOT).as_posix(), kind


def test_every_kind_that_is_produced_has_a_sentence_and_every_sentence_a_producer() -> None:
    kinds = list(constructed())
    literal = {kind.value for _, kind in kinds if isinstance(kind, ast.Constant)}
    computed = {(path, ast.unparse(kind)) for path, kind in kinds if not isinstance(kind, ast.Constant)}
    assert computed == COMPUTED.keys()
    assert literal | set().union(*COMPUTED.values()) == SENTENCES.keys()


def test_every_sentence_has_an_example() -> None:
    assert {kind for kind, _ in EXAMPLES} == SENTENCES.keys()


@pytest.mark.parametrize(("kind", "figures"), EXAMPLES, ids=lambda value: value if isinstance(value, str) else "")
def test_a_warning_says_the_same_after_it_was_stored(kind: str, figures: dict[str, Any]) -> None:
    warning = Warning(kind=kind, figures=figures)
    stored = msgspec.json.decode(msgspec.json.encode(warning), type=Warning)
    assert describe(stored) == describe(warning)
    text, hint = describe(warning)
    assert text
    assert hint
    assert "None" not in text + hint


# ---------------------------------------------------------------------------------------------------------- merging


def host_bound(enqueue_ns: float, gpu_ns: float = 20_000, graph: bool = False) -> Warning:
    return Warning(kind="HostBound", figures={"enqueue_ns": enqueue_ns, "gpu_ns": gpu_ns, "graph": graph})


@pytest.mark.parametrize(
    ("times", "span"),
    [
        ((120_000, 131_000), "120 to 131 us"),
        ((131_000, 125_000, 120_000), "120 to 131 us"),
        ((950_000, 1_200_000), "950 us to 1.20 ms"),
        ((120_000, 120_000), "120 us"),
        ((120_000, 120_001), "120 us"),  # the same as they are shown
    ],
)
def test_numbers_that_differ_are_shown_as_a_span(times: tuple[int, ...], span: str) -> None:
    warnings = [host_bound(time) for time in times]
    assert len({key(warning) for warning in warnings}) == 1
    text, hint = describe(merge(warnings))
    assert text == f"issuing a call takes the host {span}, running it takes the GPU 20.0 us: the GPU waits"
    assert hint == "cuda_graph: on"


def test_numbers_in_a_mapping_are_merged_name_by_name() -> None:
    figures = {"readings": 10, "boundaries": {}, "sm_mhz_min": 1500, "sm_mhz_max": 1980}
    one = Warning(kind="Throttled", figures={"reasons": {"SwPowerCap": 0.2, "HwSlowdown": 0.1}, **figures})
    other = Warning(kind="Throttled", figures={"reasons": {"SwPowerCap": 0.25, "HwSlowdown": 0.1}, **figures})
    assert key(one) == key(other)
    reordered = {"reasons": {"HwSlowdown": 0.1, "SwPowerCap": 0.25}, **figures}
    assert key(one) == key(Warning(kind="Throttled", figures=reordered))
    merged = describe(merge([one, msgspec.structs.replace(other, figures={**other.figures, "sm_mhz_min": 1400})]))
    assert merged.text == (
        "the GPU was throttled (SwPowerCap in 20 to 25 %, HwSlowdown in 10 % of 10 readings); "
        "the SM clock was between 1400 and 1980 MHz"
    )


def test_figures_that_are_no_numbers_keep_warnings_apart() -> None:
    def apart(one: Warning, other: Warning) -> bool:
        return key(one) != key(other)

    def warning(kind: str, **figures: Any) -> Warning:
        return Warning(kind=kind, figures=figures)

    assert apart(host_bound(1, graph=False), host_bound(1, graph=True))
    assert apart(warning("ResumedElsewhere", what="card"), warning("ResumedElsewhere", what="machine"))
    assert apart(warning("GraphBreaks", breaks=1, reasons=["a"]), warning("GraphBreaks", breaks=1, reasons=["b"]))
    assert apart(warning("Plateau", half_width=None), warning("Plateau", half_width=0.1))
    assert apart(warning("Throttled", thermal_throttles=1), warning("Throttled", quota_throttles=1))
    assert apart(warning("ForeignProcess", processes=1), warning("ForeignProcess", processes=1, memory_bytes=1))
    assert apart(warning("Throttled", boundaries={"gpu": True}), warning("Throttled", boundaries={"gpu": False}))
    assert apart(warning("Throttled", reasons={"A": 0.1}), warning("Throttled", reasons={"B": 0.1}))
    assert apart(warning("HostDrift"), warning("NoOverlap"))


def test_a_warning_that_was_stored_with_its_text_shows_that() -> None:
    old = Warning(kind="HostBound", message="issuing a call takes 7 us", hint="cuda_graph: on")
    assert describe(old) == ("issuing a call takes 7 us", "cuda_graph: on")
    assert describe(merge([old, old])) == ("issuing a call takes 7 us", "cuda_graph: on")
    assert key(old) != key(host_bound(7_000))
    assert describe(Warning(kind="HostBound", message="without a hint")) == ("without a hint", "")


def test_a_kind_that_has_no_sentence_shows_its_figures() -> None:
    later = Warning(kind="OfALaterVersion", figures={"gpu_ns": 5})
    assert describe(later) == ("no description of this warning: {'gpu_ns': 5}", "")


def varied(figures: Any) -> st.SearchStrategy[Any]:
    """The same figures with other numbers."""
    if isinstance(figures, dict):
        return st.tuples(*map(varied, figures.values())).map(lambda values: dict(zip(figures, values, strict=True)))
    if isinstance(figures, bool) or not isinstance(figures, int | float):
        return st.just(figures)
    return st.integers(0, 10**15) if isinstance(figures, int) else st.floats(0, 1e15)


@settings(max_examples=10)  # of each of the forms
@given(st.data())
@pytest.mark.parametrize(("kind", "figures"), EXAMPLES, ids=lambda value: value if isinstance(value, str) else "")
def test_warnings_that_differ_only_in_numbers_have_one_sentence(
    kind: str, figures: dict[str, Any], data: st.DataObject
) -> None:
    several = data.draw(st.lists(varied(figures), min_size=1, max_size=4))
    warnings = [Warning(kind=kind, figures=one) for one in several]
    assert {key(warning) for warning in warnings} == {key(Warning(kind=kind, figures=figures))}
    text, hint = describe(merge(warnings))
    assert text
    assert hint
    assert "Span(" not in text + hint
    assert describe(merge(warnings[::-1])) == (text, hint)
    assert describe(merge(warnings * 2)) == (text, hint)
