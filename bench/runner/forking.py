"""What a template does before it forks, and a forked worker before it works: imports, and checks that a copy is whole.

A fork has one thread. Those that were started by imports are missing in it, and a device cannot be used that the
template has started: such a template is refused. How many GPUs there are is looked up by a fork of its own.
"""

from __future__ import annotations

import bisect
import contextlib
import ctypes
import functools
import gc
import importlib
import os
import platform
import resource
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.errors import Unsupported
from bench.system import template, variables

# Libraries that prepare their threads for a fork, and start them again in it when they are needed: OpenBLAS, and Apache
# Arrow with its jemalloc, which pandas imports, and scikit-learn by it, and so several models of transformers.
_RESTARTING = ("openblas", "libarrow")
# Before torch 2.9 importing Inductor starts the processes that compile for it, which else start when there is work.
_WHILE_IMPORTING = {"TORCH_WARM_POOL": "0"}
_NOT_INITIALISED = 3  # CUDA_ERROR_NOT_INITIALIZED
_COUNT = "_cuda_getDeviceCount"
_MOST, _NO_ANSWER = 200, 255  # exit codes of a fork that answers a question
_STACK = 1 << 14
# A word whose lower half is a small number, e.g. the operation of a futex, has the upper half of an older address: it
# is none itself, though a library may lie across that 4 GiB boundary.
_LOW_HALF, _SMALL = 0xFFFFFFFF, 1 << 16
_LOOKS, _BETWEEN_LOOKS_S = 5, 0.02
_NOBODYS = ("libc.so", "libpthread", "ld-linux", "[")  # code on the stack of every thread


def prepare(imports: tuple[str, ...]) -> None:
    """Import each ``module`` or ``module:name``, and get this process ready to be forked. Unsupported if it is not.

    Without the garbage collector, which finds little in imports and takes a quarter of their time; workers have it, and
    what builds a model (``collecting``).
    """
    gc.disable()
    with variables.override(_WHILE_IMPORTING), devices_counted_in_a_fork():
        for spec in imports:
            module, _, name = spec.partition(":")
            value = importlib.import_module(module)
            if name:
                getattr(value, name)
    settle("an import")


@contextlib.contextmanager
def devices_counted_in_a_fork() -> Iterator[None]:
    """In the block torch counts its CUDA devices, as for ``torch.cuda.is_available``, by a fork, if it is imported.

    To count them initialises the driver, and importing Inductor of torch 2.11 does. Torch's public functions stay as
    they are, as Dynamo keeps tables of them.
    """
    own = getattr(sys.modules.get("torch"), "_C", None)
    count = getattr(own, _COUNT, None)  # a build for CPUs has none
    if count is None:
        yield
        return
    setattr(own, _COUNT, functools.cache(lambda: _answer_of_a_fork(count, otherwise=0)))
    try:
        yield
    finally:
        setattr(own, _COUNT, count)


@contextlib.contextmanager
def collecting() -> Iterator[None]:
    """The garbage collector works in the block, and leaves nothing at its end: what is garbage when ``settle`` freezes
    all objects stays in the memory of each worker, and building a model may leave whole tensors. It looks only at what
    came after the last ``settle``, so it takes little time.
    """
    gc.enable()
    try:
        yield
    finally:
        gc.collect()
        gc.disable()


def settle(cause: str) -> None:
    """Get this process ready to be forked after ``cause``, as messages name it; Unsupported if it cannot be."""
    problem = obstacle(cause)
    if problem:
        raise Unsupported(problem)
    gc.freeze()  # the collector of a worker would write to each object, and so copy it; a collection here does too


def refresh() -> None:
    """Let the collector work again, and seed what a new process seeds from the system: ``random`` does it by itself,
    and a GPU's generators have a fixed seed.
    """
    gc.enable()
    if "numpy.random" in sys.modules:
        sys.modules["numpy.random"].seed()
    if "torch" in sys.modules:
        sys.modules["torch"].default_generator.seed()


@contextlib.contextmanager
def memory_limit(room: int) -> Iterator[None]:
    """At most ``room`` bytes more of memory for this process in the block, without a limit where it is 0: what asks for
    more fails, before the system has none.
    """
    used = _data_bytes()
    if not room or used is None:
        yield
        return
    soft, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limits = [used + room, *(each for each in (soft, hard) if each != resource.RLIM_INFINITY)]
    resource.setrlimit(resource.RLIMIT_DATA, (min(limits), hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (soft, hard))


def _data_bytes() -> int | None:
    """What counts against RLIMIT_DATA: memory that is no file's, used or only reserved. None if it is not known."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next((int(line.split()[1]) << 10 for line in lines if line.startswith("VmData:")), None)


def obstacle(cause: str = "an import") -> str:
    """Why a fork of this process would not be whole after ``cause``; empty if it would."""
    children = Path(f"/proc/self/task/{os.getpid()}/children")
    if children.exists() and children.read_text().split():
        return f"{cause} has started processes"
    owners = [each for each in _owners_of_threads() if not any(name in each for name in _RESTARTING)]
    if owners:
        known = ", ".join(sorted({each for each in owners if each}))
        return f"{cause} has started a thread{known and f' of {known}'}"
    return _started_device(cause)


def _started_device(cause: str) -> str:
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            target = os.readlink(f"/proc/self/fd/{fd}")
            if target.startswith("/dev/nvidia"):
                return f"{cause} has opened {target}"
    torch = sys.modules.get("torch")
    if torch is not None and (
        torch.cuda.is_initialized() or _answer_of_a_fork(torch.cuda._is_in_bad_fork, otherwise=True)
    ):
        return f"{cause} has started CUDA"
    try:
        driver = ctypes.CDLL("libcuda.so.1", mode=os.RTLD_NOLOAD | os.RTLD_LAZY)
    except OSError:  # it is not loaded
        return ""
    count = ctypes.c_int()
    if driver.cuDeviceGetCount(ctypes.byref(count)) != _NOT_INITIALISED:
        return f"{cause} has initialised the CUDA driver"
    return ""


def _answer_of_a_fork(question: Callable[[], int], *, otherwise: int) -> int:
    """The answer, up to 200, that a fork of this process gives; ``otherwise`` if it gives none."""
    pid = template.fork()
    if not pid:
        code = _NO_ANSWER
        try:
            code = min(question(), _MOST)
        finally:
            os._exit(code)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    return code if 0 <= code <= _MOST else otherwise


def _owners_of_threads() -> list[str]:
    """For each thread but this one the file name of the library whose code it waits in; empty if that is not known."""
    others = [name for name in os.listdir("/proc/self/task") if int(name) != os.getpid()]
    return [_owner(thread, _code()) for thread in others]


def _owner(thread: str, code: list[tuple[int, int, str]]) -> str:
    """The innermost library on the stack of a thread; no further one, as what lies there may be of calls before."""
    for _ in range(_LOOKS):
        with contextlib.suppress(OSError):  # it has ended
            for word in _stack(thread):
                if word & _LOW_HALF < _SMALL:
                    continue
                index = bisect.bisect_right(code, (word, sys.maxsize, "")) - 1
                if index < 0 or word >= code[index][1] or code[index][2].startswith(_NOBODYS):
                    continue
                if follows_call(word):
                    return code[index][2]
        # It has begun just now. No event tells when another library's thread waits; one that never does is refused.
        time.sleep(_BETWEEN_LOOKS_S)
    return ""


def follows_call(address: int) -> bool:
    """Whether the instruction that ends at ``address`` of this process's memory can be a call, as that before each
    address to return to: a stack has numbers that look like addresses too. True where it cannot be told, on processors
    other than x86-64 among them. The encodings are those of CALL, opcodes E8 and FF /2.
    """
    if platform.machine() != "x86_64":
        return True
    try:
        with open("/proc/self/mem", "rb", buffering=0) as memory:
            memory.seek(address - 7)
            code = memory.read(7)
    except OSError:
        return True
    indirect = (code[-size] == 0xFF and code[1 - size] & 0x38 == 0x10 for size in (2, 3, 4, 6, 7))
    return len(code) < 7 or code[-5] == 0xE8 or any(indirect)


def _code() -> list[tuple[int, int, str]]:
    """The start, end and file name of all mapped code, in order."""
    regions = []
    for line in Path("/proc/self/maps").read_text(errors="replace").splitlines():
        span, access, *rest = line.split(maxsplit=5)
        if "x" in access and len(rest) == 4:
            start, end = (int(part, 16) for part in span.split("-"))
            regions.append((start, end, os.path.basename(rest[3])))
    return sorted(regions)


def _stack(thread: str) -> Iterator[int]:
    """The words on the stack of a thread that waits in the kernel."""
    words = Path(f"/proc/self/task/{thread}/syscall").read_text().split()
    if len(words) < 2:
        return  # it runs
    pointer = int(words[-2], 16)
    with open("/proc/self/mem", "rb", buffering=0) as memory:
        size = _STACK
        while size >= 64:
            memory.seek(pointer)
            try:
                data = memory.read(size)
            except OSError:  # beyond the stack's end
                size //= 2
                continue
            yield from memoryview(data[: len(data) & -8]).cast("Q")
            return
