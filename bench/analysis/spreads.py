"""The spreads of a calibration in a comparison: of which sides, whether they are of the same machine; pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from bench.analysis import differences
from bench.analysis.compare import Comparison, SpreadOf
from bench.analysis.differences import Difference
from bench.analysis.partners import identity
from bench.analysis.rows import PRIMARY, Row
from bench.model.calibration import Calibration
from bench.model.run import Environment, Run
from bench.model.suite import Boundary, Case


class Spreads:
    """The spreads of a calibration, by case and boundary."""

    def __init__(self, calibration: Calibration) -> None:
        self._whole = {level.boundary: level for level in calibration.boundaries}
        self._levels = {(level.case, level.boundary): level for level in calibration.levels}

    def of(self, cases: Sequence[str], boundary: Boundary | None) -> tuple[float | None, float | None]:
        """Session sd and process sd for a comparison of ``cases`` (ids) at a boundary: the larger of the cases, of one
        that was not calibrated that of all cases together and the largest of all. None for what is not known.
        """
        whole = self._whole.get(boundary) if boundary else None
        if whole is None or boundary is None:
            return None, None
        unknown = msgspec.structs.replace(
            whole, process=msgspec.structs.replace(whole.process, sd=whole.widest or whole.process.sd)
        )
        several = [self._levels.get((case, boundary), unknown) for case in cases]
        sessions = [level.session_sd for level in several if level.session_sd is not None]
        session_sd = max(sessions) if len(sessions) == len(several) else None
        return session_sd, max(level.process.sd for level in several)


def spread_of(calibration: Calibration, *, sittings: bool) -> SpreadOf:
    """For ``compare``: sides of one sitting have a session sd of 0. Where that between ``sittings`` is not known,
    processes of one say nothing of two, and there is neither.
    """
    spreads = Spreads(calibration)

    def of_pair(cases: Sequence[Case], boundary: Boundary | None) -> tuple[float, float | None]:
        if any(case.toolchain != "default" for case in cases):  # which the calibration is not of
            return 0.0, None
        session_sd, process_sd = spreads.of([case.id for case in cases], boundary)
        if not sittings:
            return 0.0, process_sd
        return (0.0, None) if session_sd is None else (session_sd, process_sd)

    return of_pair


def knows_more(calibration: Calibration, run: Run, table: Sequence[Row]) -> bool:
    """Whether a comparison of the backends of ``run`` has an interval by the calibration where the ratio of a row of
    its ``table`` has none, as a side has one process.
    """
    here = run.header.environments.get("default")
    if here is None or run.header.duel is not None or mismatch(calibration, [here], ()):
        return False
    spread = spread_of(calibration, sittings=False)
    cases, bases = {case.id: case for case in run.header.cases}, {row.label: row for row in table}
    for row in table:
        base = bases.get(row.speed.against) if row.speed and row.speed.within else None
        if base is None or identity(cases[base.case], "backend") != identity(cases[row.case], "backend"):
            continue
        boundary = next((each for each in PRIMARY if each in row.times and each in base.times), None)
        if spread((cases[base.case], cases[row.case]), boundary)[1] is not None:
            return True
    return False


def mark(comparison: Comparison, calibration: Calibration | None, note: str, *, sittings: bool) -> Comparison:
    """The comparison with the calibration that its verdicts use and a ``note`` on it, or why they use none."""
    if calibration is None:
        return msgspec.structs.replace(comparison, calibration_note=note)
    judged = [pair for pair in comparison.pairs if pair.verdict and pair.boundary]
    if not sittings:  # only sides of one process need it
        is_used = any(pair.verdict and pair.verdict.basis == "calibration" for pair in judged)
        fields = {"calibration": calibration.calibration, "calibration_note": note} if is_used else {}
        return msgspec.structs.replace(comparison, **fields)
    spreads, sds = Spreads(calibration), dict[Boundary, tuple[float, float]]()
    for pair in judged:
        assert pair.boundary
        session_sd, _ = spreads.of((pair.a.case, pair.b.case), pair.boundary)
        if session_sd is not None:
            low, high = sds.get(pair.boundary, (session_sd, session_sd))
            sds[pair.boundary] = min(low, session_sd), max(high, session_sd)
    if sds:
        return msgspec.structs.replace(
            comparison, calibration=calibration.calibration, session_sd=sds, calibration_note=note
        )
    shared = ", ".join(dict.fromkeys(pair.boundary or "" for pair in judged))
    of_one = any(level.boundary in {pair.boundary for pair in judged} for level in calibration.boundaries)
    why = "is of one sitting, which does not show how runs differ" if of_one else f"has no {shared}"
    return msgspec.structs.replace(comparison, calibration_note=f"{calibration.calibration} {why}" if judged else "")


def mismatch(calibration: Calibration, environments: Iterable[Environment], across: Sequence[str]) -> list[Difference]:
    """In what environments are others than that of the calibration, each once; but for what ``across`` names, unless it
    is the device.
    """
    named = [name for name in across if name.partition(":")[0] not in ("device", "limit")]
    differ = [each for here in environments for each in differences.differences(calibration.environment, here)]
    return list(dict.fromkeys(each for each in differ if not differences.is_named(each.dimension, named)))
