"""A duel: pairs of fresh processes, one of each side, that measure in turn until it is decided, or the budget ends."""

from __future__ import annotations

import contextlib
import functools
import itertools
import random
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from bench import store
from bench.analysis import duel as analysis
from bench.analysis import sequential
from bench.backends import base
from bench.errors import UsageError, did_you_mean
from bench.machine.environment import Device
from bench.measure import pace
from bench.model.data import Data
from bench.model.events import Compared, Started, Stored
from bench.model.run import Duel, Header, Record, Run
from bench.model.suite import ASKABLE, Boundary, Case, Plan, Suite, Toolchain
from bench.runner import duel_sides, functions, revision
from bench.runner.ahead import Turn
from bench.runner.dispatch import OnEvent
from bench.runner.refusals import refuse_contradictions
from bench.runner.request import Request, Settings, new_request
from bench.runner.run import new_session
from bench.runner.session import RunResult, Session
from bench.runner.station import Station
from bench.runner.toolchains import import_folders
from bench.runner.turns import Turns
from bench.store import artifacts, privacy

_HOST: tuple[Boundary, ...] = ("latency", "throughput")
# What one thread of the host does: its time depends on the core, some of which have a busy sibling.
_ONE_THREAD: tuple[Boundary, ...] = ("latency", "enqueue")


class Challenge(Data, frozen=True, kw_only=True):
    """A duel that was asked for, of the cases of ``request``; nothing has been run or written yet.

    ``revision`` is that whose code measures the second side, as git knows it; empty if both have the code that is here.
    """

    request: Request
    duel: Duel
    revision: str = ""


def new_challenge(
    suite: Suite,
    settings: Settings,
    *,
    select: str,
    against: Sequence[str] = (),
    revision: str = "",
    boundary: Boundary = "latency",
    pairs: int = sequential.USUAL,
    max_time_ns: int = 0,
    device: Device | None = None,
) -> Challenge:
    """The duel of the cases that ``select`` names with those of each of ``against``, or themselves at ``revision``.

    UsageError if the sides or the numbers do not fit, SelectionError if a side has no case, else as ``new_request``.
    """
    _check(against, revision, boundary, pairs)
    request = new_request(suite, settings, device=device, allow_large=True)
    if _is_on_cpu(request) and boundary not in _HOST:
        what = f"a CPU has no boundary {boundary}"
        raise UsageError(what, where="--boundary", fix=f"--boundary {' or '.join(_HOST)}")
    cases, registry = request.plan.cases, base.registry()
    first = duel_sides.select(cases, registry, select, "--select")
    if revision:
        name = _toolchain_of(revision)
        contests: duel_sides.Contests = tuple(
            (case, msgspec.structs.replace(case, toolchain=name)) for case in first if _is_default(case)
        )
        toolchains = {name: Toolchain()}
    else:
        others = [duel_sides.select(cases, registry, text, "--against") for text in against]
        contests = duel_sides.contests(first, others, where=suite.path)
        toolchains = duel_sides.again(contests, suite.toolchains)
    copies = {name for name, toolchain in toolchains.items() if toolchain == Toolchain()}
    if copies:
        contests = duel_sides.level(contests, copies)
        toolchains[duel_sides.HERE] = Toolchain()
    return _challenge(request, contests, toolchains, boundary, pairs, max_time_ns, revision)


def confirmation(
    suite: Suite,
    settings: Settings,
    sides: Sequence[tuple[str, str]],
    *,
    boundary: Boundary,
    pairs: int,
    device: Device | None = None,
) -> Challenge:
    """The duel of cases of ``suite`` by their ids: in each of ``sides`` the second against the first.

    UsageError for a case that the suite does not have, or that is to be compared with itself.
    """
    request = new_request(suite, settings, device=device, allow_large=True)
    cases = {case.id: case for case in request.plan.cases}
    contests: dict[str, list[Case]] = {}
    for first, other in sides:
        if first == other:
            what = "both sides are one case, measured at two times: what differs between them is not here"
            fix = "trtbench duel SUITE --select CASE --against-rev REVISION compares two revisions of its code"
            raise UsageError(what, where="--confirm", fix=fix)
        for side in (first, other):
            if side not in cases:
                what = f"{suite.path} has no case {side}, so it cannot be measured again"
                raise UsageError(what, where="--confirm", fix="name the suite, as it was, that the run was made of")
        contests.setdefault(first, [cases[first]]).append(cases[other])
    members = tuple(tuple(contest) for contest in contests.values())
    return _challenge(request, members, {}, boundary, pairs, 0, "")


def _challenge(
    request: Request,
    contests: duel_sides.Contests,
    toolchains: Mapping[str, Toolchain],
    boundary: Boundary,
    pairs: int,
    max_time_ns: int,
    revision: str,
) -> Challenge:
    """The duel of ``contests``, with ``toolchains`` that the suite does not have."""
    settings, suite = request.settings, request.suite
    if taken := toolchains.keys() & {"default", *suite.toolchains}:
        what = f"the duel would call a side's toolchain {min(taken)!r}, and the suite has one of that name"
        raise UsageError(what, where=suite.path, fix="rename it, or name the revision otherwise, e.g. by its commit")
    counts = Counter(case.label for members in contests for case in members)
    if several := [label for label, count in counts.items() if count > 1]:
        what = f"{several[0]} is to be compared with several others, which only a first side is"
        raise UsageError(what, where=suite.path, fix=f"the sides the other way round: --select {several[0]!r}")
    whole = {case.id: case for members in contests for case in members}
    policy = msgspec.structs.replace(request.policy, boundaries=(boundary,), replicates=pairs, energy_ns=0)
    suite = msgspec.structs.replace(suite, toolchains={**suite.toolchains, **toolchains})
    # On a CPU the main thread is one of those that compute.
    one_core = boundary in _ONE_THREAD and not _is_on_cpu(request)
    duel = Duel(
        contests=tuple(tuple(case.id for case in members) for members in contests),
        boundary=boundary,
        pairs=pairs,
        max_time_ns=max_time_ns,
        seed=settings.seed,
        revision=_toolchain_of(revision) if revision else "",
        one_core=one_core,
        rounds=pace.BLOCKS_OF_CORES if one_core else pace.BLOCKS,
    )
    request = msgspec.structs.replace(request, suite=suite, plan=Plan(cases=tuple(whole.values())), policy=policy)
    return Challenge(request=request, duel=duel, revision=revision)


def run(challenge: Challenge, on_event: OnEvent) -> RunResult:
    """Measure a duel and store its records as a run. InputError, before anything is written, if something is wrong."""
    request, settings = challenge.request, challenge.request.settings
    refuse_contradictions(settings)
    store.check_writable(Path(settings.store))
    artifacts.check_writable(Path(settings.cache))
    of_suite = [case for case in request.plan.cases if case.toolchain != challenge.duel.revision]
    functions.check(request.suite, of_suite)  # before a revision is checked out
    with contextlib.ExitStack() as stack:
        duel, folders = challenge.duel, {}
        if challenge.revision:
            suite_path = Path(request.suite.path).resolve()
            tree = stack.enter_context(
                revision.checkout(suite_path, challenge.revision, Path(settings.cache), on_event)
            )
            duel = msgspec.structs.replace(duel, commit=tree.commit)
            folders = {duel.revision: tree.suite_dir}
            toolchains = {**request.suite.toolchains, duel.revision: tree.toolchain}
            suite = msgspec.structs.replace(request.suite, toolchains=toolchains)
            # What imports ahead of its turn does so where the suite lies.
            settings = msgspec.structs.replace(settings, prestart=1)
            request = msgspec.structs.replace(request, suite=suite, settings=settings)
        session = stack.enter_context(new_session(request, on_event, DuelSession, metrics=True, folders=folders))
        assert isinstance(session, DuelSession)
        session.begin(duel, folders)
        session.open()
        header = privacy.without_home(session.prepare(), Path(settings.cache))
        header = msgspec.structs.replace(
            header, toolchains={name: _stored(name, each, duel) for name, each in header.toolchains.items()}
        )
        with contextlib.closing(store.create(Path(settings.store), header)) as writer:
            return session.measure(writer, (), {case.id for case in request.plan.cases})


class DuelSession(Session):
    """A run in progress whose turns are pairs: a fresh process of each side, which measure block by block in turn."""

    def begin(self, duel: Duel, folders: Mapping[str, Path]) -> None:
        """Take what the duel is, and the folders of suites by toolchain where that is another one's."""
        self.header = msgspec.structs.replace(self.header, duel=duel)
        self.folders = folders

    def _round_robin(self, writer: store.Writer, station: Station, turns: Turns) -> None:
        """Pairs of all contests that are open, one after the other, each stored as it ends."""
        duel = self.header.duel
        assert duel is not None
        recorder, rng = self._recorder(station), random.Random(duel.seed)
        cases = {case.id: case for case in self.header.cases}
        records: list[Record] = []
        folders = import_folders(self.interpreters)
        deadline = time.monotonic_ns() + duel.max_time_ns if duel.max_time_ns else None
        for pair in range(duel.pairs):
            contests = _open(self.header, records)
            for sides in contests:
                if pair and deadline is not None and time.monotonic_ns() >= deadline:
                    return
                members = [cases[side] for side in sides]
                self._tell_start(members, pair, duel)
                following = contests[contests.index(sides) + 1 :]
                soon: list[Turn] = [(case, pair) for case in members]
                soon += [(cases[side], pair) for sides in following for side in sides]
                soon += [(cases[side], pair + 1) for sides in contests for side in sides]
                coming = functools.partial(_from, soon)
                for record in recorder.together(soon[: len(members)], coming, rng):
                    record = msgspec.structs.replace(record, times=self.timeline.end_turn("", record.label))
                    plain = privacy.without_paths(record, self.folders.get(record.toolchain, self.suite_dir))
                    records.append(privacy.without_paths(plain, self.suite_dir, folders))
                    self._store(writer, records[-1])
                    total = duel.pairs * len(self.header.cases)
                    self.on_event(Stored(record=records[-1], done=len(records), total=total))
                self._tell_standing(records, sides, pair, duel)
            if not contests:
                return

    def _tell_start(self, members: Sequence[Case], pair: int, duel: Duel) -> None:
        first, *others = (case.label for case in members)
        self.on_event(Started(label=first, against=tuple(others), done=pair, total=duel.pairs, replicate=pair))

    def _tell_standing(self, records: Sequence[Record], sides: Sequence[str], pair: int, duel: Duel) -> None:
        for match in _matches(self.header, records):
            if match.a != sides[0] or match.b not in sides:
                continue
            standing = match.standing
            self.on_event(
                Compared(
                    label=match.b_label,
                    against=match.a_label,
                    pair=pair + 1,
                    pairs=duel.pairs,
                    kind=match.kind,
                    ratio=standing.ratio,
                    low=standing.low,
                    high=standing.high,
                    over=match.over or pair + 1 == duel.pairs,
                    why=match.why,
                )
            )


def _from(turns: Sequence[Turn], place: int) -> Iterator[Turn]:
    return itertools.islice(turns, place, None)


def _matches(header: Header, records: Sequence[Record]) -> tuple[analysis.Match, ...]:
    return analysis.matches(Run(path="", header=header, records=tuple(records)))


def _open(header: Header, records: Sequence[Record]) -> list[tuple[str, ...]]:
    """The contests that are not over, with the sides that are still in them."""
    assert header.duel is not None
    over = {(match.a, match.b) for match in _matches(header, records) if match.over}
    contests = []
    for first, *others in header.duel.contests:
        if remaining := [side for side in others if (first, side) not in over]:
            contests.append((first, *remaining))
    return contests


def _check(against: Sequence[str], revision: str, boundary: str, pairs: int) -> None:
    if bool(against) == bool(revision):
        what = "a duel has one second side" if revision else "the duel has no second side"
        fix = "--against EXPR for other cases, or --against-rev REVISION for the same ones at another revision"
        raise UsageError(what, where="--against", fix=fix)
    if boundary not in ASKABLE:
        what = f"unknown boundary {boundary!r}.{did_you_mean(boundary, ASKABLE)}"
        raise UsageError(what, where="--boundary", fix=f"known: {', '.join(ASKABLE)}")
    if not sequential.FIRST <= pairs <= sequential.MOST:
        what = f"the most pairs of a duel can be {sequential.FIRST} to {sequential.MOST}, not {pairs}"
        raise UsageError(what, where="--pairs", fix=f"--pairs {sequential.USUAL}")


def _is_on_cpu(request: Request) -> bool:
    """Whether the cases are measured on the host's clock: on a CPU, or simulated."""
    from bench.machine import environment

    simulated = any(base.load(case.backend).simulated for case in request.plan.cases)
    return simulated or environment.describe(request.device).kind == "cpu"


def _is_default(case: Case) -> bool:
    """Whether the case has the running interpreter, in place of which a revision can be; UsageError if not."""
    if case.toolchain == "default":
        return True
    what = f"{case.label} has a toolchain of its own, so it cannot have the code of another revision"
    raise UsageError(what, where=case.source, fix='--select "... and toolchain=default"')


def _toolchain_of(name: str) -> str:
    """The name of a revision as a toolchain, in labels: without what separates their parts."""
    return name.replace("/", "_")


def _stored(name: str, toolchain: Toolchain, duel: Duel) -> Toolchain:
    """A toolchain as the header has it: a checkout is gone afterwards, so that its place says nothing."""
    return Toolchain() if name == duel.revision else toolchain
