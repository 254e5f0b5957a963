"""The tools of `trtbench profile`: what each needs, what precedes a worker's command, and how its files are read."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

from bench.measure.profilers import NODES, STACKS, TRACE
from bench.model.profile import Profile, Tool
from bench.model.seam import Missing
from bench.profiling import kineto
from bench.profiling.ncu import Ncu
from bench.profiling.nsys_profile import Nsys

NAMES: tuple[Tool, ...] = ("nsys", "torch", "layers", "ncu")
# Those that a worker runs under; what they see is on a GPU.
AROUND: tuple[Tool, ...] = ("nsys", "ncu")


class Recording(Protocol):
    """A tool that records what a worker does."""

    def missing(self) -> Missing | None:
        """What it lacks on this machine."""
        ...

    def prefix(self, folder: Path) -> Sequence[str]:
        """The words before the worker's command, whose report goes to ``folder``."""
        ...

    def read(self, folder: Path, case: str, label: str, log: str) -> Profile:
        """The profile of what it left in ``folder``. CaseError if that cannot be read."""
        ...

    def raw(self, folder: Path) -> Sequence[Path]:
        """The files in ``folder`` that a person can open in the tool's own viewer."""
        ...


class Torch:
    """torch.profiler, in the worker itself."""

    def missing(self) -> Missing | None:
        """The worker says if its interpreter has no torch."""
        return None

    def prefix(self, folder: Path) -> Sequence[str]:
        """Nothing."""
        return ()

    def read(self, folder: Path, case: str, label: str, log: str) -> Profile:
        """The Chrome trace, with the stacks of the second one, and the nodes that a runtime wrote down."""
        stacks, nodes = folder / STACKS, folder / NODES
        return kineto.read(folder / TRACE, stacks=stacks, nodes=nodes, case=case, label=label)

    def raw(self, folder: Path) -> Sequence[Path]:
        """Chrome traces."""
        return [path for path in (folder / TRACE, folder / STACKS) if path.exists()]


def recording(tool: Tool, kernel: str = "") -> Recording:
    """The tool of this name; ``kernel`` is the one that ncu looks at."""
    if tool == "nsys":
        return Nsys()
    return Ncu(kernel) if tool == "ncu" else Torch()
