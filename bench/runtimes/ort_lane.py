"""A lane of ONNX Runtime: a session's inputs and outputs bound to memory of their own."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from bench.errors import Unsupported
from bench.model.lanes import Buffer
from bench.runtimes import memory
from bench.runtimes.onnx_manifest import Manifest
from bench.system.cleanup import Cleanup
from bench.tensors import Array

_DTYPES = {"float": "float32", "double": "float64"}
_BFLOAT16 = 16  # onnx.TensorProto.BFLOAT16


class OrtLane:
    """Bound memory over a session; on CUDA with a stream of its own."""

    def __init__(
        self,
        session: Any,
        manifest: Manifest,
        arrays: Mapping[str, Array],
        device: str,
        stream: int | None,
    ) -> None:
        import onnxruntime

        self.stream = stream
        self._device = device
        self._session = session
        self._binding = session.io_binding()
        self._run_options = onnxruntime.RunOptions()
        if stream is not None:
            self._run_options.add_run_config_entry("disable_synchronize_execution_providers", "1")
        self._kind, _, index = device.partition(":")
        self._index = int(index or 0)
        self._blocks: list[memory.Block] = []
        self._inputs: dict[str, Buffer] = {}
        self._outputs: dict[str, Buffer | None] = {}  # None: the runtime allocates it in each call
        with Cleanup() as cleanup:
            cleanup.callback(self._free)
            sizes = self._bind_inputs(manifest, arrays)
            self._bind_outputs(manifest, sizes)
            cleanup.pop_all()

    def call(self) -> None:
        """One inference; on CUDA it is only issued."""
        self._session.run_with_iobinding(self._binding, self._run_options)

    def inputs(self) -> Mapping[str, Buffer]:
        """The bound inputs."""
        return self._inputs

    def outputs(self) -> Mapping[str, Buffer]:
        """The bound outputs; those of unknown size lie where the latest call put them."""
        if all(self._outputs.values()):
            return {name: buffer for name, buffer in self._outputs.items() if buffer}
        buffers = {}
        for (name, buffer), value in zip(self._outputs.items(), self._binding.get_outputs(), strict=True):
            if buffer is None:
                shape, dtype = tuple(value.shape()), _dtype(value.data_type())
                nbytes = math.prod(shape) * memory.itemsize(dtype)
                buffer = Buffer(ptr=value.data_ptr(), nbytes=nbytes, shape=shape, dtype=dtype)
            buffers[name] = buffer
        return buffers

    def poison(self) -> None:
        """Fill the outputs with NaN, or 0x7F bytes."""
        self._wait()
        for buffer in self.outputs().values():
            memory.poison(buffer, self._device)

    def read(self) -> dict[str, Array]:
        """Wait, and copy the outputs to the host."""
        self._wait()
        return {name: memory.read(buffer, self._device) for name, buffer in self.outputs().items()}

    def close(self) -> None:
        """Free the memory and destroy the stream."""
        with Cleanup() as cleanup:
            if self.stream is not None:
                cleanup.callback(memory.cuda, "cudaStreamDestroy", self.stream)
            cleanup.callback(self._free)
            cleanup.callback(self._let_go)
            cleanup.callback(self._wait)

    def _free(self) -> None:
        with Cleanup() as cleanup:
            while self._blocks:
                cleanup.callback(self._blocks.pop().free)

    def _let_go(self) -> None:
        self._session = self._binding = None

    def _wait(self) -> None:
        if self.stream is not None:
            memory.cuda("cudaStreamSynchronize", self.stream)

    def _bind_inputs(self, manifest: Manifest, arrays: Mapping[str, Array]) -> dict[str, int]:
        """Bind the inputs that the file has (an exporter drops unused ones); the sizes of its named dimensions."""
        sizes: dict[str, int] = {}
        nodes = {node.name: node for node in self._session.get_inputs()}
        for name, file_name in manifest.file_inputs.items():
            node = nodes.get(file_name)
            dtype = _dtype(node.type) if node else str(arrays[name].dtype)
            data = memory.encode(arrays[name], dtype)
            buffer = self._new_buffer(arrays[name].shape, dtype)
            self._blocks[-1].write(data)
            self._inputs[name] = buffer
            if node:
                sizes |= {dim: n for dim, n in zip(node.shape, buffer.shape, strict=True) if isinstance(dim, str)}
                self._binding.bind_input(file_name, self._kind, self._index, _element(dtype), buffer.shape, buffer.ptr)
        return sizes

    def _bind_outputs(self, manifest: Manifest, sizes: Mapping[str, int]) -> None:
        for name, node in zip(manifest.outputs, self._session.get_outputs(), strict=True):
            shape = tuple(sizes.get(dim, dim) for dim in node.shape)
            if not all(isinstance(size, int) for size in shape):
                self._outputs[name] = None
                self._binding.bind_output(node.name, self._kind, self._index)
                continue
            dtype = _dtype(node.type)
            buffer = self._outputs[name] = self._new_buffer(shape, dtype)
            self._binding.bind_output(node.name, self._kind, self._index, _element(dtype), shape, buffer.ptr)

    def _new_buffer(self, shape: tuple[int, ...], dtype: str) -> Buffer:
        block, buffer = memory.allocate(shape, dtype, self._device)
        self._blocks.append(block)
        return buffer


def _dtype(type_name: str) -> str:
    """``tensor(float16)`` -> ``float16``. Unsupported for sequences, maps and strings."""
    name = type_name.removeprefix("tensor(").removesuffix(")")
    if not type_name.startswith("tensor(") or name == "string":
        raise Unsupported(f"the model has an input or output of type {type_name}")
    return _DTYPES.get(name, name)


def _element(dtype: str) -> Any:
    import numpy as np

    return _BFLOAT16 if dtype == "bfloat16" else np.dtype(dtype).type
