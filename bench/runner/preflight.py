"""What is checked and measured before a run is written: factories, the work of models, the rates of the machine."""

from __future__ import annotations

import datetime
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from bench.errors import SuiteError, is_input
from bench.machine import gpus, host
from bench.model.data import digest
from bench.model.events import Event, Note
from bench.model.run import Environment, Failure, Work
from bench.model.suite import Case
from bench.runner import jobs, sources
from bench.runner.hung_factories import in_factory
from bench.store import artifacts
from bench.units import NS_PER_S

# Raise it when the way of measuring ceilings changes.
CEILINGS = 4
# And when the way of counting work does.
WORK = 2
# The cores in use before we measure, as a fraction of all, above which other programs are assumed to compute here too.
_BUSY = 0.25
# For so long the rates that were measured beside other programs stand in for better ones, ns: on a host that is always
# busy each run would spend ten seconds on them.
_STAND_IN_NS = 3600 * NS_PER_S
# The precisions whose rates are measured.
RATED = ("fp32", "tf32", "fp16", "bf16")

RunJob = Callable[[jobs.JobType, str], jobs.ReplyType | Failure]


class _StandIn(msgspec.Struct, frozen=True):
    """Rates that are too low, by name, and when the first of them were measured, ns since 1970."""

    rates: dict[str, float] = {}
    measured_ns: int = 0

    def is_fresh(self, now: int) -> bool:
        """Whether they may stand in still."""
        return 0 <= now - self.measured_ns < _STAND_IN_NS

    def with_rates(self, rates: Mapping[str, float], now: int) -> _StandIn:
        """These with what was measured ``now``, of each the higher: what was once reached is possible. Fresh ones stay
        no longer than they would have.
        """
        fresh = self.is_fresh(now)
        names = rates.keys() | (self.rates.keys() if fresh else set())
        highest = {name: max(rates.get(name, 0.0), self.rates.get(name, 0.0)) for name in sorted(names)}
        return _StandIn(rates=highest, measured_ns=self.measured_ns if fresh else now)


class Preflight:
    """Runs the jobs that come before a run, and caches their results by everything that can change them."""

    def __init__(
        self,
        cache: Path,
        suite_dir: Path,
        suite_path: str,
        device: str,
        environment: Environment,
        run_job: RunJob,
        on_event: Callable[[Event], None],
        load: Callable[[], float] = host.busy_cores,
        gpu: Callable[[], gpus.State] = gpus.state,
        now: Callable[[], int] = time.time_ns,
        hung: Callable[[Case], Failure | None] = lambda case: None,
    ) -> None:
        self._cache = cache
        self._suite_dir = suite_dir
        self._suite_path = suite_path
        self._device = device
        self._environment = environment
        self._run_job = run_job
        self._on_event = on_event
        self._load = load
        self._gpu = gpu
        self._now = now
        self._hung = hung

    def work(self, cases: Sequence[Case], factories: Mapping[str, str], seed: int) -> dict[str, Work]:
        """Work by case id; a model whose package is missing has none.

        SuiteError at the place that ``factories`` gives for its model if a factory is wrong.
        """
        keys = {case.id: self._work_key(case) for case in cases}
        by_key = {digest(keys[case.id]): case for case in reversed(cases)}
        results: dict[str, Work] = {}
        for name, case in by_key.items():
            artifact, _ = artifacts.find(self._cache, "work", keys[case.id])
            if artifact is not None:
                results[name] = msgspec.json.decode((artifact.path / "work.json").read_bytes(), type=Work)
        remaining = tuple(
            msgspec.structs.replace(case, source=factories.get(case.model, case.source))
            for name, case in by_key.items()
            if name not in results
        )
        for case_id, work in self._inspect(remaining, seed).items():
            results[digest(keys[case_id])] = work
            self._keep("work", keys[case_id], "work.json", msgspec.json.encode(work))
        return {case_id: results[digest(key)] for case_id, key in keys.items() if digest(key) in results}

    def ceilings(self, cases: Sequence[Case]) -> dict[str, float]:
        """The rates of this machine that ``cases`` need: FLOP/s by precision and bytes/s of a copy, measured once and
        stored. Empty, with a note, where they cannot be measured, e.g. on a full GPU.

        Rates that are measured while other programs compute are too low. They are kept apart, and used for an hour
        while the device stays busy; a run that finds it idle measures anew.
        """
        needed = {case.precision for case in cases if case.precision in RATED}
        stored = self._stored_ceilings()
        absent = tuple(sorted(needed - stored.keys()))
        if not cases or ("copy" in stored and not absent):
            return _known(stored)
        busy = self._busy()
        stand_in = self._stand_in()
        if busy and stand_in.is_fresh(self._now()) and needed | {"copy"} <= stand_in.rates.keys():
            return _known(stand_in.rates)
        reply = self._answer(jobs.Ceilings(device=self._device, precisions=absent), "this machine's ceilings")
        if isinstance(reply, Failure):
            self._on_event(
                Note(text=f"no speed of light, as this machine's ceilings cannot be measured: {reply.message}")
            )
            return {}
        assert isinstance(reply, jobs.Rates)
        if self._device != "cpu":  # where our own load is not mistaken for that of others
            busy = busy or self._busy()
        rates = stored | dict.fromkeys(absent, 0.0) | reply.ceilings
        if busy:
            stand_in = stand_in.with_rates(rates, self._now())
            rates = dict(stand_in.rates)
            self._replace("busy-ceilings", stand_in)
        else:
            artifacts.drop(self._cache, "busy-ceilings", self._ceilings_key())
            self._replace("ceilings", rates)
        return _known(rates)

    def forget(self, ceilings: Mapping[str, float], label: str) -> None:
        """Remove these ``ceilings`` from the cache, with a note, as the case ``label`` is faster than they allow; the
        next run measures them again. Newer ceilings in the cache, possible when a run is resumed, stay.
        """
        kinds = {"ceilings": self._stored_ceilings(), "busy-ceilings": self._stand_in().rates}
        disproved = [kind for kind, rates in kinds.items() if rates and _known(rates) == ceilings]
        for kind in disproved:
            artifacts.drop(self._cache, kind, self._ceilings_key())
        if disproved:
            what = f"{label} is faster than this machine's ceilings allow"
            self._on_event(Note(text=f"{what}: they are removed from the cache, and the next run measures them again"))

    def _stored_ceilings(self) -> dict[str, float]:
        """The rates by name, 0 for one that this machine has not; empty if nothing is stored."""
        artifact, _ = artifacts.find(self._cache, "ceilings", self._ceilings_key())
        if artifact is None:
            return {}
        return msgspec.json.decode((artifact.path / "rates.json").read_bytes(), type=dict[str, float])

    def _stand_in(self) -> _StandIn:
        """The rates that were measured beside other programs, with those that were stored then."""
        artifact, _ = artifacts.find(self._cache, "busy-ceilings", self._ceilings_key())
        if artifact is None:
            return _StandIn()
        return msgspec.json.decode((artifact.path / "rates.json").read_bytes(), type=_StandIn)

    def _replace(self, kind: str, rates: dict[str, float] | _StandIn) -> None:
        artifacts.drop(self._cache, kind, self._ceilings_key())
        self._keep(kind, self._ceilings_key(), "rates.json", msgspec.json.encode(rates))

    def _ceilings_key(self) -> dict[str, Any]:
        return {"environment": self._environment.fingerprint, "method": CEILINGS}

    def _work_key(self, case: Case) -> dict[str, Any]:
        versions = self._environment.libraries
        return {
            "model": [case.factory, case.args, case.config, msgspec.to_builtins(case.resolved), case.arguments],
            "precision": case.precision,
            "method": WORK,
            "source": sources.of_model(case, self._suite_dir),
            "libraries": {name: versions.get(name, "") for name in ("torch", "torchvision", "timm", "transformers")},
        }

    def _keep(self, kind: str, key: dict[str, Any], name: str, payload: bytes) -> None:
        created = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        with artifacts.scratch(self._cache, kind) as folder:
            (folder / name).write_bytes(payload)
            artifacts.keep(self._cache, folder, kind, key, (), created)

    def _inspect(self, cases: tuple[Case, ...], seed: int) -> dict[str, Work]:
        """Work by case id. Where a model ends the worker, each is counted alone, and that one has none, with a note.
        A model whose factory does not return, here or where its artifacts are made, is not counted again.
        """
        hung = {case.id: failure.message for case in cases if (failure := self._hung(case))}
        self._tell(cases, hung)
        cases = tuple(case for case in cases if case.id not in hung)
        if not cases:
            return {}
        job = jobs.Inspect(cases=cases, device=self._device, suite_dir=str(self._suite_dir), seed=seed)
        reply = self._answer(job, "models")
        assert isinstance(reply, jobs.Inspected | Failure)
        if isinstance(reply, jobs.Inspected):
            self._tell(cases, reply.failed)
            return reply.work
        failed = [case for case in cases if in_factory(reply, case.model)] or cases[: len(cases) == 1]
        self._tell(cases, {case.id: reply.message for case in failed})
        others = tuple(case for case in cases if case not in failed)
        if failed:
            return self._inspect(others, seed)
        return {key: work for case in others for key, work in self._inspect((case,), seed).items()}

    def _tell(self, cases: Sequence[Case], failures: Mapping[str, str]) -> None:
        """Why the work of some of ``cases`` is not known, by their ids."""
        for case in cases:
            if case.id in failures:
                what = f"{case.model}/{case.precision}: no speed of light, as its work cannot be counted"
                self._on_event(Note(text=f"{what}: {failures[case.id]}"))

    def _busy(self) -> bool:
        """Whether other programs compute on the device."""
        if self._device == "cpu":
            return self._load() > _BUSY * len(os.sched_getaffinity(0))
        return bool(self._gpu().processes)

    def _answer(self, job: jobs.JobType, label: str) -> jobs.ReplyType | Failure:
        """An answer, or why there is none. A failure that is the suite's fault ends the run: nothing is written yet."""
        reply = self._run_job(job, label)
        if isinstance(reply, Failure) and is_input(reply.kind):
            raise SuiteError(reply.message, where=reply.where or self._suite_path, fix=reply.hint)
        return reply


def _known(rates: Mapping[str, float]) -> dict[str, float]:
    """The rates that this machine has."""
    return {name: rate for name, rate in rates.items() if rate}
