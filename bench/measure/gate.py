"""The flag that holds a stream: one word of shared memory that this process opens, or its parent when it cannot."""

from __future__ import annotations

import mmap
import os

# The shared page that the parent watches: three u32, the flag and the numbers of the latest arm and release.
PAGE = 4096
FLAG, ARM, RELEASE = range(3)


class Gate:
    """The flag that holds a stream, in a page shared with the parent, which can open it when this process cannot.

    The process arms the gate with a rising number n: the stream waits for flag >= n, ``release`` writes n. A parent
    that sees arm > release for too long writes a flag far ahead: the stream continues, and ``release`` returns False.
    The same word opens the gate and reports it, so a late parent never spoils a hold unnoticed.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self._map = mmap.mmap(fd, PAGE)
        self._words = memoryview(self._map).cast("I")

    @property
    def address(self) -> int:
        """Where the page lies in this process."""
        import numpy as np

        return int(np.frombuffer(self._words, np.uint32).ctypes.data)

    @property
    def stuck(self) -> int | None:
        """The number that is armed and not released, None if the gate is open."""
        return self._words[ARM] if self._words[ARM] != self._words[RELEASE] else None

    def arm(self) -> int:
        """Close the gate, also one that the parent has opened; the number that the stream must wait for."""
        self._words[FLAG] = number = self._words[RELEASE]  # streams of earlier holds still pass
        self._words[ARM] = value = number + 1
        return int(value)

    def release(self) -> bool:
        """Open the gate; False if the parent had done so since it was armed."""
        in_time = self._words[FLAG] == self._words[RELEASE]
        self._words[FLAG] = self._words[ARM]
        self._words[RELEASE] = self._words[ARM]
        return bool(in_time)

    def trip(self) -> None:
        """Open the gate, from the parent."""
        self._words[FLAG] = (self._words[ARM] + (1 << 30)) & 0xFFFFFFFF

    def close(self) -> None:
        """Unmap the page."""
        self._words.release()
        self._map.close()
        os.close(self.fd)


def create_gate() -> Gate:
    """A gate in memory that a child can open by its file descriptor (CUDA cannot page-lock a file on a disk)."""
    fd = os.memfd_create("trtbench-gate", 0)
    os.ftruncate(fd, PAGE)
    return Gate(fd)
