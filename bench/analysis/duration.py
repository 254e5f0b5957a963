"""How long a plan takes, from its policy alone: between what a process takes at least and at most."""

from __future__ import annotations

from bench.model.suite import Policy
from bench.units import NS_PER_S

# Starting a worker and importing a runtime: a small one on a quick disk, a large one on a slow one.
_START_NS = 2 * NS_PER_S, 30 * NS_PER_S
# A boundary of short calls has its samples by then.
_SHORT_NS = NS_PER_S // 3
_ON_CPU, _ON_GPU = 2, 4  # boundaries by default, throughput among them


def bounds(processes: int, policy: Policy, *, gpu: bool, devices: int = 1) -> tuple[int, int]:
    """The least and the most nanoseconds that so many processes take, without exports, builds and waiting for a lock.

    The most is not kept by models of seconds a call, nor by a first call that compiles. Several ``devices`` share the
    processes at best evenly; at worst all cases are compared with each other, and one device measures them.
    """
    boundaries = len(policy.boundaries) or (_ON_GPU if gpu else _ON_CPU)
    timed = max(boundaries - 1, 1)
    fixed = policy.throughput_ns + policy.energy_ns
    least = _START_NS[0] + policy.warmup_ns + timed * min(_SHORT_NS, policy.max_time_ns) + fixed
    most = _START_NS[1] + policy.warmup_limit_ns + timed * policy.max_time_ns + fixed
    return -(-processes // devices) * least, processes * max(least, most)
