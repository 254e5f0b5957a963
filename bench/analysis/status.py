"""Whether a run succeeded: no case failed, is inaccurate or unchecked; and whether everything was built."""

from __future__ import annotations

from bench.model.build import BuildRun
from bench.model.run import Run


def succeeded(run: Run, *, strict: bool = False) -> bool:
    """Whether no case failed or is inaccurate, and none has only empty outputs, of which nothing was compared.

    A case that lacks a package or a device counts as failed if ``strict``, or where every case lacks one. Where a case
    was measured again after its GPU was lost, its last record counts.
    """
    if nothing_available(run):
        return False
    for record in {(record.case, record.replicate): record for record in run.records}.values():
        if record.failure is not None and (strict or record.failure.kind != "Unavailable"):
            return False
        if record.accuracy is not None and not record.accuracy.accurate:
            return False
    return True


def nothing_available(run: Run) -> bool:
    """Whether the run was tried and has no result, because every case lacks a package or a device."""
    return bool(run.records) and all(r.failure is not None and r.failure.kind == "Unavailable" for r in run.records)


def all_built(run: BuildRun, *, strict: bool = False) -> bool:
    """Whether no case failed; one that lacks a package or a device counts if ``strict``, or where nothing was made as
    every case lacks one.
    """
    if nothing_to_build_with(run):
        return False
    failures = [case.failure for case in run.cases if case.failure is not None]
    return not any(strict or failure.kind != "Unavailable" for failure in failures)


def nothing_to_build_with(run: BuildRun) -> bool:
    """Whether nothing was made, because every case that needs something lacks a package or a device."""
    failures = [case.failure for case in run.cases if case.failure is not None]
    has_artifacts = any(case.stages for case in run.cases)
    return bool(failures) and not has_artifacts and all(failure.kind == "Unavailable" for failure in failures)
