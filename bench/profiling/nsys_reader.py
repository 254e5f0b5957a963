"""Reads an SQLite export of Nsight Systems: the ranges, host calls, kernels and copies of one case, as a Profile."""

from __future__ import annotations

import contextlib
import gc
import re
from array import array
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from bench.errors import CaseError
from bench.model.profile import Copy, CopyKind, HostCall, Kernel, Profile, Range
from bench.profiling.nsys_names import Functions, Kernels
from bench.profiling.nsys_ranges import Threads, Window, close_ranges, ranges_of, window_of
from bench.profiling.nsys_schema import Export, open_export

_NOTES = 3
_ABOUT_CUDA = re.compile(r"nsys: (?!Not all).*(CUPTI|CUDA)")
_KERNELS, _GRAPHS = "CUPTI_ACTIVITY_KIND_KERNEL", "CUPTI_ACTIVITY_KIND_GRAPH_TRACE"
_COPYING = {"CUPTI_ACTIVITY_KIND_MEMCPY": "bytes, copyKind", "CUPTI_ACTIVITY_KIND_MEMSET": "bytes, NULL"}
_WORK = (_KERNELS, _GRAPHS, *_COPYING)
# Where the export has no enumerations: the numbers of all versions so far.
_COPIES = {1: "HTOD", 2: "DTOH", 3: "HTOA", 4: "ATOH", 5: "ATOA", 6: "ATOD", 7: "DTOA", 8: "DTOD", 10: "PTOP"}
_COPIES |= {11: "UVM_HTOD", 12: "UVM_DTOH", 13: "UVM_DTOD"}
_ON_DEVICE = ("DTOD", "PTOP", "ATOA", "ATOD", "DTOA")


class _Place(NamedTuple):
    """The innermost module (else layer) and operator around a call."""

    module: str = ""
    operator: str = ""


_NOWHERE = _Place()
_Places = dict[int | None, _Place]


def read(path: Path, *, case: str, label: str) -> Profile:
    """The profile of case ``case`` from the export at ``path``: what happened within the last range called ``label``
    in the domain ``trtbench``, in its process.

    An operation on the GPU belongs to the case if its call does; one whose call was not recorded, if it starts within
    the range. ``module`` and ``operator`` of a kernel are the innermost ranges around its call, on the call's thread.

    CaseError if the file cannot be read (``open_export``), if it has no such range, no iteration or no kernel.
    """
    with open_export(path) as export, _uncollected():
        strings = dict(export.database.execute("SELECT id, value FROM StringIds"))
        window = window_of(export, label)
        ranges = ranges_of(export, window, strings, label)
        if not any(span.kind == "iteration" for span in ranges):
            raise CaseError(f"the range of {label} has no iteration", where=str(path), fix="profile the case again")
        calls, launches = _calls(export, window, strings)
        places = _places(ranges, calls, launches)
        notes: list[str] = []
        kernels = _kernels(export, window, strings, launches, places)
        whole = _graphs(export, window, launches, {kernel.call for kernel in kernels})
        if whole:
            notes.append(f"{len(whole)} CUDA graphs were recorded as wholes: which kernels they ran is not known")
            kernels = sorted(kernels + whole, key=_start)
        if not kernels:
            _no_kernels(export, label)
        copies = sorted(_copies(export, window, launches, places), key=_start)
        return Profile(
            tool="nsys",
            tool_version=export.version,
            case=case,
            label=label,
            ranges=tuple(close_ranges(ranges, calls, kernels) if window.is_open else ranges),
            calls=tuple(calls),
            kernels=tuple(kernels),
            copies=tuple(copies),
            notes=(*notes, *_unlaunched(kernels), *_diagnostics(export, "Error")[:_NOTES]),
        )


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Without garbage collections: they would walk through millions of new objects that all stay, again and again."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


def _start(event: Kernel | Copy) -> int:
    return event.start


# host calls


def _calls(export: Export, window: Window, strings: dict[int, str]) -> tuple[list[HostCall], dict[int, int]]:
    """The calls of the runtime and driver API by start, and the places in that list of those that gave the GPU work,
    by correlation id.
    """
    if not export.has("CUPTI_ACTIVITY_KIND_RUNTIME"):
        return [], {}
    rows = export.database.execute(
        'SELECT start, "end", globalTid, COALESCE(correlationId, 0), nameId FROM CUPTI_ACTIVITY_KIND_RUNTIME '
        "WHERE start BETWEEN ? AND ? AND globalTid BETWEEN ? AND ? ORDER BY start",
        (window.start, window.end, *window.threads),
    )
    calls, correlations, names, threads = [], array("q"), Functions(strings), Threads()
    for start, end, tid, correlation, name_id in rows:
        calls.append(HostCall(name=names[name_id], start=start, end=end, thread=threads[tid]))
        correlations.append(correlation)
    wanted: set[int] = set()
    for table in _WORK:
        if export.has(table):
            wanted.update(number for (number,) in export.database.execute(f"SELECT correlationId FROM {table}"))
    # From the last one to the first: of a runtime call and the driver's inside it, the outer one stays.
    places = range(len(calls) - 1, -1, -1)
    return calls, {correlations[place]: place for place in places if correlations[place] in wanted}


def _places(ranges: Sequence[Range], calls: Sequence[HostCall], launches: dict[int, int]) -> _Places:
    """Where the calls that gave the GPU work stand, by their places in ``calls``; empty if no range tells.

    Ranges and calls are in the order of their starts, so that one pass over them is enough.
    """
    inner: dict[int, list[Range]] = defaultdict(list)
    for span in ranges:
        if span.kind in ("module", "layer", "operator"):
            inner[span.thread].append(span)
    around: _Places = {}
    stacks: dict[int, list[Range]] = defaultdict(list)
    position: dict[int, int] = Counter()
    for place in sorted(launches.values()) if inner else ():
        call = calls[place]
        thread, start = call.thread, call.start
        spans, stack, following = inner[thread], stacks[thread], position[thread]
        while following < len(spans) and (span := spans[following]).start <= start:
            while stack and stack[-1].end <= span.start:
                stack.pop()
            stack.append(span)
            following += 1
        position[thread] = following
        # Ranges that overlap without nesting leave ended ones below.
        kinds = {span.kind: span.name for span in stack if span.end > start}
        around[place] = _Place(kinds.get("module") or kinds.get("layer", ""), kinds.get("operator", ""))
    return around


# work on the GPU


def _work(export: Export, window: Window, table: str, columns: str) -> Iterator[tuple[int, ...]]:
    """Rows of a table of GPU work of the process, by start: start, end, stream, correlation, node, and ``columns``."""
    if not export.has(table):
        return iter(())
    process = f"AND {pid} = {window.process} " if (pid := export.or_null(table, "globalPid")) != "NULL" else ""
    node = export.or_null(table, "graphNodeId")
    return export.database.execute(
        f'SELECT start, "end", streamId, correlationId, {node}, {columns} FROM {table} '
        f'WHERE start >= ? AND "end" >= start {process}ORDER BY start',
        (window.start,),
    )


def _kernels(
    export: Export, window: Window, strings: dict[int, str], launches: dict[int, int], places: _Places
) -> list[Kernel]:
    kernels = []
    names = Kernels(strings)
    rows = _work(export, window, _KERNELS, f"{export.or_null(_KERNELS, 'mangledName')}, demangledName")
    for start, end, stream, correlation, node, mangled, name in rows:
        call = launches.get(correlation)
        if call is None and start > window.end:
            continue
        module, operator = places.get(call, _NOWHERE)
        kernels.append(
            Kernel(
                name=names[mangled, name],
                start=start,
                end=end,
                stream=stream,
                call=call,
                node=node,
                module=module,
                operator=operator,
            )
        )
    return kernels


def _graphs(export: Export, window: Window, launches: dict[int, int], known: set[int | None]) -> list[Kernel]:
    """CUDA graphs that were recorded as wholes, each as one kernel, unless its kernels are there."""
    graphs = []
    for start, end, stream, correlation, _, number in _work(export, window, _GRAPHS, "graphId"):
        call = launches.get(correlation)
        if (call in known) if call is not None else (start > window.end):
            continue
        graphs.append(Kernel(name=f"CUDA graph {number}", start=start, end=end, stream=stream, call=call))
    return graphs


def _copies(export: Export, window: Window, launches: dict[int, int], places: _Places) -> Iterator[Copy]:
    labels = export.labels("ENUM_CUDA_MEMCPY_OPER") or _COPIES
    kinds = {number: _copy_kind(label) for number, label in labels.items()}
    for table, columns in _COPYING.items():
        for start, end, stream, correlation, node, size, number in _work(export, window, table, columns):
            call = launches.get(correlation)
            if call is None and start > window.end:
                continue
            kind: CopyKind = "memset" if number is None else kinds.get(number, "other")
            module = places.get(call, _NOWHERE).module
            yield Copy(kind=kind, size=size, start=start, end=end, stream=stream, call=call, node=node, module=module)


def _copy_kind(label: str) -> CopyKind:
    """``CUDA_MEMCPY_KIND_UVM_HTOD`` -> ``h2d``."""
    route = label.rpartition("_")[2]
    if route in ("HTOD", "HTOA"):
        return "h2d"
    if route in ("DTOH", "ATOH"):
        return "d2h"
    return "d2d" if route in _ON_DEVICE else "other"


# what a reader must know


def _unlaunched(kernels: Sequence[Kernel]) -> list[str]:
    count = sum(kernel.call is None for kernel in kernels)
    return [f"{count} of {len(kernels)} kernels have no recorded call that launched them"] if count else []


def _diagnostics(export: Export, level: str) -> list[str]:
    """What nsys wrote down about its own work, of this level of severity."""
    if not export.has("DIAGNOSTIC_EVENT", "severity", "text"):
        return []
    numbers = {number for number, name in export.labels("ENUM_DIAGNOSTIC_SEVERITY_LEVEL").items() if name == level}
    rows = export.database.execute("SELECT severity, text FROM DIAGNOSTIC_EVENT")
    return list(dict.fromkeys(f"nsys: {text.strip()}" for severity, text in rows if severity in numbers and text))


def _no_kernels(export: Export, label: str) -> None:
    # "Not all CUDA events might have been collected" is said of every capture range.
    warnings = [text for text in _diagnostics(export, "Warning") if _ABOUT_CUDA.match(text)]
    reasons = _diagnostics(export, "Error") or warnings
    because = f" ({'; '.join(reasons[:2])})" if reasons else ""
    raise CaseError(
        f"the report has no kernel of {label}{because}",
        where=str(export.path),
        fix="no other profiler at the same time (DCGM, torch.profiler); an nsys that knows the driver: nsys status -e",
    )
