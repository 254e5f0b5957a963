"""How long a plan takes, from its policy alone: between what a process takes at least and at most."""

from __future__ import annotations

from bench.model.suite import Boundary, Policy
from bench.units import NS_PER_S

# Until a worker has its model: forked from a process that has imported a runtime, or importing a large one by itself
# from a slow disk.
_START_NS = NS_PER_S * 3 // 20, 30 * NS_PER_S
# A boundary of short calls has its samples by then.
_SHORT_NS = NS_PER_S // 25
_ON_CPU: tuple[Boundary, ...] = ("latency", "throughput")
_ON_GPU: tuple[Boundary, ...] = ("gpu", "enqueue", "latency", "throughput")


def bounds(processes: int, policy: Policy, *, gpu: bool, devices: int = 1) -> tuple[int, int]:
    """The least and the most nanoseconds that so many processes take, without exports, builds and waiting for a lock.

    The most is not kept by models of seconds a call, nor by a first call that compiles. Several ``devices`` share the
    processes at best evenly; at worst all cases are compared with each other, and one device measures them.
    """
    boundaries = policy.boundaries or (_ON_GPU if gpu else _ON_CPU)
    timed = sum(boundary != "throughput" for boundary in boundaries)
    fixed = policy.energy_ns + (policy.throughput_ns if "throughput" in boundaries else 0)
    least = _START_NS[0] + policy.warmup_ns + timed * min(_SHORT_NS, policy.max_time_ns) + fixed
    most = _START_NS[1] + policy.warmup_limit_ns + timed * policy.max_time_ns + fixed
    return -(-processes // devices) * least, processes * max(least, most)
