"""What a model's ``factory`` is, by its text: a library's name, a function in a file, an import path or a program.

- ``torchvision:resnet50``, ``timm:dla34``, ``transformers:BertModel``: a model of a library that trtbench knows,
- ``zoo.py:function``: a function in a file beside the suite,
- ``mypkg.models:build``: anything callable that can be imported, by its module and its name there,
- ``net.pt2``, ``net.pt``, ``net.onnx``: a program that lies beside the suite: torch.export, TorchScript, ONNX.
"""

from __future__ import annotations

from pathlib import PurePosixPath
from typing import Literal

LIBRARIES = ("torchvision", "timm", "transformers")

Program = Literal["export", "torchscript", "onnx"]
# The programs by the suffixes of their files, and what messages call them.
SUFFIXES: dict[str, Program] = {".pt2": "export", ".pt": "torchscript", ".ts": "torchscript", ".onnx": "onnx"}
NAMES: dict[Program, str] = {
    "export": "torch.export program",
    "torchscript": "TorchScript program",
    "onnx": "ONNX file",
}


def step_of(model: str) -> str:
    """The step of a worker in which the factory of ``model`` is called, as progress and timeouts name it."""
    return f"factory of {model}"


def program_of(factory: str) -> Program | None:
    """Which kind of program the file ``factory`` holds, by its suffix; None for all that makes a module."""
    return None if ":" in factory else SUFFIXES.get(PurePosixPath(factory).suffix)


def file_of(factory: str) -> str:
    """The user's file that makes or is the model, relative to the suite; empty for a library or an import path."""
    source, colon, _ = factory.partition(":")
    return source if source.endswith(".py") or not colon else ""


def module_of(factory: str) -> str:
    """The module of an import path, ``mypkg.models`` of ``mypkg.models:build``; empty for all else."""
    source, colon, _ = factory.partition(":")
    return source if colon and source not in LIBRARIES and not source.endswith(".py") else ""
