"""What a worker says to one job, checked: the model runs in its process, and may write to its pipe."""

from __future__ import annotations

import itertools
import secrets
import time
from collections import Counter
from collections.abc import Callable, Iterable

import msgspec

from bench.model.run import Record
from bench.runner import jobs
from bench.system import process

# Characters of a text that is shown: of a message, a hint, the name of a phase.
_LONGEST = 4000
_MAX_NS = 1 << 63
_SHOWN = 60
_MOST_LAYERS = 10


class Answer:
    """Takes the lines of a reply pipe: each step of the job, and its one final ``reply``.

    ``job`` is the job as it is to be sent. ``problem`` says what is wrong with what came, empty if nothing is; what
    comes after is not read. ``pauses`` counts how often the worker has waited for its turn. ``now`` tells the time, ns.
    """

    def __init__(
        self,
        job: jobs.Job,
        on_step: Callable[[jobs.Doing], None] = lambda step: None,
        now: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        self.job = msgspec.structs.replace(job, ticket=secrets.token_hex(8))
        self.reply: jobs.ReplyType | None = None
        self.problem = ""
        self.pauses = 0
        self._on_step = on_step
        self._now = now
        self._layers = jobs.LayersTimed(layers={})
        self._layers_since = 0

    def slowest_layers(self) -> dict[str, int]:
        """What layers of a build have taken until now, ns, the longest first, that which is being timed among them."""
        times = Counter(self._layers.layers)
        if self._layers.current:
            times[self._layers.current] += self._now() - self._layers_since
        return dict(times.most_common(_MOST_LAYERS))

    @property
    def encoded(self) -> bytes:
        """The job as a line without its newline."""
        return jobs.encode(self.job)

    @property
    def complete(self) -> bool:
        """Whether the final reply is here."""
        return self.reply is not None and not self.problem

    def refused(self) -> bool:
        """Whether something is wrong with what came."""
        return bool(self.problem)

    def hear(self, line: bytes) -> None:
        """Take one line."""
        if self.problem:
            return
        if len(line) > process.LINE_LIMIT:
            self.problem = f"a line of more than {process.LINE_LIMIT >> 20} MiB"
            return
        try:
            reply = jobs.decode_reply(line)
        except (ValueError, RecursionError):
            self.problem = f"{line[:_SHOWN]!r}, which is no reply"
            return
        self.problem = self._refusal(reply)
        if self.problem:
            return
        if isinstance(reply, jobs.Doing):
            self._on_step(msgspec.structs.replace(reply, phase=_short(reply.phase)))
        elif isinstance(reply, jobs.LayersTimed):
            layers = {_short(name): ns for name, ns in reply.layers.items()}
            self._layers = jobs.LayersTimed(layers=layers, current=_short(reply.current))
            self._layers_since = self._now()
        elif isinstance(reply, jobs.Paused):
            self.pauses += 1
        else:
            self.reply = _shortened(reply)

    def _refusal(self, reply: jobs.ReplyType) -> str:
        """Why this cannot come now; empty if it can."""
        name = type(reply).__name__
        if reply.ticket != self.job.ticket:
            return f"a reply that is none to its job ({name})"
        if self.reply is not None:
            return f"more after its reply ({name})"
        expected = jobs.ANSWERS[type(self.job)]
        if isinstance(reply, jobs.Paused) and isinstance(self.job, jobs.Measure) and self.job.rounds:
            return ""
        between = jobs.Doing | jobs.LayersTimed if isinstance(self.job, jobs.Produce) else jobs.Doing
        if not isinstance(reply, between | jobs.Failed | expected):
            return f"{name} where {expected.__name__} answers"
        if isinstance(reply, jobs.Measured):
            assert isinstance(self.job, jobs.Measure)
            return _wrong_record(reply, self.job)
        if any(not 0 <= ns < _MAX_NS for ns in _times(reply)):
            return "a time that cannot be"
        if isinstance(reply, jobs.Inspected):
            assert isinstance(self.job, jobs.Inspect)
            if not {*reply.work, *reply.failed} <= {case.id for case in self.job.cases}:
                return "the work of another case"
            if any(work.flops < 0 or work.bytes < 0 or work.parameters < 0 for work in reply.work.values()):
                return "work that cannot be"
        if isinstance(reply, jobs.Rates) and not all(rate > 0 for rate in reply.ceilings.values()):
            return "a rate that cannot be"
        return ""


def _times(reply: jobs.ReplyType) -> Iterable[int]:
    """The times in a reply that has no record."""
    match reply:
        case jobs.LayersTimed():
            return reply.layers.values()
        case jobs.Profiled():
            return reply.unprofiled_ns
        case jobs.Produced():
            return (phase.ns for phase in reply.phases)
    return ()


def _wrong_record(reply: jobs.Measured, job: jobs.Measure) -> str:
    """What shows that a record is not that of the job; empty if nothing does."""
    record = reply.record
    expected = Record(
        case=job.case.id,
        label=job.case.label,
        replicate=job.replicate,
        build=job.build,
        toolchain=job.case.toolchain,
    )
    for name in ("case", "label", "replicate", "build", "toolchain"):
        if getattr(record, name) != getattr(expected, name):
            return f"the record of another {name}: {_short(str(getattr(record, name)))}"
    if not record.measurements and record.failure is None:
        return "a record without measurements and without a failure"
    times = itertools.chain(
        [record.wall_ns],
        (phase.ns for phase in record.phases),
        (sample for each in record.measurements for sample in (*each.samples, each.window_ns)),
    )
    if any(not 0 <= ns < _MAX_NS for ns in times):
        return "a time that cannot be"
    boundaries = [each.boundary for each in record.measurements]
    if len(boundaries) != len(set(boundaries)):
        return "a boundary twice"
    return ""


def _shortened(reply: jobs.ReplyType) -> jobs.ReplyType:
    """The reply with messages of a length that can be shown."""
    if isinstance(reply, jobs.Failed):
        texts = ("kind", "stage", "message", "where", "hint")
        return msgspec.structs.replace(reply, **{name: _short(getattr(reply, name)) for name in texts})
    if isinstance(reply, jobs.Inspected):
        failed = {case: _short(why) for case, why in reply.failed.items()}
        return msgspec.structs.replace(reply, failed=failed)
    if isinstance(reply, jobs.Measured) and reply.record.failure is not None:
        failure = reply.record.failure
        texts = ("kind", "stage", "message", "where", "hint")
        failure = msgspec.structs.replace(failure, **{name: _short(getattr(failure, name)) for name in texts})
        return msgspec.structs.replace(reply, record=msgspec.structs.replace(reply.record, failure=failure))
    return reply


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."
