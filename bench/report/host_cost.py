"""Python's share: the Python and the C++ runner of each artifact side by side; text, Markdown, CSV and JSON."""

from __future__ import annotations

import csv as csv_format
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from bench.analysis.host_cost import DEVICE, HOST, HostCost, Loop, RunHostCost, Times
from bench.model.suite import Boundary
from bench.report import cells, escape, table
from bench.report.table import Column
from bench.units import NS_PER_S, format_rate

if TYPE_CHECKING:
    from rich.text import Text

JSON_SCHEMA = 1
# Optional columns leave a narrow table in this order, the highest number first; the share of each boundary stays.
DROP = {
    "QPS of Python": 60, "QPS of C++": 59, "enqueue of Python": 50, "enqueue of C++": 49, "latency of Python": 40,
    "latency of C++": 39, "artifact": 35, "intervals in one line": 34, "artifact in whole parts": 33, "gpu": 30,
    "enqueue: Python's share": 20,
}  # fmt: skip
LEGEND = (
    "Python's share: the host's time per call under Python less that under C++, with its 95% interval, and as a "
    "percentage of that under Python; gpu: the verdict on C++ against Python, SAME if both run the same kernels; "
    "QPS: inferences per second"
)
NOTHING = (
    "no case of this run has executor: cpp, so there is nothing to set Python against; in the suite: "
    "backend: [aoti, {name: aoti, executor: cpp}]"
)
BEYOND = (
    "the interval of 95% has no 0, but the verdict, which asks for 99%, does not yet call the two runners different"
)
LANES = "several requests at once"
LANES_LEGEND = (
    "p50 and p99: of the latencies of calls in the closed loop, in all processes together; p99 needs 662 calls, "
    "of which a process stores at most 256: more --replicates, for slow models a longer throughput_time"
)
_BOUNDARIES: tuple[Boundary, ...] = (*HOST, DEVICE, "throughput")
# Names of artifacts that a note lists.
_LABELS = 8
_PROCESSES = 7  # a side: what a verdict is usually made of


def render(costs: RunHostCost, *, width: int = 80, color: bool = False) -> str:
    """One table in lines of at most ``width`` characters.

    Where the width is short, names take several lines and columns leave in the order of DROP.
    """
    lines: list[Text | str] = [_text(costs.run, "bold"), ""]
    measured = [each for each in costs.artifacts if each.times]
    if not costs.deployed:
        return table.show([*lines, *table.wrap(NOTHING, width, "")], color)
    if measured:
        columns, omitted_titles = table.fit(_columns(measured), width)
        lines += [*table.draw(columns, width, spans={}, styles={}), ""]
        if omitted_titles:
            lines += _dim(f"not shown at {width} columns: {', '.join(omitted_titles)}", width)
        lines += _dim(LEGEND, width)
    if several := _loops(measured):
        columns, omitted_titles = table.fit(several, width)
        lines += ["", _text(LANES, "bold"), *table.draw(columns, width, spans={}, styles={}), ""]
        lines += _dim(f"not shown at {width} columns: {', '.join(omitted_titles)}", width) if omitted_titles else []
        lines += _dim(LANES_LEGEND, width)
    for note in notes(costs):
        lines += [_text(part, "yellow") for part in table.wrap(note, width)]
    return table.show(lines, color)


def markdown(costs: RunHostCost) -> str:
    """The same table in GitHub's flavour, with all columns that have something."""
    if not costs.deployed:
        return f"`{costs.run}`: {escape.markdown(NOTHING)}.\n"
    measured = [each for each in costs.artifacts if each.times]
    lines = [f"`{costs.run}`: {LEGEND}."]
    lines += ["", *table.markdown(_columns(measured))] if measured else []
    if several := _loops(measured):
        lines += ["", f"{LANES}: {LANES_LEGEND}.", "", *table.markdown(several)]
    lines += [text for note in notes(costs) for text in ("", f"- {escape.markdown(note)}")]
    return "\n".join(escape.line(text, 10_000) for text in lines) + "\n"


def csv(several: Sequence[RunHostCost]) -> str:
    """A line per artifact and boundary of all runs under a header line: raw numbers, empty where there is none. Those
    of ``throughput`` also have the closed loop of each runner, as the table of lanes. An artifact without times has one
    line, which says why.
    """
    buffer = io.StringIO()
    writer = csv_format.DictWriter(buffer, [*_FIELDS, *_NUMBERS, *_LOOPS, "why"], lineterminator="\n", restval="")
    writer.writeheader()
    for one in several:
        for each in one.artifacts:
            flat = {"run": one.run, **{name: getattr(each, name) for name in _FIELDS[1:]}, "why": each.why}
            for boundary, times in each.times.items() or (("", None),):
                numbers = {"boundary": boundary, **_numbers(times)} if times else {}
                numbers |= _loop_numbers(each) if boundary == "throughput" else {}
                writer.writerow({name: escape.cell(value) for name, value in (flat | numbers).items()})
    return buffer.getvalue()


def json(several: Sequence[RunHostCost]) -> str:
    """One object: ``schema`` and ``runs``, each with all fields of host_cost.RunHostCost; of each artifact also
    ``same_kernels``, and at each boundary ``fraction``.
    """
    runs = [
        {
            "run": one.run,
            "suite": one.suite,
            "deployed": one.deployed,
            "artifacts": [
                {
                    **{name: getattr(each, name) for name in each.__struct_fields__},
                    "same_kernels": each.same_kernels,
                    "times": {boundary: _whole(times) for boundary, times in each.times.items()},
                }
                for each in one.artifacts
            ],
        }
        for one in several
    ]
    return (
        escape.in_json(msgspec.json.format(msgspec.json.encode({"schema": JSON_SCHEMA, "runs": runs})).decode()) + "\n"
    )


def notes(costs: RunHostCost) -> list[str]:
    """What the figures do not have, and how to get it."""
    lines = []
    measured = [each for each in costs.artifacts if each.times]
    if any(each.same_kernels is False for each in measured):
        labels = _listed([each.label for each in measured if each.same_kernels is False])
        lines.append(
            f"the GPU takes another time under C++, so that Python's share has more in it than Python: {labels}"
        )
    unsure = [each for each in measured if DEVICE in each.times and each.same_kernels is None]
    enough = [each.label for each in unsure if min(each.times[DEVICE].verdict.processes) >= _PROCESSES]
    if few := [each.label for each in unsure if each.label not in enough]:
        what = f"too few processes to say that both run the same kernels, --replicates {_PROCESSES}"
        lines.append(f"{what}: {_listed(few)}")
    if enough:
        what = f"{DEVICE} differs too much between processes to say that both run the same kernels"
        lines.append(f"{what}; larger sizes or a quieter host may: {_listed(enough)}")
    for needed, undecided in _undecided(measured).items():
        more = f"--replicates {needed}" if needed else "more processes"
        lines.append(f"{BEYOND} ({more} may): {_listed(undecided)}")
    if any(times.low_ns is None for each in measured for times in each.times.values()):
        what = "without an interval: one process does not show how processes differ"
        lines.append(f"{what}, --replicates {_PROCESSES} does")
    if overheads := [each.overhead_ns for each in measured if each.overhead_ns is not None]:
        low, high = cells.bare(min(overheads)), cells.bare(max(overheads))
        span = low if low == high else f"{low} to {high}"
        lines.append(f"the C++ loop itself adds {span} to a call, the median of a call that does nothing")
    if silent := [each for each in costs.artifacts if each.why_no_processes]:
        why = "; ".join(f"{each.why_no_processes} ({escape.name(each.label)})" for each in silent[:_LABELS])
        lines.append(f"no row with a process for each lane: {escape.line(why)}")
    reasons: dict[str, list[str]] = {}
    for each in costs.artifacts:
        if each.why:
            reasons.setdefault(each.why, []).append(each.label)
    return [*lines, *(f"{escape.line(why)}: {_listed(labels)}" for why, labels in reasons.items())]


def share(times: Times | None) -> str:
    """``12.3 us [11.9, 12.7], 38%``: Python's share, its interval in the unit of the time, and the part of Python's."""
    if times is None:
        return cells.NONE
    return cells.host_share(times.share_ns, times.low_ns, times.high_ns, times.fraction)


def kernels(times: Times | None) -> str:
    """``SAME``, or the verdict with the ratio."""
    if times is None:
        return cells.NONE
    kind = times.verdict.kind
    return kind if kind == "SAME" else f"{kind} {times.verdict.ratio:.3f}"


# ------------------------------------------------------------------------------------------------------------------

_FIELDS = ("run", "label", "model", "artifact", "precision", "lanes", "python", "cpp")
_NUMBERS = ("boundary", "python_ns", "cpp_ns", "share_ns", "low_ns", "high_ns", "fraction", "verdict")
_LOOPS = tuple(f"{runner}_{name}" for runner in ("python", "processes", "cpp") for name in Loop.__struct_fields__)


def _columns(artifacts: Sequence[HostCost]) -> list[Column]:
    def column(title: str, texts: list[str]) -> Column:
        return Column(title=title, cells=tuple(texts), drop=DROP.get(title, 0))

    def at(boundary: Boundary) -> list[Times | None]:
        return [each.times.get(boundary) for each in artifacts]

    labels = [escape.name(each.label) for each in artifacts]
    columns = [table.names("artifact", labels, DROP["artifact"], DROP["artifact in whole parts"])]
    for boundary in HOST:
        several = at(boundary)
        columns += [
            column(f"{boundary} of Python", [cells.bare(each.python_ns if each else None) for each in several]),
            column(f"{boundary} of C++", [cells.bare(each.cpp_ns if each else None) for each in several]),
            table.with_intervals(
                (title := f"{boundary}: Python's share"),
                [share(each) for each in several],
                DROP["intervals in one line"],
                DROP.get(title, 0),
            ),
        ]
    columns.append(column(DEVICE, [kernels(each) for each in at(DEVICE)]))
    rates = at("throughput")
    columns += [
        column("QPS of Python", [_rate(each.python_ns if each else None) for each in rates]),
        column("QPS of C++", [_rate(each.cpp_ns if each else None) for each in rates]),
    ]
    return columns


def _undecided(artifacts: Sequence[HostCost]) -> dict[int, list[str]]:
    """The artifacts and boundaries whose interval has no 0 though the verdict is INCONCLUSIVE, by the processes a side
    that would decide all of an artifact; 0 where no number is known.
    """
    several: dict[int, list[str]] = {}
    for each in artifacts:
        shares = {boundary: each.times[boundary] for boundary in HOST if boundary in each.times}
        hits = {boundary: times for boundary, times in shares.items() if times.shows_a_share and not times.is_decided}
        if hits:
            needed = max(times.verdict.needed or 0 for times in hits.values())
            several.setdefault(needed, []).append(f"{each.label} ({', '.join(hits)})")
    return several


def _loops(artifacts: Sequence[HostCost]) -> list[Column]:
    """A line for each runner of the artifacts with several lanes; no columns without any."""
    several = [
        (each.label, each.lanes, name, each.loops[key])
        for each in artifacts
        for key, name in (("python", "Python"), ("processes", "Python"), ("cpp", "C++"))
        if each.lanes > 1 and key in each.loops
    ]
    if not several:
        return []

    def column(title: str, texts: list[str]) -> Column:
        return Column(title=title, cells=tuple(texts), drop=DROP.get(title, 0))

    return [
        table.names("artifact", [escape.name(label) for label, _, _, _ in several], DROP["artifact"]),
        column("lanes", [str(lanes) for _, lanes, _, _ in several]),
        Column(title="called by", cells=tuple(_callers(name, loop) for _, _, name, loop in several), align_left=True),
        column("QPS", [format_rate(loop.rate) for _, _, _, loop in several]),
        column("p50", [cells.bare(loop.p50_ns) for _, _, _, loop in several]),
        column("p99", [cells.bare(loop.p99_ns) for _, _, _, loop in several]),
    ]


def _callers(name: str, loop: Loop) -> str:
    """``2 C++ threads``, ``2 Python processes``; ``Python`` where the record does not say of how many."""
    if loop.lane_processes > 1:
        return cells.count(loop.lane_processes, f"{name} process")
    return cells.count(loop.threads, f"{name} thread") if loop.threads else name


def _rate(ns: float | None) -> str:
    return cells.NONE if ns is None else format_rate(NS_PER_S / ns)


def _numbers(times: Times) -> dict[str, Any]:
    return _whole(times) | {"verdict": times.verdict.kind}


def _loop_numbers(artifact: HostCost) -> dict[str, Any]:
    """``python_rate``, ``cpp_p99_ns``, ...: the fields of each runner's loop."""
    return {
        f"{runner}_{name}": getattr(loop, name)
        for runner, loop in artifact.loops.items()
        for name in loop.__struct_fields__
    }


def _whole(times: Times) -> dict[str, Any]:
    return {name: getattr(times, name) for name in times.__struct_fields__} | {"fraction": times.fraction}


def _listed(labels: Sequence[str]) -> str:
    more = f" and {len(labels) - _LABELS} more" if len(labels) > _LABELS else ""
    return ", ".join(escape.name(label) for label in labels[:_LABELS]) + more


def _dim(text: str, width: int) -> list[Text | str]:
    return [_text(part, "dim") for part in table.wrap(text, width)]


def _text(text: str, style: str) -> Text:
    from rich.text import Text

    return Text(text, style=style)
