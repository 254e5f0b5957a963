"""Whether an exported file runs at other sizes of a dynamic case, as the model does."""

from __future__ import annotations

import importlib.util
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import Unsupported
from bench.model.suite import Case
from bench.runtimes import onnx_manifest, shapes
from bench.runtimes.torch import exports
from bench.tensors import Array

if TYPE_CHECKING:
    import torch

# The types that NumPy has, of inputs and outputs.
_HOST_TYPES = {"tensor(float)": "float32", "tensor(double)": "float64"} | {
    f"tensor({name})": name for name in ("float16", "int64", "int32", "int16", "int8", "uint8", "bool")
}


def check(path: Path, case: Case, trial: exports.Trial, names: Sequence[str]) -> None:
    """Unsupported if a dynamic size is a number in the file, or if the file cannot run at other sizes as the model can.

    Running it needs onnxruntime, which is asked where it is installed and has the file's operators; the dimensions of
    inputs and outputs are compared in any case.
    """
    model = onnx_manifest.load(path)
    inputs = {value.name: _shape(value) for value in model.graph.input}
    for index, (name, axes) in enumerate(shapes.dynamic_axes(case).items()):
        shape = inputs.get(onnx_manifest.input_name(index))
        for axis, symbol in axes.items():
            span = case.dynamic[symbol]
            if shape is not None and isinstance(shape[axis], int) and span.min < span.max:
                raise exports.fixed_size(name, symbol, shape)
    for value, name, *at in zip(model.graph.output, names, *trial.shapes(), strict=True):
        for size, *sizes in zip(_shape(value), *at, strict=False):
            if isinstance(size, int) and len(set(sizes)) > 1:
                in_model = " and ".join(str(list(shape)) for shape in at)
                in_file = f"output {name!r} is {_shape(value)} in the file"
                text = f"the exporter fixed a size: {in_file}, {in_model} in the model"
                raise Unsupported(text, fix=exports.FIXED_FIX)
    if (run := _runner(path)) is not None:
        trial.check(run, "the exported file")


def _runner(path: Path) -> exports.Run | None:
    """Runs the file, unoptimised, by onnxruntime; None where that is not there or cannot run it at any size."""
    if importlib.util.find_spec("onnxruntime") is None or _folder_size(path.parent) > onnx_manifest.INSIDE:
        return None
    import onnxruntime
    import torch

    settings = onnxruntime.SessionOptions()
    settings.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    settings.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(os.fspath(path), settings, providers=["CPUExecutionProvider"])
    except Exception:  # noqa: BLE001 - its exceptions have no common base; whoever runs the file tells what is wrong
        return None
    nodes = {node.name: node.type for node in session.get_inputs()}
    if any(kind not in _HOST_TYPES for kind in (*nodes.values(), *(node.type for node in session.get_outputs()))):
        return None

    def run(arrays: Mapping[str, Array]) -> list[torch.Tensor]:
        named = {onnx_manifest.input_name(index): array for index, array in enumerate(arrays.values())}
        feeds = {name: array.astype(_HOST_TYPES[nodes[name]]) for name, array in named.items() if name in nodes}
        return [torch.from_numpy(output) for output in session.run(None, feeds)]

    return run


def _folder_size(folder: Path) -> int:
    """Bytes: weights of large models lie beside the file."""
    return sum(file.stat().st_size for file in folder.iterdir())


def _shape(value: Any) -> list[int | str]:
    """The dimensions of an input or output of a file: numbers, or names (empty for one without)."""
    dims = value.type.tensor_type.shape.dim
    return [int(dim.dim_value) if dim.HasField("dim_value") else str(dim.dim_param) for dim in dims]
