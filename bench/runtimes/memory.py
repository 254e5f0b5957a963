"""Host and CUDA memory for runtimes without torch, and copies between it and numpy arrays."""

from __future__ import annotations

import ctypes
import math
from typing import Any

import numpy as np

from bench.errors import OutOfMemory, Unavailable
from bench.model.distributions import install
from bench.model.lanes import Buffer
from bench.tensors import Array, bfloat16_bits, from_bfloat16

# What lies in memory, by numpy's dtype name; bfloat16, which numpy lacks, is two bytes.
ITEMSIZE = {"bfloat16": 2}


def itemsize(dtype: str) -> int:
    """Bytes of one element of a dtype named as in numpy, or ``bfloat16``."""
    return ITEMSIZE.get(dtype) or np.dtype(dtype).itemsize


def encode(array: Array, dtype: str) -> Array:
    """``array`` as its bytes in memory at ``dtype``; bfloat16 (uint16 bits) is rounded to nearest, ties to even."""
    if dtype != "bfloat16":
        return np.ascontiguousarray(array.astype(dtype))
    return bfloat16_bits(array)


def decode(data: Array, dtype: str, shape: tuple[int, ...]) -> Array:
    """An array of ``shape`` from its bytes (uint8); float16 and bfloat16 come as float32."""
    if dtype == "bfloat16":
        return from_bfloat16(data.view(np.uint16)).reshape(shape)
    array = data.view(dtype).reshape(shape)
    return array.astype(np.float32) if dtype == "float16" else array.copy()


class HostBlock:
    """Bytes of host memory."""

    def __init__(self, nbytes: int) -> None:
        self._bytes = np.empty(max(nbytes, 1), np.uint8)
        self.nbytes = nbytes
        self.ptr = int(self._bytes.ctypes.data)

    def write(self, data: Array) -> None:
        """Copy ``data`` in."""
        ctypes.memmove(self.ptr, data.ctypes.data, self.nbytes)

    def free(self) -> None:
        """Release the memory."""
        self._bytes = np.empty(0, np.uint8)


class CudaBlock:
    """Bytes of device memory. Copies wait for the device."""

    def __init__(self, nbytes: int) -> None:
        self.nbytes = nbytes
        self.ptr = int(cuda("cudaMalloc", max(nbytes, 1)))

    def write(self, data: Array) -> None:
        """Copy ``data`` in."""
        cuda("cudaMemcpy", self.ptr, data.ctypes.data, self.nbytes, _kind("cudaMemcpyHostToDevice"))

    def free(self) -> None:
        """Free the memory."""
        cuda("cudaFree", self.ptr)


Block = HostBlock | CudaBlock


def block(nbytes: int, device: str) -> Block:
    """New memory on ``device``; OutOfMemory if there is none left."""
    return HostBlock(nbytes) if device == "cpu" else CudaBlock(nbytes)


def allocate(shape: tuple[int, ...], dtype: str, device: str) -> tuple[Block, Buffer]:
    """New memory on ``device`` for a tensor, and its description as a tensor; OutOfMemory if there is none left."""
    memory = block(math.prod(shape) * itemsize(dtype), device)
    return memory, Buffer(ptr=memory.ptr, nbytes=memory.nbytes, shape=shape, dtype=dtype)


def read(buffer: Buffer, device: str) -> Array:
    """A copy of a tensor on ``device``; float16 and bfloat16 come as float32."""
    return decode(copy_bytes(buffer.ptr, buffer.nbytes, device), buffer.dtype, buffer.shape)


def poison(buffer: Buffer, device: str) -> None:
    """Fill a tensor on ``device`` with NaN, or 0x7F bytes."""
    fill(buffer.ptr, buffer.nbytes, 0xFF if "float" in buffer.dtype else 0x7F, device)


def copy_bytes(ptr: int, nbytes: int, device: str) -> Array:
    """``nbytes`` bytes at an address of ``device``, as uint8."""
    data = np.empty(nbytes, np.uint8)
    if device == "cpu":
        ctypes.memmove(data.ctypes.data, ptr, nbytes)
    else:
        cuda("cudaMemcpy", data.ctypes.data, ptr, nbytes, _kind("cudaMemcpyDeviceToHost"))
    return data


def fill(ptr: int, nbytes: int, byte: int, device: str) -> None:
    """Set ``nbytes`` bytes at an address of ``device``."""
    if device == "cpu":
        ctypes.memset(ptr, byte, nbytes)
    else:
        cuda("cudaMemset", ptr, byte, nbytes)
        cuda("cudaDeviceSynchronize")


def new_stream() -> int:
    """The raw handle of a new CUDA stream that does not wait for the default one."""
    return int(cuda("cudaStreamCreateWithFlags", runtime_api().cudaStreamNonBlocking))


def cuda(function: str, *arguments: Any) -> Any:
    """Call a function of the CUDA runtime; its result. OutOfMemory or RuntimeError if it fails."""
    runtime = runtime_api()
    status, *result = getattr(runtime, function)(*arguments)
    if status == runtime.cudaError_t.cudaErrorMemoryAllocation:
        raise OutOfMemory(f"{function}: the GPU has no memory left", fix="a smaller batch, or a narrower precision")
    if status != runtime.cudaError_t.cudaSuccess:
        raise RuntimeError(f"{function} failed: {status.name}")
    return result[0] if result else None


def runtime_api() -> Any:
    """The module of the CUDA runtime. Unavailable if it is not installed."""
    try:
        from cuda.bindings import runtime
    except ImportError as error:
        raise Unavailable(f"CUDA cannot be called: {error}", fix=install("cuda.bindings")) from error
    return runtime


def _kind(name: str) -> Any:
    return getattr(runtime_api().cudaMemcpyKind, name)
