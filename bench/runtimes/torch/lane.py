"""Lanes over a PyTorch callable: a stream and resident inputs each, CUDA graphs where the case asks for them."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.errors import CaseError, Unsupported
from bench.model.lanes import Buffer
from bench.model.seam import Context
from bench.model.suite import Case
from bench.runtimes.torch import errors, memory, models, streams
from bench.runtimes.torch.options import TorchOptions
from bench.runtimes.torch.outputs import flatten_outputs
from bench.runtimes.torch.state import Snapshot, changes, snapshot
from bench.tensors import Array

if TYPE_CHECKING:
    import torch

Run = Callable[[dict[str, "torch.Tensor"]], Any]
# torch.cuda.Stream, on which graphs are captured, gives 32 streams in turn, for every further one an old one.
_STREAMS = 32
# TorchScript profiles the first call and compiles in the second; cuDNN and cuBLAS choose kernels in the first.
_CALLS_BEFORE_CAPTURE = 3
# What torch says where a model computes gradients in its forward and they are switched off.
_NEEDS_GRADIENTS = re.compile(r"inference tensor|requires?_grad|require grad|grad_fn|used in the graph", re.IGNORECASE)
_NO_CAPTURE = "the call cannot be captured in a CUDA graph (cuda_graph: off runs it without)"
_NOT_CALLED = object()


class TorchLane:
    """One stream, inputs that stay, and the outputs of the latest call.

    ``call`` makes the lane's stream current in the calling thread and leaves it so (about 1 us; entering and leaving a
    context would cost several). inference_mode belongs to a thread too, so each call enters it (0.6 us). A model that
    computes gradients in its forward cannot run in it: the first call then goes on to no_grad, and to enable_grad.

    ``program_tensors`` returns the tensors that the program owns at that moment. ``fresh_inputs`` creates the inputs
    again, on the host, for ``changed`` to compare with. ``program`` is what ``state`` looks into. ``fixed_outputs``
    says that each call must write its outputs to the memory of those before.
    """

    def __init__(
        self,
        run: Run,
        inputs: dict[str, torch.Tensor],
        program_tensors: Callable[[], Iterable[torch.Tensor]],
        names: tuple[str, ...],
        fresh_inputs: Callable[[], Mapping[str, torch.Tensor]] = dict,
        *,
        program: Any = None,
        fixed_outputs: bool = False,
    ) -> None:
        import torch

        device = next((tensor.device for tensor in inputs.values()), torch.device("cpu"))
        self._on: Any = None
        self.stream: int | None = None
        if device.type == "cuda":
            self._use(torch.cuda.Stream(device) if fixed_outputs else streams.ordered(device))
        self._set_stream = torch.cuda.set_stream
        self._modes: list[Any] = [torch.enable_grad(), torch.no_grad(), torch.inference_mode()]
        self._mode = self._modes.pop()
        self._run = run
        self._names = names
        self._inputs = inputs
        self._fresh_inputs = fresh_inputs
        self._program_tensors = program_tensors
        self._latest: Any = _NOT_CALLED
        self._graph: Any = None
        self._program = program
        self._fixed_outputs = fixed_outputs
        self._returned_again: set[int] = set()

    def _use(self, stream: Any) -> None:
        import torch

        self._on = stream
        self.stream = stream.cuda_stream
        torch.cuda.synchronize(stream.device)  # the inputs were copied, and the model loaded, on another stream

    def call(self) -> None:
        """One inference; on CUDA it is only issued."""
        if self._on is not None:
            self._set_stream(self._on)
        if self._graph is not None:
            self._graph.replay()
            return
        try:
            with self._mode:
                self._latest = self._run(self._inputs)
        except RuntimeError as error:
            if self._latest is not _NOT_CALLED or not self._modes or not _NEEDS_GRADIENTS.search(str(error)):
                raise
            self._mode = self._modes.pop()
            self.call()

    def capture(self) -> None:
        """Record the call into a CUDA graph, which later calls replay. Unsupported if it cannot be captured.

        On a stream of torch's own: torch 2.12 and 2.13 use the default stream within a capture, which fails where the
        captured stream is ordered with it.
        """
        import torch

        self._use(torch.cuda.Stream(self._on.device))
        for _ in range(_CALLS_BEFORE_CAPTURE - 1):
            self.call()
        self._observe_outputs()
        self._on.synchronize()
        graph = torch.cuda.CUDAGraph()
        try:
            with (
                torch.cuda.graph(graph, stream=self._on, capture_error_mode="thread_local"),
                self._mode,  # not before: a replay of torch 2.2 writes to tensors that the graph was begun with
                errors.translate(_NO_CAPTURE),
            ):
                self._latest = self._run(self._inputs)
        except RuntimeError as error:
            # Ending a broken capture raises too, and hides why it broke.
            cause = (
                error.__context__
                if isinstance(error.__context__, CaseError)
                else Unsupported(f"{_NO_CAPTURE}: {error}")
            )
            raise cause from error
        self._graph = graph

    def inputs(self) -> Mapping[str, Buffer]:
        """The resident input tensors."""
        return {name: memory.buffer(tensor) for name, tensor in self._inputs.items()}

    def outputs(self) -> Mapping[str, Buffer]:
        """The tensors that the latest call returned."""
        return {name: memory.buffer(tensor) for name, tensor in self._tensors().items()}

    def poison(self) -> None:
        """Fill the outputs of the latest two calls with NaN or 0x7F bytes, except memory of inputs or of the program.

        The program's is also what it returns again while the output of the call before is alive, e.g. a cached tensor:
        one call more shows it. Not so where calls must write to the same memory, in which nothing may be left: of a
        captured graph only what the calls before the capture returned again is spared.
        """
        import torch

        earlier: Iterable[torch.Tensor] = self._tensors().values()
        if self._graph is None and not self._fixed_outputs:
            earlier = self._observe_outputs()
        in_use = memory.storages([*self._inputs.values(), *self._program_tensors()]) | self._returned_again
        with self._current(), torch.inference_mode():
            for tensor in (*earlier, *self._tensors().values()):
                if tensor.numel() and not memory.storages([tensor]) & in_use:
                    floats = tensor.is_floating_point() or tensor.is_complex()
                    tensor.untyped_storage().fill_(0xFF if floats else 0x7F)

    def _observe_outputs(self) -> Iterable[torch.Tensor]:
        """Call once, and note the memory that this call and the one before returned; the outputs of the one before."""
        earlier = tuple(self._tensors().values())
        self.call()
        self._returned_again = memory.storages(earlier) & memory.storages(self._tensors().values())
        return earlier

    def read(self) -> dict[str, Array]:
        """Wait, and copy the latest outputs to the host: narrow floats as float32."""
        import torch

        with self._current(), torch.inference_mode():
            if self._on is not None:
                self._on.synchronize()
            arrays = {}
            for name, tensor in self._tensors().items():
                narrow = tensor.is_floating_point() and tensor.element_size() < 4
                wide = torch.float32 if narrow else torch.complex64 if tensor.dtype == torch.complex32 else tensor.dtype
                copy = tensor.detach().to("cpu", wide).resolve_conj().resolve_neg()
                arrays[name] = copy.contiguous().numpy().copy()
            return arrays

    @property
    def inference_mode(self) -> bool:
        """Whether calls run in inference_mode: not of a model that computes gradients."""
        return len(self._modes) == 2

    def state(self) -> Snapshot:
        """Wait; what the program holds now."""
        with self._current():
            if self._on is not None:
                self._on.synchronize()
            return snapshot(self._program)

    def changes_since(self, before: Snapshot) -> list[str]:
        """What the program holds that differs from ``before``, by name."""
        return changes(before, self.state())

    def changed_inputs(self) -> list[str]:
        """Wait; the inputs whose bits or shape changed. Compared on the host, to leave the GPU's peak as it is."""
        import torch

        with self._current(), torch.inference_mode():
            if self._on is not None:
                self._on.synchronize()
            fresh = self._fresh_inputs()
            return [name for name in fresh if not memory.same_bits(self._inputs[name].cpu(), fresh[name])]

    def restore_inputs(self) -> None:
        """Wait, and give the inputs that the model has changed in place their values again, in new tensors."""
        changed = self.changed_inputs()
        if changed:
            fresh = self._fresh_inputs()
            self._inputs.update({name: fresh[name].to(self._inputs[name].device) for name in changed})

    def _tensors(self) -> dict[str, torch.Tensor]:
        if self._latest is _NOT_CALLED:
            raise CaseError("the lane has no outputs before its first call")
        outputs = flatten_outputs(self._latest)
        return dict(zip(self._names, outputs.values(), strict=True)) if self._names else outputs

    def _current(self) -> contextlib.AbstractContextManager[Any]:
        import torch

        return contextlib.nullcontext() if self._on is None else torch.cuda.stream(self._on)


class TorchPrepared:
    """A PyTorch callable that takes a dict of tensors, with any number of lanes over it.

    ``names`` are the outputs' names if the callable returns a plain tuple. ``program_tensors`` returns the tensors
    that the program owns, which may be outputs too; ``program`` is the module that holds them. ``more`` returns further
    entries of the fairness report. ``runs_modules`` says that each call runs the modules of ``program`` in Python.
    """

    def __init__(
        self,
        case: Case,
        options: TorchOptions,
        context: Context,
        run: Run,
        *,
        names: tuple[str, ...] = (),
        program_tensors: Callable[[], Iterable[torch.Tensor]] = tuple,
        program: Any = None,
        captures_graphs: bool = False,
        more: Callable[[], dict[str, Any]] = dict,
        runs_modules: bool = False,
    ) -> None:
        self.captures_graphs = captures_graphs
        self._runs_modules = runs_modules and not case.cuda_graph
        # Inductor's graphs write every call's outputs to the same memory, so two lanes would share it.
        self.max_lanes: int | None = 1 if captures_graphs else _STREAMS if case.cuda_graph else None
        self._case = case
        self._options = options
        self._context = context
        self._run = run
        self._names = names
        self._program_tensors = program_tensors
        self._program = program
        self._more = more
        self._lanes: list[TorchLane] = []

    def lanes(self, count: int) -> Sequence[TorchLane]:
        """The first ``count`` lanes, created on first use; their graphs are captured here.

        OutOfMemory where there is no room for one.
        """
        count = min(count, self.max_lanes or count)
        while len(self._lanes) < count:
            with errors.translate():
                inputs = self.example(self._context.inputs)
                lane = TorchLane(
                    self._run,
                    inputs,
                    self._program_tensors,
                    self._names,
                    self._fresh_inputs,
                    program=self._program,
                    fixed_outputs=self.captures_graphs,
                )
                if self._case.cuda_graph:
                    lane.capture()
            self._lanes.append(lane)
        return self._lanes[:count]

    def example(self, arrays: Mapping[str, Array]) -> dict[str, torch.Tensor]:
        """New input tensors on the case's device."""
        return models.to_tensors(arrays, self._case, self._options.memory_format, self._context.device)

    def _fresh_inputs(self) -> dict[str, torch.Tensor]:
        return models.to_tensors(self._context.inputs, self._case, self._options.memory_format, "cpu")

    def fairness(self) -> dict[str, Any]:
        """The common report, and what the backend adds."""
        captor = "backend" if self.captures_graphs else "harness" if self._case.cuda_graph else "none"
        report = _fairness(self._case, self._options, self._context.device, captor)
        report["inference_mode"] = all(lane.inference_mode for lane in self._lanes)
        return report | self._more()

    def modules(self) -> dict[str, Any]:
        """The modules that calls run in Python, by their paths below the model; none of a ScriptModule."""
        import torch

        if not self._runs_modules or not isinstance(self._program, torch.nn.Module):
            return {}
        named = {path: module for path, module in self._program.named_modules() if path}
        return {path: module for path, module in named.items() if not isinstance(module, torch.jit.ScriptModule)}

    def close(self) -> None:
        """Release the model and the memory of all lanes."""
        self._lanes.clear()
        self._run = _raise_closed
        self._program_tensors = tuple
        self._program = None
        self._more = dict


def _raise_closed(inputs: Any) -> Any:
    raise CaseError("the model is closed")


def _fairness(case: Case, options: TorchOptions, device: str, graph_capture: str) -> dict[str, Any]:
    """What a reader must know to compare a PyTorch case with another; the same keys for every PyTorch backend."""
    import torch

    report: dict[str, Any] = {
        "tf32": {
            "matmul": bool(torch.backends.cuda.matmul.allow_tf32),
            "cudnn": bool(torch.backends.cudnn.allow_tf32),
        },
        "memory_format": options.memory_format,
        "autocast": options.autocast,
        "inference_mode": True,
        "threads": torch.get_num_threads(),
        "interop_threads": torch.get_num_interop_threads(),
        # Which operators take it is decided call by call, by type, layout and CPU.
        "onednn_allowed": bool(torch.backends.mkldnn.is_available() and torch._C._get_mkldnn_enabled()),
        "graph_capture": graph_capture,
    }
    if device != "cpu":
        report["cudnn_benchmark"] = bool(torch.backends.cudnn.benchmark)
    return report
