"""``gpu`` in a process that is profiled: measured as a run does before the profiler starts, and again while it records.

Processes differ, so a profile is compared with the ``gpu`` of its own process; and an inference that the host issues
kernel by kernel has other gaps than one that was issued before it began, so calls on a held stream are recorded too.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING, Any

import msgspec

from bench.errors import Unsupported
from bench.model import ranges
from bench.model.lanes import Lane
from bench.model.profile import RangeKind
from bench.model.seam import Clock
from bench.model.suite import Case, Policy
from bench.units import NS_PER_S

if TYPE_CHECKING:
    from bench.measure.cuda import CudaClock, Driver

Ranged = Callable[[RangeKind, str], AbstractContextManager[Any]]
# So long at most, where calls are slow: a profile is no measurement of the case.
_LONGEST = NS_PER_S
_BROKEN = "no call on a held stream was recorded: under the profiler the call waits for the GPU"


class HeldCalls:
    """Calls of ``lane`` on a held stream, beside the iterations of its profile; none without ``clock``.

    ``gpu_ns`` are samples of ``gpu``, ``recorded_gpu_ns`` the times by events of the calls that the profiler recorded,
    both in ns, and empty where the stream cannot be held; ``notes`` say why, where that is not the row of a run too.
    """

    def __init__(self, lane: Lane, clock: CudaClock | None) -> None:
        self.gpu_ns: tuple[int, ...] = ()
        self.recorded_gpu_ns: tuple[int, ...] = ()
        self.notes: list[str] = []
        self._lane = lane
        self._clock = clock if clock is not None and not clock.can_hold() else None

    def measure(
        self, case: Case, policy: Policy, host_clock: Clock, phase: Callable[[str], AbstractContextManager[Any]]
    ) -> None:
        """Warm up, and take samples of ``gpu`` by the code that does so in a run, with the L2 cache as iterations have
        it: warm.
        """
        if self._clock is None:
            return
        from bench.measure import gpu  # a CPU's worker starts sooner without it

        longest = min(policy.max_time_ns, _LONGEST)
        alone = msgspec.structs.replace(policy, boundaries=("gpu",), energy_ns=0, max_time_ns=longest)
        warm = msgspec.structs.replace(case, l2="warm")
        try:
            measured = gpu.measure([self._lane], warm, alone, self._clock, host_clock, phase)
        except Unsupported as error:  # the row of a run; what the profiler shows may tell more
            self.notes.append(f"no gpu beside the profile: {error.what}")
            self._clock = None
            return
        self.gpu_ns = next((each.samples for each in measured.measurements if each.boundary == "gpu"), ())
        if not self.gpu_ns:
            self._clock = None

    def record(self, count: int, range_: Ranged) -> None:
        """``count`` calls, each in a range ``held`` with its number, while the profiler is on.

        None counts if a hold breaks: a profiler may make a call wait for the GPU.
        """
        if self._clock is None:
            return
        from bench.measure.cuda import HoldBroken
        from bench.measure.gpu_transfer import stream_of

        clock, stream = self._clock, stream_of(self._lane)
        start, end, wait = clock.event(), clock.event(), blocking_wait(clock.driver, stream)
        samples: list[int] = []
        try:
            for number in range(count):
                with range_("phase", f"{ranges.HELD} {number}"):
                    with clock.hold(stream):
                        clock.driver.record(start, stream)
                        self._lane.call()
                        clock.driver.record(end, stream)
                    wait()
                samples.append(clock.elapsed(start, end))
        except HoldBroken:
            clock.driver.synchronize()
            self.notes.append(_BROKEN)
            return
        self.recorded_gpu_ns = tuple(samples)


def blocking_wait(driver: Driver, stream: int) -> Callable[[], object]:
    """What waits for the stream by torch's CUDA runtime where it is in use, as torch.profiler does not see calls of the
    driver; else for the device.

    Samples of a run ask the driver again and again whether they are done: a profiler would record each question.
    """
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return driver.synchronize
    waits: Callable[[], object] = torch.cuda.ExternalStream(stream).synchronize
    return waits
