"""What `trtbench build` made of each case, and what it could not."""

from __future__ import annotations

from bench.model.data import Data
from bench.model.run import Environment, Failure
from bench.model.suite import LeftOut


class BuiltStage(Data, frozen=True, kw_only=True):
    """An artifact of a case: its ``stage`` (``export``, ``build``), its ``kind`` (``onnx``, ``engine``) and what making
    it took, in nanoseconds.

    ``cold`` says that it was made now; else it was in the cache, and ``ns`` is what making it took then, longer than
    alone if it was made ``beside`` other work. ``bytes`` is the size of its files; None where they are a mark only and
    the cache of a compiler has the rest. ``layers`` is the number of layers of an engine's network, None where nothing
    tells.
    """

    stage: str
    kind: str
    ns: int
    cold: bool
    beside: bool = False
    bytes: int | None = None
    layers: int | None = None


class CaseBuild(Data, frozen=True, kw_only=True):
    """The artifacts of a case in the order in which they were made, without the reference; none where its backend
    compiles only as it is measured.

    ``failure`` says why the stage ``failed`` could not be made, after which no other is tried; ``failed`` is empty
    where nothing failed, or nothing could begin.
    """

    case: str
    label: str
    stages: tuple[BuiltStage, ...] = ()
    failure: Failure | None = None
    failed: str = ""


class BuildRun(Data, frozen=True, kw_only=True):
    """The ``cases`` of a suite that had their turn, of ``total``.

    ``device_missing`` says why the GPU that they are for is not here, and is empty where it is or none is needed.
    ``compute_capabilities`` are those that were asked for. ``interrupted``: a signal ended it before all had a turn.
    """

    created: str
    version: str
    suite: str
    environments: dict[str, Environment]
    total: int
    cases: tuple[CaseBuild, ...] = ()
    left_out: tuple[LeftOut, ...] = ()
    compute_capabilities: tuple[str, ...] = ()
    device_missing: str = ""
    interrupted: bool = False
