"""The ranges in an SQLite export of Nsight Systems: that of a case, and those within it, by their kinds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple, get_args

from bench.errors import CaseError
from bench.measure.nvtx import DOMAIN
from bench.model.profile import HostCall, Kernel, Range, RangeKind
from bench.profiling.nsys_schema import Export

_LAYERS = "TensorRT"  # the domain in which its runtime has a range for each layer
_OPERATORS = ("aten::", "prims::", "prim::", "torchvision::")
_THREAD = (1 << 24) - 1  # a serialized id: hardware, virtual machine, process (24 bits), thread (24 bits)
_NEVER = (1 << 63) - 1
# Where the export has no enumerations: the numbers of all versions so far.
_PUSH_POP, _START_END, _NEW_DOMAIN = 59, 60, 75
# Our ranges name their kind where it is one of these; without the package nvtx torch's ranges say all of it.
_WORDS: dict[str, RangeKind] = {"iteration": "iteration", "module": "module"}
_KINDS: dict[str, RangeKind] = {kind: kind for kind in get_args(RangeKind)}


class Window(NamedTuple):
    """The case's range: ``process`` is its serialized id, with thread 0, ``domain`` the number that trtbench's has in
    it, None if the ranges are torch's; ``end`` is beyond all times if the capture ended before.
    """

    process: int
    domain: int | None
    start: int
    end: int

    @property
    def threads(self) -> tuple[int, int]:
        """The lowest and the highest serialized id of its threads."""
        return self.process, self.process | _THREAD

    @property
    def is_open(self) -> bool:
        """Whether the capture ended before the range did."""
        return self.end == _NEVER


def _event_types(export: Export) -> tuple[int, int, int]:
    """The numbers of push/pop ranges, start/end ranges, and new domains."""
    numbers = {name: number for number, name in export.labels("ENUM_NSYS_EVENT_TYPE").items()}
    names = {"NvtxPushPopRange": _PUSH_POP, "NvtxStartEndRange": _START_END, "NvtxDomainCreate": _NEW_DOMAIN}
    push_pop, start_end, new_domain = (numbers.get(name, usual) for name, usual in names.items())
    return push_pop, start_end, new_domain


def _domains(export: Export) -> dict[tuple[int, int], str]:
    """The names of domains by process and number."""
    rows = export.database.execute(
        "SELECT e.globalTid, e.domainId, COALESCE(e.text, s.value, '') FROM NVTX_EVENTS e "
        "LEFT JOIN StringIds s ON s.id = e.textId WHERE e.eventType = ?",
        (_event_types(export)[2],),
    )
    return {((tid or 0) & ~_THREAD, number): name for tid, number, name in rows}


def window_of(export: Export, label: str) -> Window:
    """The last range of the case. A domain that was created before the capture may have no name in it."""
    if not export.has("NVTX_EVENTS"):
        raise CaseError(
            "the report has no NVTX ranges", where=str(export.path), fix="pip install nvtx where the case runs"
        )
    push_pop, start_end, _ = _event_types(export)
    domains, torchs = _domains(export), f"{DOMAIN} case {label}"  # torch has no registered texts
    rows = export.database.execute(
        'SELECT start, "end", globalTid, domainId, COALESCE(text, ?) FROM NVTX_EVENTS WHERE eventType IN (?, ?) AND '
        "(text IN (?, ?) OR textId IN (SELECT id FROM StringIds WHERE value = ?)) ORDER BY start",
        (label, push_pop, start_end, label, torchs, label),
    )
    windows = [
        Window(tid & ~_THREAD, domain if name == label else None, start, _NEVER if end is None else end)
        for start, end, tid, domain, name in rows
        if name == torchs or domains.get((tid & ~_THREAD, domain), DOMAIN) == DOMAIN
    ]
    if windows:
        return windows[-1]
    if DOMAIN in domains.values():
        raise CaseError(f"the report has no range of {label}: it is of another case", where=str(export.path))
    raise CaseError(
        f"the report has no ranges of trtbench (NVTX domain {DOMAIN})",
        where=str(export.path),
        fix="record it by trtbench profile --tool nsys, with the package nvtx where the case runs",
    )


def ranges_of(export: Export, window: Window, strings: dict[int, str], label: str) -> list[Range]:
    """All ranges that start within the case's, of its process, by start, outer ones first."""
    push_pop, start_end, _ = _event_types(export)
    domains = _domains(export)
    rows = export.database.execute(
        'SELECT start, "end", globalTid, domainId, text, textId FROM NVTX_EVENTS WHERE eventType IN (?, ?) '
        "AND start BETWEEN ? AND ? AND globalTid BETWEEN ? AND ? ORDER BY start",
        (push_pop, start_end, window.start, window.end, *window.threads),
    )
    ranges: list[Range] = []
    kinds: dict[tuple[int, int | str], tuple[RangeKind, str]] = {}
    threads, last, ties = Threads(), -1, False
    for start, end, tid, number, text, text_id in rows:
        key = number, text_id if text is None else text
        known = kinds.get(key)
        if known is None:
            domain = DOMAIN if number == window.domain else domains.get((window.process, number), "")
            known = kinds[key] = _kind(domain, strings.get(text_id, "") if text is None else text, label)
        if end is None:
            end = window.end
        ties, last = ties or start == last, start
        ranges.append(Range(name=known[1], kind=known[0], start=start, end=end, thread=threads[tid]))
    if ties:
        ranges.sort(key=lambda span: (span.start, -span.end))
    return ranges


class Threads(dict[int, int]):
    """The number of a thread by its serialized id: one object for all of its events."""

    def __missing__(self, tid: int) -> int:
        self[tid] = tid & _THREAD
        return self[tid]


def _kind(domain: str, name: str, label: str) -> tuple[RangeKind, str]:
    """What a range of that domain is, and the name that it has in a Profile."""
    word, _, rest = name.partition(" ")
    if domain == DOMAIN:
        if name == label:
            return "case", name
        return (_WORDS[word], rest) if word in _WORDS else ("phase", name)
    if word == DOMAIN:
        second, _, rest = rest.partition(" ")
        return _KINDS.get(second, "other"), rest
    if domain == _LAYERS and not name.startswith("ExecutionContext::"):
        return "layer", name
    if name.startswith(_OPERATORS):  # torch appends `, seq = 3, op_id = 7`
        return "operator", name.partition(", ")[0]
    return "other", name


def close_ranges(ranges: Sequence[Range], calls: Sequence[HostCall], kernels: Sequence[Kernel]) -> Iterator[Range]:
    """The ranges, those without an end ending with the last event."""
    last = max((event.end for events in (calls, kernels) for event in events), default=0)
    for span in ranges:
        if span.end != _NEVER:
            yield span
        else:
            yield Range(name=span.name, kind=span.kind, start=span.start, end=max(last, span.start), thread=span.thread)
