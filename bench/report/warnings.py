"""The sentence and the advice of each kind of warning, from its figures.

A figure is a number, or a Span where several processes or cases have the same warning with other numbers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

from bench.model.run import Warning
from bench.report.figures import (
    Number,
    Span,
    because,
    high,
    inside,
    listed,
    low,
    number,
    percent,
    seconds,
    shown,
    time,
    times,
)
from bench.units import NS_PER_S, format_size


class Advice(NamedTuple):
    """What a warning says, and what to try; ``hint`` may be empty."""

    text: str
    hint: str


Figures: TypeAlias = Mapping[str, Any]

_COOL = "better cooling, or a clock that the card can keep (nvidia-smi -lgc MHZ)"
_POWER = "a higher power limit (nvidia-smi -pl WATTS), or a clock that the card can keep (nvidia-smi -lgc MHZ)"
_THROTTLE_HINTS = {"SwPowerCap": _POWER, "HwSlowdown": _COOL, "SwThermalSlowdown": _COOL, "HwThermalSlowdown": _COOL}
_WAITS = (
    "torch.cuda.set_sync_debug_mode('warn') in PyTorch, else nsys profile, shows what waits; cuda_graph: on, if it is "
    "more than 1,024 launches"
)
_FORK = "let each other stream wait for the call's at first: in PyTorch side.wait_stream(torch.cuda.current_stream())"
_MOST_OUTPUTS = 3
_MANY_PROCESSES = 7
# What a sentence meets in figures that it was not written for: others, or of another type, or too large to format.
_UNKNOWN = (LookupError, TypeError, ValueError, AttributeError, OverflowError)
# A number in a text, with its unit of time or size, as that changes with it; conv2d and fp16 are names.
_NUMBER = re.compile(r"0x[0-9a-f]+|(?<![\w.])[-+]?\d+(?:[.,]\d+)*(?:e[-+]?\d+)?(?: ?(?:[num]?s|(?:[KMG]i)?B)\b)?")


def describe(warning: Warning) -> Advice:
    """The sentence and the advice of a warning; those of runs of schema 1 are stored with it. A warning of a later
    version or of a damaged file, whose kind or figures are not known here, shows its figures as they are.
    """
    if warning.message:
        return Advice(warning.message, warning.hint)
    try:
        return SENTENCES[warning.kind](warning.figures)
    except _UNKNOWN:
        return Advice(f"no description of this warning: {dict(warning.figures)}", warning.hint)


def key(warning: Warning) -> tuple[str, ...]:
    """What two warnings have in common whose figures can be merged: kind, advice, and everything but numbers."""
    if warning.message:
        return (warning.kind, mask_numbers(warning.message), warning.hint)
    return (warning.kind, *(f"{name}={_discrete(value)}" for name, value in sorted(warning.figures.items())))


def mask_numbers(text: str) -> str:
    """``text`` without its numbers: for texts that come without figures, which are messages of failures (a runtime's
    words) and the warnings of schema 1.
    """
    return _NUMBER.sub("#", text)


def merge(warnings: Sequence[Warning]) -> Warning:
    """One warning for several of one ``key``: numbers that differ become Spans."""
    first = warnings[0]
    if first.message or len(warnings) == 1:
        return first
    merged = {name: _merged([warning.figures[name] for warning in warnings]) for name in first.figures}
    return Warning(kind=first.kind, figures=merged)


def _discrete(value: Any) -> str:
    """A value without its numbers, and a mapping without its order."""
    if isinstance(value, Mapping):
        return str({name: _discrete(member) for name, member in sorted(value.items())})
    return "#" if _is_number(value) else repr(value)


def _merged(values: Sequence[Any]) -> Any:
    if isinstance(values[0], Mapping):
        return {name: _merged([value[name] for value in values]) for name in values[0]}
    if not _is_number(values[0]) or len(set(values)) == 1:
        return values[0]
    return Span(min(values), max(values))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


# -------------------------------------------------------------------------------------------------------- sentences


def _not_steady(f: Figures) -> Advice:
    spread = f["spread"]
    factor = spread is not None and high(spread) > 1
    by = ", and one of them was 0" if spread is None else " by more than 100%" if factor else f" by {percent(spread)}"
    return Advice(
        f"after {number(f['calls'])} warm-up calls in {time(f['ns'])} the medians of three windows still differed{by}",
        "close other programs, fix the CPU's frequency, or set a longer warmup_limit",
    )


def _noisy(f: Figures) -> Advice:
    spread = f["spread"]
    factor = spread is not None and high(spread) > 1
    by = ", one of them 0" if spread is None else " by more than 100%" if factor else f" by {percent(spread)}"
    return Advice(
        f"after {number(f['calls'])} warm-up calls in {time(f['ns'])} the medians of three windows differed{by}, "
        "but neither rose nor fell: the machine is noisy, and a longer warm-up does not help",
        "close other programs, fix the CPU's frequency, more processes (replicates)",
    )


def _known(f: Figures) -> str:
    width = f["half_width"]
    known = "not known to any interval" if width is None or high(width) > 1 else f"known to ±{percent(width)}"
    return f"the median of {f['boundary']} is {known} from {number(f['samples'])} samples"


def _half(width: Number) -> str:
    """The half of an interval: one of more than the value itself tells nothing."""
    return "±unknown" if high(width) > 1 else f"±{percent(width)}"


def _plateau(f: Figures) -> Advice:
    text = f"{_known(f)}, and more samples did not narrow it: the time drifts or jumps"
    return Advice(text, "close other programs, or fix the CPU's frequency")


def _max_time(f: Figures) -> Advice:
    hints = ["a longer max_time"]
    hints += ["no --quick, which allows 1 s"] * (low(f["max_time_ns"]) <= NS_PER_S)
    hints += ["a smaller batch"] * (high(f["batch"]) > 1)
    return Advice(f"{_known(f)} when {time(f['max_time_ns'])} were over", ", or ".join(hints))


def _imprecise(f: Figures) -> Advice:
    return Advice(
        f"{_known(f)}, which took a second: more of them in this process would say little",
        "more processes (replicates), or close other programs",
    )


def _host_drift(f: Figures) -> Advice:
    return Advice(
        f"issuing a call took {time(f['enqueue_ns'])}, and a whole request, measured seconds later, "
        f"{time(f['latency_ns'])}: the host's speed changed between them",
        "cuda_graph: on, close other programs, more processes",
    )


def _no_overlap(f: Figures) -> Advice:
    return Advice(
        f"with calls in flight together each takes {time(f['in_flight_ns'])}, a request alone {time(f['alone_ns'])}: "
        "overlapping gains nothing",
        "cuda_graph: on, if the host is the limit",
    )


def _fewer_lanes(f: Figures) -> Advice:
    lanes, requested = f["lanes"], f["requested"]
    if f["cause"] == "memory":
        text = f"memory had room for {number(lanes)} of {number(requested)} lanes"
        return Advice(f"{text}: fewer calls overlap in throughput than elsewhere", "a smaller batch, or fewer streams")
    count = f"{number(lanes)} lane{'s' * (lanes != 1)}"
    text = f"throughput is of {count}, not of the {number(requested)} streams requested: the backend has no more"
    return Advice(text, f"streams: {number(low(lanes))}")  # as many as each of several has


def _not_cold(f: Figures) -> Advice:
    text = "with l2: cold the L2 cache is flushed before each call, which is not possible where calls overlap"
    return Advice(f"{text}: {' and '.join(f['left_out'])} left out", "the same case with l2: warm")


def _unheld(f: Figures) -> Advice:
    causes: dict[str, Callable[[], Advice]] = {
        "waits": lambda: Advice(
            "the call waits for the GPU (a synchronisation, a full launch queue, a kernel loaded late)", _WAITS
        ),
        "launch_blocking": lambda: Advice(f["reason"], "unset CUDA_LAUNCH_BLOCKING"),
        "profiler": lambda: Advice(f["reason"], "run it without the profiler or sanitizer"),
        "driver": lambda: Advice(f["reason"], "another driver or machine; latency and throughput are not affected"),
        "runs_ahead": lambda: Advice(
            f"{_ran_ahead(f)}: work on other streams runs before the stream is released", _FORK
        ),
    }
    text, hint = causes[f["cause"]]()
    return Advice(f"{text}; plain events include the host's gaps", hint)


def _ran_ahead(f: Figures) -> str:
    if "shorter_ns" in f:
        return f"held for longer, a call takes {time(f['shorter_ns'])} less"
    return f"calls back to back take {time(f['period_ns'])}, the held stream {time(f['gpu_ns'])}"


def _host_bound(f: Figures) -> Advice:
    text = f"issuing a call takes the host {time(f['enqueue_ns'])}, running it the GPU {time(f['gpu_ns'])}"
    return Advice(f"{text}: the GPU waits", "a larger batch" if f["graph"] else "cuda_graph: on")


def _transfer_bound(f: Figures) -> Advice:
    return Advice(
        f"copies take {time(f['copies_ns'])} of a request, compute {time(f['compute_ns'])}",
        "a narrower input dtype, preprocessing on the GPU, or more arithmetic per byte of input",
    )


def _blind_reference(f: Figures) -> Advice:
    constant = {n: value if isinstance(value, str) else number(value, ".6g") for n, value in f["constant"].items()}
    reasons = [f"output {name!r} is {value} everywhere" for name, value in constant.items()]
    reasons += [f"output {name!r} is the same for all {number(f['samples'])} samples" for name in f["repeated"]]
    what = "nothing" if len(reasons) == f["outputs"] else "little"
    more = f"; and {len(reasons) - _MOST_OUTPUTS} more" if len(reasons) > _MOST_OUTPUTS else ""
    return Advice(
        f"the accuracy says {what}: in the reference {'; '.join(reasons[:_MOST_OUTPUTS])}{more}",
        "initialise the last layer in the model's factory, or load a checkpoint",
    )


def _faster_than_light(f: Figures) -> Advice:
    return Advice(
        f"{f['boundary']} is at {percent(f['fraction'], '.0%')} of the ceiling for {f['precision']}: that was read "
        "too low, or the case does less arithmetic than is counted, or does it in another precision",
        "a new run, which measures the ceilings again; if it says so too, look at what the case computes",
    )


def _spread(f: Figures) -> Advice:
    span = f"{time(f['low_ns'])} to {time(f['high_ns'])} (sd {percent(f['sd'])})"
    hint = "more processes (replicates)"
    if f["boundary"] == "gpu" and not f["graph"]:
        hint += "; cuda_graph: on, if it is many short kernels"
    return Advice(
        f"process medians of {f['boundary']} lie from {span} though each is known to {_half(f['within'])}: "
        "processes differ, and more samples do not help",
        hint,
    )


def _two_states(f: Figures) -> Advice:
    part, states = percent(f["share"], ".0%"), f"{time(f['low_ns'])} and {time(f['high_ns'])}"
    if f["level"] == "processes":
        text = f"processes are in one of two states of {f['boundary']}, {states} ({part} of {number(f['processes'])})"
        hint = f"{_MANY_PROCESSES} or more processes (replicates), so that both sides of a comparison have both states"
    else:
        text = f"calls have two states of {f['boundary']}, {states} ({part}): the median shows the more frequent"
        hint = "--stats shows how far percentiles lie apart; look for what alternates: an algorithm, a clock, a core"
    if f["boundary"] == "gpu" and not f["graph"]:
        hint += "; cuda_graph: on fixes what is launched"
    return Advice(text, hint)


def _drift(f: Figures) -> Advice:
    change = f"from {time(f['first_ns'])} to {time(f['last_ns'])}"
    if f["level"] == "processes":
        text = f"process medians of {f['boundary']} went {change} in the course of the run"
        return Advice(text, "measure again once the machine has settled; lock the clock (nvidia-smi -lgc MHZ)")
    text = f"{f['boundary']} went {change} within a process"
    return Advice(text, "a longer warmup, a locked clock (nvidia-smi -lgc MHZ), or fewer other programs")


def _noisy_host(f: Figures) -> Advice:
    reasons, window = [], seconds(f["window_ns"])
    if "longest_wait_ns" in f:
        reasons.append(f"a thread waited {seconds(f['longest_wait_ns'])} of {window} for a core")
    if "preemptions" in f:
        reasons.append(f"the process was preempted {number(f['preemptions'])} times in {window}")
    if "load_average" in f:
        cores = f"{number(f['cores'])} core{'s' * (f['cores'] != 1)}"
        reasons.append(f"the load average was {number(f['load_average'], '.1f')} on {cores}")
    hint = "close other programs; fewer streams, or fewer threads per call (OMP_NUM_THREADS), if they are the load"
    return Advice(" and ".join(reasons), hint)


def _clocks(f: Figures) -> str:
    if "sm_mhz_max" not in f:
        return "the SM clock is not known"
    lowest, highest = f["sm_mhz_min"], f["sm_mhz_max"]
    if low(lowest) < low(highest):
        return f"the SM clock was between {number(low(lowest))} and {number(high(highest))} MHz"
    return f"the SM clock was at {number(highest)} MHz"


def _throttled(f: Figures) -> Advice:
    if "thermal_throttles" in f:
        text = f"a core was throttled {number(f['thermal_throttles'])} times"
        return Advice(text, "better cooling, or a lower fixed frequency")
    if "quota_throttles" in f:
        text = f"the CPU quota of the container was used up {number(f['quota_throttles'])} times"
        return Advice(text, "raise the CPU quota, or use as many threads as it has cores (OMP_NUM_THREADS)")
    reasons = ", ".join(f"{name} in {shown(part, lambda x: f'{100 * x:.0f} %')}" for name, part in f["reasons"].items())
    where, hits = "", f["boundaries"]
    if hits:
        clean = [boundary for boundary, hit in hits.items() if not hit]
        where = f" {inside(hits)}" + (f", not in {listed(clean, 'or')}" if clean else "")
    hint = "; ".join(dict.fromkeys(_THROTTLE_HINTS.get(name, "nvidia-smi -q -d PERFORMANCE") for name in f["reasons"]))
    text = f"the GPU was throttled ({reasons} of {number(f['readings'])} readings){where}; {_clocks(f)}"
    return Advice(text, hint)


def _clock_changed(f: Figures) -> Advice:
    # A reading is of one moment, so of boundaries without a low one nothing is said.
    seen = f", seen low {inside(f['boundaries'])}" if f["boundaries"] else ""
    hint = "lock the clock (nvidia-smi -lgc MHZ), and let nothing else set clocks during a run"
    return Advice(f"{_clocks(f)} under load{seen}", hint)


def _no_energy(f: Figures) -> Advice:
    return Advice(
        f"no energy of an inference: {f['reason']} in the saturated loop",
        "a whole card of the data centre kind; nvidia-smi -q -d POWER shows what this one reports",
    )


def _foreign_process(f: Figures) -> Advice:
    count = f["processes"]
    text = f"{number(count)} other process{'es were' if count != 1 else ' was'} on the GPU"
    if "memory_bytes" in f:
        text += f", with {shown(f['memory_bytes'], format_size)} of its memory"
    return Advice(text, "end what else uses the GPU (nvidia-smi), or take another one (CUDA_VISIBLE_DEVICES)")


def _resumed_elsewhere(f: Figures) -> Advice:
    text = f"resumed on another {f['what']} of the same kind: its difference is part of the spread between processes"
    return Advice(text, "one sitting for a run that decides something")


def _shared_host(f: Figures) -> Advice:
    others = f["others"]
    cards = "1 other card was" if others == 1 else f"{number(others)} other cards were"
    text = (
        f"{cards} at work on this host meanwhile: enqueue, latency and throughput, which need the host, may be longer"
    )
    return Advice(text, "--devices 1 for times that need the host; gpu is measured apart from it")


def _resumed_by_another(f: Figures) -> Advice:
    text = f"measured by trtbench {f['version']}, the run was begun by {f['begun_by']}"
    return Advice(f"{text}: what it does with a model may differ", "a new run for one that decides something")


def _graphs_by_backend(f: Figures) -> Advice:
    text = "the backend captured CUDA graphs itself, though the case says cuda_graph: off"
    return Advice(text, "compare it with rows of cuda_graph: on")


def _graphs_skipped(f: Figures) -> Advice:
    text = f"the backend was to capture CUDA graphs and declined {times(f['skipped'])}{because(f['reasons'])}"
    return Advice(text, "change what the reason names, or take a mode without graphs with cuda_graph: on")


def _graph_breaks(f: Figures) -> Advice:
    text = f"the compiler broke the model's graph {times(f['breaks'])}, and Python runs in between"
    hint = "fullgraph: true ends at the first break and shows its line; rewrite what it names"
    return Advice(text + because(f["reasons"]), hint)


def _recompiled(f: Figures) -> Advice:
    text = f"the model was compiled again {times(f['recompiles'])}"
    if f.get("gave_up"):
        text += " until the compiler gave up: a part of it runs uncompiled"
    hint = "dynamic: true for sizes that vary; a number that the model counts up is better a tensor"
    return Advice(text + because(f["reasons"]), hint)


# What a normalisation layer counts while it is in training.
_NORM_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def _state_changes(f: Figures) -> Advice:
    what = _with_more(f["names"], f["more"])
    text = f"each call changes what the program holds ({what}), so no call is like the one before"
    if f["by"] == "reference":
        text = f"each call of the model changes its state ({what}), of which a program made from it may have but one"
    hint = "state as an input and an output, or a factory that does without it"
    if any(name.partition(":")[0].endswith(_NORM_STATISTICS) for name in f["names"]):
        hint = "keep layers out of training: eval() was called, so `train` or `forward` of the model undoes it"
    return Advice(f"{text}: neither ratio nor rank", hint)


def _outputs_change(f: Figures) -> Advice:
    shares = [f"{name!r} by {shown(part, _share)}" for name, part in f["outputs"].items()]
    whose = "two calls" if f["by"] == "program" else "two calls of the model that made the reference"
    text = f"{whose} on equal inputs return other values ({_with_more(shares, f['more'])})"
    hint = "a factory without dropout or noise in forward, and without state from call to call"
    return Advice(f"{text}: neither ratio nor rank", hint)


def _share(fraction: float) -> str:
    """A part of one: ``73%``, or two digits of what is less than a tenth."""
    return f"{fraction:.0%}" if fraction >= 0.0995 else f"{100 * fraction:.2g}%"


def _with_more(names: Sequence[str], more: Number) -> str:
    return ", ".join(names) + (f" and {number(more)} more" if more else "")


def _logged_errors(f: Figures) -> Advice:
    text = f"the runtime logged errors though its calls succeeded{because(reversed(f['errors']))}"
    return Advice(text, "read them: the engine may not do what was requested")


def _said(f: Figures) -> str:
    """The first text of a tracer's or exporter's warnings, and where."""
    text = str(f["text"])
    sentence, stop, _ = text.partition(". ")
    others = f"; and at {listed(list(f['others']), 'and')}" if f["others"] else ""
    return f"warned {times(f['warnings'])}: {sentence if stop else text.rstrip('.')} ({f['place']}{others})"


def _tracer_warning(f: Figures) -> Advice:
    return Advice(
        f"the tracer {_said(f)}",
        "what Python decided there is fixed in the program, whatever the inputs are: let tensor operators decide "
        "(torch.where, torch.cond); or a backend that does not trace",
    )


def _exporter_warning(f: Figures) -> Advice:
    return Advice(f"the exporter {_said(f)}", "look at whether the file does what the model does; another exporter")


SENTENCES: dict[str, Callable[[Figures], Advice]] = {
    "BlindReference": _blind_reference,
    "ClockChanged": _clock_changed,
    "Drift": _drift,
    "ExporterWarning": _exporter_warning,
    "FasterThanLight": _faster_than_light,
    "FewerLanes": _fewer_lanes,
    "ForeignProcess": _foreign_process,
    "GraphBreaks": _graph_breaks,
    "GraphsByBackend": _graphs_by_backend,
    "GraphsSkipped": _graphs_skipped,
    "HostBound": _host_bound,
    "HostDrift": _host_drift,
    "LoggedErrors": _logged_errors,
    "MaxTime": _max_time,
    "NoEnergy": _no_energy,
    "NoOverlap": _no_overlap,
    "NoisyHost": _noisy_host,
    "NotCold": _not_cold,
    "NotSteady": _not_steady,
    "Noisy": _noisy,
    "OutputsChange": _outputs_change,
    "Plateau": _plateau,
    "Imprecise": _imprecise,
    "Recompiled": _recompiled,
    "ResumedByAnother": _resumed_by_another,
    "ResumedElsewhere": _resumed_elsewhere,
    "SharedHost": _shared_host,
    "Spread": _spread,
    "StateChanges": _state_changes,
    "Throttled": _throttled,
    "TracerWarning": _tracer_warning,
    "TwoStates": _two_states,
    "TransferBound": _transfer_bound,
    "Unheld": _unheld,
}
