"""Where the time of an inference goes, a line per case: text, Markdown, CSV and JSON."""

from __future__ import annotations

import csv as csv_format
import io
from collections.abc import Iterator, Sequence, Set
from typing import TYPE_CHECKING, Any

import msgspec

from bench.analysis import waterfall
from bench.analysis.held_calls import Comparison, is_close
from bench.analysis.waterfalls import BESIDE, RunWaterfalls, Waterfall, of_profiles
from bench.model.profile import Parts, ProfileRun
from bench.report import cells, escape, table
from bench.report.table import Column
from bench.units import format_time

if TYPE_CHECKING:
    from rich.text import Text

JSON_SCHEMA = 1
# The parts of a window in the order of the bar, with their signs there: those of a GPU, those of a CPU.
ON_GPU = {"kernels": "█", "copies": "▓", "launch": "▒", "wait": "░", "tail": "·"}
ON_CPU = {"operators": "█", "threads": "░", "python": "▒"}
REST = {"unexplained": "?"}
SIGNS = ON_GPU | ON_CPU | REST
BAR = 20
# Optional columns leave a narrow table in this order, the highest number first.
DROP = {"latency": 80, "unheld": 75, "gpu": 70, "own gpu": 68, "held": 67, "busy": 65, "parts": 60, "case": 55}
DROP |= {"profiled": 40}
# Beyond these a figure is to be doubted: the share that nothing explains, profiled over unprofiled time, and kernel
# time that belongs to an iteration.
MUCH_UNEXPLAINED, SLOWED, ATTRIBUTED = 0.05, 1.25, 0.99
_MEANINGS = {
    "kernels": "a kernel runs",
    "copies": "only a copy runs",
    "launch": "the GPU is idle until its next work is launched and starts",
    "wait": "it is idle while the host waits for it",
    "tail": "all its work is done",
    "operators": "an operator runs on the calling thread",
    "threads": "only on other threads",
    "python": "none runs: Python, and code that the tool does not see",
    "unexplained": "none of these",
}
_OWN = (
    "held: a call on a held stream in the profile; own gpu: the same in that process before the profiler started; gpu, "
    "unheld, latency: of the run, other processes"
)
_WAITS = 3
_NAMED = 3  # cases that a note names


def render(profiles: ProfileRun, *, width: int = 80, color: bool = False) -> str:
    """The waterfalls of a file of profiles; cases without one are not in it, nor the tool's notes."""
    several = [msgspec.structs.replace(each, notes=()) for each in of_profiles(profiles) if each.parts]
    return table.show(_lines(several, "", width), color)


def show(run: RunWaterfalls, *, width: int = 80, color: bool = False) -> str:
    """The waterfalls of a run's cases with their notes, in lines of at most ``width`` characters.

    Where the width is short, parts are shares alone, and columns leave in the order of DROP.
    """
    return table.show([_text(run.run, "bold"), "", *_lines(run.cases, run.make, width)], color)


def markdown(run: RunWaterfalls) -> str:
    """The same table in GitHub's flavour, with all columns that have something."""
    lines = [f"`{run.run}`: {legend(run.cases)}.", "", *table.markdown(_columns(run.cases))]
    lines += [text for note in notes(run.cases, run.make) for text in ("", f"- {escape.markdown(note)}")]
    return "\n".join(escape.line(text, 10_000) for text in lines) + "\n"


def csv(several: Sequence[RunWaterfalls]) -> str:
    """A line per case of all runs under a header line: raw numbers, ns, empty where there is none."""
    names = [name for name in Parts.__struct_fields__ if name not in ("busy", "span", "held")]
    titles = ["run", "case", "label", "tool", "created", "device", "iterations", *(f"{name}_ns" for name in names)]
    titles += [
        "unprofiled_ns",
        "ratio",
        "busy_ns",
        "span_ns",
        "attributed",
        *(f"{name}_ns" for name in BESIDE),
        "failure_kind",
        "held_ns",
        *(f"own_{name}_ns" for name in Comparison.__struct_fields__),
    ]
    buffer = io.StringIO()
    writer = csv_format.DictWriter(buffer, titles, lineterminator="\n", restval="")
    writer.writeheader()
    for run in several:
        for each in run.cases:
            row: dict[str, Any] = {name: getattr(each, name) for name in titles if name in each.__struct_fields__}
            row |= {f"{name}_ns": getattr(each.parts, name) for name in names} if each.parts else {}
            row |= {f"{name}_ns": value for name, value in each.times.items()}
            row |= {f"own_{name}_ns": getattr(each.own, name) for name in Comparison.__struct_fields__}
            row |= {"run": run.run, "failure_kind": each.failure.kind if each.failure else ""}
            writer.writerow({name: escape.cell("" if value is None else value) for name, value in row.items()})
    return buffer.getvalue()


def json(several: Sequence[RunWaterfalls]) -> str:
    """One object: ``schema`` and ``runs``, each with ``run`` and ``cases`` of all fields of waterfalls.Waterfall."""
    runs = [{"run": run.run, "make": run.make, "cases": [_whole(each) for each in run.cases]} for run in several]
    document = {"schema": JSON_SCHEMA, "runs": runs}
    return escape.in_json(msgspec.json.format(msgspec.json.encode(document), indent=2).decode()) + "\n"


def bar(parts: Parts, width: int = BAR) -> str:
    """The window as ``width`` signs; each part has its share of them, rounded so that they add up."""
    values = [max(getattr(parts, name), 0) for name in SIGNS]
    total = sum(values)
    if not total:
        return ""
    exact = [value * width / total for value in values]
    counts = [int(value) for value in exact]
    # What rounding down leaves goes to the largest remainders.
    for place in sorted(range(len(exact)), key=lambda at: counts[at] - exact[at])[: width - sum(counts)]:
        counts[place] += 1
    return "".join(sign * count for sign, count in zip(SIGNS.values(), counts, strict=True))


def legend(several: Sequence[Waterfall], *, own: bool = True) -> str:
    """What the parts are that any of the cases has, with their signs; with ``own`` of which process a time is."""
    names = [name for name in SIGNS if any(each.parts and getattr(each.parts, name) for each in several)]
    parts = [f"{SIGNS[name]} {name}: {_MEANINGS[name]}" for name in names]
    windows = middle_window({each.iterations for each in several if each.parts}, " of each profile")
    profiled = "profiled: that window over the median time without a profiler"
    text = f"of {windows}: {'; '.join(parts)}; {profiled}"
    if own and any(each.own.gpu is not None for each in several):
        text += f"; {_OWN}"
    return text


def middle_window(counts: Set[int], of: str = "") -> str:
    """Which window is shown of profiles with so many: ``the 5th fastest of 10 windows``; ``of`` follows on it."""
    if len(counts) != 1:
        return f"the median window{of} (the faster of the middle two)"
    (count,) = counts
    rank = waterfall.rank(count)
    return (f"the {_ordinal(rank)} fastest of {count} windows" if count > 1 else "the only window") + of


def _ordinal(number: int) -> str:
    """``1st``, ``2nd``, ``11th``."""
    endings = {1: "st", 2: "nd", 3: "rd"}
    return f"{number}{'th' if number // 10 % 10 == 1 else endings.get(number % 10, 'th')}"


def whom(labels: Sequence[str], every: Sequence[str]) -> str:
    """The cases that a note is of: ``all 5 cases``, the labels, or some of many."""
    if len(labels) > 1 and set(every) <= set(labels):
        return f"all {cells.count(len(labels), 'case')}"
    if len(labels) <= _NAMED:
        return ", ".join(labels)
    return f"{', '.join(labels[:_NAMED])} and {cells.count(len(labels) - _NAMED, 'more case')}"


def notes(several: Sequence[Waterfall], make: str = "") -> list[str]:
    """What a reader has to know, one sentence each, which names all cases that it is true of."""
    labels: dict[str, list[str]] = {}
    for each in several:
        for text in _notes(each):
            labels.setdefault(text, []).append(escape.name(each.label))
    profiled = [escape.name(each.label) for each in several if each.parts]
    texts = [f"{whom(own, profiled)}: {text}" for text, own in labels.items()]
    texts += _slowed(several)
    missing = sum(each.parts is None and each.failure is None for each in several)
    if missing and make:
        texts.append(f"{cells.count(missing, 'case')} without a profile; make one: {make}")
    return texts


# ------------------------------------------------------------------------------------------------------------- columns


def _lines(several: Sequence[Waterfall], make: str, width: int) -> list[Text | str]:
    """The table, what its columns mean, and the notes."""
    columns = _columns(several)
    if sum(column.width + table.GAP for column in columns) - table.GAP > width:
        columns = _columns(several, times=False)
    columns, omitted_titles = table.fit(columns, width)
    spans = {n: (1, text) for n, each in enumerate(several) if (text := _instead(each))}
    styles = {n: "red" if several[n].failure else "dim" for n in spans}
    lines: list[Text | str] = [*table.draw(columns, width, spans=spans, styles=styles), ""]
    if omitted_titles:
        lines += _dim(f"not shown at {width} columns: {', '.join(omitted_titles)}", width)
    if any(each.parts for each in several):
        lines += _dim(legend(several, own="own gpu" not in omitted_titles), width)
    for text in notes(several, make):
        lines += [_text(part, "yellow") for part in table.wrap(text, width)]
    return lines


def _columns(several: Sequence[Waterfall], *, times: bool = True) -> list[Column]:
    """All columns; without ``times`` the parts are shares alone."""
    names = [name for name in SIGNS if any(each.parts and getattr(each.parts, name) for each in several)]
    bars = tuple(bar(each.parts) if each.parts else "" for each in several)
    return [
        table.names("case", [escape.name(each.label) for each in several], DROP["case"]),
        Column(title="window", cells=tuple(_time(each.parts.window if each.parts else None) for each in several)),
        Column(title="parts", cells=bars, align_left=True, drop=DROP["parts"]),
        *(_part(several, name, times=times) for name in names),
        _column("profiled", [_times(each.ratio) for each in several]),
        _column("busy", [_time(each.busy_ns) for each in several]),
        _column("held", [_time(each.own.span) for each in several]),
        _column("own gpu", [_time(each.own.gpu) for each in several]),
        *(
            # A row without a profile shows why, across these columns.
            _column(title, [_time(each.times.get(boundary) if each.parts else None) for each in several])
            for boundary, title in zip(BESIDE, ("gpu", "unheld", "latency"), strict=True)
        ),
    ]


def _column(title: str, texts: Sequence[str]) -> Column:
    return Column(title=title, cells=tuple(texts), drop=DROP[title])


def _part(several: Sequence[Waterfall], name: str, *, times: bool) -> Column:
    texts = []
    for each in several:
        value = getattr(each.parts, name) if each.parts else 0
        share = cells.share(value / each.parts.window) if value and each.parts else cells.NONE
        texts.append(f"{format_time(value)} {share:>4}" if value and times else share)
    return Column(title="other" if name == "unexplained" else name, cells=tuple(texts))


def _time(value: float | None) -> str:
    return cells.NONE if value is None else format_time(value)


def _times(ratio: float | None) -> str:
    return cells.NONE if ratio is None else f"{ratio:.2f}x"


def _instead(each: Waterfall) -> str:
    """What stands in the row of a case without a profile."""
    if each.parts:
        return ""
    return cells.failure(each.failure) if each.failure else "no profile"


# ----------------------------------------------------------------------------------------------------------- sentences


def _notes(each: Waterfall) -> list[str]:
    if each.failure:
        hint = f"; try: {each.failure.hint}" if each.failure.hint else ""
        return [f"{each.failure.text}{hint}"]
    texts = [escape.line(note) for note in each.notes]
    if each.parts and each.parts.unexplained > MUCH_UNEXPLAINED * each.parts.window:
        share = cells.share(each.parts.unexplained / each.parts.window)
        texts.append(f"no event explains {share} of the window")
    if each.attributed is not None and each.attributed < ATTRIBUTED:
        texts.append(f"{cells.share(1 - each.attributed)} of the time of all kernels belongs to no inference")
    if each.busy_ns is not None and "gpu_unheld" in each.times and "gpu" not in each.times:
        gpu = f"the GPU is busy for {_time(each.busy_ns)} of its gpu_unheld of {_time(each.times['gpu_unheld'])}"
        texts.append(f"its stream cannot be held, so it has no gpu; {gpu}")
    texts += _processes(each)
    for wait in each.waits[:_WAITS]:
        often = "once" if wait.count == 1 else f"{wait.count} times"
        place = f" at {escape.line(wait.where)}" if wait.where else ""
        idle = f", the GPU idle for {format_time(wait.idle_ns)} of it" if wait.idle_ns else ""
        texts.append(f"each inference waits {often} in {wait.name}{place}: {format_time(wait.ns)}{idle}")
    if len(each.waits) > _WAITS:
        texts.append(f"waits at {len(each.waits) - _WAITS} more places, which --format json has")
    return texts


def _processes(each: Waterfall) -> Iterator[str]:
    """How the held calls of a profile differ from ``gpu``, of the same calls, process, and run; nothing where they
    agree.
    """
    own, gpu = each.own, each.times.get("gpu")
    if own.span is not None and own.recorded_gpu is not None and not is_close(own.span, own.recorded_gpu):
        off = _off(own.span, own.recorded_gpu)
        yield f"a recorded call on a held stream: {_time(own.span)}, by events {_time(own.recorded_gpu)} ({off})"
    if own.span is not None and own.gpu is not None and not is_close(own.span, own.gpu):
        off = _off(own.span, own.gpu)
        yield f"a recorded call on a held stream: {_time(own.span)}, gpu of its process {_time(own.gpu)} ({off})"
    if own.gpu is not None and gpu is not None and not is_close(own.gpu, gpu):
        off = _off(own.gpu, gpu)
        yield f"gpu of the profiled process: {_time(own.gpu)}, of the run, other processes: {_time(gpu)} ({off})"


def _off(value: float, base: float) -> str:
    """``+7.3%``: by how much the first is above the second."""
    return f"{value / base - 1:+.1%}" if base else cells.NONE


def _slowed(several: Sequence[Waterfall]) -> list[str]:
    """One sentence on all cases that the profiler slows by much: each has its ratio in the table."""
    slow = [each for each in several if each.ratio is not None and each.ratio > SLOWED]
    if not slow:
        return []
    most = max(each.ratio or 0 for each in slow)
    label = whom(
        [escape.name(each.label) for each in slow], [escape.name(each.label) for each in several if each.parts]
    )
    takes = "take up to" if len(slow) > 1 else "takes"
    return [f"{label} {takes} {most:.2f} times as long under the profiler, which slows the host above all"]


def _whole(each: Waterfall) -> dict[str, Any]:
    """All fields, also those that equal their defaults."""
    whole = {name: getattr(each, name) for name in each.__struct_fields__}
    parts = each.parts and {name: getattr(each.parts, name) for name in each.parts.__struct_fields__}
    own = {name: getattr(each.own, name) for name in each.own.__struct_fields__}
    return whole | {"parts": parts, "own": own, "waits": [msgspec.structs.asdict(wait) for wait in each.waits]}


def _dim(text: str, width: int) -> list[Text | str]:
    return [_text(part, "dim") for part in table.wrap(text, width)]


def _text(text: str, style: str) -> Text:
    from rich.text import Text

    return Text(text, style=style)
