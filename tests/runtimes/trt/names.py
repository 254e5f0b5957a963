"""The names of TensorRT's Python API: read out of real bindings, kept as golden files, and held against the stand-ins.

``python -m tests.runtimes.trt.names FOLDER`` writes the golden files anew from the wheels that lie in FOLDER.
"""

from __future__ import annotations

import enum
import functools
import inspect
import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

GOLDEN = Path(__file__).parents[2] / "golden" / "tensorrt"
VERSIONS = ("8.6.1", "10.16.1", "11.4.0")
RTX = "1.7.1"  # of TensorRT-RTX, whose numbers are its own
RTX_FIRST = "1.6.1"
Names = dict[str, Any]

# The extension is linked against these libraries, and needs these of their functions to be imported.
_LIBRARIES = (
    "libnvinfer", "libnvinfer_plugin", "libnvonnxparser", "libnvparsers",
    "libtensorrt_rtx", "libtensorrt_onnxparser_rtx",
)  # fmt: skip
_FUNCTIONS = (
    "createInferBuilder_INTERNAL", "createInferRefitter_INTERNAL", "createInferRuntime_INTERNAL",
    "createNvOnnxParser_INTERNAL", "createNvOnnxParserRefitter_INTERNAL", "getBuilderPluginRegistry",
    "getNvOnnxParserVersion", "getPluginRegistry", "initLibNvInferPlugins",
    "_ZN11nvuffparser15createUffParserEv", "_ZN11nvuffparser8FieldMapC1EPKcPKvNS_9FieldTypeEi",
    "_ZN14nvcaffeparser117createCaffeParserEv", "_ZN14nvcaffeparser123shutdownProtobufLibraryEv",
)  # fmt: skip
# Run beside the wheel. A method's text is its docstring's first line, or its numbered lines where it is overloaded.
_LIST = """
import importlib, json, sys
sys.modules["tensorrt_libs"] = sys.modules["tensorrt_rtx_libs"] = None
trt = importlib.import_module(sys.argv[1])
found = {"version": trt.__version__, "classes": {}, "enums": {}, "functions": {}}
for name, value in vars(trt).items():
    if name.startswith("_"):
        continue
    if isinstance(value, type) and hasattr(value, "__members__"):
        found["enums"][name] = {key: int(member) for key, member in value.__members__.items()}
    elif isinstance(value, type):
        members = {key: vars(base)[key] for base in value.__mro__[::-1][1:] for key in vars(base)}
        for key, member in vars(value).items():
            if isinstance(member, type) and hasattr(member, "__members__"):
                found["enums"][f"{name}.{key}"] = {each: int(number) for each, number in member.__members__.items()}
        found["classes"][name] = {
            key: (member.__doc__ or "") if callable(member) else None
            for key, member in members.items() if key == "__init__" or not key.startswith("_")
        }
    elif callable(value):
        found["functions"][name] = value.__doc__ or ""
print(json.dumps(found))
"""


def read_wheel(wheel: Path, work: Path) -> Names:
    """The names in a wheel of bindings, imported beside stand-ins for TensorRT's libraries, which ``work`` is for.

    ``classes``: name -> member -> parameters, as ``"(flags)"``, overloads joined by ``" | "``, None for properties;
    ``enums``: name -> member -> integer; ``functions``: name -> parameters.
    """
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(work)
    source = work / "functions.c"
    source.write_text("".join(f"void *{name}(void) {{ return 0; }}\n" for name in _FUNCTIONS))
    major = re.split(r"[-.]", wheel.name)[1]
    for library in _LIBRARIES:
        subprocess.run(["gcc", "-shared", "-fPIC", "-o", work / f"{library}.so.{major}", source], check=True)
    env = os.environ | {"PYTHONPATH": str(work), "LD_LIBRARY_PATH": str(work)}
    module = "tensorrt_rtx_bindings" if "rtx" in wheel.name else "tensorrt_bindings"
    done = subprocess.run([sys.executable, "-c", _LIST, module], env=env, check=True, capture_output=True, text=True)
    found = json.loads(done.stdout)
    for kind in ("classes", "enums"):
        found[kind] = {name: dict(sorted(members.items())) for name, members in sorted(found[kind].items())}
    for members in (*found["classes"].values(), found["functions"]):
        members |= {name: text if text is None else _parameters(name, text) for name, text in members.items()}
    found["functions"] = dict(sorted(found["functions"].items()))
    return dict(found)


def _parameters(name: str, doc: str) -> str:
    """``set_flag(self: a.b.C, flag: a.b.Flag) -> None`` -> ``(flag)``."""
    lines = re.findall(rf"^(?:\d+\. )?{re.escape(name)}\((.*)\)(?: -> .*)?$", doc, re.MULTILINE)
    overloads = [re.findall(r"(?:^|, )(\w+): ", line) for line in lines if line != "*args, **kwargs"]
    return " | ".join(f"({', '.join(each for each in overload if each != 'self')})" for overload in overloads)


def path(version: str) -> Path:
    """The golden file of a version, whose fourth number is left out."""
    return GOLDEN / f"{'.'.join(version.split('.')[:3])}.json"


@functools.cache
def golden(version: str) -> Names:
    """The names of one of VERSIONS, as ``read_wheel`` gives them."""
    return dict(json.loads(path(version).read_text()))


def allow(cls: type, name: str, version: str) -> type:
    """A stand-in for the class ``name`` with what that class has in ``version`` and no more.

    Public names of ``cls`` that only other versions have are absent from it, reading and writing. AssertionError for a
    name that no version has, and for a method whose parameters are called otherwise.
    """
    real = golden(version)["classes"][name]
    fields: dict[str, Any] = {"__setattr__": _setter(name, version, real), "__module__": cls.__module__}
    for member in {key for base in cls.__mro__[:-1] for key in vars(base) if not key.startswith("_")}:
        known = [each for each in (*VERSIONS, RTX) if member in golden(each)["classes"].get(name, {})]
        assert known, f"no version of TensorRT has {name}.{member}"
        if member not in real:
            fields[member] = _Absent(f"TensorRT {version} has no {name}.{member}")
        elif real[member] is not None:
            _check_parameters(f"{name}.{member}", getattr(cls, member), real[member], version)
    return type(name, (cls,), fields)


def enum_of(name: str, version: str) -> type[enum.IntEnum]:
    """A stand-in for an enum: its members with their integers in ``version``."""
    return enum.IntEnum(name, golden(version)["enums"][name])


def enums(version: str) -> dict[str, type[enum.IntEnum]]:
    """Stand-ins for the enums of the module of ``version``."""
    return {name: enum_of(name, version) for name in golden(version)["enums"] if "." not in name}


class _Absent:
    """A name that the real class does not have."""

    def __init__(self, message: str) -> None:
        self._message = message

    def __get__(self, instance: object, owner: type) -> Any:
        raise AttributeError(self._message)

    def __set__(self, instance: object, value: object) -> None:
        raise AttributeError(self._message)


def _setter(name: str, version: str, real: Names) -> Any:
    def __setattr__(self: object, member: str, value: object) -> None:
        if not member.startswith("_") and member not in real:
            raise AttributeError(f"TensorRT {version} has no {name}.{member}")
        object.__setattr__(self, member, value)

    return __setattr__


def _check_parameters(where: str, method: Any, real: str, version: str) -> None:
    """Parameters of the stand-in must be the first of those of the real method, in one of its overloads."""
    own = [
        p.name for p in inspect.signature(method).parameters.values() if p.name != "self" and p.kind != p.VAR_KEYWORD
    ]
    overloads = [re.findall(r"\w+", overload) for overload in real.split(" | ")]
    assert not real or any(own == overload[: len(own)] for overload in overloads), (
        f"{where}({', '.join(own)}) is {real} in TensorRT {version}"
    )


def write(folder: Path, work: Path) -> None:
    """Write the golden files from the wheels in ``folder``."""
    for wheel in sorted(folder.rglob("tensorrt*bindings*.whl")):
        place = work / wheel.name
        place.mkdir()
        names = read_wheel(wheel, place)
        path(names["version"]).write_text(_compact(names))


def _compact(names: Names) -> str:
    """JSON with one line for each class and enum, so that a change of version reads well as a diff."""
    parts = [f'"version": {json.dumps(names["version"])}']
    for kind in ("classes", "enums"):
        lines = ",\n".join(f"  {json.dumps(name)}: {json.dumps(members)}" for name, members in names[kind].items())
        parts.append(f'"{kind}": {{\n{lines}\n }}')
    parts.append(f'"functions": {json.dumps(names["functions"])}')
    return "{" + ",\n ".join(parts) + "}\n"


if __name__ == "__main__":
    import tempfile

    with tempfile.TemporaryDirectory() as scratch:
        write(Path(sys.argv[1]), Path(scratch))
