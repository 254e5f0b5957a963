"""Writes SQLite files with the tables and columns of nsys 2025.3 (layout 3.20), event by event."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from bench.model.profile import Profile
from bench.profiling import nsys_reader

# Columns in their order; `?` marks those that may be NULL, `TEXT` and `REAL` those that are no integers.
_GPU = "start end deviceId contextId greenContextId? streamId correlationId? globalPid?"
_LABELS = "id name:TEXT? label:TEXT?"
TABLES = {
    "StringIds": "id value:TEXT",
    "META_DATA_EXPORT": "name:TEXT value:TEXT?",
    "META_DATA_CAPTURE": "name:TEXT value:TEXT?",
    "NVTX_EVENTS": "start end? eventType rangeId? category? color? text:TEXT? globalTid? endGlobalTid? textId? "
    "domainId? uint64Value? int64Value? doubleValue:REAL? uint32Value? int32Value? floatValue:REAL? jsonTextId? "
    "jsonText:TEXT? binaryData:TEXT?",
    "CUPTI_ACTIVITY_KIND_RUNTIME": "start end eventClass globalTid? correlationId? nameId returnValue callchainId?",
    "CUPTI_ACTIVITY_KIND_KERNEL": f"{_GPU} demangledName shortName mangledName? launchType? cacheConfig? "
    "registersPerThread gridX gridY gridZ blockX blockY blockZ staticSharedMemory dynamicSharedMemory "
    "localMemoryPerThread localMemoryTotal gridId sharedMemoryExecuted? graphNodeId? sharedMemoryLimitConfig? "
    "qmdBulkReleaseDone? qmdPreexitDone? qmdLastCtaDone? graphId? clusterX? clusterY? clusterZ? "
    "clusterSchedulingPolicy? maxPotentialClusterSize? maxActiveClusters?",
    "CUPTI_ACTIVITY_KIND_MEMCPY": f"{_GPU} bytes copyKind deprecatedSrcId? srcKind? dstKind? srcDeviceId? "
    "srcContextId? dstDeviceId? dstContextId? migrationCause? graphNodeId? virtualAddress? copyCount?",
    "CUPTI_ACTIVITY_KIND_MEMSET": f"{_GPU} value bytes graphNodeId? memKind?",
    "CUPTI_ACTIVITY_KIND_GRAPH_TRACE": f"{_GPU} graphId graphExecId",
    "DIAGNOSTIC_EVENT": "timestamp timestampType source severity text:TEXT globalPid?",
    "ENUM_NSYS_EVENT_TYPE": _LABELS,
    "ENUM_CUDA_MEMCPY_OPER": _LABELS,
    "ENUM_DIAGNOSTIC_SEVERITY_LEVEL": _LABELS,
}
LABEL = "net/eager/fp32/batch=1"
RECORDED = Path(__file__).parents[1] / "golden" / "nsys"
PROCESS = (1 << 56) | (4242 << 24)
MAIN = PROCESS | 4242
EVENTS = {33: "NvtxCategory", 34: "NvtxMark", 59: "NvtxPushPopRange", 60: "NvtxStartEndRange", 75: "NvtxDomainCreate"}
ROUTES = ["UNKNOWN", "HTOD", "DTOH", "HTOA", "ATOH", "ATOA", "ATOD", "DTOA", "DTOD", "HTOH", "PTOP"]
ROUTES += ["UVM_HTOD", "UVM_DTOH", "UVM_DTOD"]


class Report:
    """An export that is being written: tables come with their first row, as nsys has them; ``close`` ends it."""

    def __init__(self, path: Path, version: str = "2025.3.1.90", layout: str = "3.20.1") -> None:
        self.path = path
        self.database = sqlite3.connect(path)
        self._strings: dict[str, int] = {}
        self._nothing: dict[str, dict[str, Any]] = {}
        self.add("META_DATA_EXPORT", name="EXPORT_PRODUCT_VERSION", value=version)
        self.add("META_DATA_EXPORT", name="EXPORT_SCHEMA_VERSION", value=layout)
        for number, name in EVENTS.items():
            self.add("ENUM_NSYS_EVENT_TYPE", id=number, name=name, label=name)
        for number, route in enumerate(ROUTES):
            self.add("ENUM_CUDA_MEMCPY_OPER", id=number, name=f"CUDA_MEMCPY_KIND_{route}", label=route)

    def table(self, name: str) -> None:
        """Create a table if it is not there."""
        if name in self._nothing:
            return
        declared, nothing = [], {}
        for word in TABLES[name].split():
            column, _, type_ = word.removesuffix("?").partition(":")
            optional = word.endswith("?")
            declared.append(f'"{column}" {type_ or "INTEGER"}{"" if optional else " NOT NULL"}')
            if column == "id":
                declared[-1] += " PRIMARY KEY"
            nothing[column] = None if optional else "" if type_ == "TEXT" else 0
        self.database.execute(f"CREATE TABLE {name} ({', '.join(declared)})")
        self._nothing[name] = nothing

    def add(self, table: str, **fields: Any) -> None:
        """A row with these fields, the others without a value."""
        self.table(table)
        row = self._nothing[table] | fields
        assert len(row) == len(self._nothing[table]), fields
        self.many(table, [tuple(row.values())])

    def many(self, table: str, rows: Iterable[Sequence[Any]]) -> None:
        """Whole rows, in the order of the table's columns."""
        self.table(table)
        marks = ", ".join("?" * len(self._nothing[table]))
        self.database.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)

    def string(self, text: str) -> int:
        """The number of a text."""
        if text not in self._strings:
            self._strings[text] = len(self._strings) + 1
            self.add("StringIds", id=self._strings[text], value=text)
        return self._strings[text]

    def domain(self, name: str, number: int, thread: int = MAIN) -> None:
        self.add("NVTX_EVENTS", start=0, eventType=75, text=name, domainId=number, globalTid=thread)

    def range(
        self, name: str, start: int, end: int | None, domain: int = 1, thread: int = MAIN, registered: bool = True
    ) -> None:
        """A push/pop range; the package nvtx registers texts, C programs mostly do not."""
        text = {"textId": self.string(name)} if registered else {"text": name}
        self.add("NVTX_EVENTS", start=start, end=end, eventType=59, globalTid=thread, domainId=domain, **text)

    def call(self, name: str, start: int, end: int, correlation: int = 0, thread: int = MAIN) -> None:
        self.add(
            "CUPTI_ACTIVITY_KIND_RUNTIME",
            start=start,
            end=end,
            globalTid=thread,
            correlationId=correlation,
            nameId=self.string(name),
        )

    def kernel(self, name: str, start: int, end: int, correlation: int | None, **fields: Any) -> None:
        whole, short = self.string(name), self.string(name.partition("<")[0])
        fields = {"streamId": 7, "globalPid": PROCESS} | fields
        self.add(
            "CUPTI_ACTIVITY_KIND_KERNEL",
            start=start,
            end=end,
            correlationId=correlation,
            demangledName=whole,
            shortName=short,
            **fields,
        )

    def work(self, table: str, start: int, end: int, correlation: int | None, **fields: Any) -> None:
        """A row of MEMCPY, MEMSET or GRAPH_TRACE."""
        fields = {"streamId": 7, "globalPid": PROCESS} | fields
        self.add(f"CUPTI_ACTIVITY_KIND_{table}", start=start, end=end, correlationId=correlation, **fields)

    def close(self) -> Path:
        self.database.commit()
        self.database.close()
        return self.path


def read(path: Path) -> Profile:
    return nsys_reader.read(path, case="c0ffee", label=LABEL)


def capture(path: Path, **versions: str) -> Report:
    """A report with our domain, the case's range and one iteration, from 1000 to 9000 ns."""
    report = Report(path, **versions)
    report.domain("trtbench", 3)
    report.range(LABEL, 1_000, 9_000, domain=3)
    report.range("iteration 0", 1_100, 8_900, domain=3)
    return report


def launch(report: Report, start: int, correlation: int, **fields: int) -> None:
    """A call that launches the kernel `gemm`, which runs 500 ns after it began."""
    report.call("cudaLaunchKernel_v7000", start, start + 100, correlation)
    report.kernel("gemm<float, 4>(float*)", start + 500, start + 900, correlation, **fields)
