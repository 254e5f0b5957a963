"""The names that a Profile has, from those of nsys: of functions without versions, of kernels as torch.profiler has
them.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Callable

# The runtime's functions end with the version that changed them last (cudaLaunchKernel_v7000), those of the driver's
# (cuMemcpyHtoDAsync_v2) are other functions.
_VERSION = re.compile(r"(_ptsz|_ptds)?(_v\d{4,})?\Z")


class Functions(dict[int, str]):
    """The names of functions by the numbers of their texts."""

    def __init__(self, strings: dict[int, str]) -> None:
        super().__init__()
        self._strings = strings

    def __missing__(self, number: int) -> str:
        self[number] = _VERSION.sub("", self._strings.get(number, f"call {number}"))
        return self[number]


class Kernels(dict[tuple[int | None, int], str]):
    """The names of kernels by the numbers of their mangled and their readable texts.

    nsys reads ``gemm<(int)128, T1>`` where the C++ library, and so torch.profiler, reads ``gemm<128, __half>``: the
    library's reading is taken where there is a mangled name and the library.
    """

    def __init__(self, strings: dict[int, str]) -> None:
        super().__init__()
        self._strings = strings
        self._demangle = demangler()

    def __missing__(self, numbers: tuple[int | None, int]) -> str:
        mangled, readable = numbers
        name = self._demangle(self._strings.get(mangled, "")) if mangled is not None else ""
        self[numbers] = name or self._strings.get(readable, "?")
        return self[numbers]


def demangler() -> Callable[[str], str]:
    """A function from a mangled C++ name to a readable one, or to ``""`` for a text that is none."""
    try:
        demangle = ctypes.CDLL("libstdc++.so.6").__cxa_demangle
        free = ctypes.CDLL(None).free
    except (OSError, AttributeError):  # a system without that library has nsys's own names
        return lambda text: ""
    demangle.argtypes = (ctypes.c_char_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.POINTER(ctypes.c_int))
    demangle.restype = ctypes.c_void_p
    free.argtypes = (ctypes.c_void_p,)

    def readable(text: str) -> str:
        if not text.startswith("_Z"):  # C names, as of Triton's kernels; __cxa_demangle takes some for types
            return ""
        result = demangle(text.encode(), None, None, ctypes.byref(ctypes.c_int()))
        if not result:
            return ""
        name = ctypes.string_at(result).decode("utf-8", "replace")
        free(result)
        return name

    return readable
