"""Lanes of the C++ program, as the worker sees them: a model loaded there, and requests to time it."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from bench.errors import CaseError
from bench.model.lanes import Buffer
from bench.model.seam import Context
from bench.model.suite import Case, Policy
from bench.runtimes import memory
from bench.runtimes.cpp.driver import RemoteDriver
from bench.runtimes.cpp.program import Runner, facts_of, fields_of
from bench.tensors import Array

# Samples that one request asks for: as many as take this time, and at most so many.
_AHEAD_NS, _AHEAD = 1_000_000, 64
_DTYPES = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16", "I64": "int64", "I32": "int32",
    "I16": "int16", "I8": "int8", "U8": "uint8", "BOOL": "bool", "C64": "complex64", "C128": "complex128",
    "U16": "uint16", "U32": "uint32", "U64": "uint64",
}  # fmt: skip


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """What the program loads: ``artifact`` by ``runtime``, whose outputs have these names in their order.

    ``tensors`` are names in an engine by those in the suite; ``host_code``: the engine may run code on the host;
    ``strategies`` are settings of TensorRT-RTX.
    """

    runtime: str
    artifact: Path
    outputs: tuple[str, ...] = ()
    channels_last: bool = False
    by_name: bool = False
    optimize_for_inference: bool = False
    plugins: tuple[Path, ...] = ()
    tensors: Mapping[str, str] = {}
    host_code: bool = False
    strategies: Mapping[str, str] = {}


class CppLane:
    """One lane of the program: ``bench.model.lanes.Lane`` and ``RemoteLane``."""

    def __init__(self, runner: Runner, number: int, stream: int | None, scratch: Path) -> None:
        self.stream = stream
        self._runner = runner
        self._number = number
        self._scratch = scratch

    def call(self) -> None:
        """Issue one inference."""
        self.calls(1)

    def calls(self, count: int) -> None:
        """Issue so many calls back to back."""
        self._runner.ask("call", self._number, count)

    def inputs(self) -> Mapping[str, Buffer]:
        """The resident inputs, in the memory of the program."""
        return self._buffers("in")

    def outputs(self) -> Mapping[str, Buffer]:
        """The outputs of the latest call, in the memory of the program."""
        return self._buffers("out")

    def poison(self) -> None:
        """Fill the outputs with NaN or 0x7F bytes."""
        self._runner.ask("poison", self._number)

    def read(self) -> dict[str, Array]:
        """The outputs of the latest call; float16 and bfloat16 come as float32."""
        return self._read("out")

    def changed_inputs(self) -> Sequence[str]:
        """The names of the inputs that do not hold the values of the case any more."""
        now = self._read("in")
        return [name for name, value in self._first_inputs.items() if now[name].tobytes() != value.tobytes()]

    def remember_inputs(self) -> None:
        """Keep the inputs' values, before the first call."""
        self._first_inputs = self._read("in")

    def timed(self, *, ahead: bool) -> Callable[[], int]:
        """Samples of the host's time of one call."""
        series = _Series(lambda count: self._runner.numbers("time", self._number, count).reshape(-1, 1), ahead)
        return lambda: series.take()[0]

    def closed_loops(self, count: int, policy: Policy, least: int) -> list[Array]:
        """A thread of the program for each of the first lanes."""
        numbers = self._runner.numbers(
            "loop", count, policy.warmup_calls, policy.warmup_ns, policy.throughput_ns, policy.max_time_ns, least
        )
        ends = np.cumsum(numbers[:count])
        return np.split(numbers[count:], ends[:-1])

    def issue(self, start: int, end: int) -> None:
        """Event, call, event."""
        self._runner.ask("issue", self._number, start, end)

    def requests(self, *, transfers: bool, ahead: bool) -> _Series:
        """Samples of whole requests and their parts."""
        runner, number = self._runner, self._number
        return _Series(
            lambda count: runner.numbers("latency", number, count, int(transfers)).reshape(-1, 4),
            ahead,
            lambda: runner.ask("latency", number, 0),
        )

    def pipelines(self, count: int, threads: int, policy: Policy, *, transfers: bool) -> tuple[int, Array]:
        """The window in ns, and the times of each call."""
        lead_ns = policy.warmup_ns if policy.warmup_calls else 0
        numbers = self._runner.numbers(
            "pipelines", count, threads, policy.warmup_calls, lead_ns, policy.throughput_ns, int(transfers)
        )
        return int(numbers[0]), numbers[1:].reshape(-1, 5)

    def usage(self) -> tuple[int, int]:
        """CPU time and preemptions of the program."""
        cpu_ns, preemptions, _ = self._runner.numbers("usage").tolist()
        return cpu_ns, preemptions

    def _buffers(self, which: str) -> dict[str, Buffer]:
        return {
            name: Buffer(ptr=int(address), nbytes=int(nbytes), shape=_shape(shape), dtype=dtype)
            for name, dtype, address, nbytes, shape in fields_of(self._runner.ask("buffers", self._number, which))
        }

    def _read(self, which: str) -> dict[str, Array]:
        path = self._scratch / f"{which}.bin"
        lines = fields_of(self._runner.ask("read", self._number, which, path))
        data, arrays, start = np.fromfile(path, np.uint8), {}, 0
        path.unlink()
        for name, dtype, _, nbytes, shape in lines:
            arrays[name] = memory.decode(data[start : start + int(nbytes)], dtype, _shape(shape))
            start += int(nbytes)
        return arrays


class CppPrepared:
    """A model that the program has loaded: ``bench.model.lanes.Prepared`` and ``RemotePrepared``.

    ``more`` are entries of the fairness report beside those that the program tells of.
    """

    captures_graphs = False
    max_lanes: int | None = None

    def __init__(self, runner: Runner, model: Model, case: Case, context: Context, more: Mapping[str, Any]) -> None:
        self._runner = runner
        self._more = more
        self._scratch = context.scratch
        self._lanes: list[CppLane] = []
        inputs = context.artifacts["reference"] / "inputs.safetensors"
        for line in _layout(inputs):
            runner.ask("set", "input", *line)
        for name in model.outputs:
            runner.ask("set", "output", name)
        for plugin in model.plugins:
            runner.ask("set", "plugin", plugin)
        for name, tensor in model.tensors.items():
            runner.ask("set", "tensor", name, tensor)
        for name, value in model.strategies.items():
            runner.ask("set", "strategy", name, value)
        on_gpu, optimized = context.device != "cpu", model.optimize_for_inference
        flags = (on_gpu, model.channels_last, model.by_name, optimized, model.host_code)
        runner.ask("load", model.runtime, model.artifact, inputs, case.precision, case.streams, *map(int, flags))

    @property
    def pid(self) -> int:
        """The program's process."""
        return self._runner.pid

    @property
    def overhead_ns(self) -> int:
        """What one sample of a call that does nothing reads there: the median of 10,001."""
        return self._runner.number("overhead")

    def driver(self, gate: int) -> RemoteDriver:
        """CUDA as the program has it."""
        return RemoteDriver(self._runner, gate)

    def lanes(self, count: int) -> Sequence[CppLane]:
        """The first ``count`` lanes, created on first use. OutOfMemory where there is no room for one."""
        if len(self._lanes) < count:
            streams = [line.partition("=")[2] for line in self._runner.ask("lanes", count).decode().splitlines()]
            for number in range(len(self._lanes), count):
                lane = CppLane(self._runner, number, int(streams[number]) or None, self._scratch)
                lane.remember_inputs()
                self._lanes.append(lane)
        return self._lanes[:count]

    def fairness(self) -> dict[str, Any]:
        """The same keys as of the runtime in Python, ``executor``, and the compiler of the program."""
        facts = facts_of(self._runner.ask("facts"))
        report: dict[str, Any] = {"graph_capture": "none", "executor": "cpp"}
        report["runner_compiler"] = self._runner.facts.get("compiler", "")
        if "tf32_matmul" in facts:
            report["tf32"] = {name: facts.pop(f"tf32_{name}") == "1" for name in ("matmul", "cudnn")}
        flags = ("onednn_allowed", "inference_mode", *(("cudnn_benchmark",) if self._lanes[0].stream else ()))
        report |= {name: facts[name] == "1" for name in flags if name in facts}
        report |= {name: int(facts[name]) for name in ("threads", "interop_threads") if name in facts}
        return report | dict(self._more)

    def close(self) -> None:
        """Let go of the lanes; the program is ended by who started it."""
        self._lanes.clear()


class _Series:
    """Samples that are asked for some at a time; ``request`` returns so many rows."""

    def __init__(self, request: Callable[[int], Array], ahead: bool, end: Callable[[], object] = lambda: None) -> None:
        self._request = request
        self._end = end
        self._ahead = ahead
        self._count = 1
        self._rows: list[tuple[int, ...]] = []

    def take(self) -> tuple[int, ...]:
        """The next sample, in ns."""
        if not self._rows:
            rows = self._request(self._count).tolist()
            if not rows:
                raise CaseError("the C++ runner has returned no sample")
            self._rows = [tuple(row) for row in reversed(rows)]
            if self._ahead:
                longest = max(1, *(row[0] for row in rows))
                self._count = max(1, min(_AHEAD, 2 * self._count, _AHEAD_NS // longest))
        return self._rows.pop()

    def close(self) -> None:
        """Release what the program holds for it."""
        self._end()


def _layout(path: Path) -> list[tuple[str, str, int, int, str]]:
    """Of each array of a safetensors file its name, dtype, place and size in bytes, and shape."""
    with path.open("rb") as file:
        (size,) = struct.unpack("<Q", file.read(8))
        header = json.loads(file.read(size))
    header.pop("__metadata__", None)
    return [
        (
            name,
            _DTYPES[entry["dtype"]],
            8 + size + entry["data_offsets"][0],
            entry["data_offsets"][1] - entry["data_offsets"][0],
            " ".join(map(str, entry["shape"])),
        )
        for name, entry in header.items()
    ]


def _shape(text: str) -> tuple[int, ...]:
    return tuple(int(size) for size in text.split())
