"""What came out of a run: records with their samples and failures, and the environment that they were made in."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from bench.model.data import Data, digest
from bench.model.suite import Boundary, Case, LeftOut, Limit, Policy, Threshold, Toolchain
from bench.model.telemetry import Telemetry


class Phase(Data, frozen=True, kw_only=True):
    """One step before the measurement: import, load, export, compile, build, deserialize, first_call, warmup.

    ``beside`` is true for what was made by workers side by side: it took longer than it would have alone.
    """

    name: str
    ns: int
    cold: bool = True
    beside: bool = False


class Measurement(Data, frozen=True, kw_only=True, rename={"lane_count": "lanes"}):
    """The raw samples of one boundary in one process.

    ``samples`` are nanoseconds of one call each, in the order taken, none dropped; ``marked`` are the indices taken
    while throttled. ``throughput`` also has the window it was computed from: ``calls`` in ``window_ns``, by
    ``lane_count`` lanes (in files: ``lanes``) with ``depth`` calls in flight each, issued by ``threads`` of the host
    (0: not recorded) in ``processes``; its samples are the latencies of calls inside the loop, and on a GPU ``parts``
    holds what enqueue, h2d, compute and d2h of the same calls took, ``totals`` their sums over all.
    ``cpu_ns`` is the CPU time of the process, all its threads, over all samples of ``latency`` on a CPU,
    ``preemptions`` how often one of them lost its core meanwhile; None where they were not read. ``blocks`` are the
    numbers of samples of each block where the process took turns with others, empty elsewhere.
    """

    boundary: Boundary
    samples: tuple[int, ...]
    batch: int = 1
    stop: str = ""
    calls: int = 0
    window_ns: int = 0
    lane_count: int = 1
    depth: int = 1
    marked: tuple[int, ...] = ()
    parts: dict[str, tuple[int, ...]] = {}
    totals: dict[str, int] = {}
    cpu_ns: int | None = None
    preemptions: int | None = None
    blocks: tuple[int, ...] = ()
    threads: int = 0
    processes: int = 1


class OutputError(Data, frozen=True, kw_only=True):
    """One output against the fp32 reference; ``sqnr`` in dB, infinite values are None, ``nan`` counts NaNs.

    ``slice`` is the part that differs most of those that are judged by themselves (``[:, 4]``, or ``values below 0.03
    (20% of all)``), ``slice_rel_l2`` its relative error; empty and None where no part is, or none differs. An ``empty``
    output has no element, so that nothing was compared: all its figures are None.
    ``quantized_cosine`` and ``quantized_sqnr`` are against the quantized reference, the same network with Q/DQ as
    PyTorch runs it; None where a case has none. ``rounding_cosine`` is of that network alone, the cosine of its output
    with values rounded to float16 between the layers and the one without: how far any runtime can be expected to agree.
    None also where no such output was kept, or it is not finite.
    """

    name: str
    cosine: float | None
    max_abs: float | None
    rel_l2: float | None
    sqnr: float | None
    nan: int = 0
    slice: str = ""
    slice_rel_l2: float | None = None
    quantized_cosine: float | None = None
    quantized_sqnr: float | None = None
    rounding_cosine: float | None = None
    empty: bool = False


class Accuracy(Data, frozen=True, kw_only=True):
    """All outputs of a case; ``ok`` is the verdict against ``threshold``, ``why`` says what failed. It is of
    shapes alone where all outputs are ``empty``.

    ``varies`` says that it is not ok, and that outputs or state change from call to call, so that they have no
    reference.
    """

    ok: bool
    outputs: tuple[OutputError, ...]
    threshold: Threshold = Threshold()
    metric: dict[str, float] = {}
    why: str = ""
    varies: bool = False
    empty: bool = False

    @property
    def accurate(self) -> bool | None:
        """The verdict; None where nothing was compared: no output has an element, and no metric was computed."""
        return None if self.ok and self.empty and not self.metric else self.ok


class Warning(Data, frozen=True, kw_only=True):
    """Something to know before trusting a number: ``HostBound``, ``NotSteady``, ...

    ``figures`` are what was seen: numbers with their unit in the name (``_ns``, ``_bytes``, fractions without one), and
    texts where the datum is a text, as a driver's reason. The sentence and what to try are made by
    ``bench.report.warnings``. ``message`` and ``hint`` have them in runs of schema 1, which have no figures.
    """

    kind: str
    figures: dict[str, Any] = {}
    message: str = ""
    hint: str = ""


class Failure(Data, frozen=True, kw_only=True):
    """Why a case has no result. ``kind`` is an error class name or Timeout, Crash, Inaccurate; ``log`` is the tail.

    ``details`` are figures of what failed: ``slowest_layers_s`` of a build, seconds by layer, the longest first; of a
    Timeout ``limit_ns``, and ``stage_ns``, how much of it went by in ``stage``; not of a worker that had begun to take
    turns. Of a case that was not begun, as its factory had not returned in another, they are ``not_begun`` alone. Of a
    Crash by a signal that usually comes from outside they are its name, ``signal``, and ``attempts``: how many
    processes in a row ended so.
    """

    kind: str
    stage: str
    message: str
    hint: str = ""
    log: str = ""
    where: str = ""
    details: dict[str, Any] = {}

    @property
    def text(self) -> str:
        """``mine.yaml:16: no such array``: the place, if it is known, and the message without the class of ``kind``."""
        message = self.message.removeprefix(f"{self.kind}: ")
        return f"{self.where}: {message}" if self.where else message

    @property
    def is_stopped(self) -> bool:
        """Whether a signal has ended its process, for the first time in a row: from outside, as far as is known."""
        return "signal" in self.details and self.details.get("attempts") == 1

    @property
    def is_not_begun(self) -> bool:
        """Whether the case was not begun, as its factory had not returned in another."""
        return bool(self.details.get("not_begun"))

    @property
    def is_final(self) -> bool:
        """Whether it tells of its case, which is not tried again: a lost GPU, a process that is stopped and a case that
        was not begun do not.
        """
        return self.kind != "DeviceLost" and not self.is_stopped and not self.is_not_begun


class Work(Data, frozen=True, kw_only=True):
    """Arithmetic and traffic of one call, for speed of light.

    ``flops`` counts a multiply-add as two; ``bytes`` = weights + inputs + outputs at the case's precision, of tables
    the rows that lookups read (``bench.measure.weight_reads``).
    ``fraction`` maps a boundary to max(flops / ceiling, bytes / bandwidth) / median time; ``bound`` says which won.
    """

    flops: int
    bytes: int
    parameters: int = 0
    bound: Literal["compute", "memory", ""] = ""
    fraction: dict[str, float] = {}


class Record(Data, frozen=True, kw_only=True):
    """One case in one fresh process: the unit that is stored. Either measurements or a failure, sometimes both.

    ``times`` says where the wall time of its turn went, nanoseconds by category (``bench.analysis.times``); what was
    made before, for it or for several, is only in the sums of the footer. ``card`` is the id of the card that measured,
    where a run has several; that of a run on one is in its header. ``places`` has the place of each of the process's
    turns among those of the processes that it took turns with, from 0 in each round; empty where it took none.
    """

    case: str
    label: str
    replicate: int = 0
    started: str = ""
    wall_ns: int = 0
    toolchain: str = "default"
    build: int = 0
    phases: tuple[Phase, ...] = ()
    measurements: tuple[Measurement, ...] = ()
    accuracy: Accuracy | None = None
    work: Work | None = None
    fairness: dict[str, Any] = {}
    telemetry: Telemetry = Telemetry()
    warnings: tuple[Warning, ...] = ()
    failure: Failure | None = None
    times: dict[str, int] = {}
    card: str = ""
    places: tuple[int, ...] = ()


class Environment(Data, frozen=True, kw_only=True):
    """Where a run was made. ``fingerprint`` covers what makes numbers comparable; ``observed`` only warns."""

    kind: Literal["cpu", "cuda", "fake"]
    arch: str
    device: str
    slug: str
    memory: int = 0
    driver: str = ""
    python: str = ""
    libraries: dict[str, str] = {}
    limits: dict[str, str] = {}
    flags: dict[str, str] = {}
    boundaries: str = ""
    host: str = ""
    observed: dict[str, str] = {}

    @property
    def address(self) -> str:
        """The device as backends are given it: ``cuda:0``, the first visible GPU, or ``cpu``."""
        return "cuda:0" if self.kind == "cuda" else "cpu"

    @property
    def fingerprint(self) -> str:
        """The first 12 hex digits of the SHA-256 of everything but ``host`` and ``observed``; memory in whole GiB, as
        what a system keeps for itself differs from one start to the next.
        """
        fields = {key: value for key, value in msgspec.to_builtins(self).items() if key not in ("host", "observed")}
        return digest(fields | {"memory": self.gib})[:12]

    @property
    def gib(self) -> int:
        """The memory in GiB, rounded."""
        return round(self.memory / 2**30)


# How many pairs a duel may have at most: fewer have no standard deviation that its rule could rest on.
FEWEST_PAIRS, MOST_PAIRS = 3, 200


class Duel(Data, frozen=True, kw_only=True):
    """What a duel compares, by the ids of cases: in each contest the first with each other, at ``boundary``.

    It has up to ``pairs`` pairs and ``max_time_ns`` (0: no limit); the order of blocks is drawn from ``seed``. The
    toolchain ``revision`` stands for the code of ``commit``, where the sides are two revisions of it. With ``one_core``
    the main threads of all sides run on one core in each of up to ``rounds`` of blocks, drawn for it.
    """

    contests: tuple[tuple[str, ...], ...]
    boundary: Boundary
    pairs: int
    max_time_ns: int = 0
    seed: int = 0
    revision: str = ""
    commit: str = ""
    one_core: bool = False
    rounds: int = 8


class Header(Data, frozen=True, kw_only=True):
    """The first line of a run's file: environments by toolchain, the suite's text, the plan and the policy.

    ``seed`` is that of inputs and weights; a ``cold`` run takes nothing from caches; ``sources`` has the SHA-256 of
    each of the user's files that its cases name; ``limits`` are those of the metrics' numbers, by model. In a run with
    ``fork`` workers are copies of processes that have imported their runtimes, not processes that imported them. Of a
    ``duel`` the processes with one number of replicate are a pair. ``commit`` is that of the repository that the suite
    lies in, with ``-dirty`` where a tracked file was changed.
    """

    run: str
    created: str
    version: str
    environments: dict[str, Environment]
    suite: str
    suite_path: str
    cases: tuple[Case, ...]
    left_out: tuple[LeftOut, ...] = ()
    policy: Policy = Policy()
    baseline: str = ""
    thresholds: dict[str, Threshold] = {}
    toolchains: dict[str, Toolchain] = {}
    ceilings: dict[str, float] = {}
    seed: int = 0
    cold: bool = False
    fork: bool = False
    sources: dict[str, str] = {}
    limits: dict[str, dict[str, Limit]] = {}
    commit: str = ""
    duel: Duel | None = None
    schema: int = 2


class Footer(Data, frozen=True, kw_only=True):
    """The last line: how the run ended. ``resumed`` footers may follow one another; the last one counts.

    ``replicates`` is the number of processes per case of a resumed run, which may have been given more than its header
    has (0: not told). It holds from then on, whatever follows. ``times`` says where the wall time went since the run
    was begun or resumed, nanoseconds by category.
    """

    finished: str
    status: Literal["complete", "interrupted"]
    records: int = 0
    replicates: int = 0
    times: dict[str, int] = {}


class Run(Data, frozen=True, kw_only=True):
    """A run as read back: ``damage`` tells of a torn or unreadable line that was skipped, ``times`` are the sums of
    those of all footers.
    """

    path: str
    header: Header
    records: tuple[Record, ...]
    footer: Footer | None = None
    damage: str = ""
    times: dict[str, int] = {}
