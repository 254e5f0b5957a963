"""Warm-up of a lane on a GPU: plain calls, and where streams are held, held ones until they are steady."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from bench.measure import gpu_samples
from bench.measure.cuda import CudaClock, HoldBroken
from bench.measure.loop import WINDOWS, WarmUp, warm_up
from bench.model.lanes import Lane
from bench.model.seam import Clock
from bench.model.suite import Policy


class GpuWarmUp(NamedTuple):
    """The last warm-up, and whether a hold broke: the call waits for the GPU."""

    end: WarmUp
    broken: bool


def run(lane: Lane, clock: CudaClock, host_clock: Clock, policy: Policy, *, held: bool) -> GpuWarmUp:
    """Plain calls first, so that every kernel has run; then with ``held``, where streams can be held, held ones until
    steady.

    Each for half of the least time. Plain times of a program that is bound by the host never settle: they are the
    host's.
    """
    plain = gpu_samples.gpu(lane, clock, hold=False)
    if not held or clock.can_hold():
        return GpuWarmUp(warm_up(plain, policy, host_clock), broken=False)
    half = msgspec.structs.replace(policy, warmup_ns=policy.warmup_ns // 2)
    _run_every_kernel(plain, host_clock, half)
    take = gpu_samples.gpu(lane, clock, hold=True)
    try:
        return GpuWarmUp(clock.twice(lambda: warm_up(take, half, host_clock)), broken=False)
    except HoldBroken:
        return GpuWarmUp(warm_up(plain, policy, host_clock), broken=True)


def _run_every_kernel(plain: gpu_samples.Take, host_clock: Clock, policy: Policy) -> None:
    """As many plain calls as a warm-up by ``policy`` has at least, within its limit."""
    start, calls = host_clock.now(), 0
    while calls < policy.warmup_calls or host_clock.now() - start < policy.warmup_ns:
        plain()
        calls += 1
        if calls >= WINDOWS and host_clock.now() - start >= policy.warmup_limit_ns:
            break
