"""How close a measurement comes to the machine's roofline, and when it is past it."""

from __future__ import annotations

import statistics
from collections.abc import Mapping

from bench.model.run import Measurement, Warning, Work
from bench.units import NS_PER_S

# Of `throughput` several calls at once are timed: on a CPU they may have more threads than one matrix product had.
_ONE_CALL = ("gpu", "gpu_unheld", "compute", "latency")
# Times the ceiling's rate above which the ceiling is not believed. Up to there a case may be right: Winograd's 3 x 3
# convolutions multiply 2.25 times less (Lavin, Gray 2015) and sums in fp16 are twice as fast on some cards, of which
# transforms and the other layers leave a whole model about 1.5; clocks differ by less.
PAST = 1.5


def achieved(work: Work, precision: str, ceilings: Mapping[str, float], measurements: tuple[Measurement, ...]) -> Work:
    """``work`` with the fraction of the roofline that each boundary reached (Williams, Waterman, Patterson 2009):
    max(flops / rate, bytes / bandwidth) over the median time of a call, or over the time per call in ``throughput``.
    """
    roofs = _roofs(work, precision, ceilings)
    if roofs is None:
        return work
    compute, memory = roofs
    light = max(roofs)
    fraction: dict[str, float] = {}
    for m in measurements:
        took = m.window_ns / m.calls if m.calls else statistics.median(m.samples) if m.samples else 0
        if m.boundary in ("gpu", "gpu_unheld", "compute", "latency", "throughput") and took > 0:
            fraction[m.boundary] = light / took
    return Work(
        flops=work.flops,
        bytes=work.bytes,
        parameters=work.parameters,
        bound="compute" if compute >= memory else "memory",
        fraction=fraction,
    )


def warnings(work: Work, precision: str, ceilings: Mapping[str, float]) -> tuple[Warning, ...]:
    """``FasterThanLight`` if a call of ``work``, as achieved() gives it, did its arithmetic at more than ``PAST`` times
    the ceiling of ``precision``.

    The arithmetic alone counts, whichever bound is the higher one. What is faster than the copy says nothing of it:
    weights may stay in a cache, and reading alone can be faster than reading and writing.
    """
    roofs = _roofs(work, precision, ceilings)
    if roofs is None or not work.flops:
        return ()
    arithmetic = roofs[0] / max(roofs)
    reached = {name: share * arithmetic for name, share in work.fraction.items() if name in _ONE_CALL}
    boundary = max(reached, key=lambda name: reached[name], default="")
    if not boundary or reached[boundary] <= PAST:
        return ()
    figures = {"boundary": boundary, "fraction": reached[boundary], "precision": precision}
    return (Warning(kind="FasterThanLight", figures=figures),)


def _roofs(work: Work, precision: str, ceilings: Mapping[str, float]) -> tuple[float, float] | None:
    """Nanoseconds of the arithmetic and of the bytes at the machine's rates; None without these."""
    rate, bandwidth = ceilings.get(precision), ceilings.get("copy")
    if not rate or not bandwidth:
        return None
    return work.flops / rate * NS_PER_S, work.bytes / bandwidth * NS_PER_S
