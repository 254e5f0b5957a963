"""Whether a run succeeded: no case failed, all outputs are accurate."""

from __future__ import annotations

from bench.model.run import Run


def succeeded(run: Run, *, strict: bool = False) -> bool:
    """Whether no case failed or is inaccurate.

    A case that lacks a package or a device counts as failed if ``strict``, or where every case lacks one. Where a case
    was measured again after its GPU was lost, its last record counts.
    """
    if nothing_available(run):
        return False
    for record in {(record.case, record.replicate): record for record in run.records}.values():
        if record.failure is not None and (strict or record.failure.kind != "Unavailable"):
            return False
        if record.accuracy is not None and not record.accuracy.ok:
            return False
    return True


def nothing_available(run: Run) -> bool:
    """Whether the run was tried and has no result, because every case lacks a package or a device."""
    return bool(run.records) and all(r.failure is not None and r.failure.kind == "Unavailable" for r in run.records)
