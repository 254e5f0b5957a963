"""The calls of a profile that were made on a held stream: what the tool saw of them beside what events say; pure.

A held call is issued whole before the GPU begins with it, so its kernels follow each other as they do in the boundary
``gpu``. The calls of an iteration are issued while the GPU works, most of them too late.
"""

from __future__ import annotations

import statistics
from bisect import bisect_left, bisect_right
from collections.abc import Sequence

import msgspec

from bench.analysis.spans import Spans
from bench.model import ranges
from bench.model.data import Data
from bench.model.profile import CondensedProfile, Copy, HeldCall, Kernel, Profile, Range

# Two times of a call agree within the larger of a fraction and ns: beside its work, `gpu` has the start of the first
# kernel, the end of the last one, and the resolution of events.
CLOSE, CLOSE_NS = 0.02, 5_000


class Comparison(Data, frozen=True, kw_only=True):
    """Medians of one process, ns: ``gpu`` before its profiler started; of held calls while that recorded
    ``recorded_gpu`` by events, and as the profiler saw them ``span`` and ``busy``. None where there is none.
    """

    gpu: float | None = None
    recorded_gpu: float | None = None
    span: float | None = None
    busy: float | None = None


def compare(condensed: CondensedProfile) -> Comparison:
    """The medians of a profile's held calls."""
    return Comparison(
        gpu=_median(condensed.profile.gpu_ns),
        recorded_gpu=_median(condensed.profile.recorded_gpu_ns),
        span=_median([each.span for each in condensed.held]),
        busy=_median([each.busy for each in condensed.held]),
    )


def is_close(profile_ns: float, gpu_ns: float) -> bool:
    """Whether two times of a call are within max(2 %, 5 us) of each other, the fraction that of ``gpu_ns``."""
    return abs(profile_ns - gpu_ns) <= max(CLOSE * gpu_ns, CLOSE_NS)


def split(profile: Profile) -> tuple[Profile, tuple[HeldCall, ...]]:
    """``profile`` without its held calls, whose work belongs to no iteration, and these calls in their order.

    Work on the GPU belongs to the call in whose range it starts: the range begins before the stream is held, and ends
    when it is idle again.
    """
    own = sorted((each for each in profile.ranges if _is_held(each)), key=lambda call: call.start)
    if not own:
        return profile, ()
    around = Spans((each.start, each.end + 1) for each in own)

    def is_inside(event: Range | Kernel | Copy) -> bool:
        return bool(around.length(event.start, event.start + 1))

    events: tuple[Kernel | Copy, ...] = (*profile.kernels, *profile.copies)
    work = sorted((each for each in events if is_inside(each)), key=_start)
    starts = [each.start for each in work]
    spans = (work[bisect_left(starts, each.start) : bisect_right(starts, each.end)] for each in own)
    left = msgspec.structs.replace(
        profile,
        ranges=tuple(each for each in profile.ranges if not is_inside(each)),
        kernels=tuple(each for each in profile.kernels if not is_inside(each)),
        copies=tuple(each for each in profile.copies if not is_inside(each)),
    )
    return left, tuple(_of(each) for each in spans if each)  # without those whose events the tool has lost


def _is_held(each: Range) -> bool:
    word, _, number = each.name.partition(" ")
    return each.kind == "phase" and word == ranges.HELD and number.isdecimal()


def _of(work: Sequence[Kernel | Copy]) -> HeldCall:
    start, end = work[0].start, max(each.end for each in work)
    return HeldCall(span=end - start, busy=Spans((each.start, each.end) for each in work).length(start, end))


def _start(event: Kernel | Copy) -> int:
    return event.start


def _median(values: Sequence[int]) -> float | None:
    return statistics.median(values) if values else None
