"""The messages between the runner and a worker process: one job in, replies out, each a line of JSON."""

from __future__ import annotations

from typing import Any

import msgspec

from bench.model.checkup import Reading
from bench.model.data import Data
from bench.model.profile import Tool
from bench.model.run import Environment, Phase, Record, Work
from bench.model.seam import Missing, Stage
from bench.model.suite import Case, Policy, Threshold
from bench.model.telemetry import HostFigures

# The exit code of a worker whose reply pipe is not there any more.
PIPE_GONE = 74


class Job(Data, frozen=True, kw_only=True, tag_field="job", tag=str.lower):
    """Base of all jobs. ``device`` is ``cpu`` or ``cuda:0``; relative factories are looked up in ``suite_dir``.

    Every reply repeats the ``ticket``: what else is written to the worker's pipe is none.
    """

    device: str
    ticket: str = ""
    suite_dir: str = "."
    seed: int = 0
    cold: bool = False


class Measure(Job, frozen=True, kw_only=True):
    """Measure one case once; ``artifacts`` maps the names of its stages to finished folders.

    ``gate`` is the descriptor of the page that holds streams on a GPU, -1 where there is none. ``build`` says which
    independent build of the model; ``shared`` is the folder of backends' own caches. With ``rounds`` it takes
    its samples in so many blocks, pauses ahead of each, and goes on when a line follows.
    """

    case: Case
    policy: Policy
    threshold: Threshold
    artifacts: dict[str, str]
    scratch: str
    shared: str = ""
    replicate: int = 0
    build: int = 0
    gate: int = -1
    rounds: int = 0


class Profile(Job, frozen=True, kw_only=True):
    """Let ``tool`` look at some ``iterations`` of a case; what it records goes to the folder ``out``.

    ``modules``: ranges for the modules of the model. Other fields as of ``Measure``; with the ``gate`` the worker
    measures ``gpu`` too.
    """

    case: Case
    policy: Policy
    artifacts: dict[str, str]
    scratch: str
    out: str
    tool: Tool
    iterations: int
    modules: bool = False
    shared: str = ""
    gate: int = -1


class Produce(Job, frozen=True, kw_only=True):
    """Make one artifact of a case in the folder ``out``, with at most ``threads`` threads in a parallel loop; 0 leaves
    their number to the libraries.
    """

    case: Case
    stage: Stage
    artifacts: dict[str, str]
    out: str
    scratch: str
    shared: str = ""
    build: int = 0
    threads: int = 0


class Inspect(Job, frozen=True, kw_only=True):
    """Build each case's model without memory, to report a wrong factory first; count its arithmetic and bytes."""

    cases: tuple[Case, ...]


class CheckMetrics(Job, frozen=True, kw_only=True):
    """Import the functions that ``metrics`` name, to report one that is not there before anything is measured."""

    metrics: tuple[str, ...]


class Ceilings(Job, frozen=True, kw_only=True):
    """Measure the machine's rates for speed of light: of ``precisions``, and of a copy."""

    precisions: tuple[str, ...] = ()


class Preload(Job, frozen=True, kw_only=True):
    """Import what measuring ``case`` will import, and wait: another job follows on the next line."""

    case: Case


class Template(Job, frozen=True, kw_only=True):
    """Import ``imports``, each ``module`` or ``module:name``, build the model of the case ``model`` if there is one, in
    up to ``room`` bytes of memory (0: no limit), and fork workers for the other end of the socket ``control``, a
    descriptor. No other job follows.
    """

    imports: tuple[str, ...]
    control: int
    model: Case | None = None
    room: int = 0


class Describe(Job, frozen=True, kw_only=True):
    """Describe this interpreter: its environment without a device, and the backends ready for ``device`` in it.

    ``distributions`` are those whose versions count besides the usual ones, ``modules`` those that factories import.
    """

    distributions: tuple[str, ...] = ()
    modules: tuple[str, ...] = ()


class Selftest(Job, frozen=True, kw_only=True):
    """Read kernels of known length through ``gate``, and make ``runs`` calls of each kind that is hard to hold."""

    gate: int
    runs: int = 0


JobType = Measure | Profile | Produce | Inspect | CheckMetrics | Ceilings | Describe | Selftest


class Reply(Data, frozen=True, kw_only=True, tag_field="reply", tag=str.lower):
    """Base of all replies; ``Doing`` and ``LayersTimed`` may come many times, one of the others comes last."""

    ticket: str = ""


class Doing(Reply, frozen=True, kw_only=True):
    """The worker entered a phase; while a ``timed`` one runs the parent must stay asleep."""

    phase: str
    timed: bool = False


class LayersTimed(Reply, frozen=True, kw_only=True):
    """What layers of a build have taken until now, ns, those that took longest; ``current`` is the one that is being
    timed since this message, empty where none is.
    """

    layers: dict[str, int]
    current: str = ""


class Paused(Reply, frozen=True, kw_only=True):
    """The worker waits for its turn, which a line on its standard input gives it."""


class Measured(Reply, frozen=True, kw_only=True):
    """The finished record of a Measure job, a failed one included; ``spans`` are when each boundary was measured."""

    record: Record
    spans: dict[str, tuple[int, int]] = {}


class Arrived(Reply, frozen=True, kw_only=True):
    """A lane's process has its lanes ready, or has made the calls that do not count: it waits for a line."""


class Looped(Reply, frozen=True, kw_only=True):
    """A lane's process has called back to back; what it measured is in its scratch folder."""

    host: HostFigures
    torch_peak_bytes: int | None = None


class Profiled(Reply, frozen=True, kw_only=True):
    """The iterations were made; fields as of ``bench.measure.profiled.ProfileResult``."""

    unprofiled_ns: tuple[int, ...]
    gpu_ns: tuple[int, ...] = ()
    recorded_gpu_ns: tuple[int, ...] = ()
    tool_version: str = ""
    notes: tuple[str, ...] = ()


class Produced(Reply, frozen=True, kw_only=True):
    """The artifact is complete; ``phases`` are the times of its steps."""

    phases: tuple[Phase, ...]


class Failed(Reply, frozen=True, kw_only=True):
    """The job could not be done; ``kind`` is the name of an error's class."""

    kind: str
    stage: str
    message: str
    where: str = ""
    hint: str = ""
    trace: str = ""


class Preloaded(Reply, frozen=True, kw_only=True):
    """Everything is imported; the worker waits for its job, or the template for requests."""


class Inspected(Reply, frozen=True, kw_only=True):
    """Work by case id, or why it cannot be counted; a model whose package is missing is in neither."""

    work: dict[str, Work]
    failed: dict[str, str] = {}


class Checked(Reply, frozen=True, kw_only=True):
    """All metrics can be called."""


class Rates(Reply, frozen=True, kw_only=True):
    """FLOP/s by precision, and ``copy`` in bytes/s (read plus written)."""

    ceilings: dict[str, float]


class Described(Reply, frozen=True, kw_only=True):
    """The environment, per backend what is missing (None: ready), per module the identity of its code, and the folders
    that modules are imported from.
    """

    environment: Environment
    backends: dict[str, Missing | None]
    modules: dict[str, str] = {}
    folders: tuple[str, ...] = ()


class Read(Reply, frozen=True, kw_only=True):
    """What the self-test read in one process."""

    readings: tuple[Reading, ...]


ReplyType = (
    Doing
    | LayersTimed
    | Paused
    | Measured
    | Profiled
    | Produced
    | Failed
    | Inspected
    | Checked
    | Rates
    | Described
    | Read
    | Preloaded
    | Arrived
    | Looped
)

# What answers a job, unless it failed.
ANSWERS: dict[type[Job], type[Reply]] = {
    Measure: Measured,
    Profile: Profiled,
    Produce: Produced,
    Inspect: Inspected,
    CheckMetrics: Checked,
    Ceilings: Rates,
    Preload: Preloaded,
    Template: Preloaded,
    Describe: Described,
    Selftest: Read,
}

_ENCODER = msgspec.json.Encoder()
_JOBS: msgspec.json.Decoder[JobType | Preload | Template] = msgspec.json.Decoder(JobType | Preload | Template)
_REPLIES: msgspec.json.Decoder[ReplyType] = msgspec.json.Decoder(ReplyType)


def encode(message: Job | Reply) -> bytes:
    """One line without its newline. Half a surrogate pair, which has no UTF-8 form, is written as its escape."""
    try:
        return _ENCODER.encode(message)
    except UnicodeEncodeError:
        return _ENCODER.encode(_as_unicode(msgspec.to_builtins(message)))


def _as_unicode(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, dict):
        return {_as_unicode(key): _as_unicode(member) for key, member in value.items()}
    return [_as_unicode(member) for member in value] if isinstance(value, list | tuple) else value


def decode_job(line: bytes) -> JobType | Preload | Template:
    """The job of a line. msgspec.MsgspecError if it is none."""
    return _JOBS.decode(line)


def decode_reply(line: bytes) -> ReplyType:
    """The reply of a line. ValueError or RecursionError if it is none."""
    return _REPLIES.decode(line)
