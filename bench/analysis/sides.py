"""The sides of a comparison: cases pooled over runs, and what sessions and builds add to the spread of processes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import msgspec

from bench import stats
from bench.analysis.components import Component, Sample, components, share
from bench.analysis.intervals import GroupSd
from bench.analysis.pool import Pool, gather, gather_one
from bench.model.run import Environment, Header, Measurement, Record, Run
from bench.model.suite import Boundary, Case
from bench.units import NS_PER_S


class Member(msgspec.Struct, frozen=True):
    """A case of one side, pooled over its runs, with the environments that measured it; ``sessions`` are the runs of
    the pool's records.
    """

    pool: Pool
    environments: tuple[Environment, ...]
    sessions: tuple[str, ...]


class Levels(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of the levels above the process: how far sessions lie apart, and by backend how far builds do."""

    session: Component | None = None
    builds: dict[str, Component] = {}

    @property
    def is_known(self) -> bool:
        """Whether there are any."""
        return bool(self.session or self.builds)


def members(runs: Sequence[Run]) -> dict[str, Member]:
    """The cases of one side by id, in the order of the plans, each with the processes of all runs."""
    pools: dict[str, list[tuple[str, Pool]]] = {}
    environments: dict[str, list[Environment]] = {}
    for run in runs:
        for pool in gather(run):
            pools.setdefault(pool.case.id, []).append((run.header.run, pool))
            here = environment_of(run.header, pool.case)
            environments.setdefault(pool.case.id, []).extend([here] if here else [])
    return {
        key: Member(
            _join([pool for _, pool in several]),
            tuple(environments[key]),
            tuple(name for name, pool in several for _ in pool.records),
        )
        for key, several in pools.items()
    }


def environment_of(header: Header, case: Case) -> Environment | None:
    """That of the case's toolchain, else the default one; None of a file that has neither."""
    return header.environments.get(case.toolchain) or header.environments.get("default")


def _join(pools: Sequence[Pool]) -> Pool:
    if len(pools) == 1:
        return pools[0]
    records: list[Record] = [record for pool in pools for record in pool.records]
    return gather_one(pools[0].case, records)


def times(pool: Pool, boundary: Boundary | None) -> list[float]:
    """Nanoseconds by process: medians, or in ``throughput`` per inference."""
    if boundary == "throughput":
        return [NS_PER_S / rate for rate in pool.rates if rate > 0]
    if boundary is None:
        return []
    return [float(stats.median(samples)) for samples in pool.samples.get(boundary, ())]


def origins(member: Member, boundary: Boundary | None) -> list[tuple[str, int]]:
    """The session and the build of each of the times."""
    return [
        (session, record.build)
        for record, session in zip(member.pool.records, member.sessions, strict=True)
        for measurement in record.measurements
        if _counts(measurement, boundary)
    ]


def _counts(measurement: Measurement, boundary: Boundary | None) -> bool:
    """Whether times() has it."""
    if boundary == "throughput":
        return bool(measurement.window_ns and measurement.calls * measurement.batch > 0)
    return measurement.boundary == boundary and bool(measurement.samples)


def levels(sides: Iterable[tuple[Member, Boundary | None]]) -> Levels:
    """What the sides of a comparison tell of sessions, where some have several, and of builds of each backend.

    All cases are pooled: one case in two sessions hardly tells how far sessions lie apart, a hundred do.
    """
    sets: dict[str, list[list[Sample]]] = {}
    for member, boundary in sides:
        builds = {record.build for record in member.pool.records}
        if len(builds) < 2 and len(set(member.sessions)) < 2:
            continue
        several = origins(member, boundary)
        medians = times(member.pool, boundary)
        if medians and len(medians) == len(several) and min(medians) > 0:
            samples = [
                Sample(math.log(median), session, build)
                for median, (session, build) in zip(medians, several, strict=True)
            ]
            sets.setdefault(member.pool.case.backend, []).append(samples)
    of_builds = {backend: components(of_backend).build for backend, of_backend in sets.items()}
    return Levels(
        session=components(samples for of_backend in sets.values() for samples in of_backend).session,
        builds={backend: component for backend, component in of_builds.items() if component is not None},
    )


def session_level(known: Levels, origins: Sequence[Sequence[tuple[str, int]]], session_sd: float) -> GroupSd:
    """That of a pair whose sides have these sessions; a calibrated ``session_sd`` counts before what the runs tell."""
    a, b = (share(session for session, _ in side) for side in origins)
    if session_sd or known.session is None:
        return GroupSd(session_sd, math.inf, (a, b))
    return GroupSd(known.session.sd, known.session.dof, (a, b), known.session.of_means)


def build_levels(
    known: Levels, backends: tuple[str, str], origins: Sequence[Sequence[tuple[str, int]]]
) -> list[GroupSd]:
    """Those of a pair: one if both sides have one backend, whose builds differ alike, else one a side."""
    a, b = (share(side) for side in origins)
    sides = {backends[0]: (a, b)} if backends[0] == backends[1] else {backends[0]: (a, 0.0), backends[1]: (0.0, b)}
    return [
        GroupSd(component.sd, component.dof, shares, component.of_means)
        for backend, shares in sides.items()
        if (component := known.builds.get(backend))
    ]
