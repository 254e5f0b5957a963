"""From which modules and operators of a model the kernels of a compiled program were made."""

from __future__ import annotations

from bench.model.data import Data

FILE = "provenance.json"


class KernelCall(Data, frozen=True, kw_only=True):
    """One call of a kernel in a compiled program.

    ``kernel`` is the name that a profiler shows, of an ``extern`` one that of the library function
    (``extern_kernels.addmm``), which runs kernels with names of their own. ``modules`` are paths in the model
    (``layer1.0.conv1``), without the model itself, ``operators`` the framework's (``aten::addmm``), both in the order
    in which they are computed and empty where nothing tells.
    """

    kernel: str
    modules: tuple[str, ...] = ()
    operators: tuple[str, ...] = ()
    extern: bool = False


class Provenance(Data, frozen=True, kw_only=True):
    """All calls of a program in the order of its code; of several graphs in the order in which they were compiled."""

    calls: tuple[KernelCall, ...] = ()
