"""A case in the words of NVIDIA's trtexec: the block that it prints at the end of a run."""

from __future__ import annotations

from collections.abc import Sequence

from bench.errors import UsageError, did_you_mean
from bench.model import Boundary, Case, Measurement, Record, Run
from bench.report.cells import count

PERCENTILES = (90, 95, 99)
LINES: tuple[tuple[str, Boundary], ...] = (
    ("Enqueue Time", "enqueue"),
    ("H2D Latency", "h2d"),
    ("GPU Compute Time", "compute"),
    ("D2H Latency", "d2h"),
)


def render(run: Run, case: str | None = None) -> str:
    """The block of each measured case, or of the one whose id or label is ``case``. Processes are pooled.

    Throughput is in queries (calls) per second, as trtexec counts with explicit batch; Total Host Walltime is the
    window of the throughput loop; Latency is of the calls inside that loop; the other times are of the boundary of
    that name, each measured with one call in flight. Total GPU Compute Time is their mean times the number of
    queries. Without a measurement there is a dash. UsageError if there is no such case, or nothing to show.
    """
    blocks = []
    for found in _chosen(run, case):
        records = [record for record in run.records if record.case == found.id and record.measurements]
        if records:
            blocks.append(_block(found, records))
    if not blocks:
        raise UsageError(f"nothing was measured of {case or 'this run'}", fix="trtbench show, for what went wrong")
    return "\n\n".join(blocks) + "\n"


def percentile(ordered: Sequence[int], percent: int) -> int:
    """The value that leaves floor((100 - percent) % of n) larger samples out.

    Source: findPercentile in samples/common/sampleReporting.cpp of github.com/NVIDIA/TensorRT, in whole numbers
    where trtexec rounds in float. ``ordered`` is ascending and not empty.
    """
    left_out = (100 - percent) * len(ordered) // 100
    return ordered[max(len(ordered) - 1 - left_out, 0)]


def _chosen(run: Run, case: str | None) -> list[Case]:
    cases = run.header.cases
    found = [each for each in cases if case in (None, "", each.id, each.label)]
    if not found:
        labels = [each.label for each in cases]
        raise UsageError(
            f"the run has no case {case!r}.{did_you_mean(case or '', labels)}",
            fix="--case with an id or label of `trtbench show --format csv`",
        )
    return found


def _block(case: Case, records: Sequence[Record]) -> str:
    measured = [m for record in records for m in record.measurements]
    loops = [m for m in measured if m.boundary == "throughput" and m.window_ns]
    queries, window = sum(m.calls for m in loops), sum(m.window_ns for m in loops)
    about = [case.label, count(len(records), "process")]
    if case.batch > 1:
        about.append(f"1 query is {case.batch} inferences")
    compute = _samples(measured, "compute")
    total_compute = f"{sum(compute) / len(compute) * queries / 1e9:g} s" if compute and queries else "-"
    return "\n".join(
        [
            f"=== Performance summary === ({', '.join(about)})",
            f"Throughput: {queries / window * 1e9:g} qps" if window else "Throughput: -",
            f"Latency: {_spread(_samples(measured, 'throughput'))}",
            *(f"{title}: {_spread(_samples(measured, boundary))}" for title, boundary in LINES),
            f"Total Host Walltime: {window / 1e9:g} s" if window else "Total Host Walltime: -",
            f"Total GPU Compute Time: {total_compute}",
        ]
    )


def _samples(measured: Sequence[Measurement], boundary: Boundary) -> list[int]:
    return sorted(sample for m in measured if m.boundary == boundary for sample in m.samples)


def _spread(ordered: Sequence[int]) -> str:
    """The statistics of one line, in milliseconds with six significant digits."""
    if not ordered:
        return "-"
    middle = len(ordered) // 2
    median = ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
    figures = {"min": ordered[0], "max": ordered[-1], "mean": sum(ordered) / len(ordered), "median": median}
    figures |= {f"percentile({percent}%)": percentile(ordered, percent) for percent in PERCENTILES}
    return ", ".join(f"{name} = {ns / 1e6:g} ms" for name, ns in figures.items())
