"""When samples are taken: all of a series at once, or in blocks, so that several processes measure in turn."""

from __future__ import annotations

from collections.abc import Callable

from bench.measure.stop import MAX_TIME, StopRule
from bench.model.seam import Clock
from bench.model.suite import Policy
from bench.units import NS_PER_S

# All series have as many blocks, so that processes of different speed go through them side by side.
BLOCKS = 8
# Where each round has a core of its own: many, as some rounds fall on cores that change while it lasts.
BLOCKS_OF_CORES = 40
# A block is short against how long a host stays fast or slow, and long against what it costs to change over.
_BLOCK_NS = NS_PER_S // 20
_BLOCK_SAMPLES = 12
# The first calls of a block fill caches again, which the others have used meanwhile.
_LEAD_CALLS, _LEAD_NS = 3, NS_PER_S // 200
ALL_BLOCKS = "Blocks"


class Pace:
    """A process that is measured by itself: nothing to wait for."""

    def wait(self) -> None:
        """Wait until nobody else measures."""

    def rule(self, policy: Policy, clock: Clock) -> StopRule:
        """The rule that ends a series."""
        return StopRule(policy, clock)


ALONE = Pace()


class InTurn(Pace):
    """A process that takes turns with others, in so many ``blocks``: ``wait`` returns when it is its turn."""

    def __init__(self, wait: Callable[[], None], blocks: int = BLOCKS) -> None:
        self._wait = wait
        self._blocks = blocks

    def wait(self) -> None:
        """Wait for the turn."""
        self._wait()

    def rule(self, policy: Policy, clock: Clock) -> StopRule:
        """Blocks, each in a turn of its own."""
        return BlockRule(policy, clock, self._wait, self._blocks)


class BlockRule(StopRule):
    """A series of ``most`` blocks with a wait before each; ``blocks`` has the number of samples of each, ``lead_in``
    the places of calls, among all, that are no samples.

    A block ends after 12 samples, or with the first that is complete after 50 ms. The calls of its first 5 ms, one to
    three, are no samples; of calls that take as long as a block there are none such. ``MaxTime`` is that of the
    blocks, without the waits.
    """

    def __init__(self, policy: Policy, clock: Clock, wait: Callable[[], None], most: int) -> None:
        super().__init__(policy, clock)
        self._most = most
        self.blocks: list[int] = []
        self.lead_in: set[int] = set()
        self._wait = wait
        self._spent = 0
        self._lead = 0

    def begin(self) -> None:
        """The first block."""
        self._wait()
        self.blocks.append(0)
        self.start = self._now()
        long = bool(self.samples) and self.samples[-1] >= _BLOCK_NS
        self._lead = 0 if long else _LEAD_CALLS

    def add(self, ns: int) -> None:
        """Take one sample, or a call before the first, and decide whether the block and the series end."""
        passed = self._now() - self.start
        if self._lead:
            self.lead_in.add(len(self.lead_in) + len(self.samples))
            self._lead = 0 if passed >= _LEAD_NS else self._lead - 1
            if not self._lead:
                self._spent += passed
                self.start = self._now()
            return
        self.samples.append(ns)
        self.blocks[-1] += 1
        if self.blocks[-1] < _BLOCK_SAMPLES and passed < _BLOCK_NS:
            return
        self._spent += passed
        if len(self.blocks) >= self._most:
            self.reason = ALL_BLOCKS
        elif self._spent >= self._policy.max_time_ns:
            self.reason = MAX_TIME
        else:
            self.begin()


def blocks_of(rule: StopRule) -> tuple[int, ...]:
    """The samples of each block of a rule; empty for a series that was taken at once."""
    return tuple(rule.blocks) if isinstance(rule, BlockRule) else ()


def lead_in_of(rule: StopRule) -> frozenset[int]:
    """The places of calls that are no samples."""
    return frozenset(rule.lead_in) if isinstance(rule, BlockRule) else frozenset()
