"""Exports a PyTorch model to an ONNX file, for every runtime that reads one.

Inputs and outputs have names of their own in the file, which no operator or weight has: the suite's and the model's
names may be those of operators (``softmax``), of each other, numbers or empty. The manifest maps them by position.
"""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from bench.errors import SuiteError, Unavailable, Unsupported
from bench.model.distributions import install
from bench.model.factory import program_of
from bench.model.seam import Context, Stage
from bench.model.suite import Case
from bench.runtimes import onnx_constants, onnx_file, shapes
from bench.runtimes.torch import calls, errors, exports, models, session
from bench.runtimes.torch.exports import ExportWarning
from bench.runtimes.torch.options import TorchOptions
from bench.runtimes.torch.outputs import positional
from bench.tensors import Array

if TYPE_CHECKING:
    import torch

Exporter = Literal["dynamo", "legacy"]
# What the manifest of a file says that nothing here has exported.
_NO_EXPORTER = "none"
MODEL = "model.onnx"
# Where the model lies in what is exported (``positional``): the outermost module in the scopes of nodes.
WRAPPER = "model"
# A protobuf message ends at 2 GiB; larger models keep their weights in a file beside it.
_INSIDE = 1_800_000_000
# The types that NumPy has, of inputs and outputs.
_HOST_TYPES = {"tensor(float)": "float32", "tensor(double)": "float64"} | {
    f"tensor({name})": name for name in ("float16", "int64", "int32", "int16", "int8", "uint8", "bool")
}
# How the exporters call an operator that they do not know and torch does not own: ``mine::scale``, op='mine.scale'.
_FOREIGN = r"(?!aten|prims?\b|onnx|torch|quantized|c10|at\b|std\b|caffe2)[a-z]\w*"
_OWN_OPERATOR = re.compile(rf"\b({_FOREIGN}::\w+)|op='({_FOREIGN})\.(\w+)'")
_NO_OPERATOR = "another backend (eager, inductor), or a model that computes this by operators of torch"


class Manifest(msgspec.Struct, frozen=True):
    """Stored beside the ONNX file: the names of the model's inputs and outputs, in the order of those of the file.

    An exported file calls them ``input_name(0)``, ... and ``output_name(0)``, ...; one with ``own_names`` as the suite
    does. ``warnings`` are those of the exporter, ``quantization`` says who
    placed its Q/DQ, by which observer and samples.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    exporter: str
    opset: int
    warnings: tuple[ExportWarning, ...] = ()
    own_names: bool = False
    quantization: dict[str, Any] = {}

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


def stage(case: Case, exporter: Exporter, opset: int | None) -> Stage:
    """The ONNX file of a case, named ``export``: made by ``onnxruntime``'s produce in the default toolchain.

    The measuring toolchain may lack torch. Its key is the same for every runtime that asks for the same file. A model
    that is an ONNX file is copied: no exporter is asked.
    """
    if program_of(case.factory) == "onnx":
        return _stage_of_file(case)
    return Stage(
        name="export",
        kind="onnx",
        producer="onnxruntime",
        key={
            "model": shapes.model_key(case),
            "precision": _file_precision(unquantized(case).precision),
            "exporter": exporter,
            "opset": opset,
            **({"constants": "separate"} if exporter == "legacy" else {}),
        },
        libraries=shapes.libraries(case, "onnx", "onnxscript"),
    )


def _stage_of_file(case: Case) -> Stage:
    key = {"model": shapes.model_key(case), "precision": _file_precision(case.precision)}
    return Stage(name="export", kind="onnx", producer="onnxruntime", key=key)


def take_file(case: Case, context: Context, out: Path, *, any_precision: bool = False) -> None:
    """Copy the user's ONNX file and its external data into ``out``, and write its manifest.

    Unsupported if its weights are not of the case's precision, SuiteError if it does not take the case's inputs.
    """
    path = context.suite_dir / case.factory
    onnx_file.check(case, path)
    about = onnx_file.describe(path)
    if not any_precision and about.precision != _file_precision(case.precision):
        what = f"{case.factory} is {about.precision}, and a file is converted to no other precision"
        raise Unsupported(what, fix=f"precision: {about.precision}, or another file")
    shutil.copyfile(path, out / MODEL)
    for name in about.external:
        if not onnx_file.is_beside(name) or not (path.parent / name).is_file():
            what = f"{case.factory} has weights in {name!r}, which is no file beside it"
            raise SuiteError(what, where=str(path), fix="put that file beside it, or save the model as one file")
        if (out / name).exists():
            raise SuiteError(f"{case.factory} has weights in {name!r}, its own copy's name", where=str(path))
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path.parent / name, out / name)
    outputs = tuple(value.name for value in about.outputs)
    manifest = Manifest(tuple(case.inputs), outputs, _NO_EXPORTER, about.opset, own_names=True)
    write_manifest(manifest, out)


def export(case: Case, context: Context, out: Path, exporter: Exporter, opset: int | None) -> None:
    """Write ``model.onnx`` and ``manifest.json`` into ``out``. Phases: import, load, export; of a file only load.

    Exported on the CPU whatever the device, as the file is the same. fp16 and bf16 models are converted before, so
    that inputs, weights and outputs have that type. Under no_grad: the exporters reject inference_mode.
    """
    if program_of(case.factory) == "onnx":
        with context.phase("load"):
            take_file(case, context, out)
        return
    case = unquantized(case)
    packages = ("onnx", "onnxscript") if exporter == "dynamo" else ("onnx",)
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise Unavailable(f"exporting to ONNX needs the package {package!r}", fix=install(package))
    on_cpu = msgspec.structs.replace(context, device="cpu")
    with session.torch_session(case, on_cpu), session.own_warnings_filtered():
        import torch

        with context.phase("load"):
            model, example = models.load_with_example(case, TorchOptions(), on_cpu)
            with calls.names_checked(calls.own_module(model), case):
                module, names = positional(model, example)
        knows_both = "dynamo" in inspect.signature(torch.onnx.export).parameters  # since torch 2.5
        if exporter == "dynamo" and not knows_both:
            raise Unavailable(
                f"torch {torch.__version__} exports by exporter: legacy only", fix="exporter: legacy, or torch >= 2.5"
            )
        with context.phase("export"), torch.no_grad(), _refusals(exporter):
            arguments = (
                _dynamo(module, case)
                if exporter == "dynamo"
                else _legacy(case, {"dynamo": False} if knows_both else {})
            )
            if exporter == "legacy" and program_of(case.factory) == "torchscript":
                # The exporter takes a program as it is, and none within a module that it traces.
                module = torch.jit.trace(module, tuple(example.values()), check_trace=False)
            attention = contextlib.nullcontext() if exporter == "dynamo" else _attention_in_parts()
            with attention, exports.recorded_warnings() as warnings, exports.size_refusals(case):
                torch.onnx.export(
                    module,
                    tuple(example.values()),
                    str(out / MODEL),
                    input_names=[input_name(index) for index in range(len(example))],
                    output_names=[output_name(index) for index in range(len(names))],
                    opset_version=opset,
                    **arguments,
                )
            if exporter == "legacy":
                onnx_constants.separate(out / MODEL)
            _check_outputs(out / MODEL, names)
            if case.dynamic:
                trial = exports.Trial(case, TorchOptions(), on_cpu, module, names)
                _check_sizes(out / MODEL, case, trial, names)
        manifest = Manifest(tuple(example), names, exporter, _opset_of(out / MODEL), tuple(warnings))
        write_manifest(manifest, out)


@contextlib.contextmanager
def _refusals(exporter: Exporter) -> Iterator[None]:
    """Turn whatever an exporter raises into Unsupported; the fix names the other exporter."""
    try:
        with errors.translate("torch.onnx cannot export this model"):
            yield
    except Unsupported as error:
        other = "legacy" if exporter == "dynamo" else "dynamo, opset: 18 (which TensorRT reads from 10.0 on)"
        if own := _OWN_OPERATOR.search(error.what):
            name = own[1] or f"{own[2]}::{own[3]}"
            what = f"the model uses the operator {name}, which ONNX does not have: {error.what}"
            raise Unsupported(what[:600], fix=_NO_OPERATOR) from error
        raise Unsupported(error.what, fix=error.fix or f"exporter: {other}") from error


def write_manifest(manifest: Manifest, out: Path) -> None:
    """Write what ``read_manifest`` reads."""
    (out / "manifest.json").write_bytes(msgspec.json.encode(manifest))


def read_manifest(folder: Path) -> Manifest:
    """The manifest of an exported model."""
    return msgspec.json.decode((folder / "manifest.json").read_bytes(), type=Manifest)


def _dynamo(module: torch.nn.Module, case: Case) -> dict[str, Any]:
    """Arguments of the exporter on torch.export, besides names."""
    dims = shapes.dynamic_dims(case)
    weights = sum(tensor.numel() * tensor.element_size() for tensor in (*module.parameters(), *module.buffers()))
    return {
        "dynamo": True,
        "external_data": weights > _INSIDE,
        "dynamic_shapes": None if dims is None else (dims,),
        "verbose": False,
    }


def _legacy(case: Case, choice: dict[str, bool]) -> dict[str, Any]:
    """Arguments of the exporter on TorchScript, besides names; ``choice`` selects it where torch has both."""
    axes = {input_name(index): of for index, of in enumerate(shapes.dynamic_axes(case).values()) if of}
    return {**choice, "dynamic_axes": axes or None}


@contextlib.contextmanager
def _attention_in_parts() -> Iterator[None]:
    """No fused operator for nn.MultiheadAttention in the block: ONNX has none. torch 2.2 cannot switch it off."""
    import torch

    switch = getattr(torch.backends, "mha", None)
    if switch is None:
        yield
        return
    before = switch.get_fastpath_enabled()
    switch.set_fastpath_enabled(False)
    try:
        yield
    finally:
        switch.set_fastpath_enabled(before)


def _check_outputs(path: Path, names: Sequence[str]) -> None:
    """Unsupported if the file does not have the model's outputs, each by its name and once."""
    outputs = [value.name for value in _read(path).graph.output]
    expected = [output_name(index) for index in range(len(names))]
    if outputs != expected:
        raise Unsupported(f"the file has the outputs {outputs}, the model has {len(names)}: {', '.join(names)}")


# --------------------------------------------------------------------------------------------------------------- sizes


def _check_sizes(path: Path, case: Case, trial: exports.Trial, names: Sequence[str]) -> None:
    """Unsupported if a dynamic size is a number in the file, or if the file cannot run at other sizes as the model can.

    Running it needs onnxruntime, which is asked where it is installed and has the file's operators; the dimensions of
    inputs and outputs are compared in any case.
    """
    model = _read(path)
    inputs = {value.name: _shape(value) for value in model.graph.input}
    for index, (name, axes) in enumerate(shapes.dynamic_axes(case).items()):
        shape = inputs.get(input_name(index))
        for axis, symbol in axes.items():
            span = case.dynamic[symbol]
            if shape is not None and isinstance(shape[axis], int) and span.min < span.max:
                raise exports.fixed_size(name, symbol, shape)
    for value, name, *at in zip(model.graph.output, names, *trial.shapes(), strict=True):
        for size, *sizes in zip(_shape(value), *at, strict=False):
            if isinstance(size, int) and len(set(sizes)) > 1:
                given = " and ".join(str(list(shape)) for shape in at)
                text = (
                    f"the exporter fixed a size: output {name!r} is {_shape(value)} in the file, {given} in the model"
                )
                raise Unsupported(text, fix=exports.FIXED_FIX)
    if (run := _runner(path)) is not None:
        trial.check(run, "the exported file")


def _runner(path: Path) -> exports.Run | None:
    """Runs the file, unoptimised, by onnxruntime; None where that is not there or cannot run it at any size."""
    if importlib.util.find_spec("onnxruntime") is None or _folder_size(path.parent) > _INSIDE:
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
        named = {input_name(index): array for index, array in enumerate(arrays.values())}
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


def _read(path: Path) -> Any:
    import onnx

    return onnx.load(os.fspath(path), load_external_data=False)


def _opset_of(path: Path) -> int:
    return next(int(entry.version) for entry in _read(path).opset_import if entry.domain in ("", "ai.onnx"))


def _file_precision(precision: str) -> str:
    """fp32 and tf32 are the same file."""
    return "fp32" if precision == "tf32" else precision


def unquantized(case: Case) -> Case:
    """The case whose file a runtime quantizes itself."""
    is_file = program_of(case.factory) == "onnx"
    return case if is_file or case.precision != "int8" else msgspec.structs.replace(case, precision="fp32")
