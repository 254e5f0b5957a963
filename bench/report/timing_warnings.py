"""Warnings about times: how steady they are, how exact, and what limits them."""

from __future__ import annotations

from collections.abc import Callable

from bench.report.advice import Advice, Figures, Sentence
from bench.report.figures import Number, Span, high, low, number, percent, ratio, time
from bench.units import NS_PER_S

_WAITS = (
    "torch.cuda.set_sync_debug_mode('warn') in PyTorch, else nsys profile, shows what waits; cuda_graph: on, if it is "
    "more than 1,024 launches"
)
_FORK = "let each other stream wait for the call's at first: in PyTorch side.wait_stream(torch.cuda.current_stream())"
_MANY_PROCESSES = 7
# What --quick allows for the samples of one boundary.
_QUICK_NS = NS_PER_S
# The part of the times in the slower of two states within which neither state is clearly the more frequent.
_EVEN = (0.4, 0.6)
# Kinds whose two times are read as a change or a gap: of several cases the span of their ratio says what the spans of
# each of the times do not.
RATIOS = {"Drift": ("last_ns", "first_ns"), "TwoStates": ("high_ns", "low_ns")}


def _not_steady(f: Figures) -> Advice:
    return Advice(
        f"after {number(f['calls'])} warm-up calls in {time(f['ns'])} the medians of three windows still differed"
        f"{_by(f['spread'], zero=', and one of them was 0')}",
        "close other programs, fix the CPU's frequency, or set a longer warmup_limit",
    )


def _noisy(f: Figures) -> Advice:
    return Advice(
        f"after {number(f['calls'])} warm-up calls in {time(f['ns'])} the medians of three windows differed"
        f"{_by(f['spread'])}, but neither rose nor fell: the machine is noisy, and a longer warm-up does not help",
        "close other programs, fix the CPU's frequency, more processes (replicates)",
    )


def _by(spread: Number | None, zero: str = ", one of them 0") -> str:
    """By how much medians differed, ``zero`` where one was 0; beyond 100 % the number tells nothing more."""
    if spread is None:
        return zero
    if high(spread) <= 1:
        return f" by {percent(spread)}"
    return " by more than 100%" if low(spread) > 1 else f" by {percent(low(spread))} to more than 100%"


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
    quick = f.get("quick")  # runs before it was recorded do not tell
    hints = ["a longer max_time"]
    if quick and high(f["max_time_ns"]) >= _QUICK_NS:  # the suite's may be the same
        hints = [f"run without --quick (it allows {time(_QUICK_NS)}), with max_time above that"]
    elif quick:
        hints = [f"a longer max_time, above {time(_QUICK_NS)} without --quick"]
    elif quick is None and low(f["max_time_ns"]) <= _QUICK_NS:
        hints += ["no --quick, if the run was made with it"]
    hints += ["a smaller batch"] * (high(f["batch"]) > 1)
    return Advice(f"{_known(f)} when {time(f['max_time_ns'])} were over", ", or ".join(hints))


def _imprecise(f: Figures) -> Advice:
    return Advice(
        f"{_known(f)}, which took a second: more of them in this process would say little",
        "more processes (replicates), or close other programs",
    )


def _graph(f: Figures, otherwise: str = "cuda_graph: on") -> str:
    """The advice to take a graph, ``otherwise`` where this run has not measured the same case with one; where it has,
    with what it did, and against it where it was slower.
    """
    twin = f.get("graph_twin")
    if twin is None:
        return otherwise
    effect = {"none": "made no difference"}.get(twin["effect"], f"was {twin['effect']}")
    lead = f"{'' if twin['effect'] == 'faster' else 'not '}cuda_graph: on, which {effect} here"
    if isinstance(twin["speed"], Span):
        return f"{lead}: {number(twin['speed'], '.2f')} times as fast in {twin['boundary']}"
    if twin["boundary"] == "latency":
        return f"{lead}: latency {time(twin['with_ns'])} with it, {time(twin['without_ns'])} without"
    rates = number(twin["with_rate"], ",.0f"), number(twin["without_rate"], ",.0f")
    return f"{lead}: {rates[0]} inferences/s with it, {rates[1]} without"


def _host_drift(f: Figures) -> Advice:
    return Advice(
        f"issuing a call took {time(f['enqueue_ns'])}, and a whole request, measured seconds later, "
        f"{time(f['latency_ns'])}: the host's speed changed between them",
        f"{_graph(f)}{'; ' if 'graph_twin' in f else ', '}close other programs, more processes",
    )


def _no_overlap(f: Figures) -> Advice:
    return Advice(
        f"with calls in flight together each takes {time(f['in_flight_ns'])}, a request alone {time(f['alone_ns'])}: "
        "overlapping gains nothing",
        _graph(f, "cuda_graph: on, if the host is the limit"),
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
    text = f"issuing a call takes the host {time(f['enqueue_ns'])}, running it takes the GPU {time(f['gpu_ns'])}"
    if f["graph"]:
        return Advice(f"{text}: the GPU waits", "a larger batch")
    batch = "; a larger batch" if f.get("graph_twin", {}).get("effect", "faster") != "faster" else ""
    return Advice(f"{text}: the GPU waits", _graph(f) + batch)


def _transfer_bound(f: Figures) -> Advice:
    return Advice(
        f"copies take {time(f['copies_ns'])} of a request, compute {time(f['compute_ns'])}",
        "a narrower input dtype, preprocessing on the GPU, or more arithmetic per byte of input",
    )


def _spread(f: Figures) -> Advice:
    one = low(f["low_ns"]) == high(f["low_ns"]) and low(f["high_ns"]) == high(f["high_ns"])  # else of several cases
    lie = f"lie from {time(f['low_ns'])} to {time(f['high_ns'])} (sd {percent(f['sd'])})"
    differ = lie if one else f"differ by an sd of {percent(f['sd'])}"
    hint = "more processes (replicates)"
    if f["boundary"] == "gpu" and not f["graph"]:
        hint += "; cuda_graph: on, if it is many short kernels"
    return Advice(
        f"process medians of {f['boundary']} {differ} though each is known to {_half(f['within'])}: "
        "processes differ, and more samples do not help",
        hint,
    )


def _two_states(f: Figures) -> Advice:
    part, states = percent(f["share"], ".0%"), f"{time(f['low_ns'])} and {time(f['high_ns'])}"
    if "ratio" in f:
        states = f"the slower one {ratio(f['ratio'])} times the faster"
    if f["level"] == "processes":
        share = f"{part} of {number(f['processes'])} in the slower"
        text = f"processes are in one of two states of {f['boundary']}, {states} ({share})"
        hint = f"{_MANY_PROCESSES} or more processes (replicates), so that both sides of a comparison have both states"
    else:
        is_even = high(f["share"]) >= _EVEN[0] and low(f["share"]) <= _EVEN[1]
        shown = "the time shown may be of either, or lie between" if is_even else "the median shows the more frequent"
        text = f"calls have two states of {f['boundary']}, {states} ({part} in the slower): {shown}"
        hint = "--stats shows how far percentiles lie apart; look for what alternates: an algorithm, a clock, a core"
    if f["boundary"] == "gpu" and not f["graph"]:
        hint += "; cuda_graph: on fixes what is launched"
    return Advice(text, hint)


def _drift(f: Figures) -> Advice:
    change = _change(f["ratio"]) if "ratio" in f else f"went from {time(f['first_ns'])} to {time(f['last_ns'])}"
    if f["level"] == "processes":
        text = f"process medians of {f['boundary']} {change} in the course of the run"
        return Advice(text, "measure again once the machine has settled; lock the clock (nvidia-smi -lgc MHZ)")
    text = f"{f['boundary']} {change} within a process"
    return Advice(text, "a longer warmup, a locked clock (nvidia-smi -lgc MHZ), or fewer other programs")


def _change(ratio: Number) -> str:
    """``rose by 2.0% to 8.0%``, of several cases by the ratio of the last time to the first."""
    least, most = low(ratio) - 1, high(ratio) - 1
    if least >= 0:
        return f"rose{_by(Span(least, most))}"
    if most <= 0:
        return f"fell{_by(Span(-most, -least))}"
    largest = max(most, -least)
    return f"rose in some and fell in others, by {'more than 100%' if largest > 1 else f'up to {largest:.1%}'}"


SENTENCES: dict[str, Sentence] = {
    "Drift": _drift,
    "FewerLanes": _fewer_lanes,
    "HostBound": _host_bound,
    "HostDrift": _host_drift,
    "Imprecise": _imprecise,
    "MaxTime": _max_time,
    "NoOverlap": _no_overlap,
    "Noisy": _noisy,
    "NotCold": _not_cold,
    "NotSteady": _not_steady,
    "Plateau": _plateau,
    "Spread": _spread,
    "TransferBound": _transfer_bound,
    "TwoStates": _two_states,
    "Unheld": _unheld,
}
