"""How one figure reads in a table or a line of progress: plain text, no layout."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence

import msgspec

from bench.analysis.figures import Figure
from bench.analysis.host_cost import PythonShare
from bench.analysis.pool import Score
from bench.analysis.rows import Row, has_replicates, leads, summarise, without_void_figures
from bench.analysis.speed import Speed, is_undecided
from bench.model.run import Failure, Record
from bench.model.suite import Boundary
from bench.report import escape
from bench.report.figures import Span, format_span
from bench.units import format_rate, format_size, format_time, parse_time

NONE = "-"
# Follows a figure from one process where others of the run are from several.
ALONE = "†"
# Follows a ratio whose sides ran on different cards or machines.
ACROSS = "‡"
# In place of an interval that nothing is known of, and of a ratio that leaves everything open.
UNKNOWN, UNDECIDED = "±unknown", "undecided"
# Follows what cannot be told from the fastest.
TIED = "≈"
PYTHON_SHARE = "Python's share"
QUANTIZED_COSINE = "cosine (int8)"
PYTHON_LEGEND = (
    "Python's share: the time of a call less that of a C++ program which runs the same artifact, with its 95% interval "
    "and as a percentage of the time; trtbench show --host-cost has both runners side by side"
)
VAGUE_LEGEND = f"{UNKNOWN} of a time or rate: the interval reaches beyond twice the value; more processes narrow it"
# ± shows the larger half of an interval. Where the other is shorter by more than this fraction of the value, the error
# would show in the three digits of a bound, and the bounds are printed instead.
UNEVEN = 0.01
# The half of an interval, as a fraction of the value, beyond which it tells nothing.
WIDEST = 1.0
# A bound of an undecided ratio beyond these says no more than that it lies there.
_LEAST_BOUND, _MOST_BOUND = 0.01, 100


def printable_row(row: Row) -> Row:
    """The row with names that a table can show, and with figures where they are of a process that did not fail."""
    row = without_void_figures(row)
    symbols = {escape.name(name): size for name, size in row.symbols.items()}
    texts = {field: escape.name(getattr(row, field)) for field in ("model", "backend", "setting")}
    failure = row.failure and msgspec.structs.replace(
        row.failure, kind=escape.name(row.failure.kind), stage=escape.name(row.failure.stage)
    )
    return msgspec.structs.replace(row, symbols=symbols, failure=failure, **texts)


def time(figure: Figure | None, *, mark: bool = False) -> str:
    """``1.23 ms ±0.4%``, ``24.3 us [16.8, 36.5]`` where the halves of the interval are uneven, the bounds in the unit
    of the time, or ``24.3 us ±unknown`` where it tells nothing (WIDEST); without an interval only the time. ``mark``
    adds ALONE to that of one process.
    """
    if figure is None:
        return NONE
    text = format_time(figure.value)
    text += _within(text, figure.value, figure.low, figure.high)
    return f"{text} {ALONE}" if mark and figure.processes == 1 else text


def within(ns: float, low: float | None, high: float | None) -> str:
    """The interval of a time as time() has it, with a leading blank; empty without one."""
    return _within(format_time(ns), ns, low, high)


def _within(text: str, ns: float, low: float | None, high: float | None) -> str:
    """The interval of the time that is shown as ``text``."""
    around = _around(ns, low, high)
    if around is None and low is not None and high is not None:
        unit = _unit(text.rpartition(" ")[2])
        return f" [{format_rate(low / unit)}, {format_rate(high / unit)}]"
    return around or ""


@functools.cache
def _unit(name: str) -> int:
    """Nanoseconds of a unit."""
    return parse_time(f"1 {name}")


def bare(ns: float | None) -> str:
    """``1.23 ms``, without an interval."""
    return NONE if ns is None else format_time(ns)


def rate(figure: Figure | None, *, bare: bool = False) -> str:
    """``1,234 ±0.4%``, ``1,234 [1,000, 1,500]`` or ``1,234 ±unknown`` inferences per second, as time() has intervals;
    ``bare`` only the number, as without an interval.
    """
    if figure is None:
        return NONE
    return format_rate(figure.value) + ("" if bare else _interval(figure.value, figure.low, figure.high, format_rate))


def ratio(speed: Speed | None, label: str, *, mark: bool = False) -> str:
    """``1.53x ±2.3%`` or ``1.53x [1.20, 2.10]``; ``474x ±unknown`` where a side has one process, and ``undecided [0.34,
    1.47]`` where the interval says neither which is faster nor by how much; ``baseline`` for the case that the others
    are compared with. ``mark`` adds ALONE where a side has one process. ACROSS is added wherever it is true.
    """
    if speed is None or speed.ratio is None:
        return NONE
    if speed.against == label:
        return "baseline"
    shown = _ratio(speed.ratio, speed.low, speed.high)
    return shown + _marks({ALONE: mark and speed.within, ACROSS: speed.across_devices})


def _ratio(value: float, low: float | None, high: float | None) -> str:
    if low is None or high is None:
        return f"{_times(value)}x {UNKNOWN}"
    if is_undecided(low, high):
        return undecided(low, high)
    bounds, around = f"[{_times(low)}, {_times(high)}]", _around(value, low, high)
    return f"{_times(value)}x {bounds}" if around is None or UNKNOWN in around else f"{_times(value)}x{around}"


def undecided(low: float, high: float) -> str:
    """``undecided [0.34, 1.47]``: in place of a ratio whose interval leaves all open; ``<0.01`` and ``>100`` stand for
    bounds beyond these, as two processes can give an interval over many powers of ten.
    """
    least = f"<{_LEAST_BOUND}" if low < _LEAST_BOUND else f"{low:.2f}"
    return f"{UNDECIDED} [{least}, {f'>{_MOST_BOUND}' if high > _MOST_BOUND else f'{high:.2f}'}]"


def mark(row: Row, fastest: str) -> str:
    """``fastest`` behind the lowest time of its model and sizes, if it is of several processes; TIED behind what cannot
    be told from the lowest, as any time of one process cannot. Tables without replicates show neither.
    """
    return fastest if leads(row) else f" {TIED}" if row.tied else ""


def lead(table: Sequence[Row], fastest: str) -> str:
    """What the legend says of ``fastest``, the mark of the lowest time, and of TIED; empty where no row has one."""
    if not has_replicates(table):
        return ""
    leading, tied = any(map(leads, table)), any(row.tied and not leads(row) for row in table)
    best = "lowest time of the accurate cases of a model and its sizes"
    lowest = f"{fastest} {best if tied else 'fastest accurate case of its model and sizes'}"
    open_ended = (
        f"{TIED} cannot be told from {'it' if leading else f'the {best}'}: the interval of the ratio of their times "
        "contains 1 or is unknown"
    )
    return "; ".join([lowest] * leading + [open_ended] * tied)


def verdict(score: Score | None) -> str:
    """``ok``, ``FAIL``, ``varies`` where each call of the model has other outputs, ``empty`` where outputs have no
    element to compare, or ``blind`` where the reference does not depend on the inputs.
    """
    if score is None:
        return NONE
    if score.ok:
        return "empty" if score.empty else "blind" if score.blind else "ok"
    return "varies" if score.varies else "FAIL"


def accuracy(row: Row) -> str:
    """verdict(), but ``failed`` in place of a good one of a row with figures of which some processes failed."""
    failed = row.failure and row.processes and (row.score is None or row.score.ok)
    return "failed" if failed else verdict(row.score)


def cosine(score: Score | None) -> str:
    """That of the worst output, as in similarity()."""
    return NONE if score is None else similarity(score.cosine)


def quantized_cosine(score: Score | None) -> str:
    """That of the worst output with the quantized reference."""
    return NONE if score is None else similarity(score.quantized_cosine)


def quantized_legend(table: Iterable[Row]) -> list[str]:
    """What the column of ``quantized_cosine`` is, and what rounding alone does to the quantized models of ``table``;
    nothing where no row has one.
    """
    scores = [row.score for row in table if row.score and row.score.quantized_cosine is not None]
    if not scores:
        return []
    text = f"{QUANTIZED_COSINE}: with the outputs of the quantized model that PyTorch runs, in place of fp32's"
    if rounding := [score.rounding_cosine for score in scores if score.rounding_cosine is not None]:
        span = format_span(Span(min(rounding), max(rounding)), similarity)
        text += f"; with float16 between its layers that model has {span} with itself"
    return [text]


def similarity(cosine: float | None) -> str:
    """Six decimals; ``>0.999999`` for what would round up to 1.000000, so that only exactly 1 is shown as 1."""
    if cosine is None:
        return NONE
    text = f"{cosine:.6f}"
    return ">0.999999" if text == "1.000000" and cosine < 1 else text


def metrics(members: Iterable[Row]) -> list[str]:
    """The names of what the models' own metrics returned, in order."""
    return list(dict.fromkeys(name for row in members if row.score for name in row.score.metric))


def metric(score: Score | None, name: str) -> str:
    """Four digits of a number of the model's own metric."""
    return NONE if score is None or name not in score.metric else f"{score.metric[name]:.4g}"


def small(value: float | None) -> str:
    """An error norm: ``2.1e-04``."""
    return NONE if value is None else "0" if value == 0 else f"{value:.1e}"


def energy(joules: float | None) -> str:
    """``12.3 mJ``, or a dash."""
    if joules is None:
        return NONE
    return f"{joules:.3g} J" if joules >= 1 else f"{joules * 1e3:.3g} mJ"


def memory(row: Row) -> str:
    """``93.5 MiB``."""
    return NONE if row.memory is None else format_size(row.memory)


def share(fraction: float | None) -> str:
    """``41%``; one decimal below 10 %."""
    return NONE if fraction is None else f"{fraction:.1%}" if fraction < 0.0995 else f"{fraction:.0%}"


def python_share(share: PythonShare | None, *, mark: bool = False) -> str:
    """``12.3 us [11.9, 12.7], 38%``: of the time of a call, its interval in its unit, and the part; ``mark`` adds
    ALONE without an interval, as a side has one process.
    """
    if share is None:
        return NONE
    return host_share(share.ns, share.low_ns, share.high_ns, share.fraction) + _marks(
        {ALONE: mark and share.low_ns is None}
    )


def host_share(ns: float, low: float | None, high: float | None, fraction: float) -> str:
    """A difference of two times, which may be negative, as in python_share()."""
    text = _signed(ns, format_time)
    span = ""
    if low is not None and high is not None:
        unit = _unit(text.rpartition(" ")[2])
        span = f" [{_signed(low / unit, format_rate)}, {_signed(high / unit, format_rate)}]"
    return f"{text}{span}, {fraction:.0%}"


def python_share_title(table: Iterable[Row]) -> str:
    """``Python's share (enqueue)``, with the boundary that it is of."""
    boundaries = dict.fromkeys(row.python_share.boundary for row in table if row.python_share)
    return f"{PYTHON_SHARE} ({', '.join(boundaries)})"


def phase(row: Row, name: str) -> str:
    """``30.1 s (2.01 s)``: cold, and in parentheses warm."""
    times = next((phase for phase in row.phases if phase.name == name), None)
    if times is None:
        return NONE
    cold = [format_time(times.cold_ns)] if times.cold_ns is not None else []
    warm = [f"({format_time(times.warm_ns)})"] if times.warm_ns is not None else []
    return " ".join(cold + warm)


def failure(failure: Failure) -> str:
    """``Timeout in compile``."""
    return f"{failure.kind} in {failure.stage}" if failure.stage else failure.kind


def result(record: Record) -> str:
    """One finished process in one line: ``latency 1.23 ms ±0.4%, 812/s, accuracy ok``, or what went wrong."""
    if record.failure:
        return f"FAILED: {failure(record.failure)}: {record.failure.text}"
    times, per_second, score = summarise(record)
    order: tuple[Boundary, ...] = ("gpu", "gpu_unheld", "latency")
    parts = [f"{boundary} {time(times[boundary])}" for boundary in order if boundary in times]
    if per_second:
        parts.append(f"{format_rate(per_second.value)}/s")
    if score:
        parts.append(f"accuracy {verdict(score)}" + ("" if score.ok else f": {score.why}"))
    if kinds := dict.fromkeys(warning.kind for warning in record.warnings):
        parts.append(f"warnings: {' '.join(kinds)}")
    return ", ".join(parts) or "nothing was measured"


def duration(seconds: float) -> str:
    """``0:42``, ``12:05`` or ``1:02:03``."""
    minutes, second = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{second:02}" if hours else f"{minutes}:{second:02}"


def count(number: int, noun: str) -> str:
    """``1 case``, ``3 cases``, ``2 processes``."""
    plural = noun + ("es" if noun.endswith("s") else "s")
    return f"{number:,} {noun if number == 1 else plural}"


def _signed(value: float, form: Callable[[float], str]) -> str:
    return f"-{form(-value)}" if value < 0 else form(value)


def _marks(which: dict[str, bool]) -> str:
    text = "".join(mark for mark, true in which.items() if true)
    return f" {text}" if text else ""


def _times(value: float) -> str:
    """Three significant digits below 0.1, then two decimals, whole from 100."""
    if value < 0.0995:
        return format_rate(value)
    return f"{value:.2f}" if value < 99.5 else f"{value:,.0f}"


def _interval(value: float, low: float | None, high: float | None, bound: Callable[[float], str]) -> str:
    """`` ±0.4%``, or the bounds where its halves are uneven, or `` ±unknown`` where it reaches beyond twice the value
    (leading blank); empty without an interval.
    """
    around = _around(value, low, high)
    if around is None and low is not None and high is not None:
        return f" [{bound(low)}, {bound(high)}]"
    return around or ""


def _around(value: float, low: float | None, high: float | None) -> str | None:
    """As _interval; None where the bounds are to be shown."""
    if low is None or high is None or not value:
        return ""
    below, above = (value - low) / value, (high - value) / value
    if above > WIDEST:
        return f" {UNKNOWN}"
    if abs(above - below) > UNEVEN:
        return None
    half = max(below, above)
    if half < 0.0005:
        return " ±<0.1%"
    return f" ±{half:.1%}" if half < 0.0995 else f" ±{half:.0%}"
