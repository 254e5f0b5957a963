"""What the files of runs have measured of two profiled cases, without a profiler."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from bench.analysis import rows
from bench.analysis.measured import NOTHING, Measured, Newest, OfCase
from bench.analysis.pool import gather
from bench.errors import StoreError, UsageError
from bench.model.run import Environment
from bench.store import reader

__all__ = ["NOTHING", "Measured", "newest", "of_runs"]


def newest(folders: Iterable[Path], environment: Environment, a: str, b: str) -> Measured:
    """The medians of the cases ``a`` and ``b`` (ids), each boundary by the newest run in ``folders`` that was made on
    the same model of device and has it of both. A file that cannot be read is passed over.
    """
    paths = {path for folder in folders for path in folder.glob("*.jsonl")}
    several = Newest(environment, a, b)
    for path in sorted(paths, key=lambda path: path.name, reverse=True):
        try:
            header = reader.read_header(path)
            if not several.may_have(header):
                continue
            of = _of_run(path, a, b)
        except StoreError:
            continue  # explaining needs no run, and `trtbench show` says what is wrong with a file
        several.add(header.run, of[a], of[b])
        if not several.missing:
            break
    return several.measured


def of_runs(paths: Sequence[Path], environment: Environment, a: str, b: str) -> Measured:
    """The medians of the cases ``a`` and ``b`` (ids), each boundary by the newest of the runs at ``paths`` that has it
    of both. StoreError for a file that cannot be read, UsageError for a run that tells nothing.
    """
    several = Newest(environment, a, b)
    headers = {path: reader.read_header(path) for path in paths}
    for path, header in sorted(headers.items(), key=lambda each: each[1].run, reverse=True):
        if several.may_have(header):
            of = _of_run(path, a, b)
            several.add(header.run, of[a], of[b])
    sources = several.measured.runs.values()
    if others := [path for path, header in headers.items() if header.run not in sources]:
        what = f"the run has no time of both cases on {environment.device}"
        what += ", or a newer one of those named has it" if len(paths) > 1 else ""
        raise UsageError(what, where=str(others[0]), fix="leave this run out, or name another, of both cases")
    return several.measured


def _of_run(path: Path, a: str, b: str) -> dict[str, OfCase]:
    """What a run has of both cases, by id."""
    run = reader.read(path, packed=True, only={a, b})
    pools = gather(run)
    table = rows.rows(run, pools=pools, distributions=False)
    return {
        row.case: OfCase(row.times, pool.flaw) for row, pool in zip(table, pools, strict=True) if row.case in (a, b)
    }
