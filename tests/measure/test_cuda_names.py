"""Every name of the CUDA driver and runtime APIs that the code uses is one that cuda-bindings has."""

from __future__ import annotations

import ast
import enum
import re
from pathlib import Path
from types import ModuleType

import pytest

import bench

cuda = pytest.importorskip("cuda.bindings", reason="pip install cuda-bindings (part of the extra dev)")
NAME = re.compile(r"(cu|cuda)[A-Z]\w+|CU[a-z]\w+|CU_\w+[A-Z]|CUDA_(ERROR_\w*[A-Z]|SUCCESS)")
# Ends of CU_DEVICE_ATTRIBUTE names that CudaDriver.attribute is given.
ATTRIBUTE = re.compile(r"(L2_CACHE_SIZE|CAN_USE_\w+)")
# Words that are never called: a function of the runtime as profilers name it, and a value of an option of nsys.
WORDS = {"cudaLaunchKernel", "cudaProfilerApi"}


def _used(path: Path) -> set[str]:
    """Attributes, and strings that are such a name as a whole."""
    found, source = set(), path.read_text()
    for node in ast.walk(ast.parse(source)) if NAME.search(source) or ATTRIBUTE.search(source) else ():
        text = node.attr if isinstance(node, ast.Attribute) else node.value if isinstance(node, ast.Constant) else None
        if isinstance(text, str):
            if NAME.fullmatch(text):
                found.add(re.sub(r"_v\d$", "", text))  # as the library exports it, which ctypes sees
            elif ATTRIBUTE.fullmatch(text):
                found.add(f"CU_DEVICE_ATTRIBUTE_{text}")
    return found


def _known(module: ModuleType) -> set[str]:
    names = set(dir(module))
    for value in vars(module).values():
        if isinstance(value, type) and issubclass(value, enum.Enum):
            names |= set(value.__members__)
    return names


def test_every_name_used_is_in_the_real_bindings() -> None:
    from cuda.bindings import driver, runtime

    known = _known(driver) | _known(runtime)
    used = {name: path.name for path in Path(bench.__file__).parent.rglob("*.py") for name in _used(path)}
    assert len(used) > 30
    assert used.keys() >= WORDS
    assert {name: path for name, path in used.items() if name not in known | WORDS} == {}
