"""Runs as one pandas frame, read line by line so that the samples of many runs need not fit into memory."""

from __future__ import annotations

import math
import struct
from array import array
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.model.run import Header, Measurement, Record, Run
from bench.model.suite import BOUNDARIES, Case, named
from bench.store.reader import lines
from bench.units import NS_PER_S

if TYPE_CHECKING:
    import pandas as pd

_CASE_COLUMNS = {
    "run": "", "case": "", "label": "", "model": "", "backend": "", "options": "", "precision": "", "batch": None,
    "cuda_graph": None, "streams": None, "toolchain": "", "arch": "", "device": "", "environment": "",
}  # fmt: skip
_INTEGERS = (
    "record",
    "row",
    "replicate",
    "boundary",
    "n",
    "calls",
    "window_ns",
    "lanes",
    "depth",
    "threads",
    "processes",
    "ok",
    "failure",
    "card",
)
_NUMBERS = ("min_ns", "median_ns", "p90_ns", "p95_ns", "qps")
_BOUNDARY_NAMES: tuple[str, ...] = ("", *BOUNDARIES)
_BOUNDARY_CODES = {name: code for code, name in enumerate(_BOUNDARY_NAMES)}
_NO_MEASUREMENT = Measurement(boundary="latency", samples=(), lane_count=0, depth=0)


def frame(runs: Iterable[Run]) -> pd.DataFrame:
    """One row per record and boundary; see docs/results-format.md for the columns.

    A record without a measurement is one row whose ``boundary`` is empty. Times are nanoseconds (float64), ``qps`` is
    inferences per second over the window of a closed loop, ``ok`` is the accuracy verdict (<NA> where not checked).
    ``attrs["damage"]`` lists what could not be read.
    """
    table = _Table()
    for run in runs:
        table.start(run.header)
        for record in run.records:
            table.add(record)
        table.damage += [run.damage] * bool(run.damage)
    return table.frame()


def load_frame(paths: Iterable[Path]) -> pd.DataFrame:
    """The frame of the runs in these files, read line by line: samples are not kept. StoreError as ``read``."""
    table = _Table()
    for path in paths:
        for item in lines(path, table.damage):
            if isinstance(item, Header):
                table.start(item)
            elif isinstance(item, Record):
                table.add(item)
    return table.frame()


class _Table:
    """Rows as they come in, packed: per run and case the request, per record and boundary integers and numbers."""

    def __init__(self) -> None:
        self.damage: list[str] = []
        self._case_rows: list[dict[str, Any]] = []
        self._integers = array("q")
        self._numbers = array("d")
        self._failures = {"": 0}
        self._cards = {"": 0}
        self._old_records: list[int] = []
        self._records = 0
        self._run = ""
        self._row_of: dict[str, int] = {}  # case id -> index into _case_rows, of the current run
        self._latest: dict[tuple[str, int], int] = {}  # case id, replicate -> record, of the current run

    def start(self, header: Header) -> None:
        """Begin a run: ``add`` takes its records from here on."""
        self._run = header.run
        self._row_of, self._latest = {}, {}
        places = {
            name: {"arch": environment.arch, "device": environment.device, "environment": environment.fingerprint}
            for name, environment in header.environments.items()
        }
        for case in header.cases:
            place = places.get(case.toolchain) or places.get("default", {})
            columns = _case_columns(case)
            self._row_of[columns["case"]] = len(self._case_rows)
            self._case_rows.append({**_CASE_COLUMNS, "run": header.run, **columns, **place})

    def add(self, record: Record) -> None:
        """The rows of one record; it replaces an earlier one of the same case and replicate."""
        if record.case not in self._row_of:  # a damaged header, or a line of another run
            self._row_of[record.case] = len(self._case_rows)
            self._case_rows.append({**_CASE_COLUMNS, "run": self._run, "case": record.case, "label": record.label})
        kind = record.failure.kind if record.failure else ""
        failure = self._failures.setdefault(kind, len(self._failures))
        card = self._cards.setdefault(record.card, len(self._cards))
        accurate = record.accuracy.accurate if record.accuracy else None
        ok = -1 if accurate is None else int(accurate)
        integers, numbers = array("q"), array("d")
        try:
            for m in record.measurements or (_NO_MEASUREMENT,):
                boundary = _BOUNDARY_CODES[m.boundary] if m is not _NO_MEASUREMENT else 0
                keys = (self._records, self._row_of[record.case], record.replicate, boundary, len(m.samples))
                integers.extend((*keys, m.calls, m.window_ns, m.lane_count, m.depth, m.threads))
                integers.extend((m.processes, ok, failure, card))
                rate = m.calls * m.batch / m.window_ns * NS_PER_S if m.window_ns else math.nan
                numbers.extend((*_statistics(m.samples), rate))
        except (OverflowError, struct.error):
            self.damage.append(f"{self._run}: skipped a record of {record.label}, a number is out of range")
            return
        self._integers += integers
        self._numbers += numbers
        before = self._latest.get((record.case, record.replicate))
        if before is not None:
            self._old_records.append(before)
        self._latest[record.case, record.replicate] = self._records
        self._records += 1

    def frame(self) -> pd.DataFrame:
        """All rows, in the order of the records."""
        import pandas as pd

        integers = np.frombuffer(self._integers, dtype=np.int64).reshape(-1, len(_INTEGERS))
        numbers = np.frombuffer(self._numbers, dtype=np.float64).reshape(-1, len(_NUMBERS))
        if self._old_records:
            latest = ~np.isin(integers[:, 0], self._old_records)
            integers, numbers = integers[latest], numbers[latest]
        by_name = dict(zip(_INTEGERS, integers.T, strict=True))
        symbols = dict.fromkeys(name for row in self._case_rows for name in row if name not in _CASE_COLUMNS)
        cases = pd.DataFrame(self._case_rows, columns=[*_CASE_COLUMNS, *symbols])
        cases = cases.astype({"batch": "Int64", "streams": "Int64", "cuda_graph": "boolean"})
        cases = cases.astype(dict.fromkeys(symbols, "Int64"))
        records = pd.DataFrame(
            {
                "replicate": by_name["replicate"],
                "boundary": np.array(_BOUNDARY_NAMES, dtype=object)[by_name["boundary"]],
                "n": by_name["n"],
                **dict(zip(_NUMBERS[:-1], numbers.T, strict=False)),
                **{name: by_name[name] for name in ("calls", "window_ns", "lanes", "depth", "threads", "processes")},
                "qps": numbers[:, -1],
                "ok": pd.array(by_name["ok"] == 1, dtype="boolean"),
                "failure": np.array(list(self._failures), dtype=object)[by_name["failure"]],
                "card": np.array(list(self._cards), dtype=object)[by_name["card"]],
            }
        )
        records.loc[by_name["ok"] < 0, "ok"] = pd.NA
        table = pd.concat([cases.take(by_name["row"]).reset_index(drop=True), records], axis=1)
        table.attrs["damage"] = self.damage
        return table


def _case_columns(case: Case) -> dict[str, Any]:
    """The columns of a case; a symbol whose name is a column becomes ``symbol_NAME``."""
    columns = {*_CASE_COLUMNS, *_INTEGERS, *_NUMBERS} - {"record", "row"}
    sizes = {
        f"symbol_{name}" if name in columns else name: size for name, size in case.symbols.items() if name != "batch"
    }
    return {
        "case": case.id,
        "label": case.label,
        "model": case.model,
        "backend": case.backend,
        "options": named("", case.options)[1:-1],
        "precision": case.precision,
        "batch": case.batch,
        "cuda_graph": case.cuda_graph,
        "streams": case.streams,
        "toolchain": case.toolchain,
        **sizes,
    }


def _statistics(samples: tuple[int, ...]) -> tuple[float, ...]:
    """Minimum, median, 90th and 95th percentile (linear between neighbours); NaN without samples."""
    if not samples:
        return (math.nan,) * 4
    data = struct.pack(f"{len(samples)}q", *samples)  # a third of the time of np.array
    ascending = np.sort(np.frombuffer(data, dtype=np.int64))
    return tuple(_quantile(ascending, q) for q in (0.0, 0.5, 0.9, 0.95))


def _quantile(ascending: np.ndarray[Any, Any], q: float) -> float:
    position = q * (len(ascending) - 1)
    low = int(position)
    below, above = ascending.item(low), ascending.item(min(low + 1, len(ascending) - 1))
    return float(below + (above - below) * (position - low))
