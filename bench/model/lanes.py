"""The protocols of a prepared model and of its lanes, which the worker times."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from bench.model.data import Data
from bench.model.suite import Policy

if TYPE_CHECKING:
    import numpy as np

    from bench.model.profile import Range


class Buffer(Data, frozen=True, kw_only=True):
    """Memory of one input or output: address, size in bytes, shape and dtype (numpy name; bf16 is ``bfloat16``)."""

    ptr: int
    nbytes: int
    shape: tuple[int, ...]
    dtype: str


class Lane(Protocol):
    """One independent way to run the model: its own stream and resident buffers."""

    stream: int | None

    def call(self) -> None:
        """Issue one inference on the resident inputs; on a CPU it is finished on return."""
        ...

    def inputs(self) -> Mapping[str, Buffer]:
        """The resident input buffers, fixed for the lane's life."""
        ...

    def outputs(self) -> Mapping[str, Buffer]:
        """The buffers that the latest call wrote; they may move from call to call."""
        ...

    def poison(self) -> None:
        """Fill the outputs' memory with NaN (0x7F.. bytes for integers), where the runtime keeps it between calls."""
        ...

    def read(self) -> dict[str, np.ndarray[Any, Any]]:
        """Wait for the latest call and copy its outputs to new host arrays; bf16 and fp16 come as float32."""
        ...


class Prepared(Protocol):
    """A model loaded into a runtime, ready for its first call."""

    max_lanes: int | None
    captures_graphs: bool

    def lanes(self, count: int) -> Sequence[Lane]:
        """``count`` lanes (fewer if ``max_lanes`` says so) over one loaded model.

        A later call for more keeps the existing lanes. OutOfMemory if not all fit; the caller then tries fewer.
        """
        ...

    def fairness(self) -> dict[str, Any]:
        """What a reader must know to compare: TF32 state, memory format, graph breaks, fallbacks, caches."""
        ...


@runtime_checkable
class Modular(Protocol):
    """A prepared model that may run its modules one by one, in Python."""

    def modules(self) -> Mapping[str, Any]:
        """The torch modules below the model by their paths; empty where a call runs none of them."""
        ...


@runtime_checkable
class RecordsNodes(Protocol):
    """A prepared model whose runtime writes down the nodes that it runs, if its context is ``profiled``."""

    def nodes(self) -> Sequence[Range]:
        """End the record, and read it: for each node a range of kind ``layer`` with its name, and in it one of kind
        ``operator`` with its type; times in ns since 1970. Later calls run without a record.
        """
        ...


@runtime_checkable
class HasBareCall(Protocol):
    """A lane whose call is one call of its runtime, so that what the lane adds can be measured."""

    def bare_call(self) -> Callable[[], object]:
        """The runtime's own call with its arguments bound, unchecked."""
        ...


@runtime_checkable
class SharesInputs(Protocol):
    """A lane that passes its resident inputs directly to the model, which could write to them.

    Runtimes that take inputs as constant memory, as ONNX Runtime and TensorRT do, have no such lanes.
    """

    def changed_inputs(self) -> Sequence[str]:
        """Wait for the latest call; the names of the inputs that do not hold the case's values any more."""
        ...


@runtime_checkable
class Stateful(Protocol):
    """A lane that can look into its program, which may hold state from call to call."""

    def state(self) -> Any:
        """Wait for the latest call; what the program holds now, for ``changes_since``."""
        ...

    def changes_since(self, before: Any) -> Sequence[str]:
        """Wait; the names of what the program holds that differs from ``before``, with shapes or sizes that do."""
        ...


class RemoteSamples(Protocol):
    """Samples that another process takes, one of a series of calls after the other."""

    def take(self) -> tuple[int, ...]:
        """The next one, in ns."""
        ...

    def close(self) -> None:
        """Release what it holds."""
        ...


@runtime_checkable
class RemoteLane(Protocol):
    """A lane of another process, which reads the clock itself: no sample has the time of a request to it.

    ``ahead``: samples may be taken some at a time, within a millisecond, before the first of them is returned.
    """

    def timed(self, *, ahead: bool) -> Callable[[], int]:
        """What returns the host's nanoseconds of one call; on a GPU each call finds its stream empty."""
        ...

    def calls(self, count: int) -> None:
        """Issue so many calls back to back."""
        ...

    def closed_loops(self, count: int, policy: Policy, least: int) -> list[Any]:
        """The first ``count`` lanes called back to back, each by a thread of its own, ``least`` calls at least: of each
        the time of its start and of the end of each call, int64 ns.
        """
        ...

    def issue(self, start: int, end: int) -> None:
        """Record the event ``start``, issue one call and record ``end``, on the lane's stream."""
        ...

    def requests(self, *, transfers: bool, ahead: bool) -> RemoteSamples:
        """Samples of one request at a time on a GPU: the host's whole, and H2D, compute and D2H by events."""
        ...

    def pipelines(self, count: int, threads: int, policy: Policy, *, transfers: bool) -> tuple[int, Any]:
        """The first ``count`` lanes with copies overlapped, shared out to ``threads`` threads: the window in ns, and of
        each call in the order of their ends total, enqueue, H2D, compute and D2H, int64 ns of shape (calls, 5).
        """
        ...

    def usage(self) -> tuple[int, int]:
        """CPU time (ns) and preemptions of its process so far."""
        ...


@runtime_checkable
class RemotePrepared(Protocol):
    """A prepared model that runs in another process, whose number is ``pid``."""

    @property
    def pid(self) -> int:
        """The process."""
        ...

    @property
    def overhead_ns(self) -> int:
        """What its loop adds to a call: the median of what samples of a call that does nothing read, ns."""
        ...

    def driver(self, gate: int) -> Any:
        """CUDA as that process has it (``bench.measure.cuda.Driver``); ``gate`` is the descriptor of the page that
        holds streams.
        """
        ...
