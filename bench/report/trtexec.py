"""A case in the terms of NVIDIA's trtexec: the block that it prints at the end of a run."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence, Set
from pathlib import Path

from bench import store
from bench.errors import UsageError, did_you_mean
from bench.model.run import Measurement, Record, Run
from bench.model.suite import Case
from bench.report import escape
from bench.report.cells import NONE, count
from bench.units import NS_PER_S, format_time

PERCENTILES = (90, 95, 99)
LINES = {"enqueue": "Enqueue Time", "h2d": "H2D Latency", "compute": "GPU Compute Time", "d2h": "D2H Latency"}
# The parts whose sum trtexec calls Latency.
REQUEST = ("h2d", "compute", "d2h")
# Shares of GPU Compute Time, by medians, above which trtexec says that something else bounds the throughput.
ENQUEUE_BOUND, COPY_BOUND = 0.8, 1.0
# The coefficient of variation above which it calls GPU Compute Time unstable.
UNSTABLE = 0.01

# Nanoseconds by part; the samples of one part are in the order of the calls.
Times = Mapping[str, Sequence[int]]


def render(run: Run, case: str | None = None, *, transfers: bool = True, only: Set[str] | None = None) -> str:
    """The block of each measured case, of those among ``only`` (ids), or of the one whose id or label is ``case``.
    Processes are pooled.

    All of it is of the throughput loop, as trtexec's own: Throughput is queries (calls) over Total Host Walltime, the
    loop's window; Latency of a query is the sum of its H2D Latency, GPU Compute Time and D2H Latency; means and Total
    GPU Compute Time are of all queries, the other figures of those whose times were kept. trtexec's warnings follow
    under the conditions that it has for them, then which options of it to compare with, and where the figures differ
    from its own. Without a measurement there is a dash. Without ``transfers`` Latency is GPU Compute Time and copies
    are left out, as trtexec does since version 11 unless told otherwise. UsageError if there is no such case, or
    nothing to show.

    Source: printEpilog in samples/common/sampleReporting.cpp of github.com/NVIDIA/TensorRT.
    """
    measured: dict[str, list[Record]] = {}
    for record in run.records:
        if record.measurements and (only is None or record.case in only):
            measured.setdefault(record.case, []).append(record)
    cases = [(each, measured.get(each.id)) for each in _select(run, case)]
    blocks = [_block(each, records, transfers) for each, records in cases if records]
    if not blocks:
        fix = f"for what went wrong: trtbench show {store.run_argument(Path(run.path))}"
        raise UsageError(f"nothing was measured of {case or 'this run'}", fix=fix)
    return "\n\n".join(blocks) + "\n"


def percentile(ascending: Sequence[int], percent: int) -> int:
    """The value that leaves floor((100 - percent) % of n) larger samples out.

    Source: findPercentile in samples/common/sampleReporting.cpp of github.com/NVIDIA/TensorRT, in integers
    where trtexec rounds in float. ``ordered`` is ascending and not empty.
    """
    left_out = (100 - percent) * len(ascending) // 100
    return ascending[max(len(ascending) - 1 - left_out, 0)]


def _select(run: Run, case: str | None) -> list[Case]:
    cases = run.header.cases
    matches = [each for each in cases if case in (None, "", each.id, each.label)]
    if not matches:
        labels = [each.label for each in cases]
        raise UsageError(
            f"the run has no case {case!r}.{did_you_mean(case or '', labels)}",
            fix=f"--case with an id or label of: trtbench show {store.run_argument(Path(run.path))} --format csv",
        )
    return matches


def _block(case: Case, records: Sequence[Record], transfers: bool) -> str:
    measurements = [m for record in records for m in record.measurements]
    loops = [m for m in measurements if m.boundary == "throughput" and m.window_ns]
    queries, window = sum(m.calls for m in loops), sum(m.window_ns for m in loops)
    about = [escape.line(case.label), count(len(records), "process")]
    if case.batch > 1:
        about.append(f"1 query is {case.batch} inferences")
    times, totals = _of_loops(loops)
    one_by_one = not times and any(m.boundary == "compute" for m in measurements)
    if one_by_one:
        times = {name: [sample for m in measurements if m.boundary == name for sample in m.samples] for name in LINES}
    latency = _latency(times, totals, loops)
    copies = [] if transfers else ["h2d", "d2h"]
    if not transfers and times:
        latency = _spread(times.get("compute", ()), totals.get("compute", 0), queries)
    total = totals.get("compute", _mean(times.get("compute", ())) * queries)
    lines = [
        f"=== Performance summary === ({', '.join(about)})",
        f"Throughput: {queries / window * NS_PER_S:g} qps" if window else "Throughput: -",
        f"Latency: {latency}",
        *(
            f"{LINES[name]}: {NONE if name in copies else _spread(times.get(name, ()), totals.get(name, 0), queries)}"
            for name in LINES
        ),
        f"Total Host Walltime: {window / NS_PER_S:g} s" if window else "Total Host Walltime: -",
        f"Total GPU Compute Time: {total / NS_PER_S:g} s" if total else "Total GPU Compute Time: -",
    ]
    like = _convention(case, transfers) if times.get("compute") else []
    return "\n".join([*lines, *_warnings(times), *like, *_differences(records, times, one_by_one)])


def _convention(case: Case, transfers: bool) -> list[str]:
    """Which options make trtexec measure the same: version 11 leaves copies out and uses CUDA graphs unless told."""
    copies = transfers and case.transfers
    newer = ["--includeDataTransfers"] * copies + ["--noCudaGraph"] * (not case.cuda_graph)
    older = ["--noDataTransfers"] * (not copies) + ["--useCudaGraph"] * case.cuda_graph
    lines = [
        f"Compare with: trtexec {' '.join(newer) or 'as it is'} (11), trtexec {' '.join(older) or 'as it is'} (to 10)"
    ]
    if case.transfers and not transfers:
        lines.append("Throughput is of a loop with copies; that of one without: the case with transfers: off.")
    lines.append(
        "trtexec 11 waits for the GPU by spinning, as --useSpinWait made it before; --noSpinWait makes it sleep."
    )
    return lines


def _of_loops(loops: Sequence[Measurement]) -> tuple[dict[str, list[int]], dict[str, int]]:
    """The kept times of the parts and their sums over all queries; empty unless every process has them, of as many
    queries each.
    """
    if not loops or not all(set(LINES) <= set(m.parts) and set(LINES) <= set(m.totals) for m in loops):
        return {}, {}
    if any(len({len(m.parts[name]) for name in LINES}) > 1 for m in loops):
        return {}, {}
    times = {name: [sample for m in loops for sample in m.parts[name]] for name in LINES}
    return times, {name: sum(m.totals[name] for m in loops) for name in LINES}


def _latency(times: Times, totals: Mapping[str, int], loops: Sequence[Measurement]) -> str:
    """That of the parts where they are of the same queries, else the loop's time for a query from start to end."""
    if not totals:
        return _spread([sample for m in loops for sample in m.samples])
    sums = [sum(parts) for parts in zip(*(times[name] for name in REQUEST), strict=True)]
    return _spread(sums, sum(totals[name] for name in REQUEST), sum(m.calls for m in loops))


def _spread(samples: Sequence[int], total: int = 0, queries: int = 0) -> str:
    """The statistics of one line, in milliseconds with six significant digits; the mean is of all queries if known."""
    if not samples:
        return "-"
    ascending = sorted(samples)
    mean = total / queries if total and queries else _mean(ascending)
    figures = {"min": ascending[0], "max": ascending[-1], "mean": mean, "median": statistics.median(ascending)}
    figures |= {f"percentile({percent}%)": percentile(ascending, percent) for percent in PERCENTILES}
    return ", ".join(f"{name} = {ns / 1e6:g} ms" for name, ns in figures.items())


def _mean(samples: Sequence[int]) -> float:
    return sum(samples) / len(samples) if samples else 0.0


def _warnings(times: Times) -> list[str]:
    """The warnings of trtexec, under its own conditions on the parts against GPU Compute Time."""
    if not all(times.get(name) for name in LINES):
        return []
    medians = {name: statistics.median(times[name]) for name in LINES}
    compute, lines = medians["compute"], []
    if medians["enqueue"] > ENQUEUE_BOUND * compute:
        lines.append(
            "* The host may bound the throughput: Enqueue Time is above 0.8 of GPU Compute Time (try: cuda_graph: on)"
        )
    for name, what in (("h2d", "inputs"), ("d2h", "outputs")):
        if medians[name] >= COPY_BOUND * compute:
            lines.append(
                f"* Copies of {what} may bound the throughput: {LINES[name]} is not below GPU Compute Time "
                "(try: transfers: off)"
            )
    varies = statistics.pstdev(times["compute"]) / _mean(times["compute"]) if compute else 0.0
    if varies > UNSTABLE:
        lines.append(
            f"* GPU Compute Time is unstable: its coefficient of variation is {varies:.2%} "
            "(try: nvidia-smi -lgc MHZ, or cuda_graph: on)"
        )
    return lines


def _differences(records: Sequence[Record], times: Times, one_by_one: bool) -> list[str]:
    """Where the figures are not those that trtexec would print for the same work."""
    if not times.get("compute"):
        return []
    lines = []
    if one_by_one:
        lines.append(
            "Enqueue, H2D, GPU Compute and D2H are of one query in flight, Latency is of the loop from start to end: "
            "this run kept no parts of its loop."
        )
    clocks = [record.telemetry.clock for record in records]
    floors = [clock.gpu_floor_ns for clock in clocks if clock and clock.gpu_floor_ns is not None]
    if floors:
        floor = format_time(statistics.median(floors))
        lines.append(f"Of GPU Compute Time {floor} is the clock's own: what it reads of a call that does nothing.")
    lines.append(
        "trtexec issues its queries from C++, this loop from Python: Enqueue Time is longer, and where it exceeds what "
        "the GPU needs, GPU Compute Time includes waiting for the host."
    )
    return lines
