"""How much of a run's plan is done: one count for the run as it is shown and for the list of runs."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from bench.model.run import Header

# The id of a case and the replicate.
Process = tuple[str, int]


def effective_header(header: Header, raised: int, replicates: Iterable[int]) -> Header:
    """The header with the number of processes per case that the plan came to have.

    ``raised`` is the largest number in footers: a resumed run may be given more. A duel ends as soon as it is decided,
    so its number is that of the pairs in ``replicates``, those of its records.
    """
    number = max(header.policy.replicates, raised)
    if header.duel is not None:
        number = 1 + max(replicates, default=number - 1)
    return msgspec.structs.replace(header, policy=msgspec.structs.replace(header.policy, replicates=number))


def planned(header: Header) -> int:
    """The processes of the plan."""
    return len(header.cases) * header.policy.replicates


def of_plan(header: Header, processes: Iterable[Process]) -> list[Process]:
    """Those of cases that the plan has: what is done of it, where each is told once."""
    cases = {case.id for case in header.cases}
    return [process for process in processes if process[0] in cases]
