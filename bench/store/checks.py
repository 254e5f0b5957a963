"""What the values of a run's file must be: a record that cannot be is reported, and never becomes a row."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from bench.model.run import FEWEST_PAIRS, MOST_PAIRS, Accuracy, Duel, Header, Measurement, Record
from bench.model.samples import SortedSamples
from bench.model.suite import OUTPUT_LIMITS, Boundary, Case, Policy

# Events round to 0 what takes less than their resolution: copies of nothing, launches of nothing.
MAY_BE_ZERO: tuple[Boundary, ...] = ("enqueue", "h2d", "compute", "d2h")
_LONGEST_NS = 10**17  # three years
_MOST = 2**31  # replicates, builds, lanes, sizes
_LARGEST = 2**63  # integers that other programs can read
_ROUNDING = 1e-6
_LOWER_LIMITS = ("cosine", "sqnr", "quantized_cosine")
_COUNTS = ("calls", "window_ns", "cpu_ns", "preemptions")


def of_header(header: Header) -> str:
    """What is wrong with a header; empty if nothing is."""
    if not header.run or {"/", "\0"} & set(header.run) or header.run in (".", ".."):
        return f"{header.run[:80]!r} is no name of a run"
    for problem in (_policy(header.policy), *map(_case, header.cases)):
        if problem:
            return problem
    for name, value in header.ceilings.items():
        if not value > 0:
            return f"the ceiling {name} is {value}"
    if header.duel and (problem := _duel(header.duel, header.cases)):
        return problem
    return "" if 0 <= header.seed < _LARGEST else "the seed is out of range"


def _duel(duel: Duel, cases: Sequence[Case]) -> str:
    if not FEWEST_PAIRS <= duel.pairs <= MOST_PAIRS:
        return f"the pairs of the duel are {number(duel.pairs)}"
    ids = {case.id for case in cases}
    for contest in duel.contests:
        if not contest:
            return "a contest of the duel has no side"
        if not ids.issuperset(contest):
            return "a side of the duel is none of its cases"
    return ""


def _policy(policy: Policy) -> str:
    for name, least, most in (
        ("replicates", 1, _MOST),
        ("builds", 1, _MOST),
        ("min_samples", 0, _MOST),
        ("max_samples", 1, _MOST),
        ("warmup_calls", 0, _MOST),
        *((name, 0, _LONGEST_NS) for name in policy.__struct_fields__ if name.endswith("_ns")),
        ("target_ci", 0, math.inf),
    ):
        value = getattr(policy, name)
        if not least <= value <= most:
            return f"{name} is {number(value)}"
    return ""


def _case(case: Case) -> str:
    for name, size in case.symbols.items():
        if not 0 <= size < _LARGEST:
            return f"the size {name} is {number(size)}"
    for spec in case.inputs.values():
        for part in spec.shape:
            if isinstance(part, str) and part not in case.symbols:
                return f"{part!r}, a size of an input, has no value"
            if isinstance(part, int) and not 0 <= part < _LARGEST:
                return f"a size of an input is {number(part)}"
    return "" if 1 <= case.streams < _MOST else f"streams is {number(case.streams)}"


def of_record(record: Record, cases: Mapping[str, Case], *, long_numbers: bool = True) -> str:
    """What is wrong with a record of a run with these ``cases`` by id; empty if nothing is. One of a case that is not
    among them is only compared with itself. Without ``long_numbers`` its line has none of 19 digits.
    """
    case = cases.get(record.case)
    if case is not None and not record.label.startswith(f"{case.model}/{case.backend}"):
        return f"its label is {record.label[:80]!r}, its id that of {case.label}"
    for name, value in (("replicate", record.replicate), ("build", record.build)):
        if not 0 <= value < _MOST:
            return f"{name} is {number(value)}"
    boundaries = [m.boundary for m in record.measurements]
    if len(set(boundaries)) < len(boundaries):
        return f"a boundary is there twice: {', '.join(boundaries)}"
    for name, ns in (("wall", record.wall_ns), *[(phase.name, phase.ns) for phase in record.phases]):
        if not 0 <= ns <= _LONGEST_NS:
            return f"the time of {name} is {number(ns)} ns"
    if problem := of_times(record.times):
        return problem
    for measured in record.measurements:
        if problem := _measurement(measured, case):
            return problem
    if record.accuracy and (problem := _accuracy(record.accuracy)):
        return problem
    return _others(record, long_numbers)


def of_times(times: Mapping[str, int]) -> str:
    """What is wrong with the wall time by category of a record or a footer; empty if nothing is."""
    wrong = ((name, ns) for name, ns in times.items() if not 0 <= ns <= _LONGEST_NS)
    return next((f"the time of {name[:80]!r} is {number(ns)} ns" for name, ns in wrong), "")


def _measurement(measured: Measurement, case: Case | None) -> str:
    name = measured.boundary
    if (measured.parts or not _is_text(measured.samples)) and (problem := _of_samples(measured)):
        return problem
    counts = (measured.calls, measured.window_ns, measured.cpu_ns or 0, measured.preemptions or 0)
    if min(counts) < 0 or max(counts) >= _LARGEST:
        what, value = next(item for item in zip(_COUNTS, counts, strict=True) if not 0 <= item[1] < _LARGEST)
        return f"{what} of {name} is {number(value)}"
    if measured.window_ns and not measured.calls:
        return f"{name} has a window without calls"
    if measured.totals and min(measured.totals.values()) < 0:
        return f"a total of {name} is negative"
    if case is not None and measured.batch != case.batch and measured.samples:
        return f"{name} is of batch {number(measured.batch)}, the case of {case.batch}"
    if not 1 <= measured.batch < _MOST:
        return f"the batch of {name} is {number(measured.batch)}"
    if measured.blocks and (min(measured.blocks) < 0 or sum(measured.blocks) != len(measured.samples)):
        return f"the blocks of {name} are not its samples"
    if measured.marked and not 0 <= min(measured.marked) <= max(measured.marked) < len(measured.samples):
        return f"{name} marks samples that it does not have"
    return ""


def _is_text(samples: Sequence[int]) -> bool:
    """Whether packed.decode has looked at them."""
    return isinstance(samples, SortedSamples) and samples.unread


def _of_samples(measured: Measurement) -> str:
    """What is wrong with the times of a measurement, but for those that are still text."""
    name, samples = measured.boundary, measured.samples
    series: list[tuple[str, Sequence[int], int]] = []
    if not _is_text(samples):
        series.append((name, samples, 0 if name in MAY_BE_ZERO else 1))
    series += [(part, values, 0) for part, values in measured.parts.items()]
    for what, values, least in series:
        if values and not (least <= _smallest(values) and _largest(values) <= _LONGEST_NS):
            wrong = next(value for value in values if not least <= value <= _LONGEST_NS)
            return f"a time of {what} is {number(wrong)} ns"
    return ""


def _smallest(values: Sequence[int]) -> int:
    return values[0] if isinstance(values, SortedSamples) else min(values)


def _largest(values: Sequence[int]) -> int:
    return values[-1] if isinstance(values, SortedSamples) else max(values)


def _accuracy(accuracy: Accuracy) -> str:
    for output in accuracy.outputs:
        for cosine in (output.cosine, output.quantized_cosine, output.rounding_cosine):
            if cosine is not None and not abs(cosine) <= 1 + _ROUNDING:
                return f"the cosine of {output.name[:80]!r} is {cosine}"
        for name in ("max_abs", "rel_l2", "nan"):
            value = getattr(output, name)
            if value is not None and not value >= 0:
                return f"{name} of {output.name[:80]!r} is {number(value)}"
        if not accuracy.ok:
            continue
        if output.nan:
            return f"{output.name[:80]!r} is called accurate and has NaN"
        for name in (*OUTPUT_LIMITS, "quantized_cosine"):
            value, limit = getattr(output, name), getattr(accuracy.threshold, name)
            if value is None or limit is None:
                continue
            if value < limit if name in _LOWER_LIMITS else value > limit:
                return f"{output.name[:80]!r} is called accurate with {name} {value:.6g}, the limit is {limit:.6g}"
    return ""


def _others(record: Record, long_numbers: bool) -> str:
    """Numbers beside the measurements: none beyond what a file can hold, none below zero where that cannot be."""
    work, telemetry = record.work, record.telemetry
    if work is not None and min(work.flops, work.bytes, work.parameters, *work.fraction.values()) < 0:
        return "its work is negative"
    host, gpu = telemetry.host, telemetry.gpu
    figures = {
        "inference_j": telemetry.inference_j,
        "torch_peak_bytes": telemetry.torch_peak_bytes,
        "peak_rss_bytes": host.peak_rss_bytes if host else None,
        "gpu_memory_bytes": gpu.gpu_memory_bytes if gpu else None,
    }
    for name, value in figures.items():
        if value is not None and value < 0:
            return f"{name} is {number(value)}"
    if not long_numbers:
        return ""
    plain = msgspec.to_builtins((telemetry, record.work, record.fairness, [w.figures for w in record.warnings]))
    return next((f"a number is {number(value)}" for value in _whole_numbers(plain) if abs(value) >= _LARGEST), "")


def _whole_numbers(value: Any) -> list[int]:
    """The integers in plain data, in their order."""
    numbers, waiting = [], [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, int):
            numbers.append(value)
        elif isinstance(value, dict):
            waiting.extend(reversed(value.values()))
        elif isinstance(value, list | tuple):
            waiting.extend(reversed(value))
    return numbers


def number(value: float) -> str:
    """A number as text: one of thousands of digits by its size."""
    if isinstance(value, int) and abs(value) >= _LARGEST:
        return f"{'-' if value < 0 else ''}2^{value.bit_length() - 1} or more"
    return str(value)
