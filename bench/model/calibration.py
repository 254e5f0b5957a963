"""What is known of how identical code differs on one machine: the spread of its processes, builds and sittings."""

from __future__ import annotations

import msgspec

from bench.model.data import Data
from bench.model.run import Environment
from bench.model.suite import Boundary


class Component(Data, frozen=True, kw_only=True):
    """One level of variance: ``sd`` is the standard deviation of logs of times, about the fraction of a time.

    ``low`` to ``high`` is its 95 % interval, ``dof`` are the degrees of freedom that it rests on.
    """

    sd: float
    low: float
    high: float
    dof: float


class Alarms(Data, frozen=True, kw_only=True):
    """How often the verdict calls identical code different: ``alarms`` of ``splits`` pairs of sides with no process in
    common, ``replicates`` processes each.

    The splits are of the same processes. ``pairs`` says how many of them could have been made of other ones each, and
    ``low`` to ``high``, the 95 % interval of the rate, rests on that number.
    """

    replicates: int
    splits: int
    alarms: int
    pairs: int
    low: float
    high: float

    @property
    def rate(self) -> float:
        """The share of alarms."""
        return self.alarms / self.splits


class Need(Data, frozen=True, kw_only=True):
    """The processes a side with which the verdict finds ``effect``, a fraction, in 9 of 10 comparisons: of sides of one
    sitting, and of two. None where no number does.
    """

    effect: float
    one_sitting: int | None = None
    two_sittings: int | None = None


class Level(Data, frozen=True, kw_only=True):
    """One case at one boundary; all cases of a boundary together where ``case`` is empty.

    ``processes`` are the numbers of them by sitting, ``centre_ns`` is the geometric mean of their medians (in
    ``throughput`` of times per inference). ``process`` is the spread from process to process within a sitting,
    ``build`` that from build to build, ``session`` that from sitting to sitting; None where there is one of them only.
    ``session_sd`` is what verdicts on two sittings add: that of the case, but not less than what the cases of the
    boundary show together. ``widest`` is the largest ``process.sd`` of the cases of a boundary.

    ``within`` has both sides from one sitting, ``across`` from two, with the session sd as ``compare`` adds it, and
    ``without`` the same without it. ``one_sitting`` and ``two_sittings`` are the smallest effects, fractions, that the
    verdict finds in 9 of 10 comparisons with the calibration's replicates; None where it finds none below 100 %.
    """

    boundary: Boundary
    processes: tuple[int, ...]
    process: Component
    case: str = ""
    label: str = ""
    builds: int = 1
    centre_ns: float | None = None
    build: Component | None = None
    session: Component | None = None
    session_sd: float | None = None
    widest: float | None = None
    within: Alarms | None = None
    across: Alarms | None = None
    without: Alarms | None = None
    one_sitting: float | None = None
    two_sittings: float | None = None
    needs: tuple[Need, ...] = ()


class Calibration(Data, frozen=True, kw_only=True):
    """A calibration as stored. ``sittings`` are the runs that it is computed from, ``cards`` the ids of the GPUs that
    measured them and ``hosts`` those of the machines.

    ``replicates`` are the processes a side that effects and alarms are for. ``levels`` has every case at every
    boundary, ``boundaries`` one of each boundary. ``left_out`` says which cases have no figures, and why;
    ``minor_differences``, in files ``told``, in what else the sittings differ (policy, version, seed, files of models).
    """

    schema: int
    calibration: str
    created: str
    version: str
    environment: Environment
    sittings: tuple[str, ...]
    replicates: int
    levels: tuple[Level, ...]
    boundaries: tuple[Level, ...]
    cards: tuple[str, ...] = ()
    hosts: tuple[str, ...] = ()
    left_out: dict[str, str] = {}
    minor_differences: tuple[str, ...] = msgspec.field(default=(), name="told")
    seed: int = 0
