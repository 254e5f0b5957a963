"""An exported model: its ONNX file, and the manifest beside it that maps the model's names to those in the file.

Inputs and outputs have names of their own in the file, which no operator or weight has: the suite's and the model's
names may be those of operators (``softmax``), of each other, numbers or empty. The manifest maps them by position.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import msgspec

from bench.runtimes.torch.exports import ExportWarning

MODEL = "model.onnx"
# Where the model lies in what is exported (``positional``): the outermost module in the scopes of nodes.
WRAPPER = "model"
# A protobuf message ends at 2 GiB; larger models keep their weights in a file beside it.
INSIDE = 1_800_000_000


class Manifest(msgspec.Struct, frozen=True):
    """Stored beside the ONNX file: the names of the model's inputs and outputs, in the order of those of the file.

    An exported file calls them ``input_name(0)``, ... and ``output_name(0)``, ...; one with ``own_names`` as the suite
    does. ``warnings`` are those of the exporter, ``quantization`` says who placed its Q/DQ, by which observer and
    samples, ``deconvolutions`` is the ``deconvolutions.count`` of a file in which they were made dense.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    exporter: str
    opset: int
    warnings: tuple[ExportWarning, ...] = ()
    own_names: bool = False
    quantization: dict[str, Any] = {}
    deconvolutions: dict[str, Any] = {}

    @property
    def file_inputs(self) -> dict[str, str]:
        """The name in the file of each input; an exporter may have left out one that the model does not use."""
        return {name: name if self.own_names else input_name(index) for index, name in enumerate(self.inputs)}

    @property
    def file_outputs(self) -> dict[str, str]:
        """The name in the file of each output."""
        return {name: name if self.own_names else output_name(index) for index, name in enumerate(self.outputs)}


def input_name(index: int) -> str:
    """The name in the file of the input at a position."""
    return f"input_{index}"


def output_name(index: int) -> str:
    """The name in the file of the output at a position."""
    return f"output_{index}"


def write_manifest(manifest: Manifest, out: Path) -> None:
    """Write what ``read_manifest`` reads."""
    (out / "manifest.json").write_bytes(msgspec.json.encode(manifest))


def read_manifest(folder: Path) -> Manifest:
    """The manifest of an exported model."""
    return msgspec.json.decode((folder / "manifest.json").read_bytes(), type=Manifest)


def load(path: Path) -> Any:
    """The protobuf of an ONNX file, without weights that lie beside it."""
    import onnx

    return onnx.load(os.fspath(path), load_external_data=False)
