"""What warnings say, word by word."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import bench
from bench.model.run import Warning
from bench.report.warnings import SENTENCES, describe

ROOT = Path(bench.__file__).parent
PAGE = ROOT.parent / "docs" / "measuring.md"
MEBIBYTE = 2**20

PLATEAU = "more samples did not narrow it: the time drifts or jumps"
CAPPED = {"reasons": {"SwPowerCap": 0.644, "HwSlowdown": 0.25}, "readings": 11}
CLOCKS = {"sm_mhz_min": 1515, "sm_mhz_max": 1980}
GAIN = {"boundary": "latency", "with_ns": 471_000.0, "without_ns": 2_069_000.0, "speed": 4.39, "effect": "faster"}
LOSS = {"boundary": "throughput", "with_rate": 13_507.8, "without_rate": 14_219.1, "speed": 0.95, "effect": "slower"}
TABLE: list[tuple[str, dict[str, Any], str, str]] = [
    (
        "NotSteady", {"calls": 40, "ns": 10_000_000_000, "spread": 0.034},
        "after 40 warm-up calls in 10.0 s the medians of three windows still differed by 3.4%", "longer warmup_limit",
    ),
    (
        "Noisy", {"calls": 90, "ns": 1_200_000_000, "spread": 0.034},
        "after 90 warm-up calls in 1.20 s the medians of three windows differed by 3.4%, but neither rose nor fell: "
        "the machine is noisy, and a longer warm-up does not help", "close other programs",
    ),
    (
        "Noisy", {"calls": 5, "ns": 1_200_000_000, "spread": 1.4},
        "the medians of three windows differed by more than 100%, but neither", "more processes (replicates)",
    ),
    (
        "Noisy", {"calls": 5, "ns": 1_200_000_000, "spread": None},
        "the medians of three windows differed, one of them 0, but neither", "close other programs",
    ),
    (
        "Imprecise", {"boundary": "latency", "half_width": 0.05, "samples": 34},
        "the median of latency is known to ±5.0% from 34 samples, which took a second", "more processes (replicates)",
    ),
    (
        "Plateau", {"boundary": "gpu_unheld", "half_width": 0.088, "samples": 112},
        f"the median of gpu_unheld is known to ±8.8% from 112 samples, and {PLATEAU}", "fix the CPU's frequency",
    ),
    (
        "NotSteady", {"calls": 40, "ns": 10_000_000_000, "spread": 51.5},
        "the medians of three windows still differed by more than 100%", "longer warmup_limit",
    ),
    (
        "Plateau", {"boundary": "gpu", "half_width": 51.52, "samples": 112},
        "the median of gpu is not known to any interval from 112 samples", "fix the CPU's frequency",
    ),
    (
        "MaxTime",
        {"boundary": "latency", "half_width": 0.033, "samples": 165, "max_time_ns": 1_000_000_000, "batch": 8},
        "the median of latency is known to ±3.3% from 165 samples when 1.00 s were over",
        "a longer max_time, or no --quick, if the run was made with it, or a smaller batch",
    ),
    (
        "MaxTime", {"boundary": "gpu", "half_width": None, "samples": 3, "max_time_ns": 15_000_000_000, "batch": 1},
        "the median of gpu is not known to any interval from 3 samples when 15.0 s were over", "a longer max_time",
    ),
    (
        "HostDrift", {"enqueue_ns": 6_900_000, "latency_ns": 4_480_000.0},
        "issuing a call took 6.90 ms, and a whole request, measured seconds later, 4.48 ms: the host's speed changed "
        "between them", "cuda_graph: on, close other programs, more processes",
    ),
    (
        "NoOverlap", {"in_flight_ns": 701_000.5, "alone_ns": 628_000},
        "with calls in flight together each takes 701 us, a request alone 628 us: overlapping gains nothing",
        "cuda_graph: on, if the host is the limit",
    ),
    (
        "StateChanges", {"names": ["step", "keys: (2, 1) -> (2, 2)"], "more": 0, "by": "program"},
        "each call changes what the program holds (step, keys: (2, 1) -> (2, 2)), so no call is like the one before: "
        "neither ratio nor rank", "state as an input and an output",
    ),
    (
        "StateChanges", {"names": ["norm.running_mean"], "more": 2, "by": "program"},
        "each call changes what the program holds (norm.running_mean and 2 more)", "keep layers out of training",
    ),
    (
        "StateChanges", {"names": ["step"], "more": 2, "by": "reference"},
        "each call of the model changes its state (step and 2 more), of which a program made from it may have but one",
        "state as an input and an output",
    ),
    (
        "OutputsChange", {"outputs": {"y": 0.734, "z": 0.0021}, "more": 0, "by": "program"},
        "two calls on equal inputs return other values ('y' by 73%, 'z' by 0.21%): neither ratio nor rank",
        "without dropout or noise in forward",
    ),
    (
        "OutputsChange", {"outputs": {"y": 1.0}, "more": 4, "by": "reference"},
        "two calls of the model that made the reference on equal inputs return other values ('y' by 100% and 4 more)",
        "whose kernels wait for their inputs",
    ),
    (
        "FewerLanes", {"cause": "memory", "lanes": 1, "requested": 2}, "memory had room for 1 of 2 lanes",
        "a smaller batch, or fewer streams",
    ),
    (
        "FewerLanes", {"cause": "backend", "lanes": 1, "requested": 4}, "throughput is of 1 lane, not of the 4 streams",
        "streams: 1",
    ),
    ("NotCold", {"left_out": ["throughput", "energy"]}, "throughput and energy left out", "l2: warm"),
    ("Unheld", {"cause": "waits"}, "the call waits for the GPU (a synchronisation, a full", "set_sync_debug_mode"),
    (
        "Unheld", {"cause": "launch_blocking", "reason": "CUDA_LAUNCH_BLOCKING makes every launch wait for the GPU"},
        "CUDA_LAUNCH_BLOCKING makes every launch wait for the GPU; plain events include the host's gaps",
        "unset CUDA_LAUNCH_BLOCKING",
    ),
    ("Unheld", {"cause": "profiler", "reason": "a profiler"}, "a profiler; plain events", "without the profiler"),
    ("Unheld", {"cause": "driver", "reason": "the driver"}, "the driver; plain events", "another driver or machine"),
    (
        "Unheld", {"cause": "runs_ahead", "period_ns": 900_000.0, "gpu_ns": 500_000},
        "calls back to back take 900 us, the held stream 500 us: work on other streams runs before", "side.wait_stream",
    ),
    ("Unheld", {"cause": "runs_ahead", "shorter_ns": 9_000}, "held for longer, a call takes 9.00 us less", "side."),
    (
        "HostBound", {"enqueue_ns": 144_000, "gpu_ns": 55_800.0, "graph": False},
        "issuing a call takes the host 144 us, running it takes the GPU 55.8 us: the GPU waits", "cuda_graph: on",
    ),
    ("HostBound", {"enqueue_ns": 144_000, "gpu_ns": 55_800.0, "graph": True}, "the GPU waits", "a larger batch"),
    (
        "HostBound", {"enqueue_ns": 144_000, "gpu_ns": 55_800.0, "graph": False, "graph_twin": GAIN},
        "the GPU waits", "cuda_graph: on, which was faster here: latency 471 us with it, 2.07 ms without",
    ),
    (
        "HostBound", {"enqueue_ns": 144_000, "gpu_ns": 55_800.0, "graph": False, "graph_twin": LOSS},
        "the GPU waits",
        "not cuda_graph: on, which was slower here: 13,508 inferences/s with it, 14,219 without; a larger batch",
    ),
    (
        "HostDrift", {"enqueue_ns": 6_900_000, "latency_ns": 4_480_000.0, "graph_twin": LOSS},
        "the host's speed changed between them",
        "not cuda_graph: on, which was slower here: 13,508 inferences/s with it, 14,219 without; close other programs",
    ),
    (
        "NoOverlap", {"in_flight_ns": 701_000.5, "alone_ns": 628_000, "graph_twin": LOSS},
        "overlapping gains nothing", "not cuda_graph: on, which was slower here",
    ),
    (
        "TransferBound", {"copies_ns": 106_000, "compute_ns": 59_600},
        "copies take 106 us of a request, compute 59.6 us", "a narrower input dtype",
    ),
    (
        "BlindReference", {"constant": {"y": 0.5}, "repeated": ["z"], "samples": 32, "outputs": 3, "single": 0},
        "the accuracy says little: in the reference output 'y' is 0.5 everywhere; output 'z' is the same for all 32 "
        "samples", "initialise the last layer in the model's factory, or load a checkpoint",
    ),
    (
        "NotAsQuantized",
        {"outputs": {"y": {"cosine": 0.9962, "fp32_cosine": 0.9951}}, "undefined": ["z"], "least": 0.999, "more": 1},
        "the runtime computes other outputs than the quantized model in PyTorch: their cosine is 0.9962 for output 'y' "
        "(0.9951 with fp32), undefined for output 'z' and 1 more, where at least 0.999 is expected",
        "graph_optimization: disabled runs the file as it is",
    ),
    (
        "NotAsQuantized",
        {
            "outputs": {"y": {"cosine": 0.9962, "fp32_cosine": 0.9951, "rounding_cosine": 0.99994}}, "undefined": [],
            "least": 0.999, "more": 0,
        },
        "their cosine is 0.9962 for output 'y' (0.9951 with fp32; that model with float16 between its layers has "
        "0.99994), where at least 0.999 is expected",
        "trtbench layers shows in which precision",
    ),
    (
        "AmplifiesRounding",
        {
            "outputs": {"y": {"cosine": 0.858, "fp32_cosine": 0.81, "rounding_cosine": 0.819}}, "least": 0.999,
            "more": 1,
        },
        "the network amplifies rounding: with float16 between its layers the quantized model in PyTorch has a cosine "
        "with itself of 0.819 for output 'y' (the runtime has 0.858, and 0.81 with fp32) and 1 more, so less than "
        "0.999 here is no sign that the runtime computes something else",
        "a checkpoint in place of random weights",
    ),
    (
        "NoQuantizedReference",
        {"failure": "Timeout", "in": "run", "message": "no answer within 60 s", "hint": "raise the timeout"},
        "the outputs were not compared with those of the quantized model in PyTorch, which could not be computed: "
        "Timeout in run: no answer within 60 s",
        "raise the timeout; a limit `quantized_cosine` of int8 in the suite's `accuracy` makes it a failed row, which",
    ),
    (
        "EmptyOutput", {"empty": ["boxes", "scores"], "outputs": 2},
        "the case has only empty outputs, so it does not pass: the reference has no element in outputs 'boxes', "
        "'scores'",
        "inputs of which the model makes some (`inputs: {NAME: {file: FILE}}`), or a checkpoint, or a `metric` of the",
    ),
    (
        "EmptyOutput", {"empty": ["boxes"], "outputs": 1, "metric": "zoo.py:count"},
        "only zoo.py:count judges the outputs: the reference has no element in output 'boxes'", "or a checkpoint",
    ),
    (
        "EmptyOutput", {"empty": ["boxes"], "outputs": 1, "metric": "zoo.py:count", "metric_numbers": 0},
        "the case has only empty outputs, and zoo.py:count returned no number, so the case does not pass: the "
        "reference has no element in output 'boxes'", "or a number that the `metric` returns for such outputs",
    ),
    (
        "EmptyOutput", {"empty": ["boxes"], "outputs": 2},
        "nothing of it could be compared: the reference has no element in output 'boxes'", "or a checkpoint",
    ),
    (
        "FasterThanLight", {"boundary": "gpu", "fraction": 3.34, "precision": "fp16"},
        "gpu is at 334% of the ceiling for fp16: that was read too low", "a new run, which measures the ceilings again",
    ),
    (
        "Spread",
        {"boundary": "gpu", "low_ns": 1_000_000.0, "high_ns": 1_200_000.0, "sd": 0.05, "within": 0.004, "graph": False},
        "process medians of gpu lie from 1.00 ms to 1.20 ms (sd 5.0%) though each is known to ±0.4%",
        "more processes (replicates); cuda_graph: on, if it is many short kernels",
    ),
    (
        "TwoStates",
        {
            "level": "processes", "boundary": "gpu", "low_ns": 531_000.0, "high_ns": 548_000.0, "share": 0.43,
            "processes": 7, "graph": True,
        },
        "processes are in one of two states of gpu, 531 us and 548 us (43% of 7 in the slower)",
        "7 or more processes (replicates)",
    ),
    (
        "TwoStates",
        {
            "level": "samples", "boundary": "latency", "low_ns": 531_000.0, "high_ns": 548_000.0, "share": 0.43,
            "processes": 2, "graph": False,
        },
        "calls have two states of latency, 531 us and 548 us (43% in the slower): the time shown may be of either, or "
        "lie between", "look for what alternates",
    ),
    (
        "TwoStates",
        {
            "level": "samples", "boundary": "latency", "low_ns": 531_000.0, "high_ns": 548_000.0, "share": 0.2,
            "processes": 2, "graph": False,
        },
        "531 us and 548 us (20% in the slower): the median shows the more frequent", "look for what alternates",
    ),
    (
        "Drift", {"level": "samples", "boundary": "latency", "first_ns": 531_000.0, "last_ns": 552_000.0},
        "latency went from 531 us to 552 us within a process", "a longer warmup",
    ),
    (
        "Drift", {"level": "processes", "boundary": "gpu", "first_ns": 531_000.0, "last_ns": 552_000.0},
        "process medians of gpu went from 531 us to 552 us in the course of the run", "measure again",
    ),
    (
        "NoisyHost",
        {
            "window_ns": 2_000_000_000, "longest_wait_ns": 1_000_000_000, "preemptions": 500, "load_average": 6.0,
            "cores": 1,
        },
        "the thread that waited most had no core for 1.00 s of 2.00 s and all threads together lost their core 500 "
        "times in 2.00 s and the load average of the whole host was 6.0, where the process may use 1 core",
        "OMP_NUM_THREADS",
    ),
    ("Throttled", {"thermal_throttles": 3}, "a core was throttled 3 times", "better cooling"),
    ("Throttled", {"quota_throttles": 8}, "the CPU quota of the container was used up 8 times", "raise the CPU quota"),
    (
        "Throttled", {**CAPPED, **CLOCKS, "boundaries": {"gpu": True, "latency": False, "throughput": False}},
        "the GPU was throttled (SwPowerCap in 64 %, HwSlowdown in 25 % of 11 readings) in gpu, not in latency or "
        "throughput; the SM clock was between 1515 and 1980 MHz", "nvidia-smi -pl WATTS",
    ),
    (
        "ClockChanged", {**CLOCKS, "boundaries": {"gpu": True, "latency": True}},
        "the SM clock was between 1515 and 1980 MHz under load, seen low in every boundary", "nvidia-smi -lgc MHZ",
    ),
    ("NoEnergy", {"reason": "the counter did not move"}, "no energy of an inference: the counter did not move", "-q"),
    (
        "ForeignProcess", {"processes": 2, "memory_bytes": 4096 * MEBIBYTE},
        "2 other processes were on the GPU, with 4.00 GiB of its memory", "CUDA_VISIBLE_DEVICES",
    ),
    ("ForeignProcess", {"processes": 1}, "1 other process was on the GPU", "nvidia-smi"),
    ("SharedHost", {"others": 1}, "1 other card was at work on this host", "--devices 1"),
    ("SharedHost", {"others": 3}, "3 other cards were at work on this host", "--devices 1"),
    ("SharedHost", {"others": 1, "threads": 16}, "a process had 16 threads of the CPU, its share", "--devices 1"),
    ("ResumedElsewhere", {"what": "card"}, "resumed on another card of the same kind", "one sitting"),
    (
        "ResumedByAnother", {"version": "0.2.0", "begun_by": "0.1.0"},
        "measured by trtbench 0.2.0, the run was begun by 0.1.0: what it does with a model may differ", "a new run",
    ),
    ("GraphsByBackend", {}, "though the case says cuda_graph: off", "compare it with rows of cuda_graph: on"),
    ("GraphsSkipped", {"skipped": 2, "reasons": ["a", "b"]}, "declined 2 times: a (and 1 more)", "change what"),
    ("GraphBreaks", {"breaks": 1, "reasons": []}, "broke the model's graph once, and Python runs", "fullgraph: true"),
    (
        "Recompiled", {"recompiles": 8, "reasons": ["n == 0"], "gave_up": True},
        "compiled again 8 times until the compiler gave up: a part of it runs uncompiled: n == 0", "dynamic: true",
    ),
    ("MetricNotRehearsed", {"metric": "m.py:f", "error": "KeyError: 'y'", "outputs": ["x.tanh"]},
     "m.py:f was not computed: KeyError: 'y'. It was given simulated outputs ('x.tanh'),", "check the function"),
    ("LoggedErrors", {"errors": ["an old", "a new"]}, "calls succeeded: a new (and 1 more)", "read them"),
    ("NotDense", {"in_groups": 0, "grouped": 0, "reasons": []}, "dense changed nothing: the model has no",
     "leave the option out: the network is the same"),
    ("NotDense", {"in_groups": 3, "grouped": 1, "reasons": ["up: its kernel depends on the inputs"]},
     "left 1 of 3 grouped transposed convolutions unchanged: up: its kernel depends",
     "network that is dense in part"),
    ("PartlyQuantized", {"quantized": 1, "layers": 8, "uncovered": 2, "reasons": ["out: it is constant", "b: c"]},
     "1 of 8 layers with weights are quantized; left in floating point: out: it is constant (and 1 more)",
     "quantized in part"),
    ("GroupedDeconvolutions", {"layers": 1, "groups": 9, "by_hand": ""}, "convolution with 9 groups in all", ": dense"),
    ("TracerWarning",
     {"warnings": 3, "text": "A Python boolean. It is fixed", "place": "net.py:9", "others": ["net.py:12"]},
     "the tracer warned 3 times: A Python boolean (net.py:9; and at net.py:12)", "torch.where"),
    ("ExporterWarning", {"warnings": 1, "text": "a batch size of 1", "place": "torch/onnx/x.py:4", "others": []},
     "the exporter warned once: a batch size of 1 (torch/onnx/x.py:4)", "another exporter"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "figures", "said", "hint"), TABLE)
def test_a_warning_says_what_was_seen_and_what_to_try(kind: str, figures: dict[str, Any], said: str, hint: str) -> None:
    found = describe(Warning(kind=kind, figures=json.loads(json.dumps(figures))))
    assert said in found.text
    assert hint in found.hint


def test_the_table_has_every_kind() -> None:
    assert {kind for kind, *_ in TABLE} == set(SENTENCES)


def test_the_page_on_measuring_has_a_row_for_every_kind() -> None:
    page = PAGE.read_text()
    assert [kind for kind in SENTENCES if f"\n| `{kind}` |" not in page] == []
