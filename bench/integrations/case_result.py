"""One case of a run as a test tool is given it: the figure it is judged by, its samples, and what identifies it."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from typing import Any

import msgspec

from bench import api
from bench.model.run import Failure, Measurement, Record
from bench.model.suite import Case
from bench.units import NS_PER_S

_THROUGHPUT = "throughput"


class CaseResult(msgspec.Struct, frozen=True):
    """A case, and its row of ``bench.rows(run)``."""

    run: api.Run
    case: Case
    row: Any

    @property
    def records(self) -> list[Record]:
        """The last one of each replicate."""
        return list({each.replicate: each for each in self.run.records if each.case == self.case.id}.values())

    @property
    def unavailable(self) -> bool:
        """Whether a package or a device is not here."""
        return self.row.failure is not None and self.row.failure.kind == "Unavailable"

    @property
    def failure(self) -> str:
        """Why the case has no sound result; empty if it has."""
        failure, score = self.row.failure, self.row.score
        if failure is not None:
            log = [f"  | {line}" for line in failure.log.splitlines()[-20:]]
            return "\n".join([reason(self.case.label, failure), *log])
        if why := inaccuracy(self.case.label, score):
            return why
        return "" if self.row.processes else f"{self.case.label}: it was not measured"

    @property
    def boundary(self) -> str:
        """The one that the tables judge the case by; ``throughput`` where that is all there is."""
        times = list(self.row.times)
        return self.row.primary if self.row.primary in times else times[0] if times else _THROUGHPUT

    @property
    def samples_ns(self) -> list[float]:
        """Of the boundary, process after process; of ``throughput`` the time per inference of each process."""
        boundary = self.boundary
        if boundary == _THROUGHPUT:
            return [_per_inference(each) for each in self._measurements(_THROUGHPUT)]
        return [float(sample) for each in self._measurements(boundary) for sample in each.samples]

    def facts(self) -> dict[str, Any]:
        """What a later comparison needs, as plain data: identity, medians of processes (nanoseconds by boundary; rates
        in inferences per second), accuracy, the fingerprint of the environment, and the kinds of warnings.
        """
        row, header = self.row, self.run.header
        environment = header.environments.get(self.case.toolchain) or header.environments.get("default")
        boundaries = dict.fromkeys(each.boundary for record in self.records for each in record.measurements)
        fields = ("ok", "cosine", "rel_l2", "max_abs")
        return {
            "case": self.case.id,
            "label": self.case.label,
            "boundary": self.boundary,
            "process_medians_ns": {
                boundary: [float(statistics.median(each.samples)) for each in self._measurements(boundary)]
                for boundary in boundaries
                if boundary != _THROUGHPUT
            },
            "process_rates": [NS_PER_S / _per_inference(each) for each in self._measurements(_THROUGHPUT)],
            "accuracy": {field: getattr(row.score, field) for field in fields} if row.score else None,
            "fingerprint": environment.fingerprint if environment else "",
            "device": environment.device if environment else "",
            "warnings": [warning.kind for warning in row.warnings],
            "run": header.run,
            "trtbench": header.version,
        }

    def params(self) -> Mapping[str, object]:
        """The axes of the case, to group by."""
        return {
            "model": self.row.model,
            "backend": self.row.backend,
            "precision": self.row.precision,
            **self.row.symbols,
            "setting": self.row.setting,
        }

    def _measurements(self, boundary: str) -> list[Measurement]:
        """Those of a boundary that have what it is computed from, one per process."""
        several = [each for record in self.records for each in record.measurements if each.boundary == boundary]
        return [each for each in several if (each.window_ns if boundary == _THROUGHPUT else each.samples)]


def reason(label: str, failure: Failure) -> str:
    """How the case ``label`` failed, and on a second line what to do, if that is known."""
    place = f"{failure.kind} in {failure.stage}" if failure.stage else failure.kind
    fix = f"\n  fix: {failure.hint}" if failure.hint else ""
    return f"{label}: {place}: {failure.text}{fix}"


def inaccuracy(label: str, accuracy: Any) -> str:
    """Why the outputs of the case ``label`` do not pass, by the ``accuracy`` of a record or the score of a row; empty
    if they do, or if there is none.
    """
    if accuracy is None or accuracy.accurate or (accuracy.ok and not accuracy.empty):
        return ""
    if accuracy.ok:
        fix = "inputs of which the model makes some, a checkpoint, or a `metric`"
        return f"{label}: it has only empty outputs\n  fix: {fix}"
    return f"{label}: inaccurate: {accuracy.why}"


def of_run(run: api.Run) -> dict[str, CaseResult]:
    """The cases of a run by their ids."""
    rows = {row.case: row for row in api.rows(run)}
    return {case.id: CaseResult(run, case, rows[case.id]) for case in run.header.cases}


def _per_inference(throughput: Measurement) -> float:
    """Nanoseconds per inference in the closed loop."""
    return throughput.window_ns / (throughput.calls * throughput.batch)
