"""The protocols and data that backends, clocks and the worker share, so that they need not import each other.

Those of a prepared model and its lanes are in ``bench.model.lanes``, what only some backends can do is in
``bench.model.abilities``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import msgspec

from bench.model.data import Data
from bench.model.lanes import Prepared
from bench.model.suite import Case

# The stages whose artifacts outputs are compared with. They are no part of what a case takes to be ready.
REFERENCE, QUANTIZED_REFERENCE = "reference", "quantized_reference"
REFERENCES = (REFERENCE, QUANTIZED_REFERENCE)
# The stage whose artifact has the weights of a model that is built, for another version of torch or another runtime.
WEIGHTS = "weights"


class Missing(Data, frozen=True, kw_only=True):
    """Why a backend cannot run here, and the command that makes it run."""

    reason: str
    fix: str


class Stage(Data, frozen=True, kw_only=True):
    """An artifact that a case needs, made once by ``producer`` (a backend's name) and shared by its ``key``.

    ``key`` holds every part of the case that can change the payload; the runner adds library versions (``libraries``),
    the model's source, the contents of ``files`` (paths beside the suite), the device where ``per_device``, and which
    of several independent builds this is where ``per_build``. What is not ``per_device`` can be made without a GPU: it
    is then made with the device ``cpu``. ``needs`` names stages of this case made before.
    ``times_kernels_on`` are the kinds of device (``cpu``, ``cuda``) on which making it times kernels to choose among
    them: there it is made alone. What is not ``of_model`` is the same for all models, and for all seeds.
    ``limit`` names the one limit of ``Threshold`` that is checked with it: without that limit in the suite a case for
    which it cannot be made is measured, with a warning of the kind ``absence``. No other stage may need such a one.
    """

    name: str
    kind: str
    producer: str
    key: dict[str, Any]
    needs: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()
    files: tuple[str, ...] = ()
    per_device: bool = False
    per_build: bool = False
    times_kernels_on: tuple[str, ...] = ()
    toolchain: str = "default"
    of_model: bool = True
    limit: str = ""
    absence: str = ""


class Clock(Protocol):
    """Where time comes from."""

    name: str

    def now(self) -> int:
        """Nanoseconds since an arbitrary start, never decreasing."""
        ...


class Context(msgspec.Struct, kw_only=True, frozen=True):
    """What the worker hands to a backend besides the case.

    ``inputs`` are the seeded host arrays at the suite's dtypes; ``artifacts`` maps stage names to folders;
    ``phase`` times a step and shows it in NVTX and in the progress, ``tell`` reports progress within a long step;
    ``tell_layers`` what layers of a build have taken, ns, and which is being timed from now on (empty: none), for the
    record of one that fails; ``scratch`` is empty and deleted afterwards, ``shared`` is for a backend's own caches and
    outlives the run (not when ``cold``). ``build`` counts independent builds of one model: only build 0 may use caches
    of an earlier build. ``profiled``: runtimes that can (``RecordsNodes``) write down which nodes they run, which takes
    time.
    """

    device: str
    inputs: dict[str, Any]
    artifacts: dict[str, Path]
    scratch: Path
    suite_dir: Path
    clock: Any
    phase: Callable[[str], AbstractContextManager[None]]
    cold: bool = False
    seed: int = 0
    replicate: int = 0
    build: int = 0
    shared: Path | None = None
    profiled: bool = False
    tell: Callable[[str], None] = lambda text: None
    tell_layers: Callable[[Mapping[str, int], str], None] = lambda layers, current: None


class Runtime(Protocol):
    """The part of a backend that the planner uses, without importing a runtime library."""

    @property
    def options(self) -> type[msgspec.Struct]:
        """The struct that a suite's options of this backend must fit."""
        ...

    def missing(self, device: str = "cpu") -> Missing | None:
        """None if the backend could run here on ``device``; checked without importing its runtime."""
        ...

    def unsupported(self, case: Case, device: str) -> str | None:
        """Why the combination can never work (the plan leaves it out and says so), or None."""
        ...


class Options(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Base of every backend's options: validated when the suite is read, defaults are left out of the case."""

    def in_force(self, precision: str) -> dict[str, Any]:
        """Every option with the value that a case at ``precision`` has, by which it is selected: also where the default
        is None and stands for another one.
        """
        return msgspec.structs.asdict(self)


class Backend(Protocol):
    """One runtime. A module ``bench/backends/NAME.py`` offers an instance as ``BACKEND``; its file name is its name.
    Another distribution offers one by an entry point of the group ``trtbench.backends``.

    A backend may have an attribute ``distributions``, a tuple of the names of Python distributions (``("example",)``)
    whose versions can change what it measures: they are part of the fingerprint. By default there are none.

    ``simulated`` backends get a FakeClock and touch no device. Importing the module must not import the runtime.
    """

    @property
    def options(self) -> type[Options]:
        """The struct that a suite's options of this backend must fit."""
        ...

    @property
    def simulated(self) -> bool:
        """Whether time is simulated and no device is touched."""
        ...

    def missing(self, device: str = "cpu") -> Missing | None:
        """None if it could run here on ``device`` ('cpu' or 'cuda:0'); checked without importing its runtime."""
        ...

    def unsupported(self, case: Case, device: str) -> str | None:
        """Why this combination can never work on ``device`` ('cpu' or 'cuda:0'), or None."""
        ...

    def stages(self, case: Case) -> Sequence[Stage]:
        """The artifacts the case needs, in the order in which they are made; the first is the reference."""
        ...

    def produce(self, stage: Stage, case: Case, context: Context, out: Path) -> None:
        """Make one artifact in the empty folder ``out``."""
        ...

    def prepare(self, case: Case, options: Any, context: Context) -> AbstractContextManager[Prepared]:
        """Load or build the model, without a warm-up; leaving the context releases everything."""
        ...
