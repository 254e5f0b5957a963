"""The warnings that the processes of a case give together: they differ, are of two states, or drift."""

from __future__ import annotations

from typing import Any

from bench import stats
from bench.analysis.pool import Pool
from bench.analysis.states import two_states, two_states_of_processes
from bench.model.run import Warning
from bench.model.suite import Boundary

# Standard deviation of the logs of process medians from which processes are said to differ.
_APART = 0.01


def unsteady(pool: Pool, boundary: Boundary | None) -> tuple[Warning, ...]:
    """``TwoStates`` of processes or, where these are alike, of their samples; ``Spread`` where processes differ without
    having two states; ``Drift`` over the processes in the order in which they ran. All are of ``boundary``.
    """
    if boundary is None or boundary not in pool.samples:
        return ()
    medians = [float(stats.median(samples)) for samples in pool.samples[boundary]]
    return (*(_states(pool, boundary, medians) or _spread(pool, boundary)), *_drift(boundary, medians))


def _states(pool: Pool, boundary: Boundary, medians: list[float]) -> tuple[Warning, ...]:
    of_processes = two_states_of_processes(medians)
    if of_processes:
        figures: dict[str, Any] = {"level": "processes", "states": of_processes, "processes": len(medians)}
    else:
        seen = [states for states in map(two_states, pool.samples[boundary]) if states]
        if not seen:
            return ()
        figures = {"level": "samples", "states": seen[0], "processes": len(seen)}
    low, high, share = figures.pop("states")
    figures |= {"boundary": boundary, "low_ns": low, "high_ns": high, "share": share, "graph": pool.case.cuda_graph}
    return (Warning(kind="TwoStates", figures=figures),)


def _spread(pool: Pool, boundary: Boundary) -> tuple[Warning, ...]:
    """For processes that differ by more than their samples explain; needs three of them."""
    spread = stats.process_spread(pool.samples[boundary])
    if spread is None or spread.sd < _APART or spread.sd < 2 * spread.within:
        return ()
    figures = {
        "boundary": boundary,
        "low_ns": spread.low,
        "high_ns": spread.high,
        "sd": spread.sd,
        "within": spread.within,
        "graph": pool.case.cuda_graph,
    }
    return (Warning(kind="Spread", figures=figures),)


def _drift(boundary: Boundary, medians: list[float]) -> tuple[Warning, ...]:
    drift = stats.drift(medians)
    if drift is None:
        return ()
    figures = {"level": "processes", "boundary": boundary, "first_ns": drift.first, "last_ns": drift.last}
    return (Warning(kind="Drift", figures=figures),)
