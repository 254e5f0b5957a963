"""One case under a profiler: calls without it for comparison, then iterations that every tool shows by the same names.

Nothing of this is a measurement of the case: a profiler slows what it looks at, each in another way. What the process
measures before its profiler starts stands beside the profile alone.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import msgspec

from bench.measure.host import Phase
from bench.measure.loop import quiet, warm_up
from bench.measure.profiled_gpu import HeldCalls, Ranged, blocking_wait
from bench.measure.profilers import NODES, STARTS, Profiler
from bench.model import ranges
from bench.model.data import Data
from bench.model.lanes import Lane, Modular, Prepared, RecordsNodes
from bench.model.profile import RangeKind
from bench.model.seam import Clock
from bench.model.suite import Case, Policy
from bench.system.cleanup import Cleanup
from bench.units import NS_PER_S

if TYPE_CHECKING:
    from bench.measure.cuda import CudaClock, Driver

PHASE = "profile"
LEAST = 3
# All iterations together take at most about so long, without the profiler.
_LONGEST = 5 * NS_PER_S
# A runtime that writes down each node does so from its start on, hundreds of bytes for each.
_LONGEST_WARMUP = NS_PER_S // 2

Issue = Callable[[Ranged], None]
_MODULES_UNKNOWN = "a call runs no Python modules (a compiled program or a captured graph), so modules have no ranges"
_WARM_L2 = "l2: cold is not kept up here: the L2 cache is not flushed between iterations"


class ProfileResult(Data, frozen=True, kw_only=True):
    """What a worker knows of a profile beside what the tool saw: the same calls without it, in ns, and notes.

    ``gpu_ns`` and ``recorded_gpu_ns`` as of ``bench.model.profile.Profile``.
    """

    unprofiled_ns: tuple[int, ...]
    gpu_ns: tuple[int, ...] = ()
    recorded_gpu_ns: tuple[int, ...] = ()
    tool_version: str = ""
    notes: tuple[str, ...] = ()


def profile(
    prepared: Prepared,
    case: Case,
    policy: Policy,
    profiler: Profiler,
    clock: Clock,
    phase: Phase,
    out: Path,
    *,
    iterations: int,
    modules: bool = False,
    narrated: bool = False,
    gpu: CudaClock | None = None,
    holds: bool = True,
) -> ProfileResult:
    """Warm up, time ``iterations`` calls, and make as many again while ``profiler`` records them.

    An iteration on a GPU is the copy of the inputs to it, one call, the copy of the outputs back, and one wait for all
    of that; on a CPU it is the call. Calls that take long are fewer, 3 at least. Everything the profiler does is in the
    phase ``profile``. With ``modules`` each module that a call runs in Python has a range by its path. ``narrated``:
    the runtime was asked to write down its nodes. ``gpu`` is the clock of the GPU, None on a CPU; with ``holds`` its
    boundary ``gpu`` is measured before all that, and after the iterations as many calls are recorded on a held stream.
    """
    lane, notes = prepared.lanes(1)[0], []
    with contextlib.ExitStack() as stack:
        issue = stack.enter_context(_on_gpu(lane, case, gpu.driver)) if gpu is not None else _on_cpu(lane)
        held = HeldCalls(lane, gpu if holds else None)

        def take() -> int:
            start = clock.now()
            issue(_without_ranges)
            return clock.now() - start

        # One that writes down its nodes goes on until these are read: it is timed without a record after that.
        narrator = prepared if narrated and isinstance(prepared, RecordsNodes) else None
        if narrator is None:
            held.measure(case, policy, clock, phase)
        with phase("warmup"):
            warm_up(take, _short(policy) if narrator else policy, clock)
        with phase("unprofiled"), quiet():
            unprofiled = [take() for _ in range(min(LEAST, iterations))]
            count = max(len(unprofiled), min(iterations, int(_LONGEST // max(median(unprofiled), 1))))
            unprofiled += [] if narrator else [take() for _ in range(count - len(unprofiled))]
        if count < iterations:
            notes.append(f"{count} iterations in place of {iterations}, as each takes long")
        if case.l2 == "cold":
            notes.append(_WARM_L2)
        by_path = prepared.modules() if modules and isinstance(prepared, Modular) else {}
        if modules and not by_path and not narrator:
            notes.append(_MODULES_UNKNOWN)
        starts: list[int] = []
        with phase(PHASE):
            profiler.early()
            notes += _record(profiler, issue, case, out, count, by_path, starts, held)
        if narrator:
            (out / NODES).write_bytes(msgspec.json.encode(narrator.nodes()))
            (out / STARTS).write_bytes(msgspec.json.encode(starts))
            with phase("unprofiled"), quiet():
                unprofiled = [take() for _ in range(count)]
            held.measure(case, policy, clock, phase)
    return ProfileResult(
        unprofiled_ns=tuple(unprofiled),
        gpu_ns=held.gpu_ns,
        recorded_gpu_ns=held.recorded_gpu_ns,
        tool_version=profiler.version,
        notes=(*notes, *held.notes),
    )


def _short(policy: Policy) -> Policy:
    return msgspec.structs.replace(policy, warmup_limit_ns=min(policy.warmup_limit_ns, _LONGEST_WARMUP))


def _record(
    profiler: Profiler,
    issue: Issue,
    case: Case,
    out: Path,
    count: int,
    modules: Mapping[str, Any],
    starts: list[int],
    held: HeldCalls,
) -> list[str]:
    """The iterations and the ``held`` calls with the profiler on, and one more iteration with Python's frames; notes of
    what did not work.

    ``starts`` gets when each iteration began, ns since 1970: the clock that runtimes write their nodes down by.
    """
    with quiet(), _named(modules, profiler.range_):
        with profiler.on(out), profiler.range_("case", case.label):
            with profiler.range_("phase", PHASE):
                for number in range(count):
                    before = time.time_ns()
                    with profiler.range_("iteration", str(number)):
                        starts.append((before + time.time_ns()) // 2)
                        issue(profiler.range_)
            held.record(count, profiler.range_)
        recording = profiler.stacks(out)
        if recording is None:
            return []
        try:
            with recording, profiler.range_("iteration", "0"):
                issue(profiler.range_)
        except RuntimeError as error:
            return [f"no stacks: {error}"]
    return []


def _without_ranges(kind: RangeKind, name: str) -> AbstractContextManager[Any]:
    return contextlib.nullcontext()


def _on_cpu(lane: Lane) -> Issue:
    def issue(range_: Ranged) -> None:
        with range_("phase", ranges.CALL):
            lane.call()

    return issue


@contextlib.contextmanager
def _on_gpu(lane: Lane, case: Case, driver: Driver) -> Iterator[Issue]:
    """One request: copies between pinned memory and the device around the call, and one wait that blocks."""
    from bench.measure.gpu_transfer import Transfer, stream_of

    stream = stream_of(lane)
    wait = blocking_wait(driver, stream)
    copies = Transfer(driver, lane, on=case.transfers)

    def issue(range_: Ranged) -> None:
        with range_("phase", ranges.H2D):
            copies.host_to_device(stream)
        with range_("phase", ranges.CALL):
            lane.call()
        with range_("phase", ranges.D2H):
            outputs = copies.find_outputs(lane)
            copies.device_to_host(outputs, stream)
        with range_("phase", ranges.WAIT):
            wait()

    with Cleanup() as cleanup:
        cleanup.callback(copies.close)
        cleanup.callback(driver.synchronize)
        yield issue


@contextlib.contextmanager
def _named(modules: Mapping[str, Any], range_: Ranged) -> Iterator[None]:
    """Each module opens a range by its path while its forward runs; the hooks are removed at the end."""
    open_ranges: list[AbstractContextManager[Any]] = []

    def begin(path: str) -> Callable[..., None]:
        def hook(*_: object) -> None:
            entered = range_("module", path)
            entered.__enter__()
            open_ranges.append(entered)

        return hook

    def end(*_: object) -> None:
        open_ranges.pop().__exit__(None, None, None)

    with Cleanup() as cleanup:
        for path, module in modules.items():
            cleanup.callback(module.register_forward_pre_hook(begin(path)).remove)
            cleanup.callback(module.register_forward_hook(end, always_call=True).remove)
        yield
